//! What comes next: by itself, and when somebody acts.

use super::ExplainedStep;
use super::words::{self, stamp};
use crate::policy::Policy;
use crate::record::{Life, Pending, PendingKind, PendingState, Runtime, TurnStage};
use crate::schedule::HORIZON;
use crate::time::Timestamp;
use crate::timers::Timer;

/// The turn that comes next.
pub(super) fn turn(rt: &Runtime) -> String {
    words::turn(rt.current_turn.checked_add(1))
}

/// Which try the next unbidden question is: `try 2 of 8`.
pub(super) fn try_of(rt: &Runtime, policy: &Policy) -> String {
    format!("try {} of {}", rt.tries.saturating_add(1), policy.max_tries)
}

/// The soonest first; then what waits for somebody.
pub(super) fn steps(rt: &Runtime, now: Timestamp, policy: &Policy) -> Vec<ExplainedStep> {
    let mut timers: Vec<_> = rt.timers().filter(|(at, _)| *at < HORIZON).collect();
    timers.sort();
    let by_itself = timers.into_iter().filter_map(|(at, timer)| {
        Some(ExplainedStep { what: strikes(rt, timer, policy)?, at: Some(at) })
    });
    let by_somebody = waits(rt, now).into_iter().map(|what| ExplainedStep { what, at: None });
    by_itself.chain(by_somebody).collect()
}

/// What a timer does when it strikes.
fn strikes(rt: &Runtime, timer: Timer, policy: &Policy) -> Option<String> {
    let turn = turn(rt);
    match timer {
        Timer::Tick => Some(format!("begins {turn}")),
        Timer::WorkLease => lease_ends(rt, policy),
        Timer::PendingLease => rt.pending().map(|pending| asks_for(pending, &turn)),
        Timer::Retry => Some(match rt.life {
            Life::Failed { .. } => {
                format!("asks the engine where it stands ({})", try_of(rt, policy))
            }
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Generating { .. }
            | Life::Unreachable { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => {
                let tried = rt.tries.saturating_add(1);
                format!("asks the engine where it stands (try {tried}, without end)")
            }
        }),
        Timer::Summary => {
            let health = rt.health.summary.as_str();
            Some(format!("publishes that the engine's health is {health}"))
        }
    }
}

/// The question to the engine was not answered.
fn lease_ends(rt: &Runtime, policy: &Policy) -> Option<String> {
    let turn = turn(rt);
    let unless = "unless the engine answers before";
    match &rt.life {
        Life::Starting { .. } => Some(format!("rolls the registration back, {unless}")),
        Life::Generating { stage: TurnStage::Turn, .. } => Some(format!(
            "gives the request for {turn} up and asks the engine whether it has the turn, {unless}"
        )),
        Life::Generating {
            stage: TurnStage::ProbeThenTurn | TurnStage::ProbeAfterFence, ..
        } => Some(format!("asks the engine again whether it has {turn}, {unless}")),
        Life::Failed { .. } if rt.tries >= policy.max_tries => {
            Some(format!("stops asking and waits for an operator, {unless}"))
        }
        Life::Failed { .. } => Some(format!(
            "asks the engine again where it stands ({}), {unless}",
            try_of(rt, policy)
        )),
        Life::Unreachable { .. } => {
            let tried = rt.tries.saturating_add(1);
            Some(format!("asks the engine again where it stands (try {tried}), {unless}"))
        }
        Life::Running { .. } | Life::Stopped { .. } | Life::Finished { .. } => None,
    }
}

fn asks_for(pending: &Pending, turn: &str) -> String {
    let what = words::pending(pending);
    match pending.state {
        PendingState::Draining { .. } => {
            format!("asks Runtime Manager for {what}, though {turn} is not complete")
        }
        PendingState::Asked { .. } => {
            format!("asks Runtime Manager again for {what}, unless it answers before")
        }
    }
}

fn waits(rt: &Runtime, now: Timestamp) -> Vec<String> {
    if let Some(pending) = rt.pending() {
        return once_done(rt, pending, now).into_iter().collect();
    }
    let turn = turn(rt);
    match &rt.life {
        Life::Running { .. } => vec![format!("an operator may force {turn} at any time")],
        Life::Failed { .. } => vec![
            format!("an operator may force {turn} or reconcile at any time"),
            "an operator may patch the engine, which replaces its container".to_owned(),
        ],
        Life::Unreachable { .. } => vec![
            "an operator may reconcile at any time".to_owned(),
            "an operator may patch the engine, which replaces its container".to_owned(),
        ],
        Life::Starting { .. }
        | Life::Generating { .. }
        | Life::Stopped { .. }
        | Life::Finished { .. } => vec![],
    }
}

/// What waits for Runtime Manager.
fn once_done(rt: &Runtime, pending: &Pending, now: Timestamp) -> Option<String> {
    if let PendingKind::Stop { .. } = pending.what {
        return Some("the game ends once Runtime Manager has stopped the engine".to_owned());
    }
    match &rt.life {
        Life::Running { clock, .. } if clock.next_generation_at >= HORIZON => None,
        Life::Running { clock, .. } => {
            let (turn, due) = (turn(rt), clock.next_generation_at);
            let (is, due) = (if due <= now { "was" } else { "is" }, stamp(due));
            Some(format!("begins {turn} once the patch is done; it {is} due at {due}"))
        }
        Life::Unreachable { .. } => {
            Some("asks the engine where it stands once the patch is done".to_owned())
        }
        Life::Failed { repair, .. } => repair
            .retry_at
            .map(|_| "asks the engine where it stands once the patch is done".to_owned()),
        Life::Starting { .. }
        | Life::Generating { .. }
        | Life::Stopped { .. }
        | Life::Finished { .. } => None,
    }
}
