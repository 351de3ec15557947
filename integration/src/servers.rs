//! Real servers for the tests: taken from the environment where it names one, from Docker where that
//! is built in and answers, otherwise started from what is installed ([`discovery`] decides).
//!
//! A server that is started here is private to the test process: its own directory, a free port on
//! loopback, an unprivileged user where the tests run as root. It ends with the process, however
//! that ends (`PR_SET_PDEATHSIG`), and its directory is removed by the next one that starts.

mod directory;
pub(crate) mod discovery;
mod docker;
pub(crate) mod names;
mod postgres;

pub use postgres::{Durability, PostgresServer};

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{LazyLock, mpsc};

use discovery::{Found, Kind};

/// Removes what test processes that are gone have left on the servers that outlive them.
///
/// # Panics
/// Where such a server does not let us.
pub async fn sweep() {
    if let Ok(Found::Shared(url)) = Kind::Postgres.find().await {
        PostgresServer::named(&url).sweep().await;
    }
    if let Ok(Found::Shared(url)) = Kind::Redis.find().await {
        crate::redis_server::sweep(&url).await;
    }
}

/// Where a program is: in `PATH`, or in one of the places given.
fn find_program(name: &str, places: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // The places come first: what PATH leads to may be a wrapper.
    let found = places.iter().chain(&in_path).map(|dir| dir.join(name));
    found.into_iter().find(|file| file.is_file())
}

/// The user that servers run as: ourselves, or an unprivileged one where we are root, as which some
/// servers refuse to run.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
    /// Whether it is another than we are.
    other: bool,
}

impl User {
    fn unprivileged() -> io::Result<Self> {
        let own = Self { uid: id("-u", None)?, gid: id("-g", None)?, other: false };
        if own.uid != 0 {
            return Ok(own);
        }
        let of = |name| {
            Some(Self {
                uid: id("-u", Some(name)).ok()?,
                gid: id("-g", Some(name)).ok()?,
                other: true,
            })
        };
        let found = ["postgres", "nobody"].into_iter().find_map(of);
        found.ok_or_else(|| io::Error::other("neither a user postgres nor nobody"))
    }

    /// A command that runs as this user.
    fn command(self, program: &PathBuf) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// A command that runs as this user, and gets a signal when the thread ends that started it.
    fn bound_command(self, program: &PathBuf, signal: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", signal]);
        if self.other {
            let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
        }
        command.arg("--").arg(program);
        command
    }
}

fn id(what: &str, name: Option<&str>) -> io::Result<u32> {
    let output = Command::new("id").arg(what).args(name).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().map_err(|_| io::Error::other("no such user"))
}

/// A process to be started, and where to say what came of it.
type Birth = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process from a thread that never ends, so that what is bound to the thread is bound to
/// this process: the thread of a test is gone while others of its process still run.
pub(crate) fn spawn_for_life(command: Command) -> io::Result<Child> {
    static PARENT: LazyLock<mpsc::SyncSender<Birth>> = LazyLock::new(|| {
        let (births, asked) = mpsc::sync_channel::<Birth>(0);
        std::thread::spawn(move || {
            for (mut command, born) in asked {
                // Who does not wait any more does not want to know.
                let _ = born.send(command.spawn());
            }
        });
        births
    });
    let (born, child) = mpsc::sync_channel(1);
    PARENT.send((command, born)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
