//! Lives in processes of their own.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sim::plan::Plan;
use sim::run::Report;

/// How often a child is looked at, and how often at most: about twenty minutes.
const LOOK: Duration = Duration::from_millis(10);
const MAX_LOOKS: u32 = 120_000;

/// Which mutant is on in a process that has them.
const MUTANT: &str = "GM_SIM_MUTANT";

/// Starts lives.
pub(super) struct Lives {
    program: PathBuf,
    mutant: Option<String>,
}

impl Lives {
    /// The other binary, beside this one.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self::of(std::env::current_exe()?.with_file_name("gm-sim-life")))
    }

    /// Those that another program lives.
    pub(super) fn of(program: PathBuf) -> Self {
        Self { program, mutant: None }
    }

    /// The same with a mutant on.
    pub(super) fn with(&self, mutant: &str) -> Self {
        Self { program: self.program.clone(), mutant: Some(mutant.to_owned()) }
    }

    /// Which build lives the lives: the same plan gives the same life in the same build alone.
    pub(super) fn build(&self) -> io::Result<String> {
        let program = std::fs::read(&self.program).map_err(|error| self.told(&error))?;
        let digest = Sha256::digest(program);
        Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Refuses what was written down by another build.
    pub(super) fn is_of_build(&self, build: &str) -> io::Result<()> {
        let own = self.build()?;
        if own == build {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "it is of build {build}, and in this one, {own}, its life may be another: \
             replay takes --any-build, run no --build at all"
        )))
    }

    fn told(&self, error: &io::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", self.program.display()))
    }

    /// One life.
    pub(super) fn live(&self, plan: &Plan, is_traced: bool) -> io::Result<Report> {
        self.lived(plan, is_traced, false)
    }

    /// One life, and its page in a file.
    pub(super) fn live_to_page(
        &self,
        plan: &Plan,
        is_traced: bool,
        page: &Path,
    ) -> io::Result<Report> {
        let mut report = self.lived(plan, is_traced, true)?;
        let html = report.page.take().ok_or_else(|| io::Error::other("the life has no page"))?;
        std::fs::write(page, html)?;
        Ok(report)
    }

    fn lived(&self, plan: &Plan, is_traced: bool, has_page: bool) -> io::Result<Report> {
        let mut command = Command::new(&self.program);
        match &self.mutant {
            Some(mutant) => command.env(MUTANT, mutant),
            None => command.env_remove(MUTANT),
        };
        if has_page {
            command.arg("--page");
        }
        if is_traced {
            command.arg("--trace");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| self.told(&error))?;
        let text = serde_json::to_vec(plan)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (written, read) = thread::scope(|scope| {
            let writing = scope.spawn(|| stdin.map_or(Ok(()), |mut to| to.write_all(&text)));
            let reading = scope.spawn(|| {
                let mut bytes = Vec::new();
                stdout.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes)).map(|_| bytes)
            });
            let ended = wait(&mut child);
            let gone = || io::Error::other("a thread of this process panicked");
            let written = writing.join().unwrap_or_else(|_| Err(gone()));
            let read = reading.join().unwrap_or_else(|_| Err(gone()));
            (ended.and(written), read)
        });
        let bytes = read?;
        let seed = plan.seed;
        serde_json::from_slice(&bytes).map_err(|error| {
            let why = written.map_or_else(|e| e.to_string(), |()| error.to_string());
            io::Error::other(format!("seed {seed} gave no report: {why}"))
        })
    }
}

fn wait(child: &mut Child) -> io::Result<()> {
    for _ in 0..MAX_LOOKS {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()?;
    Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end"))
}
