//! The record, folded.
//!
//! The model has to recognise a situation it has met before, and a record counts for ever: revisions,
//! attempts, instants. [`Rec`] keeps of a `Runtime` what a decision can depend on, in a few bytes,
//! and [`crate::catalog`] makes a real record of it again before each call of the production `step`.
//!
//! What is folded, and why nothing is lost by it:
//!
//! - Instants. The present is always 12:30. The turn clock is counted in hours from 12:00, and an
//!   instant that has passed is as good as any other that has. A lease, a drain deadline, a retry and
//!   a debounce window are there or not: the model lets each of them run out at any moment.
//! - Attempts. Only equality and order matter; see [`crate::canonical`].
//! - Revisions. Only "the one I saw" matters; see [`crate::state::Seen`].
//! - Failures, standings, names of operations: they decide nothing.
//!
//! Both directions name every field: one that is added to the record must be thought about here.

use machine::Summary;

/// "So far ahead that it never comes", in hours.
pub const NEVER: u8 = 99;

/// What the folded record is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants of `Life`, with what a decision depends on")]
pub enum Phase {
    Starting { verify: bool },
    Running,
    Generating { stage: Stage, forced: bool },
    Failed,
    Unreachable,
    Stopped,
    Finished,
}

/// What the engine is asked while a turn is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants of `TurnStage`")]
pub enum Stage {
    Turn,
    ProbeThenTurn,
    ProbeAfterFence,
}

/// A question under way: its number and who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The number a reply must carry.
    pub attempt: u8,
    /// The process that holds the lease.
    pub owner: u8,
}

/// What is pending at Runtime Manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admin {
    /// Nothing.
    None,
    /// A stop that waits for the turn.
    Draining,
    /// A stop.
    Stop(Question),
    /// A patch.
    Patch(Question),
}

/// The folded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rec {
    /// The status and what belongs to it.
    pub phase: Phase,
    /// Which registration it comes from.
    pub incarnation: u8,
    /// Up to a bound, where it stays.
    pub revision: u8,
    /// The last attempt number handed out.
    pub attempt: u8,
    /// The question to the engine.
    pub work: Option<Question>,
    /// The question to Runtime Manager.
    pub pending: Admin,
    /// When the next turn is due, in hours from 12:00; 0: it is due.
    pub next: u8,
    /// Which turn a forced one replaces, in hours from 12:00; 0: one that has passed.
    pub skip: Option<u8>,
    /// Whether Game Master will ask again by itself.
    pub retry: bool,
    /// The container on record; 0: none.
    pub container: u8,
    /// Whether it was patched.
    pub patched: bool,
    /// The last turn known to be generated.
    pub turn: u8,
    /// Up to the policy's bound, where it stays.
    pub tries: u8,
    /// Whether the failure of the next turn was announced.
    pub announced: bool,
    /// Whether the game ever began.
    pub begun: bool,
    /// What was heard of the container.
    pub health: Heard,
}

/// What was heard of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Heard {
    /// The latest summary.
    pub summary: Summary,
    /// The number of the last report applied; 0: none.
    pub cursor: u8,
    /// The summary last published.
    pub published: Option<Summary>,
    /// Whether a debounce window is open.
    pub window: bool,
}

impl Rec {
    /// The number of the question to Runtime Manager.
    pub fn asked(&self) -> Option<Question> {
        match self.pending {
            Admin::None | Admin::Draining => None,
            Admin::Stop(question) | Admin::Patch(question) => Some(question),
        }
    }

    /// Whether anything is pending.
    pub fn is_pending(&self) -> bool {
        self.pending != Admin::None
    }

    /// The status, for comparisons and stories.
    pub fn status(&self) -> machine::Status {
        use machine::Status;
        match self.phase {
            Phase::Starting { .. } => Status::Starting,
            Phase::Running => Status::Running,
            Phase::Generating { .. } => Status::GenerationInProgress,
            Phase::Failed => Status::GenerationFailed,
            Phase::Unreachable => Status::EngineUnreachable,
            Phase::Stopped => Status::Stopped,
            Phase::Finished => Status::Finished,
        }
    }

    /// Whether a clock runs.
    pub fn has_clock(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Generating { .. } | Phase::Failed | Phase::Unreachable => true,
            Phase::Starting { .. } | Phase::Stopped | Phase::Finished => false,
        }
    }
}
