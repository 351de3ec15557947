//! The log, read as a history: which turns were begun, and which status the game was in when.

use super::words::{stamp, turn};
use super::{LogLine, MAX_LINES};
use crate::audit::{OperationKind, Outcome};
use crate::failure::Failure;
use crate::record::{Runtime, Status};
use crate::time::Timestamp;

pub(super) struct History<'a> {
    /// The lines of this life of the game, the oldest first.
    pub(super) lines: Vec<&'a LogLine>,
    /// Whether they go back to the registration.
    pub(super) whole: bool,
    /// The status from each of these instants on.
    statuses: Vec<(Timestamp, Status)>,
}

impl LogLine {
    pub(super) fn is_turn(&self) -> bool {
        matches!(self.kind, OperationKind::Tick | OperationKind::Force)
    }

    /// Whether it occupies Runtime Manager, so that no turn begins.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.kind, OperationKind::Stop | OperationKind::Patch)
    }

    /// Whether it is a look at an unwell engine.
    pub(super) fn is_look(&self) -> bool {
        matches!(self.kind, OperationKind::Retry | OperationKind::Reconcile)
    }

    pub(super) fn succeeded(&self) -> bool {
        self.outcome == Some(Outcome::Succeeded)
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Some(Outcome::Failed(failure)) => Some(failure),
            Some(Outcome::Succeeded | Outcome::Superseded) | None => None,
        }
    }

    /// Whether it was under way at an instant, its ends included.
    fn covers(&self, at: Timestamp) -> bool {
        self.started_at <= at && self.ended_at().is_none_or(|end| at <= end)
    }

    /// When it ended; `None`: it is under way.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        self.outcome.as_ref().and(self.finished_at.or(Some(self.started_at)))
    }
}

impl<'a> History<'a> {
    /// The log of a game outlives its record: lines of an earlier life are passed over.
    pub(super) fn of(rt: &Runtime, log: &'a [LogLine]) -> Self {
        let mut lines = vec![];
        let mut whole = false;
        let own = log.iter().take_while(|line| line.started_at >= rt.created_at);
        for line in own.take(MAX_LINES) {
            lines.push(line);
            whole = line.kind == OperationKind::Register;
            if whole {
                break;
            }
        }
        lines.reverse();
        let mut statuses: Vec<_> = lines.iter().flat_map(|line| changes(line)).collect();
        statuses.sort_by_key(|(at, _)| *at);
        Self { lines, whole, statuses }
    }

    /// The turns begun, in order.
    pub(super) fn turns(&self) -> impl DoubleEndedIterator<Item = (usize, &'a LogLine)> {
        self.lines.iter().copied().enumerate().filter(|(_, line)| line.is_turn())
    }

    /// The stop or patch under way at the end of the log.
    pub(super) fn pending(&self) -> Option<&'a LogLine> {
        let mut newest = self.lines.iter().rev().copied();
        newest.find(|line| line.is_pending() && line.outcome.is_none())
    }

    /// The instant of the last line's last commit.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let instants = self.lines.iter().flat_map(|line| [Some(line.started_at), line.ended_at()]);
        instants.flatten().max()
    }

    /// Since when the game has the status it has at the end of the log, as far as the log tells.
    pub(super) fn since(&self, status: Status) -> Option<Timestamp> {
        let (_, last) = self.statuses.last()?;
        (*last == status).then(|| self.span_start(self.statuses.len())).flatten()
    }

    /// Since when turn follows upon turn: the game was running or had a turn generated.
    pub(super) fn running_since(&self) -> Option<Timestamp> {
        let plays =
            |status: Status| matches!(status, Status::Running | Status::GenerationInProgress);
        let span = self.statuses.iter().rev().take_while(|(_, status)| plays(*status));
        let first = self.statuses.len() - span.count();
        let told = first > 0 || self.whole;
        told.then(|| self.statuses.get(first).map(|(since, _)| *since)).flatten()
    }

    /// The status just before an instant; where that is `running` or not known, the one it changed
    /// to in that same instant.
    pub(super) fn status_at(&self, at: Timestamp) -> Option<(Status, Option<Timestamp>)> {
        let end = self.statuses.partition_point(|(since, _)| *since < at);
        let known = |end: usize| {
            let (_, status) = self.statuses.get(end.checked_sub(1)?)?;
            Some((*status, self.span_start(end)))
        };
        let before = known(end);
        if before.is_some_and(|(status, _)| status != Status::Running) {
            return before;
        }
        let after = self.statuses.partition_point(|(since, _)| *since <= at);
        known(after)
    }

    /// The beginning of the span of one status whose last entry is the one before `end`; `None`: it
    /// began before the log at hand.
    fn span_start(&self, end: usize) -> Option<Timestamp> {
        let (_, status) = self.statuses.get(end.checked_sub(1)?)?;
        let span = self.statuses.iter().take(end).rev().take_while(|(_, other)| other == status);
        let first = end - span.count();
        let told = first > 0 || self.whole;
        told.then(|| self.statuses.get(first).map(|(since, _)| *since)).flatten()
    }

    /// What stood in the way of a turn at an instant.
    pub(super) fn obstacle(&self, at: Timestamp) -> Option<String> {
        let pending = self.lines.iter().rev().find(|line| line.is_pending() && line.covers(at));
        if let Some(line) = pending {
            let (what, from) = (line.kind.as_str(), stamp(line.started_at));
            return Some(match line.ended_at() {
                Some(end) => format!("a {what} was under way from {from} to {}", stamp(end)),
                None => format!("a {what} has been under way since {from}"),
            });
        }
        let (status, since) = self.status_at(at)?;
        let since = since.map_or(String::new(), |since| format!(" since {}", stamp(since)));
        let earlier = |line: &LogLine| line.started_at <= at;
        match status {
            Status::Running => None,
            Status::GenerationInProgress => {
                let line = self.turns().rev().find(|(_, line)| earlier(line));
                let number = line.and_then(|(_, line)| line.turn);
                let begun = line.map_or(String::new(), |(_, line)| {
                    format!(", begun at {},", stamp(line.started_at))
                });
                Some(format!("{}{begun} was being generated", turn(number)))
            }
            Status::GenerationFailed => {
                Some(format!("the game had been waiting{since} after a generation that failed"))
            }
            Status::EngineUnreachable => Some(format!("the engine had been unreachable{since}")),
            Status::Starting => Some("the game was being started".to_owned()),
            Status::Stopped => Some("the game was stopped".to_owned()),
            Status::Finished => Some("the game was over".to_owned()),
        }
    }
}

/// What a line says of the status. Its opening is known by its kind, its end is told.
///
/// SUBTLE: `generation_in_progress` begins with a turn's line and ends with its end. Told by any
/// other line it is no news, and where the two are of the same millisecond it would seem to come
/// after the end.
fn changes(line: &LogLine) -> impl Iterator<Item = (Timestamp, Status)> {
    let opening = match line.kind {
        OperationKind::Register => Some(Status::Starting),
        OperationKind::Tick | OperationKind::Force => Some(Status::GenerationInProgress),
        OperationKind::Stop
        | OperationKind::Patch
        | OperationKind::Reconcile
        | OperationKind::Banish
        | OperationKind::Retry
        | OperationKind::Recovery
        | OperationKind::Health
        | OperationKind::HealthPublish => None,
    };
    let told = line.status.filter(|status| {
        *status != Status::GenerationInProgress && line.kind != OperationKind::Banish
    });
    let told_at = line.ended_at().unwrap_or(line.started_at);
    let told = told.filter(|_| line.outcome.is_some() || opening.is_none());
    [opening.map(|status| (line.started_at, status)), told.map(|status| (told_at, status))]
        .into_iter()
        .flatten()
}
