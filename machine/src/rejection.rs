//! Why an event changes nothing.

use crate::record::Status;
use crate::version::EngineVersion;

/// A refusal. The first five answer requests, `Stale` answers outcomes, `Ignored` the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such runtime.
    #[error("no runtime is registered for this game")]
    NotFound,
    /// The status does not allow it.
    #[error("the runtime is {0}")]
    NotRunning(Status),
    /// Something else is under way, or the game is past it.
    #[error("{0}")]
    Conflict(Conflict),
    /// Only the patch number may change in place.
    #[error("{from} can be patched within its major.minor only, not to {to}")]
    SemverPatchOnly {
        /// The version the engine runs.
        from: EngineVersion,
        /// The version asked for.
        to: EngineVersion,
    },
    /// Nobody plays that race in this game.
    #[error("nobody plays that race in this game")]
    RaceNotFound,
    /// The question this answers no longer counts.
    #[error("the question that this answers no longer counts")]
    Stale,
    /// Nothing needs to be done.
    #[error("ignored: {0}")]
    Ignored(Ignored),
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The game is registered.
    #[error("a runtime is registered for this game already")]
    AlreadyRegistered,
    /// The engine is being initialised.
    #[error("the engine is being initialised")]
    Starting,
    /// A turn is being generated.
    #[error("a turn is being generated")]
    Generating,
    /// A stop is under way.
    #[error("a stop is under way")]
    StopPending,
    /// A patch is under way.
    #[error("a patch is under way")]
    PatchPending,
    /// The game is over.
    #[error("the game is finished")]
    Finished,
}

/// Why nothing needs to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Ignored {
    /// There is no such runtime.
    #[error("no such runtime")]
    Absent,
    /// Its time has not come.
    #[error("not due")]
    NotDue,
    /// The status has no use for it.
    #[error("the status has no use for it")]
    Status,
    /// An admin operation is under way.
    #[error("an admin operation is under way")]
    Pending,
    /// A health event that was applied before.
    #[error("applied before")]
    AppliedBefore,
    /// A health event of a container other than the recorded one.
    #[error("another container")]
    OtherContainer,
    /// Too few failed probes in a row.
    #[error("below the threshold")]
    BelowThreshold,
    /// It says what is known.
    #[error("nothing new")]
    NothingNew,
}
