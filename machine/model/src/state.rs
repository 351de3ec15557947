//! A state of the model: everything that is true of the world at one moment, and nothing that can
//! make no difference.

use crate::bag::Bag;
use crate::event::{Ev, Kind, Report, Said, Tk};
use crate::record::Rec;
use crate::rule::Broken;

/// The most reports in the health stream.
pub const MAX_REPORTS: usize = 6;
/// The most entries of the stream to Lobby.
pub const MAX_MESSAGES: usize = 14;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// What the store holds.
    pub record: Option<Rec>,
    /// Whether the store maps players to the runtime.
    pub mapped: bool,
    /// How often the game was registered.
    pub lives: u8,
    /// The processes.
    pub gms: [Gm; 2],
    /// A commit that a process sent before it was gone, and that may arrive yet.
    pub late: Option<Late>,
    /// Calls on their way to a neighbour.
    pub calls: Bag<Call, 8>,
    /// Answers on their way back to a process that waits for them.
    pub replies: Bag<Reply, 8>,
    /// The engine.
    pub engine: Engine,
    /// What Runtime Manager reports of its container.
    pub health: HealthStream,
    /// What is to be published, and what was.
    pub outbox: Outbox,
    /// What may still go wrong, or be asked for.
    pub left: Budget,
    /// What an observer writes down.
    pub ghost: Ghost,
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gm {
    /// Whether it runs.
    pub up: bool,
    /// What it is deciding.
    pub task: Option<Task>,
    /// The questions of its predecessor that it found at its start.
    pub todo: [Option<Tk>; 2],
}

/// An event on its way through a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// What happened.
    pub ev: Ev,
    /// What the store held when it was loaded.
    pub seen: Seen,
    /// How far it is.
    pub stage: TaskStage,
}

/// How far a process is with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskStage {
    /// Loaded and decided, not committed.
    Decided,
    /// The answer to the commit was lost, and the commit is not there, or not yet.
    Unknown,
    /// The answer to the commit was lost, and it is there; the calls that follow from it.
    Done([Option<Call>; 2]),
}

/// What a process saw when it loaded the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// No record.
    Absent,
    /// What is there still.
    Current,
    /// Something that was replaced since. Its revision is not there any more and never will be.
    Outdated,
    /// The same, kept because the comparison at hand might take it for what is there.
    Old(Rec),
}

/// A commit without a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Late {
    /// Who sent it.
    pub gm: u8,
    /// What happened.
    pub ev: Ev,
    /// What it was decided on.
    pub seen: Seen,
}

/// A call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// What the answer must carry.
    pub ticket: Tk,
    /// What is asked.
    pub kind: Kind,
    /// Who waits for the answer; nobody, where that process is gone or gave up.
    pub from: Option<u8>,
}

/// An answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply {
    /// What it answers.
    pub ticket: Tk,
    /// What was asked.
    pub kind: Kind,
    /// What is answered.
    pub said: Said,
    /// To whom.
    pub to: u8,
}

/// The engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Engine {
    /// Whether it answers.
    pub up: bool,
    /// Whether its container was taken down for good.
    pub gone: bool,
    /// Whether it was initialised.
    pub initialised: bool,
    /// The last turn it generated.
    pub turn: u8,
    /// Its container.
    pub container: u8,
}

/// The stream of health reports and where its consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthStream {
    /// The reports; number n at n - 1.
    pub reports: [Option<Report>; MAX_REPORTS],
    /// How many were read.
    pub read: u8,
    /// The offset saved.
    pub saved: u8,
}

/// The outbox, the relay and the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outbox {
    /// How many messages were committed; they are named 1, 2, …
    pub rows: u8,
    /// Which are marked as published; bit n - 1 for message n.
    pub marked: u16,
    /// The stream, oldest first; 0: nothing. [`PHANTOM`]: a message of no commit.
    pub stream: [u8; MAX_MESSAGES],
    /// What the relay is at.
    pub relay: Relay,
    /// Whether the relay looks for a lost tail before anything else.
    pub check: bool,
}

/// An entry of the stream that no commit stands behind.
pub const PHANTOM: u8 = 255;

/// What the relay is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relay {
    /// Nothing.
    Idle,
    /// The stream has this message; it is to be marked.
    Appended(u8),
    /// Wrong: this message is marked and is to be appended.
    Marked(u8),
}

impl Outbox {
    /// Nothing.
    pub const EMPTY: Self =
        Self { rows: 0, marked: 0, stream: [0; MAX_MESSAGES], relay: Relay::Idle, check: false };

    /// The entries of the stream.
    pub fn entries(&self) -> impl Iterator<Item = u8> + '_ {
        self.stream.iter().copied().take_while(|entry| *entry != 0)
    }

    /// The newest entry, 0 where there is none.
    pub fn newest(&self) -> u8 {
        self.entries().filter(|entry| *entry != PHANTOM).max().unwrap_or(0)
    }

    /// Whether a message is marked.
    pub fn is_marked(&self, row: u8) -> bool {
        row > 0 && self.marked & (1 << (row - 1)) != 0
    }

    /// Marks a message.
    pub fn mark(&mut self, row: u8) {
        if row > 0 {
            self.marked |= 1 << (row - 1);
        }
    }

    /// The oldest message that is not marked.
    pub fn next(&self) -> Option<u8> {
        (1..=self.rows).find(|row| !self.is_marked(*row))
    }

    /// Adds an entry to the stream; `false` where there is no room.
    #[must_use]
    pub fn append(&mut self, entry: u8) -> bool {
        match self.stream.iter_mut().find(|slot| **slot == 0) {
            Some(slot) => {
                *slot = entry;
                true
            }
            None => false,
        }
    }

    /// Whether everything is published, and known to be.
    pub fn is_settled(&self) -> bool {
        self.next().is_none() && self.newest() == self.rows && self.relay == Relay::Idle
    }
}

/// Kinds of trouble, and of requests, that are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is told in the configuration")]
pub enum Item {
    Crash,
    Loss,
    CommitLoss,
    Expiry,
    Lie,
    Duplicate,
    Down,
    RtmFault,
    AppendLoss,
    TailLoss,
    Replay,
    Register,
    Force,
    Stop,
    Patch,
    Reconcile,
}

impl Item {
    /// How many kinds there are.
    pub const COUNT: usize = 16;
}

/// How often each may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget([u8; Item::COUNT]);

impl Budget {
    /// A budget of these.
    pub fn of(items: &[(Item, u8)]) -> Self {
        let mut budget = Self::default();
        for (item, times) in items {
            budget.0[*item as usize] = *times;
        }
        budget
    }

    /// How often this may still happen.
    pub fn left(&self, item: Item) -> u8 {
        self.0[item as usize]
    }

    /// Whether this may still happen.
    pub fn has(&self, item: Item) -> bool {
        self.left(item) > 0
    }

    /// It happens.
    pub fn spend(&mut self, item: Item) {
        self.0[item as usize] = self.0[item as usize].saturating_sub(1);
    }
}

/// What an observer writes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ghost {
    /// The rules that were broken.
    pub broken: Broken,
    /// Whether a forced turn owes a skip, and whether a regular turn passed that may be it.
    pub owed: Owed,
    /// The hours ahead whose turns forced ones have replaced; bit n for n + 1 hours from 12:00.
    pub replaced: u8,
    /// Whether the end of the game was told.
    pub told_the_end: bool,
    /// The last health report that counted.
    pub health: u8,
    /// Whether the engine ever lied.
    pub lied: bool,
}

/// See [`Ghost::owed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owed {
    /// No.
    #[default]
    Nothing,
    /// Yes, and none passed.
    Ahead,
    /// Yes, and one passed.
    Passed,
}
