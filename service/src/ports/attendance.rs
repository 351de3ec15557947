//! Who takes part, and who leads: several Game Masters on one store.

use std::collections::BTreeMap;

use machine::InstanceId;
use uuid::Uuid;

/// What one process at a time does for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Brings the outbox to its streams.
    OutboxRelay,
    /// Applies what Runtime Manager says of containers.
    HealthConsumer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::OutboxRelay, Self::HealthConsumer];

    /// The name in the store, in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutboxRelay => "outbox_relay",
            Self::HealthConsumer => "health_consumer",
        }
    }
}

/// Counts the leaders of a role: grows with each change of them, so that one who was replaced can be
/// told from the one who is there now. The default is the term before anybody led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// One life of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Its name, which leases are under.
    pub instance: InstanceId,
    /// Drawn at its start: tells two lives under one name apart.
    pub boot: Uuid,
}

/// What a process says when it attends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// Who.
    pub presence: Presence,
    /// It is about to end, and not to be counted on.
    pub is_draining: bool,
    /// What it is willing to lead: what it leads besides is given up.
    pub wants: Vec<Role>,
}

/// What a process is told when it attends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Those who can be counted on, in the order of their names.
    pub alive: Vec<InstanceId>,
    /// What this process leads, and in which term.
    pub terms: BTreeMap<Role, Term>,
    /// A later life has this name, or this one has left: it leads nothing, and must end. Two live
    /// processes of one name would take each other's leases.
    pub displaced: bool,
}
