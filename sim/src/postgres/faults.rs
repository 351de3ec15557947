//! How the server misbehaves, as data: drawn from a seed, written to a file, played again.

use std::time::Duration;

use machine::{Channel, GameId};
use serde::{Deserialize, Serialize};

/// How the server behaves, from when it is set until something else is. The default is a server
/// that does everything at once and nothing wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conduct {
    /// How long a statement works before it commits, in milliseconds. It holds its locks meanwhile,
    /// and is cancelled where that takes longer than its session allows (57014).
    pub work_ms: Span,
    /// How long an answer takes after the commit, in milliseconds.
    pub answer_ms: Span,
    /// Of a thousand statements that write, so many commit and lose their connection before the
    /// answer.
    pub lost_answers: u16,
    /// Of a thousand statements, so many lose their connection to an administrator (57P01), before
    /// their commit or after it.
    pub terminated: u16,
    /// Of a thousand statements that write, so many are rolled back for a deadlock (40P01).
    pub deadlocks: u16,
    /// Of a thousand statements that write, so many are rolled back for somebody else's (40001).
    pub serialization_failures: u16,
    /// Whether it is a replica: it answers, and writes nothing (25006).
    pub read_only: bool,
    /// Whether, and how, it turns new connections away.
    pub refuses: Option<Refuses>,
    /// The most connections; those beyond are turned away (53300).
    pub max_connections: usize,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            work_ms: Span::default(),
            answer_ms: Span::default(),
            lost_answers: 0,
            terminated: 0,
            deadlocks: 0,
            serialization_failures: 0,
            read_only: false,
            refuses: None,
            max_connections: 100,
        }
    }
}

/// A duration between two, drawn each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// No shorter.
    pub least: u64,
    /// No longer.
    pub most: u64,
}

impl Span {
    /// Always the same.
    pub const fn exactly(ms: u64) -> Self {
        Self { least: ms, most: ms }
    }

    pub(super) fn draw(self, lot: u64) -> Duration {
        let width = self.most.saturating_sub(self.least).saturating_add(1);
        Duration::from_millis(self.least.saturating_add(lot.checked_rem(width).unwrap_or(0)))
    }
}

/// Why a new connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refuses {
    /// 57P03: it is starting up, or recovering.
    StartingUp,
    /// 53300: there are too many.
    TooManyConnections,
}

/// What happens once, to a server that runs. While none does, it misses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Strike {
    /// Every connection dies without a word. What was committed stays; what was about to commit
    /// has, or has not, by lot. New connections are turned away for a while (57P03).
    Crash {
        /// How long, in milliseconds.
        down_ms: u64,
    },
    /// Every connection is ended by an administrator (57P01); what is under way is rolled back.
    Terminate,
    /// The next statements that write commit, and lose their connections before the answer.
    LoseAnswers {
        /// How many.
        count: u32,
    },
    /// Somebody else's transaction holds something. It waits for it as everybody does.
    Hold {
        /// What.
        what: Held,
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

/// What can be held from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The row of a record, as by `SELECT … FOR UPDATE`.
    Record(GameId),
    /// The row of a channel of the outbox.
    Channel(Channel),
    /// The tables, as by a migration (`ACCESS EXCLUSIVE`): nobody reads either.
    Tables,
}
