//! `gamemaster runtimes`: the running games.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use machine::{EngineVersion, GameId, RaceName, StopReason, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use service::ports::{Clock, SystemClock};

use super::Failure;
use super::client::{Answer, ChangeArgs, Client, Remote, with_client};
use super::confirm::ConfirmArgs;
use super::output::{Format, Grid, OutputArgs, pretty, when};
use super::pages::{self, MAX_ITEMS};

/// See the command.
#[derive(Args)]
pub(crate) struct RuntimesArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: RuntimesCommand,
}

#[derive(Subcommand)]
enum RuntimesCommand {
    /// List the games, by their ids.
    List {
        /// Only games in this status.
        #[arg(long)]
        status: Option<StatusArg>,
        /// At most so many games.
        #[arg(long, default_value_t = MAX_ITEMS,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ITEMS)))]
        limit: u32,
    },
    /// Show one game, as last committed.
    Get {
        /// The game.
        game: GameId,
    },
    /// Generate the next turn now, and wait for it. It takes the place of the next regular one.
    Force {
        /// The game.
        game: GameId,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Stop a game for good. A turn that is being generated is waited for.
    Stop {
        /// The game.
        game: GameId,
        /// Why: kept in the audit log and passed on to Runtime Manager.
        #[arg(long)]
        reason: StopReason,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Move a game to another patch version of its engine.
    Patch {
        /// The game.
        game: GameId,
        /// The version; only its patch part may differ from the present one.
        version: EngineVersion,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Ask the engine of an unwell game where it stands, and believe it.
    Reconcile {
        /// The game.
        game: GameId,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take a race out of a game for good.
    Banish {
        /// The game.
        game: GameId,
        /// The name of the race.
        race: RaceName,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Show what was asked of a game and what came of it, the newest first.
    Operations {
        /// The game.
        game: GameId,
        /// At most so many operations.
        #[arg(long, default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ITEMS)))]
        limit: u32,
    },
}

/// A status of a game.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StatusArg {
    Starting,
    Running,
    GenerationInProgress,
    GenerationFailed,
    Stopped,
    EngineUnreachable,
    Finished,
}

impl StatusArg {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::GenerationInProgress => "generation_in_progress",
            Self::GenerationFailed => "generation_failed",
            Self::Stopped => "stopped",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Finished => "finished",
        }
    }
}

/// What is shown of a runtime.
#[derive(Deserialize)]
struct Runtime {
    game_id: String,
    runtime_status: String,
    revision: u64,
    current_turn: u32,
    engine: Engine,
    turn_schedule: String,
    next_generation_at: Option<Timestamp>,
    skip_next_tick: bool,
    engine_health_summary: String,
    pending: Option<Pending>,
    work: Option<Work>,
    tries: u32,
    retry_at: Option<Timestamp>,
    player_turn_stats: Vec<PlayerStats>,
    last_failure: Option<LastFailure>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    stopped_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Engine {
    endpoint: String,
    version: String,
    image_ref: String,
    container_id: Option<String>,
    turn_guard: bool,
}

#[derive(Deserialize)]
struct Pending {
    kind: String,
    reason: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Work {
    kind: String,
}

#[derive(Deserialize)]
struct PlayerStats {
    user_id: String,
    planets: u64,
    population: u64,
}

#[derive(Deserialize)]
struct LastFailure {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Operation {
    operation_id: String,
    kind: String,
    source: String,
    request_id: Option<String>,
    outcome: String,
    error_code: Option<String>,
    error_message: Option<String>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
}

/// `gamemaster runtimes`.
pub(crate) async fn run(args: RuntimesArgs) -> Result<String, Failure> {
    let RuntimesArgs { remote, output, command } = args;
    match &command {
        RuntimesCommand::Stop { game, confirm, .. } => {
            confirm.ask(&format!("stop game {game} for good"))?;
        }
        RuntimesCommand::Patch { game, version, confirm, .. } => {
            confirm.ask(&format!("replace the engine of game {game} by version {version}"))?;
        }
        RuntimesCommand::Banish { game, race, confirm, .. } => {
            confirm.ask(&format!("take race {race} out of game {game} for good"))?;
        }
        RuntimesCommand::List { .. }
        | RuntimesCommand::Get { .. }
        | RuntimesCommand::Force { .. }
        | RuntimesCommand::Reconcile { .. }
        | RuntimesCommand::Operations { .. } => {}
    }
    with_client(remote, async |client| carry_out(client, &command, output.output).await).await
}

async fn carry_out(
    client: &Client,
    command: &RuntimesCommand,
    format: Format,
) -> Result<String, Failure> {
    let answer = match command {
        RuntimesCommand::List { status, limit } => {
            let filter: Vec<_> = status.iter().map(|s| ("status", s.as_str())).collect();
            let items = pages::read_all(client, &["runtimes"], &filter, *limit as usize).await?;
            return items.show(format, |runtimes| list(&runtimes, SystemClock.now()));
        }
        RuntimesCommand::Operations { game, limit } => {
            let path = ["runtimes", game.as_str(), "operations"];
            let items = pages::read_all(client, &path, &[], *limit as usize).await?;
            return items.show(format, |operations| log(&operations, SystemClock.now()));
        }
        RuntimesCommand::Banish { game, race, change, confirm: _ } => {
            let path = ["games", game.as_str(), "races", race.as_str(), "banish"];
            client.change(Method::POST, &path, None, change).await?;
            return Ok(match format {
                Format::Json => String::new(),
                Format::Table => format!("{race} is out of {game}\n"),
            });
        }
        RuntimesCommand::Get { game } => client.read(&["runtimes", game.as_str()], &[]).await?,
        RuntimesCommand::Force { game, change } => {
            post(client, game, "force-next-turn", None, change).await?
        }
        RuntimesCommand::Stop { game, reason, change, confirm: _ } => {
            let body = json!({ "reason": reason.as_str() });
            post(client, game, "stop", Some(&body), change).await?
        }
        RuntimesCommand::Patch { game, version, change, confirm: _ } => {
            let body = json!({ "version": version.to_string() });
            post(client, game, "patch", Some(&body), change).await?
        }
        RuntimesCommand::Reconcile { game, change } => {
            post(client, game, "reconcile", None, change).await?
        }
    };
    match format {
        Format::Json => Ok(pretty(&answer.body)),
        Format::Table => Ok(one(answer.parse()?, SystemClock.now())),
    }
}

async fn post(
    client: &Client,
    game: &GameId,
    operation: &str,
    body: Option<&Value>,
    change: &ChangeArgs,
) -> Result<Answer, Failure> {
    client.change(Method::POST, &["runtimes", game.as_str(), operation], body, change).await
}

fn list(runtimes: &[Runtime], now: Timestamp) -> String {
    let mut grid =
        Grid::new(["GAME", "STATUS", "TURN", "NEXT TURN", "HEALTH", "VERSION", "SCHEDULE"]);
    for runtime in runtimes {
        grid.row([
            runtime.game_id.clone(),
            runtime.runtime_status.clone(),
            runtime.current_turn.to_string(),
            maybe(runtime.next_generation_at, now),
            runtime.engine_health_summary.clone(),
            runtime.engine.version.clone(),
            runtime.turn_schedule.clone(),
        ]);
    }
    grid.to_string()
}

fn one(runtime: Runtime, now: Timestamp) -> String {
    let skips = if runtime.skip_next_tick { "; a forced turn takes its place" } else { "" };
    let mut pairs = vec![
        ("Game", runtime.game_id),
        ("Status", runtime.runtime_status),
        ("Turn", runtime.current_turn.to_string()),
        ("Next turn", maybe(runtime.next_generation_at, now) + skips),
        ("Schedule", runtime.turn_schedule),
        ("Health", runtime.engine_health_summary),
    ];
    let pending = runtime.pending.map(|Pending { kind, reason, version }| {
        let of = reason.or(version).unwrap_or_default();
        format!("{kind}: {of}")
    });
    pairs.extend(pending.map(|pending| ("Pending", pending)));
    pairs.extend(runtime.work.map(|work| ("Work", work.kind)));
    let failure = runtime.last_failure.map(|f| format!("{}: {}", f.code, f.message));
    pairs.extend(failure.map(|failure| ("Last failure", failure)));
    if runtime.tries > 0 || runtime.retry_at.is_some() {
        let retry = format!("{} after {} tries", maybe(runtime.retry_at, now), runtime.tries);
        pairs.push(("Next try", retry));
    }
    let guard = if runtime.engine.turn_guard { "" } else { ", without turn guard" };
    pairs.extend([
        ("Engine", runtime.engine.version + guard),
        ("Image", runtime.engine.image_ref),
        ("Endpoint", runtime.engine.endpoint),
        ("Container", runtime.engine.container_id.unwrap_or_else(|| "-".into())),
        ("Created", when(runtime.created_at, now)),
    ]);
    for (name, at) in [
        ("Started", runtime.started_at),
        ("Stopped", runtime.stopped_at),
        ("Finished", runtime.finished_at),
    ] {
        pairs.extend(at.map(|at| (name, when(at, now))));
    }
    pairs.push(("Updated", when(runtime.updated_at, now)));
    pairs.push(("Revision", runtime.revision.to_string()));
    let mut page = Grid::of_pairs(pairs).to_string();
    if !runtime.player_turn_stats.is_empty() {
        let mut grid = Grid::new(["PLAYER", "PLANETS", "POPULATION"]);
        for player in runtime.player_turn_stats {
            let numbers = (player.planets.to_string(), player.population.to_string());
            grid.row([player.user_id, numbers.0, numbers.1]);
        }
        page.push('\n');
        page.push_str(&grid.to_string());
    }
    page
}

fn log(operations: &[Operation], now: Timestamp) -> String {
    let mut grid = Grid::new([
        "STARTED",
        "KIND",
        "SOURCE",
        "OUTCOME",
        "TOOK",
        "ERROR",
        "REQUEST",
        "OPERATION",
    ]);
    for operation in operations {
        let took = operation.finished_at.map(|end| {
            let millis = (end - operation.started_at).num_milliseconds();
            format!("{}.{:03} s", millis / 1000, millis.rem_euclid(1000))
        });
        let parts = [&operation.error_code, &operation.error_message];
        let error: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
        let dash = || "-".to_owned();
        grid.row([
            when(operation.started_at, now),
            operation.kind.clone(),
            operation.source.clone(),
            operation.outcome.clone(),
            took.unwrap_or_else(dash),
            if error.is_empty() { dash() } else { error.join(": ") },
            operation.request_id.clone().unwrap_or_else(dash),
            operation.operation_id.clone(),
        ]);
    }
    grid.to_string()
}

fn maybe(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "-".into(), |at| when(at, now))
}
