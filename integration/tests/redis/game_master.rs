//! The parts of Game Master that use streams, over an embedded store: commits go in, the relay and
//! the health consumer are the production ones.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Channel, Event, Policy, StreamId};
use net::{ClientLimits, HttpClient, TokioNet};
use service::board::Board;
use service::clients::{EngineLimits, HttpEngine, HttpRtm};
use service::conformance::{Game, Rng, register_versions};
use service::driver::{Driver, Parts};
use service::effects::Effects;
use service::embedded::Embedded;
use service::ports::{Clock, Committed, Store, Streams, SystemClock, SystemEntropy, Term};
use service::timers::TimerQueue;
use service::workers::{HealthConsumer, Relay, Start};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::all;

pub(crate) const LOBBY: &str = "gm:lobby_events";
pub(crate) const INTENTS: &str = "notification:intents";

pub(crate) struct GameMaster {
    pub(crate) store: Arc<Embedded>,
    driver: Arc<Driver>,
    game: Game,
    rng: Rng,
}

impl GameMaster {
    pub(crate) async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(Embedded::in_memory(clock));
        register_versions(&*store).await;
        let driver = driver(&store);
        let (mut game, mut rng) = (Game::new("game-1"), Rng::new(7));
        for next in [Game::registration, |game: &Game, _: &mut Rng| game.init_done()] {
            let event = next(&game, &mut rng);
            commit(&store, &mut game, &event, &mut rng).await;
        }
        Self { store, driver, game, rng }
    }

    /// Commits turns; each has something to say to Lobby and to the players.
    pub(crate) async fn turns(&mut self, count: usize) {
        for _ in 0..count {
            commit(&self.store, &mut self.game, &Event::Force, &mut self.rng).await;
            let done = self.game.turn_done();
            commit(&self.store, &mut self.game, &done, &mut self.rng).await;
        }
    }

    pub(crate) fn game(&self) -> &Game {
        &self.game
    }

    pub(crate) fn relay(&self, streams: Arc<dyn Streams>) -> AbortOnDropHandle<()> {
        self.relay_of(Arc::clone(&self.store) as _, streams)
    }

    /// One that publishes what another store holds.
    pub(crate) fn relay_of(
        &self,
        store: Arc<dyn Store>,
        streams: Arc<dyn Streams>,
    ) -> AbortOnDropHandle<()> {
        let relay = self.worker(store, streams);
        AbortOnDropHandle::new(tokio::spawn(relay.run(CancellationToken::new())))
    }

    /// The relay, for whoever wants it otherwise.
    pub(crate) fn worker(&self, store: Arc<dyn Store>, streams: Arc<dyn Streams>) -> Relay {
        Relay {
            driver: Arc::clone(&self.driver),
            store,
            streams,
            clock: Arc::new(SystemClock),
            keep_published: TimeDelta::hours(24),
            trim_after: None,
            term: Term::default(),
        }
    }

    pub(crate) fn listen(&self, streams: Arc<dyn Streams>, label: &str) -> AbortOnDropHandle<()> {
        let driver = Arc::clone(&self.driver);
        let label = label.to_owned();
        let consumer = HealthConsumer { driver, streams, label, start: Start::Beginning };
        AbortOnDropHandle::new(tokio::spawn(consumer.run(CancellationToken::new())))
    }

    /// What the store has as published, in the order of the commits.
    pub(crate) async fn published(&self, channel: Channel) -> Vec<(StreamId, String)> {
        let rows = self.store.outbox_published_after(channel, StreamId::ZERO, 100_000).await;
        let mut rows = rows.expect("rows");
        rows.sort_by_key(|row| row.seq);
        rows.into_iter().map(|row| (row.stream_id.expect("an id"), row.payload)).collect()
    }

    pub(crate) async fn until_published(&self) {
        integration::harness::until("the outbox to be empty", || async {
            let backlog = self.store.outbox_backlog().await.expect("a backlog");
            (backlog.waiting == 0).then_some(())
        })
        .await;
    }

    /// Waits until the stream holds what the store has as published, entry by entry.
    pub(crate) async fn until_told(&self, streams: &dyn Streams) {
        self.until_published().await;
        let wanted = self.published(Channel::LobbyEvents).await;
        integration::harness::until("the stream to hold it all", || async {
            (entries(streams, LOBBY).await == wanted).then_some(())
        })
        .await;
    }
}

pub(crate) async fn entries(streams: &dyn Streams, stream: &str) -> Vec<(StreamId, String)> {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    all(streams, stream).await.into_iter().map(|entry| (entry.id, text(entry.payload))).collect()
}

async fn commit(store: &Embedded, game: &mut Game, event: &Event, rng: &mut Rng) {
    let commit = game.must(event, rng);
    let committed = store.commit(&commit).await.expect("a commit");
    assert!(matches!(committed, Committed::Applied), "{committed:?}");
    game.applied(&commit);
}

/// Its neighbours are never called here.
fn driver(store: &Arc<Embedded>) -> Arc<Driver> {
    let client = || HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None);
    let second = Duration::from_secs(1);
    let limits = EngineLimits { admin: second, turn: second, player: second };
    Driver::new(Parts {
        store: Arc::clone(store) as _,
        effects: Effects {
            engine: Arc::new(HttpEngine::new(client(), limits)),
            rtm: Arc::new(HttpRtm::new(client(), "http://127.0.0.1:9".into())),
        },
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        policy: Policy::default(),
        instance: "gm-1".parse().expect("an instance id"),
        board: Arc::new(Board::new(100, second)),
        timers: Arc::new(TimerQueue::default()),
        tasks: TaskTracker::new(),
        operation_timeout: Duration::from_secs(10),
    })
}
