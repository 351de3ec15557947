//! The demo games: created at Lobby and started as a person would, over REST; played by bots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use net::HttpClient;
use peers::gateway::{Gateway, GatewayOptions, Player, TokenTable};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::narrator::Narrator;

/// The engine version the demo games play.
pub(super) const VERSION: &str = "1.0.0";
/// A newer patch of it, to try a patch on.
pub(super) const NEWER_VERSION: &str = "1.0.1";
/// The games' names; beyond them they are numbered.
const NAMES: [&str; 6] = ["aurora", "borealis", "cygnus", "draco", "eridanus", "fornax"];
/// Who plays which race.
const PLAYERS: [(&str, &str); 4] =
    [("alice", "Andorians"), ("bob", "Betans"), ("carol", "Cetians"), ("dave", "Denebians")];
/// How long a player thinks between two rounds.
const THINKING: Duration = Duration::from_secs(4);
/// For one call of a player.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A game to be played.
pub(super) struct DemoGame {
    pub(super) id: String,
    /// From one turn to the next, in seconds.
    pub(super) period: u8,
    players: &'static [(&'static str, &'static str)],
}

/// Why the demo games could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A neighbour did not answer.
    #[error("{what}: {error}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: net::CallError,
    },
    /// A neighbour refused.
    #[error("{what} was refused with {status}: {body}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The answer's status.
        status: StatusCode,
        /// The answer's body.
        body: String,
    },
    /// The request cannot be written down.
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// The first `count` demo games.
pub(super) fn demo(count: u16, turn_every: Option<u8>) -> Vec<DemoGame> {
    let game = |n: usize| DemoGame {
        id: NAMES.get(n).map_or_else(|| format!("game-{}", n + 1), |name| (*name).to_owned()),
        period: turn_every.unwrap_or([5, 10, 15][n % 3]),
        players: &PLAYERS[..2 + n % 3],
    };
    (0..usize::from(count)).map(game).collect()
}

impl DemoGame {
    fn schedule(&self) -> String {
        match self.period {
            1 => "* * * * * *".into(),
            seconds => format!("*/{seconds} * * * * *"),
        }
    }
}

/// The image of an engine version.
pub(super) fn image_of(version: &str) -> String {
    format!("registry.example/galaxy/engine:{version}")
}

/// Registers the engine versions at Game Master, and creates and starts the games at Lobby; what is
/// there from an earlier run stays as it is.
pub(super) async fn set_up(
    client: &HttpClient,
    gm: SocketAddr,
    lobby: SocketAddr,
    games: &[DemoGame],
) -> Result<(), SetupError> {
    for version in [VERSION, NEWER_VERSION] {
        let body = json!({
            "version": version,
            "image_ref": image_of(version),
            "options": { "turn_guard": true },
        });
        let uri = format!("http://{gm}/api/v1/internal/engine-versions");
        post(client, "registering an engine version", &uri, &body).await?;
    }
    for game in games {
        let members: Vec<_> = game
            .players
            .iter()
            .map(|(user, race)| json!({ "user_id": user, "race_name": race }))
            .collect();
        let body = json!({
            "game_id": game.id,
            "engine_version": VERSION,
            "turn_schedule": game.schedule(),
            "members": members,
        });
        let created =
            post(client, "creating a game", &format!("http://{lobby}/api/v1/games"), &body).await?;
        if created {
            let uri = format!("http://{lobby}/api/v1/games/{}/start", game.id);
            post(client, "starting a game", &uri, &json!(null)).await?;
        }
    }
    Ok(())
}

/// `false` where it is there already.
async fn post(
    client: &HttpClient,
    what: &'static str,
    uri: &str,
    body: &serde_json::Value,
) -> Result<bool, SetupError> {
    let mut request = Request::builder().method(Method::POST).uri(uri);
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        request = request.header(header::CONTENT_TYPE, "application/json");
        Bytes::from(body.to_string())
    };
    let answer = client.send(request.body(bytes)?).await;
    let answer = answer.map_err(|error| SetupError::Call { what, error })?;
    let status = answer.status();
    if status.is_success() || status == StatusCode::CONFLICT {
        return Ok(status.is_success());
    }
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    Err(SetupError::Refused { what, status, body })
}

/// Has every player of every game play, through the gateway, until the game is over.
pub(super) fn play(
    client: &HttpClient,
    gm: SocketAddr,
    games: &[DemoGame],
    narrator: &Narrator,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) {
    let token = |user: &str| format!("token-of-{user}");
    let tokens: TokenTable =
        PLAYERS.iter().map(|(user, _)| (token(user), (*user).to_owned())).collect();
    let options = GatewayOptions {
        base_url: format!("http://{gm}"),
        api_token: None,
        tokens,
        call_timeout: CALL_TIMEOUT,
    };
    let gateway = Arc::new(Gateway::new(client.clone(), options));
    for game in games {
        for (user, _) in game.players {
            let player = Player {
                gateway: Arc::clone(&gateway),
                token: token(user),
                game_id: game.id.clone(),
                period: THINKING,
                max_rounds: None,
            };
            let (narrator, stop) = (narrator.clone(), stop.clone());
            let id = game.id.clone();
            tasks.spawn(async move {
                let over = narrator.until_over(&id);
                let observe = |event| narrator.player(&event);
                tokio::select! {
                    biased;
                    () = over => {}
                    _ = player.run(observe, stop) => {}
                }
            });
        }
    }
}
