//! Redis over the seam: every wait is bounded, and what failed is made anew by the next call.
//!
//! ```text
//!   ask ────────▶ one connection, shared: requests are pipelined, answers come in their order
//!   ask_waiting ▶ a connection to itself: whoever waits in Redis holds up nobody
//!                  │
//!                  └─ made one at a time; after a failed try nobody tries for a moment
//! ```
//!
//! A connection is dropped at the first sign that its answers cannot be trusted to come: an answer
//! that is late or makes no sense, an end of the stream. The call that met the sign fails and says
//! what it knows ([`RedisFailure`]); nothing is sent twice in here.

mod capped;
mod connection;
mod streams;
mod url;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::connection::Connection;
pub use self::streams::{RedisEntry, redis_entries};
pub use self::url::{BadRedisUrl, RedisUrl};
use crate::seam::Net;

/// How many requests may wait inside Redis at a time, each on a connection to itself.
const MAX_WAITING: usize = 32;
/// How many of their connections are kept for the next ones.
const MAX_IDLE: usize = 4;
/// After a failed try to connect, nobody tries for this long; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(1);

/// Bounds of a link's waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisLimits {
    /// For a new connection: resolving, connecting, authentication, the first answer. A call may
    /// have to let another one's try end first, which takes as long again.
    pub connect_timeout: Duration,
    /// For an answer, on top of the time that the request itself asks Redis to wait.
    pub response_timeout: Duration,
    /// An answer longer than this is not read; the next call finds a new connection.
    pub max_answer_bytes: usize,
}

impl Default for RedisLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            max_answer_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Why a request has no answer, or what the answer was instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisFailure {
    /// The request was not sent: it did not happen.
    #[error("no connection to Redis: {0}")]
    NotSent(String),
    /// Redis refuses it: it did not happen.
    #[error("Redis refuses it: {code} {detail}")]
    Refused {
        /// The first word of the answer, as `WRONGTYPE`.
        code: String,
        /// The rest of it, escaped and cut.
        detail: String,
    },
    /// It may have happened.
    #[error("no answer from Redis: {0}")]
    Unknown(String),
    /// It may have happened. The answer, or another one on its connection, is longer than is kept.
    #[error("the answer of Redis is too long")]
    TooLong,
}

impl RedisFailure {
    /// A refusal that a script has caught, from what Redis says: its first word is the code.
    pub fn refused(text: &str) -> Self {
        let (code, detail) = text.split_once(' ').unwrap_or((text, ""));
        Self::Refused { code: connection::escaped(code), detail: connection::escaped(detail) }
    }
}

/// Redis, as whoever holds it uses it. Clones share the connections.
#[derive(Clone)]
pub struct RedisLink {
    inner: Arc<Inner>,
}

struct Inner {
    net: Arc<dyn Net>,
    url: RedisUrl,
    limits: RedisLimits,
    /// Held while a connection is made.
    gate: tokio::sync::Mutex<Gate>,
    shared: Mutex<Option<Arc<Connection>>>,
    idle: Mutex<Vec<Connection>>,
    waiting: Semaphore,
}

#[derive(Default)]
struct Gate {
    /// Tries in a row that failed.
    failures: u32,
    closed: Option<Closed>,
}

struct Closed {
    until: Instant,
    why: String,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { url, limits, .. } = &*self.inner;
        f.debug_struct("RedisLink").field("url", url).field("limits", limits).finish()
    }
}

impl RedisLink {
    /// A link to the Redis at `url`. Connects when it is first used.
    pub fn new(net: Arc<dyn Net>, url: RedisUrl, limits: RedisLimits) -> Self {
        let inner = Inner {
            net,
            url,
            limits,
            gate: tokio::sync::Mutex::default(),
            shared: Mutex::default(),
            idle: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The answer to a request that Redis answers at once.
    ///
    /// Safe to cancel: the answer to a request that nobody waits for any more is dropped.
    pub async fn ask(&self, request: &Cmd) -> Result<Value, RedisFailure> {
        let connection = self.shared().await?;
        let answer = connection.ask(request, self.inner.limits.response_timeout).await;
        if answer.as_ref().is_err_and(ends_the_connection) {
            let mut shared = lock(&self.inner.shared);
            if shared.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                *shared = None;
            }
        }
        answer
    }

    /// The answer to a request that asks Redis to wait for up to `wait`.
    ///
    /// Safe to cancel: the connection of a request that nobody waits for any more is closed.
    pub async fn ask_waiting(&self, request: &Cmd, wait: Duration) -> Result<Value, RedisFailure> {
        let Inner { limits, waiting, .. } = &*self.inner;
        let _permit = match timeout(limits.response_timeout, waiting.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                return Err(RedisFailure::NotSent(format!("{MAX_WAITING} requests wait already")));
            }
        };
        // Taken out, so that it is closed and not given to another where this call is dropped.
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect(&mut *self.gate().await?).await?,
        };
        let answer = connection.ask(request, limits.response_timeout.saturating_add(wait)).await;
        if !answer.as_ref().is_err_and(ends_the_connection) {
            let mut idle = lock(&self.inner.idle);
            if idle.len() < MAX_IDLE {
                idle.push(connection);
            }
        }
        answer
    }

    async fn shared(&self) -> Result<Arc<Connection>, RedisFailure> {
        let current = || lock(&self.inner.shared).clone().filter(|found| found.is_open());
        if let Some(connection) = current() {
            return Ok(connection);
        }
        let mut gate = self.gate().await?;
        // Whoever held the gate may have made it.
        if let Some(connection) = current() {
            return Ok(connection);
        }
        let connection = Arc::new(self.connect(&mut gate).await?);
        *lock(&self.inner.shared) = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = lock(&self.inner.idle);
        idle.retain(Connection::is_open);
        idle.pop()
    }

    async fn gate(&self) -> Result<tokio::sync::MutexGuard<'_, Gate>, RedisFailure> {
        let gate = timeout(self.inner.limits.connect_timeout, self.inner.gate.lock()).await;
        gate.map_err(|_| RedisFailure::NotSent("others try to connect".into()))
    }

    async fn connect(&self, gate: &mut Gate) -> Result<Connection, RedisFailure> {
        let Inner { net, url, limits, .. } = &*self.inner;
        if let Some(closed) = &gate.closed
            && Instant::now() < closed.until
        {
            return Err(RedisFailure::NotSent(format!("a moment ago: {}", closed.why)));
        }
        match Connection::open(&**net, url, limits).await {
            Ok(connection) => {
                *gate = Gate::default();
                Ok(connection)
            }
            Err(why) => {
                let pause = PAUSE.saturating_mul(1 << gate.failures.min(10)).min(PAUSE_CAP);
                gate.failures = gate.failures.saturating_add(1);
                gate.closed = Some(Closed { until: Instant::now() + pause, why: why.clone() });
                Err(RedisFailure::NotSent(why))
            }
        }
    }
}

/// Whether the next request is better made on a new connection.
fn ends_the_connection(failure: &RedisFailure) -> bool {
    match failure {
        RedisFailure::NotSent(_) | RedisFailure::Unknown(_) | RedisFailure::TooLong => true,
        // Authentication is made anew with a connection, and after a failover the name may lead
        // to the server that takes writes.
        RedisFailure::Refused { code, .. } => {
            matches!(code.as_str(), "NOAUTH" | "READONLY" | "UNBLOCKED" | "MASTERDOWN")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one, and each holds a single value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
