//! How many games with a turn a second keep up.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::json;
use support::args::{Common, Found, Scratch};
use support::cpu;
use support::echo::{self, Lags};
use support::figures::Summary;
use support::ground::{Ground, Servers};
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

/// Runs more and more games with a turn a second, in memory, in a file, and on PostgreSQL with
/// Redis, until they do not keep up: until p99 of how late engines are asked for turns is above
/// 250 ms, or turns are missing. How many turns a second are generated beyond that is told as well.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// What the games are kept in.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["memory", "file", "servers"])]
    on: Vec<On>,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Memory,
    File,
    /// PostgreSQL, every commit on the disk before it is answered, and Redis.
    Servers,
}

impl On {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Servers => "servers",
        }
    }
}

struct Step {
    store: On,
    games: usize,
    turns_per_s: f64,
    lag: Summary,
    kept_up: bool,
    /// Processor time for each turn, in microseconds.
    gm_us: f64,
    servers_us: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (games, seconds) =
        if cli.common.quick { (vec![10, 50], 2) } else { (cli.games.clone(), cli.seconds) };
    let mut steps = vec![];
    for store in cli.on.clone() {
        for count in &games {
            let step = step(&cli, store, *count, seconds);
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

fn step(cli: &Cli, store: On, games: usize, seconds: u32) -> Step {
    let stage = Stage::new(Cores::Any);
    let (scratch, servers);
    let file;
    let ground = match store {
        On::Memory => Ground::Memory,
        On::File => {
            scratch = Scratch::new(cli.folder.as_ref());
            file = scratch.file("games.redb");
            Ground::File(&file)
        }
        On::Servers => {
            servers = Servers::start(&stage);
            Ground::Servers(&servers)
        }
    };
    let gm = stage.game_master(ground, |_| {});
    let lags = Lags::default();
    let engines: Vec<_> = (0..ENGINES).map(|_| echo::engine(&stage, lags.clone())).collect();
    let address = gm.address;
    let (lag, used) = stage.run(async move {
        start(address, games, engines.into()).await;
        sleep(SETTLE).await;
        lags.take();
        let before = (cpu::used_by(&["gm"]), cpu::used_by_children());
        sleep(Duration::from_secs(seconds.into())).await;
        let used = (
            cpu::used_by(&["gm"]).saturating_sub(before.0),
            cpu::used_by_children().saturating_sub(before.1),
        );
        (lags.take().summary(), used)
    });
    stage.gm_ends(gm);
    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds' turns")]
    let (turns, asked) = (lag.count as f64, games as f64);
    let turns_per_s = turns / f64::from(seconds);
    let kept_up = lag.p99 < IN_TIME && turns_per_s >= asked * COMPLETE;
    let us = |used: Duration| used.as_secs_f64() * 1e6 / turns;
    let (gm_us, servers_us) = (us(used.0), us(used.1));
    stage.end();
    Step { store, games, turns_per_s, lag, kept_up, gm_us, servers_us }
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
    let Step { store, games, turns_per_s, lag, kept_up, gm_us, servers_us } = step;
    let verdict = if *kept_up { "kept up" } else { "fell behind" };
    let store = store.name();
    format!(
        "{store}: {games} games, {turns_per_s:.0} turns/s, {verdict}; late by {lag}; processor for \
         each: Game Master {gm_us:.0} µs, servers {servers_us:.0} µs"
    )
}

fn tell(steps: &[Step]) -> Found {
    let most = |store: On| {
        let kept = steps.iter().filter(|step| step.store == store && step.kept_up);
        kept.map(|step| step.games).max().unwrap_or(0)
    };
    let [memory, file, servers] = [On::Memory, On::File, On::Servers].map(most);
    let mut lines = vec![format!(
        "games that keep up: {memory} in memory, {file} in a file, {servers} on servers"
    )];
    lines.extend(steps.iter().map(line));
    let all: Vec<_> = steps
        .iter()
        .map(|step| {
            json!({
                "store": step.store.name(), "games": step.games, "turns_per_s": step.turns_per_s,
                "lag": step.lag.json(), "kept_up": step.kept_up,
                "gm_us": step.gm_us, "servers_us": step.servers_us,
            })
        })
        .collect();
    let json = json!({
        "bench": "scheduler", "memory": memory, "file": file, "servers": servers, "steps": all,
    });
    Found { lines, json, broken: vec![] }
}
