//! The record of one running game.
//!
//! The status is an enum whose variants hold exactly the data that is valid in them ([`Life`]); the
//! flat columns that stores and the API show are an encoding of it, made and read in
//! [`crate::flat`] alone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{
    ContainerId, EngineEndpoint, EnginePlayerId, GameId, Incarnation, InstanceId, OperationId,
    RaceName, StopReason, StreamId, Ticket, UserId,
};
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

/// The status as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// See [`Life::Starting`].
    Starting,
    /// See [`Life::Running`].
    Running,
    /// See [`Life::Generating`].
    GenerationInProgress,
    /// See [`Life::Failed`].
    GenerationFailed,
    /// See [`Life::Stopped`].
    Stopped,
    /// See [`Life::Unreachable`].
    EngineUnreachable,
    /// See [`Life::Finished`].
    Finished,
}

impl Status {
    /// All seven, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::GenerationInProgress,
        Self::GenerationFailed,
        Self::Stopped,
        Self::EngineUnreachable,
        Self::Finished,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::GenerationInProgress => "generation_in_progress",
            Self::GenerationFailed => "generation_failed",
            Self::Stopped => "stopped",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Finished => "finished",
        }
    }

    /// Whether nothing can ever change the status again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Finished)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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

/// Who plays which race, and the engine's own name of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The player.
    pub user_id: UserId,
    /// The player's race in this game.
    pub race_name: RaceName,
    /// The engine's identifier of that race, once initialised.
    #[serde(default)]
    pub engine_player_id: Option<EnginePlayerId>,
}

/// The players of one game: 1 to [`Roster::MAX_MEMBERS`], each user and each race once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Member>", into = "Vec<Member>")]
pub struct Roster(Arc<[Member]>);

/// Why a list of members is no roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Nobody plays.
    #[error("members must not be empty")]
    Empty,
    /// Too many.
    #[error("members must be {} at most", Roster::MAX_MEMBERS)]
    TooMany,
    /// A user plays twice.
    #[error("members must name each user_id once, but {0} comes twice")]
    UserTwice(UserId),
    /// A race is played twice.
    #[error("members must name each race_name once, but {0:?} comes twice")]
    RaceTwice(RaceName),
}

impl Roster {
    /// The most players a game may have.
    pub const MAX_MEMBERS: usize = 256;

    /// Checks and takes a list of members; keeps its order.
    pub fn new(members: Vec<Member>) -> Result<Self, RosterError> {
        if members.is_empty() {
            return Err(RosterError::Empty);
        }
        if members.len() > Self::MAX_MEMBERS {
            return Err(RosterError::TooMany);
        }
        let mut users = std::collections::BTreeSet::new();
        let mut races = std::collections::BTreeSet::new();
        for member in &members {
            if !users.insert(&member.user_id) {
                return Err(RosterError::UserTwice(member.user_id.clone()));
            }
            if !races.insert(&member.race_name) {
                return Err(RosterError::RaceTwice(member.race_name.clone()));
            }
        }
        Ok(Self(members.into()))
    }

    /// The members, in the order given.
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// The race of a player.
    pub fn race_of(&self, user: &UserId) -> Option<&RaceName> {
        self.0.iter().find(|m| &m.user_id == user).map(|m| &m.race_name)
    }

    /// Who plays a race.
    pub fn by_race(&self, race: &str) -> Option<&Member> {
        self.0.iter().find(|m| m.race_name.as_str() == race)
    }

    /// The races, in the order given.
    pub fn races(&self) -> Vec<RaceName> {
        self.0.iter().map(|m| m.race_name.clone()).collect()
    }
}

impl TryFrom<Vec<Member>> for Roster {
    type Error = RosterError;

    fn try_from(members: Vec<Member>) -> Result<Self, RosterError> {
        Self::new(members)
    }
}

impl From<Roster> for Vec<Member> {
    fn from(roster: Roster) -> Self {
        roster.0.to_vec()
    }
}

/// A player's standing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlayerStats {
    /// The player.
    pub user_id: UserId,
    /// Planets owned.
    pub planets: u32,
    /// Population, in the engine's units.
    pub population: u64,
}

/// The summary of an engine's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// Nothing was heard of this container yet.
    #[default]
    Unknown,
    /// It answers its probes.
    Healthy,
    /// It missed too many probes in a row.
    ProbeFailed,
    /// The container runtime calls it unhealthy.
    InspectUnhealthy,
    /// Its process ended.
    Exited,
    /// It was killed for want of memory.
    Oom,
    /// The container is no longer there.
    Disappeared,
}

impl Summary {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::ProbeFailed => "probe_failed",
            Self::InspectUnhealthy => "inspect_unhealthy",
            Self::Exited => "exited",
            Self::Oom => "oom",
            Self::Disappeared => "disappeared",
        }
    }

    /// Whether it says that the container no longer runs.
    pub fn means_down(self) -> bool {
        match self {
            Self::Exited | Self::Oom | Self::Disappeared => true,
            Self::Unknown | Self::Healthy | Self::ProbeFailed | Self::InspectUnhealthy => false,
        }
    }
}

/// What was heard of the container, and what of it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The latest summary.
    pub summary: Summary,
    /// The stream id of the last event applied.
    pub cursor: Option<StreamId>,
    /// The summary last published.
    pub published: Option<Summary>,
    /// Until when no further change of the summary alone is published.
    pub publish_at: Option<Timestamp>,
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
