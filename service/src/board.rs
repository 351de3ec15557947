//! The board: the records that this process knows, so that players' calls need no store.
//!
//! Kept coherent by the process's own commits, and by what others tell of theirs; a short time to live
//! is the net for what is not heard of. It decides nothing: whatever is committed is compared with the
//! store.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use machine::{GameId, Incarnation, Runtime};
use tokio::time::Instant;

use crate::ports::Version;

/// See the module.
pub struct Board {
    slots: RwLock<BTreeMap<GameId, Slot>>,
    time_to_live: Duration,
    capacity: usize,
}

struct Slot {
    /// The latest known state; the record itself, unless somebody else is known to have changed it.
    incarnation: Incarnation,
    revision: u64,
    record: Option<Arc<Runtime>>,
    seen_at: Instant,
}

impl Slot {
    fn of(record: Arc<Runtime>) -> Self {
        let (incarnation, revision) = (record.incarnation, record.revision);
        Self { incarnation, revision, record: Some(record), seen_at: Instant::now() }
    }
}

impl Board {
    /// A board of at most `capacity` records, each believed for `time_to_live`.
    pub fn new(capacity: usize, time_to_live: Duration) -> Self {
        Self { slots: RwLock::default(), time_to_live, capacity: capacity.max(1) }
    }

    /// A record that was seen recently enough.
    pub fn get(&self, game: &GameId) -> Option<Arc<Runtime>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(game)?;
        let fresh = slot.seen_at.elapsed() < self.time_to_live;
        slot.record.as_ref().filter(|_| fresh).map(Arc::clone)
    }

    /// Takes a record in, unless a later one of the same life is known; answers whether it did.
    pub fn put(&self, record: Arc<Runtime>) -> bool {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(&record.game_id) {
            let same_life = slot.incarnation == record.incarnation;
            let later = !same_life || slot.revision <= record.revision;
            if later {
                *slot = Slot::of(record);
            }
            return later;
        }
        if slots.len() >= self.capacity {
            Self::make_room(&mut slots, self.time_to_live);
        }
        slots.insert(record.game_id.clone(), Slot::of(record));
        true
    }

    /// Another process says what a record is by now; answers whether that is news here. What is older
    /// is forgotten, and not taken in again by a look at the store that was under way.
    pub fn outdated(&self, game: &GameId, now: Option<Version>) -> bool {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let (Some(slot), Some(now)) = (slots.get_mut(game), now) else {
            slots.remove(game);
            return true;
        };
        let same_life = slot.incarnation == now.incarnation;
        if same_life && slot.revision >= now.revision {
            return false;
        }
        let (incarnation, revision) = (now.incarnation, now.revision);
        *slot = Slot { incarnation, revision, record: None, seen_at: Instant::now() };
        true
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes in what was just loaded.
    pub fn note(&self, game: &GameId, loaded: Option<&Arc<Runtime>>) {
        match loaded {
            Some(record) => {
                self.put(Arc::clone(record));
            }
            None => self.forget(game),
        }
    }

    /// Forgets a record: the next look goes to the store.
    pub fn forget(&self, game: &GameId) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(game);
    }

    /// Drops what is no longer believed; where that is little, drops everything: the board is a
    /// convenience, and one burst of loads is cheaper than an order kept on every look, or than
    /// going through all of it for each record that comes.
    fn make_room(slots: &mut BTreeMap<GameId, Slot>, time_to_live: Duration) {
        let before = slots.len();
        slots.retain(|_, slot| slot.seen_at.elapsed() < time_to_live);
        if slots.len() > before - before / 8 || slots.len() == before {
            slots.clear();
        }
    }
}
