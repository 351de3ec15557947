//! Quiescence: from every reachable state, once nothing goes wrong any more, everything comes to its
//! end.
//!
//! Checked by playing it: from each state the world goes on without faults and without requests, in
//! one fair order (processes come back, commits are answered, calls and replies arrive, timers
//! strike, the relay relays), and must come to rest where nothing is left undone, within
//! [`MAX_STEPS`]. A state from which another state was reached that is known to come to rest comes
//! to rest too, so that most states cost one step.

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use machine::Timer;

use crate::action::Action;
use crate::mix::Mix;
use crate::record::{NEVER, Phase};
use crate::state::{Budget, State};
use crate::system::System;

/// More than any of the worlds needs.
const MAX_STEPS: usize = 200;
/// How many states are remembered before forgetting begins: 16 bytes each.
const MAX_REMEMBERED: usize = 8_000_000;

#[expect(clippy::disallowed_types, reason = "asked by key alone, never walked through")]
type Memory = std::collections::HashSet<u64, BuildHasherDefault<Mix>>;

thread_local! {
    static RESOLVES: RefCell<(u64, Memory)> = RefCell::default();
}

/// Whether everything comes to its end from here.
pub fn everything(system: &System, s: &State) -> bool {
    let mut now = State { left: Budget::default(), ..*s };
    RESOLVES.with_borrow_mut(|(id, memory)| {
        if *id != system.decider.id || memory.len() > MAX_REMEMBERED {
            *id = system.decider.id;
            memory.clear();
        }
        let mut way = vec![];
        let mut actions = vec![];
        for _ in 0..MAX_STEPS {
            let mark = mark(&now);
            if memory.contains(&mark) {
                memory.extend(way);
                return true;
            }
            way.push(mark);
            actions.clear();
            system.possible(&now, &mut actions);
            // A commit without a process may never arrive; nothing waits for it.
            actions.retain(|action| *action != Action::LateCommitArrives);
            actions.sort_by_key(urgency);
            if is_at_rest(&now) {
                memory.extend(way);
                return true;
            }
            let next = actions.iter().find_map(|action| system.after(&now, *action));
            match next {
                Some(next) => now = next,
                None => return false,
            }
        }
        false
    })
}

fn mark(s: &State) -> u64 {
    let mut mix = Mix::default();
    s.hash(&mut mix);
    mix.finish()
}

/// What comes first where nothing goes wrong: what is under way before what time brings.
fn urgency(action: &Action) -> u8 {
    match action {
        Action::Restart(_) | Action::EngineUp => 0,
        Action::Commit(..) | Action::Repeat(_) => 1,
        Action::Arrive(..) => 2,
        Action::Hear { .. } => 3,
        Action::Append(_) | Action::Mark | Action::CheckTail => 4,
        Action::TakeUp(..) | Action::HearHealth(..) | Action::SaveOffset => 5,
        // An engine that is gone for good is asked without end: what ends comes first.
        Action::Strike(_, Timer::Retry, _) => 7,
        Action::Strike(
            _,
            Timer::Tick | Timer::WorkLease | Timer::PendingLease | Timer::Summary,
            _,
        ) => 6,
        Action::WindowEnds => 8,
        Action::HourPasses => 9,
        // Faults and requests: their bounds are nought here.
        Action::Ask(..)
        | Action::FirstTryArrives(_)
        | Action::LateCommitArrives
        | Action::GiveUp(_)
        | Action::LoseReply(_)
        | Action::Crash(_)
        | Action::EngineDown
        | Action::ReplayHealth
        | Action::LoseTail(_) => 10,
    }
}

/// Nothing is left undone.
pub fn is_at_rest(s: &State) -> bool {
    let idle = s.gms.iter().all(|gm| gm.task.is_none() && gm.todo[0].is_none());
    let quiet = s.calls.is_empty() && s.replies.is_empty();
    let reported = s.health.reports.get(usize::from(s.health.read)).copied().flatten().is_none();
    let published = s.outbox.is_settled();
    let record = s.record.is_none_or(|rec| {
        let told = !rec.begun
            || matches!(rec.phase, Phase::Stopped | Phase::Finished)
            || rec.health.published == Some(rec.health.summary);
        let rests = match rec.phase {
            Phase::Starting { .. } | Phase::Generating { .. } => false,
            Phase::Running => !rec.is_pending() && rec.next > 0 && rec.next < NEVER,
            // Waits for an administrator.
            Phase::Failed => !rec.is_pending() && rec.work.is_none() && !rec.retry,
            // Nothing brings back an engine that was taken down for good.
            Phase::Unreachable => !rec.is_pending() && s.engine.gone,
            Phase::Stopped | Phase::Finished => true,
        };
        told && rests
    });
    idle && quiet && reported && published && record
}
