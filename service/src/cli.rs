//! The commands: from arguments to a running thing and an exit code.
//!
//! `runtimes`, `versions` and `explain` ask a running Game Master through `client`; `outbox` and
//! `migrate` work on the store itself; `schedule`, `config` and `completions` ask nobody. What they print goes
//! through `output`.

mod client;
pub(crate) mod completions;
pub(crate) mod config;
mod confirm;
pub(crate) mod explain;
pub(crate) mod migrate;
pub(crate) mod outbox;
pub(crate) mod output;
mod pages;
pub(crate) mod runtimes;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod versions;

use std::fmt::Display;
use std::process::ExitCode;

use service::config::refusals;
use service::dev::{self, DevArgs};
use service::telemetry::{LoggingArgs, logs};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Something went wrong.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// What was asked for makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Game Master does not answer, and nothing was changed.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;
/// A change was sent, and what became of it is not known.
pub(crate) const EXIT_UNKNOWN: u8 = 4;
/// Ended by Ctrl-C; where that asks first, by a second signal.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// The codes, for people.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    refused, or failed
  2    the command or a setting makes no sense
  3    Game Master cannot be reached; nothing was changed
  4    the outcome of a change is unknown; the message says how to learn it
  130  interrupted";

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    code: u8,
    /// For people, and fit for a terminal.
    message: String,
}

impl Failure {
    /// INVARIANT: what a message quotes from elsewhere has been made plain.
    pub(crate) fn new(code: u8, message: String) -> Self {
        Self { code, message }
    }
}

/// Says why, and with which code the process ends.
pub(crate) fn fail(code: u8, error: &dyn Display) -> ExitCode {
    output::note(error);
    ExitCode::from(code)
}

/// Prints what a command comes to.
pub(crate) fn end(result: Result<String, Failure>) -> ExitCode {
    match result {
        Ok(text) => output::print(&text),
        Err(Failure { code, message }) => fail(code, &message),
    }
}

/// Says what is wrong with the arguments or the environment, or gives the help asked for.
pub(crate) fn misused(error: &clap::Error, command: &clap::Command) -> ExitCode {
    // Two commands may have a flag of the same name, one of which is no setting.
    let asked = std::env::args().skip(1).find_map(|word| command.find_subcommand(&word));
    let refusals = refusals(error, asked.unwrap_or(command));
    for refusal in &refusals {
        output::note(refusal);
    }
    if refusals.is_empty() {
        // Help and version are no failure, and go to standard output. Nobody may be reading.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// `gamemaster dev`.
pub(crate) async fn dev(args: DevArgs) -> ExitCode {
    // Warnings of troubles that were ordered would drown what the narrator tells of them.
    let _logs = log_from(if args.faults.is_some() { "error" } else { "warn" });
    let stopping = CancellationToken::new();
    let running = async {
        // The whole cluster is in it.
        match Box::pin(dev::run(args, stopping.clone())).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(EXIT_FAILURE, &error),
        }
    };
    let mut code = ExitCode::SUCCESS;
    let ended = until_signalled(stopping.clone(), async { code = running.await }).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

/// `gamemaster engine`.
pub(crate) async fn engine(args: peers::engine::EngineArgs) -> ExitCode {
    let _logs = log_warnings();
    let stopping = CancellationToken::new();
    let mut code = ExitCode::SUCCESS;
    let run = async {
        if let Err(error) = peers::engine::run_until(args, stopping.clone()).await {
            code = fail(EXIT_FAILURE, &error);
        }
    };
    let ended = until_signalled(stopping.clone(), run).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

/// Runs something to its end. The first SIGTERM or Ctrl-C asks it to end, the second does not ask.
async fn until_signalled(stopping: CancellationToken, work: impl Future<Output = ()>) -> ExitCode {
    let mut signals = Signals::new();
    let signalled = async {
        signals.next().await;
        stopping.cancel();
        signals.next().await;
    };
    tokio::select! {
        biased;
        () = work => ExitCode::SUCCESS,
        () = signalled => ExitCode::from(EXIT_INTERRUPTED),
    }
}

/// SIGTERM and Ctrl-C, heeded from the moment in which this is made: before what is to be ended says
/// that it is there.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn new() -> Self {
        let terminate = signal(SignalKind::terminate());
        // Without handlers the system's own take effect, which end the process.
        Self(terminate.ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// For commands without settings of their own: the variables count, or else only warnings are told.
fn log_warnings() -> Option<logs::Flush> {
    log_from("warn")
}

fn log_from(default_filter: &str) -> Option<logs::Flush> {
    logs::init(&LoggingArgs::from_environment(default_filter)).ok()
}
