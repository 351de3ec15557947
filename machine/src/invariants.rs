//! What must hold of a record, and of each commit. One place: the stores call it before they write,
//! the simulation and the model in every state they reach.

use crate::record::{Life, Pending, PendingKind, PendingState, Runtime, Status, Trigger, Work};
use crate::schedule::FAR_FUTURE;

/// A rule that is broken: a bug, never bad input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {problem}")]
pub struct Violation {
    /// The name of the rule.
    pub rule: &'static str,
    /// How it is broken.
    pub problem: &'static str,
}

fn hold(rule: &'static str, holds: bool, problem: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, problem }) }
}

impl Runtime {
    /// What must hold of every record, besides what the types make impossible to break.
    pub fn check(&self) -> Result<(), Violation> {
        hold("revision_grows_by_one", self.revision > 0, "a record has revision 0")?;
        let drawn = |n: u64| (1..=self.attempt).contains(&n);
        hold(
            "fenced_reply_changes_nothing",
            self.work().is_none_or(|Work { attempt, .. }| drawn(*attempt)),
            "the work's attempt was never drawn",
        )?;
        let draining = match self.pending() {
            Some(Pending { state: PendingState::Asked { attempt, .. }, .. }) => {
                hold(
                    "fenced_reply_changes_nothing",
                    drawn(*attempt) && self.work().is_none_or(|w| w.attempt != *attempt),
                    "the pending operation's attempt was never drawn, or is the work's",
                )?;
                false
            }
            Some(Pending { state: PendingState::Draining { .. }, .. }) => true,
            None => false,
        };
        hold(
            "only_listed_transitions",
            !draining || self.pending().is_some_and(|p| matches!(p.what, PendingKind::Stop { .. })),
            "something else than a stop drains",
        )?;
        hold(
            "never_stuck",
            !draining || matches!(self.life, Life::Generating { .. }),
            "a stop drains with no turn to wait for",
        )?;
        let begun = self.started_at.is_some();
        hold(
            "only_listed_transitions",
            begun || matches!(self.life, Life::Starting { .. } | Life::Stopped { .. }),
            "a game runs that was never started",
        )?;
        hold(
            "only_listed_transitions",
            !begun || !matches!(self.life, Life::Starting { .. }),
            "a game is starting that was started",
        )?;
        let known = |s: &crate::record::PlayerStats| self.roster.race_of(&s.user_id).is_some();
        hold(
            "every_reference_resolves",
            self.player_turn_stats.iter().all(known),
            "the standing names a user who does not play",
        )?;
        hold(
            "never_stuck",
            self.status().is_final()
                || matches!(self.life, Life::Failed { .. })
                || self.next_timer().is_some(),
            "nothing will ever wake this record",
        )
    }
}

/// What must hold between a record and the next committed one (`None`: absent).
pub fn check_commit(before: Option<&Runtime>, after: Option<&Runtime>) -> Result<(), Violation> {
    if let Some(after) = after {
        after.check()?;
    }
    let from = before.map(Runtime::status);
    let to = after.map(Runtime::status);
    hold(
        "only_listed_transitions",
        is_listed(from, to),
        "this change of status is not in the table",
    )?;
    let (Some(before), Some(after)) = (before, after) else {
        let fresh = after.is_none_or(|a| a.revision == 1 && a.current_turn == 0);
        return hold("revision_grows_by_one", fresh, "a new record is not at revision 1, turn 0");
    };
    let same_life = before.game_id == after.game_id
        && before.incarnation == after.incarnation
        && before.created_at == after.created_at
        && before.schedule == after.schedule;
    hold("revision_grows_by_one", same_life, "another game's record took this one's place")?;
    hold(
        "revision_grows_by_one",
        Some(after.revision) == before.revision.checked_add(1),
        "the revision does not grow by one",
    )?;
    let turns = after.current_turn.checked_sub(before.current_turn);
    hold("no_turn_twice", matches!(turns, Some(0 | 1)), "the turn does not grow by 0 or 1")?;
    hold(
        "fenced_reply_changes_nothing",
        after.attempt >= before.attempt,
        "an attempt number is handed out again",
    )?;
    let begins = !matches!(before.life, Life::Generating { .. })
        && matches!(after.life, Life::Generating { .. });
    hold(
        "no_tick_while_pending",
        !begins || before.pending().is_none(),
        "a turn begins while Runtime Manager has the game",
    )?;
    hold(
        "no_instant_twice",
        turns == Some(0) || !is_over_due(before, after),
        "the clock stays at an instant that had its turn",
    )?;
    let work = |rt: &Runtime| rt.work().map(|work| work.attempt);
    let asked = |rt: &Runtime| {
        rt.pending().and_then(|pending| match pending.state {
            PendingState::Asked { attempt, .. } => Some(attempt),
            PendingState::Draining { .. } => None,
        })
    };
    let is_new = |was: Option<u64>, is: Option<u64>| {
        is.is_none() || is == was || is.is_some_and(|attempt| attempt > before.attempt)
    };
    hold(
        "fenced_reply_changes_nothing",
        is_new(work(before), work(after)) && is_new(asked(before), asked(after)),
        "a question is asked under a number that was used before",
    )?;
    hold(
        "stopped_is_final",
        from != Some(Status::Stopped)
            || (before.life == after.life && before.current_turn == after.current_turn),
        "a stopped record changes in more than its health",
    )?;
    hold(
        "health_events_once_in_order",
        after.health.cursor >= before.health.cursor,
        "the health cursor goes back",
    )?;
    hold("finished_is_final", from != Some(Status::Finished), "a finished record changes")
}

/// Whether the next regular turn of a record whose turn has just grown is for an instant that is over: one
/// that this turn was for, or stood in for, or that has passed meanwhile.
fn is_over_due(before: &Runtime, after: &Runtime) -> bool {
    let Some(next) = after.clock().map(|clock| clock.next_generation_at) else { return false };
    let due_at = before.trigger().and_then(Trigger::due_at);
    let replaced = before.clock().and_then(|clock| clock.skip);
    // Behind the last occurrence there is nothing to go on to.
    next < FAR_FUTURE
        && [due_at, replaced, Some(after.updated_at)].into_iter().flatten().any(|over| next <= over)
}

/// The changes of status that the transition table knows; `None` is an absent record.
pub fn is_listed(from: Option<Status>, to: Option<Status>) -> bool {
    use Status::{
        EngineUnreachable, Finished, GenerationFailed, GenerationInProgress, Running, Starting,
        Stopped,
    };
    match (from, to) {
        (None, to) => to == Some(Starting),
        (Some(from), None) => from == Starting,
        (Some(from), Some(to)) => {
            let others: &[Status] = match from {
                Starting => &[Running, Stopped],
                Running => &[GenerationInProgress, EngineUnreachable, Stopped],
                GenerationInProgress => {
                    &[Running, GenerationFailed, EngineUnreachable, Stopped, Finished]
                }
                GenerationFailed => {
                    &[Running, GenerationInProgress, EngineUnreachable, Stopped, Finished]
                }
                EngineUnreachable => &[Running, GenerationFailed, Stopped, Finished],
                Stopped | Finished => &[],
            };
            from == to || others.contains(&to)
        }
    }
}
