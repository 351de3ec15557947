//! The messages on the streams between the neighbours, as these programs read and write them.
//!
//! Writing is exact; reading passes over members it does not know.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `runtime:start_jobs`: Lobby asks Runtime Manager for an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartJob {
    /// What makes a repeated job recognisable.
    pub job_id: String,
    /// The game.
    pub game_id: String,
    /// The engine's image.
    pub image_ref: String,
    /// When Lobby decided to start the game.
    pub requested_at_ms: u64,
}

/// What became of a start job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// The engine answers.
    Success,
    /// The job itself is wrong, for example its image reference.
    StartConfigInvalid,
    /// There is no such image, or it could not be had.
    ImagePullFailed,
    /// The engine did not come up.
    ContainerStartFailed,
}

impl JobOutcome {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::StartConfigInvalid => "start_config_invalid",
            Self::ImagePullFailed => "image_pull_failed",
            Self::ContainerStartFailed => "container_start_failed",
        }
    }
}

/// `runtime:job_results`: Runtime Manager's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The job answered.
    pub job_id: String,
    /// Its game.
    pub game_id: String,
    /// What became of it.
    pub outcome: JobOutcome,
    /// Where the engine listens: `http://host:port`. Present on success.
    #[serde(default)]
    pub engine_endpoint: Option<String>,
    /// The container it runs in. Present on success.
    #[serde(default)]
    pub container_id: Option<String>,
    /// For people. Present on failure.
    #[serde(default)]
    pub error_message: Option<String>,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthEventType {
    /// It answers its health check.
    Healthy,
    /// It did not, `details.consecutive_failures` times in a row.
    ProbeFailed,
    /// The container runtime calls it unhealthy.
    InspectUnhealthy,
    /// It ended without being asked to.
    ContainerExited,
    /// It was killed for want of memory.
    ContainerOom,
    /// The container runtime does not know it any more.
    ContainerDisappeared,
}

/// `runtime:health_events`: how an engine fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthEvent {
    /// The game.
    pub game_id: String,
    /// The container the event is about, which need not be the game's present one.
    pub container_id: String,
    /// What happened.
    pub event_type: HealthEventType,
    /// When.
    pub occurred_at_ms: u64,
    /// More, by event type.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// One player's standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerTurnStats {
    /// The player.
    pub user_id: String,
    /// Planets owned.
    pub planets: u64,
    /// People on them.
    pub population: u64,
}

/// `gm:lobby_events`: how a game goes, from Game Master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum GameEvent {
    /// The present state of a game that goes on.
    RuntimeSnapshotUpdate {
        /// The game.
        game_id: String,
        /// The last turn generated.
        current_turn: u32,
        /// Game Master's status of the runtime.
        runtime_status: String,
        /// Summary of the engine's health.
        engine_health_summary: String,
        /// Everybody's standing.
        player_turn_stats: Vec<PlayerTurnStats>,
        /// When it came to this.
        occurred_at_ms: u64,
    },
    /// The last message of a game.
    GameFinished {
        /// The game.
        game_id: String,
        /// The last turn of the game.
        final_turn_number: u32,
        /// Game Master's status of the runtime.
        runtime_status: String,
        /// Everybody's final standing.
        player_turn_stats: Vec<PlayerTurnStats>,
        /// When it finished.
        finished_at_ms: u64,
    },
}

impl GameEvent {
    /// The game it is about.
    pub fn game_id(&self) -> &str {
        match self {
            Self::RuntimeSnapshotUpdate { game_id, .. } | Self::GameFinished { game_id, .. } => {
                game_id
            }
        }
    }
}

/// `notification:intents`: somebody should be told something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationIntent {
    /// What happened, for example `game.turn.ready`.
    pub notification_type: String,
    /// Who says so.
    pub producer: String,
    /// Who is to be told: the recipients below, or a group that notification knows.
    pub audience_kind: String,
    /// The recipients, where the audience is a list of users.
    #[serde(default)]
    pub recipient_user_ids: Vec<String>,
    /// The same for every copy of the same intent.
    pub idempotency_key: String,
    /// When it happened.
    pub occurred_at_ms: u64,
    /// What the text is made from.
    #[serde(default)]
    pub payload: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_contract() {
        let text = r#"{"event_type":"game_finished","game_id":"g","final_turn_number":3,
            "runtime_status":"finished","player_turn_stats":[],"finished_at_ms":9}"#;
        let event: GameEvent = serde_json::from_str(text).unwrap();
        assert_eq!(event.game_id(), "g");
        let failed = JobResult {
            job_id: "j".into(),
            game_id: "g".into(),
            outcome: JobOutcome::ImagePullFailed,
            engine_endpoint: None,
            container_id: None,
            error_message: Some("no such image".into()),
        };
        let json = serde_json::to_value(&failed).unwrap();
        assert_eq!(json["outcome"], failed.outcome.as_str());
        assert_eq!(json["engine_endpoint"], Value::Null);
        let kind = serde_json::to_value(HealthEventType::ContainerOom).unwrap();
        assert_eq!(kind, "container_oom");
    }
}
