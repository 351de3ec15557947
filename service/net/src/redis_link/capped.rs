//! A bound on what is kept of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::seam::BoxedStream;

/// A stream that fails where more is read than may follow one request. An answer is kept whole
/// before anybody sees it, and how long it is, others decide: those who write to the streams.
pub(super) struct Capped {
    stream: BoxedStream,
    max_bytes: usize,
    since_request: usize,
    exceeded: Arc<AtomicBool>,
}

impl Capped {
    pub(super) fn new(stream: BoxedStream, max_bytes: usize) -> Self {
        Self { stream, max_bytes, since_request: 0, exceeded: Arc::default() }
    }

    /// Set once the bound is exceeded.
    pub(super) fn exceeded(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.exceeded)
    }
}

impl AsyncRead for Capped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.since_request += buffer.filled().len().saturating_sub(before);
        if self.since_request > self.max_bytes {
            // By this kind the connection is known to be of no use any more.
            self.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl AsyncWrite for Capped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.since_request = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
