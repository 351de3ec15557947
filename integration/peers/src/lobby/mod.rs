//! The reference Lobby: games, members, and the way from a draft to a running engine.
//!
//! [`flow`] decides, the driver carries out, the readers follow the streams, the routes serve
//! people and Game Master. All of them meet in one state (see [`game`]), which is saved before
//! anybody is answered.

mod core;
mod driver;
pub mod flow;
pub mod game;
mod gm;
mod readers;
mod routes;
pub mod view;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper::service::service_fn;
use net::{ClientLimits, HttpClient, Listener, Net, ServerLimits};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::{
    core::Core,
    flow::FlowTiming,
    game::{Counters, Game, LobbyState, Member, MemberStatus, Phase},
    gm::GameMaster,
    readers::{GameEvents, JobResults},
    view::RuntimeView,
};
use crate::{
    bus::{Bus, FollowLimits, follow, streams},
    call::Caller,
    env::{Env, Observer},
    front::Front,
    state_file::{StateError, StateFile},
};

/// How a Lobby is set up.
#[derive(Clone, Debug)]
pub struct LobbyConfig {
    /// Where it listens; port 0 for any free one.
    pub listen: SocketAddr,
    /// Game Master: `http://host:port`.
    pub gm_url: String,
    /// Lobby's bearer token at Game Master.
    pub gm_token: Option<String>,
    /// Runtime Manager, asked to stop an engine whose registration failed for good. Without it
    /// such an engine is left alone.
    pub rtm_url: Option<String>,
    /// Where the state is kept; none: in memory.
    pub state_file: Option<PathBuf>,
    /// The start flow's waits.
    pub flow: FlowTiming,
    /// How the streams are followed.
    pub follow: FollowLimits,
    /// For a connection to one of them.
    pub connect_timeout: Duration,
    /// For one call to Game Master or Runtime Manager.
    pub call_timeout: Duration,
    /// For all invalidations of one change together; what is not delivered by then is given up.
    pub invalidation_budget: Duration,
    /// The HTTP server's bounds.
    pub server: ServerLimits,
}

impl LobbyConfig {
    /// A Lobby at `listen` that works with the Game Master at `gm_url`.
    pub fn new(listen: SocketAddr, gm_url: impl Into<String>) -> Self {
        Self {
            listen,
            gm_url: gm_url.into(),
            gm_token: None,
            rtm_url: None,
            state_file: None,
            flow: FlowTiming::default(),
            follow: FollowLimits::default(),
            connect_timeout: ClientLimits::default().connect_timeout,
            call_timeout: Duration::from_secs(10),
            invalidation_budget: Duration::from_secs(2),
            server: ServerLimits::default(),
        }
    }
}

/// What happened, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The start was decided.
    StartRequested {
        /// The game.
        game_id: String,
    },
    /// Game Master runs the game.
    Started {
        /// The game.
        game_id: String,
        /// Where its engine listens.
        engine_endpoint: String,
    },
    /// Game Master could not be reached although the engine is up.
    Paused {
        /// The game.
        game_id: String,
        /// What went wrong.
        reason: String,
    },
    /// Game Master is back: the registration is tried again.
    Resumed {
        /// The game.
        game_id: String,
    },
    /// The start failed for good.
    StartFailed {
        /// The game.
        game_id: String,
        /// Why, as a code.
        code: String,
        /// Why, for people.
        message: String,
    },
    /// The game was played to its end.
    Finished {
        /// The game.
        game_id: String,
        /// Who qualified.
        capable_user_ids: Vec<String>,
    },
    /// A member's standing changed.
    MemberChanged {
        /// The game.
        game_id: String,
        /// The member.
        user_id: String,
        /// Their new standing.
        status: MemberStatus,
    },
    /// Game Master was not told of a change of members.
    InvalidationFailed {
        /// The game.
        game_id: String,
        /// What went wrong.
        message: String,
    },
}

impl Event {
    /// What to say about a game that was in `before`.
    fn between(before: &Phase, game: &Game) -> Option<Self> {
        if before.name() == game.phase.name() {
            return None;
        }
        let game_id = game.game_id.clone();
        match &game.phase {
            Phase::Starting { .. } => Some(Self::StartRequested { game_id }),
            Phase::Registering { .. } if matches!(before, Phase::Paused { .. }) => {
                Some(Self::Resumed { game_id })
            }
            Phase::Running { container } => {
                let engine_endpoint = container.engine_endpoint.clone();
                Some(Self::Started { game_id, engine_endpoint })
            }
            Phase::Paused { reason, .. } => Some(Self::Paused { game_id, reason: reason.clone() }),
            Phase::StartFailed { code, message, .. } => {
                Some(Self::StartFailed { game_id, code: code.clone(), message: message.clone() })
            }
            Phase::Finished => {
                let capable_user_ids = game.view.capable_users();
                Some(Self::Finished { game_id, capable_user_ids })
            }
            Phase::Draft | Phase::AwaitingContainer { .. } | Phase::Registering { .. } => None,
        }
    }
}

/// A game, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GameSummary {
    /// Its id.
    pub game_id: String,
    /// Where it stands: `draft`, `starting`, `awaiting_container`, `registering`, `running`,
    /// `paused`, `start_failed` or `finished`.
    pub status: &'static str,
    /// Why it is paused or failed.
    pub reason: Option<String>,
    /// The engine version it is played on.
    pub engine_version: String,
    /// When turns are generated.
    pub turn_schedule: String,
    /// Where its engine listens, once it does.
    pub engine_endpoint: Option<String>,
    /// Its container, once it has one.
    pub container_id: Option<String>,
    /// Its members.
    pub members: Vec<Member>,
    /// What Game Master last said.
    pub runtime: RuntimeSummary,
}

/// What Game Master last said about a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuntimeSummary {
    /// Game Master's status.
    pub runtime_status: Option<String>,
    /// The last turn generated.
    pub current_turn: Option<u32>,
    /// Summary of the engine's health.
    pub engine_health: Option<String>,
    /// When the last event happened, in unix milliseconds.
    pub last_event_at_ms: Option<u64>,
    /// When the game finished, in unix milliseconds.
    pub finished_at_ms: Option<u64>,
    /// Everybody's standing.
    pub players: std::collections::BTreeMap<String, view::PlayerView>,
}

impl GameSummary {
    /// The summary of a game.
    pub fn of(game: &Game) -> Self {
        let (container, reason) = match &game.phase {
            Phase::Registering { container, .. } | Phase::Running { container } => {
                (Some(container), None)
            }
            Phase::Paused { container, reason, .. } => (Some(container), Some(reason.clone())),
            Phase::StartFailed { code, message, orphan } => {
                (orphan.as_ref(), Some(format!("{code}: {message}")))
            }
            Phase::Draft
            | Phase::Starting { .. }
            | Phase::AwaitingContainer { .. }
            | Phase::Finished => (None, None),
        };
        Self {
            game_id: game.game_id.clone(),
            status: game.phase.name(),
            reason,
            engine_version: game.engine_version.clone(),
            turn_schedule: game.turn_schedule.clone(),
            engine_endpoint: container.map(|container| container.engine_endpoint.clone()),
            container_id: container.map(|container| container.container_id.clone()),
            members: game.members.clone(),
            runtime: RuntimeSummary::of(&game.view),
        }
    }
}

impl RuntimeSummary {
    fn of(view: &RuntimeView) -> Self {
        Self {
            runtime_status: view.runtime_status.clone(),
            current_turn: view.current_turn,
            engine_health: view.engine_health.clone(),
            last_event_at_ms: view.last_event_at_ms,
            finished_at_ms: view.finished_at_ms,
            players: view.players.clone(),
        }
    }
}

/// Why a Lobby could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LobbyError {
    /// Its state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its address could not be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The token cannot go into a header.
    #[error("the token for Game Master holds characters that no header can carry")]
    Token(#[source] ::http::header::InvalidHeaderValue),
}

/// A Lobby that listens, and works once it is run.
pub struct Lobby {
    core: Arc<Core>,
    listener: Box<dyn Listener>,
    local_addr: SocketAddr,
    follow: FollowLimits,
    server: ServerLimits,
}

impl Lobby {
    /// Reads the state and binds the address.
    pub async fn bind(
        config: LobbyConfig,
        net: Arc<dyn Net>,
        bus: Arc<dyn Bus>,
        env: Env,
        observer: Observer<Event>,
    ) -> Result<Self, LobbyError> {
        let state = StateFile::open(config.state_file.clone()).await?;
        Self::bind_over(state, config, net, bus, env, observer).await
    }

    /// The same over a state that is open already, and may outlive this Lobby.
    pub async fn bind_over(
        state: StateFile<LobbyState>,
        config: LobbyConfig,
        net: Arc<dyn Net>,
        bus: Arc<dyn Bus>,
        env: Env,
        observer: Observer<Event>,
    ) -> Result<Self, LobbyError> {
        let addr = config.listen;
        let cannot_listen = |source| LobbyError::Listen { addr, source };
        let listener = net.bind(addr).await.map_err(cannot_listen)?;
        let local_addr = listener.local_addr().map_err(cannot_listen)?;
        let limits = ClientLimits {
            connect_timeout: config.connect_timeout,
            total_timeout: config.call_timeout,
            ..ClientLimits::default()
        };
        let client = HttpClient::new(net, limits, None);
        let gm = Caller::new(client.clone(), &config.gm_url, config.call_timeout)
            .calling_as("lobby", config.gm_token.as_deref())
            .map_err(LobbyError::Token)?;
        let rtm = config.rtm_url.map(|url| Caller::new(client, &url, config.call_timeout));
        let core = Core {
            state,
            gm: GameMaster::new(gm),
            rtm,
            bus,
            env,
            observer,
            flow: config.flow,
            invalidation_budget: config.invalidation_budget,
            front: Front::default(),
        };
        Ok(Self {
            core: Arc::new(core),
            listener,
            local_addr,
            follow: config.follow,
            server: config.server,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A window into it.
    pub fn handle(&self) -> LobbyHandle {
        LobbyHandle { core: Arc::clone(&self.core) }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { core, listener, local_addr: _, follow: limits, server } = self;
        let serving = Arc::clone(&core);
        let service = service_fn(move |request| routes::handle(Arc::clone(&serving), request));
        let results = JobResults(Arc::clone(&core));
        let events = GameEvents(Arc::clone(&core));
        tokio::join!(
            net::serve(listener, service, server, stop.clone()),
            follow(&*core.bus, streams::JOB_RESULTS, &results, limits, stop.clone()),
            follow(&*core.bus, streams::LOBBY_EVENTS, &events, limits, stop.clone()),
            driver::drive(Arc::clone(&core), stop),
        );
    }
}

/// A window into a Lobby, for tests and demos.
#[derive(Clone)]
pub struct LobbyHandle {
    core: Arc<Core>,
}

impl LobbyHandle {
    /// One game, as people see it.
    pub async fn game(&self, game_id: &str) -> Option<GameSummary> {
        self.core.state.read(|state| state.games.get(game_id).map(GameSummary::of)).await
    }

    /// Its levers to be made to misbehave.
    pub fn front(&self) -> &Front {
        &self.core.front
    }

    /// What became of the messages read.
    pub async fn counters(&self) -> Counters {
        self.core.state.read(|state| state.counters).await
    }

    /// Waits until the game is as `wanted`: `None` when it was not within `limit`.
    pub async fn wait_for(
        &self,
        game_id: &str,
        limit: Duration,
        wanted: impl Fn(&GameSummary) -> bool,
    ) -> Option<GameSummary> {
        let look = |state: &LobbyState| {
            state.games.get(game_id).map(GameSummary::of).filter(|game| wanted(game))
        };
        self.core.state.wait_for(limit, look).await
    }

    /// Waits until the counters are as `wanted`: `None` when they were not within `limit`.
    pub async fn wait_for_counters(
        &self,
        limit: Duration,
        wanted: impl Fn(&Counters) -> bool,
    ) -> Option<Counters> {
        let look = |state: &LobbyState| Some(state.counters).filter(|counters| wanted(counters));
        self.core.state.wait_for(limit, look).await
    }
}
