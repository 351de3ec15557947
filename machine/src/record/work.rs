//! What is under way: questions to the engine, turns, and what Runtime Manager is to do.

use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, OperationId, StopReason};
use crate::time::Timestamp;
use crate::version::{EngineVersion, ImageRef};

/// What the engine is being asked, by whom and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The number a reply must carry.
    pub attempt: u64,
    /// The operation-log entry that the outcome closes.
    pub operation: OperationId,
    /// Who asks, and until when the asker is believed to be alive.
    pub lease: Lease,
}

/// A claim for liveness alone: safety never depends on it, nor on any clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that holds it.
    pub owner: InstanceId,
    /// From then on anybody may fence the holder off.
    pub expires_at: Timestamp,
}

/// What an initialisation is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitStage {
    /// The init call is under way.
    Call,
    /// The engine said it was initialised before: its status is being read.
    Verify,
}

/// What started a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    Tick {
        /// When the turn was due.
        due_at: Timestamp,
    },
    /// An administrator.
    Force,
}

impl Trigger {
    /// The instant of the schedule that the turn is for, where it is a regular one.
    pub fn due_at(self) -> Option<Timestamp> {
        match self {
            Self::Tick { due_at } => Some(due_at),
            Self::Force => None,
        }
    }
}

/// What the engine is being asked while a turn is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStage {
    /// To generate the turn.
    Turn,
    /// Where it stands, because an operator forced a failed game: where the turn is still missing,
    /// generate it.
    ProbeThenTurn,
    /// Where it stands, because an earlier request for this turn was abandoned.
    ProbeAfterFence,
}

/// The turn clock of one game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnClock {
    /// The next regular turn, or the one being generated or missed.
    pub next_generation_at: Timestamp,
    /// The regular turn that a forced turn replaces; set while one is owed.
    pub skip: Option<Timestamp>,
}

/// How the way back to `running` is sought.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Repair {
    /// A status question under way.
    pub probe: Option<Work>,
    /// When Game Master asks again by itself.
    pub retry_at: Option<Timestamp>,
}

/// An admin operation that Runtime Manager carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What is wanted.
    pub what: PendingKind,
    /// The operation-log entry that the outcome closes.
    pub operation: OperationId,
    /// Where it stands.
    pub state: PendingState,
}

/// What Runtime Manager is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingKind {
    /// Take the container down for good.
    Stop {
        /// Passed on.
        reason: StopReason,
    },
    /// Replace the container by one of another patch version.
    Patch {
        /// The version wanted.
        version: EngineVersion,
        /// Its image.
        image_ref: ImageRef,
        /// Whether it honours `expected_turn`.
        turn_guard: bool,
    },
}

/// Where a pending operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// A stop waits for the running turn; past the instant it waits no longer.
    Draining {
        /// The drain deadline.
        until: Timestamp,
    },
    /// Runtime Manager has been asked.
    Asked {
        /// The number a reply must carry.
        attempt: u64,
        /// Who asks.
        lease: Lease,
    },
}
