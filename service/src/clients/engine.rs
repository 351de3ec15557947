//! The engine over HTTP. What it says is data, not truth: bounded, checked for form here and for
//! sense by the machine.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use machine::{
    BanishCall, EngineEndpoint, EngineFailure, EngineFault, EnginePlayer, EnginePlayerId,
    EngineState, RaceName,
};
use net::HttpClient;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::{self, NoAnswer};
use crate::ports::{EngineApi, EngineReply, PlayerCall, PlayerCallError};
use crate::telemetry::labels::Peer;

/// Most players an engine may tell of; anything above cannot be of a game that was registered.
const MAX_PLAYERS: usize = 4096;

/// How deep the JSON may nest that is passed on to players.
const MAX_DEPTH: usize = 128;

/// How long the engine's calls may take in all. Each must be shorter than the lease of its kind.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Init and status.
    pub admin: Duration,
    /// A turn.
    pub turn: Duration,
    /// A player's call.
    pub player: Duration,
}

/// See the module.
pub struct HttpEngine {
    client: HttpClient,
    limits: EngineLimits,
}

#[derive(Serialize)]
struct InitRequest<'a> {
    races: Vec<InitRace<'a>>,
}

#[derive(Serialize)]
struct InitRace<'a> {
    race_name: &'a str,
}

#[derive(Serialize)]
struct BanishRequest<'a> {
    race_name: &'a str,
}

/// The contract's StateResponse; what else an engine adds is passed over.
#[derive(Deserialize)]
struct StateResponse {
    turn: u32,
    player: Vec<StatePlayer>,
    finished: bool,
}

#[derive(Deserialize)]
struct StatePlayer {
    id: EnginePlayerId,
    race_name: String,
    planets: u32,
    population: u64,
}

impl HttpEngine {
    /// A client whose connections go through `client`'s address guard.
    pub fn new(client: HttpClient, limits: EngineLimits) -> Self {
        Self { client, limits }
    }

    async fn call(
        &self,
        engine: &EngineEndpoint,
        (method, path): (Method, &str),
        body: Option<Bytes>,
        total: Duration,
    ) -> Result<Bytes, NoAnswer> {
        let client = (Peer::Engine, &self.client);
        json::call(client, method, format!("{engine}{path}"), body, Some(total)).await
    }
}

fn state_of(body: &Bytes) -> Result<EngineState, NoAnswer> {
    let state: StateResponse = json::read(body)?;
    if state.player.len() > MAX_PLAYERS {
        return Err(NoAnswer::Unreadable(format!("tells of more than {MAX_PLAYERS} players")));
    }
    let player = |p: StatePlayer| EnginePlayer {
        id: p.id,
        race_name: p.race_name,
        planets: p.planets,
        population: p.population,
    };
    let players = state.player.into_iter().map(player).collect();
    Ok(EngineState { turn: state.turn, finished: state.finished, players })
}

/// What no answer to a call means that changes something.
fn changed(no_answer: NoAnswer) -> PlayerCallError {
    match no_answer {
        NoAnswer::Lost(message) => PlayerCallError::OutcomeUnknown(format!("engine: {message}")),
        no_answer @ (NoAnswer::NotSent(_)
        | NoAnswer::Unwell(_)
        | NoAnswer::Refused { .. }
        | NoAnswer::Unreadable(_)) => PlayerCallError::Failed(failure(no_answer, None)),
    }
}

/// A failure in the machine's terms; `conflict` is what a 409 means as the answer to this question.
fn failure(no_answer: NoAnswer, conflict: Option<EngineFault>) -> EngineFailure {
    match no_answer {
        NoAnswer::NotSent(message) | NoAnswer::Lost(message) | NoAnswer::Unwell(message) => {
            EngineFailure { kind: EngineFault::Unreachable, message: format!("engine: {message}") }
        }
        NoAnswer::Unreadable(message) => EngineFailure {
            kind: EngineFault::ProtocolViolation,
            message: format!("engine: {message}"),
        },
        // To an engine that is busy or slow to read, asking later is the remedy, as for a 5xx.
        NoAnswer::Refused { status: status @ (408 | 425 | 429), .. } => EngineFailure {
            kind: EngineFault::Unreachable,
            message: format!("engine: answered {status}"),
        },
        NoAnswer::Refused { status, code, message } => {
            let kind = conflict.filter(|_| status == 409).unwrap_or(EngineFault::Validation);
            EngineFailure { kind, message: format!("engine: {status} {code}: {message}") }
        }
    }
}

#[async_trait]
impl EngineApi for HttpEngine {
    async fn init(
        &self,
        engine: &EngineEndpoint,
        races: &[RaceName],
    ) -> Result<EngineState, EngineFailure> {
        let races = races.iter().map(|r| InitRace { race_name: r.as_str() }).collect();
        let call = async {
            let body = json::body(&InitRequest { races })?;
            let route = (Method::POST, "/api/v1/admin/init");
            let answer = self.call(engine, route, Some(body), self.limits.admin).await?;
            state_of(&answer)
        };
        call.await.map_err(|e| failure(e, Some(EngineFault::AlreadyInitialised)))
    }

    async fn turn(
        &self,
        engine: &EngineEndpoint,
        expected_turn: u32,
    ) -> Result<EngineState, EngineFailure> {
        let path = format!("/api/v1/admin/turn?expected_turn={expected_turn}");
        let call = async {
            let route = (Method::PUT, path.as_str());
            let answer = self.call(engine, route, None, self.limits.turn).await?;
            state_of(&answer)
        };
        // Any conflict means that the engine is not where the record says, be it because its game
        // is over: it is asked, and tells.
        call.await.map_err(|e| failure(e, Some(EngineFault::TurnConflict)))
    }

    async fn status(&self, engine: &EngineEndpoint) -> Result<EngineState, EngineFailure> {
        let call = async {
            let route = (Method::GET, "/api/v1/admin/status");
            let answer = self.call(engine, route, None, self.limits.admin).await?;
            state_of(&answer)
        };
        call.await.map_err(|e| failure(e, None))
    }

    async fn banish(&self, call: &BanishCall) -> Result<(), EngineFailure> {
        let asked = async {
            let body = json::body(&BanishRequest { race_name: call.race.as_str() })?;
            let route = (Method::POST, "/api/v1/admin/race/banish");
            self.call(&call.endpoint, route, Some(body), self.limits.admin).await
        };
        asked.await.map(drop).map_err(|e| failure(e, None))
    }

    async fn player(
        &self,
        engine: &EngineEndpoint,
        call: PlayerCall,
    ) -> Result<EngineReply, PlayerCallError> {
        let failed = |e| PlayerCallError::Failed(failure(e, None));
        let total = self.limits.player;
        let answered = match call {
            PlayerCall::Command(body) => self
                .call(engine, (Method::PUT, "/api/v1/command"), Some(body), total)
                .await
                .map_err(changed),
            PlayerCall::Order(body) => self
                .call(engine, (Method::PUT, "/api/v1/order"), Some(body), total)
                .await
                .map_err(changed),
            PlayerCall::Report { race, turn } => {
                let player = json::encoded(race.as_str());
                let path = format!("/api/v1/report?player={player}&turn={turn}");
                let route = (Method::GET, path.as_str());
                match self.call(engine, route.clone(), None, total).await {
                    // A kept connection that the engine has closed meanwhile, or an engine that is
                    // just being started again: reading is harmless.
                    Err(NoAnswer::NotSent(_)) => self.call(engine, route, None, total).await,
                    answered => answered,
                }
                .map_err(failed)
            }
        };
        let body = answered?;
        // Passed on verbatim, but only as the JSON it claims to be. An engine may say nothing.
        if body.is_empty() {
            return Ok(EngineReply(Bytes::from_static(b"{}")));
        }
        if !json::is_at_most(MAX_DEPTH, &body) {
            let message = format!("engine: answered JSON deeper than {MAX_DEPTH}");
            let kind = EngineFault::ProtocolViolation;
            return Err(PlayerCallError::Failed(EngineFailure { kind, message }));
        }
        json::read::<&RawValue>(&body).map_err(failed)?;
        Ok(EngineReply(body))
    }
}
