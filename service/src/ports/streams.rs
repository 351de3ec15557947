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
