//! Whether the service stays reachable while others hold its connections, and while it is asked for
//! more than it can do.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use peers::engine::Plan;
use serde_json::json;
use support::args::{Common, Found, descriptors};
use support::figures::{Latencies, Summary};
use support::ground::Ground;
use support::progress;
use support::stage::{Cores, NEVER, Stage, commands, healthz, register};
use support::wire::{Beat, Connection, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The promises: the longest `/healthz` may take, and how soon p99 of what is shed is told so.
const HEALTHZ: Duration = Duration::from_millis(100);
const SHED: Duration = Duration::from_millis(50);

/// How often each kind of request is sent.
const EVERY: Duration = Duration::from_millis(10);
/// Between two bytes of one that drips, and before one that was closed comes again.
const DRIP: Duration = Duration::from_secs(1);
/// Descriptors for everything but the crowd.
const OTHER_DESCRIPTORS: usize = 200;

/// The overload: what the service takes at a time, how long an engine needs, how many ask and how
/// often each: ten times as much in all as can be done.
const PLACES: usize = 32;
const ENGINE_TAKES: Duration = Duration::from_millis(200);
const ASKING: u32 = 320;
const ASKED_EVERY: Duration = Duration::from_millis(200);
const GAMES: usize = 4;

/// Holds 2,000 connections that ask nothing or drip a byte of a head a second, and measures
/// `/healthz` and players' commands before and meanwhile; then asks for ten times as many commands
/// as fit. Fails where /healthz once took longer than 100 ms, or p99 of refusals was above 50 ms.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Connections that ask nothing, and as many that drip.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    each: u16,
    /// Rounds of everything.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
}

/// What was seen in one phase.
struct Seen {
    phase: &'static str,
    fresh: Summary,
    kept: Summary,
    command: Summary,
    /// Requests without an answer of 200.
    failed: usize,
    /// How many of the crowd were connected in the end.
    held: usize,
}

/// What was seen of the overload.
struct Shed {
    shed: Summary,
    served: Summary,
    healthz: Summary,
    other: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Each connection is two descriptors here, one of them only as long as it has a place.
    let fits = descriptors().saturating_sub(OTHER_DESCRIPTORS) / 4;
    let each = usize::from(cli.each).min(if cli.common.quick { 100 } else { fits });
    if !cli.common.quick && each < cli.each.into() {
        progress(format!("only {each} of each kind: the limit of open files is too low for more"));
    }
    let (rounds, calm, crowded) = if cli.common.quick { (1, 1, 2) } else { (cli.rounds, 5, 15) };
    let stage = Stage::new(Cores::Any);
    let gm = stage.game_master(Ground::Memory, |_| {});
    let narrow = stage.game_master(Ground::Memory, |settings| {
        settings.http.max_in_flight = PLACES;
        settings.http.max_in_flight_per_game = PLACES;
    });
    let (engine, _) = stage.engine();
    let slow: Vec<_> = (0..GAMES).map(|_| stage.engine()).collect();
    let found = stage.run(async move {
        register(&mut Connection::new(gm.address), "game", engine, NEVER).await;
        for (n, (engine, _)) in slow.iter().enumerate() {
            let game = format!("game-{n}");
            register(&mut Connection::new(narrow.address), &game, *engine, NEVER).await;
        }
        let latency_before_ms = u64::try_from(ENGINE_TAKES.as_millis()).expect("short");
        for (_, misbehaviour) in &slow {
            misbehaviour.set(Plan { latency_before_ms, ..Plan::default() });
        }
        let (mut seen, mut sheds) = (vec![], vec![]);
        for _ in 0..rounds {
            let before = look("before", gm.address, Duration::from_secs(calm), None).await;
            progress(told(&before));
            seen.push(before);
            let crowd = Crowd::gather(gm.address, each);
            // Until all have come: from here on somebody has to go for everybody who comes.
            crowd.gathered().await;
            let crowded = Duration::from_secs(crowded);
            let during = look("during", gm.address, crowded, Some(&crowd)).await;
            progress(told(&during));
            seen.push(during);
            crowd.disperse().await;
            let shed = overload(narrow.address, Duration::from_secs(calm)).await;
            progress(told_shed(&shed));
            sheds.push(shed);
        }
        tell(each, &seen, &sheds)
    });
    stage.end();
    cli.common.print(found)
}

async fn look(phase: &'static str, gm: SocketAddr, lasts: Duration, crowd: Option<&Crowd>) -> Seen {
    let began = Instant::now();
    let ask = |request: Wire, keep: bool| {
        tokio::spawn(async move {
            let mut connection = Connection::new(gm);
            let mut beat = Beat::new(began, EVERY, began + lasts);
            let (mut latencies, mut failed) = (Latencies::default(), 0);
            while let Some(began) = beat.next().await {
                if !keep {
                    connection = Connection::new(gm);
                }
                match connection.status(&request).await {
                    Some(200) => latencies.note(began.elapsed()),
                    Some(_) | None => failed += 1,
                }
            }
            (latencies.summary(), failed)
        })
    };
    let fresh = ask(healthz(), false);
    let kept = ask(healthz(), true);
    let command = ask(commands("game"), true);
    let (fresh, fresh_failed) = fresh.await.expect("no panic");
    let (kept, kept_failed) = kept.await.expect("no panic");
    let (command, command_failed) = command.await.expect("no panic");
    let failed = fresh_failed + kept_failed + command_failed;
    let held = crowd.map_or(0, Crowd::held);
    Seen { phase, fresh, kept, command, failed, held }
}

/// Those who hold connections and ask nothing.
struct Crowd {
    tasks: JoinSet<()>,
    held: Arc<AtomicUsize>,
    came: Arc<AtomicUsize>,
    count: usize,
}

impl Crowd {
    fn gather(gm: SocketAddr, each: usize) -> Self {
        let (held, came): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let mut tasks = JoinSet::new();
        for n in 0..each * 2 {
            let (held, came) = (Arc::clone(&held), Arc::clone(&came));
            tasks.spawn(async move {
                let mut first = true;
                loop {
                    if let Ok(stream) = TcpStream::connect(gm).await {
                        held.fetch_add(1, Ordering::Relaxed);
                        if std::mem::take(&mut first) {
                            came.fetch_add(1, Ordering::Relaxed);
                        }
                        hold(stream, n % 2 == 0).await;
                        held.fetch_sub(1, Ordering::Relaxed);
                    }
                    sleep(DRIP).await;
                }
            });
        }
        Self { tasks, held, came, count: each * 2 }
    }

    async fn gathered(&self) {
        while self.came.load(Ordering::Relaxed) < self.count {
            sleep(EVERY).await;
        }
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    async fn disperse(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Holds a connection until the server ends it.
async fn hold(mut stream: TcpStream, drips: bool) {
    let mut answer = [0; 512];
    for byte in b"GET /healthz HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a')) {
        if drips && stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        if let Ok(Ok(0) | Err(_)) = timeout(DRIP, stream.read(&mut answer)).await {
            return;
        }
    }
}

async fn overload(gm: SocketAddr, lasts: Duration) -> Shed {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..ASKING {
        tasks.spawn(async move {
            let mut connection = Connection::new(gm);
            let request = commands(&format!("game-{}", n as usize % GAMES));
            let mut beat = Beat::new(began + ASKED_EVERY * n / ASKING, ASKED_EVERY, began + lasts);
            let (mut shed, mut served, mut other) = (Latencies::default(), Latencies::default(), 0);
            while beat.next().await.is_some() {
                // From when it was sent: on this connection the one before may have been served.
                let sent = Instant::now();
                match connection.status(&request).await {
                    Some(503) => shed.note(sent.elapsed()),
                    Some(200) => served.note(sent.elapsed()),
                    Some(_) | None => other += 1,
                }
            }
            (shed, served, other)
        });
    }
    let seen = look_at_healthz(gm, began + lasts).await;
    let (mut shed, mut served, mut other) = (Latencies::default(), Latencies::default(), 0);
    while let Some(part) = tasks.join_next().await {
        let part = part.expect("no panic");
        shed.merge(part.0);
        served.merge(part.1);
        other += part.2;
    }
    Shed { shed: shed.summary(), served: served.summary(), healthz: seen, other }
}

async fn look_at_healthz(gm: SocketAddr, until: Instant) -> Summary {
    let request = healthz();
    let mut beat = Beat::new(Instant::now(), EVERY, until);
    let mut latencies = Latencies::default();
    while let Some(began) = beat.next().await {
        let status = Connection::new(gm).status(&request).await;
        assert_eq!(status, Some(200), "/healthz is answered");
        latencies.note(began.elapsed());
    }
    latencies.summary()
}

fn told(seen: &Seen) -> String {
    let Seen { phase, fresh, kept, command, failed, held } = seen;
    format!(
        "{phase}: /healthz on new connections {fresh}; on a kept one {kept}; commands {command}; \
         {failed} failed; the crowd holds {held}"
    )
}

fn told_shed(seen: &Shed) -> String {
    let Shed { shed, served, healthz, other } = seen;
    format!("overload: shed {shed}; served {served}; /healthz {healthz}; {other} otherwise")
}

fn tell(each: usize, seen: &[Seen], sheds: &[Shed]) -> Found {
    let healthz = |of: &Seen| of.fresh.max.max(of.kept.max);
    let longest = seen.iter().filter(|of| of.phase == "during").map(healthz).max();
    let longest = longest
        .unwrap_or_default()
        .max(sheds.iter().map(|of| of.healthz.max).max().unwrap_or_default());
    let shed = sheds.iter().map(|of| of.shed.p99).max().unwrap_or_default();
    let shed_some = sheds.iter().all(|of| of.shed.count > 0);
    let failed: usize = seen.iter().map(|of| of.failed).sum();
    let mut broken = vec![];
    if longest > HEALTHZ {
        broken.push(format!("/healthz took {longest:?}"));
    }
    if shed > SHED || !shed_some {
        broken.push(format!("p99 of what was shed is {shed:?}"));
    }
    if failed > 0 {
        broken.push(format!("{failed} requests were not answered with 200"));
    }
    let mut lines = vec![format!(
        "{each} idle and {each} dripping: /healthz at most {longest:?}; p99 of 503s at most {shed:?}"
    )];
    lines.extend(seen.iter().map(told));
    lines.extend(sheds.iter().map(told_shed));
    let phases: Vec<_> = seen
        .iter()
        .map(|of| {
            json!({
                "phase": of.phase, "fresh": of.fresh.json(), "kept": of.kept.json(),
                "command": of.command.json(), "failed": of.failed, "held": of.held,
            })
        })
        .collect();
    let overload: Vec<_> = sheds
        .iter()
        .map(|of| {
            json!({
                "shed": of.shed.json(), "served": of.served.json(),
                "healthz": of.healthz.json(), "other": of.other,
            })
        })
        .collect();
    let json = json!({
        "bench": "idle_connections", "each": each, "phases": phases, "overload": overload,
    });
    Found { lines, json, broken }
}
