//! How many games with a turn a second keep up.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use support::args::{Common, Found, Scratch};
use support::echo::{self, Lags};
use support::figures::Summary;
use support::progress;
use support::stage::{Cores, EACH_SECOND, Stage, register};
use support::wire::Connection;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The games keep up where the engines are asked this soon after the second.
const IN_TIME: Duration = Duration::from_millis(250);
/// And where no more turns than these are missing, for the seconds at both ends.
const COMPLETE: f64 = 0.98;
const ENGINES: usize = 64;
const REGISTER_AT_A_TIME: usize = 16;
const SETTLE: Duration = Duration::from_secs(2);

/// Runs more and more games with a turn a second, in memory and in a file, until they do not keep
/// up: until p99 of how late engines are asked for turns is above 250 ms, or turns are missing.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Where the file is made; else in the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Numbers of games, each more than the one before.
    #[arg(long, value_delimiter = ',', default_value = "100,200,400,800,1600,3200")]
    games: Vec<usize>,
    /// For how long each is measured.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
}

struct Step {
    store: &'static str,
    games: usize,
    turns_per_s: f64,
    lag: Summary,
    kept_up: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (games, seconds) =
        if cli.common.quick { (vec![10, 50], 2) } else { (cli.games.clone(), cli.seconds) };
    let mut steps = vec![];
    for store in ["memory", "file"] {
        for count in &games {
            let scratch = Scratch::new(cli.folder.as_ref());
            let file = scratch.file("games.redb");
            let file = (store == "file").then_some(file.as_path());
            let step = step(store, file, *count, seconds);
            progress(line(&step));
            let kept_up = step.kept_up;
            steps.push(step);
            if !kept_up {
                break;
            }
        }
    }
    cli.common.print(tell(&steps))
}

fn step(store: &'static str, file: Option<&Path>, games: usize, seconds: u32) -> Step {
    let stage = Stage::new(Cores::Any);
    let gm = stage.game_master(file, |_| {});
    let lags = Lags::default();
    let engines: Vec<_> = (0..ENGINES).map(|_| echo::engine(&stage, lags.clone())).collect();
    let address = gm.address;
    let lag = stage.run(async move {
        start(address, games, engines.into()).await;
        sleep(SETTLE).await;
        lags.take();
        sleep(Duration::from_secs(seconds.into())).await;
        lags.take().summary()
    });
    stage.gm_ends(gm);
    stage.end();
    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds' turns")]
    let (turns, asked) = (lag.count as f64, games as f64);
    let turns_per_s = turns / f64::from(seconds);
    let kept_up = lag.p99 < IN_TIME && turns_per_s >= asked * COMPLETE;
    Step { store, games, turns_per_s, lag, kept_up }
}

async fn start(gm: SocketAddr, games: usize, engines: Arc<[SocketAddr]>) {
    let mut tasks = JoinSet::new();
    for worker in 0..REGISTER_AT_A_TIME {
        let engines = Arc::clone(&engines);
        tasks.spawn(async move {
            let mut connection = Connection::new(gm);
            for n in (worker..games).step_by(REGISTER_AT_A_TIME) {
                let engine = engines[n % engines.len()];
                register(&mut connection, &format!("game-{n}"), engine, EACH_SECOND).await;
            }
        });
    }
    tasks.join_all().await;
}

fn line(step: &Step) -> String {
    let Step { store, games, turns_per_s, lag, kept_up } = step;
    let verdict = if *kept_up { "kept up" } else { "fell behind" };
    format!("{store}: {games} games, {turns_per_s:.0} turns/s, {verdict}; late by {lag}")
}

fn tell(steps: &[Step]) -> Found {
    let most = |store: &str| {
        let kept = steps.iter().filter(|step| step.store == store && step.kept_up);
        kept.map(|step| step.games).max().unwrap_or(0)
    };
    let (memory, file) = (most("memory"), most("file"));
    let mut lines = vec![format!("games that keep up: {memory} in memory, {file} in a file")];
    lines.extend(steps.iter().map(line));
    let all: Vec<_> = steps
        .iter()
        .map(|step| {
            json!({
                "store": step.store, "games": step.games, "turns_per_s": step.turns_per_s,
                "lag": step.lag.json(), "kept_up": step.kept_up,
            })
        })
        .collect();
    let json = json!({ "bench": "scheduler", "memory": memory, "file": file, "steps": all });
    Found { lines, json, broken: vec![] }
}
