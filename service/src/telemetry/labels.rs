//! The values of labels: all of them known before the first request comes.

use machine::{Call, Channel, EngineFault, Summary};

use crate::ports::Role;

/// A dimension of a metric.
pub trait Label: Copy {
    /// How many values there are.
    const COUNT: usize;

    /// The place of this value among them.
    fn index(self) -> usize;

    /// The value at a place below [`COUNT`](Self::COUNT).
    fn name(index: usize) -> &'static str;

    /// This value.
    fn text(self) -> &'static str {
        Self::name(self.index())
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $label:ident { $($(#[$of:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $label { $($(#[$of])* $value,)+ }

        impl $label {
            const NAMES: &[&str] = &[$($name),+];
        }

        impl Label for $label {
            const COUNT: usize = Self::NAMES.len();

            fn index(self) -> usize {
                self as usize
            }

            fn name(index: usize) -> &'static str {
                Self::NAMES.get(index).copied().unwrap_or_default()
            }
        }
    };
}

label! {
    /// What is under way.
    Work {
        /// An HTTP request.
        Request = "request",
        /// An operation of the driver, with the calls that follow from it.
        Operation = "operation",
        /// The initialisation of an engine.
        Init = "init",
        /// A turn.
        Turn = "turn",
        /// A question to an engine where it stands.
        Probe = "probe",
        /// A stop at Runtime Manager.
        Stop = "stop",
        /// A patch at Runtime Manager.
        Patch = "patch",
    }
}

impl From<&Call> for Work {
    fn from(call: &Call) -> Self {
        match call {
            Call::Init { .. } => Self::Init,
            Call::Turn { .. } => Self::Turn,
            Call::Probe { .. } => Self::Probe,
            Call::Stop { .. } => Self::Stop,
            Call::Patch { .. } => Self::Patch,
        }
    }
}

label! {
    /// What came of a turn.
    TurnOutcome {
        /// It was generated.
        Generated = "generated",
        /// It was generated, and it was the last one.
        Finished = "finished",
        /// The engine did not answer.
        Unreachable = "unreachable",
        /// The engine refused.
        Refused = "refused",
        /// The engine was not where it should be.
        Conflict = "conflict",
        /// The engine's answer made no sense.
        ProtocolViolation = "protocol_violation",
    }
}

impl From<EngineFault> for TurnOutcome {
    fn from(fault: EngineFault) -> Self {
        match fault {
            EngineFault::Validation => Self::Refused,
            EngineFault::Unreachable => Self::Unreachable,
            EngineFault::TurnConflict => Self::Conflict,
            EngineFault::ProtocolViolation | EngineFault::AlreadyInitialised => {
                Self::ProtocolViolation
            }
        }
    }
}

label! {
    /// How a commit ended.
    CommitOutcome {
        /// It is durable.
        Applied = "applied",
        /// The compare-and-set lost.
        Conflict = "conflict",
        /// It names a version that is not registered.
        UnknownVersion = "unknown_version",
        /// It did not happen.
        Failed = "failed",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

label! {
    /// What a health event says.
    HealthKind {
        /// Well again.
        Healthy = "healthy",
        /// A probe failed.
        ProbeFailed = "probe_failed",
        /// Docker says so.
        InspectUnhealthy = "inspect_unhealthy",
        /// The container ended.
        Exited = "container_exited",
        /// The container was killed for memory.
        Oom = "container_oom",
        /// The container is gone.
        Disappeared = "container_disappeared",
        /// It says nothing, or could not be read.
        None = "none",
    }
}

impl From<Summary> for HealthKind {
    fn from(summary: Summary) -> Self {
        match summary {
            Summary::Healthy => Self::Healthy,
            Summary::ProbeFailed => Self::ProbeFailed,
            Summary::InspectUnhealthy => Self::InspectUnhealthy,
            Summary::Exited => Self::Exited,
            Summary::Oom => Self::Oom,
            Summary::Disappeared => Self::Disappeared,
            Summary::Unknown => Self::None,
        }
    }
}

label! {
    /// What was done with a health event.
    HealthOutcome {
        /// The machine took it.
        Applied = "applied",
        /// The machine had no use for it: late, repeated, or of a container that is not the game's.
        Refused = "refused",
        /// It could not be decided or recorded, and comes again.
        Failed = "failed",
        /// It could not be read, and was passed over.
        Unreadable = "unreadable",
        /// It is about a game without a record, and was passed over.
        UnknownGame = "unknown_game",
        /// The store answers, and would not take what follows from it; it was passed over.
        GivenUp = "given_up",
    }
}

label! {
    /// A stream.
    Stream {
        /// What Runtime Manager says of containers; read.
        Health = "runtime:health_events",
        /// What Lobby is told; written.
        Lobby = "gm:lobby_events",
        /// What players are told; written.
        Notifications = "notification:intents",
    }
}

impl From<Channel> for Stream {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::LobbyEvents => Self::Lobby,
            Channel::NotificationIntents => Self::Notifications,
        }
    }
}

label! {
    /// How a question to the cache was answered.
    CacheOutcome {
        /// From memory.
        Hit = "hit",
        /// By Lobby, or not at all.
        Miss = "miss",
    }
}

label! {
    /// What was found abandoned.
    Recovery {
        /// The lease of a question to the engine ran out.
        WorkLease = "work_lease",
        /// The lease of a question to Runtime Manager ran out, or a drain ended.
        PendingLease = "pending_lease",
        /// The process of the same name that ran before left it.
        Predecessor = "predecessor",
        /// A banish that no record tells of was left open.
        Banish = "banish",
    }
}

label! {
    /// Where a timer that is being dealt with has its place.
    TurnPool {
        /// Among those that began a moment ago.
        Fast = "fast",
        /// Among those that take long, or did the last time.
        Slow = "slow",
    }
}

label! {
    /// Where a panic was contained, or what was started again.
    Place {
        /// A handler of an HTTP request.
        Handler = "handler",
        /// An operation of the driver.
        Operation = "operation",
        /// The scheduler.
        Scheduler = "scheduler",
        /// The consumer of health events.
        HealthConsumer = "health_consumer",
        /// The relay of the outbox.
        OutboxRelay = "outbox_relay",
        /// The HTTP listener.
        Listener = "listener",
        /// What looks for abandoned work and broken rules.
        Sweep = "sweep",
        /// What tells other processes of changes, and is told of theirs.
        Feed = "feed",
        /// What says that this process is there.
        Attendance = "attendance",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// What one process at a time does for all.
    Leading {
        /// The relay of the outbox.
        OutboxRelay = "outbox_relay",
        /// The consumer of health events.
        HealthConsumer = "health_consumer",
    }
}

impl From<Role> for Leading {
    fn from(role: Role) -> Self {
        match role {
            Role::OutboxRelay => Self::OutboxRelay,
            Role::HealthConsumer => Self::HealthConsumer,
        }
    }
}

label! {
    /// A neighbour that is called.
    Peer {
        /// The engine of a game.
        Engine = "engine",
        /// Lobby.
        Lobby = "lobby",
        /// Runtime Manager.
        Rtm = "rtm",
    }
}

label! {
    /// How a call to a neighbour ended.
    CallOutcome {
        /// It did what was asked.
        Answered = "answered",
        /// It refused.
        Refused = "refused",
        /// It did not answer, or with 5xx.
        Unreachable = "unreachable",
        /// Its answer made no sense.
        Unreadable = "unreadable",
        /// Nobody waited for the answer any more.
        Abandoned = "abandoned",
    }
}

label! {
    /// What became of a finished span.
    SpanFate {
        /// The collector has it.
        Exported = "exported",
        /// The queue was full.
        Dropped = "dropped",
        /// The collector did not take it.
        Failed = "failed",
    }
}

/// The label of what is asked: an operation of the contract by its id, a probe, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationLabel(usize);

/// Sorted, for the search. A test compares it with the contract.
const OPERATIONS: &[&str] = &[
    "internalBanishRace",
    "internalCreateEngineVersion",
    "internalDeleteEngineVersion",
    "internalDeprecateEngineVersion",
    "internalExecuteCommands",
    "internalExplainRuntime",
    "internalForceNextTurn",
    "internalGameLiveness",
    "internalGetEngineVersion",
    "internalGetReport",
    "internalGetRuntime",
    "internalHealthz",
    "internalInvalidateMemberships",
    "internalListEngineVersions",
    "internalListOperations",
    "internalListRuntimes",
    "internalPatchRuntime",
    "internalPreviewSchedule",
    "internalPutOrders",
    "internalReadyz",
    "internalReconcileRuntime",
    "internalRegisterRuntime",
    "internalResolveEngineVersionImageRef",
    "internalStopRuntime",
    "internalUpdateEngineVersion",
    "metrics",
    "none",
];

impl OperationLabel {
    /// The label of an operation id; of anything else that of no operation.
    pub fn of(id: &str) -> Self {
        let found = OPERATIONS.binary_search(&id).or_else(|_| OPERATIONS.binary_search(&"none"));
        Self(found.unwrap_or_default())
    }
}

impl Label for OperationLabel {
    const COUNT: usize = OPERATIONS.len();

    fn index(self) -> usize {
        self.0
    }

    fn name(index: usize) -> &'static str {
        OPERATIONS.get(index).copied().unwrap_or_default()
    }
}

/// The label of an answer: its status, where it is one that this service gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLabel(usize);

const CODES: &[(u16, &str)] = &[
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (0, "other"),
];

impl CodeLabel {
    /// The label of a status.
    pub fn of(status: u16) -> Self {
        let place = CODES.iter().position(|(code, _)| *code == status);
        Self(place.unwrap_or(CODES.len() - 1))
    }
}

impl Label for CodeLabel {
    const COUNT: usize = CODES.len();

    fn index(self) -> usize {
        self.0
    }

    fn name(index: usize) -> &'static str {
        CODES.get(index).map(|(_, name)| *name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_operations_are_those_of_the_contract() {
        let contract = include_str!("../../../api/internal-openapi.yaml");
        let ids = contract.lines().filter_map(|line| line.trim().strip_prefix("operationId: "));
        let expected: BTreeSet<&str> = ids.chain(["metrics", "none"]).collect();
        let sorted: Vec<&str> = expected.into_iter().collect();
        assert_eq!(OPERATIONS, sorted);
        for (place, id) in OPERATIONS.iter().enumerate() {
            assert_eq!(OperationLabel::of(id), OperationLabel(place));
        }
        assert_eq!(OperationLabel::name(OperationLabel::of("../etc").index()), "none");
        assert_eq!(CodeLabel::name(CodeLabel::of(418).index()), "other");
        assert_eq!(CodeLabel::name(CodeLabel::of(503).index()), "503");
    }
}
