//! Connections that are kept between calls.
//!
//! ```text
//!   call ──▶ one that waits, and lives ──────┐
//!        └─▶ none: a new one ────────────────┴─▶ exchange ──▶ kept, if it may serve again
//! ```
//!
//! A connection belongs to one call at a time, and whoever calls drives it: there is no task beside
//! the caller's, and a call that is dropped takes its connection with it. While it waits for the
//! next call nobody looks at it; what has happened to it meanwhile is found when it is taken.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::READ_BUFFER_BYTES;
use crate::body::{BodyError, collect};
use crate::seam::BoxedStream;

/// Why a connection gave no answer.
pub(super) enum Failure {
    /// Before the head of the response was read.
    NoResponse(hyper::Error),
    /// After it.
    Body(BodyError),
}

/// A connection, and the way to give it a request.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// None once it has ended, so that nothing can wait for it any more.
    connection: Option<Connection<TokioIo<BoxedStream>, Full<Bytes>>>,
}

impl Link {
    /// Nothing is sent by that.
    pub(super) async fn over(stream: BoxedStream) -> Result<Box<Self>, hyper::Error> {
        let mut builder = Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { sender, connection: Some(connection) }))
    }

    /// Sends a request and reads the answer whole.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let Self { sender, connection } = self;
        let response = sender.send_request(request);
        let answered = unconstrained(async {
            let (head, body) = response.await.map_err(Failure::NoResponse)?.into_parts();
            let body = collect(body, max_bytes).await.map_err(Failure::Body)?;
            Ok(Response::from_parts(head, body))
        });
        let mut answered = pin!(answered);
        // SUBTLE: what is answered is asked after each look at the connection, which alone brings
        // it forward, and so need not be woken: that would only have the caller's task run once
        // more. Unconstrained, since being woken is how a task goes on that used up its share.
        poll_fn(|cx| {
            drive(connection, cx);
            answered.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Whether it can be given a request: it lives, and has nothing under way.
    async fn may_serve(&mut self) -> bool {
        poll_fn(|cx| {
            drive(&mut self.connection, cx);
            Poll::Ready(self.connection.is_some() && self.sender.is_ready())
        })
        .await
    }
}

/// Why a connection ended is told to the request that it has.
fn drive<C: Future + Unpin>(connection: &mut Option<C>, cx: &mut Context<'_>) {
    let ended = connection.as_mut().is_some_and(|c| Pin::new(c).poll(cx).is_ready());
    if ended {
        *connection = None;
    }
}

struct Waiting {
    link: Box<Link>,
    since: Instant,
}

/// The connections that wait for a call, by authority.
pub(super) struct Pool {
    max_per_authority: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// INVARIANT: each list is in the order in which its connections came.
    waiting: BTreeMap<Box<str>, Vec<Waiting>>,
    /// Whether there is a task that closes what has waited for too long. INVARIANT: there is, where
    /// there is a list.
    is_swept: bool,
}

impl Pool {
    pub(super) fn new(max_per_authority: usize, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { max_per_authority, idle_timeout, state: Mutex::default() })
    }

    /// The connection that was used last, of those that may serve: the others can age.
    pub(super) async fn take(&self, authority: &str) -> Option<Box<Link>> {
        loop {
            let Waiting { mut link, since } = self.lock().waiting.get_mut(authority)?.pop()?;
            if since.elapsed() < self.idle_timeout && link.may_serve().await {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next call, where it may serve and there is room.
    pub(super) async fn keep(self: &Arc<Self>, authority: &str, mut link: Box<Link>) {
        if !link.may_serve().await {
            return;
        }
        let mut state = self.lock();
        let waiting = Waiting { link, since: Instant::now() };
        match state.waiting.get_mut(authority) {
            Some(list) if list.len() < self.max_per_authority => list.push(waiting),
            Some(_) => return,
            None if self.max_per_authority == 0 => return,
            None => {
                state.waiting.insert(authority.into(), vec![waiting]);
            }
        }
        if !std::mem::replace(&mut state.is_swept, true) {
            drop(state);
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited for too long; answers when to look again, where anything is left.
    fn close_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        state.waiting.retain(|_, list| {
            list.retain(|waiting| now.duration_since(waiting.since) < self.idle_timeout);
            !list.is_empty()
        });
        let oldest = state.waiting.values().filter_map(|list| list.first()).map(|w| w.since).min();
        state.is_swept = oldest.is_some();
        // A sum that overflows is a time-out that never comes.
        oldest.map(|since| since.checked_add(self.idle_timeout).unwrap_or(now + FAR))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the lists whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to look again where nothing expires.
const FAR: Duration = Duration::from_secs(3600);

/// Closes what has waited for too long, until nothing waits or the pool is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let Some(next) = pool.upgrade().and_then(|pool| pool.close_expired()) else { return };
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn get() -> Request<Full<Bytes>> {
        let request = Request::get("/").header(http::header::HOST, "engine.test");
        request.body(Full::default()).expect("a request")
    }

    async fn link() -> (Box<Link>, tokio::io::DuplexStream) {
        let (near, far) = duplex(1024);
        (Link::over(Box::new(near)).await.expect("a connection"), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_a_connection_that_has_just_ended_is_told_so() {
        let (mut link, far) = link().await;
        assert!(link.may_serve().await);
        drop(far);
        let answered = timeout(LONG, link.exchange(get(), 64)).await.expect("at once");
        assert!(matches!(answered, Err(Failure::NoResponse(_))));
        assert!(!link.may_serve().await);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_kept_up_to_a_number_and_closed_when_they_wait_for_too_long() {
        let pool = Pool::new(2, LONG);
        let mut peers = vec![];
        for _ in 0..3 {
            let (link, far) = link().await;
            pool.keep("engine.test", link).await;
            peers.push(far);
        }
        let waiting = || pool.lock().waiting.values().map(Vec::len).sum::<usize>();
        assert_eq!(waiting(), 2);
        tokio::time::sleep(LONG / 2).await;
        let used = pool.take("engine.test").await.expect("one that lives");
        assert!(pool.take("other.test").await.is_none());
        pool.keep("engine.test", used).await;
        // Nobody asks for the one that was not used: it is closed all the same.
        tokio::time::sleep(LONG * 3 / 4).await;
        assert_eq!(waiting(), 1);
        tokio::time::sleep(LONG).await;
        assert_eq!(pool.lock().waiting.len(), 0);
        assert!(!pool.lock().is_swept);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_peer_closed_meanwhile_is_not_used_again() {
        let pool = Pool::new(4, LONG);
        let (closed, far) = link().await;
        pool.keep("engine.test", closed).await;
        drop(far);
        assert!(pool.take("engine.test").await.is_none());
    }
}
