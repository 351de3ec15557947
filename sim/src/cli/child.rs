//! Lives in processes of their own.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sim::plan::Plan;
use sim::run::Report;

/// How often a child is looked at, and how often at most: about twenty minutes.
const LOOK: Duration = Duration::from_millis(10);
const MAX_LOOKS: u32 = 120_000;

/// How the other binary ends where it could not begin: what it was given is at fault.
const NOT_BEGUN: i32 = 2;

/// What a life breaks whose process ends without a report, or not at all.
const REPORTS: &str = "a_life_gives_a_report";

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

    /// One life, and its page in a file, where it has one: whoever gives no report has no page.
    pub(super) fn live_to_page(
        &self,
        plan: &Plan,
        is_traced: bool,
        page: &Path,
    ) -> io::Result<Report> {
        let mut report = self.lived(plan, is_traced, true)?;
        match report.page.take() {
            Some(html) => {
                std::fs::write(page, html)?;
                eprintln!("to be looked at: {}", page.display());
            }
            None => eprintln!("seed {} has no page", report.seed),
        }
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
        let (ended, written, read) = thread::scope(|scope| {
            let writing = scope.spawn(|| stdin.map_or(Ok(()), |mut to| to.write_all(&text)));
            let reading = scope.spawn(|| {
                let mut bytes = Vec::new();
                stdout.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes)).map(|_| bytes)
            });
            let ended = wait(&mut child);
            let gone = || io::Error::other("a thread of this process panicked");
            let written = writing.join().unwrap_or_else(|_| Err(gone()));
            let read = reading.join().unwrap_or_else(|_| Err(gone()));
            (ended, written, read)
        });
        let (ended, bytes) = (ended?, read?);
        if let Ok(report) = serde_json::from_slice(&bytes) {
            return Ok(report);
        }
        let how = match ended {
            Some(status) if status.code() == Some(NOT_BEGUN) => {
                let why = written.map_or_else(|error| format!(": {error}"), |()| String::new());
                return Err(io::Error::other(format!("seed {} did not begin{why}", plan.seed)));
            }
            Some(status) => format!("its process ended without one, {status}"),
            None => format!("its process did not end within {} s", (LOOK * MAX_LOOKS).as_secs()),
        };
        Ok(Report::of_none(plan, REPORTS, how))
    }
}

/// How it ended; `None` where it was killed, because it did not.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    for _ in 0..MAX_LOOKS {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sim::draw::{self, Wishes};

    use super::*;

    /// What becomes of a life that a script lives.
    fn lived(script: &str) -> io::Result<Report> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("life");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700))?;
        Lives::of(program).live(&draw::plan(7, Wishes::default()), false)
    }

    #[test]
    fn a_process_that_ends_without_a_report_is_a_life_that_failed() {
        for (script, how) in [
            ("cat >/dev/null; exit 101", "its process ended without one, exit status: 101"),
            ("cat >/dev/null; kill -9 $$", "its process ended without one, signal: 9 (SIGKILL)"),
            ("cat >/dev/null; echo '{'", "its process ended without one, exit status: 0"),
            // Whatever it was given.
            ("exit 101", "its process ended without one, exit status: 101"),
        ] {
            let report = lived(script).expect(script);
            let broken: Vec<_> =
                report.broken.iter().map(|b| (b.promise.as_str(), b.how.as_str())).collect();
            assert_eq!((report.seed, broken), (7, vec![(REPORTS, how)]), "{script}");
        }
    }

    #[test]
    fn a_life_that_cannot_begin_is_trouble_and_no_finding() {
        let error = lived("cat >/dev/null; exit 2").expect_err("it did not begin");
        assert_eq!(error.to_string(), "seed 7 did not begin");
        let nowhere = Lives::of(PathBuf::from("/nowhere/gm-sim-life"));
        assert!(nowhere.live(&draw::plan(7, Wishes::default()), false).is_err());
    }
}
