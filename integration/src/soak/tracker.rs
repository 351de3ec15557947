//! What is seen from outside while it goes on: how far every game is, and how long each strike kept
//! one from its next turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::plan::Kind;
use super::stage::Stage;

/// Between two looks at the records.
const LOOK: Duration = Duration::from_millis(200);
/// For one look; afterwards the connection is made anew.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at the processes.
const PROCESSES: Duration = Duration::from_secs(1);
/// The most samples of memory that are kept.
const MAX_SAMPLES: usize = 20_000;

/// A strike, and what came of it.
#[derive(Clone, Debug)]
pub struct Struck {
    /// What.
    pub kind: Kind,
    /// Whom.
    pub target: String,
    /// When, from the start.
    pub at: Duration,
    /// How long it took until every game had a turn again: from the kill, or from the end of what
    /// lasts. `None`: not yet.
    pub recovery: Option<Duration>,
    since: Instant,
}

/// How much memory a Game Master had at some time.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// From the start.
    pub at: Duration,
    /// In bytes.
    pub resident: u64,
}

/// How late ticks began, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    turn: u32,
    advanced: Option<Instant>,
}

#[derive(Default)]
struct Known {
    games: Vec<Seen>,
    turns: u64,
    unwell: usize,
    struck: Vec<Struck>,
    memory: BTreeMap<String, Vec<Memory>>,
    /// Processes that ended although nobody had asked them to.
    ended: Vec<String>,
    lag: Lag,
    running: usize,
    waiting: usize,
}

/// See the module.
pub(super) struct Tracker {
    pub(super) started: Instant,
    known: Mutex<Known>,
}

/// How it stands at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) turns: u64,
    pub(super) unwell: usize,
    pub(super) strikes: usize,
    pub(super) unrecovered: usize,
    pub(super) masters: usize,
    pub(super) waiting: usize,
    pub(super) lag: Lag,
}

impl Tracker {
    pub(super) fn new(games: usize) -> Self {
        let known = Known { games: vec![Seen::default(); games], ..Known::default() };
        Self { started: Instant::now(), known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn a game was last seen at.
    pub(super) fn turn(&self, table: usize) -> u32 {
        self.known().games.get(table).map_or(0, |seen| seen.turn)
    }

    /// Something was done to the system, and it has had a chance to recover from `since` on.
    pub(super) fn struck(&self, kind: Kind, target: &str, at: Instant, since: Instant) {
        let at = at.duration_since(self.started);
        let struck = Struck { kind, target: target.to_owned(), at, recovery: None, since };
        self.known().struck.push(struck);
    }

    /// Games that have had no turn since then.
    pub(super) fn behind(&self, since: Instant) -> Vec<usize> {
        let known = self.known();
        let is_behind = |seen: &Seen| seen.advanced.is_none_or(|at| at <= since);
        let all = known.games.iter().enumerate();
        all.filter(|(_, seen)| is_behind(seen)).map(|(n, _)| n).collect()
    }

    pub(super) fn standing(&self) -> Standing {
        let known = self.known();
        Standing {
            turns: known.turns,
            unwell: known.unwell,
            strikes: known.struck.len(),
            unrecovered: known.struck.iter().filter(|s| s.recovery.is_none()).count(),
            masters: known.running,
            waiting: known.waiting,
            lag: known.lag,
        }
    }

    pub(super) fn strikes(&self) -> Vec<Struck> {
        self.known().struck.clone()
    }

    pub(super) fn memory(&self) -> BTreeMap<String, Vec<Memory>> {
        self.known().memory.clone()
    }

    pub(super) fn ended(&self) -> Vec<String> {
        self.known().ended.clone()
    }

    /// Something is wrong with how a process ended.
    pub(super) fn note(&self, words: String) {
        self.known().ended.push(words);
    }

    fn saw(&self, rows: &[(usize, u32, bool)]) {
        let now = Instant::now();
        let mut known = self.known();
        known.turns = rows.iter().map(|(_, turn, _)| u64::from(*turn)).sum();
        known.unwell = rows.iter().filter(|(_, _, is_well)| !is_well).count();
        for (n, turn, _) in rows {
            if let Some(seen) = known.games.get_mut(*n)
                && *turn > seen.turn
            {
                *seen = Seen { turn: *turn, advanced: Some(now) };
            }
        }
        let oldest = known.games.iter().map(|seen| seen.advanced).min().flatten();
        for struck in known.struck.iter_mut().filter(|struck| struck.recovery.is_none()) {
            if oldest.is_some_and(|oldest| oldest > struck.since) {
                struck.recovery = Some(now.duration_since(struck.since));
            }
        }
    }

    /// Looks on until `stop`.
    pub(super) async fn follow(self: Arc<Self>, stage: Arc<Stage>, stop: CancellationToken) {
        let processes = self.follow_processes(&stage);
        let records = self.follow_records(&stage);
        tokio::select! {
            () = stop.cancelled() => {}
            () = processes => {}
            () = records => {}
        }
    }

    async fn follow_records(&self, stage: &Stage) {
        let mut client = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let looked = tokio::time::timeout(PATIENCE, self.look(stage, &mut client)).await;
            if !matches!(looked, Ok(Ok(()))) {
                client = None;
            }
        }
    }

    async fn look(
        &self,
        stage: &Stage,
        client: &mut Option<Client>,
    ) -> Result<(), tokio_postgres::Error> {
        let client = match client {
            Some(client) => client,
            None => client.insert(stage.postgres.admin(&stage.database).await?),
        };
        let query = "SELECT game_id, current_turn, \
                     status IN ('running', 'generation_in_progress') \
                     FROM gamemaster.runtime_records WHERE game_id ~ '^g[0-9]+$'";
        let rows = client.query(query, &[]).await?;
        let rows: Vec<(usize, u32, bool)> = rows
            .iter()
            .filter_map(|row| {
                let number = row.get::<_, &str>(0).strip_prefix('g')?.parse().ok()?;
                Some((number, u32::try_from(row.get::<_, i64>(1)).ok()?, row.get(2)))
            })
            .collect();
        self.saw(&rows);
        let lag = lag(client, "started_at > now() - interval '5 seconds'").await?;
        let waiting = "SELECT count(*) FROM gamemaster.outbox WHERE published_at IS NULL";
        let waiting: i64 = client.query_one(waiting, &[]).await?.get(0);
        let mut known = self.known();
        known.lag = lag;
        known.waiting = usize::try_from(waiting).unwrap_or(0);
        Ok(())
    }

    async fn follow_processes(&self, stage: &Stage) {
        loop {
            tokio::time::sleep(PROCESSES).await;
            let mut running = 0;
            for part in stage.parts() {
                // One that is being struck is looked at the next time.
                let Ok(mut part) = part.try_lock() else { continue };
                if let Some(status) = part.ended() {
                    let ended = format!("{} ended by itself: {status}", part.name());
                    self.note(ended);
                    // The loss is noted; what is tried goes on. A failure shows in the next look.
                    let _ = part.kill().and_then(|()| part.start());
                }
                if part.name().starts_with("gm-")
                    && let Some(resident) = part.resident()
                {
                    running += 1;
                    let sample = Memory { at: self.started.elapsed(), resident };
                    let mut known = self.known();
                    let samples = known.memory.entry(part.name().to_owned()).or_default();
                    if samples.len() < MAX_SAMPLES {
                        samples.push(sample);
                    }
                }
            }
            self.known().running = running;
        }
    }
}

/// How late ticks began, of those that a condition names.
pub(super) async fn lag(client: &Client, which: &str) -> Result<Lag, tokio_postgres::Error> {
    let query = format!(
        "SELECT coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY ms), 0)::float8, \
                coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY ms), 0)::float8, \
                coalesce(max(ms), 0)::float8 \
           FROM (SELECT extract(epoch FROM started_at - tick) * 1000 AS ms \
                   FROM gamemaster.operation_log WHERE kind = 'tick' AND {which}) late"
    );
    let row = client.query_one(&query, &[]).await?;
    let ms = |n: usize| row.get::<_, f64>(n).max(0.0) as u64;
    Ok(Lag { p50: ms(0), p99: ms(1), max: ms(2) })
}
