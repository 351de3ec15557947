//! What Game Master adds to a player's command, against calling the engine directly.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use support::args::{Common, Found};
use support::echo::{self, Lags};
use support::figures::{Latencies, Spread, Summary};
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
    /// Only through Game Master: for a profiler.
    #[arg(long)]
    only_through: bool,
}

/// What one way came to: commands a second, and how long each took.
type Way = (f64, Summary);
/// Through Game Master, and directly.
type Pair = (Way, Way);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stage = Stage::new(Cores::Split);
    let gm = stage.game_master(None, |_| {});
    let engine = echo::engine(&stage, Lags::default());
    let (rounds, millis) = if cli.common.quick { (2, 300) } else { (cli.rounds, 1500) };
    let (gm, round) = (gm.address, Duration::from_millis(millis));
    let (connections, only_through) = (cli.connections, cli.only_through);
    let found = stage.run(async move {
        register(&mut Connection::new(gm), "game", engine, NEVER).await;
        let through = [(gm, commands("game"))];
        let direct = [(engine, direct_commands())];
        measure(&through, connections, round / 2).await;
        let mut pairs = vec![];
        for n in 0..rounds {
            let mut by_way = [(0.0, Summary::default()); 2];
            for (way, to) in [&through, &direct].into_iter().enumerate() {
                if way == 0 || !only_through {
                    by_way[way] = measure(to, connections, round).await;
                }
            }
            let [through, direct] = by_way;
            progress(format!("round {}: {:.0}/s of {:.0}/s", n + 1, through.0, direct.0));
            pairs.push((through, direct));
        }
        tell(&pairs)
    });
    stage.end();
    cli.common.print(found)
}

/// Commands a second, and how long each took.
async fn measure(
    to: &[(SocketAddr, Wire); 1],
    connections: u32,
    round: Duration,
) -> (f64, Summary) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let [(address, request)] = to.clone();
        tasks.spawn(async move {
            let mut connection = Connection::new(address);
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
    let summary = all.summary();
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth of requests")]
    let rate = summary.count as f64 / began.elapsed().as_secs_f64();
    (rate, summary)
}

fn tell(pairs: &[Pair]) -> Found {
    let ratio = Spread::of(pairs.iter().map(|(through, direct)| through.0 / direct.0));
    let of = |pick: &dyn Fn(&Pair) -> f64| Spread::of(pairs.iter().map(pick));
    let ms = |of: Duration| of.as_secs_f64() * 1e3;
    let (through, direct) = (of(&|pair| pair.0.0), of(&|pair| pair.1.0));
    let p50 = (of(&|pair| ms(pair.0.1.p50)), of(&|pair| ms(pair.1.1.p50)));
    let p99 = (of(&|pair| ms(pair.0.1.p99)), of(&|pair| ms(pair.1.1.p99)));
    let lines = vec![
        format!("commands through Game Master to commands to the engine: {ratio:.2}"),
        format!("through: {through:.0}/s, p50 {:.3} ms, p99 {:.3} ms", p50.0, p99.0),
        format!("direct:  {direct:.0}/s, p50 {:.3} ms, p99 {:.3} ms", p50.1, p99.1),
    ];
    let json = json!({
        "bench": "hot_path", "ratio": ratio.json(),
        "through": { "per_s": through.json(), "p50_ms": p50.0.json(), "p99_ms": p99.0.json() },
        "direct": { "per_s": direct.json(), "p50_ms": p50.1.json(), "p99_ms": p99.1.json() },
    });
    Found { lines, json, broken: vec![] }
}
