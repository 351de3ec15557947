//! The streams that fail on demand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::StreamId;

use super::{Call, Decide, Fate, Lost, Post, carry};
use crate::ports::{
    AppendAt, Appended, AppendedAll, Entry, NewEntry, Stopped, StreamError, Streams,
};

/// [`Streams`] whose calls fail as a function decides.
pub struct UnreliableStreams {
    inner: Arc<dyn Streams>,
    decide: Arc<dyn Decide>,
    post: Post,
}

impl UnreliableStreams {
    /// Wraps streams.
    pub fn new(inner: Arc<dyn Streams>, decide: impl Decide) -> Self {
        Self { inner, decide: Arc::new(decide), post: Post::default() }
    }

    /// Lets all late requests arrive; returns how many there were.
    pub async fn deliver_late(&self) -> usize {
        self.post.deliver().await
    }

    /// What becomes of the next call, once those it does not overtake have arrived.
    async fn next(&self, call: Call<'_>) -> Fate {
        self.post.tick().await;
        self.decide.fate(call)
    }

    async fn look(&self, name: &'static str) -> Result<(), StreamError> {
        match self.next(Call::Read(name)).await {
            Fate::Pass => Ok(()),
            Fate::Refused => Err(lost(Lost::Refused)),
            Fate::RequestLost | Fate::ReplyLost | Fate::Late { .. } => Err(lost(Lost::Unknown)),
        }
    }
}

fn lost(lost: Lost) -> StreamError {
    StreamError(lost.message())
}

#[async_trait]
impl Streams for UnreliableStreams {
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError> {
        let fate = self.next(Call::Append(stream, at)).await;
        let inner = Arc::clone(&self.inner);
        let (stream, payload) = (stream.to_owned(), payload.to_vec());
        let request = async move { inner.append(&stream, at, &payload).await };
        carry(&self.post, fate, request).await.map_err(lost)?
    }

    /// One call, told by its first entry.
    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll {
        let fate = match entries.first() {
            Some(first) => self.next(Call::Append(stream, first.at)).await,
            None => Fate::Pass,
        };
        let (inner, stream) = (Arc::clone(&self.inner), stream.to_owned());
        let owned: Vec<_> = entries.iter().map(|e| (e.at, e.payload.to_vec())).collect();
        let request = async move {
            let entries: Vec<NewEntry<'_>> =
                owned.iter().map(|(at, payload)| NewEntry { at: *at, payload }).collect();
            inner.append_all(&stream, onto, &entries).await
        };
        carry(&self.post, fate, request).await.unwrap_or_else(|how| AppendedAll {
            added: vec![],
            stopped: Some(Stopped::Failed(lost(how))),
        })
    }

    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        self.look("read").await?;
        self.inner.read(stream, after, max, wait).await
    }

    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError> {
        self.look("entry").await?;
        self.inner.entry(stream, id).await
    }

    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError> {
        self.look("newest").await?;
        self.inner.newest(stream).await
    }

    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError> {
        let fate = self.next(Call::Write("trim")).await;
        let (inner, stream) = (Arc::clone(&self.inner), stream.to_owned());
        let request = async move { inner.trim(&stream, below).await };
        carry(&self.post, fate, request).await.map_err(lost)?
    }

    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError> {
        self.look("offset").await?;
        self.inner.offset(consumer).await
    }

    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError> {
        let fate = self.next(Call::Write("save_offset")).await;
        let (inner, consumer) = (Arc::clone(&self.inner), consumer.to_owned());
        let request = async move { inner.save_offset(&consumer, offset).await };
        carry(&self.post, fate, request).await.map_err(lost)?
    }
}
