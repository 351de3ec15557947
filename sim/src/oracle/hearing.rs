//! Whether Game Master has heard of every end of a container that Runtime Manager told it of.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Runtime, StreamId};
use serde::Deserialize;

/// The stream's name in the contract.
pub(super) const STREAM: &str = "runtime:health_events";
/// What each kind of end is called there.
const ENDS: [&str; 3] = ["container_exited", "container_oom", "container_disappeared"];

#[derive(Deserialize)]
struct Event {
    game_id: String,
    container_id: String,
    event_type: String,
}

/// The ends on the stream, by game and container.
#[derive(Default)]
pub(super) struct Hearing(BTreeMap<(String, String), BTreeSet<StreamId>>);

impl Hearing {
    /// An entry came to the stream.
    pub(super) fn told(&mut self, id: StreamId, payload: &str) {
        let Ok(Event { game_id, container_id, event_type }) = serde_json::from_str(payload) else {
            return;
        };
        if ENDS.contains(&event_type.as_str()) {
            self.0.entry((game_id, container_id)).or_default().insert(id);
        }
    }

    /// Whether somebody who has heard of a later event was never told of an end before it.
    pub(super) fn passed_over(&self, before: &Listener<'_>, after: &Listener<'_>) -> bool {
        let (Some(known), Some(now)) = (before.cursor, after.cursor) else { return false };
        self.ends(after).any(|id| known < id && id < now)
    }

    /// Whether somebody has not been told of an end yet.
    pub(super) fn is_owed(&self, listener: &Listener<'_>) -> bool {
        self.ends(listener).any(|id| listener.cursor.is_some_and(|known| known < id))
    }

    /// What the stream lost nobody can be told.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn ends(&self, listener: &Listener<'_>) -> impl Iterator<Item = StreamId> {
        let container = listener.container;
        let key = container.map(|container| (listener.game.to_owned(), container.to_owned()));
        key.and_then(|key| self.0.get(&key)).into_iter().flatten().copied()
    }
}

/// A record, as far as it hears of its container.
#[derive(Clone, Copy)]
pub(super) struct Listener<'a> {
    game: &'a str,
    container: Option<&'a str>,
    /// The last event that it knows of.
    cursor: Option<StreamId>,
}

impl<'a> From<&'a Runtime> for Listener<'a> {
    fn from(record: &'a Runtime) -> Self {
        let container = record.engine.container_id.as_ref().map(|id| id.as_str());
        Self { game: record.game_id.as_str(), container, cursor: record.health.cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn told(hearing: &mut Hearing, ms: u64, container: &str, event: &str) {
        let payload = format!(
            r#"{{"game_id":"g","container_id":"{container}","event_type":"{event}","more":1}}"#
        );
        hearing.told(id(ms), &payload);
    }

    #[test]
    fn an_end_between_what_was_known_and_what_is_known_was_passed_over() {
        let mut hearing = Hearing::default();
        told(&mut hearing, 10, "one", "container_started");
        told(&mut hearing, 20, "one", "container_exited");
        told(&mut hearing, 30, "other", "container_oom");
        told(&mut hearing, 40, "one", "healthy");
        hearing.told(id(41), "no event");
        let at = |container, ms: Option<u64>| Listener {
            game: "g",
            container: Some(container),
            cursor: ms.map(id),
        };
        for (container, before, after, passed_over, owed) in [
            ("one", Some(10), Some(40), true, false),
            // It was the one that was applied.
            ("one", Some(10), Some(20), false, false),
            ("one", Some(20), Some(40), false, false),
            ("one", Some(5), Some(10), false, true),
            ("other", Some(10), Some(25), false, true),
            ("other", Some(10), Some(40), true, false),
            ("third", Some(10), Some(40), false, false),
            // Nothing was heard of this container before.
            ("one", None, Some(40), false, false),
        ] {
            let (old, new) = (at(container, before), at(container, after));
            let what = format!("{container} from {before:?} to {after:?}");
            assert_eq!(hearing.passed_over(&old, &new), passed_over, "{what}");
            assert_eq!(hearing.is_owed(&new), owed, "{what}");
        }
        assert!(!hearing.is_owed(&at("one", None)));
        let elsewhere = Listener { game: "h", ..at("one", Some(10)) };
        assert!(!hearing.is_owed(&elsewhere));
        hearing.forget();
        assert!(!hearing.is_owed(&at("one", Some(10))));
    }
}
