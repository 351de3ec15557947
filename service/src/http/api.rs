//! The application, as the HTTP API sees it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machine::{EngineEndpoint, EngineVersion, GameId, Roster, Runtime, Status, UserId};

use super::json;
use crate::error::ServiceError;
use crate::ports::{EngineVersionRow, NewVersion, Origin};

/// What the operations of the API do. Arguments are valid in form; whether they are allowed is the
/// application's to say.
///
/// A request whose client hangs up is dropped, and with it the future of the call. So whatever
/// changes something must go on by itself once begun, and the future only waits for it.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Initialises an engine and begins the game.
    async fn register(
        &self,
        game: GameId,
        request: RegisterRequest,
        origin: Origin,
    ) -> Result<Arc<Runtime>, ServiceError>;

    /// The record of a game.
    async fn runtime(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, ServiceError>;

    /// Up to `limit` records above `after` in the order of their keys, of one status or of all.
    async fn runtimes(
        &self,
        status: Option<Status>,
        after: Option<GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, ServiceError>;

    /// Generates the next turn now.
    async fn force_next_turn(
        &self,
        game: GameId,
        origin: Origin,
    ) -> Result<Arc<Runtime>, ServiceError>;

    /// Passes on what a player asks of the engine: its answer, JSON, verbatim.
    async fn player(
        &self,
        game: &GameId,
        user: &UserId,
        request: PlayerRequest,
    ) -> Result<Bytes, ServiceError>;

    /// Forgets what is known of a game's members.
    async fn invalidate_memberships(&self, game: GameId) -> Result<(), ServiceError>;

    /// Registers an engine version; `Conflict` where it is registered already.
    async fn create_version(&self, new: NewVersion) -> Result<EngineVersionRow, ServiceError>;

    /// One engine version; `EngineVersionNotFound` where there is none.
    async fn version(&self, version: &EngineVersion) -> Result<EngineVersionRow, ServiceError>;

    /// Up to `limit` engine versions above `after`, in semver order.
    async fn versions(
        &self,
        after: Option<EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, ServiceError>;

    /// Whether traffic may be sent here.
    async fn readiness(&self) -> Readiness;
}

/// What Lobby hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterRequest {
    /// Where the engine listens.
    pub engine_endpoint: EngineEndpoint,
    /// Who plays.
    pub members: Roster,
    /// What the engine runs.
    pub target_engine_version: EngineVersion,
    /// When turns are due: 1 to 256 printable ASCII characters, not looked into yet.
    pub turn_schedule: String,
}

/// What a player asks of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayerRequest {
    /// To execute commands.
    Commands(CommandList),
    /// To replace the orders for the coming turn.
    Orders(CommandList),
    /// For the player's report.
    Report {
        /// Of which turn.
        turn: u32,
    },
}

/// A JSON array of 1 to [`CommandList::MAX_COMMANDS`] objects, none of which names an actor. The
/// bytes are the caller's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandList(Bytes);

impl CommandList {
    /// The most commands of one request.
    pub const MAX_COMMANDS: usize = 256;

    /// Takes the list out of a request body, `{"commands": [...]}`, without copying it.
    pub fn from_body(body: &Bytes) -> Result<Self, ServiceError> {
        let array = json::commands(body, Self::MAX_COMMANDS)?;
        Ok(Self(body.slice_ref(array.as_bytes())))
    }

    /// The array, brackets included.
    pub fn as_json(&self) -> &Bytes {
        &self.0
    }
}

/// How the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the store can be reached; nothing works without it.
    pub store: bool,
    /// Whether the streams can be reached; without them messages wait.
    pub streams: bool,
    /// How many messages wait. Without meaning where the store cannot be reached.
    pub outbox_backlog: u64,
    /// Whether the process is shutting down.
    pub draining: bool,
}
