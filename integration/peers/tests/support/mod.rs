//! What the tests of the stream-driven peers share. Each test file uses its own part of it.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

pub(crate) mod fake_gm;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use net::{ClientLimits, HttpClient, TokioNet};
use peers::{
    backoff::Backoff,
    bus::{Bus, EntryId, FollowLimits, MemoryBus},
    env::{Env, Observer},
};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Every wait of a test ends by then.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits that keep a test fast.
pub(crate) const FAST: Backoff =
    Backoff { first: Duration::from_millis(5), cap: Duration::from_millis(50) };

pub(crate) fn follow_fast() -> FollowLimits {
    FollowLimits { backoff: FAST, ..FollowLimits::default() }
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A clock that moves with every look, and identifiers that count.
pub(crate) fn env() -> Env {
    let (clock, ids) = (AtomicU64::new(1_000_000), AtomicU64::new(1));
    Env::new(
        move || clock.fetch_add(1, Ordering::Relaxed),
        move || format!("id{}", ids.fetch_add(1, Ordering::Relaxed)),
    )
}

/// A directory that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peers-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program under test, until it is stopped.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        Self { stop, task }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.task).await.expect("ends in time").expect("no panic");
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// What an observer saw.
pub(crate) struct Seen<E>(Arc<Mutex<Vec<E>>>);

impl<E: Clone + Send + 'static> Seen<E> {
    pub(crate) fn new() -> (Self, Observer<E>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&seen);
        (Self(seen), Arc::new(move |event: &E| writer.lock().unwrap().push(event.clone())))
    }

    pub(crate) fn all(&self) -> Vec<E> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    http: HttpClient,
    base: String,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let http = HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None);
        Self { http, base: format!("http://{addr}") }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Bytes::from(body.unwrap_or_default())).unwrap();
        let response = self.http.send(request).await.unwrap();
        let status = response.status();
        let body = response.into_body();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }
}

/// Reads a stream entry by entry.
pub(crate) struct Tail {
    bus: Arc<MemoryBus>,
    stream: &'static str,
    at: String,
}

impl Tail {
    pub(crate) fn new(bus: &Arc<MemoryBus>, stream: &'static str) -> Self {
        Self { bus: Arc::clone(bus), stream, at: EntryId::default().to_string() }
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Value {
        let entries = self.bus.read(self.stream, &self.at, 1, LIMIT).await.unwrap();
        let entry = entries.first().unwrap_or_else(|| panic!("nothing on {}", self.stream));
        self.at.clone_from(&entry.id);
        serde_json::from_slice(&entry.payload).unwrap()
    }

    /// The next entry that is as `wanted`.
    pub(crate) async fn next_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let entry = self.next().await;
                if wanted(&entry) {
                    return entry;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.expect("it comes in time")
    }
}

pub(crate) async fn append(bus: &MemoryBus, stream: &str, message: &Value) {
    bus.append(stream, message.to_string().into()).await.unwrap();
}
