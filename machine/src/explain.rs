//! Why a game is as it is: for the operator who asks why a turn did not run.
//!
//! Pure, as everything here: a record and its operation log in, sentences out.

mod history;
mod next;
mod ticks;
mod why;
mod words;

use self::history::History;
use self::ticks::Ledger;
use crate::audit::{OperationKind, Outcome};
use crate::policy::Policy;
use crate::record::{Runtime, Status};
use crate::time::Timestamp;

/// The most occurrences of a schedule that are explained.
pub const MAX_TICKS: usize = 100;

/// The most lines of a log that are read.
pub const MAX_LINES: usize = 1000;

/// One operation of the log, as far as it explains anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// What it is.
    pub kind: OperationKind,
    /// The turn number it was to generate.
    pub turn: Option<u32>,
    /// The occurrence of the schedule that it answers to or takes the place of.
    pub tick: Option<Timestamp>,
    /// How it ended; `None`: it is under way.
    pub outcome: Option<Outcome>,
    /// The status after the commit that opened or, later, closed it; `None`: no record.
    pub status: Option<Status>,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When it was closed.
    pub finished_at: Option<Timestamp>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The reason for the present status, in one or two sentences.
    pub why: String,
    /// What became of recent occurrences of the schedule, the newest first.
    pub last_ticks: Vec<ExplainedTick>,
    /// What happens by itself, the soonest first, then what waits for somebody.
    pub next: Vec<ExplainedStep>,
}

/// What became of one occurrence of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedTick {
    /// The occurrence.
    pub due_at: Timestamp,
    /// What became of it.
    pub outcome: TickOutcome,
    /// The turn it was about, where one was begun.
    pub turn: Option<u32>,
    /// In words.
    pub detail: String,
}

/// What can become of an occurrence of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TickOutcome {
    /// The turn was generated, or is being generated.
    Fired,
    /// A forced turn took its place.
    Forced,
    /// Nobody was there to see it.
    Missed,
    /// Something stood in its way: a stop or patch under way, an engine that was not well, or the
    /// turn before, which was still being generated.
    Held,
    /// The turn was begun and failed.
    Failed,
}

impl TickOutcome {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Forced => "forced",
            Self::Missed => "missed",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedStep {
    /// What.
    pub what: String,
    /// When; `None`: when somebody acts.
    pub at: Option<Timestamp>,
}

/// Explains a record. `log` holds its operations, the newest first, as many as are at hand.
///
/// The log is the witness, and is not asked for more than it can know: what became of an occurrence
/// before the oldest line is left out, and so is what lies after the end of the game, when no clock
/// runs any more.
///
/// The cost is bounded whatever the log and the schedule hold: at most [`MAX_TICKS`] occurrences are
/// searched, backwards from `now`, and the newest [`MAX_LINES`] lines are read.
pub fn explain(rt: &Runtime, log: &[LogLine], now: Timestamp, policy: &Policy) -> Explanation {
    let history = History::of(rt, log);
    let ledger = Ledger::of(rt, &history, now);
    let why = why::why(rt, &history, &ledger, now, policy);
    Explanation { why, last_ticks: ledger.newest(), next: next::steps(rt, now, policy) }
}
