//! Game Master, as Lobby calls it.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    flow::Outcome,
    game::{Container, Game},
};
use crate::{
    call::{Answer, Caller, NoAnswer},
    http::percent_encode,
};

/// A client of Game Master.
#[derive(Clone)]
pub(super) struct GameMaster {
    caller: Caller,
}

/// Why an image reference could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ResolveError {
    /// No answer, or one that says "not now".
    Unavailable(String),
    /// Game Master's refusal.
    Refused { code: String, message: String },
}

#[derive(Deserialize)]
struct ImageRef {
    image_ref: String,
}

#[derive(Deserialize)]
struct Liveness {
    ready: bool,
    status: String,
}

impl GameMaster {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller }
    }

    /// The image of an engine version.
    pub(super) async fn image_ref(&self, version: &str) -> Result<String, ResolveError> {
        let version = percent_encode(version);
        let path = format!("/api/v1/internal/engine-versions/{version}/image-ref");
        let answer = self.caller.get(&path).await;
        let answer = answer.map_err(|error| ResolveError::Unavailable(error.message))?;
        let (code, message) = match answer.status {
            StatusCode::OK => match answer.json::<ImageRef>() {
                Ok(found) => return Ok(found.image_ref),
                Err(error) => ("protocol_violation".to_owned(), error.to_string()),
            },
            _ => answer.refusal(),
        };
        if answer.status.is_client_error() {
            Err(ResolveError::Refused { code, message })
        } else {
            Err(ResolveError::Unavailable(format!("{code}: {message}")))
        }
    }

    /// Hands the running engine over.
    pub(super) async fn register(
        &self,
        game: &Game,
        container: &Container,
        key_number: u32,
    ) -> Outcome {
        let members: Vec<Value> = game
            .active_members()
            .map(|m| json!({ "user_id": m.user_id, "race_name": m.race_name }))
            .collect();
        let body = json!({
            "engine_endpoint": container.engine_endpoint,
            "members": members,
            "target_engine_version": game.engine_version,
            "turn_schedule": game.turn_schedule,
        });
        let path = format!("/api/v1/internal/games/{}/register-runtime", game.game_id);
        let key = format!("{}-{key_number}", container.job_id);
        match self.caller.post(&path, &body, &[("idempotency-key", &key)]).await {
            Err(error) => unreachable(error),
            Ok(answer) if answer.status.is_success() => Outcome::Registered,
            Ok(answer) if answer.status == StatusCode::CONFLICT => {
                let record = self.whose_record(&game.game_id, container).await;
                record.unwrap_or(Outcome::KeySpent)
            }
            Ok(answer) => refused(&answer),
        }
    }

    /// Whether Game Master is back, and what it knows of the game.
    pub(super) async fn check_back(&self, game_id: &str, container: &Container) -> Outcome {
        let path = format!("/api/v1/internal/games/{game_id}/liveness");
        let answer = match self.caller.get(&path).await {
            Ok(answer) => answer,
            Err(error) => return unreachable(error),
        };
        if answer.status != StatusCode::OK {
            return refused(&answer);
        }
        match answer.json::<Liveness>() {
            Ok(found) if found.status == "unregistered" && found.ready => Outcome::Unregistered,
            Ok(_) => {
                // Taken back between the two questions.
                let gone = || Outcome::NotYet("the record is gone".to_owned());
                self.whose_record(game_id, container).await.unwrap_or_else(gone)
            }
            Err(error) => Outcome::NotYet(format!("liveness cannot be read: {error}")),
        }
    }

    /// Game Master has a record, or had. Ours, from a registration whose answer was lost, or another?
    /// `None`: there is none.
    async fn whose_record(&self, game_id: &str, ours: &Container) -> Option<Outcome> {
        let path = format!("/api/v1/internal/runtimes/{game_id}");
        let answer = match self.caller.get(&path).await {
            Ok(answer) => answer,
            Err(error) => return Some(unreachable(error)),
        };
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return None,
            _ => return Some(refused(&answer)),
        }
        let record = match answer.json::<Value>() {
            Ok(record) => record,
            Err(error) => {
                return Some(Outcome::NotYet(format!("record cannot be read: {error}")));
            }
        };
        Some(if record["engine"]["endpoint"] != ours.engine_endpoint.as_str() {
            Outcome::Refused {
                code: "conflict".to_owned(),
                message: "Game Master runs this game on another engine".to_owned(),
            }
        } else if record["runtime_status"] == "starting" {
            Outcome::NotYet("Game Master is initialising the engine".to_owned())
        } else {
            Outcome::Registered
        })
    }

    /// Tells Game Master to forget what it knows of a game's members.
    pub(super) async fn invalidate(&self, game_id: &str) -> Result<(), String> {
        let path = format!("/api/v1/internal/games/{game_id}/memberships/invalidate");
        let answer = self.caller.post(&path, &json!({}), &[]).await;
        match answer.map_err(|error| error.message)? {
            answer if answer.status.is_success() => Ok(()),
            answer => Err(answer.refusal().1),
        }
    }
}

fn unreachable(error: NoAnswer) -> Outcome {
    Outcome::Unreachable { may_have_happened: error.may_have_happened, message: error.message }
}

fn refused(answer: &Answer) -> Outcome {
    let (code, message) = answer.refusal();
    match answer.status {
        StatusCode::SERVICE_UNAVAILABLE => {
            Outcome::Unreachable { may_have_happened: code == "outcome_unknown", message }
        }
        status if status.is_client_error() && code != "engine_unreachable" => {
            Outcome::Refused { code, message }
        }
        // An engine that answers nonsense will answer nonsense again.
        StatusCode::BAD_GATEWAY if code == "engine_protocol_violation" => {
            Outcome::Refused { code, message }
        }
        _ => Outcome::Trouble { code, message },
    }
}
