//! What both sides' tests need: bounded waits, raw sockets and small fakes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{BoxedStream, Listener, Net, TokioNet};

/// A limit meant to strike in a test.
pub(super) const SHORT: Duration = Duration::from_millis(100);

/// A limit not meant to strike in a test.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Fails the test if `future` takes longer than anything here should.
pub(super) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("a bounded wait")
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An HTTP client that does exactly what it is told.
pub(super) struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A response as it was on the wire.
#[derive(Debug)]
pub(super) struct RawResponse {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Raw {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.expect("connect"), received: Vec::new() }
    }

    pub(super) fn over(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.try_send(text).await.expect("write");
    }

    pub(super) async fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Reads up to and including the blank line; `None` if the stream ends or breaks before.
    pub(super) async fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                let rest = self.received.split_off(at + 4);
                let head = std::mem::replace(&mut self.received, rest);
                return Some(String::from_utf8(head).expect("UTF-8").to_ascii_lowercase());
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    pub(super) async fn read_response(&mut self) -> RawResponse {
        bounded(async {
            let head = self.read_head().await.expect("a response");
            let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            while self.received.len() < length {
                assert!(self.read_more().await, "the body broke off");
            }
            let rest = self.received.split_off(length);
            let body = std::mem::replace(&mut self.received, rest);
            RawResponse { status, head, body: String::from_utf8(body).expect("UTF-8") }
        })
        .await
    }

    pub(super) async fn get(&mut self, path: &str) -> RawResponse {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.read_response().await
    }

    /// Waits until the other side has closed, and says whether anything came before.
    pub(super) async fn closed_without_a_word(&mut self) -> bool {
        bounded(async { while self.read_more().await {} }).await;
        self.received.is_empty()
    }

    async fn read_more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.received).await, Ok(read) if read > 0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A server that treats every connection as `script` says, and counts them.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Peer {
    pub(super) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Raw) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(any_port()).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Raw::over(stream)));
            }
        });
        Self { addr, accepted }
    }

    /// A peer that answers every request of a connection with `response`.
    pub(super) async fn answering(response: &'static str) -> Self {
        Self::start(move |mut raw| async move {
            while raw.read_head().await.is_some() {
                raw.send(response).await;
            }
        })
        .await
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

/// A network with a resolver of its own; addresses in `dead` never answer.
#[derive(Default)]
pub(super) struct FakeNet {
    pub(super) resolved: Vec<SocketAddr>,
    pub(super) dead: Vec<SocketAddr>,
    pub(super) dialled: AtomicUsize,
}

#[async_trait]
impl Net for FakeNet {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        TokioNet.bind(addr).await
    }

    async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.resolved.clone())
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream> {
        self.dialled.fetch_add(1, Ordering::SeqCst);
        if self.dead.contains(&addr) {
            std::future::pending::<()>().await;
        }
        TokioNet.connect(addr).await
    }
}
