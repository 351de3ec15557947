//! The composition root: the one place where the parts are put together, for production, the
//! development command, the simulation and the tests alike. They differ in the [`Seams`] they bring.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use machine::record::{Lease, PendingState};
use machine::{Event, Ticket};
use net::{ClientLimits, HttpClient, Net};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::clients::{HttpEngine, HttpLobby, HttpRtm};
use crate::config::Settings;
use crate::driver::{Driver, Parts};
use crate::effects::Effects;
use crate::http;
use crate::membership::Memberships;
use crate::ports::{Clock, EngineApi, Entropy, Store, Streams};
use crate::timers::TimerQueue;
use crate::workers::{HealthConsumer, Relay, Scheduler};

/// How many records left by a predecessor are looked up at a time.
const RECOVERY_BATCH: usize = 1000;
/// The relay's time to publish what the last operations left, once they have ended.
const RELAY_GRACE: Duration = Duration::from_secs(2);

/// What the world is, seen from here.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the port of the same name")]
pub struct Seams {
    pub net: Arc<dyn Net>,
    pub store: Arc<dyn Store>,
    pub streams: Arc<dyn Streams>,
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
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub engine: Arc<dyn EngineApi>,
    pub driver: Arc<Driver>,
    pub board: Arc<Board>,
    pub memberships: Memberships,
    pub tasks: TaskTracker,
    /// Set once the process is to end.
    pub stopping: CancellationToken,
}

/// Why Game Master could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store is not there.
    #[error("the store is not ready: {0}")]
    Store(#[from] crate::ports::StoreError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A bug ended the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} panicked")]
pub struct WorkerPanicked(&'static str);

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
    let Seams { net, store, streams, clock, entropy } = seams;
    store.ready().await?;
    let engine_client = HttpClient::new(
        Arc::clone(&net),
        client_limits(&settings, settings.engine_limits.turn),
        Some(Arc::new(settings.engine_networks.clone())),
    );
    let engine: Arc<dyn EngineApi> =
        Arc::new(HttpEngine::new(engine_client, settings.engine_limits));
    let peer_limits = client_limits(&settings, settings.peer_timeout);
    let peer_client = HttpClient::new(Arc::clone(&net), peer_limits, None);
    let rtm = Arc::new(HttpRtm::new(peer_client.clone(), settings.rtm_url.clone()));
    let lobby = Arc::new(HttpLobby::new(peer_client, settings.lobby_url.clone()));
    let tasks = TaskTracker::new();
    let timers = Arc::new(TimerQueue::default());
    let board = Arc::new(Board::new(settings.board_capacity, settings.board_ttl));
    let driver = Driver::new(Parts {
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
    });
    let memberships =
        Memberships::new(lobby, settings.membership_capacity, settings.membership_ttl);
    let address = settings.listen;
    let app = Arc::new(App {
        settings,
        net,
        store,
        streams,
        clock,
        entropy,
        engine,
        driver,
        board,
        memberships,
        tasks,
        stopping,
    });
    app.take_up_the_predecessors_work().await?;
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
    /// What the process of this name that ran before had under way is known to be abandoned: it is
    /// fenced off at once, instead of when its leases run out.
    async fn take_up_the_predecessors_work(&self) -> Result<(), StartError> {
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
        tracing::info!(%game, "taking up what the previous process left behind");
        if let Err(error) = self.driver.tell(game.clone(), event).await {
            // The lease will run out.
            tracing::warn!(%game, %error, "not taken up at once");
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
    /// A worker that panics ends the service the same way, with an error: half a Game Master, one
    /// whose clock or relay stands still, must not look like a whole one.
    pub async fn run(self) -> Result<(), WorkerPanicked> {
        let Self { app, timers, listener } = self;
        let stopping = app.stopping.clone();
        let deadline = app.settings.shutdown_timeout;
        let workers = Workers { stopping: stopping.clone() };
        let scheduler = Scheduler {
            driver: Arc::clone(&app.driver),
            store: Arc::clone(&app.store),
            clock: Arc::clone(&app.clock),
            timers,
            concurrency: app.settings.concurrent_turns,
            tasks: app.tasks.clone(),
        };
        let consumer = HealthConsumer {
            driver: Arc::clone(&app.driver),
            streams: Arc::clone(&app.streams),
            label: app.settings.health_label.clone(),
            start: app.settings.health_start,
        };
        let relay = Relay {
            driver: Arc::clone(&app.driver),
            store: Arc::clone(&app.store),
            streams: Arc::clone(&app.streams),
            clock: Arc::clone(&app.clock),
            keep_published: app.settings.keep_published,
        };
        let drained = CancellationToken::new();
        let api: Arc<dyn http::Api> = app.clone();
        let mut settings = app.settings.http.clone();
        settings.request_ids.get_or_insert_with(|| Arc::clone(&app.entropy));
        let server = http::serve(listener, api, settings, stopping.clone());
        let mut ends = vec![
            workers.spawn("scheduler", scheduler.run(stopping.clone())),
            workers.spawn("health consumer", consumer.run(stopping.clone())),
            workers.spawn("listener", server),
        ];
        let relay = workers.spawn("outbox relay", relay.run(drained.clone()));
        stopping.cancelled().await;
        app.tasks.close();
        let ended = async {
            let mut panicked = None;
            for end in ends.drain(..) {
                panicked = panicked.or(end.await.unwrap_or(None));
            }
            app.tasks.wait().await;
            panicked
        };
        let panicked = tokio::time::timeout(deadline, ended).await.unwrap_or_else(|_| {
            tracing::warn!(left = app.tasks.len(), "left to the next process");
            None
        });
        drained.cancel();
        let relay = tokio::time::timeout(RELAY_GRACE, relay).await.map(|end| end.unwrap_or(None));
        let relay = relay.unwrap_or_else(|_| {
            tracing::warn!("the outbox is left to the next process");
            None
        });
        panicked.or(relay).map_or(Ok(()), Err)
    }
}

/// Starts the workers so that the end of one by a panic is the end of all.
struct Workers {
    stopping: CancellationToken,
}

impl Workers {
    /// The handle gives the panic, where there was one.
    fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<Option<WorkerPanicked>> {
        let stopping = self.stopping.clone();
        // A task of its own contains the panic; this one sees how it ended.
        tokio::spawn(async move {
            match tokio::spawn(work).await {
                Ok(()) => None,
                Err(_) => {
                    tracing::error!(worker = name, "panicked; Game Master ends");
                    stopping.cancel();
                    Some(WorkerPanicked(name))
                }
            }
        })
    }
}
