//! What Game Master adds to a player's command, against calling the engine directly: in commands a
//! second, which is what a quiet machine shows, and in processor time, which others who use the
//! machine disturb less.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Map, json};
use support::args::{Common, Found};
use support::cpu;
use support::echo::{self, Lags};
use support::figures::{Latencies, Spread, Summary};
use support::ground::{Ground, Servers};
use support::progress;
use support::stage::{Cores, NEVER, Stage, commands, direct_commands, register};
use support::wire::{Connection, Wire};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Measures commands a second through Game Master and directly to an engine that answers at once,
/// on the same number of connections, in turn. Game Master has one core, load and engine the other
/// (where `taskset` is there).
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Connections that send one command after the other.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Rounds of each way.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// What Game Master keeps its state in: a Game Master for each.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["memory", "servers"])]
    on: Vec<On>,
    /// Only through Game Master: for a profiler.
    #[arg(long)]
    only_through: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Memory,
    /// PostgreSQL and Redis.
    Servers,
}

impl On {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Servers => "servers",
        }
    }
}

/// The threads, by what they are for: see [`Stage`].
const GAME_MASTER: &[&str] = &["gm"];
const OTHERS: &[&str] = &["load", "neighbours"];

/// A way of sending commands.
#[derive(Clone)]
struct Way {
    name: &'static str,
    to: SocketAddr,
    request: Wire,
}

/// What one round of a way came to.
#[derive(Clone, Copy, Default)]
struct Round {
    /// Commands a second.
    rate: f64,
    latency: Summary,
    /// Processor time for each command, in microseconds: Game Master's, and that of load and engine.
    gm_us: f64,
    others_us: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stage = Stage::new(Cores::Split);
    let servers = cli.on.contains(&On::Servers).then(|| Servers::start(&stage));
    let grounds = cli.on.iter().map(|on| match (on, &servers) {
        (On::Servers, Some(servers)) => (on.name(), Ground::Servers(servers)),
        (On::Servers | On::Memory, _) => (on.name(), Ground::Memory),
    });
    let masters: Vec<_> =
        grounds.map(|(name, ground)| (name, stage.game_master(ground, |_| {}))).collect();
    let engine = echo::engine(&stage, Lags::default());
    let (rounds, millis) = if cli.common.quick { (2, 300) } else { (cli.rounds, 1500) };
    let round = Duration::from_millis(millis);
    let (connections, only_through) = (cli.connections, cli.only_through);
    let through = |(name, gm): &(&'static str, support::stage::GameMaster)| Way {
        name,
        to: gm.address,
        request: commands("game"),
    };
    let mut ways: Vec<Way> = masters.iter().map(through).collect();
    let found = stage.run(async move {
        for way in &ways {
            register(&mut Connection::new(way.to), "game", engine, NEVER).await;
            measure(way, connections, round / 2).await;
        }
        if !only_through {
            ways.push(Way { name: "direct", to: engine, request: direct_commands() });
        }
        let mut found: Vec<(&'static str, Vec<Round>)> =
            ways.iter().map(|way| (way.name, vec![])).collect();
        for n in 0..rounds {
            for (way, (_, rounds)) in ways.iter().zip(&mut found) {
                let came_to = measure(way, connections, round).await;
                let Round { rate, latency: _, gm_us, others_us } = came_to;
                progress(format!(
                    "round {}, {}: {rate:.0}/s; Game Master {gm_us:.1} µs, others {others_us:.1} µs",
                    n + 1,
                    way.name,
                ));
                rounds.push(came_to);
            }
        }
        tell(&found)
    });
    for (_, gm) in masters {
        stage.gm_ends(gm);
    }
    stage.end();
    cli.common.print(found)
}

/// Commands a second, how long each took, and what it cost.
async fn measure(way: &Way, connections: u32, round: Duration) -> Round {
    let began = Instant::now();
    let used = [GAME_MASTER, OTHERS].map(cpu::used_by);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let Way { name: _, to, request } = way.clone();
        tasks.spawn(async move {
            let mut connection = Connection::new(to);
            let mut latencies = Latencies::default();
            while began.elapsed() < round {
                let sent = Instant::now();
                let status = connection.status(&request).await;
                assert_eq!(status, Some(200), "a command is answered");
                latencies.note(sent.elapsed());
            }
            latencies
        });
    }
    let mut all = Latencies::default();
    while let Some(part) = tasks.join_next().await {
        all.merge(part.expect("no panic"));
    }
    let latency = all.summary();
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth of requests")]
    let count = latency.count as f64;
    let rate = count / began.elapsed().as_secs_f64();
    let [gm_us, others_us] =
        [(GAME_MASTER, used[0]), (OTHERS, used[1])].map(|(threads, before)| {
            cpu::used_by(threads).saturating_sub(before).as_secs_f64() * 1e6 / count
        });
    Round { rate, latency, gm_us, others_us }
}

fn tell(found: &[(&'static str, Vec<Round>)]) -> Found {
    let direct = found.iter().find(|(name, _)| *name == "direct").map(|(_, rounds)| rounds);
    let (mut lines, mut by_way) = (vec![], Map::new());
    for (name, rounds) in found {
        let of = |pick: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(pick));
        let ms = |of: Duration| of.as_secs_f64() * 1e3;
        let rate = of(&|round| round.rate);
        let (p50, p99) = (of(&|round| ms(round.latency.p50)), of(&|round| ms(round.latency.p99)));
        let (gm, others) = (of(&|round| round.gm_us), of(&|round| round.others_us));
        lines.push(format!("{name}: {rate:.0}/s, p50 {p50:.3} ms, p99 {p99:.3} ms"));
        lines
            .push(format!("    processor: Game Master {gm:.1} µs, load and engine {others:.1} µs"));
        let mut json = json!({
            "per_s": rate.json(), "p50_ms": p50.json(), "p99_ms": p99.json(),
            "gm_us": gm.json(), "others_us": others.json(),
        });
        if let Some(direct) = direct.filter(|_| *name != "direct") {
            let to_direct = |pick: &dyn Fn(&Round, &Round) -> f64| {
                Spread::of(rounds.iter().zip(direct).map(|(round, direct)| pick(round, direct)))
            };
            let ratio = to_direct(&|round, direct| round.rate / direct.rate);
            // What each way takes of the core that is the bottleneck.
            let cpu = to_direct(&|round, direct| direct.others_us / round.gm_us);
            lines
                .push(format!("    to direct: {ratio:.2} in commands, {cpu:.2} in processor time"));
            json["ratio"] = ratio.json();
            json["cpu_ratio"] = cpu.json();
        }
        by_way.insert((*name).into(), json);
    }
    Found { lines, json: json!({ "bench": "hot_path", "ways": by_way }), broken: vec![] }
}
