//! Whether engines that hang slow the games of others.
//!
//! ```text
//!   50 games ─┬─ 48: commands at a fixed rate, forced turns ──▶ measured
//!             ├─  1: commands, which hang ┐ in every other phase; well in the phases between
//!             └─  1: turns, which hang    ┘
//! ```
//!
//! One more than promised: an engine whose turn hangs takes no commands, so that one alone could
//! not do both.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use peers::engine::{Misbehaviour, Operation, Plan};
use serde_json::json;
use support::args::{Common, Found};
use support::figures::{Latencies, Spread, Summary, ratio};
use support::ground::Ground;
use support::progress;
use support::stage::{Cores, NEVER, Stage, commands, force, register};
use support::wire::{Beat, Connection, Wire};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The promise: how much longer the others may wait.
const ALLOWED: f64 = 1.2;
/// How long Game Master waits for a player's call and for a turn: shorter than in production, so
/// that a phase that is over does not hang into the next.
const CALL: Duration = Duration::from_millis(1500);
/// Between two phases: what hung has timed out, and the turn that hung is found out about.
const REST: Duration = Duration::from_secs(2);

/// Measures the latency of 48 games while the engines of two others hang, and while they do not, in
/// turn. Fails where the median of the rounds' ratios of p99 is above 1.2.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// How many games there are, the two included.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(3..=200))]
    games: u16,
    /// Commands a second to the others, in all.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Rounds of a phase with hung engines and one without.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// Who sends to the others, who to the two, and how often each.
const CONNECTIONS: u32 = 8;
const TO_HUNG: u32 = 80;
const TO_HUNG_EVERY: Duration = Duration::from_millis(400);
const TURNS_EVERY: Duration = Duration::from_millis(50);

struct Plot {
    gm: SocketAddr,
    others: Vec<(Wire, Wire)>,
    hung: [Wire; 2],
    engines: [Misbehaviour; 2],
    every: Duration,
    phase: Duration,
}

/// One phase.
struct Phase {
    commands: Summary,
    turns: Summary,
    /// Commands that met a turn, which is what the lifecycle says.
    refused: usize,
    failed: usize,
    /// Calls to the engines that hang: answered, 503 (shed, or no answer of
    /// the engine in time), and anything else.
    hung: [usize; 3],
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stage = Stage::new(Cores::Any);
    let gm = stage.game_master(Ground::Memory, |settings| {
        settings.engine_limits.player = CALL;
        settings.engine_limits.turn = CALL;
    });
    let mut engines = vec![];
    for _ in 0..cli.games {
        engines.push(stage.engine());
    }
    let (rounds, phase) = if cli.common.quick { (2, 1) } else { (cli.rounds, 4) };
    let name = |n: usize| format!("game-{n}");
    let last = engines.len() - 1;
    let plot = Arc::new(Plot {
        gm: gm.address,
        others: (0..last - 1).map(|n| (commands(&name(n)), force(&name(n)))).collect(),
        hung: [commands(&name(last - 1)), force(&name(last))],
        engines: [engines[last - 1].1.clone(), engines[last].1.clone()],
        every: Duration::from_secs(1) * CONNECTIONS / cli.rate,
        phase: Duration::from_secs(phase),
    });
    let found = stage.run(async move {
        let mut connection = Connection::new(plot.gm);
        for (n, (engine, _)) in engines.iter().enumerate() {
            register(&mut connection, &name(n), *engine, NEVER).await;
        }
        plot.measure(false).await;
        let mut pairs = vec![];
        for round in 0..rounds {
            // The order changes, so that a machine that gets slower favours neither.
            let first = plot.measure(round % 2 == 1).await;
            let second = plot.measure(round % 2 == 0).await;
            let (well, hung) = if round % 2 == 1 { (second, first) } else { (first, second) };
            let ratio = ratio(hung.commands.p99, well.commands.p99);
            progress(format!("round {}: {:.2}; {}", round + 1, ratio, hung.commands));
            pairs.push((well, hung));
        }
        tell(&pairs)
    });
    stage.end();
    cli.common.print(found)
}

impl Plot {
    async fn measure(self: &Arc<Self>, hangs: bool) -> Phase {
        for (engine, only) in self.engines.iter().zip([Operation::Command, Operation::Turn]) {
            let plan = Plan { only: vec![only], hang_next: u32::MAX, ..Plan::default() };
            engine.set(if hangs { plan } else { Plan::default() });
        }
        let began = Instant::now();
        let mut to_hung = JoinSet::new();
        for n in 0..TO_HUNG {
            let (plot, first) = (Arc::clone(self), began + TO_HUNG_EVERY * n / TO_HUNG);
            to_hung.spawn(async move { plot.press(n % 8 == 7, first, began + plot.phase).await });
        }
        let mut to_others = JoinSet::new();
        for n in 0..CONNECTIONS {
            let (plot, first) = (Arc::clone(self), began + self.every * n / CONNECTIONS);
            to_others.spawn(async move { plot.command(n as usize, first).await });
        }
        let turns = tokio::spawn(Arc::clone(self).turns(began));
        let mut latencies = Latencies::default();
        let mut hung = [0; 3];
        let (mut refused, mut failed) = (0, 0);
        while let Some(part) = to_others.join_next().await {
            let (part, [of_turns, of_others]) = part.expect("no panic");
            latencies.merge(part);
            refused += of_turns;
            failed += of_others;
        }
        while let Some(part) = to_hung.join_next().await {
            let part = part.expect("no panic");
            hung = std::array::from_fn(|n| hung[n] + part[n]);
        }
        let (turns, of_turns) = turns.await.expect("no panic");
        failed += of_turns;
        for engine in &self.engines {
            engine.clear();
        }
        sleep_until(Instant::now() + REST).await;
        Phase { commands: latencies.summary(), turns: turns.summary(), refused, failed, hung }
    }

    /// Commands to the others on one connection.
    async fn command(&self, offset: usize, first: Instant) -> (Latencies, [usize; 2]) {
        let mut connection = Connection::new(self.gm);
        let mut beat = Beat::new(first, self.every, first + self.phase);
        let (mut latencies, mut refused) = (Latencies::default(), [0; 2]);
        let step = CONNECTIONS as usize;
        for (request, _) in self.others.iter().cycle().skip(offset * 5).step_by(step) {
            let Some(began) = beat.next().await else { break };
            match connection.status(request).await {
                Some(200) => latencies.note(began.elapsed()),
                Some(409) => refused[0] += 1,
                Some(_) | None => refused[1] += 1,
            }
        }
        (latencies, refused)
    }

    /// Forced turns of the others.
    async fn turns(self: Arc<Self>, first: Instant) -> (Latencies, usize) {
        let mut connection = Connection::new(self.gm);
        let mut beat = Beat::new(first, TURNS_EVERY, first + self.phase);
        let (mut latencies, mut failed) = (Latencies::default(), 0);
        for (_, request) in self.others.iter().cycle() {
            let Some(began) = beat.next().await else { break };
            match connection.status(request).await {
                Some(200) => latencies.note(began.elapsed()),
                Some(_) | None => failed += 1,
            }
        }
        (latencies, failed)
    }

    /// Somebody who goes on although the engine hangs: a player, or one who forces the other's turns.
    /// Connections of its own for each, since whoever waits for a command forces no turn.
    async fn press(&self, turns: bool, first: Instant, until: Instant) -> [usize; 3] {
        let mut connection = Connection::new(self.gm);
        let mut next = first;
        let mut answers = [0; 3];
        while next.max(Instant::now()) < until {
            sleep_until(next).await;
            next = (next + TO_HUNG_EVERY).max(Instant::now());
            let request = &self.hung[usize::from(turns)];
            match connection.status(request).await {
                Some(200) => answers[0] += 1,
                Some(503) => answers[1] += 1,
                Some(_) | None => answers[2] += 1,
            }
        }
        answers
    }
}

fn tell(pairs: &[(Phase, Phase)]) -> Found {
    let spread = |of: &dyn Fn(&(Phase, Phase)) -> f64| Spread::of(pairs.iter().map(of));
    let p99 = spread(&|(well, hung)| ratio(hung.commands.p99, well.commands.p99));
    let p50 = spread(&|(well, hung)| ratio(hung.commands.p50, well.commands.p50));
    let turns = spread(&|(well, hung)| ratio(hung.turns.p99, well.turns.p99));
    let turns_p50 = spread(&|(well, hung)| ratio(hung.turns.p50, well.turns.p50));
    let failed: usize = pairs.iter().map(|(well, hung)| well.failed + hung.failed).sum();
    let mut lines = vec![
        format!("others' commands, hung to well: p99 {p99:.2}, p50 {p50:.2}"),
        format!("others' forced turns, hung to well: p99 {turns:.2}, p50 {turns_p50:.2}"),
    ];
    let mut broken = vec![];
    if p99.median > ALLOWED {
        broken.push(format!("p99 of the others' commands is {:.2} times as long", p99.median));
    }
    if turns.median > ALLOWED {
        broken.push(format!("p99 of the others' turns is {:.2} times as long", turns.median));
    }
    if failed > 0 {
        broken.push(format!("{failed} calls of the others failed"));
    }
    let mut phases = vec![];
    for (n, (well, hung)) in pairs.iter().enumerate() {
        for (what, phase) in [("well", well), ("hung", hung)] {
            let Phase { commands, turns, refused, failed, hung } = phase;
            let [answered, shed, lost] = hung;
            lines.push(format!("round {} {what}: commands {commands}; turns {turns}", n + 1));
            lines.push(format!(
                "    {refused} met a turn, {failed} failed; of the hung: {answered} answered, \
                 {shed} with 503, {lost} otherwise"
            ));
            phases.push(json!({
                "round": n + 1, "phase": what, "commands": commands.json(), "turns": turns.json(),
                "refused": refused, "failed": failed, "of_the_hung": hung,
            }));
        }
    }
    let json = json!({
        "bench": "hung_engine", "p99_ratio": p99.json(), "p50_ratio": p50.json(),
        "turns_p99_ratio": turns.json(), "turns_p50_ratio": turns_p50.json(), "phases": phases,
    });
    Found { lines, json, broken }
}
