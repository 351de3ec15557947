//! Streams that can lose their tail, as a server does that restarts from an old file.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use machine::StreamId;
use service::ports::{
    AppendAt, Appended, AppendedAll, Entry, NewEntry, Stopped, StreamError, Streams,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Tape {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<String, BTreeMap<StreamId, Vec<u8>>>,
    offsets: BTreeMap<String, String>,
}

impl State {
    fn newest(&self, stream: &str) -> StreamId {
        let last = self.streams.get(stream).and_then(BTreeMap::last_key_value);
        last.map_or(StreamId::ZERO, |(id, _)| *id)
    }

    fn append(&mut self, stream: &str, at: AppendAt, payload: &[u8]) -> Appended {
        let newest = self.newest(stream);
        let id = match at {
            AppendAt::Exactly(id) if id <= newest => return Appended::NotAbove,
            AppendAt::Exactly(id) => id,
            AppendAt::Next => newest.successor(),
        };
        self.streams.entry(stream.to_owned()).or_default().insert(id, payload.to_vec());
        Appended::Added(id)
    }
}

impl Tape {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("not poisoned"))
    }

    /// All entries of a stream.
    pub(crate) fn entries(&self, stream: &str) -> Vec<(StreamId, Vec<u8>)> {
        self.with(|s| s.streams.get(stream).cloned().unwrap_or_default().into_iter().collect())
    }

    /// Loses the last so many entries, and the memory of their ids.
    pub(crate) fn lose_tail(&self, stream: &str, count: usize) {
        self.with(|s| {
            let entries = s.streams.entry(stream.to_owned()).or_default();
            for _ in 0..count {
                entries.pop_last();
            }
        });
    }

    /// Saves any text as an offset.
    pub(crate) fn plant_offset(&self, consumer: &str, text: &str) {
        self.with(|s| s.offsets.insert(consumer.into(), text.into()));
    }

    pub(crate) fn saved_offset(&self, consumer: &str) -> Option<String> {
        self.with(|s| s.offsets.get(consumer).cloned())
    }
}

#[async_trait]
impl Streams for Tape {
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError> {
        Ok(self.with(|s| s.append(stream, at, payload)))
    }

    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll {
        self.with(|s| {
            let newest = s.newest(stream);
            let mut added = vec![];
            if newest < onto {
                return AppendedAll { added, stopped: Some(Stopped::Short(newest)) };
            }
            for entry in entries {
                match s.append(stream, entry.at, entry.payload) {
                    Appended::Added(id) => added.push(id),
                    Appended::NotAbove => {
                        return AppendedAll { added, stopped: Some(Stopped::NotAbove) };
                    }
                }
            }
            AppendedAll { added, stopped: None }
        })
    }

    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        let look = || -> Vec<Entry> {
            let above = self.entries(stream).into_iter().filter(|(id, _)| *id > after);
            above.take(max).map(|(id, payload)| Entry { id, payload }).collect()
        };
        let found = look();
        if !found.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(wait).await;
        Ok(look())
    }

    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError> {
        let found = self.entries(stream).into_iter().find(|(at, _)| *at == id);
        Ok(found.map(|(id, payload)| Entry { id, payload }))
    }

    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError> {
        Ok(self.with(|s| s.newest(stream)))
    }

    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError> {
        self.with(|s| {
            s.streams.entry(stream.to_owned()).or_default().retain(|id, _| *id >= below);
        });
        Ok(())
    }

    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError> {
        Ok(self.saved_offset(consumer))
    }

    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError> {
        self.plant_offset(consumer, &offset.to_string());
        Ok(())
    }
}
