//! The neighbours, as people and other programs see them.

use http::Method;
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use crate::harness::until;

/// A game as it is to be created at Lobby.
#[derive(Clone, Debug)]
pub struct GamePlan {
    /// Its id.
    pub id: String,
    /// The engine version.
    pub version: String,
    /// The turn schedule.
    pub schedule: String,
    /// Who plays which race.
    pub members: Vec<(String, String)>,
}

impl GamePlan {
    /// Alice against Bob; a turn each new year only, so that nothing happens by itself.
    pub fn new(id: &str) -> Self {
        let member = |user: &str, race: &str| (user.to_owned(), race.to_owned());
        Self {
            id: id.to_owned(),
            version: "1.4.2".to_owned(),
            schedule: "0 0 1 1 *".to_owned(),
            members: vec![member("alice", "Andorians"), member("bob", "Betans")],
        }
    }

    /// With a turn at each second that `seconds` divides.
    #[must_use]
    pub fn every(mut self, seconds: u8) -> Self {
        self.schedule = format!("*/{seconds} * * * * *");
        self
    }

    /// With these members.
    #[must_use]
    pub fn members(mut self, members: &[(&str, &str)]) -> Self {
        let own = |(user, race): &(&str, &str)| ((*user).to_owned(), (*race).to_owned());
        self.members = members.iter().map(own).collect();
        self
    }

    /// The members, as Lobby and Game Master take them.
    pub fn member_list(&self) -> Value {
        let member =
            |(user, race): &(String, String)| json!({ "user_id": user, "race_name": race });
        self.members.iter().map(member).collect()
    }

    /// What Game Master is asked, with the engine at `endpoint`.
    pub fn registration(&self, endpoint: &str) -> Value {
        json!({
            "engine_endpoint": endpoint,
            "members": self.member_list(),
            "target_engine_version": self.version,
            "turn_schedule": self.schedule,
        })
    }
}

/// Lobby.
#[derive(Clone)]
pub struct Lobby(pub(super) Ask);

impl Lobby {
    /// The client, for anything that has no helper here.
    pub fn ask(&self) -> &Ask {
        &self.0
    }

    /// Creates a game in draft.
    pub async fn create_game(&self, plan: &GamePlan) -> Value {
        let body = json!({
            "game_id": plan.id,
            "engine_version": plan.version,
            "turn_schedule": plan.schedule,
            "members": plan.member_list(),
        });
        self.0.call(Method::POST, "/api/v1/games", Some(&body)).await.done()
    }

    /// Starts a game.
    pub async fn start(&self, game: &str) -> Answer {
        self.0.call(Method::POST, &format!("/api/v1/games/{game}/start"), None).await
    }

    /// Looks at once whether a paused game can go on.
    pub async fn resume(&self, game: &str) -> Answer {
        self.0.call(Method::POST, &format!("/api/v1/games/{game}/resume"), None).await
    }

    /// A game, as people see it.
    pub async fn game(&self, game: &str) -> Option<Value> {
        self.0.get(&format!("/api/v1/games/{game}")).await
    }

    /// Waits until a game is as wanted.
    pub async fn until(&self, game: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || self.game(game).await.filter(|seen| wanted(seen));
        until(&format!("Lobby, {game}: {what}"), look).await
    }

    /// Waits for a status.
    pub async fn until_status(&self, game: &str, status: &str) -> Value {
        self.until(game, status, |seen| seen["status"] == status).await
    }

    /// Somebody applies for a place.
    pub async fn enrol(&self, game: &str, user: &str, race: &str) -> Answer {
        let body = json!({ "user_id": user, "race_name": race });
        self.0.call(Method::POST, &format!("/api/v1/games/{game}/members"), Some(&body)).await
    }

    /// Approves, rejects, redeems, removes or blocks a member.
    pub async fn act_on_member(&self, game: &str, user: &str, action: &str) -> Answer {
        let path = format!("/api/v1/games/{game}/members/{user}/{action}");
        self.0.call(Method::POST, &path, None).await
    }

    /// Deletes a user.
    pub async fn delete_user(&self, user: &str) -> Answer {
        self.0.call(Method::DELETE, &format!("/api/v1/users/{user}"), None).await
    }
}

/// Runtime Manager.
#[derive(Clone)]
pub struct Rtm(pub(super) Ask);

impl Rtm {
    /// The client, for anything that has no helper here.
    pub fn ask(&self) -> &Ask {
        &self.0
    }

    /// A game's engine, as it is known there.
    pub async fn runtime(&self, game: &str) -> Option<Value> {
        self.0.get(&format!("/api/v1/internal/runtimes/{game}")).await
    }

    /// Waits until a game's engine is as wanted.
    pub async fn until(&self, game: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || self.runtime(game).await.filter(|seen| wanted(seen));
        until(&format!("Runtime Manager, {game}: {what}"), look).await
    }

    /// Kills a game's engine and has its end reported as `exited`, `out_of_memory` or
    /// `disappeared`. It is started again.
    pub async fn end_engine(&self, game: &str, kind: &str) {
        let path = format!("/_runtimes/{game}/end");
        self.0.call(Method::POST, &path, Some(&json!({ "kind": kind }))).await.done();
    }

    /// Tells it what to do wrong from now on; an empty object: nothing.
    pub async fn misbehave(&self, faults: Value) {
        self.0.misbehave(faults).await;
    }
}

/// A game's engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) ask: Ask,
    pub(super) endpoint: String,
}

impl Engine {
    /// The client, for anything that has no helper here.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Where it listens, as Game Master is told.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The turns generated, in order.
    pub async fn turns(&self) -> Option<Vec<u64>> {
        turns_of(&self.ask.get("/_log").await?)
    }

    /// Its state, as Game Master sees it.
    pub async fn state(&self) -> Option<Value> {
        self.ask.get("/api/v1/admin/status").await
    }

    /// Tells it what to do wrong from now on; an empty object: nothing.
    pub async fn misbehave(&self, plan: Value) {
        self.ask.misbehave(plan).await;
    }
}

pub(super) fn turns_of(log: &Value) -> Option<Vec<u64>> {
    log.as_array()?.iter().map(|entry| entry["turn"].as_u64()).collect()
}

/// A player, who comes through the gateway.
#[derive(Clone)]
pub struct Player(pub(super) Ask);

impl Player {
    /// Sends commands, carried out at once.
    pub async fn commands(&self, game: &str, commands: &Value) -> Answer {
        let path = format!("/api/v1/games/{game}/commands");
        self.0.call(Method::POST, &path, Some(&json!({ "commands": commands }))).await
    }

    /// Sends orders, carried out with the next turn.
    pub async fn orders(&self, game: &str, commands: &Value) -> Answer {
        let path = format!("/api/v1/games/{game}/orders");
        self.0.call(Method::PUT, &path, Some(&json!({ "commands": commands }))).await
    }

    /// Asks for a report.
    pub async fn report(&self, game: &str, turn: u64) -> Answer {
        self.0.call(Method::GET, &format!("/api/v1/games/{game}/reports/{turn}"), None).await
    }
}

/// The notification service.
#[derive(Clone)]
pub struct Notification(pub(super) Ask);

impl Notification {
    /// The client, for anything that has no helper here.
    pub fn ask(&self) -> &Ask {
        &self.0
    }

    /// Everything that it would have sent and keeps, oldest first: the intents.
    pub async fn sent(&self) -> Option<Vec<Value>> {
        let mut sent = vec![];
        let mut after = 0;
        loop {
            let page = self.0.get(&format!("/api/v1/sent?after={after}&limit=1000")).await?;
            let entries = page["sent"].as_array()?;
            if entries.is_empty() {
                return Some(sent);
            }
            sent.extend(entries.iter().map(|entry| entry["intent"].clone()));
            after = page["next"].as_u64()?;
        }
    }

    /// Waits for a notification of a type about a game.
    pub async fn until_sent(&self, game: &str, kind: &str) -> Value {
        let wanted = |intent: &Value| {
            intent["notification_type"] == kind && intent["payload"]["game_id"] == game
        };
        until(&format!("{kind} of {game}"), async || self.sent().await?.into_iter().find(wanted))
            .await
    }
}
