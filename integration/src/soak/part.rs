//! A process that is killed and started again, with everything it ever wrote in one file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::servers::spawn_for_life;

/// Between two looks at a process that is to end.
const LOOK: Duration = Duration::from_millis(10);

/// How a process is started.
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
}

/// See the module. Killed when dropped.
pub(super) struct Part {
    recipe: Recipe,
    log: PathBuf,
    child: Option<Child>,
}

impl Part {
    /// One that does not run yet; its log is in `directory`.
    pub(super) fn new(recipe: Recipe, directory: &Path) -> Self {
        let log = directory.join(format!("{}.log", recipe.name));
        Self { recipe, log, child: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it where it does not run.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        // So that it ends with us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.recipe.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GAMEMASTER_") {
                command.env_remove(name);
            }
        }
        command
            .args(&self.recipe.args)
            .envs(self.recipe.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(spawn_for_life(command)?);
        Ok(())
    }

    /// Whether it has ended by itself, and how.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }

    /// Sends it a signal, by its short name.
    pub(super) fn signal(&self, name: &str) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other("cannot signal the process")) }
    }

    /// Waits until it has ended, which it was asked for, and answers with its code; `None` where it
    /// was killed because it did not within `limit`.
    pub(super) async fn ends_within(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                self.child = None;
                return Ok(Some(status));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill()?;
        Ok(None)
    }

    /// How much memory it has, in bytes.
    pub(super) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
