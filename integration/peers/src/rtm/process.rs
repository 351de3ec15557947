//! Engines as child processes.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, Command},
};

use super::launcher::{EngineLauncher, EngineSpec, Exit, ExitKind, LaunchError, RunningEngine};

/// How long an engine may take to end after it was asked to.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Longest first line of an engine, and most of its complaints that are quoted.
const MAX_QUOTED_BYTES: usize = 4096;

/// What an engine says once it listens, followed by its address.
const READY: &str = "listening on ";

/// Starts each engine as a child process of this one.
///
/// The engine holds the reading end of a pipe whose writing end is ours alone: when this process
/// dies, however it dies, the engine's standard input closes and the engine ends.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    program: PathBuf,
    prefix: Vec<OsString>,
}

impl ProcessLauncher {
    /// Starts `program prefix… --listen … --exit-on-stdin-close`.
    pub fn new(program: impl Into<PathBuf>, prefix: Vec<OsString>) -> Self {
        Self { program: program.into(), prefix }
    }

    fn command(&self, spec: &EngineSpec) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).arg("--listen").arg(spec.listen.to_string());
        if let Some(path) = &spec.state_file {
            command.arg("--state").arg(path);
        }
        let options = &spec.options;
        if let Some(seed) = options.seed {
            command.arg("--seed").arg(seed.to_string());
        }
        if let Some(planets) = options.planets {
            command.arg("--planets").arg(planets.to_string());
        }
        if let Some(limit) = options.turn_limit {
            command.arg("--turn-limit").arg(limit.to_string());
        }
        if !options.turn_latency.is_zero() {
            command.arg("--turn-latency-ms").arg(options.turn_latency.as_millis().to_string());
        }
        if !options.turn_guard {
            command.arg("--no-turn-guard");
        }
        command
            .arg("--exit-on-stdin-close")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

#[async_trait]
impl EngineLauncher for ProcessLauncher {
    async fn start(&self, spec: EngineSpec) -> Result<Box<dyn RunningEngine>, LaunchError> {
        let mut child = self.command(&spec).spawn().map_err(|error| {
            LaunchError::Start(format!("{} cannot be run: {error}", self.program.display()))
        })?;
        // SUBTLE: waiting for a child closes the standard input that it still holds.
        let stdin = child.stdin.take();
        let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take())
        else {
            return Err(LaunchError::Start("the engine's output is not there".to_owned()));
        };
        let first_line = first_line(&mut stdout).await;
        if !first_line.starts_with(READY) {
            let complaint = quote(&mut stderr).await;
            return Err(LaunchError::Start(format!("the engine did not listen: {complaint}")));
        }
        drain(stdout, spec.game_id.clone(), "stdout");
        drain(stderr, spec.game_id, "stderr");
        Ok(Box::new(EngineProcess { child, stdin }))
    }

    fn forget(&self, _game_id: &str) {}
}

struct EngineProcess {
    child: Child,
    stdin: Option<ChildStdin>,
}

#[async_trait]
impl RunningEngine for EngineProcess {
    fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn exited(&mut self) -> Exit {
        let status = self.child.wait().await;
        let status = status.ok();
        Exit {
            // The kernel's out-of-memory killer cannot be told from any other SIGKILL here.
            kind: ExitKind::Exited,
            code: status.as_ref().and_then(ExitStatus::code),
            signal: status.as_ref().and_then(ExitStatusExt::signal),
        }
    }

    async fn stop(&mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(STOP_GRACE, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "the engine was gone already");
        }
    }
}

/// The first line, as far as it is bounded; what there is when the output ends.
async fn first_line(output: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while line.len() < MAX_QUOTED_BYTES {
        match output.read_u8().await {
            Ok(b'\n') | Err(_) => break,
            Ok(byte) => line.push(byte),
        }
    }
    String::from_utf8_lossy(&line).into_owned()
}

async fn quote(output: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_QUOTED_BYTES).unwrap_or(u64::MAX);
    // It says what it says, or nothing; the end of the process ends the wait.
    let mut output = output.take(limit);
    let _ = tokio::time::timeout(STOP_GRACE, output.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Reads on for as long as there is something: an engine whose pipe is full would stand still.
fn drain(mut output: impl AsyncRead + Unpin + Send + 'static, game_id: String, name: &'static str) {
    tokio::spawn(async move {
        let mut chunk = vec![0; MAX_QUOTED_BYTES];
        loop {
            match output.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&chunk[..length]);
                    tracing::debug!(game_id, output = name, text = text.trim_end());
                }
            }
        }
    });
}
