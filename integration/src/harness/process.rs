//! Child processes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The binary of the service, built beside the tests.
///
/// # Panics
/// Where it is not there: `cargo build --workspace` makes it.
pub fn program() -> PathBuf {
    built("gamemaster")
}

/// The binary of the neighbours, likewise.
///
/// # Panics
/// Where it is not there: `cargo build --workspace` makes it.
pub fn neighbour_program() -> PathBuf {
    built("galaxy-neighbour")
}

#[expect(clippy::panic, reason = "a test cannot go on without it")]
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    // A test is one folder deeper than a program.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|it| it.is_file());
    found.unwrap_or_else(|| {
        panic!("no {name} beside {}: run `cargo build --workspace` first", own.display())
    })
}

/// A run of neighbouring free ports on loopback, below those the system hands out, kept from other
/// tests for as long as this lives.
pub struct PortBlock {
    first: SocketAddr,
    _guard: TcpListener,
}

impl PortBlock {
    /// Ports in a block.
    const SIZE: u16 = 250;
    /// Where the blocks begin, and how many there are.
    const BLOCKS: (u16, u16) = (10_000, 80);

    /// Takes a block that nobody uses.
    ///
    /// # Panics
    /// Where there is none.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn take() -> Self {
        let (begin, count) = Self::BLOCKS;
        // Processes of one test run begin their search apart.
        let apart = u16::try_from(std::process::id() % u32::from(count)).unwrap_or(0);
        let starts = (0..count).map(|n| begin + (apart + n) % count * Self::SIZE);
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let take = |start: u16| {
            // Whoever holds the first port has the block; the others must be free of strangers.
            let guard = TcpListener::bind(address(start)).ok()?;
            let free = |port: &u16| TcpListener::bind(address(*port)).is_ok();
            let all = (start + 1..start + Self::SIZE).all(|port| free(&port));
            all.then(|| Self { first: address(start + 1), _guard: guard })
        };
        starts.into_iter().find_map(take).expect("a block of free ports")
    }

    /// The first port that may be used.
    pub fn first(&self) -> SocketAddr {
        self.first
    }
}

/// A child process whose output is kept. Killed when dropped.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// How long the last lines of a process that has ended are waited for: somebody it started may hold
/// the other end open.
const LAST_LINES: Duration = Duration::from_secs(2);

impl Process {
    /// Starts a program.
    pub fn start(program: &PathBuf, args: &[&str]) -> io::Result<Self> {
        Self::start_with(program, args, &[])
    }

    /// Starts a program with variables in its environment, besides our own; those that are for the
    /// tests alone it would take for mistakes.
    pub fn start_with(
        program: &PathBuf,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GAMEMASTER_TEST_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = Arc::new(Mutex::new(vec![]));
        let mut readers = vec![];
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(keep(stdout, Arc::clone(&lines))));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(keep(stderr, Arc::clone(&lines))));
        }
        Ok(Self { child, lines, readers })
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) -> io::Result<Vec<String>> {
        self.child.kill().await?;
        Ok(self.output())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal, by its short name.
    pub async fn signal(&self, name: &str) -> io::Result<()> {
        if let Some(pid) = self.child.id() {
            let signal = format!("-{name}");
            let killed = Command::new("kill").args([&signal, &pid.to_string()]).status().await?;
            if !killed.success() {
                return Err(io::Error::other("cannot signal the process"));
            }
        }
        Ok(())
    }

    /// Asks it to end, as Ctrl-C does, and waits for its exit code.
    pub async fn interrupt(self) -> io::Result<(Option<i32>, Vec<String>)> {
        self.signal("INT").await?;
        self.wait().await
    }

    /// Waits for it to end by itself.
    pub async fn wait(mut self) -> io::Result<(Option<i32>, Vec<String>)> {
        let status = self.child.wait().await?;
        let read = async {
            for reader in self.readers.drain(..) {
                // A reader does not panic, and is never aborted.
                let _ = reader.await;
            }
        };
        // What is there by then is there.
        let _ = tokio::time::timeout(LAST_LINES, read).await;
        Ok((status.code(), self.output()))
    }

    /// What it has written so far.
    pub fn output(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn keep(output: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut reader = BufReader::new(output).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
