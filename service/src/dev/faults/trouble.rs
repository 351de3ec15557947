//! What can go wrong in the demo, in types and in words.

use peers::engine::{Operation, Plan as EnginePlan};
use peers::rtm::launcher::ExitKind;

/// A number that spoils every request while a trouble lasts.
const EVERY_ONE: u32 = 10_000;
/// By how much a lying engine's turn is wrong: so much that nobody could take it for the truth.
const LIE: i32 = 7;

/// What goes wrong. Games are named by their place among the demo games.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A game's engine misbehaves.
    Engine { game: usize, of: Scope, how: Spoiled },
    /// Its container ends and is started again.
    Ends { game: usize, how: ExitKind },
    /// So often, each time as soon as it is up.
    Restarts { game: usize, times: u32 },
    /// Its container ends, and its starts fail.
    StartsFail { game: usize },
    /// The same, and Runtime Manager tells nobody.
    EndsUnseen { game: usize },
    /// Lobby answers 503: who is a member is not known.
    LobbyAway,
    /// Lobby takes its time.
    LobbySlow { millis: u64 },
    /// Runtime Manager answers 503 while an operator wants a patch.
    RtmAway { game: usize },
    /// Runtime Manager does not have the image of a patch.
    NoImage { game: usize },
    /// So many of a hundred calls to the streams are lost, or their answers; 100: all are refused.
    Streams { percent: u64 },
    /// The same of the store.
    Store { percent: u64 },
}

/// Which calls an engine spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Turns,
    Players,
    Everything,
}

/// What an engine does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoiled {
    Slow {
        millis: u64,
    },
    Refused {
        status: u16,
    },
    Failed {
        status: u16,
        acts: bool,
    },
    Hanging {
        acts: bool,
    },
    /// Its health check too, so that Runtime Manager notices.
    Deaf,
    Dropped,
    Garbage,
    Lies,
}

/// What only one trouble at a time may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Game(usize),
    Lobby,
    Rtm,
    Streams,
    Store,
}

/// The sorts of trouble. Every one comes up before any comes up again, as far as there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Slow,
    Refused,
    Failed,
    Hanging,
    Deaf,
    Dropped,
    Garbage,
    Lies,
    Exited,
    OutOfMemory,
    Disappeared,
    Restarts,
    StartsFail,
    EndsUnseen,
    LobbyAway,
    LobbySlow,
    RtmAway,
    NoImage,
    StreamsLose,
    StreamsAway,
    StoreLoses,
    StoreAway,
}

impl Kind {
    pub(super) const ALL: [Self; 22] = [
        Self::Slow,
        Self::Refused,
        Self::Failed,
        Self::Hanging,
        Self::Deaf,
        Self::Dropped,
        Self::Garbage,
        Self::Lies,
        Self::Exited,
        Self::OutOfMemory,
        Self::Disappeared,
        Self::Restarts,
        Self::StartsFail,
        Self::EndsUnseen,
        Self::LobbyAway,
        Self::LobbySlow,
        Self::RtmAway,
        Self::NoImage,
        Self::StreamsLose,
        Self::StreamsAway,
        Self::StoreLoses,
        Self::StoreAway,
    ];

    /// For the summary.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slow => "engine slow",
            Self::Refused => "engine refusing (4xx)",
            Self::Failed => "engine failing (5xx)",
            Self::Hanging => "engine hanging",
            Self::Deaf => "engine deaf, health check included",
            Self::Dropped => "engine cutting connections",
            Self::Garbage => "engine talking garbage",
            Self::Lies => "engine at an impossible turn",
            Self::Exited => "container exited",
            Self::OutOfMemory => "container out of memory",
            Self::Disappeared => "container disappeared",
            Self::Restarts => "container restarting again and again",
            Self::StartsFail => "container not starting",
            Self::EndsUnseen => "container gone, unreported",
            Self::LobbyAway => "Lobby away",
            Self::LobbySlow => "Lobby slow",
            Self::RtmAway => "Runtime Manager away",
            Self::NoImage => "Runtime Manager refusing a patch",
            Self::StreamsLose => "streams losing requests and answers",
            Self::StreamsAway => "streams away",
            Self::StoreLoses => "store losing requests and answers",
            Self::StoreAway => "store away",
        }
    }

    pub(super) fn needs_game(self) -> bool {
        match self {
            Self::Slow
            | Self::Refused
            | Self::Failed
            | Self::Hanging
            | Self::Deaf
            | Self::Dropped
            | Self::Garbage
            | Self::Lies
            | Self::Exited
            | Self::OutOfMemory
            | Self::Disappeared
            | Self::Restarts
            | Self::StartsFail
            | Self::EndsUnseen
            | Self::RtmAway
            | Self::NoImage => true,
            Self::LobbyAway
            | Self::LobbySlow
            | Self::StreamsLose
            | Self::StreamsAway
            | Self::StoreLoses
            | Self::StoreAway => false,
        }
    }
}

impl Trouble {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Engine { how, .. } => match how {
                Spoiled::Slow { .. } => Kind::Slow,
                Spoiled::Refused { .. } => Kind::Refused,
                Spoiled::Failed { .. } => Kind::Failed,
                Spoiled::Hanging { .. } => Kind::Hanging,
                Spoiled::Deaf => Kind::Deaf,
                Spoiled::Dropped => Kind::Dropped,
                Spoiled::Garbage => Kind::Garbage,
                Spoiled::Lies => Kind::Lies,
            },
            Self::Ends { how: ExitKind::Exited, .. } => Kind::Exited,
            Self::Ends { how: ExitKind::OutOfMemory, .. } => Kind::OutOfMemory,
            Self::Ends { how: ExitKind::Disappeared, .. } => Kind::Disappeared,
            Self::Restarts { .. } => Kind::Restarts,
            Self::StartsFail { .. } => Kind::StartsFail,
            Self::EndsUnseen { .. } => Kind::EndsUnseen,
            Self::LobbyAway => Kind::LobbyAway,
            Self::LobbySlow { .. } => Kind::LobbySlow,
            Self::RtmAway { .. } => Kind::RtmAway,
            Self::NoImage { .. } => Kind::NoImage,
            Self::Streams { percent: 100 } => Kind::StreamsAway,
            Self::Streams { .. } => Kind::StreamsLose,
            Self::Store { percent: 100 } => Kind::StoreAway,
            Self::Store { .. } => Kind::StoreLoses,
        }
    }

    /// The game it is about, where it is about one.
    pub(super) fn game(self) -> Option<usize> {
        match self {
            Self::Engine { game, .. }
            | Self::Ends { game, .. }
            | Self::Restarts { game, .. }
            | Self::StartsFail { game, .. }
            | Self::EndsUnseen { game, .. }
            | Self::RtmAway { game }
            | Self::NoImage { game } => Some(game),
            Self::LobbyAway
            | Self::LobbySlow { .. }
            | Self::Streams { .. }
            | Self::Store { .. } => None,
        }
    }

    /// What nothing else may be about meanwhile.
    pub(super) fn places(self) -> Vec<Place> {
        match self {
            Self::Engine { game, .. } => vec![Place::Game(game)],
            // Runtime Manager's levers are for all games: what it is told of one would spoil the
            // start of another.
            Self::Ends { game, .. }
            | Self::Restarts { game, .. }
            | Self::StartsFail { game }
            | Self::EndsUnseen { game }
            | Self::RtmAway { game }
            | Self::NoImage { game } => vec![Place::Game(game), Place::Rtm],
            Self::LobbyAway | Self::LobbySlow { .. } => vec![Place::Lobby],
            Self::Streams { .. } => vec![Place::Streams],
            Self::Store { .. } => vec![Place::Store],
        }
    }

    /// In words, for whoever watches it begin.
    pub(super) fn story(self) -> String {
        let seconds = |millis: u64| format!("{}.{} s", millis / 1000, millis % 1000 / 100);
        match self {
            Self::Engine { of, how, .. } => {
                let calls = match of {
                    Scope::Turns => "calls for a turn",
                    Scope::Players => "calls of players",
                    Scope::Everything => "all calls",
                };
                let done = |acts| if acts { "carries them out" } else { "does nothing" };
                match how {
                    Spoiled::Slow { millis } => {
                        format!("the engine takes {} for every answer", seconds(millis))
                    }
                    Spoiled::Refused { status } => {
                        format!("the engine refuses {calls} with {status}")
                    }
                    Spoiled::Failed { status, acts } => {
                        format!("the engine answers {calls} with {status}, and {}", done(acts))
                    }
                    Spoiled::Hanging { acts } => {
                        format!("the engine leaves {calls} unanswered, and {}", done(acts))
                    }
                    Spoiled::Deaf => {
                        "the engine answers nothing any more, its health check included".into()
                    }
                    Spoiled::Dropped => {
                        format!("the engine carries out {calls} and cuts the connection")
                    }
                    Spoiled::Garbage => {
                        format!("the engine carries out {calls} and answers garbage")
                    }
                    Spoiled::Lies => {
                        format!("the engine says it is {LIE} turns further than it is")
                    }
                }
            }
            Self::Ends { how, .. } => match how {
                ExitKind::Exited => "the engine's container exits".into(),
                ExitKind::OutOfMemory => "the engine's container runs out of memory".into(),
                ExitKind::Disappeared => "the engine's container disappears".into(),
            },
            Self::Restarts { times, .. } => format!("the engine ends {times} times in a row"),
            Self::StartsFail { .. } => "the engine ends and cannot be started".into(),
            Self::EndsUnseen { .. } => {
                "the engine ends and cannot be started, and nobody reports it".into()
            }
            Self::LobbyAway => "Lobby is away: nobody can say who is a member".into(),
            Self::LobbySlow { millis } => {
                format!("Lobby takes {} for every answer", seconds(millis))
            }
            Self::RtmAway { .. } => "Runtime Manager is away, and an operator wants a patch".into(),
            Self::NoImage { .. } => {
                "Runtime Manager lacks an image, and an operator wants it".into()
            }
            Self::Streams { percent: 100 } => "the streams are away".into(),
            Self::Streams { percent } => {
                format!("the streams lose {percent} of 100 requests or their answers")
            }
            Self::Store { percent: 100 } => "the store is away".into(),
            Self::Store { percent } => {
                format!("the store loses {percent} of 100 requests or their answers")
            }
        }
    }
}

/// What the engine is told.
pub(super) fn engine_plan(of: Scope, how: Spoiled) -> EnginePlan {
    let mut only = match of {
        Scope::Turns => vec![Operation::Turn],
        Scope::Players => vec![Operation::Command, Operation::Order, Operation::Report],
        Scope::Everything => vec![],
    };
    let mut plan = EnginePlan::default();
    match how {
        Spoiled::Slow { millis } => plan.latency_before_ms = millis,
        Spoiled::Refused { status } => {
            (plan.fail_next, plan.fail_status) = (EVERY_ONE, status);
        }
        Spoiled::Failed { status, acts } => {
            (plan.fail_next, plan.fail_status, plan.act_first) = (EVERY_ONE, status, acts);
        }
        Spoiled::Hanging { acts } => (plan.hang_next, plan.act_first) = (EVERY_ONE, acts),
        Spoiled::Deaf => {
            plan.hang_next = EVERY_ONE;
            only = vec![
                Operation::Init,
                Operation::Status,
                Operation::Turn,
                Operation::Banish,
                Operation::Command,
                Operation::Order,
                Operation::Report,
                Operation::Healthz,
            ];
        }
        Spoiled::Dropped => plan.drop_next = EVERY_ONE,
        Spoiled::Garbage => plan.garbage_next = EVERY_ONE,
        Spoiled::Lies => (plan.lie_next, plan.lie_turn_by) = (EVERY_ONE, LIE),
    }
    plan.only = only;
    plan
}
