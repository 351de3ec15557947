//! What became of each occurrence of the schedule.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::history::History;
use super::words::{failure, human, stamp, turn};
use super::{ExplainedTick, LogLine, MAX_TICKS, TickOutcome};
use crate::audit::{OperationKind, Outcome};
use crate::record::{Life, Runtime, Status, Trigger};
use crate::time::Timestamp;

/// A turn that begins within this time of its instant is on time: so long may a busy machine take.
pub(super) const ON_TIME_WITHIN: TimeDelta = TimeDelta::seconds(5);

/// All that is needed to tell.
pub(super) struct Ledger<'a> {
    rt: &'a Runtime,
    history: &'a History<'a>,
    now: Timestamp,
    replaced: BTreeMap<Timestamp, Replaced<'a>>,
}

/// How an occurrence was replaced by a forced turn.
#[derive(Clone, Copy)]
pub(super) struct Replaced<'a> {
    /// The forced turn; `None`: it is older than the log at hand.
    pub(super) force: Option<&'a LogLine>,
    /// The regular turn that stood in for it when it had failed.
    pub(super) stand_in: Option<Timestamp>,
}

impl<'a> Ledger<'a> {
    pub(super) fn of(rt: &'a Runtime, history: &'a History<'a>, now: Timestamp) -> Self {
        Self { rt, history, now, replaced: replaced(rt, history) }
    }

    /// The forced turn that an occurrence was left out for.
    pub(super) fn replaced(&self, due: Timestamp) -> Option<Replaced<'a>> {
        self.replaced.get(&due).copied()
    }

    /// The newest first.
    pub(super) fn newest(&self) -> Vec<ExplainedTick> {
        let mut occurrences = self.searched();
        occurrences.extend(self.history.turns().filter_map(|(_, line)| self.answered(line)));
        occurrences.into_iter().rev().filter_map(|due| self.fate(due)).take(MAX_TICKS).collect()
    }

    /// The latest occurrences that the log can tell of.
    fn searched(&self) -> BTreeSet<Timestamp> {
        let (Some(start), Some(oldest)) = (self.rt.started_at, self.history.lines.first()) else {
            return BTreeSet::new();
        };
        let told = if self.history.whole { start } else { oldest.started_at };
        let after_end = self.end().checked_add_signed(TimeDelta::milliseconds(1));
        let before = after_end.unwrap_or(self.now);
        let last = self.rt.schedule.previous(before);
        std::iter::successors(last, |due| self.rt.schedule.previous(*due))
            .take(MAX_TICKS)
            .take_while(|due| *due > start && *due >= told)
            .collect()
    }

    /// When the turn clock stopped, or the present.
    fn end(&self) -> Timestamp {
        match self.rt.life {
            Life::Stopped { at } | Life::Finished { at } => at.min(self.now),
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Generating { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. } => self.now,
        }
    }

    /// The occurrence that a regular turn answered to, be it from before the oldest line.
    fn answered(&self, line: &LogLine) -> Option<Timestamp> {
        let due = line.tick.filter(|_| line.kind == OperationKind::Tick)?;
        (due <= self.end() && self.rt.started_at.is_some_and(|start| due > start)).then_some(due)
    }

    /// What became of an occurrence; `None`: that is open, or the log at hand cannot tell.
    fn fate(&self, due_at: Timestamp) -> Option<ExplainedTick> {
        let tells = |outcome, turn, detail| ExplainedTick { due_at, outcome, turn, detail };
        let answers =
            |line: &LogLine| line.kind == OperationKind::Tick && line.tick == Some(due_at);
        let begun: Vec<_> = self.history.turns().filter(|(_, line)| answers(line)).collect();
        if let Some((index, line)) = begun.last() {
            return Some(match self.how_it_failed(*index, line) {
                Some(how) => tells(TickOutcome::Failed, line.turn, how),
                None => {
                    let before = begun.iter().rev().nth(1).map(|(_, line)| *line);
                    tells(TickOutcome::Fired, line.turn, self.how_it_went(due_at, line, before))
                }
            });
        }
        if let Life::Generating { trigger: Trigger::Tick { due_at: under_way }, .. } = self.rt.life
            && under_way == due_at
        {
            let number = self.rt.current_turn.checked_add(1);
            return Some(tells(TickOutcome::Fired, number, "being generated".to_owned()));
        }
        if let Some(replaced) = self.replaced(due_at) {
            let number = replaced.force.and_then(|line| line.turn);
            return Some(tells(TickOutcome::Forced, number, self.how_it_was_replaced(replaced)));
        }
        if let Some(obstacle) = self.history.obstacle(due_at) {
            return Some(tells(TickOutcome::Held, None, obstacle));
        }
        self.how_it_was_missed(due_at).map(|how| tells(TickOutcome::Missed, None, how))
    }

    /// A regular turn that was generated or is being generated, and how late.
    fn how_it_went(&self, due: Timestamp, line: &LogLine, before: Option<&LogLine>) -> String {
        let late = line.started_at - due;
        let failed = before.and_then(|line| Some((line.ended_at()?, line.failure()?)));
        let reason = match failed {
            Some((at, why)) => {
                Some(format!("it had failed at {} with {}", stamp(at), failure(why)))
            }
            None => (late > ON_TIME_WITHIN).then(|| {
                let obstacle = self.history.obstacle(due);
                obstacle.unwrap_or_else(|| "Game Master was not there when it was due".to_owned())
            }),
        };
        let why = reason.map(|reason| (human(late), reason));
        let how = self.how_it_ended(line);
        match (line.ended_at(), why) {
            (Some(_), None) => how,
            (Some(end), Some((late, why))) if self.was_generated(line) => {
                format!("generated {late} late, in {}: {why}", human(end - line.started_at))
            }
            (Some(_), Some((late, why))) => format!("{how}; begun {late} late: {why}"),
            (None, None) => how,
            (None, Some((late, why))) => format!("{how}, {late} late: {why}"),
        }
    }

    fn was_generated(&self, line: &LogLine) -> bool {
        line.succeeded() && line.turn.is_some_and(|turn| turn <= self.rt.current_turn)
    }

    /// A turn that did not fail, or at least how it did.
    fn how_it_ended(&self, line: &LogLine) -> String {
        match (&line.outcome, line.ended_at()) {
            (Some(Outcome::Succeeded), Some(end)) if self.was_generated(line) => {
                let took = human(end - line.started_at);
                let again = if self.asked_again(line, end) {
                    ", the engine having been asked again"
                } else {
                    ""
                };
                format!("generated in {took}{again}")
            }
            (Some(Outcome::Succeeded), _) => "the game was found to be over".to_owned(),
            (Some(Outcome::Failed(why)), _) => failure(why),
            (Some(Outcome::Superseded), _) => "another operation took its place".to_owned(),
            (None, _) => match self.rt.life {
                Life::Generating { .. } => {
                    format!("being generated, begun at {}", stamp(line.started_at))
                }
                // The log was read a moment before the record.
                Life::Starting { .. }
                | Life::Running { .. }
                | Life::Failed { .. }
                | Life::Unreachable { .. }
                | Life::Stopped { .. }
                | Life::Finished { .. } => format!("begun at {}", stamp(line.started_at)),
            },
        }
    }

    /// Whether an abandoned question had to be asked anew. With a stop or patch under way too, it
    /// may be that one which was.
    fn asked_again(&self, line: &LogLine, end: Timestamp) -> bool {
        let within =
            |other: &LogLine| other.started_at >= line.started_at && other.started_at <= end;
        let overlaps = |other: &LogLine| {
            other.started_at <= end && other.ended_at().is_none_or(|over| over >= line.started_at)
        };
        // A forced turn that had failed before begins with a look at the engine.
        let failed_before = self.history.status_at(line.started_at);
        let looks_first =
            failed_before.is_some_and(|(status, _)| status == Status::GenerationFailed);
        let usual = usize::from(looks_first);
        let lines = self.history.lines.iter();
        !lines.clone().any(|other| other.is_pending() && overlaps(other))
            && lines.filter(|l| l.kind == OperationKind::Recovery && within(l)).count() > usual
    }

    /// A turn that failed, and what became of it afterwards.
    fn how_it_failed(&self, index: usize, line: &LogLine) -> Option<String> {
        match &line.outcome {
            Some(Outcome::Failed(_) | Outcome::Superseded) => {
                let how = self.how_it_ended(line);
                let afterwards = self.afterwards(index, line);
                Some(afterwards.map_or(how.clone(), |after| format!("{how}; {after}")))
            }
            Some(Outcome::Succeeded) | None => None,
        }
    }

    fn afterwards(&self, index: usize, line: &LogLine) -> Option<String> {
        let number = line.turn?;
        let later = || self.history.turns().filter(|(at, _)| *at > index);
        let who = |line: &LogLine| match line.kind {
            OperationKind::Force => format!("the turn forced at {}", stamp(line.started_at)),
            OperationKind::Tick
            | OperationKind::Register
            | OperationKind::Stop
            | OperationKind::Patch
            | OperationKind::Reconcile
            | OperationKind::Banish
            | OperationKind::Retry
            | OperationKind::Recovery
            | OperationKind::Health
            | OperationKind::HealthPublish => {
                format!("the one due at {}", stamp(line.tick.unwrap_or(line.started_at)))
            }
        };
        let same = |line: &LogLine| line.turn == Some(number);
        if let Some((_, other)) = later().find(|(_, l)| same(l) && self.was_generated(l)) {
            return Some(format!("turn {number} was generated by {}", who(other)));
        }
        if let Some((_, other)) = later().find(|(_, l)| same(l) && l.outcome.is_none()) {
            return Some(format!("turn {number} is asked for again by {}", who(other)));
        }
        if number > self.rt.current_turn {
            return None;
        }
        let next_turn = later().find(|(_, line)| line.turn.is_some_and(|turn| turn > number));
        let until = next_turn.map_or(self.history.lines.len(), |(at, _)| at);
        let looks = self.history.lines.iter().take(until).skip(index).rev();
        let look = looks.into_iter().find(|line| line.is_look() && line.succeeded());
        let at = look.and_then(|line| line.ended_at());
        let when = at.map_or(String::new(), |at| format!(" at {}", stamp(at)));
        Some(format!("turn {number} was found{when} to have been generated all the same"))
    }

    fn how_it_was_replaced(&self, replaced: Replaced<'_>) -> String {
        let Replaced { force, stand_in } = replaced;
        let Some(line) = force else {
            return "a turn forced before the log at hand begins took its place".to_owned();
        };
        let forced = stamp(line.started_at);
        if let Some(due) = stand_in {
            return format!(
                "the turn forced at {forced} failed and the one due at {} stood in for it, \
                 so that this one was left out",
                stamp(due)
            );
        }
        let index = self.history.lines.iter().position(|other| std::ptr::eq(*other, line));
        let how = match index.and_then(|index| self.how_it_failed(index, line)) {
            Some(how) => format!("failed with {how}"),
            None => self.how_it_ended(line),
        };
        format!("the turn forced at {forced} took its place: {how}")
    }

    /// Nothing stood in its way, and no turn was begun for it.
    fn how_it_was_missed(&self, due: Timestamp) -> Option<String> {
        let not_there = "Game Master was not there";
        let behind = |tick: Option<Timestamp>| tick.filter(|tick| *tick <= due);
        if let Some((_, next)) = self.history.turns().find(|(_, line)| line.started_at >= due) {
            let (when, number) = (stamp(next.started_at), turn(next.turn));
            return match (behind(next.tick), next.kind == OperationKind::Force) {
                (Some(tick), false) => Some(format!(
                    "{not_there}; one turn was caught up: {number}, due at {}, at {when}",
                    stamp(tick)
                )),
                (Some(tick), true) => Some(format!(
                    "{not_there}; {number}, forced at {when}, took the place of the one due at {}",
                    stamp(tick)
                )),
                // Replaced, or passed while a turn was being generated, before the log at hand.
                (None, _) => self.history.whole.then(|| not_there.to_owned()),
            };
        }
        match behind(self.rt.clock().map(|clock| clock.next_generation_at)) {
            // About to begin, and no time has been lost.
            Some(clock) if self.now - clock <= ON_TIME_WITHIN => None,
            Some(clock) if clock == due => Some("due, and not begun yet".to_owned()),
            Some(clock) => {
                Some(format!("the turn due at {} is not begun yet, and one will do", stamp(clock)))
            }
            // The record is younger than the log and knows better.
            None if self.history.until() < Some(self.rt.updated_at) => None,
            None => self.history.whole.then(|| not_there.to_owned()),
        }
    }
}

/// The occurrences that forced turns replaced: each names one, which stays owed until a turn is
/// complete. A regular turn that comes first stands in for the forced one that failed, and the
/// occurrence after it is owed instead (see `running` in [`mod@crate::step`]).
fn replaced<'a>(rt: &Runtime, history: &History<'a>) -> BTreeMap<Timestamp, Replaced<'a>> {
    let mut all = BTreeMap::new();
    let mut owed: Option<(Timestamp, Replaced<'a>)> = None;
    let mut last_turn = None;
    for (_, line) in history.turns() {
        if line.turn > last_turn {
            // The turn before was found to be generated.
            all.extend(owed.take());
        }
        last_turn = line.turn;
        owed = match (line.kind, owed.take()) {
            (OperationKind::Force, _) => {
                line.tick.map(|due| (due, Replaced { force: Some(line), stand_in: None }))
            }
            (_, Some((_, Replaced { force, stand_in: _ }))) => {
                let from = line.tick.map_or(line.started_at, |due| due.max(line.started_at));
                Some((rt.schedule.next(from), Replaced { force, stand_in: line.tick }))
            }
            (_, None) => None,
        };
        if line.succeeded() {
            all.extend(owed.take());
        }
    }
    all.extend(owed);
    if let Some(due) = rt.clock().and_then(|clock| clock.skip) {
        all.entry(due).or_insert(Replaced { force: None, stand_in: None });
    }
    all
}
