//! The binary `gamemaster`.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use service::config::{self, ServeArgs};
use service::dev::DevArgs;
use service::kit::{CheckEngine, CheckLobby, CheckRtm};

mod cli;

/// Game Master: owns the runtime state of every running game, mediates every player's call to its
/// engine, and runs the turn clock.
#[derive(Parser)]
#[command(name = "gamemaster", version, max_term_width = 100, after_help = cli::EXIT_CODES)]
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
    Serve(Box<ServeArgs>),
    /// Run everything in one command: Game Master on the embedded store, its neighbours, and a few
    /// demo games with fast turns.
    ///
    /// Prints where the API listens and then what happens. Ctrl-C ends it; with --data it goes on
    /// where it was when started again, however it ended.
    Dev(DevArgs),
    /// Show the running games, and act on them.
    Runtimes(cli::runtimes::RuntimesArgs),
    /// Show and change the engine versions that games may run on.
    Versions(cli::versions::VersionsArgs),
    /// Say why a game is in its state, what became of its last turns, and what comes next.
    Explain(cli::explain::ExplainArgs),
    /// Show when a turn schedule has turns, in UTC, or what is wrong with it. Asks no server.
    Schedule(cli::schedule::ScheduleArgs),
    /// Show and replay the messages to be published, in the store itself.
    Outbox(cli::outbox::OutboxArgs),
    /// Bring the database to the schema that this program knows. `serve` does so by itself.
    Migrate(cli::migrate::MigrateArgs),
    /// List every setting, with its default and its meaning.
    Config(cli::config::ConfigArgs),
    /// Check the settings, or a neighbour of your own against what Game Master relies on.
    ///
    /// The check of a neighbour ends with 0 where every rule holds that must, 1 where one does not,
    /// 2 where the neighbour must not be checked (or the arguments make no sense), 3 where nobody is
    /// there.
    Check {
        #[command(subcommand)]
        what: Check,
    },
    /// Print a script that makes a shell complete these commands.
    Completions(cli::completions::CompletionsArgs),
    /// Run one reference engine, as `dev` does for each game.
    Engine(peers::engine::EngineArgs),
}

#[derive(Subcommand)]
enum Check {
    /// Check a game engine. CHANGES IT: a game is set up in it and played for a few turns.
    ///
    /// The engine must have no game yet; otherwise nothing is done to it.
    Engine(CheckEngine),
    /// Check a Lobby. Reads only.
    Lobby(CheckLobby),
    /// Check a Runtime Manager. With --allow-destructive it patches and STOPS the game's engine.
    Rtm(CheckRtm),
    /// Show the settings that `serve` would have, from the same flags and variables, or what is
    /// wrong with them. Secrets are not shown.
    Config(Box<cli::config::CheckConfigArgs>),
}

fn main() -> ExitCode {
    let mut program = Cli::command();
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Err(error) = config::refuse_unknown_variables(&program, variables) {
        return cli::fail(cli::EXIT_USAGE, &cli::output::plain(&error.to_string()));
    }
    let parsed = program.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| {
        let parsed = Cli::from_arg_matches(&matches)?;
        Ok((matches, parsed))
    });
    let (matches, command) = match parsed {
        Ok((matches, Cli { command })) => (matches, command),
        Err(error) => {
            // An argument cannot be named before it is built, and parsing builds what it needs.
            program.build();
            return cli::misused(&error, &program);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(cli::EXIT_FAILURE, &error),
    };
    let ended = match command {
        Command::Serve(args) => runtime.block_on(cli::serve::run(*args)),
        Command::Dev(args) => runtime.block_on(cli::dev(args)),
        Command::Engine(args) => runtime.block_on(cli::engine(args)),
        Command::Runtimes(args) => cli::end(runtime.block_on(cli::runtimes::run(args))),
        Command::Versions(args) => cli::end(runtime.block_on(cli::versions::run(args))),
        Command::Explain(args) => cli::end(runtime.block_on(cli::explain::run(args))),
        Command::Migrate(args) => cli::end(runtime.block_on(cli::migrate::run(args))),
        Command::Outbox(args) => cli::end(runtime.block_on(cli::outbox::run(args))),
        Command::Schedule(args) => cli::end(cli::schedule::run(&args)),
        Command::Config(args) => cli::end(cli::config::list(&args, &Cli::command())),
        Command::Check { what: Check::Config(args) } => {
            let (command, matches) = innermost(&program, &matches);
            cli::end(cli::config::check(&args, command, matches))
        }
        Command::Check { what: Check::Engine(args) } => runtime.block_on(args.run()),
        Command::Check { what: Check::Lobby(args) } => runtime.block_on(args.run()),
        Command::Check { what: Check::Rtm(args) } => runtime.block_on(args.run()),
        Command::Completions(args) => {
            cli::output::print(&cli::completions::run(&args, Cli::command()))
        }
    };
    // Nothing that matters runs any more; a task that still sleeps must not hold the process.
    runtime.shutdown_background();
    ended
}

/// The command that was given, below the groups it is in.
fn innermost<'a>(
    mut command: &'a clap::Command,
    mut matches: &'a ArgMatches,
) -> (&'a clap::Command, &'a ArgMatches) {
    while let Some((name, sub)) = matches.subcommand() {
        let Some(definition) = command.find_subcommand(name) else { break };
        (command, matches) = (definition, sub);
    }
    (command, matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_defined() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_has_a_help_text() {
        fn check(command: &clap::Command, at: &str) {
            assert!(command.get_about().is_some(), "{at} says what it does");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{at} {arg} says what it is");
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{at} {}", sub.get_name()));
            }
        }
        check(&Cli::command(), "gamemaster");
    }
}
