//! Worlds to check: small enough to be searched to the end, each with trouble of its own.

use crate::state::{Budget, Item};

/// How a world is set up, and what may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How many processes there are.
    pub gms: u8,
    /// Whether something may happen between a process's load and its commit. A lone process is
    /// not disturbed there except by a crash, which its other faults cover.
    pub racing: bool,
    /// Whether the record says that the engine honours `expected_turn`.
    pub claimed_guard: bool,
    /// Whether it does.
    pub honest_guard: bool,
    /// The turn that ends the game.
    pub last_turn: u8,
    /// How often an unwell engine is asked unbidden.
    pub max_tries: u8,
    /// Whether the outbox, the relay and the stream are part of it.
    pub relay: bool,
    /// Whether Runtime Manager reports.
    pub health: bool,
    /// Whether the game is registered and running at the beginning.
    pub begun: bool,
    /// What may go wrong, and be asked for.
    pub budget: &'static [(Item, u8)],
}

const QUIET: Config = Config {
    name: "",
    about: "",
    gms: 1,
    racing: false,
    claimed_guard: true,
    honest_guard: true,
    last_turn: 2,
    max_tries: 1,
    relay: false,
    health: false,
    begun: true,
    budget: &[],
};

impl Config {
    /// The bounds at the beginning.
    pub fn bounds(&self) -> Budget {
        Budget::of(self.budget)
    }
}

/// Turns, forced and regular, and all that can happen to a question.
pub fn turns() -> Config {
    Config {
        name: "turns",
        about: "turns, forced and regular; crashes, lost and late answers, early leases",
        last_turn: 3,
        budget: &[
            (Item::Crash, 2),
            (Item::Loss, 1),
            (Item::CommitLoss, 1),
            (Item::Expiry, 1),
            (Item::Duplicate, 1),
            (Item::Down, 1),
            (Item::Force, 2),
            (Item::Reconcile, 1),
        ],
        ..QUIET
    }
}

/// The same where engines have no guard: everything holds but what only a guard can hold.
pub fn unguarded() -> Config {
    Config {
        name: "unguarded",
        about: "engines without a guard: all holds but what only a guard can hold",
        claimed_guard: false,
        honest_guard: false,
        last_turn: 3,
        budget: &[
            (Item::Crash, 1),
            (Item::Loss, 1),
            (Item::CommitLoss, 1),
            (Item::Expiry, 1),
            (Item::Force, 1),
            (Item::Reconcile, 1),
        ],
        ..QUIET
    }
}

/// Two processes on one lease.
pub fn race() -> Config {
    Config {
        name: "race",
        about: "two processes, between load and commit of each other",
        gms: 2,
        racing: true,
        budget: &[(Item::Crash, 1), (Item::CommitLoss, 1), (Item::Expiry, 1), (Item::Force, 1)],
        ..QUIET
    }
}

/// Two processes and an administrator.
pub fn race_admin() -> Config {
    Config {
        name: "race_admin",
        about: "two processes, a stop and a patch between load and commit of each other",
        gms: 2,
        racing: true,
        last_turn: 1,
        budget: &[(Item::Crash, 1), (Item::Expiry, 1), (Item::Stop, 1), (Item::Patch, 1)],
        ..QUIET
    }
}

/// Stops and patches.
pub fn admin() -> Config {
    Config {
        name: "admin",
        about: "stops and patches, Runtime Manager refusing and silent, drains",
        budget: &[
            (Item::Crash, 1),
            (Item::Loss, 1),
            (Item::CommitLoss, 1),
            (Item::Expiry, 1),
            (Item::RtmFault, 1),
            (Item::Force, 1),
            (Item::Stop, 1),
            (Item::Patch, 1),
        ],
        ..QUIET
    }
}

/// Registrations that are rolled back and repeated.
pub fn rebirth() -> Config {
    Config {
        name: "rebirth",
        about: "registrations rolled back and repeated, answers of the first life under way",
        last_turn: 1,
        begun: false,
        budget: &[
            (Item::Register, 3),
            (Item::Crash, 1),
            (Item::Loss, 1),
            (Item::CommitLoss, 1),
            (Item::Expiry, 2),
            (Item::Duplicate, 1),
            (Item::Stop, 1),
        ],
        ..QUIET
    }
}

/// The same with two processes.
pub fn race_rebirth() -> Config {
    Config {
        name: "race_rebirth",
        about: "two processes and a registration that is rolled back and repeated",
        gms: 2,
        racing: true,
        last_turn: 1,
        begun: false,
        budget: &[(Item::Register, 2), (Item::Crash, 1), (Item::CommitLoss, 1), (Item::Expiry, 1)],
        ..QUIET
    }
}

/// Health reports, delivered again and out of date.
pub fn health() -> Config {
    Config {
        name: "health",
        about: "container events, delivered again, about containers that were replaced",
        health: true,
        budget: &[
            (Item::Crash, 1),
            (Item::Loss, 1),
            (Item::Down, 1),
            (Item::Replay, 1),
            (Item::Expiry, 1),
            (Item::Patch, 1),
            (Item::Stop, 1),
        ],
        ..QUIET
    }
}

/// The outbox, the relay and the stream.
pub fn relay() -> Config {
    Config {
        name: "relay",
        about: "the outbox, lost answers of the stream, a stream that loses its tail",
        relay: true,
        budget: &[
            (Item::Crash, 1),
            (Item::AppendLoss, 2),
            (Item::TailLoss, 1),
            (Item::CommitLoss, 1),
            (Item::Expiry, 1),
            (Item::Stop, 1),
        ],
        ..QUIET
    }
}

/// The outbox with two processes.
pub fn race_relay() -> Config {
    Config {
        name: "race_relay",
        about: "two processes and the outbox",
        gms: 2,
        racing: true,
        last_turn: 1,
        relay: true,
        budget: &[(Item::Crash, 1), (Item::CommitLoss, 1), (Item::AppendLoss, 1)],
        ..QUIET
    }
}

/// Engines that say what is not so.
pub fn lies() -> Config {
    Config {
        name: "lies",
        about: "an engine that lies about its turn, its end and its players",
        budget: &[
            (Item::Lie, 2),
            (Item::Crash, 1),
            (Item::Loss, 1),
            (Item::Expiry, 1),
            (Item::Force, 1),
            (Item::Reconcile, 1),
            (Item::Stop, 1),
        ],
        ..QUIET
    }
}

/// What continuous integration checks to the end: the same worlds with less trouble.
pub fn small() -> Vec<Config> {
    use Item::{
        AppendLoss, CommitLoss, Crash, Down, Duplicate, Expiry, Force, Lie, Loss, Patch, Reconcile,
        Register, Replay, RtmFault, Stop, TailLoss,
    };
    let with = |world: Config, budget| Config { budget, ..world };
    vec![
        with(
            turns(),
            &[(Crash, 1), (Loss, 1), (CommitLoss, 1), (Expiry, 1), (Duplicate, 1), (Force, 2)],
        ),
        unguarded(),
        with(lies(), &[(Lie, 2), (Crash, 1), (Expiry, 1), (Force, 1), (Reconcile, 1), (Stop, 1)]),
        with(
            admin(),
            &[(Crash, 1), (Loss, 1), (Expiry, 1), (RtmFault, 1), (Force, 1), (Stop, 1), (Patch, 1)],
        ),
        with(
            rebirth(),
            &[
                (Register, 3),
                (Crash, 1),
                (Loss, 1),
                (CommitLoss, 1),
                (Expiry, 1),
                (Duplicate, 1),
                (Stop, 1),
            ],
        ),
        with(health(), &[(Crash, 1), (Down, 1), (Replay, 1), (Patch, 1)]),
        with(
            relay(),
            &[(Crash, 1), (AppendLoss, 2), (TailLoss, 1), (CommitLoss, 1), (Expiry, 1), (Stop, 1)],
        ),
        with(race(), &[(Crash, 1), (CommitLoss, 1), (Expiry, 1), (Force, 1), (Loss, 1)]),
        with(race_admin(), &[(Crash, 1), (Expiry, 1), (Stop, 1), (Patch, 1)]),
        with(race_rebirth(), &[(Register, 2), (Crash, 1), (CommitLoss, 1), (Expiry, 1), (Loss, 1)]),
        with(race_relay(), &[(Crash, 1), (CommitLoss, 1), (AppendLoss, 1), (Force, 1)]),
    ]
}

/// What is checked by command.
pub fn large() -> Vec<Config> {
    use Item::{CommitLoss, Crash, Down, Expiry, Force, Loss, Patch, Reconcile, Replay, Stop};
    let named = |name, world: Config| Config { name, ..world };
    let with = |name, world: Config, budget| Config { name, budget, ..world };
    vec![
        named("turns_large", turns()),
        named("lies_large", lies()),
        named("admin_large", admin()),
        named("rebirth_large", rebirth()),
        named("relay_large", relay()),
        with(
            "health_large",
            health(),
            &[(Crash, 1), (Down, 1), (Replay, 1), (Expiry, 1), (Patch, 1), (Stop, 1)],
        ),
        with(
            "race_large",
            race(),
            &[(Crash, 2), (Loss, 1), (CommitLoss, 1), (Expiry, 1), (Force, 2), (Reconcile, 1)],
        ),
        with(
            "race_admin_large",
            race_admin(),
            &[(Crash, 1), (Loss, 1), (CommitLoss, 1), (Expiry, 1), (Stop, 1), (Patch, 1)],
        ),
    ]
}
