//! Streams and consumer offsets, as Redis has them.

use std::time::Duration;

use async_trait::async_trait;
use machine::StreamId;

/// Under which id an entry is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAt {
    /// Exactly this one; refused where the stream's newest is not below it.
    Exactly(StreamId),
    /// Whatever comes next.
    Next,
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry is there, under this id.
    Added(StreamId),
    /// The id is not above the stream's newest; nothing was added.
    NotAbove,
}

/// An entry that is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEntry<'a> {
    /// Under which id.
    pub at: AppendAt,
    /// The message.
    pub payload: &'a [u8],
}

/// How several appends ended.
#[derive(Debug)]
pub struct AppendedAll {
    /// The ids of the first so many entries: of those that are there.
    pub added: Vec<StreamId>,
    /// Why it went no further; nothing where all are there.
    pub stopped: Option<Stopped>,
}

/// Why several appends ended before the last.
#[derive(Debug)]
pub enum Stopped {
    /// The id of the next entry is not above the stream's newest. Neither it nor one behind it was
    /// added.
    NotAbove,
    /// The stream's newest, which is below what it was said to hold. Nothing was added.
    Short(StreamId),
    /// The next entry was refused, or there was no answer: it and those behind it may be there, but
    /// none without those before it.
    Failed(StreamError),
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// The message: the content of the field `payload`, or nothing where that field is missing.
    pub payload: Vec<u8>,
}

/// The streams did not answer; an append may have happened.
#[derive(Debug, thiserror::Error)]
#[error("the streams did not answer: {0}")]
pub struct StreamError(pub String);

/// The streams. Every method is bounded in time by its adapter.
#[async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Appends one entry.
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError>;

    /// Appends entries in their order, to a stream whose newest id is `onto` or above, and stops
    /// before the first that cannot be added. Nobody sees the stream change between the look at its
    /// newest and the last of them.
    ///
    /// INVARIANT: none is ever there without those before it, whatever else fails.
    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll;

    /// Up to `max` entries above `after`, in order; waits up to `wait` for the first.
    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError>;

    /// One entry.
    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError>;

    /// The id of the newest entry there ever was; `ZERO` for a stream that is not there.
    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError>;

    /// Drops entries below an id, approximately; never one at or above it.
    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError>;

    /// The saved offset of a consumer, as saved: not necessarily well-formed.
    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError>;

    /// Saves the offset of a consumer.
    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError>;
}
