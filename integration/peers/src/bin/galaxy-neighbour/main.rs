//! `galaxy-neighbour`: each of the systems around Game Master as a program of its own.

mod common;
mod gateway;
mod lobby;
mod notification;
mod rtm;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use peers::engine::EngineArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Something went wrong.
const EXIT_FAILURE: u8 = 1;
/// Ended by a second signal.
const EXIT_INTERRUPTED: u8 = 130;

/// The systems around Game Master, for development and tests: honest small programs with their own
/// state, over HTTP and Redis, that can be told to misbehave.
///
/// SIGTERM or Ctrl-C ends each in order, with code 0; a second one ends it at once. Logs go to
/// standard error. What only these references have begins with an underscore: `/_misbehave`,
/// `/_counters`, `/_log`; misbehaviour is taken from this machine only.
#[derive(Parser)]
#[command(name = "galaxy-neighbour", version, max_term_width = 100)]
struct Cli {
    /// What is logged: `warn`, `info`, `debug`, or directives as `peers::rtm=debug`.
    #[arg(
        long,
        global = true,
        env = "NEIGHBOUR_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one game engine, or with --ports many.
    Engine(EngineArgs),
    /// Run Lobby: games, members, and the way from a draft to a running engine.
    Lobby(lobby::LobbyArgs),
    /// Run the Runtime Manager: an engine for each game, watched, patched and stopped on request.
    Rtm(rtm::RtmArgs),
    /// Run the gateway: the way in for players.
    Gateway(gateway::GatewayArgs),
    /// Run the notification service: it keeps what it would have sent.
    Notification(notification::NotificationArgs),
}

/// Why a neighbour could not run, for people.
type Failure = String;

fn main() -> ExitCode {
    let Cli { log, command } = Cli::parse();
    let filter = match EnvFilter::try_new(&log) {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log: {error}")),
    };
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    logs.with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let code = runtime.block_on(run(command));
    // A read of standard input, or of a name, must not hold the process.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> ExitCode {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let work = async {
        match command {
            Command::Engine(args) => {
                peers::engine::run_until(args, stop).await.map_err(|error| error.to_string())
            }
            Command::Lobby(args) => lobby::run(args, stop).await,
            Command::Rtm(args) => rtm::run(args, stop).await,
            Command::Gateway(args) => gateway::run(args, stop).await,
            Command::Notification(args) => notification::run(args, stop).await,
        }
    };
    let mut signals = Signals::new();
    let signalled = async {
        signals.next().await;
        stopping.cancel();
        signals.next().await;
    };
    tokio::select! {
        biased;
        ended = work => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => fail(&failure),
        },
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

fn fail(failure: &str) -> ExitCode {
    eprintln!("galaxy-neighbour: {failure}");
    ExitCode::from(EXIT_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_defined_and_everything_has_a_help_text() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {arg}", command.get_name());
            }
        }
    }

    #[test]
    fn secrets_in_the_environment_are_not_shown() {
        let cli = Cli::command();
        for (command, arg) in
            [("lobby", "redis_url"), ("lobby", "gm_token"), ("gateway", "players")]
        {
            let command = cli.find_subcommand(command).expect("the command");
            let arg = command.get_arguments().find(|a| a.get_id() == arg).expect("the flag");
            assert!(arg.is_hide_env_values_set(), "{arg}");
        }
    }
}
