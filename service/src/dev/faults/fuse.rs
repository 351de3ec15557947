//! The store and the streams lose requests and answers while they are told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::unreliable::{Call, Decide, Fate, seeded};

/// Decides what becomes of each call; clones decide together.
#[derive(Clone, Default)]
pub(in crate::dev) struct Fuse {
    now: Arc<Mutex<Option<Box<dyn Decide>>>>,
    lost: Arc<AtomicU64>,
}

impl Fuse {
    /// From now on so many of a hundred calls are lost, in every way there is; of 100 all are
    /// refused.
    pub(super) fn blow(&self, seed: u64, percent: u64) {
        let decide: Box<dyn Decide> = if percent >= 100 {
            Box::new(|_: Call<'_>| Fate::Refused)
        } else {
            Box::new(seeded(seed, percent))
        };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(decide);
    }

    /// From now on none is.
    pub(super) fn mend(&self) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Decide for Fuse {
    fn fate(&self, call: Call<'_>) -> Fate {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = now.as_ref().map_or(Fate::Pass, |decide| decide.fate(call));
        if fate != Fate::Pass {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_lost_while_it_is_blown_and_counted() {
        let fuse = Fuse::default();
        let fates = |count: usize| -> Vec<Fate> {
            (0..count).map(|_| fuse.fate(Call::Read("load"))).collect()
        };
        assert!(fates(50).iter().all(|fate| *fate == Fate::Pass));
        fuse.blow(1, 100);
        assert!(fates(50).iter().all(|fate| *fate == Fate::Refused));
        assert_eq!(fuse.lost(), 50);
        fuse.blow(1, 30);
        let (first, lost) = (fates(100), fuse.lost() - 50);
        assert!((15..50).contains(&lost), "{lost} of 100");
        fuse.blow(1, 30);
        assert_eq!(fates(100), first, "the same seed, the same fates");
        fuse.mend();
        assert!(fates(50).iter().all(|fate| *fate == Fate::Pass));
    }
}
