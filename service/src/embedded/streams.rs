//! [`Streams`] over the tables.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::StreamId;

use super::{Embedded, Planned, queues};
use crate::ports::{
    AppendAt, Appended, AppendedAll, Entry, NewEntry, Stopped, StreamError, Streams,
};

#[async_trait]
impl Streams for Embedded {
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError> {
        let entry = NewEntry { at, payload };
        let AppendedAll { added, stopped } =
            self.append_all(stream, StreamId::ZERO, &[entry]).await;
        match (added.first(), stopped) {
            (Some(id), _) => Ok(Appended::Added(*id)),
            (None, Some(Stopped::Failed(error))) => Err(error),
            (None, Some(Stopped::NotAbove | Stopped::Short(_)) | None) => Ok(Appended::NotAbove),
        }
    }

    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll {
        let name: Arc<str> = stream.into();
        let entries: Vec<_> =
            entries.iter().map(|entry| (entry.at, Arc::<[u8]>::from(entry.payload))).collect();
        let clock = Arc::clone(&self.inner.clock);
        let plan =
            move |tables: &_| Ok(queues::append_all(tables, &name, onto, &entries, clock.now()));
        self.change(plan).await.unwrap_or_else(|error| AppendedAll {
            added: vec![],
            stopped: Some(Stopped::Failed(error.into())),
        })
    }

    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        // SUBTLE: subscribed before the first look, so that an entry that comes between a look and
        // the wait ends the wait.
        let mut appended = self.inner.appended.subscribe();
        let found = self.look(|tables| queues::read(tables, stream, after, max))?;
        if !found.is_empty() || wait.is_zero() || max == 0 {
            return Ok(found);
        }
        let entries = async {
            while appended.changed().await.is_ok() {
                let found = self.look(|tables| queues::read(tables, stream, after, max))?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            Ok(vec![])
        };
        tokio::time::timeout(wait, entries).await.unwrap_or_else(|_| Ok(vec![]))
    }

    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError> {
        let found = self.look(|tables| {
            let payload = tables.streams.get(stream)?.entries.get(&id)?;
            Some(Entry { id, payload: payload.to_vec() })
        });
        Ok(found?)
    }

    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError> {
        let newest = self.look(|tables| tables.streams.get(stream).map(|s| s.newest))?;
        Ok(newest.unwrap_or(StreamId::ZERO))
    }

    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError> {
        let name: Arc<str> = stream.into();
        let plan = move |tables: &_, limit| Planned::all(queues::trim(tables, &name, below, limit));
        self.sweep(plan).await?;
        Ok(())
    }

    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError> {
        Ok(self.look(|tables| tables.offsets.get(consumer).cloned())?)
    }

    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError> {
        self.save_offset_text(consumer, &offset.to_string()).await
    }
}
