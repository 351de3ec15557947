//! `gamemaster.attend`, `gamemaster.leave` and `gamemaster.is_term`, transcribed.

use chrono::TimeDelta;
use machine::Timestamp;
use service::ports::Role;
use uuid::Uuid;

use super::refusal::Refusal;
use super::tables::{Lead, Seat, Tables, Transaction};

/// How many former lives of a name are kept.
const MAX_FORMER: usize = 8;

/// What a process says of itself.
#[derive(Debug)]
pub(super) struct Attending {
    pub(super) instance: String,
    pub(super) boot: Uuid,
    pub(super) is_draining: bool,
    pub(super) wants: Vec<String>,
    pub(super) ttl_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    pub(super) alive: Vec<String>,
    pub(super) held: Vec<String>,
    pub(super) terms: Vec<i64>,
    pub(super) displaced: bool,
}

pub(super) fn attend(
    tx: &mut Transaction<'_>,
    who: &Attending,
    now: Timestamp,
) -> Result<Roll, Refusal> {
    let ttl = TimeDelta::try_milliseconds(who.ttl_ms);
    let expires_at = ttl.and_then(|ttl| now.checked_add_signed(ttl));
    let expires_at = expires_at.ok_or_else(|| Refusal::new("22008", "interval out of range"))?;
    let mut roll = Roll { displaced: !sit(tx, who, expires_at), ..Roll::default() };
    let forgotten = now - TimeDelta::hours(1);
    let old = tx.attendance().iter().filter(|(_, seat)| seat.expires_at <= forgotten);
    let old: Vec<String> = old.map(|(name, _)| name.clone()).collect();
    old.iter().for_each(|name| tx.set_seat(name, None));
    if !roll.displaced {
        for role in roles(tx) {
            let Some(lead) = tx.roles().get(role).cloned() else { continue };
            if !who.wants.iter().any(|wanted| wanted == role) {
                if lead.is_held_by(who.boot) {
                    tx.set_role(role, Lead { holder: None, ..lead });
                }
                continue;
            }
            if may_take(&lead, who, now) {
                let term = lead.term + i64::from(!lead.is_held_by(who.boot));
                let holder = Some((who.instance.clone(), who.boot, expires_at));
                tx.set_role(role, Lead { term, holder });
                roll.held.push(role.to_owned());
                roll.terms.push(term);
            }
        }
    }
    let there = |seat: &Seat| seat.expires_at > now && !seat.is_draining;
    let alive = tx.attendance().iter().filter(|(_, seat)| there(seat));
    roll.alive = alive.map(|(name, _)| name.clone()).collect();
    Ok(roll)
}

pub(super) fn leave(tx: &mut Transaction<'_>, instance: &str, boot: Uuid, now: Timestamp) {
    let seat = tx.attendance().get(instance).filter(|seat| seat.boot == boot).cloned();
    if let Some(seat) = seat {
        let former = ended(&seat);
        tx.set_seat(instance, Some(Seat { former, expires_at: now, ..seat }));
    }
    for role in roles(tx) {
        let Some(lead) = tx.roles().get(role).cloned() else { continue };
        if lead.is_held_by(boot) {
            tx.set_role(role, Lead { holder: None, ..lead });
        }
    }
}

/// Whether a term is the current one of the relay.
pub(super) fn is_term(tables: &Tables, term: i64) -> bool {
    tables.roles().get(Role::OutboxRelay.as_str()).is_some_and(|lead| lead.term == term)
}

/// The rows that an attendance is about to change, and so waits for.
pub(super) fn roles_to_change(tables: &Tables, who: &Attending, now: Timestamp) -> Vec<String> {
    let changes = |(role, lead): &(&&'static str, &Lead)| {
        if who.wants.iter().any(|wanted| wanted == *role) {
            may_take(lead, who, now)
        } else {
            lead.is_held_by(who.boot)
        }
    };
    tables.roles().iter().filter(changes).map(|(role, _)| (*role).to_owned()).collect()
}

/// The rows that whoever leaves is about to change.
pub(super) fn roles_of(tables: &Tables, boot: Uuid) -> Vec<String> {
    let held = tables.roles().iter().filter(|(_, lead)| lead.is_held_by(boot));
    held.map(|(role, _)| (*role).to_owned()).collect()
}

fn roles(tables: &Tables) -> Vec<&'static str> {
    tables.roles().keys().copied().collect()
}

fn may_take(lead: &Lead, who: &Attending, now: Timestamp) -> bool {
    lead.holder
        .as_ref()
        .is_none_or(|(instance, _, expires_at)| *instance == who.instance || *expires_at <= now)
}

/// False where this life of the name is over.
fn sit(tx: &mut Transaction<'_>, who: &Attending, expires_at: Timestamp) -> bool {
    let there = tx.attendance().get(&who.instance).cloned();
    if there.as_ref().is_some_and(|seat| seat.former.contains(&who.boot)) {
        return false;
    }
    let former = match there {
        Some(seat) if seat.boot == who.boot => seat.former,
        Some(seat) => ended(&seat),
        None => vec![],
    };
    let seat = Seat { boot: who.boot, former, is_draining: who.is_draining, expires_at };
    tx.set_seat(&who.instance, Some(seat));
    true
}

/// The former lives of a name once its present one is over.
fn ended(seat: &Seat) -> Vec<Uuid> {
    let mut former = seat.former.clone();
    if !former.contains(&seat.boot) {
        former.insert(0, seat.boot);
        former.truncate(MAX_FORMER);
    }
    former
}
