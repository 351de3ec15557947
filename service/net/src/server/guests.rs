//! Who is connected, and who has to go when there is no place left.
//!
//! A connection without a request in flight costs its client nothing to hold and everybody else a
//! place. So where all places are taken, the one that has waited the longest for a request (or for
//! the rest of a head: it drips) makes room for the next. Requests in flight are never cut off.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::timing::Timing;

/// The connections of one server.
#[derive(Default)]
pub(super) struct Guests {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    guests: BTreeMap<u64, Guest>,
}

struct Guest {
    timing: Timing,
    leave: CancellationToken,
}

/// One connection's entry; dropping it takes it off the list.
pub(super) struct Entry<'a> {
    guests: &'a Guests,
    number: u64,
    pub(super) leave: CancellationToken,
}

impl Guests {
    pub(super) fn enter(&self, timing: Timing) -> Entry<'_> {
        let leave = CancellationToken::new();
        let mut list = self.lock();
        let number = list.next;
        list.next += 1;
        list.guests.insert(number, Guest { timing, leave: leave.clone() });
        Entry { guests: self, number, leave }
    }

    /// Asks the one to leave that has waited the longest; `false` where everybody is busy.
    pub(super) fn make_room(&self) -> bool {
        let mut list = self.lock();
        let waiting = |(number, guest): (&u64, &Guest)| {
            let since: Instant = guest.timing.waiting_since()?;
            Some((since, *number))
        };
        let longest = list.guests.iter().filter_map(waiting).min();
        let Some(guest) = longest.and_then(|(_, number)| list.guests.remove(&number)) else {
            return false;
        };
        guest.leave.cancel();
        true
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // No code that can panic runs under this lock.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.guests.lock().guests.remove(&self.number);
    }
}
