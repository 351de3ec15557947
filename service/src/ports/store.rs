//! The only truth: records, the operation log, the outbox, engine versions.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use machine::{
    AuditEntry, Channel, EngineVersion, GameId, ImageRef, Incarnation, Message, OperationId,
    OperationKind, Outcome, Runtime, Status, StreamId, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one commit, so that one whose answer was lost can be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub Uuid);

/// Everything that one decision changes: all of it becomes durable, or nothing does.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its name: never used for another commit. Repeating a commit under its name is safe.
    pub id: CommitId,
    /// The game.
    pub game_id: GameId,
    /// What must be there; `None`: nothing.
    pub expected: Option<Expected>,
    /// What is there afterwards; `None`: nothing, and no mapping either.
    pub next: Option<Arc<Runtime>>,
    /// Goes to the outbox, in this order.
    pub messages: Vec<Message>,
    /// Goes to the operation log. Never empty.
    pub audit: Vec<AuditEntry>,
    /// Who asked for the operation that this commit opens.
    pub origin: Origin,
    /// When it was decided.
    pub at: Timestamp,
}

/// The compare side of the compare-and-set. Status and revision alone could meet their like in
/// another life of the game, where a registration was rolled back and made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The life that was decided on.
    pub incarnation: Incarnation,
    /// The status that was decided on.
    pub status: Status,
    /// The revision that was decided on.
    pub revision: u64,
}

impl From<&Runtime> for Expected {
    fn from(rt: &Runtime) -> Self {
        Self { incarnation: rt.incarnation, status: rt.status(), revision: rt.revision }
    }
}

/// How a commit ended. A conflict is a value, not an error: load, decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it is durable, by this call or by an earlier one under the same name.
    Applied,
    /// Something else is there than what was expected; nothing happened.
    Conflict,
}

/// Who asked, for the operation log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Through which door.
    pub source: Source,
    /// The caller's name of the request.
    pub request_id: Option<String>,
}

impl Origin {
    /// Game Master itself.
    pub const SELF: Self = Self { source: Source::GameMaster, request_id: None };
}

/// Through which door an operation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Players, through Gateway.
    Gateway,
    /// Lobby.
    Lobby,
    /// An administrator.
    Admin,
    /// A timer, a health event, a recovery.
    GameMaster,
}

/// One operation, opened and perhaps closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its key.
    pub operation: OperationId,
    /// The game.
    pub game_id: GameId,
    /// The place in the log: grows with every operation opened.
    pub seq: u64,
    /// What it is.
    pub kind: OperationKind,
    /// The turn number it is to generate.
    pub turn: Option<u32>,
    /// Who asked.
    pub origin: Origin,
    /// How it stands.
    pub state: OperationState,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When it was closed.
    pub finished_at: Option<Timestamp>,
}

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Under way.
    Open,
    /// Over.
    Closed(Outcome),
}

/// A message on its way to a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The order of publication: grows with every message committed.
    pub seq: u64,
    /// Where it goes.
    pub channel: Channel,
    /// The game it tells of.
    pub game_id: GameId,
    /// The message, as it goes out.
    pub payload: String,
    /// The id it is, or will be, published under; assigned before the first try.
    pub stream_id: Option<StreamId>,
    /// When it was found published.
    pub published_at: Option<Timestamp>,
}

/// A record that wants attention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Since when, or from when.
    pub at: Timestamp,
    /// The game.
    pub game_id: GameId,
}

/// A registered engine version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersionRow {
    /// The key.
    pub version: EngineVersion,
    /// What to start.
    pub image_ref: ImageRef,
    /// What Game Master must know of its behaviour.
    pub options: VersionOptions,
    /// Whether new games may use it.
    pub status: VersionStatus,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A version to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The key.
    pub version: EngineVersion,
    /// What to start.
    pub image_ref: ImageRef,
    /// What Game Master must know of its behaviour.
    pub options: VersionOptions,
}

/// What Game Master must know of a version's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionOptions {
    /// Whether the engine refuses to generate another turn than the expected one.
    #[serde(default = "yes")]
    pub turn_guard: bool,
}

fn yes() -> bool {
    true
}

impl Default for VersionOptions {
    fn default() -> Self {
        Self { turn_guard: true }
    }
}

/// Whether new games may use a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStatus {
    /// They may.
    Active,
    /// They may not; games that run it go on.
    Deprecated,
}

/// The store did not answer. Reads change nothing, so that no more needs to be known.
#[derive(Debug, thiserror::Error)]
#[error("the store did not answer: {0}")]
pub struct StoreError(pub String);

/// A commit whose success was not confirmed.
#[derive(Debug)]
pub enum CommitError {
    /// It did not happen and will not.
    Determinate(StoreError),
    /// It may have happened, or may yet. SUBTLE: reading that it has not happened proves nothing,
    /// since it may be under way still; repeating it under its name does: either the repeat wins,
    /// and the compare-and-set keeps the first from ever applying, or it finds the first one done.
    Indeterminate(StoreError),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Determinate(e) => write!(f, "not committed: {e}"),
            Self::Indeterminate(e) => write!(f, "perhaps committed: {e}"),
        }
    }
}

impl std::error::Error for CommitError {}

/// The store. Every method is bounded in time by its adapter.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The record of a game.
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError>;

    /// Compares and sets. A repeat under the same [`CommitId`] answers `Applied` where the first
    /// one happened, whatever happened since, for as long as the name is kept: hours at the least,
    /// where a repeat comes within seconds. Refuses, as determinate, what breaks
    /// [`machine::check_commit`].
    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError>;

    /// Up to `limit` records above `after` in the order of their keys, of one status or of all.
    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError>;

    /// Up to `limit` records whose first timer strikes at `until` or earlier, the earliest first.
    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError>;

    /// Up to `limit` records with work or a pending operation that is leased to `owner`.
    async fn leased_to(
        &self,
        owner: &machine::InstanceId,
        limit: usize,
    ) -> Result<Vec<GameId>, StoreError>;

    /// One operation.
    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError>;

    /// Up to `limit` operations of a game with a place below `before`, the newest first.
    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError>;

    /// Gives the oldest unpublished messages of a channel their stream ids, where they have none
    /// yet, and returns them in order. Ids grow with `seq`, lie above every id assigned before and
    /// above `floor`, and carry `now` where that is above both.
    async fn outbox_assign(
        &self,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError>;

    /// Takes back the ids of unpublished messages, so that the next assignment lies above a floor
    /// that was not known when they were given.
    async fn outbox_unassign(&self, channel: Channel) -> Result<(), StoreError>;

    /// Marks messages as published.
    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError>;

    /// Messages marked as published under ids above `after`, in order: what a stream that lost its
    /// tail must be given again.
    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError>;

    /// The highest id marked as published among the messages still kept; `ZERO` where there is none.
    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError>;

    /// How many messages wait to be published.
    async fn outbox_backlog(&self) -> Result<u64, StoreError>;

    /// Forgets messages published before an instant; returns how many.
    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError>;

    /// Registers an engine version; `false` where it is registered already.
    async fn create_version(&self, new: &NewVersion, at: Timestamp) -> Result<bool, StoreError>;

    /// One version.
    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError>;

    /// Up to `limit` versions above `after`, in semver order.
    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError>;

    /// Whether the store can be reached and is ready.
    async fn ready(&self) -> Result<(), StoreError>;
}
