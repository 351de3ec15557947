//! The plain model of streams, and the random operations that are compared with it.

use std::time::Duration;

use machine::StreamId;

use super::Rng;
use crate::ports::{AppendAt, Appended, AppendedAll, Entry, NewEntry, Stopped, Streams};

const STREAMS: [&str; 3] = ["gm:lobby_events", "runtime:health_events", "s 3"];
const CONSUMERS: [&str; 2] = ["health", "other"];

#[derive(Default)]
pub(super) struct Model {
    streams: [Stream; 3],
    offsets: [Option<String>; 2],
}

#[derive(Default)]
struct Stream {
    entries: Vec<Entry>,
    newest: StreamId,
    /// Entries below it may be gone, or not.
    trimmed: StreamId,
}

impl Model {
    /// One random operation, and what the model says to its answer.
    pub(super) async fn step(&mut self, streams: &dyn Streams, rng: &mut Rng, place: &str) {
        let which = rng.below_usize(STREAMS.len());
        let (Some(name), Some(stream)) = (STREAMS.get(which), self.streams.get_mut(which)) else {
            return;
        };
        match rng.below(20) {
            0..=6 => stream.append(streams, name, rng, place).await,
            7..=9 => stream.append_all(streams, name, rng, place).await,
            10..=13 => stream.read(streams, name, rng, place).await,
            14 | 15 => stream.entry(streams, name, rng, place).await,
            16 => stream.compare_newest(streams, name, place).await,
            17 => {
                let below = stream.some_id(rng);
                streams.trim(name, below).await.expect("a trim");
                stream.trimmed = stream.trimmed.max(below);
            }
            18 => {
                let which = rng.below_usize(CONSUMERS.len());
                let offset = stream.some_id(rng);
                if let (Some(name), Some(kept)) =
                    (CONSUMERS.get(which), self.offsets.get_mut(which))
                {
                    streams.save_offset(name, offset).await.expect("saved");
                    *kept = Some(offset.to_string());
                }
            }
            _ => self.compare_offsets(streams, place).await,
        }
    }

    pub(super) async fn compare_all(&self, streams: &dyn Streams, place: &str) {
        for (name, stream) in STREAMS.iter().zip(&self.streams) {
            stream.compare_newest(streams, name, place).await;
            let max = stream.entries.len() + 1;
            let found = streams.read(name, StreamId::ZERO, max, Duration::ZERO).await;
            stream.compare(StreamId::ZERO, max, &found.expect("a read"), place);
        }
        self.compare_offsets(streams, place).await;
    }

    async fn compare_offsets(&self, streams: &dyn Streams, place: &str) {
        for (name, kept) in CONSUMERS.iter().zip(&self.offsets) {
            let found = streams.offset(name).await.expect("an offset");
            assert_eq!(&found, kept, "{place}");
        }
    }
}

impl Stream {
    fn some_entry(&self, rng: &mut Rng) -> (AppendAt, Vec<u8>) {
        let at =
            if rng.percent(50) { AppendAt::Next } else { AppendAt::Exactly(self.some_id(rng)) };
        (at, (0..rng.below(20)).map(|_| rng.bits().to_le_bytes()[0]).collect())
    }

    async fn append_all(&mut self, streams: &dyn Streams, name: &str, rng: &mut Rng, place: &str) {
        let (onto, before) = (self.some_id(rng), self.newest);
        let mut asked: Vec<_> = (0..rng.below(6)).map(|_| self.some_entry(rng)).collect();
        if rng.percent(50) {
            asked.sort_by_key(|(at, _)| match at {
                AppendAt::Exactly(id) => Some(*id),
                AppendAt::Next => None,
            });
        }
        let entries: Vec<NewEntry<'_>> =
            asked.iter().map(|(at, payload)| NewEntry { at: *at, payload }).collect();
        let AppendedAll { added, stopped } = streams.append_all(name, onto, &entries).await;
        for (id, (at, payload)) in added.iter().zip(&asked) {
            if let AppendAt::Exactly(wanted) = at {
                assert_eq!(id, wanted, "{place}");
            }
            assert!(*id > self.newest, "{place}: {id} is not above {}", self.newest);
            self.newest = *id;
            self.entries.push(Entry { id: *id, payload: payload.clone() });
        }
        let next = asked.get(added.len()).map(|(at, _)| *at);
        match stopped {
            None => assert_eq!(added.len(), asked.len(), "{place}"),
            Some(Stopped::Short(newest)) => {
                assert!(added.is_empty() && newest == before && newest < onto, "{place}");
                return;
            }
            Some(Stopped::NotAbove) => {
                let refused = matches!(next, Some(AppendAt::Exactly(id)) if id <= self.newest);
                assert!(refused, "{place}: {next:?} is above {}", self.newest);
            }
            Some(Stopped::Failed(error)) => panic!("{place}: {error}"),
        }
        assert!(onto <= before, "{place}: {before} is below {onto}");
    }

    async fn append(&mut self, streams: &dyn Streams, name: &str, rng: &mut Rng, place: &str) {
        let (at, payload) = self.some_entry(rng);
        let answer = streams.append(name, at, &payload).await.expect("an append");
        let id = match (at, answer) {
            (AppendAt::Exactly(id), Appended::NotAbove) => {
                assert!(id <= self.newest, "{place}: {id} is above {}", self.newest);
                return;
            }
            (AppendAt::Exactly(wanted), Appended::Added(id)) => {
                assert_eq!(id, wanted, "{place}");
                id
            }
            (AppendAt::Next, Appended::Added(id)) => id,
            (AppendAt::Next, Appended::NotAbove) => panic!("{place}: nothing stands above"),
        };
        assert!(id > self.newest, "{place}: {id} is not above {}", self.newest);
        self.newest = id;
        self.entries.push(Entry { id, payload });
    }

    async fn read(&self, streams: &dyn Streams, name: &str, rng: &mut Rng, place: &str) {
        let after = self.some_id(rng);
        let max = rng.below_usize(5) + 1;
        let found = streams.read(name, after, max, Duration::ZERO).await.expect("a read");
        self.compare(after, max, &found, place);
    }

    /// What was trimmed may be missing; nothing else may, and nothing may be made up.
    fn compare(&self, after: StreamId, max: usize, found: &[Entry], place: &str) {
        assert!(found.len() <= max, "{place}");
        let mut found = found.iter().peekable();
        let room = found.len() < max;
        for entry in self.entries.iter().filter(|entry| entry.id > after) {
            if found.peek() == Some(&entry) {
                found.next();
            } else if found.peek().is_some() || room {
                assert!(entry.id < self.trimmed, "{place}: {} is missing", entry.id);
            }
        }
        assert_eq!(found.next(), None, "{place}: nobody appended this");
    }

    async fn entry(&self, streams: &dyn Streams, name: &str, rng: &mut Rng, place: &str) {
        let id = self.some_id(rng);
        let kept = self.entries.iter().find(|entry| entry.id == id);
        let found = streams.entry(name, id).await.expect("an entry");
        let may_be_gone = id < self.trimmed;
        assert!(
            found.as_ref() == kept || (found.is_none() && may_be_gone),
            "{place}: {id} is {found:?}, not {kept:?}"
        );
    }

    async fn compare_newest(&self, streams: &dyn Streams, name: &str, place: &str) {
        assert_eq!(streams.newest(name).await.expect("newest"), self.newest, "{place}");
    }

    /// One of the ids there are, or one close by.
    fn some_id(&self, rng: &mut Rng) -> StreamId {
        let id = if rng.percent(30) {
            self.newest
        } else {
            rng.pick(&self.entries).map_or(StreamId::ZERO, |entry| entry.id)
        };
        match rng.below(4) {
            0 => StreamId { ms: id.ms.saturating_sub(1), ..id },
            1 => id.successor(),
            2 => StreamId { ms: id.ms + rng.below(3), seq: rng.below(3) },
            _ => id,
        }
    }
}
