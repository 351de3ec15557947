//! Who holds what, and who waits for it.
//!
//! Locks are granted in the order in which they were asked for, as PostgreSQL's queue does it, and
//! kept to the end of the transaction. A wait that has lasted [`DEADLOCK_TIMEOUT`] looks whether it
//! waits for itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use machine::{Channel, GameId, OperationId};
use service::ports::CommitId;
use tokio::sync::oneshot;

use super::tables::ClaimName;

/// PostgreSQL's `deadlock_timeout`, as it is by default.
pub(super) const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// What can be locked. A key that is about to be inserted counts as a row: whoever inserts the same
/// one waits for whoever was first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    Tables,
    CommitId(CommitId),
    Record(GameId),
    Operation(OperationId),
    Claim(ClaimName),
    Version(String),
    Channel(Channel),
    Seat(String),
    Role(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

pub(super) type TransactionId = u64;

#[derive(Debug, Default)]
struct Queue {
    holders: BTreeMap<TransactionId, Mode>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    transaction: TransactionId,
    mode: Mode,
    granted: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: BTreeMap<Lock, Queue>,
}

impl Queue {
    fn admits(&self, transaction: TransactionId, mode: Mode) -> bool {
        let others = || self.holders.iter().filter(|(holder, _)| **holder != transaction);
        match mode {
            Mode::Exclusive => others().next().is_none(),
            Mode::Shared => others().all(|(_, held)| *held == Mode::Shared),
        }
    }

    fn hold(&mut self, transaction: TransactionId, mode: Mode) {
        let held = self.holders.entry(transaction).or_insert(mode);
        if mode == Mode::Exclusive {
            *held = mode;
        }
    }

    /// Lets in whoever is first in line and may.
    fn advance(&mut self) {
        while let Some(Waiting { transaction, mode, granted }) = self.waiting.pop_front() {
            if granted.is_closed() {
                continue;
            }
            if !self.admits(transaction, mode) {
                self.waiting.push_front(Waiting { transaction, mode, granted });
                return;
            }
            self.hold(transaction, mode);
            let _ = granted.send(());
        }
    }
}

impl Locks {
    /// Takes a lock, or a place in the line for it: then the receiver tells when it is there.
    pub(super) fn ask(
        &mut self,
        transaction: TransactionId,
        lock: Lock,
        mode: Mode,
    ) -> Option<oneshot::Receiver<()>> {
        let queue = self.queues.entry(lock).or_default();
        let has = queue.holders.get(&transaction).copied();
        if has == Some(Mode::Exclusive) || has == Some(mode) {
            return None;
        }
        let jumps = has.is_some();
        if queue.admits(transaction, mode) && (jumps || queue.waiting.is_empty()) {
            queue.hold(transaction, mode);
            return None;
        }
        let (granted, told) = oneshot::channel();
        let waiting = Waiting { transaction, mode, granted };
        if jumps {
            queue.waiting.push_front(waiting);
        } else {
            queue.waiting.push_back(waiting);
        }
        Some(told)
    }

    /// Gives everything back that a transaction holds, and its places in lines.
    pub(super) fn release(&mut self, transaction: TransactionId) {
        self.queues.retain(|_, queue| {
            queue.waiting.retain(|waiting| waiting.transaction != transaction);
            queue.holders.remove(&transaction);
            queue.advance();
            !queue.holders.is_empty() || !queue.waiting.is_empty()
        });
    }

    /// Whether a transaction waits, in the end, for itself.
    pub(super) fn waits_for_itself(&self, transaction: TransactionId) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = self.waits_for(transaction);
        while let Some(other) = next.pop() {
            if other == transaction {
                return true;
            }
            if seen.insert(other) {
                next.extend(self.waits_for(other));
            }
        }
        false
    }

    fn waits_for(&self, transaction: TransactionId) -> Vec<TransactionId> {
        let mut found = vec![];
        for queue in self.queues.values() {
            let place = queue.waiting.iter().position(|w| w.transaction == transaction);
            let Some(place) = place else { continue };
            found.extend(queue.holders.keys().filter(|holder| **holder != transaction));
            found.extend(queue.waiting.iter().take(place).map(|waiting| waiting.transaction));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Lock {
        Lock::Record("game-1".parse().expect("a game"))
    }

    #[test]
    fn readers_share_writers_wait_and_nobody_overtakes() {
        let mut locks = Locks::default();
        assert!(locks.ask(1, record(), Mode::Shared).is_none());
        assert!(locks.ask(2, record(), Mode::Shared).is_none());
        let mut writer = locks.ask(3, record(), Mode::Exclusive).expect("a wait");
        let mut reader = locks.ask(4, record(), Mode::Shared).expect("behind the writer");
        assert!(locks.ask(1, record(), Mode::Shared).is_none(), "it has it");
        locks.release(1);
        assert!(writer.try_recv().is_err());
        locks.release(2);
        assert!(writer.try_recv().is_ok());
        assert!(reader.try_recv().is_err());
        locks.release(3);
        assert!(reader.try_recv().is_ok());
        locks.release(4);
        assert!(locks.queues.is_empty());
    }

    #[test]
    fn who_gave_up_waiting_is_passed_over() {
        let mut locks = Locks::default();
        assert!(locks.ask(1, record(), Mode::Exclusive).is_none());
        drop(locks.ask(2, record(), Mode::Exclusive));
        let mut third = locks.ask(3, record(), Mode::Exclusive).expect("a wait");
        locks.release(1);
        assert!(third.try_recv().is_ok());
    }

    #[test]
    fn a_circle_is_seen_and_a_line_is_none() {
        let mut locks = Locks::default();
        let other = Lock::Version("1.0.0".into());
        assert!(locks.ask(1, record(), Mode::Exclusive).is_none());
        assert!(locks.ask(2, other.clone(), Mode::Exclusive).is_none());
        let _second = locks.ask(2, record(), Mode::Exclusive).expect("a wait");
        assert!(!locks.waits_for_itself(2));
        let _first = locks.ask(1, other, Mode::Shared).expect("a wait");
        assert!(locks.waits_for_itself(1) && locks.waits_for_itself(2));
    }
}
