//! What the world is told. Messages are committed with the record and published from the outbox;
//! their field sets are frozen in `api/`.

use serde::{Deserialize, Serialize};

use crate::ids::{GameId, UserId};
use crate::record::{PlayerStats, Status, Summary};

/// A message to one of the streams Game Master writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// To `gm:lobby_events`.
    Lobby(LobbyEvent),
    /// To `notification:intents`.
    Intent(Intent),
}

/// The streams Game Master writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// Game Master is the only producer: ids are assigned here, in commit order.
    #[serde(rename = "gm:lobby_events")]
    LobbyEvents,
    /// Shared with other producers: at least once, guarded by the idempotency key.
    #[serde(rename = "notification:intents")]
    NotificationIntents,
}

impl Channel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::LobbyEvents, Self::NotificationIntents];

    /// The contract's name of the stream.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LobbyEvents => "gm:lobby_events",
            Self::NotificationIntents => "notification:intents",
        }
    }
}

impl Message {
    /// Which stream it goes to.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Lobby(_) => Channel::LobbyEvents,
            Self::Intent(_) => Channel::NotificationIntents,
        }
    }
}

/// What Lobby is told of a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum LobbyEvent {
    /// The runtime as of this commit.
    RuntimeSnapshotUpdate {
        /// The game.
        game_id: GameId,
        /// The last turn generated.
        current_turn: u32,
        /// The status.
        runtime_status: Status,
        /// The health summary.
        engine_health_summary: Summary,
        /// The players' standing.
        player_turn_stats: Vec<PlayerStats>,
        /// When, unix milliseconds.
        occurred_at_ms: i64,
    },
    /// The game is over; the last message of a game.
    GameFinished {
        /// The game.
        game_id: GameId,
        /// The last turn generated.
        final_turn_number: u32,
        /// Always `finished`.
        runtime_status: Status,
        /// The players' final standing.
        player_turn_stats: Vec<PlayerStats>,
        /// When, unix milliseconds.
        finished_at_ms: i64,
    },
}

/// A notification that somebody is to get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Which.
    pub notification_type: NotificationType,
    /// Always `game_master`.
    pub producer: Producer,
    /// To whom in general.
    pub audience_kind: AudienceKind,
    /// To whom by name; empty where the audience says it all.
    pub recipient_user_ids: Vec<UserId>,
    /// Stable across re-publishing.
    pub idempotency_key: String,
    /// When, unix milliseconds.
    pub occurred_at_ms: i64,
    /// The facts.
    pub payload: IntentPayload,
}

/// The notifications Game Master asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NotificationType {
    /// A turn was generated.
    #[serde(rename = "game.turn.ready")]
    TurnReady,
    /// The game is over.
    #[serde(rename = "game.finished")]
    Finished,
    /// A turn could not be generated.
    #[serde(rename = "game.generation_failed")]
    GenerationFailed,
}

impl NotificationType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TurnReady => "game.turn.ready",
            Self::Finished => "game.finished",
            Self::GenerationFailed => "game.generation_failed",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Producer {
    /// This service.
    GameMaster,
}

/// To whom in general.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceKind {
    /// The users named.
    User,
    /// The administrators, by e-mail.
    AdminEmail,
}

/// The facts of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentPayload {
    /// The game.
    pub game_id: GameId,
    /// The turn it is about.
    pub turn: u32,
    /// For a failure: the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// For a failure: in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}
