//! The HTTP/1.1 server: an accept loop in which everything is bounded.
//!
//! ```text
//!   accept --- a place is free ----> connection: request after request until it ends
//!      |                               |  a time-out of `Timing`   -> dropped
//!      |                               |  shutdown                 -> last answer, then closed
//!      |                               '- drain time over          -> dropped
//!      '------ no place is free ---> refusal: 503 and closed (a bounded number at a time)
//! ```

mod connection;
mod framing;
mod guarded_io;
mod guests;
mod refusal;
mod timing;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use self::guests::Guests;
use crate::seam::{BoxedStream, Listener};

/// How many connections beyond the limit are told so at a time; further ones are just closed.
const MAX_REFUSALS: usize = 64;

/// How long a connection waits for the one that makes room for it.
const SEAT_TIMEOUT: Duration = Duration::from_secs(1);
const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(50);
const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Bounds of a server.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections served at a time. Beyond it the one that has waited the longest without a
    /// request in flight is closed; where all have one, the answer is 503 with `Retry-After`.
    pub max_connections: usize,
    /// Bytes of a request's line and headers; beyond it the answer is 431.
    pub max_header_bytes: usize,
    /// Headers of a request; beyond it the answer is 431.
    pub max_headers: usize,
    /// Requests answered on one connection before it is closed, if it is to be limited.
    pub max_requests_per_connection: Option<u64>,
    /// From the first byte of a request (or the accepted connection) to the end of its headers.
    pub header_timeout: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// How long a response may wait for a client that takes none of it.
    pub write_timeout: Duration,
    /// How long input is still read, and discarded, after the last response: closing a socket with
    /// unread input resets it, and the client may lose the response over that.
    pub linger_timeout: Duration,
    /// How long requests in flight may go on after the shutdown signal.
    pub drain: Duration,
    /// Whether responses carry `Date`. Off where output must not depend on the wall clock.
    pub auto_date_header: bool,
    /// Whether requests carry [`PeerAddr`]. Off for those who do not ask: it costs every request
    /// several allocations.
    pub peer_address: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_header_bytes: 16 * 1024,
            max_headers: 100,
            max_requests_per_connection: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(1),
            drain: Duration::from_secs(10),
            auto_date_header: true,
            peer_address: true,
        }
    }
}

/// The address of the client, in the extensions of every request, where the limits say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// In the extensions of a request that has both a `Content-Length` and a `Transfer-Encoding`: it may
/// mean another thing to a proxy in front than it does here, and is to be refused. It is the last
/// one of its connection, whatever the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousFraming;

/// Serves `service` on `listener` until `shutdown`, then lets the requests in flight finish for at
/// most [`ServerLimits::drain`]. When it returns, every connection is closed.
///
/// A panic of the service ends its own connection only. Dropping the future closes everything.
pub async fn serve<S, B>(
    listener: Box<dyn Listener>,
    service: S,
    limits: ServerLimits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut server = Server::new(service, limits, shutdown.clone());
    server.accept_until(listener, &shutdown).await;
    server.drain().await;
}

struct Server<S> {
    service: S,
    limits: Arc<ServerLimits>,
    shutdown: CancellationToken,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    guests: Arc<Guests>,
    /// Whether the last connection found no place, so that a flood is one line in the log.
    full: bool,
    tasks: JoinSet<()>,
}

impl<S, B> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn new(service: S, limits: ServerLimits, shutdown: CancellationToken) -> Self {
        let places = limits.max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            service,
            limits: Arc::new(limits),
            shutdown,
            places: Arc::new(Semaphore::new(places)),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            guests: Arc::default(),
            full: false,
            tasks: JoinSet::new(),
        }
    }

    /// Takes the listener, so that connections attempted while draining are refused by the system.
    async fn accept_until(&mut self, mut listener: Box<dyn Listener>, stop: &CancellationToken) {
        let mut backoff = ACCEPT_BACKOFF_MIN;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.tasks.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff = ACCEPT_BACKOFF_MIN;
                    self.admit(stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {
                    debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    // Descriptors or memory ran out. The connection stays in the queue, so trying
                    // again at once would be a busy loop; connections that end free what is needed.
                    warn!(%error, retry_in_ms = backoff.as_millis(), "cannot accept connections");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }

    fn admit(&mut self, stream: BoxedStream, peer: SocketAddr) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.full = false;
            self.seat(stream, peer, Some(place));
            return;
        }
        if self.guests.make_room() {
            self.seat(stream, peer, None);
            return;
        }
        if !self.full {
            self.full = true;
            warn!(max_connections = self.limits.max_connections, "no place for a connection");
        }
        if let Ok(refusal) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.tasks.spawn(async move {
                refusal::run(stream).await;
                drop(refusal);
            });
        }
    }

    /// Serves a connection; without a place, on the one that is just being given up.
    fn seat(&mut self, stream: BoxedStream, peer: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        let (service, shutdown) = (self.service.clone(), self.shutdown.clone());
        let (limits, guests) = (Arc::clone(&self.limits), Arc::clone(&self.guests));
        let places = Arc::clone(&self.places);
        self.tasks.spawn(async move {
            let place = match place {
                Some(place) => Ok(Ok(place)),
                None => timeout(SEAT_TIMEOUT, places.acquire_owned()).await,
            };
            // A place that was not given up after all was needed for a request.
            let Ok(Ok(place)) = place else { return refusal::run(stream).await };
            connection::run(stream, peer, service, &limits, &guests, shutdown).await;
            drop(place);
        });
    }

    async fn drain(mut self) {
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        if timeout(self.limits.drain, all_ended).await.is_err() {
            warn!(connections = self.tasks.len(), "dropping connections that did not drain");
            self.tasks.shutdown().await;
        }
    }
}

/// Whether an error of `accept` concerns the connection that was next, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn report(ended: Result<(), JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        // The panic hook has printed the message; it may hold anything, so it is not repeated here.
        error!("a connection ended with a panic");
    }
}
