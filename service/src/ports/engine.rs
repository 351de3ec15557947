//! The engine of a game.

use async_trait::async_trait;
use bytes::Bytes;
use machine::{BanishCall, EngineEndpoint, EngineFailure, EngineState, RaceName};

/// What a player asks of the engine, with the body ready to be sent.
#[derive(Clone, Debug)]
pub enum PlayerCall {
    /// `PUT /api/v1/command`.
    Command(Bytes),
    /// `PUT /api/v1/order`.
    Order(Bytes),
    /// `GET /api/v1/report`.
    Report {
        /// Whose.
        race: RaceName,
        /// Of which turn.
        turn: u32,
    },
}

/// The engine's answer to a player, verbatim: JSON that was checked to be JSON.
#[derive(Clone, Debug)]
pub struct EngineReply(pub Bytes);

/// Why a player's call has no answer.
#[derive(Clone, Debug)]
pub enum PlayerCallError {
    /// It failed, or the engine refused it.
    Failed(EngineFailure),
    /// It was sent, and the engine may or may not have acted on it.
    OutcomeUnknown(String),
}

/// The calls to an engine. None is ever repeated by the adapter, except a report once, where
/// nothing was sent.
#[async_trait]
pub trait EngineApi: Send + Sync + 'static {
    /// `POST /api/v1/admin/init`.
    async fn init(
        &self,
        engine: &EngineEndpoint,
        races: &[RaceName],
    ) -> Result<EngineState, EngineFailure>;

    /// `PUT /api/v1/admin/turn`.
    async fn turn(
        &self,
        engine: &EngineEndpoint,
        expected_turn: u32,
    ) -> Result<EngineState, EngineFailure>;

    /// `GET /api/v1/admin/status`.
    async fn status(&self, engine: &EngineEndpoint) -> Result<EngineState, EngineFailure>;

    /// `POST /api/v1/admin/race/banish`.
    async fn banish(&self, call: &BanishCall) -> Result<(), EngineFailure>;

    /// A player's call.
    async fn player(
        &self,
        engine: &EngineEndpoint,
        call: PlayerCall,
    ) -> Result<EngineReply, PlayerCallError>;
}
