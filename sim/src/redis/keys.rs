//! What Redis holds.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use machine::StreamId;

/// The former values kept of a key, for a crash that takes the latest back.
const MAX_FORMER: usize = 200;

/// Streams and texts.
#[derive(Default)]
pub struct Keys {
    streams: BTreeMap<String, Stream>,
    texts: BTreeMap<String, VecDeque<(i64, String)>>,
}

#[derive(Default)]
struct Stream {
    newest: StreamId,
    entries: BTreeMap<StreamId, Entry>,
}

/// An entry of a stream.
#[derive(Clone)]
pub struct Entry {
    /// The field `payload`.
    pub payload: Arc<[u8]>,
    /// When it was appended, in simulated milliseconds.
    pub at_ms: i64,
}

impl Keys {
    /// Appends under an id, or under the next one; `None` where it is not above the newest.
    pub fn append(
        &mut self,
        key: &str,
        id: Option<StreamId>,
        payload: &[u8],
        unix_ms: u64,
        at_ms: i64,
    ) -> Option<StreamId> {
        let newest = self.streams.get(key).map_or(StreamId::ZERO, |stream| stream.newest);
        let next = newest.successor().max(StreamId { ms: unix_ms, seq: 0 });
        let id = id.unwrap_or(next);
        if id <= newest {
            return None;
        }
        let stream = self.streams.entry(key.to_owned()).or_default();
        stream.newest = id;
        stream.entries.insert(id, Entry { payload: payload.into(), at_ms });
        Some(id)
    }

    /// Drops the oldest entries beyond so many.
    pub fn keep_newest(&mut self, key: &str, keep: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        while stream.entries.len() > keep {
            stream.entries.pop_first();
        }
    }

    /// Up to `max` entries above an id.
    pub fn above(&self, key: &str, after: StreamId, max: usize) -> Vec<(StreamId, Entry)> {
        let Some(stream) = self.streams.get(key) else { return vec![] };
        let above = stream.entries.range((Bound::Excluded(after), Bound::Unbounded));
        above.take(max).map(|(id, entry)| (*id, entry.clone())).collect()
    }

    /// The entries from one id to another.
    pub fn range(&self, key: &str, from: StreamId, to: StreamId) -> Vec<(StreamId, Entry)> {
        let entries = self.streams.get(key).filter(|_| from <= to).into_iter();
        let entries = entries.flat_map(|stream| stream.entries.range(from..=to));
        entries.map(|(id, entry)| (*id, entry.clone())).collect()
    }

    /// Every entry of a stream.
    pub fn all(&self, key: &str) -> impl Iterator<Item = (&StreamId, &Entry)> {
        self.streams.get(key).into_iter().flat_map(|stream| stream.entries.iter())
    }

    /// The newest id of a stream that is there, and how many entries it has.
    pub fn newest(&self, key: &str) -> Option<(StreamId, usize)> {
        self.streams.get(key).map(|stream| (stream.newest, stream.entries.len()))
    }

    /// Drops the entries below an id.
    pub fn trim(&mut self, key: &str, below: StreamId) -> i64 {
        let Some(stream) = self.streams.get_mut(key) else { return 0 };
        let kept = stream.entries.split_off(&below);
        let dropped = std::mem::replace(&mut stream.entries, kept);
        i64::try_from(dropped.len()).unwrap_or(i64::MAX)
    }

    /// A text.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.texts.get(key).and_then(|values| values.back()).map(|(_, value)| value.as_str())
    }

    /// Sets a text.
    pub fn set(&mut self, key: &str, value: &str, at_ms: i64) {
        let values = self.texts.entry(key.to_owned()).or_default();
        values.push_back((at_ms, value.to_owned()));
        if values.len() > MAX_FORMER {
            values.pop_front();
        }
    }

    /// Takes back what was written at or after an instant; answers how many writes that were.
    pub fn lose_since(&mut self, since_ms: i64) -> usize {
        let mut lost = 0;
        self.streams.retain(|_, stream| {
            let was = stream.entries.len();
            stream.entries.retain(|_, entry| entry.at_ms < since_ms);
            if stream.entries.len() < was {
                lost += was - stream.entries.len();
                stream.newest = stream.entries.keys().next_back().copied().unwrap_or_default();
            }
            stream.newest > StreamId::ZERO
        });
        self.texts.retain(|_, values| {
            let was = values.len();
            values.retain(|(at, _)| *at < since_ms);
            lost += was - values.len();
            !values.is_empty()
        });
        lost
    }

    /// Forgets every text: how far somebody has read.
    pub fn lose_texts(&mut self) {
        self.texts.clear();
    }

    /// Empties everything.
    pub fn lose_everything(&mut self) -> usize {
        let lost = self.streams.values().map(|stream| stream.entries.len()).sum();
        self.streams.clear();
        self.texts.clear();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_grow_and_what_is_not_above_is_refused() {
        let mut keys = Keys::default();
        assert_eq!(keys.append("s", Some(id(5, 0)), b"a", 1, 0), Some(id(5, 0)));
        assert_eq!(keys.append("s", Some(id(5, 0)), b"a", 1, 0), None);
        assert_eq!(keys.append("s", None, b"b", 1, 0), Some(id(5, 1)));
        assert_eq!(keys.append("s", None, b"c", 9, 0), Some(id(9, 0)));
        let found = keys.above("s", id(5, 0), 9);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id(5, 1), id(9, 0)]);
        assert_eq!(keys.trim("s", id(9, 0)), 2);
        assert_eq!(keys.newest("s"), Some((id(9, 0), 1)));
    }

    #[test]
    fn a_lost_tail_takes_the_newest_id_and_the_last_values_with_it() {
        let mut keys = Keys::default();
        keys.append("s", None, b"a", 1, 10);
        keys.append("s", None, b"b", 2, 20);
        keys.append("t", None, b"c", 2, 20);
        keys.set("k", "old", 10);
        keys.set("k", "new", 20);
        assert_eq!(keys.lose_since(15), 3);
        assert_eq!(keys.newest("s"), Some((id(1, 0), 1)));
        assert_eq!(keys.newest("t"), None);
        assert_eq!(keys.get("k"), Some("old"));
    }
}
