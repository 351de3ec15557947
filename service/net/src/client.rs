//! The HTTP/1.1 client: every call bounded in time and size, and honest about what it knows.

mod connector;
mod error;
mod pool;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::Full;
use tokio::time::timeout;

use self::connector::{Connector, DEFAULT_PORT};
pub use self::error::{CallError, NotSent, Unknown};
use self::pool::{Failure, Link, Pool};
use crate::body::BodyError;
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
    connector: Connector,
    pool: Arc<Pool>,
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
        let pool = Pool::new(limits.max_idle_per_host, limits.idle_timeout);
        Self { inner: Arc::new(Inner { connector, pool, limits }) }
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
        let (authority, request) = prepare(request).map_err(CallError::NotSent)?;
        // A call that ended without a connection sent nothing, however it ended. Judging by the kind
        // of the error alone could not tell that a deadline expired while connecting.
        let mut has_connection = false;
        let exchange = self.exchange(&authority, request, &mut has_connection);
        match timeout(total, exchange).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Failed::Before(reason))) => Err(CallError::NotSent(reason)),
            Ok(Err(Failed::After(Failure::NoResponse(error)))) => {
                Err(CallError::Unknown(Unknown::NoResponse(error)))
            }
            Ok(Err(Failed::After(Failure::Body(error)))) => Err(after_head(error, total)),
            Err(_elapsed) if !has_connection => Err(CallError::NotSent(NotSent::ConnectTimedOut)),
            Err(_elapsed) => Err(CallError::Unknown(Unknown::TimedOut(total))),
        }
    }

    /// SUBTLE: `has_connection` is set before the connection gets the request. A connection that
    /// failed, or that the caller gave up, is dropped and so closed.
    async fn exchange(
        &self,
        authority: &Authority,
        request: Request<Full<Bytes>>,
        has_connection: &mut bool,
    ) -> Result<Response<Bytes>, Failed> {
        let Inner { connector, pool, limits } = &*self.inner;
        let mut link = match pool.take(authority.as_str()).await {
            Some(link) => link,
            None => {
                let stream = connector.connect(authority).await.map_err(Failed::Before)?;
                let link = Link::over(stream).await;
                link.map_err(|e| Failed::Before(NotSent::NoConnection(Arc::new(e))))?
            }
        };
        *has_connection = true;
        let answered = link.exchange(request, limits.max_response_bytes).await;
        let response = answered.map_err(Failed::After)?;
        pool.keep(authority.as_str(), link).await;
        Ok(response)
    }
}

enum Failed {
    /// There was no connection.
    Before(NotSent),
    /// There was.
    After(Failure),
}

/// Refuses what this client does not send, and leaves the framing to the protocol layer. Whom the
/// request is for, and what goes to them.
fn prepare(request: Request<Bytes>) -> Result<(Authority, Request<Full<Bytes>>), NotSent> {
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
    let authority = authority.clone();
    let target = uri.path_and_query().cloned();
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut request = request.map(Full::new);
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from(target);
    let host = match authority.port_u16() {
        Some(DEFAULT_PORT) | None => authority.host(),
        Some(_) => authority.as_str(),
    };
    let host = HeaderValue::from_str(host);
    let host = host.map_err(|_| NotSent::Invalid("the host cannot be sent"))?;
    request.headers_mut().entry(header::HOST).or_insert(host);
    // The length is that of the body we hold. A copied header that says otherwise would let the
    // peer take the rest for a second request.
    request.headers_mut().remove(header::CONTENT_LENGTH);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok((authority, request))
}

fn after_head(error: BodyError, total: Duration) -> CallError {
    match error {
        BodyError::TooLarge { limit_bytes } => CallError::TooLarge { limit_bytes },
        BodyError::TimedOut => CallError::Unknown(Unknown::TimedOut(total)),
        BodyError::Broken(error) => CallError::Unknown(Unknown::Incomplete(error)),
    }
}
