//! One connection, from the accepted stream to its end.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::framing::{Ambiguous, Framing};
use super::guarded_io::GuardedIo;
use super::guests::Guests;
use super::timing::{Expiry, Timing};
use super::{AmbiguousFraming, PeerAddr, ServerLimits};
use crate::seam::BoxedStream;

/// What is read ahead of a body. The protocol layer insists on 8 KiB at least.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The protocol layer's own limit. Set to any value, even this one, it keeps the headers on the
/// heap, which is measurably slower.
const BUILT_IN_MAX_HEADERS: usize = 100;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

enum End {
    Closed,
    Failed(hyper::Error),
    Expired(Expiry),
    MadeRoom,
}

/// Serves requests until the client or the service closes, a time-out strikes, or the shutdown
/// has let the request in flight finish.
pub(super) async fn run<S, B>(
    stream: BoxedStream,
    peer: SocketAddr,
    service: S,
    limits: &ServerLimits,
    guests: &Guests,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let timing = Timing::new(limits);
    let entry = guests.enter(timing.clone());
    let ambiguous = Ambiguous::default();
    let framing = Framing::new(READ_BUFFER_BYTES.max(limits.max_header_bytes), ambiguous.clone());
    let io = TokioIo::new(GuardedIo::new(stream, timing.clone(), framing));
    let observer = timing.clone();
    let (max_requests, peer_address) = (limits.max_requests_per_connection, limits.peer_address);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let number = observer.request_started();
        let is_ambiguous = ambiguous.is(number);
        let is_last = is_ambiguous || max_requests.is_some_and(|max| number >= max);
        if peer_address {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        if is_ambiguous {
            request.extensions_mut().insert(AmbiguousFraming);
        }
        let response = service.call(request);
        let given = GivenOnDrop(observer.clone());
        async move {
            let mut response = observed(response.await?, given);
            if is_last {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response)
        }
    });

    let mut connection = pin!(builder(limits).serve_connection(io, service));
    let mut shutdown = pin!(shutdown.cancelled_owned());
    let mut leave = pin!(entry.leave.cancelled());
    let mut asked_to_leave = false;
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut draining = false;

    let end = poll_fn(|cx| {
        if !draining && shutdown.as_mut().poll(cx).is_ready() {
            draining = true;
            timing.shutting_down();
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_or_else(End::Failed, |()| End::Closed));
        }
        if !asked_to_leave && leave.as_mut().poll(cx).is_ready() {
            asked_to_leave = true;
            // A request that came in the meantime is answered.
            if timing.waiting_since().is_some() {
                return Poll::Ready(End::MadeRoom);
            }
        }
        poll_expiry(alarm.as_mut(), &timing, cx).map(End::Expired)
    })
    .await;

    match end {
        End::Closed => {}
        End::Failed(error) => debug!(%peer, %error, "connection failed"),
        End::MadeRoom => debug!(%peer, "an idle connection made room for another"),
        End::Expired(waited_for) => debug!(%peer, ?waited_for, "connection timed out"),
    }
}

fn builder(limits: &ServerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        // Timing does this, and tells a slow head from an idle connection.
        .header_read_timeout(None)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(READ_BUFFER_BYTES.max(limits.max_header_bytes))
        .auto_date_header(limits.auto_date_header);
    if limits.max_headers != BUILT_IN_MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    builder
}

/// Ready when the connection has waited long enough for something.
///
/// Deadlines move with every request, mostly further away. The alarm is then left as it is: it goes
/// off early, once, and is set anew. Setting it each time would cost every request a visit to the
/// timer.
fn poll_expiry(mut alarm: Pin<&mut Sleep>, timing: &Timing, cx: &mut Context<'_>) -> Poll<Expiry> {
    loop {
        let Some((deadline, expiry)) = timing.deadline() else { return Poll::Pending };
        if deadline <= Instant::now() {
            return Poll::Ready(expiry);
        }
        if alarm.is_elapsed() || deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
    }
}

/// Tells the timing when the response is given away.
struct GivenOnDrop(Timing);

impl Drop for GivenOnDrop {
    fn drop(&mut self) {
        self.0.response_given();
    }
}

/// The protocol layer drops a body as soon as it has taken the last of it, or will take no more.
/// SUBTLE: `map_err` only serves to tie `given` to the body's life; it keeps the size known, which
/// wrapping in a stream would not.
fn observed<B>(
    response: Response<B>,
    given: GivenOnDrop,
) -> Response<impl Body<Data = B::Data, Error = B::Error>>
where
    B: Body,
{
    response.map(|body| {
        body.map_err(move |error| {
            let _kept = &given;
            error
        })
    })
}
