//! The fold loses nothing that decides: a real record, which counts its attempts, revisions and
//! minutes without end, goes through the same events beside the folded one, and they stay the same.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use chrono::TimeDelta;
use machine::record::PendingState;
use machine::{
    Context, Event, Incarnation, OperationId, Policy, Runtime, Ticket, Timestamp, Verdict,
};
use model::action::{Action, Fate};
use model::configs::{self, Config};
use model::event::{Ev, Tk};
use model::record::Rec;
use model::state::State;
use model::system::System;
use stateright::Model as _;
use uuid::Uuid;

/// What has been drawn before the walk begins.
const ATTEMPTS_BEFORE: u64 = 40;
const REVISIONS_BEFORE: u64 = 77;

/// Numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("small")
    }
}

/// The real record and the real time.
struct Real {
    rt: Option<Runtime>,
    now: Timestamp,
    operations: u128,
    policy: Policy,
}

impl Real {
    fn beside(system: &System, s: &State) -> Self {
        let catalog = system.catalog();
        let rt = s.record.map(|rec| {
            let rt = catalog.unfold(&rec);
            Runtime { attempt: ATTEMPTS_BEFORE, revision: REVISIONS_BEFORE, ..rt }
        });
        // So short that no walk leaves the hour but by the clock.
        let lease = TimeDelta::milliseconds(500);
        let policy = Policy {
            probe_lease: lease,
            turn_lease: lease,
            rtm_lease: lease,
            drain: lease,
            health_debounce: lease,
            retry_base: lease,
            retry_cap: lease,
            ..catalog.policy().clone()
        };
        Self { rt, now: catalog.now(), operations: 100, policy }
    }

    fn happens(&mut self, system: &System, s: &State, gm: u8, ev: Ev) {
        if let (Ev::Strike(timer), Some(rt)) = (ev, &self.rt) {
            let due = rt.timers().find(|(_, set)| *set == timer).map(|(at, _)| at);
            self.now = self.now.max(due.expect("the timer is set"));
        }
        self.now += TimeDelta::milliseconds(1);
        self.operations += 1;
        let event = self.event(system, s, ev);
        let cx = Context {
            now: self.now,
            instance: system.catalog().instance(gm),
            operation: OperationId(Uuid::from_u128(self.operations)),
            policy: &self.policy,
        };
        if let Ok(Verdict::Commit(step)) = machine::step(self.rt.as_ref(), &event, &cx) {
            machine::check_commit(self.rt.as_ref(), step.next.as_ref()).expect("it holds");
            self.rt = step.next;
        }
    }

    /// The event with the real record's own ticket.
    fn event(&self, system: &System, s: &State, ev: Ev) -> Event {
        let mut event = ev.unfold(s.record.as_ref(), system.catalog());
        let real = ev.ticket().map(|ticket| self.ticket(s.record.as_ref(), ticket));
        if let Event::InitDone(ticket, _)
        | Event::TurnDone(ticket, _)
        | Event::ProbeDone(ticket, _)
        | Event::StopDone(ticket, _)
        | Event::PatchDone(ticket, _)
        | Event::Abandoned(ticket) = &mut event
        {
            *ticket = real.expect("a ticket");
        }
        event
    }

    fn ticket(&self, rec: Option<&Rec>, ticket: Tk) -> Ticket {
        let rt = self.rt.as_ref();
        let work = rt.and_then(Runtime::work).map_or(0, |work| work.attempt);
        let incarnation = rt.map_or(Incarnation(Uuid::nil()), |rt| rt.incarnation);
        match ticket {
            Tk::Dead => Ticket { incarnation, attempt: 0 },
            Tk::Foreign => Ticket { incarnation: Incarnation(Uuid::nil()), attempt: work },
            Tk::Live { attempt, .. } => {
                let rec = rec.expect("somebody waits");
                if rec.work.is_some_and(|question| question.attempt == attempt) {
                    return Ticket { incarnation, attempt: work };
                }
                let pending = rt.and_then(Runtime::pending).expect("pending");
                let PendingState::Asked { attempt, .. } = pending.state else {
                    panic!("a question to Runtime Manager")
                };
                Ticket { incarnation, attempt }
            }
        }
    }
}

/// Goes through a world, and returns the records met.
fn walk(config: Config, seed: u64, steps: usize) -> BTreeSet<Rec> {
    let system = System::right(config).expect("the constants are valid");
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut s = system.init_states()[0];
    let mut real = Real::beside(&system, &s);
    let mut met = BTreeSet::new();
    for _ in 0..steps {
        let mut next = system.next_steps(&s);
        next.retain(|(action, _)| {
            let fate = model::act::fate_of(*action);
            !matches!(fate, Some(Fate::DoneUnanswered | Fate::NotDone))
        });
        if next.is_empty() {
            break;
        }
        let (action, after) = next[dice.roll(next.len())];
        if action == Action::HourPasses {
            real.now += TimeDelta::hours(1);
        }
        if let Some((gm, ev)) = system.event_of(&s, action) {
            real.happens(&system, &s, gm, ev);
        }
        let catalog = system.catalog().in_the_hour_of(real.now);
        let folded = real.rt.as_ref().map(|rt| catalog.fold(rt, real.now));
        let folded = system.canonical(&after, folded);
        assert_eq!(folded, after.record, "{} seed {seed}: {action}", config.name);
        s = after;
        met.extend(s.record);
    }
    met
}

#[test]
fn a_real_record_goes_the_same_way() {
    // Without health reports: their debounce windows end when the model pleases.
    let worlds = [configs::turns(), configs::admin(), configs::rebirth(), configs::lies()];
    let walks = worlds.into_iter().flat_map(|world| (1..=300).map(move |seed| (world, seed)));
    let met: BTreeSet<Rec> = walks.flat_map(|(world, seed)| walk(world, seed, 120)).collect();
    assert!(met.len() > 300, "only {} records", met.len());
}

#[test]
fn folding_again_changes_nothing() {
    let system = System::right(configs::turns()).expect("the constants are valid");
    for world in configs::small() {
        if world.racing || world.health {
            continue;
        }
        for seed in 1..100 {
            for rec in walk(world, seed, 80) {
                assert_eq!(system.fold_again(&rec), rec);
            }
        }
    }
}
