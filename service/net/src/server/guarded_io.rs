//! The stream under the protocol layer: reports progress to [`Timing`], looks for heads that
//! contradict themselves, and closes gently.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use super::timing::Timing;
use crate::seam::BoxedStream;

const DISCARD_BUFFER_BYTES: usize = 8 * 1024;

/// How many pieces of input are discarded before other tasks get their turn.
const DISCARDS_PER_POLL: usize = 32;

pub(super) struct GuardedIo {
    stream: BoxedStream,
    timing: Timing,
    framing: Framing,
    peer_closed: bool,
    closing: Closing,
}

enum Closing {
    NotYet,
    /// Our side is closed; input is discarded until the peer's is.
    Lingering,
}

impl GuardedIo {
    pub(super) fn new(stream: BoxedStream, timing: Timing, framing: Framing) -> Self {
        Self { stream, timing, framing, peer_closed: false, closing: Closing::NotYet }
    }

    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(_)) => self.timing.write_progressed(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.timing.write_stalled(),
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; DISCARD_BUFFER_BYTES];
        for _ in 0..DISCARDS_PER_POLL {
            let mut buf = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The end, or a reset: nobody is left to spare.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let had_space = buf.remaining() > 0;
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &outcome {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.timing.read();
                self.framing.take(&buf.filled()[before..]);
            }
            Poll::Ready(Ok(())) => self.peer_closed |= had_space,
            Poll::Ready(Err(_)) => self.peer_closed = true,
            Poll::Pending => {}
        }
        outcome
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, data);
        self.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        match &outcome {
            Poll::Ready(Ok(())) => self.timing.flushed(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.timing.write_stalled(),
        }
        outcome
    }

    /// SUBTLE: closing a socket while input is unread, or still coming, makes the system reset the
    /// connection, and the reset can overtake the response: a client that is still sending a body
    /// we have refused would see a broken connection instead of the refusal. So only our side is
    /// closed first, and input is read away until the client has closed its own, for as long as
    /// [`Timing`] permits. A client between requests has nothing to lose and is not waited for.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.closing {
            Closing::NotYet => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                if !self.timing.output_closed() || self.peer_closed {
                    return Poll::Ready(Ok(()));
                }
                self.closing = Closing::Lingering;
                self.poll_discard(cx)
            }
            Closing::Lingering => self.poll_discard(cx),
        }
    }
}
