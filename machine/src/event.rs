//! What can happen to a runtime.
//!
//! Requests can be refused; outcomes carry the [`Ticket`] of the question they answer and are
//! `Stale` where that question no longer counts.

use crate::failure::{EngineFailure, RtmFailure};
use crate::ids::{
    ContainerId, EngineEndpoint, EnginePlayerId, GameId, Incarnation, StopReason, StreamId, Ticket,
};
use crate::record::{Roster, Summary};
use crate::schedule::Schedule;
use crate::version::{EngineVersion, ImageRef};

/// Something that happened, or is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Lobby hands over a started engine.
    Register(Box<Registration>),
    /// The turn clock struck.
    Tick,
    /// An administrator wants the next turn now.
    Force,
    /// The container is to be taken down for good.
    Stop {
        /// Passed on to Runtime Manager.
        reason: StopReason,
    },
    /// The container is to be replaced by another patch version.
    Patch {
        /// The version wanted.
        version: EngineVersion,
        /// Its image.
        image_ref: ImageRef,
        /// Whether it honours `expected_turn`.
        turn_guard: bool,
    },
    /// An administrator wants Game Master to find out where the engine stands.
    Reconcile,
    /// Runtime Manager says how the container is.
    Health(HealthReport),
    /// The lease of the question to the engine ran out.
    WorkLeaseExpired,
    /// The lease of the question to Runtime Manager, or the drain deadline, ran out.
    PendingLeaseExpired,
    /// The process that asked the question with this ticket is known to be gone: its successor says
    /// so when it starts, and need not wait for the lease. SUBTLE: it names the one question. Said of
    /// "whatever is leased to me", and decided anew after a conflict, it would fence off a question
    /// that was asked meanwhile.
    Abandoned(Ticket),
    /// It is time to ask an unwell engine again.
    RetryDue,
    /// The debounce window ended with something unpublished.
    SummaryDue,
    /// The engine's answer to an init.
    InitDone(Ticket, Result<EngineState, EngineFailure>),
    /// The engine's answer to a turn.
    TurnDone(Ticket, Result<EngineState, EngineFailure>),
    /// The engine's answer to a status question.
    ProbeDone(Ticket, Result<EngineState, EngineFailure>),
    /// Runtime Manager's answer to a stop.
    StopDone(Ticket, Result<(), RtmFailure>),
    /// Runtime Manager's answer to a patch: the new container.
    PatchDone(Ticket, Result<ContainerId, RtmFailure>),
}

/// What Lobby hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The game.
    pub game_id: GameId,
    /// A fresh identifier of this life.
    pub incarnation: Incarnation,
    /// Where the engine listens.
    pub endpoint: EngineEndpoint,
    /// Its version.
    pub version: EngineVersion,
    /// The image of that version.
    pub image_ref: ImageRef,
    /// Whether that version honours `expected_turn`.
    pub turn_guard: bool,
    /// Who plays.
    pub roster: Roster,
    /// When regular turns are due.
    pub schedule: Schedule,
}

/// One entry of the health stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Its id in the stream: applied in order, once.
    pub id: StreamId,
    /// The container it speaks of.
    pub container_id: ContainerId,
    /// What it says.
    pub summary: Summary,
    /// For `probe_failed`: how many in a row.
    pub consecutive_failures: u32,
}

/// What an engine says of itself. Data, not truth: checked against the record before it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The last turn it generated.
    pub turn: u32,
    /// Whether its game is over.
    pub finished: bool,
    /// The races.
    pub players: Vec<EnginePlayer>,
}

/// One race, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnginePlayer {
    /// The engine's identifier.
    pub id: EnginePlayerId,
    /// The race; matched against the roster.
    pub race_name: String,
    /// Planets owned.
    pub planets: u32,
    /// Population.
    pub population: u64,
}
