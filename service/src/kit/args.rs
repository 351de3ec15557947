//! The commands `gamemaster check engine|lobby|rtm`.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use machine::{EngineEndpoint, GameId, ImageRef, RaceName};
use net::TokioNet;
use serde_json::Value;

use super::probe::quoted;
use super::sheet::Report;
use super::show::{Marks, json, table};
use super::walk::Stopped;
use super::{check_engine, check_lobby, check_rtm};

/// A rule that must hold does not, or the check was cut short.
const EXIT_BROKEN: u8 = 1;
/// What was asked for makes no sense, or must not be done to this neighbour.
const EXIT_USAGE: u8 = 2;
/// Nobody is there.
const EXIT_UNREACHABLE: u8 = 3;

/// How long to wait, and what to print.
#[derive(Args, Clone, Debug)]
pub struct Timing {
    /// The time an answer may take, in seconds; what the Game Master is set to that will ask.
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub timeout_seconds: u32,
    /// What to print: a table for people, or a JSON array with an element for each rule.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

impl Timing {
    /// The time an answer may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds))
    }
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the values of the flag")]
pub enum Output {
    Table,
    Json,
}

/// Arguments of `gamemaster check engine`.
#[derive(Args, Clone, Debug)]
pub struct CheckEngine {
    /// The engine: http://host:port. It must have no game yet.
    #[arg(value_name = "URL", value_parser = base)]
    pub url: EngineEndpoint,
    /// A race of the game that is played; repeat it for each. Two or more, so that one can be
    /// banished.
    #[arg(long = "race", value_name = "NAME", value_parser = race,
          default_values = ["Terrans", "Zoral Combine", "Чужие"])]
    pub races: Vec<RaceName>,
    /// A command that every race can give at turn 1: a JSON object as the engine defines it.
    /// Without it no command and no order is sent that the engine should accept.
    #[arg(long, value_name = "JSON", value_parser = command)]
    pub command: Option<String>,
    /// The engine ignores expected_turn, and its version says so (options.turn_guard = false): the
    /// rules of the guard are not looked at.
    #[arg(long)]
    pub no_turn_guard: bool,
    /// The time a turn may take, in seconds; what the Game Master is set to that will ask.
    #[arg(long = "turn-timeout", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub turn_timeout_seconds: u32,
    /// See [`Timing`].
    #[command(flatten)]
    pub timing: Timing,
}

/// Arguments of `gamemaster check lobby`.
#[derive(Args, Clone, Debug)]
pub struct CheckLobby {
    /// Lobby: http://host:port.
    #[arg(value_name = "URL", value_parser = base)]
    pub url: EngineEndpoint,
    /// A game that Lobby knows, with members.
    #[arg(long, value_name = "ID", value_parser = game)]
    pub game: GameId,
    /// See [`Timing`].
    #[command(flatten)]
    pub timing: Timing,
}

/// Arguments of `gamemaster check rtm`.
#[derive(Args, Clone, Debug)]
// Game Master waits longer for Runtime Manager: a patch may pull an image.
#[command(mut_arg("timeout_seconds", |timeout| timeout.default_value("30")))]
pub struct CheckRtm {
    /// Runtime Manager: http://host:port.
    #[arg(value_name = "URL", value_parser = base)]
    pub url: EngineEndpoint,
    /// A game whose engine runs, and that nobody needs.
    #[arg(long, value_name = "ID", value_parser = game)]
    pub game: GameId,
    /// An image that the game's engine can be patched to.
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub image_ref: Option<ImageRef>,
    /// Patch and stop the engine of that game. Without this only what changes nothing is tried.
    #[arg(long)]
    pub allow_destructive: bool,
    /// See [`Timing`].
    #[command(flatten)]
    pub timing: Timing,
}

impl CheckEngine {
    /// The time a turn may take.
    pub fn turn_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.turn_timeout_seconds))
    }

    /// Runs the check and prints what was found.
    pub async fn run(self) -> ExitCode {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.races.iter().find(|race| !names.insert(race.as_str())) {
            return refuse(&format!("--race {:?} is there twice", twice.as_str()), EXIT_USAGE);
        }
        let check = check_engine(&self, Arc::new(TokioNet));
        print("engine", &self.url, self.timing.output, check).await
    }
}

impl CheckLobby {
    /// Runs the check and prints what was found.
    pub async fn run(self) -> ExitCode {
        let check = check_lobby(&self, Arc::new(TokioNet));
        print("Lobby", &self.url, self.timing.output, check).await
    }
}

impl CheckRtm {
    /// Runs the check and prints what was found.
    pub async fn run(self) -> ExitCode {
        let check = check_rtm(&self, Arc::new(TokioNet));
        print("Runtime Manager", &self.url, self.timing.output, check).await
    }
}

async fn print(
    what: &str,
    url: &EngineEndpoint,
    output: Output,
    check: impl Future<Output = Result<Report, Stopped>>,
) -> ExitCode {
    let report = match check.await {
        Ok(report) => report,
        Err(stopped @ Stopped::Unreachable(_)) => {
            return refuse(&format!("{url}: {stopped}"), EXIT_UNREACHABLE);
        }
        Err(stopped @ Stopped::Unfit(_)) => {
            return refuse(&format!("{url}: {stopped}"), EXIT_USAGE);
        }
    };
    let mut stdout = std::io::stdout();
    let text = match output {
        Output::Table => {
            let marks =
                if stdout.is_terminal() && speaks_utf8() { Marks::SIGNS } else { Marks::WORDS };
            format!("{what} at {url}\n\n{}", table(&report, &marks))
        }
        Output::Json => json(&report),
    };
    // Whoever closed the pipe has read enough; the code tells the rest.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BROKEN) }
}

fn refuse(why: &str, code: u8) -> ExitCode {
    eprintln!("gamemaster: {why}");
    ExitCode::from(code)
}

/// As the C library decides it: the first of the variables that is set counts.
fn speaks_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn base(text: &str) -> Result<EngineEndpoint, String> {
    text.trim_end_matches('/').parse().map_err(|_| "must be http://host:port".to_owned())
}

fn race(text: &str) -> Result<RaceName, String> {
    text.parse().map_err(|e: machine::InvalidValue| e.to_string())
}

fn game(text: &str) -> Result<GameId, String> {
    text.parse().map_err(|e: machine::InvalidValue| e.to_string())
}

fn image(text: &str) -> Result<ImageRef, String> {
    text.parse().map_err(|_| format!("{:?} is not an image reference", quoted(text)))
}

fn command(text: &str) -> Result<String, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) => Ok(text.to_owned()),
        Ok(_) => Err("must be a JSON object".into()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::config::ServeArgs;

    fn default(command: &Command, id: &str) -> String {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id).expect(id);
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect()
    }

    #[test]
    fn the_times_are_those_of_a_game_master_whose_settings_were_left_alone() {
        let serve = ServeArgs::augment_args(Command::new("serve"));
        let engine = CheckEngine::augment_args(Command::new("engine"));
        let lobby = CheckLobby::augment_args(Command::new("lobby"));
        let rtm = CheckRtm::augment_args(Command::new("rtm"));
        for (check, id, of_serve) in [
            (&engine, "timeout_seconds", "admin_timeout_seconds"),
            (&engine, "timeout_seconds", "player_timeout_seconds"),
            (&engine, "turn_timeout_seconds", "turn_timeout_seconds"),
            (&lobby, "timeout_seconds", "lobby_timeout_seconds"),
            (&rtm, "timeout_seconds", "rtm_timeout_seconds"),
        ] {
            assert_eq!(default(check, id), default(&serve, of_serve), "{of_serve}");
        }
    }
}
