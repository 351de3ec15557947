//! The records lately seen, for checking a commit against the record that it was decided on.
//!
//! Never an answer to a question: a record is found here only by what a commit expects (life, status
//! and revision), and there is one record of each. Whether it is still there is for the server to
//! say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use machine::{GameId, Runtime};

use crate::ports::Expected;

/// How many records each of the two generations holds.
const GENERATION: usize = 20_000;

/// Two generations: when the young one is full, it becomes the old one, and the old one goes.
#[derive(Default)]
pub(super) struct Seen {
    generations: Mutex<[BTreeMap<GameId, Arc<Runtime>>; 2]>,
}

impl Seen {
    /// The record that a commit was decided on, if it was seen.
    pub(super) fn get(&self, game: &GameId, expected: Expected) -> Option<Arc<Runtime>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let found = generations.iter().find_map(|records| records.get(game))?;
        (Expected::from(&**found) == expected).then(|| Arc::clone(found))
    }

    /// Remembers a record.
    pub(super) fn put(&self, record: &Arc<Runtime>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() >= GENERATION {
            *old = std::mem::take(young);
        }
        young.insert(record.game_id.clone(), Arc::clone(record));
    }
}
