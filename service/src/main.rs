//! The binary `gamemaster`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use service::config::{self, ServeArgs};
use service::dev::DevArgs;

mod cli;

/// Game Master: owns the runtime state of every running game, mediates every player's call to its
/// engine, and runs the turn clock.
#[derive(Parser)]
#[command(name = "gamemaster", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service.
    ///
    /// Every flag is also an environment variable, named beside it. A variable that begins with
    /// GAMEMASTER_ and is not one of them is refused. SIGTERM or Ctrl-C drains and ends with status
    /// 0; a second one ends at once.
    Serve(ServeArgs),
    /// Run everything in one command: Game Master on the embedded store, its neighbours, and a few
    /// demo games with fast turns.
    ///
    /// Prints where the API listens and then what happens. Ctrl-C ends it; with --data it goes on
    /// where it was when started again, however it ended.
    Dev(DevArgs),
    /// Run one reference engine, as `dev` does for each game.
    Engine(peers::engine::EngineArgs),
}

fn main() -> ExitCode {
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Err(error) = config::refuse_unknown_variables(&Cli::command(), variables) {
        return cli::fail(cli::EXIT_USAGE, &error);
    }
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(cli::EXIT_FAILURE, &error),
    };
    let ended = match command {
        Command::Serve(args) => runtime.block_on(cli::serve(args)),
        Command::Dev(args) => runtime.block_on(cli::dev(args)),
        Command::Engine(args) => runtime.block_on(cli::engine(args)),
    };
    // Nothing that matters runs any more; a task that still sleeps must not hold the process.
    runtime.shutdown_background();
    ended
}
