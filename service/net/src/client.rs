//! The HTTP/1.1 client: every call bounded in time and size, and honest about what it knows.

mod connector;
mod error;

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Response, Version, header};
use http_body_util::Full;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ExchangeError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use self::connector::Connector;
pub use self::error::{CallError, NotSent, Unknown};
use crate::body::{BodyError, collect};
use crate::seam::Net;

/// Bounds the head of a response, and what is read ahead of a body.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Bounds of a client's calls.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// For resolving and connecting together. A pooled connection needs neither.
    pub connect_timeout: Duration,
    /// For the whole call: connecting, the request, the response's head and body.
    pub total_timeout: Duration,
    /// A response body longer than this is not read.
    pub max_response_bytes: usize,
    /// How many idle connections are kept for each authority.
    pub max_idle_per_host: usize,
    /// How long an idle connection is kept. Keep it below the peer's, or calls meet connections
    /// that the peer is just closing.
    pub idle_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(10),
            max_response_bytes: 1024 * 1024,
            max_idle_per_host: 16,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Decides which addresses may be called. Every address a host resolves to is asked about, and
/// only addresses asked about are dialled.
pub trait AddressGuard: Send + Sync {
    /// Whether `addr`, an address of `host` (without brackets), may be called.
    fn allows(&self, host: &str, addr: SocketAddr) -> bool;
}

/// A client for `http://` with a pool of kept-alive connections per authority. Clones share it.
///
/// It follows no redirect, uses no proxy, decompresses nothing and never sends a request twice.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client<Connector, Full<Bytes>>,
    limits: ClientLimits,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client over `net`. Without a `guard` every address may be called.
    pub fn new(
        net: Arc<dyn Net>,
        limits: ClientLimits,
        guard: Option<Arc<dyn AddressGuard>>,
    ) -> Self {
        let connector = Connector { net, guard, connect_timeout: limits.connect_timeout };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle_timeout)
            .pool_max_idle_per_host(limits.max_idle_per_host)
            .http1_max_buf_size(READ_BUFFER_BYTES)
            .retry_canceled_requests(false)
            .build(connector);
        Self { inner: Arc::new(Inner { client, limits }) }
    }

    /// Sends `request` once and reads the response whole, within the client's total time-out.
    ///
    /// The URI must be absolute with the scheme `http` and without user information. Any status
    /// is a response, not an error.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        self.send_within(request, self.inner.limits.total_timeout).await
    }

    /// Like [`send`](Self::send), with a total time-out of its own.
    pub async fn send_within(
        &self,
        request: Request<Bytes>,
        total: Duration,
    ) -> Result<Response<Bytes>, CallError> {
        let mut request = prepare(request).map_err(CallError::NotSent)?;
        // SUBTLE: the pool announces the connection it gives the request to before it gives it, and
        // does so inside the future polled here. So a call that ended without an announcement sent
        // nothing, however it ended. Judging by the kind of the error alone could not tell that a
        // deadline expired while connecting.
        let connection = capture_connection(&mut request);
        let outcome = timeout(total, self.exchange(request)).await;
        let assigned = connection.connection_metadata().is_some();
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Failure::NoResponse(error))) if !assigned => {
                Err(CallError::NotSent(before_sending(error)))
            }
            Ok(Err(Failure::NoResponse(error))) => {
                Err(CallError::Unknown(Unknown::NoResponse(error)))
            }
            Ok(Err(Failure::Body(error))) => Err(after_head(error, total)),
            Err(_elapsed) if !assigned => Err(CallError::NotSent(NotSent::ConnectTimedOut)),
            Err(_elapsed) => Err(CallError::Unknown(Unknown::TimedOut(total))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let response = self.inner.client.request(request).await.map_err(Failure::NoResponse)?;
        let (head, body) = response.into_parts();
        let max_bytes = self.inner.limits.max_response_bytes;
        let body = collect(body, max_bytes).await.map_err(Failure::Body)?;
        Ok(Response::from_parts(head, body))
    }
}

enum Failure {
    NoResponse(ExchangeError),
    Body(BodyError),
}

/// Refuses what this client does not send, and leaves the framing to the protocol layer.
fn prepare(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, NotSent> {
    let uri = request.uri();
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(NotSent::Invalid("the URI is not an absolute http URI"));
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(NotSent::Invalid("the URI has no host"));
    };
    if authority.as_str().contains('@') {
        return Err(NotSent::Invalid("the URI holds user information"));
    }
    if request.method() == Method::CONNECT {
        return Err(NotSent::Invalid("the method CONNECT is not supported"));
    }
    let mut request = request.map(Full::new);
    *request.version_mut() = Version::HTTP_11;
    // The length is that of the body we hold. A copied header that says otherwise would let the
    // peer take the rest for a second request.
    request.headers_mut().remove(header::CONTENT_LENGTH);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(request)
}

fn before_sending(error: ExchangeError) -> NotSent {
    match error.source().and_then(|source| source.downcast_ref::<NotSent>()) {
        Some(reason) => reason.clone(),
        None => NotSent::NoConnection(Arc::new(error)),
    }
}

fn after_head(error: BodyError, total: Duration) -> CallError {
    match error {
        BodyError::TooLarge { limit_bytes } => CallError::TooLarge { limit_bytes },
        BodyError::TimedOut => CallError::Unknown(Unknown::TimedOut(total)),
        BodyError::Broken(error) => CallError::Unknown(Unknown::Incomplete(error)),
    }
}
