//! A server on loopback, and a client that sends exactly the bytes it is given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::{Net as _, TokioNet};
use serde_json::Value;
use service::http::{HttpSettings, serve};
use service::ports::Claim;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) fake: Arc<Fake>,
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Fake::new(), HttpSettings::default()).await
    }

    pub(crate) async fn with(fake: Fake, settings: HttpSettings) -> Self {
        let fake = Arc::new(fake);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TokioNet.bind(loopback).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let api: Arc<Fake> = Arc::clone(&fake);
        let task = tokio::spawn(serve(listener, api, settings, shutdown.clone()));
        Self { fake, addr, shutdown, task }
    }

    /// Sends one request over a connection of its own.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        exchange(self.addr, request.as_ref()).await
    }

    /// A request without a body.
    pub(crate) async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: gm\r\n\r\n")).await
    }

    /// A request with a JSON body.
    pub(crate) async fn call_with(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(json_request(method, path, body)).await
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.addr).await
    }

    /// What the application was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *crate::fake::lock(&self.fake.asked))
    }

    /// Which names the changes had since the last time.
    pub(crate) fn claims(&self) -> Vec<Option<Claim>> {
        std::mem::take(&mut *crate::fake::lock(&self.fake.claims))
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
    }
}

pub(crate) fn json_request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Sends one request over a connection of its own.
pub(crate) async fn exchange(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::to(addr).await;
    connection.write(request).await;
    connection.read().await
}

impl Connection {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("listening");
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The server may have answered and closed before it took everything.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("in time");
    }

    /// Writes, as long as the other side has not closed the connection.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("in time").is_ok()
    }

    /// Reads one answer to a request other than HEAD.
    pub(crate) async fn read(&mut self) -> Answer {
        self.read_or_end().await.expect("an answer before the end")
    }

    /// Reads one answer; `None` where the connection ends before one begins.
    pub(crate) async fn read_or_end(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer()).await.expect("an answer in time")
    }

    /// Reads the head of an answer.
    pub(crate) async fn read_head(&mut self) -> Answer {
        self.head_or_end().await.expect("an answer before the end")
    }

    /// Reads the head of an answer; `None` where the connection ends before one begins.
    pub(crate) async fn head_or_end(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer_head()).await.expect("an answer in time")
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut answer = self.read_answer_head().await?;
        let length = answer.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        while self.unread.len() < length {
            assert!(self.fill().await, "closed within a body");
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        answer.body = String::from_utf8(body).expect("UTF-8");
        Some(answer)
    }

    async fn read_answer_head(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                assert!(self.unread.is_empty(), "closed within a head: {:?}", self.unread);
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Answer { status, headers, body: String::new() })
    }

    /// Whether the server closed the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !timeout(PATIENCE, self.fill()).await.expect("in time")
    }

    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.unread).await.is_ok_and(|n| n > 0)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Checks that this is the error envelope, with what must go with the status, and gives its
    /// code and message.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String) {
        let json = self.json();
        let object = json.as_object().expect("an object");
        assert_eq!(object.len(), 1, "{self:?}");
        let detail = object.get("error").and_then(Value::as_object).expect("the envelope");
        assert_eq!(detail.len(), 2, "{self:?}");
        assert_eq!(self.header("retry-after").is_some(), self.status == 503, "{self:?}");
        assert_eq!(self.header("www-authenticate").is_some(), self.status == 401, "{self:?}");
        assert_eq!(self.header("allow").is_some(), self.status == 405, "{self:?}");
        let text = |key| detail.get(key).and_then(Value::as_str).expect("a text").to_owned();
        let (code, message) = (text("code"), text("message"));
        assert!(!message.is_empty());
        (code, message)
    }

    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.error().0.as_str()), (status, code), "{self:?}");
    }
}
