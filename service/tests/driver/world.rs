//! Games, instances of Game Master around one store, and what must be true in the end.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{
    Channel, Event, GameId, Incarnation, LobbyEvent, Member, NotificationType, Policy,
    Registration, Resolution, Roster, Runtime, Schedule, Status, StreamId, Timestamp,
};
use service::board::Board;
use service::conformance::START;
use service::driver::{Driver, Parts};
use service::effects::Effects;
use service::embedded::Embedded;
use service::error::ServiceError;
use service::fleet::{Fleet, TERM_TTL};
use service::http::Asked;
use service::membership::Memberships;
use service::ports::{
    Clock, CommitId, Entropy, Feed, NewVersion, Origin, OutboxRow, Presence, Role, Store, Streams,
    Term, VersionChange, VersionCommit, VersionOptions,
};
use service::telemetry::Telemetry;
use service::timers::TimerQueue;
use service::workers::{Attendance, FeedWorker, HealthConsumer, Relay, Scheduler, Start};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::engine::{Engines, Rtm};

/// The wall clock of a test: tokio's, which is paused.
pub(crate) struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.0.elapsed().as_millis()).expect("not that long");
        START + TimeDelta::milliseconds(ms)
    }
}

/// Identifiers, counted.
#[derive(Default)]
pub(crate) struct Counted(AtomicU64);

impl Entropy for Counted {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// What all instances share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<Counted>,
    pub(crate) store: Arc<Embedded>,
    pub(crate) engines: Arc<Engines>,
    pub(crate) rtm: Arc<Rtm>,
    pub(crate) guard: bool,
}

/// One Game Master; its workers run while it is not stopped.
pub(crate) struct Instance {
    pub(crate) driver: Arc<Driver>,
    pub(crate) board: Arc<Board>,
    pub(crate) timers: Arc<TimerQueue>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fleet: Arc<Fleet>,
}

/// What operators read of a series, by its name and labels; it must exist.
pub(crate) fn metric(telemetry: &Telemetry, series: &str) -> u64 {
    let text = telemetry.metrics().render();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{series} in {text}"))
}

/// What became of health events, by outcome, where there were any.
pub(crate) fn health_outcomes(telemetry: &Telemetry) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    for line in telemetry.metrics().render().lines() {
        let Some(labels) = line.strip_prefix("gamemaster_health_events_total{") else { continue };
        let (labels, count) = labels.split_once("\"} ").expect("a value");
        let outcome = labels.rsplit('"').next().expect("an outcome").to_owned();
        *outcomes.entry(outcome).or_default() += count.parse::<u64>().expect("a count");
    }
    outcomes.retain(|_, count| *count > 0);
    outcomes
}

pub(crate) fn game(name: &str) -> GameId {
    name.parse().expect("a game id")
}

/// What games run here, and what they can be patched to.
const VERSIONS: [&str; 3] = ["1.4.2", "1.4.3", "1.5.0"];

async fn add_version(store: &Embedded, id: Uuid, version: &str) {
    let new = NewVersion {
        version: version.parse().expect("a version"),
        image_ref: format!("galaxy/engine:{version}").parse().expect("an image"),
        options: VersionOptions::default(),
    };
    let id = CommitId(id);
    let change = VersionChange::Create(new);
    let commit = VersionCommit { id, change, claim: None, at: START };
    store.change_version(&commit).await.expect("registered");
}

/// The store in memory never waits for anything.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the store in memory waited"),
    }
}

pub(crate) const EVERY_TEN: &str = "*/10 * * * * *";
pub(crate) const DAILY: &str = "0 18 * * *";

impl World {
    pub(crate) fn new(guard: bool) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(Instant::now()));
        let store = Arc::new(Embedded::in_memory(Arc::clone(&clock)));
        for (version, n) in VERSIONS.into_iter().zip(0..) {
            // The counted identifiers come from the other end.
            at_once(add_version(&store, Uuid::from_u128(u128::MAX - n), version));
        }
        Self {
            store,
            clock,
            entropy: Arc::default(),
            engines: Arc::new(Engines::new(guard)),
            rtm: Arc::default(),
            guard,
        }
    }

    /// An instance over this world's store.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        self.instance_over(name, Arc::clone(&self.store) as Arc<dyn Store>)
    }

    /// An instance that sees the store through another one.
    pub(crate) fn instance_over(&self, name: &str, store: Arc<dyn Store>) -> Instance {
        let effects =
            Effects { engine: Arc::clone(&self.engines) as _, rtm: Arc::clone(&self.rtm) as _ };
        self.instance_of(name, store, effects)
    }

    /// An instance that sees all of its neighbours through others.
    pub(crate) fn instance_of(
        &self,
        name: &str,
        store: Arc<dyn Store>,
        effects: Effects,
    ) -> Instance {
        let board = Arc::new(Board::new(1000, Duration::from_secs(2)));
        let timers = Arc::new(TimerQueue::default());
        let tasks = TaskTracker::new();
        let driver = Driver::new(Parts {
            store: Arc::clone(&store),
            effects,
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy) as _,
            policy: policy(),
            instance: name.parse().expect("an instance id"),
            board: Arc::clone(&board),
            timers: Arc::clone(&timers),
            tasks: tasks.clone(),
            operation_timeout: Duration::from_secs(120),
        });
        let (stop, clock) = (CancellationToken::new(), Arc::clone(&self.clock));
        let fleet = Fleet::alone(name.parse().expect("an instance id"));
        Instance { driver, board, timers, tasks, stop, store, clock, fleet }
    }

    pub(crate) fn registration(&self, game: &GameId, schedule: &str) -> Event {
        let member = |n: usize| Member {
            user_id: format!("user-{n}").parse().expect("a user id"),
            race_name: format!("Race {n}").parse().expect("a race name"),
            engine_player_id: None,
        };
        Event::Register(Box::new(Registration {
            game_id: game.clone(),
            incarnation: Incarnation(self.entropy.uuid()),
            endpoint: format!("http://{game}:8080").parse().expect("an endpoint"),
            version: "1.4.2".parse().expect("a version"),
            image_ref: "galaxy/engine:1.4.2".parse().expect("an image"),
            turn_guard: self.guard,
            roster: Roster::new((0..3).map(member).collect()).expect("a roster"),
            schedule: Schedule::parse(schedule, Resolution::Seconds).expect("a schedule"),
        }))
    }

    /// The record, as the store has it.
    pub(crate) async fn record(&self, game: &GameId) -> Option<Arc<Runtime>> {
        self.store.load(game).await.expect("the store itself never fails")
    }

    pub(crate) async fn status(&self, game: &GameId) -> Option<Status> {
        self.record(game).await.map(|rt| rt.status())
    }

    /// Waits until the record is as wanted, for at most ten minutes of the paused clock.
    pub(crate) async fn until(
        &self,
        game: &GameId,
        what: &str,
        mut wanted: impl FnMut(&Runtime) -> bool,
    ) -> Arc<Runtime> {
        let deadline = Instant::now() + Duration::from_secs(600);
        while Instant::now() < deadline {
            if let Some(rt) = self.record(game).await.filter(|rt| wanted(rt)) {
                return rt;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{game} was never {what}: {:?}", self.record(game).await);
    }

    /// Waits until the game runs and this many turns are recorded.
    pub(crate) async fn until_turn(&self, game: &GameId, turn: u32) -> Arc<Runtime> {
        self.until(game, &format!("at turn {turn}"), |rt| {
            rt.current_turn >= turn && rt.status() == Status::Running
        })
        .await
    }

    /// Everything that was published on a channel, in the order of the commits.
    pub(crate) async fn outbox(&self, channel: Channel) -> Vec<OutboxRow> {
        let mut rows = self
            .store
            .outbox_published_after(channel, StreamId::ZERO, 100_000)
            .await
            .expect("the store itself never fails");
        rows.sort_by_key(|row| row.seq);
        rows
    }

    pub(crate) async fn until_published(&self) {
        for _ in 0..6_000 {
            if self.store.outbox_backlog().await.expect("a number").waiting == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the outbox is never empty");
    }

    /// INVARIANTS `no_turn_generated_twice`, `no_turn_twice`: engine and record are at the same
    /// turn and each one was generated once.
    pub(crate) async fn each_turn_once(&self, game: &GameId) {
        let record = self.record(game).await.expect("a record");
        let (turn, generated) = self.engines.see(game, |e| (e.turn, e.generated.clone()));
        assert_eq!(turn, record.current_turn, "{record:?}");
        assert_eq!(generated, (1..=turn).collect::<Vec<_>>(), "{record:?}");
    }

    /// INVARIANT `messages_follow_commits`: the stream is what the outbox holds, entry by entry,
    /// and tells of each turn of the game in its order. To be called when all is published.
    pub(crate) async fn told_in_order(&self, streams: &dyn Streams, game: &GameId) {
        let channel = Channel::LobbyEvents;
        let rows = self.outbox(channel).await;
        let read = streams.read(channel.as_str(), StreamId::ZERO, 100_000, Duration::ZERO).await;
        let entries = read.expect("entries");
        let committed: Vec<_> = rows.iter().map(|r| (r.stream_id, r.payload.clone())).collect();
        let published: Vec<_> = entries
            .iter()
            .map(|e| (Some(e.id), String::from_utf8(e.payload.clone()).expect("text")))
            .collect();
        assert_eq!(published, committed);
        let record = self.record(game).await.expect("a record");
        let mut turns = vec![];
        for entry in &entries {
            match serde_json::from_slice(&entry.payload).expect("a message") {
                LobbyEvent::RuntimeSnapshotUpdate { game_id, current_turn, .. } => {
                    if game_id == *game && turns.last() != Some(&current_turn) {
                        turns.push(current_turn);
                    }
                }
                LobbyEvent::GameFinished { .. } => {}
            }
        }
        assert_eq!(turns, (0..=record.current_turn).collect::<Vec<_>>());
        // At least once on the other channel: told of every turn, and what is told twice is known
        // by its key.
        let channel = Channel::NotificationIntents;
        let read = streams.read(channel.as_str(), StreamId::ZERO, 100_000, Duration::ZERO).await;
        let mut ready = vec![];
        for entry in read.expect("entries") {
            let intent: machine::Intent =
                serde_json::from_slice(&entry.payload).expect("an intent");
            let about = intent.payload.game_id == *game;
            if about && intent.notification_type == NotificationType::TurnReady {
                let turn = intent.payload.turn;
                if !ready.contains(&turn) {
                    ready.push(turn);
                }
            }
        }
        assert_eq!(ready, (1..=record.current_turn).collect::<Vec<_>>());
    }

    /// A game that runs, at turn 0.
    pub(crate) async fn running(&self, instance: &Instance, name: &str, schedule: &str) -> GameId {
        let game = game(name);
        let registered = instance.perform(&game, self.registration(&game, schedule)).await;
        let record = registered.expect("registered").expect("a record");
        assert_eq!((record.status(), record.current_turn), (Status::Running, 0));
        game
    }
}

/// Short, so that a test of an hour is one of minutes.
pub(crate) fn policy() -> Policy {
    Policy {
        probe_lease: TimeDelta::seconds(5),
        turn_lease: TimeDelta::seconds(20),
        rtm_lease: TimeDelta::seconds(5),
        drain: TimeDelta::seconds(10),
        retry_base: TimeDelta::seconds(1),
        retry_cap: TimeDelta::seconds(8),
        ..Policy::default()
    }
}

impl Instance {
    /// What operators read of a series of this instance.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        metric(self.driver.telemetry(), series)
    }

    /// What they read of how far a stream was read or written.
    pub(crate) fn offset(&self, stream: &str) -> String {
        let series = format!("gamemaster_stream_offset_seconds{{stream=\"{stream}\"}} ");
        let text = self.driver.telemetry().metrics().render();
        let found = text.lines().find_map(|line| line.strip_prefix(&series));
        found.unwrap_or_else(|| panic!("{series} in {text}")).to_owned()
    }

    pub(crate) async fn perform(
        &self,
        game: &GameId,
        event: Event,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        self.ask(game, event, Origin::SELF.into()).await
    }

    pub(crate) async fn ask(
        &self,
        game: &GameId,
        event: Event,
        asked: Asked,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        self.driver.perform(game.clone(), event, asked).await
    }

    pub(crate) fn schedule(&self) -> tokio::task::JoinHandle<()> {
        self.schedule_at_most(64)
    }

    pub(crate) fn schedule_at_most(&self, concurrency: usize) -> tokio::task::JoinHandle<()> {
        let scheduler = Scheduler {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            timers: Arc::clone(&self.timers),
            concurrency,
            tasks: self.tasks.clone(),
            fleet: Arc::clone(&self.fleet),
        };
        tokio::spawn(scheduler.run(self.stop.clone()))
    }

    pub(crate) fn relay(&self, streams: Arc<dyn Streams>) -> tokio::task::JoinHandle<()> {
        self.relay_that_forgets(streams, TimeDelta::hours(24), None)
    }

    pub(crate) fn relay_that_forgets(
        &self,
        streams: Arc<dyn Streams>,
        keep_published: TimeDelta,
        trim_after: Option<TimeDelta>,
    ) -> tokio::task::JoinHandle<()> {
        let relay = Relay { keep_published, trim_after, ..self.relay_of(streams) };
        tokio::spawn(relay.run(self.stop.clone()))
    }

    fn relay_of(&self, streams: Arc<dyn Streams>) -> Relay {
        Relay {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            streams,
            clock: Arc::clone(&self.clock),
            keep_published: TimeDelta::hours(24),
            trim_after: None,
            term: Term::default(),
        }
    }

    /// Attends until `gone`, under its name.
    pub(crate) fn attend(
        &self,
        name: &str,
        boot: u128,
        gone: &CancellationToken,
    ) -> tokio::task::JoinHandle<()> {
        let instance = name.parse().expect("an instance id");
        let attendance = Attendance {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            fleet: Arc::clone(&self.fleet),
            presence: Presence { instance, boot: Uuid::from_u128(boot) },
            ttl: TERM_TTL,
            stopping: self.stop.clone(),
        };
        tokio::spawn(attendance.run(gone.clone()))
    }

    /// Relays in the terms in which it leads.
    pub(crate) fn lead(&self, streams: Arc<dyn Streams>) -> tokio::task::JoinHandle<()> {
        let (fleet, stop) = (Arc::clone(&self.fleet), self.stop.clone());
        let (driver, relay) = (Arc::clone(&self.driver), self.relay_of(streams));
        tokio::spawn(async move {
            let start = |term| Relay { term, ..relay.clone() }.run(stop.clone());
            let metrics = driver.telemetry().metrics();
            fleet.lead(Role::OutboxRelay, &stop, metrics, start).await;
        })
    }

    /// Tells the others, and is told.
    pub(crate) fn hear(
        &self,
        feed: Arc<dyn Feed>,
        memberships: Arc<Memberships>,
    ) -> tokio::task::JoinHandle<()> {
        let worker = FeedWorker {
            driver: Arc::clone(&self.driver),
            feed,
            board: Arc::clone(&self.board),
            memberships,
            deaf_ttl: Duration::from_secs(2),
        };
        tokio::spawn(worker.run(self.stop.clone()))
    }

    pub(crate) fn listen(
        &self,
        streams: Arc<dyn Streams>,
        start: Start,
    ) -> tokio::task::JoinHandle<()> {
        let driver = Arc::clone(&self.driver);
        let consumer = HealthConsumer { driver, streams, label: "test".into(), start };
        tokio::spawn(consumer.run(self.stop.clone()))
    }

    /// Waits for everything under way.
    pub(crate) async fn idle(&self) {
        self.tasks.close();
        let idle = tokio::time::timeout(Duration::from_secs(600), self.tasks.wait()).await;
        idle.expect("everything ends");
        self.tasks.reopen();
    }
}
