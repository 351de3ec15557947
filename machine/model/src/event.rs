//! What happens in the model, small enough to be kept in its states, and how it unfolds into the
//! events of the machine.

use machine::{
    ContainerId, EngineFailure, EngineFault, EnginePlayer, EngineState, Event, HealthReport,
    Incarnation, RtmFailure, Summary, Ticket, Timer,
};
use uuid::Uuid;

use crate::catalog::{Catalog, stream_id};
use crate::record::Rec;

/// What a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tk {
    /// A question of this life with this number.
    Live {
        /// Which life.
        incarnation: u8,
        /// Which number.
        attempt: u8,
    },
    /// A question of the present life that no longer counts; which one makes no difference.
    Dead,
    /// A question of an earlier life. It unfolds into the number of the very question under way.
    Foreign,
}

/// What a call asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Initialise.
    Init,
    /// Generate the turn after this one.
    Turn(u8),
    /// Say where you stand.
    Probe,
    /// Take the container down.
    Stop,
    /// Replace the container.
    Patch,
}

/// What a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    /// The engine stands here.
    At {
        /// The last turn it generated.
        turn: u8,
        /// Whether its game is over.
        over: bool,
        /// Whether it tells of a race that nobody plays.
        stranger: bool,
    },
    /// What no longer counts: unfolds into the turn that would be most welcome.
    Tempting,
    /// The engine gave no state.
    No(Fault),
    /// Runtime Manager did it; the container now.
    Done(u8),
    /// Runtime Manager refused, or did not answer.
    NotDone {
        /// Whether it answered.
        refused: bool,
    },
}

/// Why an engine gave no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants of `EngineFault` that engines of the model show")]
pub enum Fault {
    Validation,
    Unreachable,
    TurnConflict,
    AlreadyInitialised,
}

/// A report of the health stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    /// Its place in the stream, from 1.
    pub number: u8,
    /// The container it speaks of.
    pub container: u8,
    /// What it says.
    pub summary: Summary,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the requests of `Event`")]
pub enum Request {
    Register,
    Force,
    Stop,
    Patch,
    Reconcile,
}

/// Something that the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ev {
    /// Lobby registers the game, with this incarnation.
    Register(u8),
    /// An administrator asks.
    Force,
    /// An administrator asks.
    Stop,
    /// An administrator asks.
    Patch,
    /// An administrator asks.
    Reconcile,
    /// A timer strikes.
    Strike(Timer),
    /// Runtime Manager reports.
    Health(Report),
    /// The asker of this question is gone.
    Abandoned(Tk),
    /// A call is answered.
    Answer(Tk, Kind, Said),
}

impl Ev {
    /// The ticket it carries.
    pub fn ticket(&self) -> Option<Tk> {
        match self {
            Self::Abandoned(ticket) | Self::Answer(ticket, ..) => Some(*ticket),
            Self::Register(_)
            | Self::Force
            | Self::Stop
            | Self::Patch
            | Self::Reconcile
            | Self::Strike(_)
            | Self::Health(_) => None,
        }
    }

    /// The same with another ticket and, where it no longer counts, any answer.
    pub fn with_ticket(self, ticket: Tk) -> Self {
        match self {
            Self::Abandoned(_) => Self::Abandoned(ticket),
            Self::Answer(_, kind, said) => {
                let (kind, said) = forget(ticket, kind, said);
                Self::Answer(ticket, kind, said)
            }
            Self::Register(_)
            | Self::Force
            | Self::Stop
            | Self::Patch
            | Self::Reconcile
            | Self::Strike(_)
            | Self::Health(_) => self,
        }
    }

    /// As the machine takes it.
    pub fn unfold(&self, before: Option<&Rec>, catalog: &Catalog) -> Event {
        match *self {
            Self::Register(life) => Event::Register(Box::new(catalog.registration(life))),
            Self::Force => Event::Force,
            Self::Stop => Event::Stop { reason: catalog.reason().clone() },
            Self::Patch => {
                let (version, image_ref, turn_guard) = catalog.patch();
                Event::Patch { version, image_ref, turn_guard }
            }
            Self::Reconcile => Event::Reconcile,
            Self::Strike(timer) => timer.event(),
            Self::Health(Report { number, container, summary }) => Event::Health(HealthReport {
                id: stream_id(number),
                container_id: catalog.container(container).clone(),
                summary,
                consecutive_failures: 1,
            }),
            Self::Abandoned(ticket) => Event::Abandoned(ticket.unfold(before)),
            Self::Answer(ticket, kind, said) => {
                let t = ticket.unfold(before);
                match kind {
                    Kind::Init => Event::InitDone(t, said.engine(before)),
                    Kind::Turn(_) => Event::TurnDone(t, said.engine(before)),
                    Kind::Probe => Event::ProbeDone(t, said.engine(before)),
                    Kind::Stop => Event::StopDone(t, said.rtm(catalog).map(|_| ())),
                    Kind::Patch => Event::PatchDone(t, said.rtm(catalog)),
                }
            }
        }
    }
}

/// What is kept of an answer that no longer counts: its kind.
pub fn forget(ticket: Tk, kind: Kind, said: Said) -> (Kind, Said) {
    match (ticket, kind) {
        (Tk::Live { .. }, _) => (kind, said),
        (Tk::Dead | Tk::Foreign, Kind::Turn(_)) => (Kind::Turn(0), Said::Tempting),
        (Tk::Dead | Tk::Foreign, Kind::Init | Kind::Probe | Kind::Stop | Kind::Patch) => {
            (kind, Said::Tempting)
        }
    }
}

impl Tk {
    /// The machine's ticket. What no longer counts is as close to what does as it can be.
    pub fn unfold(self, before: Option<&Rec>) -> Ticket {
        let life = before.map_or(1, |rec| rec.incarnation);
        match self {
            Self::Live { incarnation, attempt } => {
                Ticket { incarnation: Catalog::incarnation(incarnation), attempt: attempt.into() }
            }
            Self::Dead => Ticket { incarnation: Catalog::incarnation(life), attempt: 1 },
            Self::Foreign => {
                let asked = before.and_then(|rec| rec.work.or(rec.asked()));
                let attempt = asked.map_or(1, |question| question.attempt);
                Ticket { incarnation: Incarnation(Uuid::nil()), attempt: attempt.into() }
            }
        }
    }
}

impl Said {
    fn engine(self, before: Option<&Rec>) -> Result<EngineState, EngineFailure> {
        let no = |kind| Err(EngineFailure { kind, message: "so it said".into() });
        match self {
            Self::At { turn, over, stranger } => Ok(standing(turn, over, stranger)),
            Self::Tempting => Ok(standing(before.map_or(1, |rec| rec.turn + 1), false, false)),
            Self::No(Fault::Validation) => no(EngineFault::Validation),
            Self::No(Fault::Unreachable) => no(EngineFault::Unreachable),
            Self::No(Fault::TurnConflict) => no(EngineFault::TurnConflict),
            Self::No(Fault::AlreadyInitialised) => no(EngineFault::AlreadyInitialised),
            Self::Done(_) | Self::NotDone { .. } => no(EngineFault::ProtocolViolation),
        }
    }

    fn rtm(self, catalog: &Catalog) -> Result<ContainerId, RtmFailure> {
        match self {
            Self::Done(container) => Ok(catalog.container(container).clone()),
            Self::Tempting => Ok(catalog.container(1).clone()),
            Self::NotDone { refused } => Err(RtmFailure { refused, message: "so it said".into() }),
            Self::At { .. } | Self::No(_) => {
                Err(RtmFailure { refused: false, message: "no answer".into() })
            }
        }
    }
}

fn standing(turn: u8, over: bool, stranger: bool) -> EngineState {
    let race_name = if stranger { "Venusians" } else { "Terrans" };
    let players = machine_player(race_name).into_iter().collect();
    EngineState { turn: turn.into(), finished: over, players }
}

fn machine_player(race: &str) -> Option<EnginePlayer> {
    let id = "p-1".parse().ok()?;
    Some(EnginePlayer { id, race_name: race.into(), planets: 1, population: 1 })
}
