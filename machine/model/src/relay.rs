//! The relay and the stream it fills: ids in commit order, the stream the judge of what is new.

use crate::action::AppendFate;
use crate::state::{Item, Relay, State};
use crate::system::System;
use crate::variants::Variant;

impl System {
    pub(crate) fn relay_appends(&self, s: &mut State, fate: AppendFate) {
        let outbox = &mut s.outbox;
        if let Relay::Marked(row) = outbox.relay {
            outbox.relay = Relay::Idle;
            self.append(s, row);
            return;
        }
        let Some(row) = outbox.next() else { return };
        // Appended under its own id, which the stream refuses where its newest is not below it.
        let fresh = outbox.newest() < row || self.is(Variant::AppendAnywhere);
        if fate != AppendFate::NotDone && fresh {
            self.append(s, row);
        } else if fate == AppendFate::Answered && !s.outbox.entries().any(|entry| entry == row) {
            // The id is of no use any more: another one is assigned, above the newest.
            self.append(s, row);
        }
        match fate {
            AppendFate::Answered => s.outbox.relay = Relay::Appended(row),
            AppendFate::DoneUnanswered | AppendFate::NotDone => {
                s.outbox.check = true;
                s.left.spend(Item::AppendLoss);
            }
        }
    }

    pub(crate) fn relay_marks(&self, s: &mut State) {
        match s.outbox.relay {
            Relay::Appended(row) => {
                s.outbox.mark(row);
                s.outbox.relay = Relay::Idle;
            }
            Relay::Idle | Relay::Marked(_) => {
                if let Some(row) = s.outbox.next() {
                    s.outbox.mark(row);
                    s.outbox.relay = Relay::Marked(row);
                }
            }
        }
    }

    /// What is marked and above the stream's newest is given again, one at a time.
    pub(crate) fn relay_checks(&self, s: &mut State) {
        let newest = s.outbox.newest();
        let missing = (newest + 1..=s.outbox.rows).find(|row| s.outbox.is_marked(*row));
        match missing {
            Some(row) => self.append(s, row),
            None => s.outbox.check = false,
        }
    }

    pub(crate) fn lose_tail(&self, s: &mut State, lost: u8) {
        let entries = s.outbox.entries().count();
        for slot in s.outbox.stream.iter_mut().take(entries).rev().take(lost.into()) {
            *slot = 0;
        }
        // A stream that was restarted or taken over has broken the relay's connection.
        s.outbox.check |= !self.is(Variant::TailLossUnnoticed);
    }
}
