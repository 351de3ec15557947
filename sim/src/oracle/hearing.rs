//! Whether Game Master has heard of every end of a container that Runtime Manager told it of.

use std::collections::BTreeMap;

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

/// The ends on the stream, and who is to hear of them.
#[derive(Default)]
pub(super) struct Hearing {
    /// By game, each with its container.
    ends: BTreeMap<String, BTreeMap<StreamId, String>>,
    /// The newest entry there was when the record of a game became one of its container, or became at
    /// all: of what was told before, of a game that nobody knew, nobody need hear.
    since: BTreeMap<String, StreamId>,
    newest: StreamId,
}

impl Hearing {
    /// An entry came to the stream.
    pub(super) fn told(&mut self, id: StreamId, payload: &str) {
        self.newest = self.newest.max(id);
        let Ok(Event { game_id, container_id, event_type }) = serde_json::from_str(payload) else {
            return;
        };
        if ENDS.contains(&event_type.as_str()) {
            self.ends.entry(game_id).or_default().insert(id, container_id);
        }
    }

    /// How many ends there were.
    pub(super) fn told_of(&self) -> u64 {
        self.ends.values().map(|ends| ends.len() as u64).sum()
    }

    /// A record was something else until now, or was not.
    pub(super) fn listens(&mut self, before: Option<Listener<'_>>, after: Listener<'_>) {
        if before.is_none_or(|before| before.container != after.container) {
            self.since.insert(after.game.to_owned(), self.newest);
        }
    }

    /// Whether somebody who has heard of a later event was never told of an end before it.
    pub(super) fn passed_over(&self, before: Listener<'_>, after: Listener<'_>) -> bool {
        let Some(now) = after.cursor else { return false };
        self.missing(Listener { cursor: before.cursor, ..after }).any(|id| id < now)
    }

    /// Whether somebody has not been told of an end yet.
    pub(super) fn is_owed(&self, listener: Listener<'_>) -> bool {
        self.missing(listener).next().is_some()
    }

    /// What the stream lost nobody can be told.
    pub(super) fn forget(&mut self) {
        self.ends.clear();
    }

    /// The ends of its container that somebody has not been told of.
    fn missing<'a>(&'a self, listener: Listener<'a>) -> impl Iterator<Item = StreamId> + 'a {
        let Listener { game, container, cursor } = listener;
        let since = self.since.get(game).copied();
        let known = since.map(|since| cursor.map_or(since, |cursor| cursor.max(since)));
        let ends = self.ends.get(game).into_iter().flatten();
        // Who knows of no container takes what is told of any.
        let its = ends.filter(move |(_, of)| container.is_none_or(|its| its == of.as_str()));
        its.map(|(id, _)| *id).filter(move |id| known.is_some_and(|known| known < *id))
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

    fn at(container: &str, ms: Option<u64>) -> Listener<'_> {
        let container = Some(container).filter(|name| !name.is_empty());
        Listener { game: "g", container, cursor: ms.map(id) }
    }

    #[test]
    fn an_end_between_what_was_known_and_what_is_known_was_passed_over() {
        let mut hearing = Hearing::default();
        told(&mut hearing, 5, "one", "container_oom");
        hearing.listens(None, at("one", None));
        told(&mut hearing, 10, "one", "healthy");
        told(&mut hearing, 20, "one", "container_exited");
        told(&mut hearing, 30, "other", "container_oom");
        told(&mut hearing, 40, "one", "healthy");
        hearing.told(id(41), "no event");
        // The same as it was.
        hearing.listens(Some(at("one", None)), at("one", Some(10)));
        for (container, before, after, passed_over, owed) in [
            ("one", Some(10), Some(40), true, false),
            // It was the one that was applied.
            ("one", Some(10), Some(20), false, false),
            ("one", Some(20), Some(40), false, false),
            ("one", Some(7), Some(10), false, true),
            ("one", None, Some(40), true, false),
            // What was told before anybody listened is passed over.
            ("one", None, Some(10), false, true),
            ("one", None, None, false, true),
            ("other", Some(10), Some(25), false, true),
            ("other", Some(10), Some(40), true, false),
            ("third", Some(10), Some(40), false, false),
            // Whoever knows of no container hears of all.
            ("", Some(10), Some(25), true, true),
            ("", Some(25), Some(40), true, false),
        ] {
            let (old, new) = (at(container, before), at(container, after));
            let what = format!("{container:?} from {before:?} to {after:?}");
            assert_eq!(hearing.passed_over(old, new), passed_over, "{what}");
            assert_eq!(hearing.is_owed(new), owed, "{what}");
        }
        let elsewhere = Listener { game: "h", ..at("one", Some(10)) };
        assert!(!hearing.is_owed(elsewhere));
        // Another container, or another life of the game.
        hearing.listens(Some(at("one", Some(10))), at("other", Some(10)));
        assert!(!hearing.is_owed(at("other", Some(10))));
        told(&mut hearing, 50, "other", "container_disappeared");
        assert!(hearing.is_owed(at("other", Some(10))));
        hearing.listens(None, at("other", None));
        assert!(!hearing.is_owed(at("other", None)));
    }

    #[test]
    fn what_the_stream_lost_nobody_is_owed() {
        let mut hearing = Hearing::default();
        hearing.listens(None, at("one", None));
        told(&mut hearing, 20, "one", "container_exited");
        assert!(hearing.is_owed(at("one", None)));
        hearing.forget();
        assert!(!hearing.is_owed(at("one", None)));
    }
}
