//! An answer whose body comes in drops.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::http::Reply;

/// How many drops an answer is made of, where it has as many bytes.
const DROPS: usize = 64;

/// The body. Dropped when the caller hangs up.
struct Drip {
    left: Bytes,
    drop_bytes: usize,
    every: Duration,
    pause: Pin<Box<Sleep>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    _waits: Arc<()>,
}

impl Body for Drip {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        ready!(self.pause.as_mut().poll(context));
        self.pause = Box::pin(sleep(self.every));
        let drop_bytes = self.drop_bytes.min(self.left.len());
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(drop_bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left.len()).unwrap_or(u64::MAX))
    }
}

/// `reply` with the same body in drops, one after each pause, until `shutdown`; `waits` lives for as
/// long as somebody waits for it.
pub(super) async fn drip(
    reply: Reply,
    every: Duration,
    shutdown: CancellationToken,
    waits: Arc<()>,
) -> Reply {
    let (parts, body) = reply.into_parts();
    // One of known bytes, which are there at once; one that fails has none to drip.
    let left = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let drip = Drip {
        drop_bytes: left.len().div_ceil(DROPS),
        left,
        every,
        pause: Box::pin(sleep(every)),
        end: Box::pin(shutdown.cancelled_owned()),
        _waits: waits,
    };
    Reply::from_parts(parts, drip.boxed())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::time::Instant;

    use super::*;
    use crate::http::raw_json;

    #[tokio::test(start_paused = true)]
    async fn all_of_it_comes_drop_by_drop() {
        for (length, drops) in [(0_usize, 0), (1, 1), (64, 64), (65, 33), (1_000, 63)] {
            let sent = Bytes::from(vec![b'x'; length]);
            let (every, began) = (Duration::from_secs(1), Instant::now());
            let waits = Arc::new(());
            let waiting = Arc::downgrade(&waits);
            let reply = raw_json(StatusCode::OK, sent.clone());
            let reply = drip(reply, every, CancellationToken::new(), waits).await;
            let received = reply.into_body().collect().await.expect("whole").to_bytes();
            assert_eq!((received, began.elapsed()), (sent, every * drops), "{length} bytes");
            assert!(waiting.upgrade().is_none(), "nobody waits any more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_engine_cuts_it_off() {
        let end = CancellationToken::new();
        let reply = raw_json(StatusCode::OK, Bytes::from_static(b"0123456789"));
        let reply = drip(reply, Duration::from_secs(1), end.clone(), Arc::new(())).await;
        let mut body = reply.into_body();
        let first = body.frame().await.expect("a drop").expect("no error").into_data();
        assert_eq!(first.expect("data"), "0");
        end.cancel();
        assert!(body.frame().await.expect("an error").is_err());
    }
}
