//! Who attends, and who leads.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{InstanceId, Timestamp};
use uuid::Uuid;

use crate::ports::{Attendance, Presence, Role, Roll, Term};

/// How many former lives of one name are remembered.
const MAX_FORMER: usize = 8;
/// How long a name is remembered that nobody has any more.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// See the module.
#[derive(Default)]
pub(super) struct Desk {
    seats: BTreeMap<InstanceId, Seat>,
    leads: BTreeMap<Role, Lead>,
}

struct Seat {
    boot: Uuid,
    /// The lives that are over, the latest first.
    former: VecDeque<Uuid>,
    is_draining: bool,
    expires_at: Timestamp,
}

#[derive(Default)]
struct Lead {
    term: Term,
    holder: Option<(Presence, Timestamp)>,
}

impl Desk {
    /// See [`Store::attend`](crate::ports::Store::attend).
    pub(super) fn attend(&mut self, who: &Attendance, ttl: Duration, now: Timestamp) -> Roll {
        let Attendance { presence, is_draining, wants } = who;
        self.seats.retain(|_, seat| seat.expires_at > now - REMEMBERED);
        let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX);
        let expires_at = now.checked_add_signed(ttl).unwrap_or(Timestamp::MAX_UTC);
        let displaced = !self.sit(presence, *is_draining, expires_at);
        if displaced {
            return Roll { alive: self.alive(now), terms: BTreeMap::new(), displaced };
        }
        let mut terms = BTreeMap::new();
        for role in Role::ALL {
            let lead = self.leads.entry(role).or_default();
            let is_ours = lead.holder.as_ref().is_some_and(|(holder, _)| holder == presence);
            if !wants.contains(&role) {
                lead.holder.take_if(|_| is_ours);
                continue;
            }
            let is_free = lead.holder.as_ref().is_none_or(|(holder, expires_at)| {
                holder.instance == presence.instance || *expires_at <= now
            });
            if is_ours || is_free {
                if !is_ours {
                    lead.term.0 += 1;
                }
                lead.holder = Some((presence.clone(), expires_at));
                terms.insert(role, lead.term);
            }
        }
        Roll { alive: self.alive(now), terms, displaced }
    }

    /// See [`Store::leave`](crate::ports::Store::leave).
    pub(super) fn leave(&mut self, presence: &Presence, now: Timestamp) {
        let seat = self.seats.get_mut(&presence.instance);
        if let Some(seat) = seat.filter(|seat| seat.boot == presence.boot) {
            seat.expires_at = now;
            seat.end(presence.boot);
        }
        for lead in self.leads.values_mut() {
            lead.holder.take_if(|(holder, _)| holder == presence);
        }
    }

    /// The term of a role that is the latest there is.
    pub(super) fn term(&self, role: Role) -> Term {
        self.leads.get(&role).map_or(Term::default(), |lead| lead.term)
    }

    /// Takes the seat of a name; `false` where this life of it is over.
    fn sit(&mut self, who: &Presence, is_draining: bool, expires_at: Timestamp) -> bool {
        let Some(seat) = self.seats.get_mut(&who.instance) else {
            let (boot, former) = (who.boot, VecDeque::new());
            let seat = Seat { boot, former, is_draining, expires_at };
            self.seats.insert(who.instance.clone(), seat);
            return true;
        };
        if seat.former.contains(&who.boot) {
            return false;
        }
        if seat.boot != who.boot {
            seat.end(seat.boot);
            seat.boot = who.boot;
        }
        seat.is_draining = is_draining;
        seat.expires_at = expires_at;
        true
    }

    fn alive(&self, now: Timestamp) -> Vec<InstanceId> {
        let there = |seat: &Seat| seat.expires_at > now && !seat.is_draining;
        let alive = self.seats.iter().filter(|(_, seat)| there(seat));
        alive.map(|(instance, _)| instance.clone()).collect()
    }
}

impl Seat {
    fn end(&mut self, boot: Uuid) {
        if !self.former.contains(&boot) {
            self.former.push_front(boot);
            self.former.truncate(MAX_FORMER);
        }
    }
}
