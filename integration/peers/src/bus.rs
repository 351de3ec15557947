//! The neighbours' view of the streams, whatever carries them.
//!
//! A stream is an append-only list of entries with growing ids. Appending can fail without saying
//! whether the entry is there, so a producer repeats itself, and every reader here is idempotent.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{backoff::Backoff, env::Env};

/// Names of the streams that the neighbours use.
pub mod streams {
    /// Lobby asks Runtime Manager (RTM) to start an engine.
    pub const START_JOBS: &str = "runtime:start_jobs";
    /// RTM tells Lobby what became of it.
    pub const JOB_RESULTS: &str = "runtime:job_results";
    /// RTM tells how the engines fare.
    pub const HEALTH_EVENTS: &str = "runtime:health_events";
    /// Game Master tells Lobby how the games go.
    pub const LOBBY_EVENTS: &str = "gm:lobby_events";
    /// Everybody asks the notification service to tell somebody.
    pub const NOTIFICATION_INTENTS: &str = "notification:intents";
}

/// The id of the entry before the first one.
pub const FROM_THE_START: &str = "0-0";

/// How many entries a [`MemoryBus`] keeps of each stream.
pub const MEMORY_BUS_MAX_ENTRIES: usize = 100_000;

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusEntry {
    /// Its id, `ms-seq`.
    pub id: String,
    /// The message, as JSON text.
    pub payload: Bytes,
}

/// Why a stream could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The carrier did not do it, or did not say so. An append may have happened all the same.
    #[error("streams unavailable: {0}")]
    Unavailable(String),
    /// Not an entry id.
    #[error("{0:?} is not an entry id")]
    InvalidId(String),
}

/// Streams, as a neighbour uses them.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Appends a message and returns the id of its entry.
    async fn append(&self, stream: &str, payload: Bytes) -> Result<String, BusError>;

    /// Up to `max` entries with ids greater than `after`, oldest first. Where there is none, waits
    /// up to `wait` for one and may then return an empty list.
    async fn read(
        &self,
        stream: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<BusEntry>, BusError>;
}

/// The id of an entry, in an order that can be compared (as text, `9-0` comes after `10-0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Unix time in milliseconds, never lower than that of the entry before.
    pub ms: u64,
    /// Position among the entries of the same millisecond.
    pub seq: u64,
}

impl FromStr for EntryId {
    type Err = BusError;

    fn from_str(text: &str) -> Result<Self, BusError> {
        let parts = text.split_once('-');
        let id = parts.and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }));
        id.ok_or_else(|| BusError::InvalidId(text.chars().take(64).collect()))
    }
}

/// Digits only: `u64::from_str` would also take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Appends a message as JSON.
pub async fn append_json<M: Serialize + Sync>(
    bus: &dyn Bus,
    stream: &str,
    message: &M,
) -> Result<String, BusError> {
    let payload = serde_json::to_vec(message)
        .map_err(|error| BusError::Unavailable(format!("message cannot be encoded: {error}")))?;
    bus.append(stream, payload.into()).await
}

/// How a reader follows a stream.
#[derive(Clone, Copy, Debug)]
pub struct FollowLimits {
    /// Entries taken at once.
    pub batch: usize,
    /// How long one read waits for an entry.
    pub wait: Duration,
    /// Between tries while the streams, or the reader's own state, are out of reach.
    pub backoff: Backoff,
}

impl Default for FollowLimits {
    fn default() -> Self {
        Self { batch: 100, wait: Duration::from_secs(5), backoff: Backoff::default() }
    }
}

/// A reader of one stream that keeps its own place in it.
#[async_trait]
pub trait Follower: Send + Sync {
    /// Why a batch could not be applied.
    type Error: fmt::Display + Send;

    /// The last entry applied.
    async fn position(&self) -> EntryId;

    /// Applies the entries and saves the new position, in one change: after an error neither
    /// happened, and the same entries come again. An entry that makes no sense is passed over.
    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), Self::Error>;
}

/// Follows a stream until `stop`.
pub async fn follow<F: Follower>(
    bus: &dyn Bus,
    stream: &str,
    follower: &F,
    limits: FollowLimits,
    stop: CancellationToken,
) {
    let mut failures = 0_u32;
    loop {
        let attempt = stop.run_until_cancelled(follow_once(bus, stream, follower, limits));
        match attempt.await {
            None => return,
            Some(Ok(())) => failures = 0,
            Some(Err(error)) => {
                failures = failures.saturating_add(1);
                // Once per outage: the same line every second helps nobody.
                if failures == 1 {
                    tracing::warn!(stream, error, "stream reader waits");
                }
                let pause = tokio::time::sleep(limits.backoff.delay(failures));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
            }
        }
    }
}

async fn follow_once<F: Follower>(
    bus: &dyn Bus,
    stream: &str,
    follower: &F,
    limits: FollowLimits,
) -> Result<(), String> {
    let position = follower.position().await;
    let read = bus.read(stream, &position.to_string(), limits.batch, limits.wait).await;
    let entries = read.map_err(|error| error.to_string())?;
    let mut fresh = Vec::with_capacity(entries.len());
    for entry in entries {
        let id: EntryId = entry.id.parse().map_err(|error: BusError| error.to_string())?;
        // What is not after our place was applied before: a carrier may deliver it again.
        if id > position {
            fresh.push((id, entry.payload));
        }
    }
    if fresh.is_empty() {
        return Ok(());
    }
    follower.apply(&fresh).await.map_err(|error| error.to_string())
}

/// Streams in memory: for tests, and for everything in one process.
#[derive(Debug)]
pub struct MemoryBus {
    env: Env,
    inner: Mutex<Inner>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    streams: BTreeMap<String, Stream>,
    unavailable: bool,
}

#[derive(Debug, Default)]
struct Stream {
    last: EntryId,
    entries: VecDeque<(EntryId, Bytes)>,
}

impl MemoryBus {
    /// An empty set of streams.
    pub fn new(env: Env) -> Arc<Self> {
        Arc::new(Self { env, inner: Mutex::default(), appended: Notify::new() })
    }

    /// Makes every call fail, or work again.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
        self.appended.notify_waiters();
    }

    /// All entries kept of a stream.
    pub fn entries(&self, stream: &str) -> Vec<BusEntry> {
        let inner = self.lock();
        let entries = inner.streams.get(stream).map(|stream| stream.entries.iter());
        entries.into_iter().flatten().map(to_entry).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it, and half a change cannot be seen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, stream: &str, after: EntryId, max: usize) -> Result<Vec<BusEntry>, BusError> {
        let inner = self.lock();
        if inner.unavailable {
            return Err(BusError::Unavailable("told to be".to_owned()));
        }
        let Some(stream) = inner.streams.get(stream) else { return Ok(Vec::new()) };
        let first = stream.entries.partition_point(|(id, _)| *id <= after);
        Ok(stream.entries.iter().skip(first).take(max).map(to_entry).collect())
    }
}

fn to_entry((id, payload): &(EntryId, Bytes)) -> BusEntry {
    BusEntry { id: id.to_string(), payload: payload.clone() }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn append(&self, stream: &str, payload: Bytes) -> Result<String, BusError> {
        let now_ms = self.env.now_ms();
        let id = {
            let mut inner = self.lock();
            if inner.unavailable {
                return Err(BusError::Unavailable("told to be".to_owned()));
            }
            let stream = inner.streams.entry(stream.to_owned()).or_default();
            // A clock that steps back must not make ids shrink; and 0-0 is no entry.
            let id = if now_ms > stream.last.ms {
                EntryId { ms: now_ms, seq: 0 }
            } else {
                EntryId { ms: stream.last.ms, seq: stream.last.seq.saturating_add(1) }
            };
            stream.last = id;
            stream.entries.push_back((id, payload));
            if stream.entries.len() > MEMORY_BUS_MAX_ENTRIES {
                stream.entries.pop_front();
            }
            id
        };
        self.appended.notify_waiters();
        Ok(id.to_string())
    }

    async fn read(
        &self,
        stream: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<BusEntry>, BusError> {
        let after: EntryId = after.parse()?;
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            // Registered before looking, so that an append in between is not missed.
            let appended = self.appended.notified();
            tokio::pin!(appended);
            appended.as_mut().enable();
            let entries = self.take(stream, after, max)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            tokio::select! {
                () = &mut appended => {}
                () = &mut deadline => return Ok(entries),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const STREAM: &str = "s";

    fn bus_at(clock: Arc<AtomicU64>) -> Arc<MemoryBus> {
        MemoryBus::new(Env::new(move || clock.load(Ordering::Relaxed), String::new))
    }

    #[tokio::test]
    async fn ids_grow_even_when_the_clock_steps_back() {
        let clock = Arc::new(AtomicU64::new(10));
        let bus = bus_at(Arc::clone(&clock));
        let mut ids = Vec::new();
        for now in [10, 10, 4, 11, 0] {
            clock.store(now, Ordering::Relaxed);
            ids.push(bus.append(STREAM, Bytes::new()).await.unwrap());
        }
        assert_eq!(ids, ["10-0", "10-1", "10-2", "11-0", "11-1"]);
        let rest = bus.read(STREAM, "10-1", 2, Duration::ZERO).await.unwrap();
        assert_eq!(
            rest.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
            ["10-2", "11-0"]
        );
    }

    #[tokio::test]
    async fn a_clock_at_zero_still_starts_after_the_start() {
        let bus = bus_at(Arc::default());
        bus.append(STREAM, Bytes::new()).await.unwrap();
        let all = bus.read(STREAM, FROM_THE_START, 9, Duration::ZERO).await.unwrap();
        assert_eq!(all.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_waits_for_an_entry_but_not_for_ever() {
        let bus = bus_at(Arc::default());
        let none = bus.read(STREAM, FROM_THE_START, 9, Duration::from_secs(60)).await.unwrap();
        assert!(none.is_empty());
        let reader = Arc::clone(&bus);
        let waiting = tokio::spawn(async move {
            reader.read(STREAM, FROM_THE_START, 9, Duration::from_secs(60)).await
        });
        tokio::task::yield_now().await;
        bus.append(STREAM, Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn refuses_what_is_no_id() {
        for id in ["", "1", "1-", "-1", "+1-0", "1-0-0", "a-b", "99999999999999999999-0"] {
            assert_eq!(id.parse::<EntryId>(), Err(BusError::InvalidId(id.to_owned())));
        }
        assert_eq!("12-3".parse(), Ok(EntryId { ms: 12, seq: 3 }));
        assert!("9-0".parse::<EntryId>().unwrap() < "10-0".parse().unwrap());
    }

    #[tokio::test]
    async fn says_when_it_is_unavailable() {
        let bus = bus_at(Arc::default());
        bus.set_unavailable(true);
        assert!(bus.append(STREAM, Bytes::new()).await.is_err());
        assert!(bus.read(STREAM, FROM_THE_START, 1, Duration::ZERO).await.is_err());
        bus.set_unavailable(false);
        assert!(bus.append(STREAM, Bytes::new()).await.is_ok());
    }
}
