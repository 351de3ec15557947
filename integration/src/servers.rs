//! Real servers for the tests: taken from the environment where it names one, otherwise started
//! from what is installed. Nothing is ever downloaded.
//!
//! A server that is started here is private to the test process: its own directory, a free port on
//! loopback, an unprivileged user where the tests run as root. It ends with the process, however
//! that ends (`PR_SET_PDEATHSIG`), and its directory is removed by the next one that starts.

mod directory;
mod postgres;

pub use postgres::{Durability, PostgresServer};

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc;

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

/// Starts a process from a thread that never ends, so that what is bound to the thread is bound to
/// this process: the thread of a test is gone while others of its process still run.
fn spawn_for_life(mut command: Command) -> io::Result<Child> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = sender.send(command.spawn());
        loop {
            std::thread::park();
        }
    });
    receiver.recv().map_err(io::Error::other)?
}
