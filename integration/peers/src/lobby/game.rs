//! One game as Lobby keeps it: its members and where it stands on its way to a running engine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::view::RuntimeView;
use crate::{bus::EntryId, messages::StartJob};

/// Most games kept at once.
pub const MAX_GAMES: usize = 10_000;
/// Most members, of whatever status, in one game.
pub const MAX_MEMBERS_PER_GAME: usize = 1_000;
/// Longest identifier, race name or version taken.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest turn schedule taken.
pub const MAX_SCHEDULE_BYTES: usize = 256;

/// Everything Lobby knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyState {
    /// The games, by id.
    pub games: BTreeMap<String, Game>,
    /// How far `runtime:job_results` was read.
    pub job_results_at: EntryId,
    /// How far `gm:lobby_events` was read.
    pub game_events_at: EntryId,
    /// What was read, by what became of it.
    pub counters: Counters,
}

/// What became of the messages read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Changed something.
    pub applied: u64,
    /// Known already.
    pub repeated: u64,
    /// About a game or a job that Lobby does not know or no longer waits for.
    pub foreign: u64,
    /// Not readable.
    pub undecodable: u64,
}

/// One game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Game {
    /// Its id.
    pub game_id: String,
    /// The engine version it is played on.
    pub engine_version: String,
    /// When turns are generated: a cron expression.
    pub turn_schedule: String,
    /// Its members in the order they came.
    pub members: Vec<Member>,
    /// Where it stands.
    pub phase: Phase,
    /// How often it was paused: makes the key of each pause's notification.
    pub pauses: u32,
    /// A pause that notification has not been told of yet.
    pub untold_pause: Option<UntoldPause>,
    /// What Game Master last said.
    pub view: RuntimeView,
    /// When it was created.
    pub created_at_ms: u64,
}

/// Where a game stands. Everything that must survive a crash in between is in the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Phase {
    /// Members come and go; nothing was asked for yet.
    Draft,
    /// The start was decided; the job is not on the stream yet, or may be.
    Starting {
        /// What is to be asked for.
        job: StartJob,
    },
    /// Runtime Manager was asked.
    AwaitingContainer {
        /// What was asked for.
        job: StartJob,
    },
    /// The engine is up; Game Master is to take over.
    Registering {
        /// The engine.
        container: Container,
        /// Tries that failed in a row.
        failures: u32,
        /// Grows with every definite refusal, so that a repetition after an unknown outcome
        /// carries the same idempotency key and a new try another one.
        key_number: u32,
    },
    /// Game Master runs it.
    Running {
        /// The engine.
        container: Container,
    },
    /// The engine is up, but Game Master could not be reached to take over.
    Paused {
        /// The engine.
        container: Container,
        /// See [`Phase::Registering`].
        key_number: u32,
        /// What went wrong.
        reason: String,
    },
    /// It did not work, and will not by itself. It may be started again.
    StartFailed {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        message: String,
        /// An engine that is up for nothing, until Runtime Manager was told to stop it.
        orphan: Option<Container>,
    },
    /// It was played to its end.
    Finished,
}

impl Phase {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Starting { .. } => "starting",
            Self::AwaitingContainer { .. } => "awaiting_container",
            Self::Registering { .. } => "registering",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::StartFailed { .. } => "start_failed",
            Self::Finished => "finished",
        }
    }
}

/// An engine that was started for a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The job that asked for it.
    pub job_id: String,
    /// Its id.
    pub container_id: String,
    /// Where it listens.
    pub engine_endpoint: String,
}

/// A pause that notification has not been told of yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntoldPause {
    /// The same however often it is told.
    pub idempotency_key: String,
    /// When the game was paused.
    pub occurred_at_ms: u64,
}

/// Somebody in a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user_id: String,
    /// The race they play.
    pub race_name: String,
    /// Their standing.
    pub status: MemberStatus,
}

/// A member's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// Asked to be in, or was invited.
    Pending,
    /// Plays.
    Active,
    /// Was not let in.
    Rejected,
    /// Left or was taken out.
    Removed,
    /// Was shut out.
    Blocked,
}

impl MemberStatus {
    /// Whether Game Master is told of such a member at all.
    pub fn is_membership(self) -> bool {
        match self {
            Self::Active | Self::Removed | Self::Blocked => true,
            Self::Pending | Self::Rejected => false,
        }
    }
}

/// What may be done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberAction {
    /// An application is granted, or a block lifted.
    Approve,
    /// An application is refused.
    Reject,
    /// An invitation is taken up, also by somebody who had been removed.
    Redeem,
    /// They leave, or are taken out.
    Remove,
    /// They are shut out.
    Block,
}

impl MemberAction {
    /// The last segment of its path.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "approve" => Self::Approve,
            "reject" => Self::Reject,
            "redeem" => Self::Redeem,
            "remove" => Self::Remove,
            "block" => Self::Block,
            _ => return None,
        })
    }

    /// The standing it leads to, where it may be done to a member of standing `from`. Doing it
    /// again changes nothing.
    pub fn applied_to(self, from: MemberStatus) -> Option<MemberStatus> {
        use MemberStatus::{Active, Blocked, Pending, Rejected, Removed};
        match (self, from) {
            (Self::Approve, Pending | Blocked | Active) => Some(Active),
            (Self::Approve, Rejected | Removed) => None,
            (Self::Reject, Pending | Rejected) => Some(Rejected),
            (Self::Reject, Active | Removed | Blocked) => None,
            (Self::Redeem, Pending | Removed | Active) => Some(Active),
            (Self::Redeem, Rejected | Blocked) => None,
            (Self::Remove, Pending | Active | Blocked | Removed) => Some(Removed),
            (Self::Remove, Rejected) => None,
            (Self::Block, Pending | Active | Rejected | Removed | Blocked) => Some(Blocked),
        }
    }
}

impl Game {
    /// The members who play.
    pub fn active_members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.status == MemberStatus::Active)
    }

    /// The member of that name.
    pub fn member(&self, user_id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.user_id == user_id)
    }

    /// The member of that name, to be changed.
    pub fn member_mut(&mut self, user_id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.user_id == user_id)
    }

    /// Pauses it, and remembers that somebody is to be told.
    pub fn pause(&mut self, container: Container, key_number: u32, reason: String, now_ms: u64) {
        self.pauses = self.pauses.saturating_add(1);
        self.untold_pause = Some(UntoldPause {
            idempotency_key: format!("{PAUSED_INTENT}:{}:{}", self.game_id, self.pauses),
            occurred_at_ms: now_ms,
        });
        self.phase = Phase::Paused { container, key_number, reason };
    }
}

/// The notification sent when a game is paused.
pub const PAUSED_INTENT: &str = "lobby.runtime_paused_after_start";

/// Whether `text` may name a game or a user: 1 to 64 of `A-Z a-z 0-9 _ -`, the first one
/// alphanumeric.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME_BYTES
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether `text` may name a race: something visible, without control characters.
pub fn is_race_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && !text.is_empty()
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeating_a_member_action_changes_nothing() {
        use MemberAction::{Approve, Block, Redeem, Reject, Remove};
        use MemberStatus::{Active, Blocked, Pending, Rejected, Removed};
        for action in [Approve, Reject, Redeem, Remove, Block] {
            for from in [Pending, Active, Rejected, Removed, Blocked] {
                if let Some(to) = action.applied_to(from) {
                    assert_eq!(action.applied_to(to), Some(to), "{action:?} {from:?}");
                }
            }
        }
    }

    #[test]
    fn identifiers_and_race_names() {
        for good in ["a", "7", "game-1_x", &"x".repeat(64)] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "-a", "_a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(!is_identifier(bad), "{bad}");
        }
        assert!(is_race_name("Old Zörg"));
        for bad in ["", " a", "a\n", &"x".repeat(65)] {
            assert!(!is_race_name(bad), "{bad:?}");
        }
    }
}
