//! The operation log: what each commit opens or closes, committed with the record.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::OperationId;
use crate::time::Timestamp;

/// One mark in the operation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The operation it belongs to.
    pub operation: OperationId,
    /// What happens to that operation.
    pub mark: AuditMark,
}

/// What happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditMark {
    /// It begins; somebody will close it.
    Opened {
        /// What it is.
        kind: OperationKind,
        /// The turn number it is to generate, for turns.
        turn: Option<u32>,
        /// The occurrence of the schedule that it answers to (`Tick`) or takes the place of
        /// (`Force`): what the tick ledger is made of.
        tick: Option<Timestamp>,
    },
    /// It ends, once.
    Closed(Outcome),
    /// It begins and ends in this commit.
    Instant {
        /// What it is.
        kind: OperationKind,
        /// How it ends.
        outcome: Outcome,
    },
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A registration.
    Register,
    /// A turn that the clock started.
    Tick,
    /// A turn that an administrator started.
    Force,
    /// A stop.
    Stop,
    /// A patch.
    Patch,
    /// A look at the engine that an administrator asked for.
    Reconcile,
    /// A race is taken out of the game. Changes no record; see [`crate::banish`].
    Banish,
    /// A look at an unwell engine that Game Master took by itself.
    Retry,
    /// An abandoned question was fenced off.
    Recovery,
    /// A health event changed the record.
    Health,
    /// A debounced health summary was published.
    HealthPublish,
}

impl OperationKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Tick => "tick",
            Self::Force => "force",
            Self::Stop => "stop",
            Self::Patch => "patch",
            Self::Reconcile => "reconcile",
            Self::Banish => "banish",
            Self::Retry => "retry",
            Self::Recovery => "recovery",
            Self::Health => "health",
            Self::HealthPublish => "health_publish",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed(Failure),
    /// A later operation took its place.
    Superseded,
}
