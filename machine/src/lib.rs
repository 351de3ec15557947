//! The rules of a running game.
//!
//! ```text
//!   record, event, now ──▶ step ──▶ next record + effects + messages + audit
//!                                   └────────── one commit ──────────┘
//! ```
//!
//! [`step()`] decides everything; whoever calls it commits what it says and then carries out the
//! effects, whose outcomes are events again. Nothing here does I/O, reads a clock or draws a random
//! number: all of that arrives as an argument, so that the service, the model checker and the
//! simulation run the same rules.
//!
//! Where to read on: [`record`] (what is known of a game), [`event`] (what can happen), [`effect`]
//! and [`message`] (what follows), [`mod@step`] (the table, one file for each status),
//! [`timers`] (when a record wants attention), [`invariants`] (what must hold).
//!
//! Deliberately absent: storage, networks, tasks. The dependencies of this package are checked to
//! hold no runtime and no I/O.

pub mod audit;
pub mod banish;
pub mod effect;
pub mod event;
pub mod explain;
pub mod failure;
pub mod flat;
pub mod ids;
pub mod invariants;
pub mod message;
pub mod policy;
pub mod record;
pub mod rejection;
pub mod schedule;
pub mod step;
pub mod time;
pub mod timers;
pub mod version;

pub use audit::{AuditEntry, AuditMark, OperationKind, Outcome};
pub use banish::banish;
pub use effect::{BanishCall, Call, Effect};
pub use event::{EnginePlayer, EngineState, Event, HealthReport, Registration};
pub use failure::{EngineFailure, EngineFault, Failure, FailureCode, RtmFailure};
pub use ids::{
    ContainerId, EngineEndpoint, EnginePlayerId, GameId, Incarnation, InstanceId, InvalidValue,
    OperationId, RaceName, StopReason, StreamId, Ticket, UserId,
};
pub use invariants::{Violation, check_commit};
pub use message::{Channel, Intent, LobbyEvent, Message, NotificationType};
pub use policy::Policy;
pub use record::{Life, Member, PlayerStats, Roster, RosterError, Runtime, Status, Summary};
pub use rejection::{Conflict, Ignored, Rejection};
pub use schedule::{Resolution, Schedule, ScheduleError};
pub use step::{Context, Step, Verdict, step};
pub use time::Timestamp;
pub use timers::Timer;
pub use version::{EngineVersion, ImageRef};
