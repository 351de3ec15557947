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

    /// Whether a record that knows of a later event was never told of an end before it.
    pub(super) fn passed_over(&self, before: &Runtime, after: &Runtime) -> bool {
        let (Some(known), Some(now)) = (before.health.cursor, after.health.cursor) else {
            return false;
        };
        self.ends(after).any(|id| known < id && id < now)
    }

    /// Whether a record has not been told of an end yet.
    pub(super) fn is_owed(&self, record: &Runtime) -> bool {
        self.ends(record).any(|id| record.health.cursor.is_some_and(|known| known < id))
    }

    /// What the stream lost nobody can be told.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn ends(&self, record: &Runtime) -> impl Iterator<Item = StreamId> {
        let container = record.engine.container_id.as_ref();
        let key = container.map(|id| (record.game_id.to_string(), id.as_str().to_owned()));
        key.and_then(|key| self.0.get(&key)).into_iter().flatten().copied()
    }
}
