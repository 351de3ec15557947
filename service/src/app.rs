//! The composition root: the one place where the parts are put together, for production, the
//! development command, the simulation and the tests alike. They differ in the [`Seams`] they bring.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::record::{Lease, PendingState};
use machine::{Event, InstanceId, Ticket};
use net::{ClientLimits, HttpClient, Net};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::clients::{HttpEngine, HttpLobby, HttpRtm};
use crate::config::Settings;
use crate::driver::{Driver, Parts};
use crate::effects::Effects;
use crate::fleet::Fleet;
use crate::http;
use crate::membership::Memberships;
use crate::ports::{
    Clock, EngineApi, Entropy, Feed, Presence, Role, Store, StoreError, Streams, Term,
};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::Place;
use crate::timers::TimerQueue;
use crate::turns::Turns;
pub use crate::workers::WorkerPanicked;
use crate::workers::{Attendance, FeedWorker, HealthConsumer, Relay, Scheduler, Supervisor, Sweep};

/// How many records left by a predecessor are looked up at a time.
const RECOVERY_BATCH: usize = 1000;
/// How long the store may be away at the start before the process gives up.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const START_PAUSE: Duration = Duration::from_secs(1);
/// The relay's time to publish what the last operations left, once they have ended.
const RELAY_GRACE: Duration = Duration::from_secs(2);

/// How much longer than its call a banish may be open before it is taken for abandoned.
const BANISH_MARGIN: TimeDelta = TimeDelta::seconds(30);
/// How long the store may take to say who else is there before the workers begin without.
const BEGIN_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to listen again.
const BIND_PAUSE: Duration = Duration::from_secs(1);

/// What the world is, seen from here.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the port of the same name")]
pub struct Seams {
    pub net: Arc<dyn Net>,
    pub store: Arc<dyn Store>,
    pub streams: Arc<dyn Streams>,
    pub feed: Arc<dyn Feed>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// A running Game Master, as its HTTP layer and its watchers see it.
#[expect(missing_docs, reason = "each field is the part of the same name")]
pub struct App {
    pub settings: Settings,
    pub net: Arc<dyn Net>,
    pub store: Arc<dyn Store>,
    pub streams: Arc<dyn Streams>,
    pub feed: Arc<dyn Feed>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub engine: Arc<dyn EngineApi>,
    pub driver: Arc<Driver>,
    pub board: Arc<Board>,
    pub memberships: Arc<Memberships>,
    pub fleet: Arc<Fleet>,
    pub tasks: TaskTracker,
    /// Set once the process is to end.
    pub stopping: CancellationToken,
}

/// Why Game Master could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store is not there.
    #[error("the store is not ready: {0}")]
    Store(#[from] StoreError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Why Game Master ended without being told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A bug.
    #[error(transparent)]
    Panicked(#[from] WorkerPanicked),
    /// A later process has its name.
    #[error(
        "another process runs under the name {0}; names must be unique: set GAMEMASTER_INSTANCE"
    )]
    Displaced(InstanceId),
}

/// A Game Master that listens but does not serve yet.
pub struct Bound {
    app: Arc<App>,
    timers: Arc<TimerQueue>,
    listener: Box<dyn net::Listener>,
}

/// Puts the parts together, takes up what a predecessor left behind, and binds the listener.
pub async fn bind(
    settings: Settings,
    seams: Seams,
    stopping: CancellationToken,
) -> Result<Bound, StartError> {
    let Seams { net, store, streams, feed, clock, entropy } = seams;
    let (tick, draw) = (Arc::clone(&clock), Arc::clone(&entropy));
    let telemetry = Telemetry::start(&settings.telemetry, &net, tick, draw);
    let engine_client = HttpClient::new(
        Arc::clone(&net),
        client_limits(&settings, settings.engine_limits.turn),
        Some(Arc::new(settings.engine_networks.clone())),
    );
    let engine: Arc<dyn EngineApi> =
        Arc::new(HttpEngine::new(engine_client, settings.engine_limits));
    let peer = |timeout| HttpClient::new(Arc::clone(&net), client_limits(&settings, timeout), None);
    let rtm = Arc::new(HttpRtm::new(peer(settings.rtm_timeout), settings.rtm_url.clone()));
    let lobby = HttpLobby::new(peer(settings.lobby_timeout), settings.lobby_url.clone());
    let lobby = Arc::new(lobby);
    let tasks = TaskTracker::new();
    let timers = Arc::new(TimerQueue::default());
    let board = Arc::new(Board::new(settings.board_capacity, settings.board_ttl));
    let parts = Parts {
        store: Arc::clone(&store),
        effects: Effects { engine: Arc::clone(&engine), rtm },
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        policy: settings.policy.clone(),
        instance: settings.instance.clone(),
        board: Arc::clone(&board),
        timers: Arc::clone(&timers),
        tasks: tasks.clone(),
        operation_timeout: settings.operation_timeout,
    };
    let metrics = Arc::clone(telemetry.metrics());
    let driver = Driver::observed(parts, telemetry);
    let memberships =
        Memberships::new(lobby, settings.membership_capacity, settings.membership_ttl)
            .counted(metrics);
    let fleet = Fleet::alone(settings.instance.clone());
    let address = settings.listen;
    let app = Arc::new(App {
        settings,
        net,
        store,
        streams,
        feed,
        clock,
        entropy,
        engine,
        driver,
        board,
        memberships: Arc::new(memberships),
        fleet,
        tasks,
        stopping,
    });
    app.until_taken_up().await?;
    let listener =
        app.net.bind(address).await.map_err(|error| StartError::Listen { address, error })?;
    Ok(Bound { app, timers, listener })
}

fn client_limits(settings: &Settings, total: Duration) -> ClientLimits {
    ClientLimits {
        connect_timeout: settings.connect_timeout,
        total_timeout: total,
        max_response_bytes: settings.max_response_bytes,
        ..ClientLimits::default()
    }
}

impl App {
    /// Waits for a store that is away, for a while: it may be starting as well, or go away again at
    /// any moment of our start. All of it can be done again.
    async fn until_taken_up(&self) -> Result<(), StartError> {
        let patience = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let Err(error) = self.take_up_the_predecessors_work().await else { return Ok(()) };
            if self.stopping.is_cancelled() || tokio::time::Instant::now() >= patience {
                return Err(error.into());
            }
            tracing::warn!(%error, "waiting for the store");
            let pause = tokio::time::sleep(START_PAUSE);
            // Stopped meanwhile, it is tried once more, for an answer.
            self.stopping.run_until_cancelled(pause).await;
        }
    }

    /// What the process of this name that ran before had under way is known to be abandoned: it is
    /// fenced off at once, instead of when its leases run out.
    async fn take_up_the_predecessors_work(&self) -> Result<(), StoreError> {
        self.store.ready().await?;
        let mut left = self.store.leased_to(&self.settings.instance, RECOVERY_BATCH).await?;
        left.sort();
        for game in left {
            let Some(runtime) = self.store.load(&game).await? else { continue };
            let of = |attempt| Ticket { incarnation: runtime.incarnation, attempt };
            let ours = |lease: &Lease| lease.owner == self.settings.instance;
            let work = runtime.work().filter(|work| ours(&work.lease)).map(|w| of(w.attempt));
            let asked = runtime.pending().and_then(|pending| match &pending.state {
                PendingState::Asked { attempt, lease } => ours(lease).then(|| of(*attempt)),
                PendingState::Draining { .. } => None,
            });
            for ticket in work.into_iter().chain(asked) {
                self.abandon(&game, Event::Abandoned(ticket)).await;
            }
        }
        Ok(())
    }

    async fn abandon(&self, game: &machine::GameId, event: Event) {
        tracing::info!(game_id = %game, "taking up what the previous process left behind");
        if let Err(error) = self.driver.tell(game.clone(), event).await {
            // The lease will run out.
            tracing::warn!(game_id = %game, %error, "not taken up at once");
        }
    }
}

impl Bound {
    /// The application, for those who watch it from inside the process.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop; then refuses new work, lets what runs come to its end within the
    /// shutdown time-out, and publishes what that left in the outbox. What did not finish is found
    /// by the next process.
    ///
    /// ```text
    ///   stopping ─▶ not ready, new requests refused; clock and consumer end
    ///            ─▶ what runs ends ─▶ the listener ends ─▶ the outbox is emptied ─▶ others lead
    /// ```
    ///
    /// The listener stays until then, so that whoever asks is told that this process is on its way
    /// out instead of finding nobody.
    ///
    /// A worker that panics is started again; panics that do not stop end the service the same
    /// way, with an error. So does another process that takes this one's name.
    pub async fn run(self) -> Result<(), RunError> {
        let Self { app, timers, listener } = self;
        let stopping = app.stopping.clone();
        let telemetry = app.driver.telemetry().clone();
        let supervisor = Supervisor::new(Arc::clone(&app.driver), stopping.clone());
        let (unheard, drained) = (CancellationToken::new(), CancellationToken::new());
        let gone = CancellationToken::new();
        let attendance = app.attendance();
        tokio::select! {
            biased;
            () = attendance.begin() => {}
            () = tokio::time::sleep(BEGIN_PATIENCE) => {}
        }
        let attendance = spawn_attendance(&supervisor, attendance, gone.clone());
        let feed = app.spawn_feed(&supervisor, gone.clone());
        let server = app.spawn_listener(&supervisor, listener, unheard.clone());
        let workers = app.spawn_workers(&supervisor, timers);
        let relay = app.spawn_relay(&supervisor, drained.clone());
        stopping.cancelled().await;

        let began = tokio::time::Instant::now();
        let deadline = began + app.settings.shutdown_timeout;
        // The relay's share, but no more than half.
        let relay_share = RELAY_GRACE.min(app.settings.shutdown_timeout / 2);
        app.tasks.close();
        let mut fell = None;
        let ended = async {
            for worker in workers {
                fell = fell.or(fallen(worker).await);
            }
            app.tasks.wait().await;
            unheard.cancel();
            fell = fell.or(fallen(server).await);
            // What the last requests began.
            app.tasks.wait().await;
        };
        if tokio::time::timeout_at(deadline - relay_share, ended).await.is_err() {
            tracing::warn!(left = app.tasks.len(), "left to the next process");
        }
        drained.cancel();
        let grace = relay_share.max(RELAY_GRACE.min(deadline - tokio::time::Instant::now()));
        match tokio::time::timeout(grace, fallen(relay)).await {
            Ok(relay) => fell = fell.or(relay),
            Err(_) => tracing::warn!("the outbox is left to the next process"),
        }
        gone.cancel();
        for worker in [attendance, feed] {
            fell = fell.or(fallen(worker).await);
        }
        telemetry.flush().await;
        if app.fleet.is_displaced() {
            return Err(RunError::Displaced(app.settings.instance.clone()));
        }
        fell.map_or(Ok(()), |fell| Err(fell.into()))
    }
}

type Worker = JoinHandle<Result<(), WorkerPanicked>>;

fn spawn_attendance(
    supervisor: &Arc<Supervisor>,
    attendance: Attendance,
    gone: CancellationToken,
) -> Worker {
    supervisor.spawn(Place::Attendance, gone.clone(), move || attendance.clone().run(gone.clone()))
}

/// Waits for a worker to end; what it fell of, where it did.
async fn fallen(worker: Worker) -> Option<WorkerPanicked> {
    worker.await.map_or(None, Result::err)
}

impl App {
    /// What sees the work of this process.
    pub fn telemetry(&self) -> &Telemetry {
        self.driver.telemetry()
    }

    fn spawn_workers(&self, supervisor: &Arc<Supervisor>, timers: Arc<TimerQueue>) -> [Worker; 3] {
        let stop = &self.stopping;
        let scheduler = Scheduler {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            timers,
            concurrency: self.settings.concurrent_turns,
            tasks: self.tasks.clone(),
            fleet: Arc::clone(&self.fleet),
        };
        let turns =
            Turns::new(self.settings.concurrent_turns, Arc::clone(self.telemetry().metrics()));
        let consumer = HealthConsumer {
            driver: Arc::clone(&self.driver),
            streams: Arc::clone(&self.streams),
            label: self.settings.health_label.clone(),
            start: self.settings.health_start,
        };
        let admin = TimeDelta::from_std(self.settings.engine_limits.admin);
        let sweep = Sweep {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            patience: admin.unwrap_or(TimeDelta::hours(1)) + BANISH_MARGIN,
        };
        let (of_scheduler, of_consumer, of_sweep) = (stop.clone(), stop.clone(), stop.clone());
        let (fleet, telemetry) = (Arc::clone(&self.fleet), self.telemetry().clone());
        [
            supervisor.spawn(Place::Scheduler, stop.clone(), move || {
                scheduler.clone().run_within(Arc::clone(&turns), of_scheduler.clone())
            }),
            supervisor.spawn(Place::HealthConsumer, stop.clone(), move || {
                let (fleet, telemetry) = (Arc::clone(&fleet), telemetry.clone());
                let (consumer, stop) = (consumer.clone(), of_consumer.clone());
                async move {
                    let start = |_| consumer.clone().run(stop.clone());
                    fleet.lead(Role::HealthConsumer, &stop, telemetry.metrics(), start).await;
                }
            }),
            supervisor
                .spawn(Place::Sweep, stop.clone(), move || sweep.clone().run(of_sweep.clone())),
        ]
    }

    fn spawn_relay(&self, supervisor: &Arc<Supervisor>, drained: CancellationToken) -> Worker {
        let relay = Relay {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            streams: Arc::clone(&self.streams),
            clock: Arc::clone(&self.clock),
            keep_published: self.settings.keep_published,
            term: Term::default(),
            trim_after: self.settings.trim_after,
        };
        let (fleet, telemetry) = (Arc::clone(&self.fleet), self.telemetry().clone());
        supervisor.spawn(Place::OutboxRelay, drained.clone(), move || {
            let (fleet, telemetry) = (Arc::clone(&fleet), telemetry.clone());
            let (relay, stop) = (relay.clone(), drained.clone());
            async move {
                let start = |term| Relay { term, ..relay.clone() }.run(stop.clone());
                fleet.lead(Role::OutboxRelay, &stop, telemetry.metrics(), start).await;
            }
        })
    }

    fn attendance(&self) -> Attendance {
        let (instance, boot) = (self.settings.instance.clone(), self.entropy.uuid());
        Attendance {
            driver: Arc::clone(&self.driver),
            store: Arc::clone(&self.store),
            fleet: Arc::clone(&self.fleet),
            presence: Presence { instance, boot },
            ttl: self.settings.term_ttl,
            stopping: self.stopping.clone(),
        }
    }

    fn spawn_feed(&self, supervisor: &Arc<Supervisor>, gone: CancellationToken) -> Worker {
        let feed = FeedWorker {
            driver: Arc::clone(&self.driver),
            feed: Arc::clone(&self.feed),
            board: Arc::clone(&self.board),
            memberships: Arc::clone(&self.memberships),
            deaf_ttl: self.settings.board_ttl,
        };
        supervisor.spawn(Place::Feed, gone.clone(), move || feed.clone().run(gone.clone()))
    }

    fn spawn_listener(
        self: &Arc<Self>,
        supervisor: &Arc<Supervisor>,
        listener: Box<dyn net::Listener>,
        stop: CancellationToken,
    ) -> Worker {
        let mut settings = self.settings.http.clone();
        settings.request_ids.get_or_insert_with(|| Arc::clone(&self.entropy));
        settings.draining = self.stopping.clone();
        settings.telemetry = Some(self.driver.telemetry().clone());
        let address = listener.local_addr().unwrap_or(self.settings.listen);
        let mut first = Some(listener);
        let (app, stopped) = (Arc::clone(self), stop.clone());
        supervisor.spawn(Place::Listener, stop, move || {
            let (app, settings, stop) = (Arc::clone(&app), settings.clone(), stopped.clone());
            let first = first.take();
            async move {
                let listener = match first {
                    Some(listener) => listener,
                    // The one before fell, and its socket with it.
                    None => match app.bind_again(address, &stop).await {
                        Some(listener) => listener,
                        None => return,
                    },
                };
                let api: Arc<dyn http::Api> = app;
                http::serve(listener, api, settings, stop).await;
            }
        })
    }

    /// Binds an address that was this process's a moment ago; `None` where it is to stop first.
    async fn bind_again(
        &self,
        address: SocketAddr,
        stop: &CancellationToken,
    ) -> Option<Box<dyn net::Listener>> {
        loop {
            match self.net.bind(address).await {
                Ok(listener) => return Some(listener),
                Err(error) => tracing::error!(%address, %error, "cannot listen again"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(BIND_PAUSE) => {}
            }
        }
    }
}
