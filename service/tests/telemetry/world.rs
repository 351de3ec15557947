//! A whole Game Master in this process, and a client that keeps its connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::TokioNet;
use serde_json::json;
use service::app::{self, Seams};
use service::config::Settings;
use service::embedded::Embedded;
use service::ports::{Clock, SystemClock, SystemEntropy};
use service::telemetry::TelemetrySettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::stub::Stub;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) engine: Stub,
    pub(crate) lobby: Stub,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    pub(crate) async fn start(telemetry: TelemetrySettings) -> Self {
        let engine = Stub::start(|line| {
            let turn = u32::from(line.contains("/turn"));
            json!({
                "turn": turn,
                "finished": false,
                "player": [{
                    "id": "00000000-0000-0000-0000-000000000001",
                    "race_name": "Andorians",
                    "planets": 1,
                    "population": 1,
                }],
            })
            .to_string()
        })
        .await;
        let members = r#"{"members":[{"user_id":"alice","status":"active"}]}"#;
        let lobby = Stub::start(|_| members.into()).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let embedded = Arc::new(Embedded::in_memory(Arc::clone(&clock)));
        let seams = Seams {
            net: Arc::new(TokioNet),
            feed: Arc::new(embedded.feed()),
            store: embedded.clone(),
            streams: embedded,
            clock,
            entropy: Arc::new(SystemEntropy),
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let networks = vec!["127.0.0.0/8".parse().expect("a network")];
        let mut settings = Settings::development(listen, lobby.url(), lobby.url(), networks);
        settings.telemetry = telemetry;
        let stop = CancellationToken::new();
        let bound = app::bind(settings, seams, stop.clone()).await.expect("starts");
        let addr = bound.address().expect("bound");
        let task = tokio::spawn(async move { bound.run().await.expect("no panic") });
        Self { addr, engine, lobby, stop, task }
    }

    /// Registers the version and the game; `schedule` has seconds.
    pub(crate) async fn register(&self, game: &str, schedule: &str, headers: &str) -> Answer {
        let mut client = Client::connect(self.addr).await;
        let version = json!({
            "version": "1.0.0",
            "image_ref": "registry.example/galaxy/engine:1.0.0",
        });
        client.post("/api/v1/internal/engine-versions", "", &version.to_string()).await;
        let body = json!({
            "engine_endpoint": self.engine.url(),
            "members": [{ "user_id": "alice", "race_name": "Andorians" }],
            "target_engine_version": "1.0.0",
            "turn_schedule": schedule,
        });
        let path = format!("/api/v1/internal/games/{game}/register-runtime");
        client.post(&path, headers, &body.to_string()).await
    }

    pub(crate) async fn metrics(&self) -> String {
        let answer = Client::connect(self.addr).await.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{}",
            answer.head
        );
        answer.body
    }

    /// The metrics, once they say all of these lines.
    pub(crate) async fn metrics_with(&self, lines: &[&str]) -> String {
        let there = async {
            loop {
                let text = self.metrics().await;
                if lines.iter().all(|line| text.lines().any(|found| found == *line)) {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never all of {lines:?}"))
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("listening");
        Self { stream, unread: vec![] }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: gm\r\n\r\n")).await.expect("an answer")
    }

    /// `headers`: whole lines.
    pub(crate) async fn post(&mut self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gm\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.ask(&request).await.expect("an answer")
    }

    /// `None` where the other side closed the connection.
    pub(crate) async fn ask(&mut self, request: &str) -> Option<Answer> {
        let exchange = async {
            self.stream.write_all(request.as_bytes()).await.ok()?;
            self.read(request.starts_with("HEAD ")).await
        };
        timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    async fn read(&mut self, is_head: bool) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("ASCII");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.filter(|_| !is_head).map_or(0, |l| l.parse().expect("a length"));
        while self.unread.len() < length {
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Some(Answer { status, head, body: String::from_utf8(body).expect("UTF-8") })
    }
}
