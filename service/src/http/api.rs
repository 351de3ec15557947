//! The application, as the HTTP API sees it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machine::explain::Explanation;
use machine::{
    EngineEndpoint, EngineVersion, GameId, ImageRef, RaceName, Roster, Runtime, Status, StopReason,
    Timestamp, UserId,
};

use super::json;
use crate::error::ServiceError;
use crate::ports::{Claim, EngineVersionRow, NewVersion, OperationRow, Origin, VersionOptions};

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
        asked: Asked,
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
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError>;

    /// Takes the engine down for good, after the turn that is being generated.
    async fn stop(
        &self,
        game: GameId,
        reason: StopReason,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError>;

    /// Moves a game to another patch of its engine; `EngineVersionNotFound` where that is none.
    async fn patch(
        &self,
        game: GameId,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError>;

    /// Asks an unwell engine where it stands, and believes it.
    async fn reconcile(&self, game: GameId, asked: Asked) -> Result<Arc<Runtime>, ServiceError>;

    /// Takes a race out of a game.
    async fn banish(&self, game: GameId, race: RaceName, asked: Asked) -> Result<(), ServiceError>;

    /// Up to `limit` operations of a game with a place below `before`, the newest first;
    /// `RuntimeNotFound` where neither the record nor an operation is known.
    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, ServiceError>;

    /// Why a game is as it is, and what comes next; `RuntimeNotFound` where there is none.
    async fn explain(&self, game: &GameId) -> Result<Explained, ServiceError>;

    /// The next `count` occurrences of a schedule: fewer where it ends before.
    async fn preview(&self, schedule: &str, count: usize) -> Result<Vec<Timestamp>, ServiceError>;

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
    async fn create_version(
        &self,
        new: NewVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError>;

    /// Changes what is given of an engine version.
    async fn update_version(
        &self,
        version: EngineVersion,
        update: VersionUpdate,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError>;

    /// Keeps new games off an engine version.
    async fn deprecate_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError>;

    /// Removes an engine version; `EngineVersionInUse` where a record names it.
    async fn delete_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<(), ServiceError>;

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

/// Who asks for a change, and under which name of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub origin: Origin,
    /// The `Idempotency-Key` they gave it, with what they ask for: a repeat has the answer of the
    /// first, and another request under the same name is a `Conflict`.
    pub claim: Option<Claim>,
}

impl From<Origin> for Asked {
    fn from(origin: Origin) -> Self {
        Self { origin, claim: None }
    }
}

/// Why a game is as it is.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The record.
    pub runtime: Arc<Runtime>,
    /// What is to be said of it.
    pub explanation: Explanation,
}

/// What is to change of an engine version: at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionUpdate {
    /// What to start from now on.
    pub image_ref: Option<ImageRef>,
    /// How it behaves.
    pub options: Option<VersionOptions>,
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
