//! The record of one running game.
//!
//! The status is an enum whose variants hold exactly the data that is valid in them ([`Life`]); the
//! flat columns that stores and the API show are an encoding of it, made and read in
//! [`crate::flat`] alone.

mod health;
mod roster;
mod status;
mod work;

pub use health::{Health, Summary};
pub use roster::{Member, PlayerStats, Roster, RosterError};
pub use status::Status;
pub use work::{
    InitStage, Lease, Pending, PendingKind, PendingState, Repair, Trigger, TurnClock, TurnStage,
    Work,
};

use crate::failure::Failure;
use crate::ids::{ContainerId, EngineEndpoint, GameId, Incarnation, Ticket};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use crate::version::{EngineVersion, ImageRef};

/// Everything Game Master knows of one running game.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// The key.
    pub game_id: GameId,
    /// +1 on every committed change; the compare-and-set token.
    pub revision: u64,
    /// Which life of this game: arrives with the registration.
    pub incarnation: Incarnation,
    /// The last attempt number handed out: +1 whenever a question is asked or fenced off.
    pub attempt: u64,
    /// The status, with what belongs to it.
    pub life: Life,
    /// Who generates this game's turns.
    pub engine: Engine,
    /// Who plays which race; never changes within an incarnation.
    pub roster: Roster,
    /// When regular turns are due.
    pub schedule: Schedule,
    /// The last turn known to be generated.
    pub current_turn: u32,
    /// What Runtime Manager last said of the container.
    pub health: Health,
    /// How often Game Master has asked an unwell engine by itself since a turn last succeeded.
    pub tries: u32,
    /// The players' standing in the last state seen.
    pub player_turn_stats: Vec<PlayerStats>,
    /// The last operation that failed, until a turn succeeds.
    pub last_failure: Option<Failure>,
    /// The turn number whose failure administrators were last told of.
    pub failure_announced_for: Option<u32>,
    /// When the registration was accepted.
    pub created_at: Timestamp,
    /// When the engine was initialised.
    pub started_at: Option<Timestamp>,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

/// The seven statuses and what is valid in each.
#[derive(Clone, Debug, PartialEq)]
pub enum Life {
    /// The engine is being initialised.
    Starting {
        /// The question under way.
        work: Work,
        /// Whether it is the call itself or a look at an engine that was initialised before.
        stage: InitStage,
        /// The admin operation in flight at Runtime Manager.
        pending: Option<Pending>,
    },
    /// Commands are accepted; the next regular turn is known.
    Running {
        /// When the next turn is due.
        clock: TurnClock,
        /// The admin operation in flight at Runtime Manager.
        pending: Option<Pending>,
    },
    /// A turn is being generated.
    Generating {
        /// When the turn that is due was due.
        clock: TurnClock,
        /// The question under way.
        work: Work,
        /// What started this turn.
        trigger: Trigger,
        /// What is being asked right now.
        stage: TurnStage,
        /// The admin operation in flight at Runtime Manager.
        pending: Option<Pending>,
    },
    /// The last generation failed; the engine may be asked again.
    Failed {
        /// When the next turn is due once the game runs again.
        clock: TurnClock,
        /// How the way back is sought.
        repair: Repair,
        /// The admin operation in flight at Runtime Manager.
        pending: Option<Pending>,
    },
    /// The container is gone or the engine does not answer.
    Unreachable {
        /// When the next turn is due once the game runs again.
        clock: TurnClock,
        /// How the way back is sought.
        repair: Repair,
        /// The admin operation in flight at Runtime Manager.
        pending: Option<Pending>,
    },
    /// Stopped by an operation. Final.
    Stopped {
        /// Since when.
        at: Timestamp,
    },
    /// The engine declared the game over. Final.
    Finished {
        /// Since when.
        at: Timestamp,
    },
}

/// The engine of one game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Where it listens.
    pub endpoint: EngineEndpoint,
    /// Its version.
    pub version: EngineVersion,
    /// The image it was started from.
    pub image_ref: ImageRef,
    /// Its container, once known.
    pub container_id: Option<ContainerId>,
    /// Whether it refuses to generate another turn than the expected one.
    pub turn_guard: bool,
}

impl Runtime {
    /// The status.
    pub fn status(&self) -> Status {
        match self.life {
            Life::Starting { .. } => Status::Starting,
            Life::Running { .. } => Status::Running,
            Life::Generating { .. } => Status::GenerationInProgress,
            Life::Failed { .. } => Status::GenerationFailed,
            Life::Unreachable { .. } => Status::EngineUnreachable,
            Life::Stopped { .. } => Status::Stopped,
            Life::Finished { .. } => Status::Finished,
        }
    }

    /// The admin operation in flight.
    pub fn pending(&self) -> Option<&Pending> {
        match &self.life {
            Life::Starting { pending, .. }
            | Life::Running { pending, .. }
            | Life::Generating { pending, .. }
            | Life::Failed { pending, .. }
            | Life::Unreachable { pending, .. } => pending.as_ref(),
            Life::Stopped { .. } | Life::Finished { .. } => None,
        }
    }

    /// The question the engine is being asked.
    pub fn work(&self) -> Option<&Work> {
        match &self.life {
            Life::Starting { work, .. } | Life::Generating { work, .. } => Some(work),
            Life::Failed { repair, .. } | Life::Unreachable { repair, .. } => repair.probe.as_ref(),
            Life::Running { .. } | Life::Stopped { .. } | Life::Finished { .. } => None,
        }
    }

    /// The turn clock.
    pub fn clock(&self) -> Option<TurnClock> {
        match self.life {
            Life::Running { clock, .. }
            | Life::Generating { clock, .. }
            | Life::Failed { clock, .. }
            | Life::Unreachable { clock, .. } => Some(clock),
            Life::Starting { .. } | Life::Stopped { .. } | Life::Finished { .. } => None,
        }
    }

    /// What began the turn that is being generated.
    pub fn trigger(&self) -> Option<Trigger> {
        match self.life {
            Life::Generating { trigger, .. } => Some(trigger),
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => None,
        }
    }

    /// When Game Master asks an unwell engine again by itself.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match &self.life {
            Life::Failed { repair, .. } | Life::Unreachable { repair, .. } => repair.retry_at,
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Generating { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => None,
        }
    }

    /// Whether a reply with this ticket answers the question the engine is being asked.
    pub fn work_matches(&self, ticket: Ticket) -> bool {
        self.incarnation == ticket.incarnation
            && self.work().is_some_and(|w| w.attempt == ticket.attempt)
    }

    /// Whether a reply with this ticket answers what Runtime Manager is being asked.
    pub fn pending_matches(&self, ticket: Ticket) -> bool {
        self.incarnation == ticket.incarnation
            && self.pending().is_some_and(|p| match p.state {
                PendingState::Asked { attempt, .. } => attempt == ticket.attempt,
                PendingState::Draining { .. } => false,
            })
    }
}
