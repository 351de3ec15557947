//! Game Master, as its callers see it.

use http::Method;
use machine::Timestamp;
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use crate::harness::until;

/// A Game Master, asked by an administrator, or by Lobby where the operation is Lobby's.
#[derive(Clone)]
pub struct GameMaster {
    pub(super) admin: Ask,
    pub(super) lobby: Ask,
}

/// A record, as the API shows it.
#[derive(Clone, Debug)]
pub struct Runtime(pub Value);

impl Runtime {
    /// `running`, and so on.
    pub fn status(&self) -> &str {
        self.0["runtime_status"].as_str().unwrap_or_default()
    }

    /// The last turn known to be generated.
    pub fn turn(&self) -> u64 {
        self.0["current_turn"].as_u64().unwrap_or_default()
    }

    /// The health summary.
    pub fn health(&self) -> &str {
        self.0["engine_health_summary"].as_str().unwrap_or_default()
    }

    /// When the next regular turn is due.
    pub fn next_at(&self) -> Option<Timestamp> {
        serde_json::from_value(self.0["next_generation_at"].clone()).ok()
    }

    /// The container, once it is known.
    pub fn container(&self) -> Option<&str> {
        self.0["engine"]["container_id"].as_str()
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        self.0["engine"]["version"].as_str().unwrap_or_default()
    }

    /// The code of the last failure.
    pub fn failure(&self) -> Option<&str> {
        self.0["last_failure"]["code"].as_str()
    }
}

impl GameMaster {
    /// The administrator's client, for anything that has no helper here.
    pub fn admin(&self) -> &Ask {
        &self.admin
    }

    /// Lobby's client.
    pub fn as_lobby(&self) -> &Ask {
        &self.lobby
    }

    /// The record of a game.
    pub async fn runtime(&self, game: &str) -> Option<Runtime> {
        self.admin.get(&format!("/api/v1/internal/runtimes/{game}")).await.map(Runtime)
    }

    /// Waits until the record of a game is as wanted.
    ///
    /// # Panics
    /// Where it does not become so; the message says how it is instead.
    pub async fn until(
        &self,
        game: &str,
        what: &str,
        wanted: impl Fn(&Runtime) -> bool,
    ) -> Runtime {
        let look = async || self.runtime(game).await.filter(|runtime| wanted(runtime));
        until(&format!("{game}: {what}"), look).await
    }

    /// Waits for a status.
    pub async fn until_status(&self, game: &str, status: &str) -> Runtime {
        self.until(game, status, |runtime| runtime.status() == status).await
    }

    /// Waits until a game that runs is at a turn, or beyond.
    pub async fn until_turn(&self, game: &str, turn: u64) -> Runtime {
        let wanted = |runtime: &Runtime| runtime.status() == "running" && runtime.turn() >= turn;
        self.until(game, &format!("turn {turn}"), wanted).await
    }

    /// Registers an engine for a game, as Lobby does.
    pub async fn register(&self, game: &str, registration: &Value) -> Answer {
        let path = format!("/api/v1/internal/games/{game}/register-runtime");
        self.lobby.call(Method::POST, &path, Some(registration)).await
    }

    /// Generates a turn now.
    pub async fn force(&self, game: &str) -> Answer {
        self.act(game, "force-next-turn", None).await
    }

    /// Stops a game for good.
    pub async fn stop(&self, game: &str) -> Answer {
        self.act(game, "stop", Some(json!({ "reason": "scenario" }))).await
    }

    /// Gives a game's engine another version.
    pub async fn patch(&self, game: &str, version: &str) -> Answer {
        self.act(game, "patch", Some(json!({ "version": version }))).await
    }

    /// Asks a game's engine where it stands.
    pub async fn reconcile(&self, game: &str) -> Answer {
        self.act(game, "reconcile", None).await
    }

    async fn act(&self, game: &str, what: &str, body: Option<Value>) -> Answer {
        let path = format!("/api/v1/internal/runtimes/{game}/{what}");
        self.admin.call(Method::POST, &path, body.as_ref()).await
    }

    /// Takes a race out of a game.
    pub async fn banish(&self, game: &str, race: &str) -> Answer {
        let path = format!("/api/v1/internal/games/{game}/races/{race}/banish");
        self.admin.call(Method::POST, &path, None).await
    }

    /// Whether Lobby may go on with a game.
    pub async fn liveness(&self, game: &str) -> Value {
        let path = format!("/api/v1/internal/games/{game}/liveness");
        self.lobby.call(Method::GET, &path, None).await.done()
    }

    /// The newest operations of a game, newest first.
    pub async fn operations(&self, game: &str) -> Vec<Value> {
        let path = format!("/api/v1/internal/runtimes/{game}/operations?limit=100");
        let page = self.admin.call(Method::GET, &path, None).await.done();
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// Registers an engine version.
    pub async fn add_version(&self, version: &str) -> Answer {
        let body = json!({ "version": version, "image_ref": image_ref(version), "options": {} });
        self.admin.call(Method::POST, "/api/v1/internal/engine-versions", Some(&body)).await
    }

    /// Does something to a version: `deprecate` with POST, nothing with GET and DELETE.
    pub async fn version(&self, method: Method, version: &str, what: &str) -> Answer {
        let path = format!("/api/v1/internal/engine-versions/{version}{what}");
        self.admin.call(method, &path, None).await
    }
}

/// The image of a version in these worlds.
pub fn image_ref(version: &str) -> String {
    format!("registry.example/galaxy/engine:{version}")
}
