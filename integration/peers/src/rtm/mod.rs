//! The reference Runtime Manager (RTM): one engine per game, started by jobs, watched, restarted,
//! stopped and patched on request.
//!
//! What is wanted is committed first (see [`state`]); one supervisor per engine then makes it true.
//! So every request can be repeated, and a restart goes on where the last process ended: the same
//! engines on the same ports with the same state.

mod core;
mod health;
pub mod image_ref;
pub mod launcher;
mod process;
mod readers;
mod routes;
pub mod state;
mod supervisor;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use net::{ClientLimits, HttpClient, Listener, Net, ServerLimits};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::{
    core::Core,
    launcher::{EngineLauncher, EngineRunOptions, Exit, ExitKind},
    readers::{GameEnds, StartJobs},
    state::{Counters, RtmState, Runtime},
};
pub use self::{
    core::{Engine, RtmTiming},
    process::ProcessLauncher,
    task::TaskLauncher,
};
use crate::{
    bus::{Bus, FollowLimits, follow, streams},
    env::{Env, Observer},
    messages::{HealthEvent, JobOutcome},
    state_file::{StateError, StateFile},
};

/// How a Runtime Manager is set up.
#[derive(Clone, Debug)]
pub struct RtmConfig {
    /// Where it listens; port 0 for any free one.
    pub listen: SocketAddr,
    /// Where its own state is kept; none: in memory.
    pub state_file: Option<PathBuf>,
    /// Where the engines keep theirs; none: as the launcher has it.
    pub engine_state_dir: Option<PathBuf>,
    /// The address that engines listen on.
    pub engine_bind_ip: IpAddr,
    /// The host under which Game Master reaches them.
    pub engine_host: String,
    /// The ports to choose from; none: any that is free. A range apart from the system's own
    /// choices makes sure that an engine gets its port back after a restart.
    pub engine_ports: Option<RangeInclusive<u16>>,
    /// How the engines shall behave.
    pub engine: EngineRunOptions,
    /// Engines that may run at once.
    pub max_engines: usize,
    /// Whether the state of an engine outlives its game.
    pub keeps_finished_state: bool,
    /// How often and how long.
    pub timing: RtmTiming,
    /// How the streams are followed.
    pub follow: FollowLimits,
    /// The HTTP server's bounds.
    pub server: ServerLimits,
}

impl RtmConfig {
    /// A Runtime Manager at `listen` with engines on the loopback interface.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            state_file: None,
            engine_state_dir: None,
            engine_bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            engine_host: Ipv4Addr::LOCALHOST.to_string(),
            engine_ports: None,
            engine: EngineRunOptions::default(),
            max_engines: 256,
            keeps_finished_state: false,
            timing: RtmTiming::default(),
            follow: FollowLimits::default(),
            server: ServerLimits::default(),
        }
    }
}

/// What a Runtime Manager was told to do wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every request is answered 503.
    pub is_unavailable: bool,
    /// No health event is published.
    pub is_mute: bool,
    /// Images that are not there.
    pub missing_images: BTreeSet<String>,
    /// That many of the next starts fail with `start_config_invalid`.
    pub failing_starts: u32,
    /// Games whose containers are reported as unhealthy, whatever the engines answer.
    pub unhealthy_games: BTreeSet<String>,
}

/// What happened, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An engine listens.
    EngineStarted {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
        /// Its process, where it has one of its own.
        pid: Option<u32>,
        /// Where it listens.
        endpoint: String,
    },
    /// An engine ended, and nobody had asked for it.
    EngineExited {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
        /// How.
        exit: Exit,
    },
    /// An engine was stopped on request.
    EngineStopped {
        /// The game.
        game_id: String,
        /// The reason given.
        reason: String,
    },
    /// An engine did not come up.
    StartFailed {
        /// The game.
        game_id: String,
        /// What it is called.
        outcome: JobOutcome,
        /// Why, for people.
        message: String,
    },
    /// What a finished game left behind was deleted.
    CleanedUp {
        /// The game.
        game_id: String,
    },
}

/// Why a Runtime Manager could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RtmError {
    /// Its state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The directory of the engines' state could not be made.
    #[error("engine state directory {path}: {source}")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its address could not be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A Runtime Manager that listens, and works once it is run.
pub struct Rtm {
    core: Arc<Core>,
    listener: Box<dyn Listener>,
    local_addr: SocketAddr,
    health_events: mpsc::Receiver<HealthEvent>,
}

impl Rtm {
    /// Reads the state, makes the directory of the engines' state and binds the address.
    pub async fn bind(
        config: RtmConfig,
        net: Arc<dyn Net>,
        bus: Arc<dyn Bus>,
        env: Env,
        launcher: Arc<dyn EngineLauncher>,
        observer: Observer<Event>,
    ) -> Result<Self, RtmError> {
        let state = StateFile::open(config.state_file.clone()).await?;
        Self::bind_over(state, config, net, bus, env, launcher, observer).await
    }

    /// The same over a state that is open already, and may outlive this Runtime Manager.
    pub async fn bind_over(
        state: StateFile<RtmState>,
        config: RtmConfig,
        net: Arc<dyn Net>,
        bus: Arc<dyn Bus>,
        env: Env,
        launcher: Arc<dyn EngineLauncher>,
        observer: Observer<Event>,
    ) -> Result<Self, RtmError> {
        if let Some(path) = &config.engine_state_dir {
            let made = tokio::fs::create_dir_all(path).await;
            made.map_err(|source| RtmError::StateDir { path: path.clone(), source })?;
        }
        let addr = config.listen;
        let cannot_listen = |source| RtmError::Listen { addr, source };
        let listener = net.bind(addr).await.map_err(cannot_listen)?;
        let local_addr = listener.local_addr().map_err(cannot_listen)?;
        let (health_sender, health_events) = mpsc::channel(health::MAX_WAITING_EVENTS);
        // A probe over a kept connection would not notice that nobody listens any more.
        let limits = ClientLimits {
            connect_timeout: config.timing.probe_timeout,
            max_idle_per_host: 0,
            ..ClientLimits::default()
        };
        let core = Core {
            config,
            state,
            client: HttpClient::new(Arc::clone(&net), limits, None),
            net,
            bus,
            env,
            launcher,
            observer,
            faults: Default::default(),
            engines: watch::Sender::new(BTreeMap::new()),
            ordered_ends: watch::Sender::new(BTreeMap::new()),
            health_events: health_sender,
        };
        Ok(Self { core: Arc::new(core), listener, local_addr, health_events })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A window into it.
    pub fn handle(&self) -> RtmHandle {
        RtmHandle { core: Arc::clone(&self.core) }
    }

    /// Works until `stop`, then ends the engines: a restart starts them again.
    pub async fn run(self, stop: CancellationToken) {
        let Self { core, listener, local_addr: _, health_events } = self;
        let serving = Arc::clone(&core);
        let service = service_fn(move |request| routes::handle(Arc::clone(&serving), request));
        let jobs = StartJobs(Arc::clone(&core));
        let ends = GameEnds(Arc::clone(&core));
        let follow_limits = core.config.follow;
        let backoff = follow_limits.backoff;
        tokio::join!(
            net::serve(listener, service, core.config.server.clone(), stop.clone()),
            follow(&*core.bus, streams::START_JOBS, &jobs, follow_limits, stop.clone()),
            follow(&*core.bus, streams::LOBBY_EVENTS, &ends, follow_limits, stop.clone()),
            readers::publish_results(Arc::clone(&core), stop.clone()),
            health::publish(Arc::clone(&core.bus), health_events, backoff, stop.clone()),
            supervisor::supervise_all(Arc::clone(&core), stop),
        );
    }
}

/// A window into a Runtime Manager, and the levers to make it misbehave.
#[derive(Clone)]
pub struct RtmHandle {
    core: Arc<Core>,
}

impl RtmHandle {
    /// What is wanted of a game's engine.
    pub async fn runtime(&self, game_id: &str) -> Option<Runtime> {
        self.core.state.read(|state| state.runtimes.get(game_id).cloned()).await
    }

    /// What there is of a game's engine.
    pub fn engine(&self, game_id: &str) -> Option<Engine> {
        self.core.engines.borrow().get(game_id).cloned()
    }

    /// Waits until the engine of a game is as `wanted`: `false` when it was not within `limit`.
    pub async fn wait_for_engine(
        &self,
        game_id: &str,
        limit: Duration,
        wanted: impl Fn(Option<&Engine>) -> bool,
    ) -> bool {
        let mut engines = self.core.engines.subscribe();
        let waiting = engines.wait_for(|engines| wanted(engines.get(game_id)));
        matches!(tokio::time::timeout(limit, waiting).await, Ok(Ok(_)))
    }

    /// What became of the messages read.
    pub async fn counters(&self) -> Counters {
        self.core.state.read(|state| state.counters).await
    }

    /// Waits until the counters are as `wanted`: `None` when they were not within `limit`.
    pub async fn wait_for_counters(
        &self,
        limit: Duration,
        wanted: impl Fn(&Counters) -> bool,
    ) -> Option<Counters> {
        let look = |state: &RtmState| Some(state.counters).filter(|counters| wanted(counters));
        self.core.state.wait_for(limit, look).await
    }

    /// Tells it to misbehave, or to stop doing so.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.core.faults());
    }

    /// Kills a game's engine and has its end reported as `kind`.
    pub fn end_engine(&self, game_id: &str, kind: ExitKind) {
        self.core.order_end(game_id, kind);
    }
}
