//! The streams on a real Redis, well and unwell: the adapter of Game Master, its workers, and the
//! bus of the neighbours.
#![expect(clippy::expect_used, clippy::panic, reason = "failed expectations of tests")]

mod bus;
mod conformance;
mod game_master;
mod health;
mod pace;
mod relay;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use integration::proxy::FaultProxy;
use machine::StreamId;
use net::{RedisLimits, TokioNet};
use service::ports::{AppendAt, Appended, Entry, Streams};
use service::redis_streams::{RedisSettings, RedisStreams};

/// Short, so that what must end ends soon; long enough for a busy machine.
const LIMITS: RedisLimits = RedisLimits {
    connect_timeout: Duration::from_secs(1),
    response_timeout: Duration::from_secs(1),
    max_answer_bytes: 64 << 20,
};
/// What no call may take: each of the two waits of a new connection, and the answer, with room for
/// a busy machine.
const BOUND: Duration = Duration::from_secs(8);
/// For a condition that must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(url: &str, key_prefix: &str) -> RedisSettings {
    let url = url.parse().expect("a URL");
    RedisSettings { url, limits: LIMITS, key_prefix: key_prefix.to_owned() }
}

fn streams(url: &str) -> Arc<RedisStreams> {
    Arc::new(RedisStreams::new(Arc::new(TokioNet), settings(url, "")))
}

/// The Redis behind a proxy.
fn url(proxy: &FaultProxy) -> String {
    format!("redis://{}", proxy.address())
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

async fn add(streams: &dyn Streams, stream: &str, at: StreamId, payload: &str) {
    let added = streams.append(stream, AppendAt::Exactly(at), payload.as_bytes()).await;
    assert_eq!(added.expect("an append"), Appended::Added(at));
}

async fn all(streams: &dyn Streams, stream: &str) -> Vec<Entry> {
    let read = streams.read(stream, StreamId::ZERO, 100_000, Duration::ZERO).await;
    read.expect("a read")
}

async fn texts(streams: &dyn Streams, stream: &str) -> Vec<String> {
    let entries = all(streams, stream).await.into_iter();
    entries.map(|entry| String::from_utf8(entry.payload).expect("text")).collect()
}

/// Lets a call end, and says how it ended; it must within its bound.
async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(BOUND, call).await;
    ended.unwrap_or_else(|_| panic!("{what} took longer than {BOUND:?}"))
}

/// Repeats a call until it succeeds.
async fn eventually<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    mut call: impl FnMut() -> F,
) -> T {
    integration::harness::until("a call to succeed", || {
        let call = call();
        async { bounded("a call", call).await.ok() }
    })
    .await
}
