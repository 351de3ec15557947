//! Whatever happened, the log explains it: each occurrence once, as those who watched saw it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use machine::explain::{LogLine, MAX_TICKS, TickOutcome, explain};
use machine::{OperationKind, Policy, Runtime, Timestamp};

use crate::ledger::Ledger;

/// Holds an explanation against the log it was made of and against what the ledger saw.
pub(crate) fn explained(
    rt: &Runtime,
    log: &[LogLine],
    seen: &Ledger,
    now: Timestamp,
    policy: &Policy,
) {
    let explained = explain(rt, log, now, policy);
    assert!(!explained.why.is_empty(), "there is always a reason");
    let ticks = &explained.last_ticks;
    assert!(ticks.len() <= MAX_TICKS);
    assert!(ticks.windows(2).all(|pair| pair[0].due_at > pair[1].due_at), "newest first, once");
    let just_before = |due: Timestamp| due - TimeDelta::milliseconds(1);
    for tick in ticks {
        assert!(tick.due_at <= now, "the future is not explained: {tick:?}");
        assert_eq!(rt.schedule.next(just_before(tick.due_at)), tick.due_at, "no occurrence");
        assert!(!tick.detail.is_empty());
    }
    let outcomes: BTreeMap<_, _> = ticks.iter().map(|tick| (tick.due_at, tick.outcome)).collect();
    let oldest = outcomes.keys().next().copied().unwrap_or(now);
    let own = log.iter().take_while(|line| line.started_at >= rt.created_at);
    let begins = own.clone().position(|line| line.kind == OperationKind::Register);
    for line in own.take(begins.unwrap_or(usize::MAX)) {
        // By a clock that was set back it may not be due yet.
        let is_told = |due: &Timestamp| (oldest..=now).contains(due);
        let due = line.tick.filter(|due| line.kind == OperationKind::Tick && is_told(due));
        let Some(due) = due else { continue };
        let outcome = outcomes.get(&due);
        let told = matches!(outcome, Some(TickOutcome::Fired | TickOutcome::Failed));
        assert!(told, "a turn was begun for {due}, and it is said to be {outcome:?}");
    }
    for due in seen.replaced.iter().filter(|due| **due >= oldest) {
        if let Some(outcome) = outcomes.get(due) {
            assert_eq!(*outcome, TickOutcome::Forced, "{due} was left out for a forced turn");
        }
    }
    let next = &explained.next;
    assert!(next.len() <= 20 && next.iter().all(|step| !step.what.is_empty()));
    let (timed, rest): (Vec<_>, Vec<_>) = next.iter().partition(|step| step.at.is_some());
    assert!(next.iter().map(|step| step.at.is_none()).is_sorted(), "by itself, then by somebody");
    assert!(timed.iter().map(|step| step.at).is_sorted(), "the soonest first");
    assert_eq!(timed.first().and_then(|step| step.at), rt.next_timer().map(|(at, _)| at));
    assert!(!rt.status().is_final() || rest.is_empty(), "nobody can do anything any more");
}
