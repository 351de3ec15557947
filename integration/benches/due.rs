//! What it costs to ask PostgreSQL which games are due, where there are many and few of them are.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up, or panics, ends")]

mod support;

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::json;
use service::ports::{Clock as _, Store, SystemClock};
use service::postgres::Postgres;
use support::args::{Common, Found};
use support::figures::{Latencies, Summary, millis};
use support::ground::Servers;
use support::progress;
use support::stage::{Cores, Stage};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// As many as the scheduler asks for.
const LIMIT: usize = 10_000;
/// As many records change in one transaction as in a batch of commits.
const BATCH: i64 = 128;
/// How long the table may take to be filled.
const PATIENCE: &str = "SET statement_timeout = '600s'";

/// Fills a table with games of which few are due and asks which: fresh, without statistics and with
/// them; with ten times as many due; after many turns, with the dead entries that these leave in the
/// index, as far as the server's own vacuum has not been there yet; and after a vacuum.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Games.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1_000..))]
    records: i64,
    /// Games that are due.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=900))]
    due: i64,
    /// Turns between the first questions and the last: two changes of a record each.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(i64).range(1..))]
    turns: i64,
    /// How often each question is asked.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
}

/// What one question came to.
struct Asked {
    when: &'static str,
    due: usize,
    took: Summary,
    /// The plan, with what was read.
    plan: Vec<String>,
}

struct Bench {
    store: Postgres,
    client: Client,
    now: DateTime<Utc>,
    times: u32,
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if cli.common.quick {
        (cli.records, cli.turns, cli.times) = (20_000, 1_000, 5);
    }
    let common = cli.common.clone();
    let stage = Stage::new(Cores::Any);
    let servers = Servers::start(&stage);
    let found = stage.neighbours.block_on(run(cli, &servers));
    drop(servers);
    stage.end();
    common.print(found)
}

async fn run(cli: Cli, servers: &Servers) -> Found {
    let (database, store) = servers.store().await;
    let client = servers.postgres.admin(&database).await.expect("a connection");
    client.batch_execute(PATIENCE).await.expect("a setting");
    let bench = Bench { store, client, now: SystemClock.now(), times: cli.times };
    bench.fill(cli.records, cli.due).await;
    let mut asked = vec![bench.ask("fresh, no statistics").await];
    bench.client.batch_execute("ANALYZE gamemaster.runtime_records").await.expect("statistics");
    asked.push(bench.ask("fresh").await);
    bench.make_due(cli.due * 10).await;
    asked.push(bench.ask("ten times as many due").await);
    bench.make_due(cli.due).await;
    let took = bench.play(cli.turns, cli.records, cli.due).await;
    asked.push(bench.ask("after the turns").await);
    bench.client.batch_execute("VACUUM gamemaster.runtime_records").await.expect("a vacuum");
    asked.push(bench.ask("after a vacuum").await);
    tell(&cli, &asked, took)
}

impl Bench {
    async fn fill(&self, records: i64, due: i64) {
        progress(format!("{records} records"));
        let version = "INSERT INTO gamemaster.engine_versions \
            (version, sort_key, image_ref, options, status, created_at, updated_at) \
            VALUES ('1.4.2', '1', 'galaxy/engine:1.4.2', '{}', 'active', $1, $1)";
        self.client.execute(version, &[&self.now]).await.expect("a version");
        let fill = "INSERT INTO gamemaster.runtime_records \
            (game_id, status, revision, incarnation, attempt, engine_endpoint, engine_version, \
             engine_image_ref, engine_turn_guard, schedule, next_generation_at, current_turn, \
             health_summary, tries, player_turn_stats, created_at, started_at, updated_at, \
             next_timer_at, roster_digest) \
            SELECT 'game-' || n, 'running', 1, gen_random_uuid(), 1, 'http://10.0.0.1:8080', \
                   '1.4.2', 'galaxy/engine:1.4.2', true, '0 18 * * *', t.at, 7, 'healthy', 0, \
                   '[]', $1, $1, $1, t.at, '' \
              FROM generate_series(1, $2::bigint) n, \
                   LATERAL (SELECT $1::timestamptz + interval '1 hour' \
                                   + n % 1000000 * interval '1 second' AS at) t";
        self.client.execute(fill, &[&self.now, &records]).await.expect("records");
        self.make_due(due).await;
    }

    /// So many games are due, and no others.
    async fn make_due(&self, due: i64) {
        let set = "UPDATE gamemaster.runtime_records SET revision = revision + 1, next_timer_at = \
                CASE WHEN n <= $2::bigint THEN $1::timestamptz - n * interval '1 millisecond' \
                     ELSE $1::timestamptz + interval '2 hours' END \
              FROM generate_series(1, 9000) n WHERE game_id = 'game-' || n";
        self.client.execute(set, &[&self.now, &due]).await.expect("timers");
    }

    async fn ask(&self, when: &'static str) -> Asked {
        let mut latencies = Latencies::default();
        let mut due = 0;
        // The first one prepares the statement.
        for n in 0..=self.times {
            let began = Instant::now();
            due = self.store.due(self.now, LIMIT).await.expect("an answer").len();
            if n > 0 {
                latencies.note(began.elapsed());
            }
        }
        let took = latencies.summary();
        progress(format!("{when}: {due} due, {took}"));
        Asked { when, due, took, plan: self.plan().await }
    }

    /// How the server goes about it: the statement of the store, with its literal limit.
    async fn plan(&self) -> Vec<String> {
        let limit = LIMIT.next_power_of_two();
        let now = self.now.to_rfc3339();
        let sql = format!(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) SELECT next_timer_at, game_id \
             FROM gamemaster.runtime_records WHERE next_timer_at <= '{now}' \
             ORDER BY next_timer_at, game_id LIMIT {limit}"
        );
        let rows = self.client.query(&sql, &[]).await.expect("a plan");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Turns of games that are not the due ones, each as the scheduler writes it: a lease, and then
    /// the next tick.
    async fn play(&self, turns: i64, records: i64, due: i64) -> Duration {
        progress(format!("{turns} turns"));
        let began = Instant::now();
        let set = "UPDATE gamemaster.runtime_records r SET revision = revision + 1, \
                next_timer_at = $1::timestamptz + $2::bigint * interval '1 second' \
              FROM generate_series($3::bigint, $3::bigint + $4::bigint - 1) n \
              WHERE r.game_id = 'game-' || n";
        let set = self.client.prepare(set).await.expect("a statement");
        let played = records - due;
        for first in (0..turns).step_by(usize::try_from(BATCH).expect("small")) {
            let game = due + 1 + first % played.max(1);
            // A lease runs out soon: among what is due first, where a question begins.
            for after in [-60_i64, 3600 + first] {
                let count = BATCH.min(records - game + 1).max(0);
                let values: [&(dyn ToSql + Sync); 4] = [&self.now, &after, &game, &count];
                self.client.execute(&set, &values).await.expect("a batch");
            }
        }
        began.elapsed()
    }
}

fn tell(cli: &Cli, asked: &[Asked], played: Duration) -> Found {
    let Cli { records, turns, .. } = cli;
    let mut lines =
        vec![format!("{records} records; {turns} turns in {:.1} s", played.as_secs_f64())];
    let mut broken = vec![];
    let mut steps = vec![];
    for Asked { when, due, took, plan } in asked {
        lines.push(format!("{when}: {due} due, {took}"));
        lines.extend(plan.iter().map(|line| format!("    {line}")));
        if !plan.iter().any(|line| line.contains("using runtime_records_due")) {
            broken.push(format!("{when}: the index of what is due is not used"));
        }
        if plan.iter().any(|line| line.contains("Sort")) {
            broken.push(format!("{when}: what is due is sorted"));
        }
        steps.push(json!({
            "when": when, "due": due, "took": took.json(), "plan": plan.join("\n"),
            "each_due_ms": millis(took.p50) / f64::from(u32::try_from(*due).unwrap_or(1).max(1)),
        }));
    }
    let json = json!({ "bench": "due", "records": records, "turns": turns, "steps": steps });
    Found { lines, json, broken }
}
