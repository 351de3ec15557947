//! What must hold once everything has come to rest, read from outside: from the database, the
//! streams and the engines, each of which is held against the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machine::{LobbyEvent, Message, NotificationType, StreamId};
use net::{RedisLimits, TokioNet};
use serde_json::Value;
use service::ports::Streams;
use service::redis_streams::{RedisSettings, RedisStreams};
use tokio_postgres::Client as Postgres;
use tokio_util::sync::CancellationToken;

use super::guests::Guests;
use super::stage::{GUEST_TURNS, Stage};
use super::{SoakError, tracker};
use crate::harness::Client;

const EVENTS: &str = "gm:lobby_events";
const INTENTS: &str = "notification:intents";
/// Entries read at a time.
const PAGE: usize = 1_000;
/// The most findings of one kind that are told in words.
const MAX_WORDS: usize = 10;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named by `label`")]
pub enum Wrong {
    TurnsLost,
    TurnsDoubled,
    GamesStuck,
    EventsReordered,
    EventsLost,
    EventsDoubled,
    NotificationsLost,
    AcknowledgedLost,
    OperationsOpen,
    OutboxWaiting,
    IdleInTransaction,
    Orphans,
    EndedByItself,
    MemoryGrew,
}

impl Wrong {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::TurnsLost,
        Self::TurnsDoubled,
        Self::GamesStuck,
        Self::EventsReordered,
        Self::EventsLost,
        Self::EventsDoubled,
        Self::NotificationsLost,
        Self::AcknowledgedLost,
        Self::OperationsOpen,
        Self::OutboxWaiting,
        Self::IdleInTransaction,
        Self::Orphans,
        Self::EndedByItself,
        Self::MemoryGrew,
    ];

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::TurnsLost => "turns lost",
            Self::TurnsDoubled => "turns doubled",
            Self::GamesStuck => "games stuck",
            Self::EventsReordered => "events reordered",
            Self::EventsLost => "events lost",
            Self::EventsDoubled => "events doubled",
            Self::NotificationsLost => "notifications lost",
            Self::AcknowledgedLost => "acknowledged orders and commands lost",
            Self::OperationsOpen => "operations left open",
            Self::OutboxWaiting => "outbox waiting",
            Self::IdleInTransaction => "sessions idle in a transaction",
            Self::Orphans => "rows without a record",
            Self::EndedByItself => "processes that ended by themselves, or not in order",
            Self::MemoryGrew => "Game Masters with too much memory",
        }
    }
}

/// How often something was wrong, and of the first times what.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// How often.
    pub counts: BTreeMap<Wrong, u64>,
    /// In words: what, and in which game.
    pub words: Vec<(Wrong, String, String)>,
}

impl Findings {
    pub(super) fn add(&mut self, wrong: Wrong, game: &str, words: impl Into<String>) {
        let count = self.counts.entry(wrong).or_default();
        *count += 1;
        if *count <= MAX_WORDS as u64 {
            self.words.push((wrong, game.to_owned(), words.into()));
        }
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How often this was.
    pub fn count(&self, wrong: Wrong) -> u64 {
        self.counts.get(&wrong).copied().unwrap_or(0)
    }
}

/// What was counted on the way.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub games: u64,
    pub turns: u64,
    pub events: u64,
    pub intents: u64,
    /// Turns whose intent had arrived, and is in the stream no more.
    pub gone: u64,
    pub operations: u64,
    pub lag: tracker::Lag,
}

/// A game as its record has it.
struct Recorded {
    status: String,
    turn: u32,
}

/// What the stream tells of one game.
#[derive(Default)]
struct Told {
    /// The newest turn.
    turn: Option<u32>,
    is_over: bool,
}

/// Notes whatever is in `notification:intents` while it goes on, as the notification service does:
/// once read it has arrived, whatever becomes of the stream.
pub(super) async fn witness(
    redis_url: String,
    arrived: Arc<std::sync::Mutex<BTreeSet<(String, u32)>>>,
    stop: CancellationToken,
) {
    let Ok(streams) = streams(&redis_url) else { return };
    let mut after = StreamId::ZERO;
    while !stop.is_cancelled() {
        match streams.read(INTENTS, after, PAGE, Duration::from_millis(200)).await {
            Ok(entries) if entries.is_empty() => {
                // A stream that was lost begins again, below where we are.
                match streams.newest(INTENTS).await {
                    Ok(newest) if newest < after => after = StreamId::ZERO,
                    Ok(_) | Err(_) => {}
                }
            }
            Ok(entries) => {
                for entry in entries {
                    after = entry.id;
                    if let Some(turn) = turn_ready(&entry.payload)
                        && let Ok(mut arrived) = arrived.lock()
                    {
                        arrived.insert(turn);
                    }
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The game and turn of an intent that says that a turn is ready, or that the game is over.
fn turn_ready(payload: &[u8]) -> Option<(String, u32)> {
    match serde_json::from_slice::<Message>(payload) {
        Ok(Message::Intent(intent)) => match intent.notification_type {
            NotificationType::TurnReady | NotificationType::Finished => {
                Some((intent.payload.game_id.to_string(), intent.payload.turn))
            }
            NotificationType::GenerationFailed => None,
        },
        Ok(Message::Lobby(_)) | Err(_) => None,
    }
}

fn streams(redis_url: &str) -> Result<RedisStreams, SoakError> {
    let url = redis_url.parse().map_err(|_| SoakError::Setup("no URL of Redis".to_owned()))?;
    let limits = RedisLimits::default();
    let settings = RedisSettings { url, limits, key_prefix: String::new() };
    Ok(RedisStreams::new(Arc::new(TokioNet), settings))
}

/// Looks at everything, while nothing moves any more.
pub(super) async fn audit(
    stage: &Stage,
    guests: &Guests,
    arrived: BTreeSet<(String, u32)>,
    findings: &mut Findings,
) -> Result<Counts, SoakError> {
    let postgres = stage.postgres.admin(&stage.database).await?;
    let mut counts = Counts::default();
    let recorded = records(&postgres, findings, &mut counts).await?;
    engines(stage, &recorded, findings).await;
    for game in &guests.begun {
        guest(&stage.guests, game, &recorded, findings);
    }
    log(&postgres, &recorded, findings, &mut counts).await?;
    rest(&postgres, findings).await?;
    let streams = streams(&stage.redis_url)?;
    events(&postgres, &streams, &recorded, findings, &mut counts).await?;
    notifications(&streams, &recorded, arrived, findings, &mut counts).await?;
    counts.lag = tracker::lag(&postgres, "true").await?;
    Ok(counts)
}

async fn records(
    postgres: &Postgres,
    findings: &mut Findings,
    counts: &mut Counts,
) -> Result<BTreeMap<String, Recorded>, SoakError> {
    let query = "SELECT game_id, status, current_turn, work_kind IS NOT NULL, \
                 pending_operation IS NOT NULL FROM gamemaster.runtime_records";
    let mut recorded = BTreeMap::new();
    for row in postgres.query(query, &[]).await? {
        let game: String = row.get(0);
        let turn = u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX);
        let status: String = row.get(1);
        if row.get(3) || row.get(4) || !matches!(status.as_str(), "running" | "finished") {
            findings.add(Wrong::GamesStuck, &game, format!("rests as {status} at turn {turn}"));
        }
        counts.games += 1;
        counts.turns += u64::from(turn);
        recorded.insert(game, Recorded { status, turn });
    }
    Ok(recorded)
}

/// What the engines themselves say that they generated.
async fn engines(stage: &Stage, recorded: &BTreeMap<String, Recorded>, findings: &mut Findings) {
    for table in &stage.tables {
        let log = Client::new(table.engine).get("/_log").await;
        let Some(log) = log.as_ref().and_then(Value::as_array) else {
            findings.add(Wrong::GamesStuck, &table.id, "its engine does not answer");
            continue;
        };
        generated(&table.id, log, recorded, findings);
    }
}

fn generated(
    game: &str,
    log: &[Value],
    recorded: &BTreeMap<String, Recorded>,
    findings: &mut Findings,
) {
    let turns: Vec<u64> = log.iter().filter_map(|entry| entry["turn"].as_u64()).collect();
    let last = recorded.get(game).map_or(0, |record| u64::from(record.turn));
    let distinct: BTreeSet<u64> = turns.iter().copied().collect();
    if distinct.len() != turns.len() {
        findings.add(Wrong::TurnsDoubled, game, format!("the engine generated {turns:?}"));
    }
    let expected: BTreeSet<u64> = (1..=last).collect();
    if distinct != expected {
        let (more, less): (Vec<_>, Vec<_>) =
            (distinct.difference(&expected).collect(), expected.difference(&distinct).collect());
        let words = format!("the record has {last}; the engine beyond it {more:?}, not {less:?}");
        findings.add(Wrong::TurnsLost, game, words);
    }
}

fn guest(
    folder: &Path,
    game: &str,
    recorded: &BTreeMap<String, Recorded>,
    findings: &mut Findings,
) {
    match recorded.get(game) {
        Some(Recorded { status, turn }) if status == "finished" && *turn == GUEST_TURNS => {}
        Some(Recorded { status, turn }) => {
            findings.add(Wrong::GamesStuck, game, format!("{status} at turn {turn}"));
        }
        None => findings.add(Wrong::GamesStuck, game, "was never registered"),
    }
    let file =
        std::fs::read_dir(folder).into_iter().flatten().flatten().find(|file| {
            file.path().file_stem().is_some_and(|stem| stem.to_string_lossy() == game)
        });
    let state = file.and_then(|file| std::fs::read(file.path()).ok());
    let state: Option<Value> = state.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match state.as_ref().and_then(|state| state["log"].as_array()) {
        Some(log) => generated(game, log, recorded, findings),
        None => findings.add(Wrong::TurnsLost, game, "the engine's own state is not there"),
    }
}

/// The operation log: every turn completed by one operation, and none left open.
async fn log(
    postgres: &Postgres,
    recorded: &BTreeMap<String, Recorded>,
    findings: &mut Findings,
    counts: &mut Counts,
) -> Result<(), SoakError> {
    let open = "SELECT game_id, kind, started_at::text FROM gamemaster.operation_log \
                WHERE outcome IS NULL";
    for row in postgres.query(open, &[]).await? {
        let (game, kind, started): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        findings.add(Wrong::OperationsOpen, &game, format!("{kind} of {started}"));
    }
    let twice = "SELECT game_id, turn, count(*) FROM gamemaster.operation_log \
                 WHERE kind IN ('tick', 'force') AND outcome = 'succeeded' \
                 GROUP BY game_id, turn HAVING count(*) > 1";
    for row in postgres.query(twice, &[]).await? {
        let (game, turn, times): (String, Option<i64>, i64) = (row.get(0), row.get(1), row.get(2));
        let words = format!("turn {turn:?} was completed by {times} operations");
        findings.add(Wrong::TurnsDoubled, &game, words);
    }
    let beyond = "SELECT game_id, max(turn) FROM gamemaster.operation_log \
                  WHERE kind IN ('tick', 'force') AND outcome = 'succeeded' GROUP BY game_id";
    for row in postgres.query(beyond, &[]).await? {
        let (game, turn): (String, Option<i64>) = (row.get(0), row.get(1));
        let known = recorded.get(&game).map_or(0, |record| i64::from(record.turn));
        if turn.is_some_and(|turn| turn > known) {
            findings.add(
                Wrong::TurnsLost,
                &game,
                format!("{turn:?} succeeded, {known} is recorded"),
            );
        }
    }
    let all = postgres.query_one("SELECT count(*) FROM gamemaster.operation_log", &[]).await?;
    counts.operations = all.get::<_, i64>(0).unsigned_abs();
    Ok(())
}

/// What must be nowhere any more.
async fn rest(postgres: &Postgres, findings: &mut Findings) -> Result<(), SoakError> {
    let waiting = "SELECT game_id, channel, count(*) FROM gamemaster.outbox \
                   WHERE published_at IS NULL GROUP BY game_id, channel";
    for row in postgres.query(waiting, &[]).await? {
        let (game, channel, count): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        findings.add(Wrong::OutboxWaiting, &game, format!("{count} for {channel}"));
    }
    idle(postgres, findings).await?;
    let orphans = "SELECT game_id FROM gamemaster.player_mappings \
                   WHERE game_id NOT IN (SELECT game_id FROM gamemaster.runtime_records)";
    for row in postgres.query(orphans, &[]).await? {
        findings.add(Wrong::Orphans, row.get(0), "a player of no game");
    }
    Ok(())
}

/// Sessions that hold a transaction open and do nothing.
pub(super) async fn idle(postgres: &Postgres, findings: &mut Findings) -> Result<(), SoakError> {
    let idle = "SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' \
                AND state_change < now() - interval '1 second'";
    for row in postgres.query(idle, &[]).await? {
        findings.add(Wrong::IdleInTransaction, "", row.get::<_, String>(0));
    }
    Ok(())
}

/// The stream that Lobby follows: exactly what was committed, under the ids it was given, and of
/// each game in the order of its turns.
async fn events(
    postgres: &Postgres,
    streams: &RedisStreams,
    recorded: &BTreeMap<String, Recorded>,
    findings: &mut Findings,
    counts: &mut Counts,
) -> Result<(), SoakError> {
    let query = "SELECT game_id, payload, stream_ms::text || '-' || stream_seq::text \
                 FROM gamemaster.outbox WHERE channel = $1";
    let mut committed: BTreeMap<String, (String, String)> = BTreeMap::new();
    for row in postgres.query(query, &[&EVENTS]).await? {
        let (game, payload): (String, String) = (row.get(0), row.get(1));
        // What has no id is found waiting already.
        if let Some(id) = row.get::<_, Option<String>>(2) {
            committed.insert(id, (game, payload));
        }
    }
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut after = StreamId::ZERO;
    loop {
        let entries = streams.read(EVENTS, after, PAGE, Duration::ZERO).await?;
        let Some(last) = entries.last() else { break };
        after = last.id;
        counts.events += entries.len() as u64;
        for entry in entries {
            let id = entry.id.to_string();
            match committed.remove(&id) {
                Some((_, payload)) if payload.as_bytes() == entry.payload => {}
                Some((game, _)) => {
                    findings.add(Wrong::EventsDoubled, &game, format!("{id} holds another event"));
                }
                None => {
                    let text = String::from_utf8_lossy(&entry.payload).into_owned();
                    findings.add(Wrong::EventsDoubled, "", format!("{id} is in no outbox: {text}"));
                }
            }
            match serde_json::from_slice::<LobbyEvent>(&entry.payload) {
                Ok(event) => in_order(&id, &event, &mut told, findings),
                Err(error) => {
                    findings.add(Wrong::EventsDoubled, "", format!("{id} is unreadable: {error}"));
                }
            }
        }
    }
    for (id, (game, _)) in committed {
        findings.add(Wrong::EventsLost, &game, format!("{id} is not in the stream"));
    }
    for (game, record) in recorded {
        let known = told.get(game).and_then(|told| told.turn);
        if known != Some(record.turn) {
            let words = format!("the record has turn {}, the stream {known:?}", record.turn);
            findings.add(Wrong::EventsLost, game, words);
        }
        if (record.status == "finished") != told.get(game).is_some_and(|told| told.is_over) {
            findings.add(
                Wrong::EventsLost,
                game,
                "the end is not told, or told of a game that goes on",
            );
        }
    }
    Ok(())
}

fn in_order(
    id: &str,
    event: &LobbyEvent,
    told: &mut BTreeMap<String, Told>,
    findings: &mut Findings,
) {
    let (game, turn, is_over) = match event {
        LobbyEvent::RuntimeSnapshotUpdate { game_id, current_turn, .. } => {
            (game_id.to_string(), *current_turn, false)
        }
        LobbyEvent::GameFinished { game_id, final_turn_number, .. } => {
            (game_id.to_string(), *final_turn_number, true)
        }
    };
    let before = told.entry(game.clone()).or_default();
    let fits = match before.turn {
        None => turn == 0,
        // A change of status or of health tells the turn once more.
        Some(known) => turn == known || turn == known + 1,
    };
    if before.is_over || !fits {
        let words = format!("{id}: turn {turn} after {:?}", before.turn);
        findings.add(Wrong::EventsReordered, &game, words);
    }
    *before = Told { turn: Some(turn), is_over };
}

async fn notifications(
    streams: &RedisStreams,
    recorded: &BTreeMap<String, Recorded>,
    arrived: BTreeSet<(String, u32)>,
    findings: &mut Findings,
    counts: &mut Counts,
) -> Result<(), SoakError> {
    let mut there = BTreeSet::new();
    let mut after = StreamId::ZERO;
    loop {
        let entries = streams.read(INTENTS, after, PAGE, Duration::ZERO).await?;
        let Some(last) = entries.last() else { break };
        after = last.id;
        counts.intents += entries.len() as u64;
        there.extend(entries.iter().filter_map(|entry| turn_ready(&entry.payload)));
    }
    for (game, record) in recorded {
        for turn in 1..=record.turn {
            let intent = (game.clone(), turn);
            match (there.contains(&intent), arrived.contains(&intent)) {
                (true, _) => {}
                (false, true) => counts.gone += 1,
                (false, false) => {
                    findings.add(Wrong::NotificationsLost, game, format!("of turn {turn}"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(game: &str, turn: u32) -> BTreeMap<String, Recorded> {
        BTreeMap::from([(game.to_owned(), Recorded { status: "running".to_owned(), turn })])
    }

    fn found_in(turns: &[u64], recorded: u32) -> Findings {
        let log: Vec<Value> = turns.iter().map(|turn| json!({ "turn": turn })).collect();
        let mut findings = Findings::default();
        generated("g", &log, &of("g", recorded), &mut findings);
        findings
    }

    #[test]
    fn the_engine_has_each_recorded_turn_once_and_no_other() {
        assert!(found_in(&[1, 2, 3], 3).is_empty());
        assert_eq!(found_in(&[1, 2, 2, 3], 3).count(Wrong::TurnsDoubled), 1);
        assert_eq!(found_in(&[1, 3], 3).count(Wrong::TurnsLost), 1);
        assert_eq!(found_in(&[1, 2, 3, 4], 3).count(Wrong::TurnsLost), 1);
        assert_eq!(found_in(&[], 1).count(Wrong::TurnsLost), 1);
    }

    fn told(events: &[(u32, bool)]) -> Findings {
        let (mut told, mut findings) = (BTreeMap::new(), Findings::default());
        for (turn, is_over) in events {
            let event = if *is_over {
                json!({ "event_type": "game_finished", "game_id": "g", "final_turn_number": turn,
                        "runtime_status": "finished", "player_turn_stats": [],
                        "finished_at_ms": 1 })
            } else {
                json!({ "event_type": "runtime_snapshot_update", "game_id": "g",
                        "current_turn": turn, "runtime_status": "running",
                        "engine_health_summary": "healthy", "player_turn_stats": [],
                        "occurred_at_ms": 1 })
            };
            let event = serde_json::from_value(event).expect("an event");
            in_order("1-1", &event, &mut told, &mut findings);
        }
        findings
    }

    #[test]
    fn events_tell_every_turn_in_its_order_and_the_end_last() {
        assert!(told(&[(0, false), (1, false), (1, false), (2, true)]).is_empty());
        for wrong in [
            &[(1, false)][..],
            &[(0, false), (2, false)],
            &[(0, false), (1, false), (0, false)],
            &[(0, false), (1, true), (1, false)],
        ] {
            assert_eq!(told(wrong).count(Wrong::EventsReordered), 1, "{wrong:?}");
        }
    }

    #[test]
    fn findings_are_all_counted_and_the_first_are_told() {
        let mut findings = Findings::default();
        for n in 0..50 {
            findings.add(Wrong::EventsLost, "g", n.to_string());
        }
        assert_eq!(findings.count(Wrong::EventsLost), 50);
        assert_eq!(findings.words.len(), MAX_WORDS);
        assert!(!findings.is_empty());
    }
}
