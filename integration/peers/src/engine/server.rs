//! The engine behind HTTP.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use net::{Listener, Net, PeerAddr, ServerLimits};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    core::Core,
    drip::drip,
    game::GameOptions,
    misbehaviour::{Misbehaviour, Operation, Trick},
    routes::{self, Call, ContractCall},
    store::{MemoryDisk, Storage},
};
use crate::{
    env::Observer,
    http::{self as reply, Problem, Reply},
};

pub use super::core::GeneratedTurn;

/// How long requests that have begun to act may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The game made by `adminInitGame`.
    pub game: GameOptions,
    /// Whether `expected_turn` is looked at.
    pub honours_expected_turn: bool,
    /// How long generating a turn takes.
    pub turn_latency: Duration,
    /// Where the state survives the process; without it (and without a disk) it does not.
    pub state_file: Option<PathBuf>,
    /// Where the state survives the server but not the process, if there is no file.
    pub memory_disk: Option<MemoryDisk>,
    /// What the engine does wrong.
    pub misbehaviour: Misbehaviour,
    /// The HTTP server's bounds.
    pub server: ServerLimits,
    /// Who is told of every call.
    pub watcher: Watcher,
}

/// What is seen of the calls that come in.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A well-formed call of the contract, before anything is made of it.
    Called {
        /// What is asked.
        operation: Operation,
        /// The trace it belongs to, as its header names it.
        traceparent: Option<String>,
    },
    /// A call that is not going to be answered, or whose answer takes its time to arrive.
    Hangs {
        /// What was asked.
        operation: Operation,
        /// Alive for as long as the caller waits.
        waiting: Weak<()>,
    },
}

/// Who is told of the calls that come in; nobody, where nobody is set.
#[derive(Clone, Default)]
pub struct Watcher(Option<Observer<Seen>>);

impl Watcher {
    /// Tells `observer`.
    pub fn new(observer: Observer<Seen>) -> Self {
        Self(Some(observer))
    }

    fn tell(&self, seen: impl FnOnce() -> Seen) {
        if let Some(observer) = &self.0 {
            observer(&seen());
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.is_some()).finish()
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            game: GameOptions::default(),
            honours_expected_turn: true,
            turn_latency: Duration::ZERO,
            state_file: None,
            memory_disk: None,
            misbehaviour: Misbehaviour::default(),
            // No `Date`: the same requests get the same answers, byte for byte.
            server: ServerLimits { auto_date_header: false, ..ServerLimits::default() },
            watcher: Watcher::default(),
        }
    }
}

/// Why an engine could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The saved state cannot be read. The engine does not start afresh over it.
    #[error("cannot read the saved state")]
    State(#[source] io::Error),
    /// Standard output or input is gone.
    #[error("cannot tell the address")]
    Announce(#[source] io::Error),
}

/// An engine that has its address and its state, and waits to be run.
pub struct EngineServer {
    listener: Box<dyn Listener>,
    limits: ServerLimits,
    engine: Engine,
}

impl EngineServer {
    /// Binds, loads the state and serves until `shutdown`.
    pub async fn run(
        net: Arc<dyn Net>,
        addr: SocketAddr,
        options: EngineOptions,
        shutdown: CancellationToken,
    ) -> Result<(), EngineError> {
        Self::bind(&*net, addr, options).await?.serve(shutdown).await;
        Ok(())
    }

    /// Binds and loads the state. Port 0 lets the system choose.
    pub async fn bind(
        net: &dyn Net,
        addr: SocketAddr,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let storage = match (options.state_file, options.memory_disk) {
            (Some(path), _) => Storage::File(path),
            (None, Some(disk)) => Storage::Memory(disk),
            (None, None) => Storage::Forget,
        };
        let core = Core::load(options.game, options.honours_expected_turn, storage)
            .map_err(EngineError::State)?;
        let listener = net.bind(addr).await.map_err(|source| EngineError::Bind { addr, source })?;
        let engine = Engine {
            core: Arc::new(core),
            misbehaviour: options.misbehaviour,
            turn_latency: options.turn_latency,
            watcher: options.watcher,
            tasks: TaskTracker::new(),
            killed: CancellationToken::new(),
        };
        Ok(Self { listener, limits: options.server, engine })
    }

    /// The address listened on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; then requests that have begun to act are finished. Dropped, it is a
    /// process that was killed: nothing of it acts any more.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, limits, engine } = self;
        let _killed = engine.killed.clone().drop_guard();
        let tasks = engine.tasks.clone();
        let stopping = shutdown.clone();
        let service = service_fn(move |request| {
            let engine = engine.clone();
            let stopping = stopping.clone();
            async move { Ok::<_, Infallible>(engine.answer(request, stopping).await) }
        });
        net::serve(listener, service, limits, shutdown).await;
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "requests were still acting at the end");
        }
    }
}

#[derive(Clone)]
struct Engine {
    core: Arc<Core>,
    misbehaviour: Misbehaviour,
    turn_latency: Duration,
    watcher: Watcher,
    tasks: TaskTracker,
    killed: CancellationToken,
}

/// What the task that acts hands back to the connection.
enum Answer {
    Reply(Box<Reply>),
    /// In drops, with a pause before each.
    Drips(Box<Reply>, Duration),
    /// None ever: the connection waits until either side ends it.
    Never,
}

impl Engine {
    async fn answer(&self, request: Request<Incoming>, shutdown: CancellationToken) -> Reply {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0);
        let call = match routes::parse(&parts, body, peer).await {
            Ok(call) => call,
            Err(problem) => return problem.into_reply(),
        };
        let call = match call {
            Call::Log => return reply::json(StatusCode::OK, &self.core.log().await),
            Call::GetPlan => return reply::json(StatusCode::OK, &self.misbehaviour.plan()),
            Call::SetPlan(plan) => {
                self.misbehaviour.set(plan);
                return reply::json(StatusCode::OK, &self.misbehaviour.plan());
            }
            Call::Contract(call) => call,
        };
        let operation = call.operation();
        self.watcher.tell(|| {
            let traceparent = parts.headers.get("traceparent").and_then(|it| it.to_str().ok());
            Seen::Called { operation, traceparent: traceparent.map(str::to_owned) }
        });
        // SUBTLE: in a task of its own. A caller that hangs up drops this future, and a request
        // that has begun must be carried out to its end all the same: half a save would leave the
        // file ahead of the memory, and a real engine does not stop either.
        let act = self.clone().act(call, shutdown.clone());
        let acting = self.tasks.spawn(self.killed.clone().run_until_cancelled_owned(act));
        match acting.await {
            Ok(None) => reply::dropped_connection(),
            Ok(Some(Answer::Reply(reply))) => *reply,
            Ok(Some(Answer::Drips(reply, every))) => {
                drip(*reply, every, shutdown, self.caller_of(operation)).await
            }
            Ok(Some(Answer::Never)) => {
                // Dropped with this future when the caller hangs up.
                let _waits = self.caller_of(operation);
                shutdown.cancelled().await;
                reply::dropped_connection()
            }
            Err(_) => reply::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "the request could not be carried out",
            ),
        }
    }

    /// A caller who waits for as long as this is kept; the watcher is told.
    fn caller_of(&self, operation: Operation) -> Arc<()> {
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        self.watcher.tell(|| Seen::Hangs { operation, waiting });
        waits
    }

    async fn act(self, call: ContractCall, shutdown: CancellationToken) -> Answer {
        let spell = self.misbehaviour.take(call.operation());
        let generating = match &call {
            ContractCall::Turn { .. } => self.turn_latency,
            ContractCall::Init(_)
            | ContractCall::Status
            | ContractCall::Banish(_)
            | ContractCall::Command(_)
            | ContractCall::Order(_)
            | ContractCall::Report { .. }
            | ContractCall::Healthz => Duration::ZERO,
        };
        if !pause(spell.before.saturating_add(generating), &shutdown).await {
            return replying(reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "shutting_down",
                "the engine is going away; nothing was done",
            ));
        }
        let lie = match spell.trick {
            Some(Trick::Lie { turn_by }) => turn_by,
            Some(
                Trick::Hang { .. }
                | Trick::Fail { .. }
                | Trick::Drop
                | Trick::Drip { .. }
                | Trick::Garbage,
            )
            | None => 0,
        };
        let honest = if spell.trick.is_none_or(Trick::acts) {
            Some(self.core.perform(call, lie).await.unwrap_or_else(Problem::into_reply))
        } else {
            None
        };
        // Cut short by the end of the engine: the answer then goes out at once.
        pause(spell.after, &shutdown).await;
        match (spell.trick, honest) {
            (Some(Trick::Hang { .. }), _) => Answer::Never,
            (Some(Trick::Fail { status, .. }), _) => replying(failing(status)),
            (Some(Trick::Drop), _) => replying(reply::dropped_connection()),
            (Some(Trick::Garbage), _) => replying(garbage()),
            (Some(Trick::Lie { .. }) | None, Some(honest)) => replying(honest),
            (Some(Trick::Drip { every }), Some(honest)) => Answer::Drips(Box::new(honest), every),
            // Unreachable: a liar acts. No answer is the honest way not to have one.
            (Some(Trick::Lie { .. } | Trick::Drip { .. }) | None, None) => {
                replying(reply::dropped_connection())
            }
        }
    }
}

fn replying(reply: Reply) -> Answer {
    Answer::Reply(Box::new(reply))
}

fn failing(status: u16) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::error(status, "told_to_fail", "this engine was told to fail")
}

fn garbage() -> Reply {
    reply::raw_json(StatusCode::OK, Bytes::from_static(b"{\"turn\": seven, \xff\x00"))
}

/// Waits; false when the end came first.
async fn pause(wait: Duration, shutdown: &CancellationToken) -> bool {
    if wait.is_zero() {
        return true;
    }
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}
