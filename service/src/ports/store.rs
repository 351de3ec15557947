//! The only truth: records, the operation log, the outbox, engine versions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    AuditEntry, Channel, EngineVersion, GameId, ImageRef, Incarnation, Message, OperationId,
    OperationKind, Outcome, RaceName, Runtime, Status, StreamId, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::attendance::{Attendance, Presence, Roll, Term};

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
    /// The name its caller gave the request: claimed for the operation that this commit opens.
    pub claim: Option<Claim>,
    /// When it was decided.
    pub at: Timestamp,
}

/// A change of the operation log alone: one operation that touches no record opens or closes.
#[derive(Clone, Debug)]
pub struct LogCommit {
    /// Its name, as that of a [`Commit`].
    pub id: CommitId,
    /// The game.
    pub game_id: GameId,
    /// The mark.
    pub audit: AuditEntry,
    /// Whom the operation that this opens is about.
    pub race: Option<RaceName>,
    /// Who asked for the operation that this opens.
    pub origin: Origin,
    /// The name its caller gave the request: claimed for the operation that this opens.
    pub claim: Option<Claim>,
    /// When it was decided.
    pub at: Timestamp,
}

/// A change of the registry of engine versions.
#[derive(Clone, Debug)]
pub struct VersionCommit {
    /// Its name, as that of a [`Commit`].
    pub id: CommitId,
    /// What changes.
    pub change: VersionChange,
    /// The name its caller gave the request.
    pub claim: Option<Claim>,
    /// When it was decided.
    pub at: Timestamp,
}

/// What changes in the registry of engine versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionChange {
    /// A version comes, active.
    Create(NewVersion),
    /// What is given takes the place of what was there; games registered before keep what they have.
    Update {
        /// Which one.
        version: EngineVersion,
        /// What to start from now on.
        image_ref: Option<ImageRef>,
        /// How it behaves.
        options: Option<VersionOptions>,
    },
    /// New games are kept off it. Changes nothing, not even its `updated_at`, where they are.
    Deprecate(EngineVersion),
    /// It goes, where no record names it.
    Delete(EngineVersion),
}

impl VersionChange {
    /// Which version it is about.
    pub fn version(&self) -> &EngineVersion {
        match self {
            Self::Create(new) => &new.version,
            Self::Update { version, image_ref: _, options: _ }
            | Self::Deprecate(version)
            | Self::Delete(version) => version,
        }
    }
}

/// How a change of the registry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionCommitted {
    /// It is durable, by this call or by an earlier one under the same name; the version as it is
    /// now, `None` where it is gone.
    Applied(Option<Box<EngineVersionRow>>),
    /// It is there already.
    Exists,
    /// It is not there.
    NotFound,
    /// A record names it.
    InUse,
    /// The caller's name for the request is taken.
    Claimed,
}

/// What a caller calls a request, so that a repeat is recognised: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Longest key, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} visible ASCII characters", IdempotencyKey::MAX_BYTES)]
pub struct BadIdempotencyKey;

impl std::str::FromStr for IdempotencyKey {
    type Err = BadIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_good = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic());
        if is_good { Ok(Self(text.to_owned())) } else { Err(BadIdempotencyKey) }
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = BadIdempotencyKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// SHA-256 of everything that a request asks for: two requests with the same one ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

/// Whose key: each caller has names of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimKey {
    /// Whose.
    pub caller: Source,
    /// Which.
    pub key: IdempotencyKey,
}

/// A request that its caller named, to be carried out once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name.
    pub key: ClaimKey,
    /// What it asks for.
    pub fingerprint: Fingerprint,
}

/// A name that was claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// The claim.
    pub claim: Claim,
    /// What the request led to.
    pub answer: ClaimAnswer,
    /// When it was claimed; kept for [`CLAIMS_KEPT_HOURS`] from then.
    pub at: Timestamp,
}

/// How long a claim is kept, in hours, at the least.
pub const CLAIMS_KEPT_HOURS: i64 = 24;

/// What a named request led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimAnswer {
    /// An operation; how it stands is in the log.
    Operation {
        /// Which.
        operation: OperationId,
        /// The record that the commit left which closed it with success.
        record: Option<Arc<Runtime>>,
    },
    /// A version, as the change left it; `None` where it is gone.
    Version(Option<Box<EngineVersionRow>>),
}

/// Messages that wait to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub waiting: u64,
    /// When the oldest of them was committed.
    pub oldest: Option<Timestamp>,
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
    /// Something else is there than what was expected, or the caller's name for the request is
    /// taken; nothing happened.
    Conflict,
    /// The commit names an engine version that is not registered, or not any more; nothing happened.
    UnknownVersion,
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

impl Source {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Lobby => "lobby",
            Self::Admin => "admin",
            Self::GameMaster => "game_master",
        }
    }
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
    /// The occurrence of the schedule that it answers to or takes the place of.
    pub tick: Option<Timestamp>,
    /// The status of the game after the commit that opened or, later, closed it; `None`: no record.
    pub status: Option<Status>,
    /// Whom it is about, where that is not the whole game.
    pub race: Option<RaceName>,
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
    /// When it was committed.
    pub at: Timestamp,
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
    ///
    /// INVARIANT `every_reference_resolves`: a version that the record names, or the patch pending,
    /// and that the record before did not name, must be registered; else `UnknownVersion`.
    ///
    /// A claim goes to the operation that the commit opens: the first it marks as opened; one that
    /// opens none is refused, as determinate. The record goes to the claim whose operation the
    /// commit closes with success, whenever that was opened. A name that is taken goes before an
    /// unknown version; where a commit breaks a rule besides, either is answered.
    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError>;

    /// Opens or closes an operation that touches no record. `Conflict` where the claim is taken, or
    /// where the operation to be closed is not open (in this game); refuses, as determinate, to open
    /// one again, and a claim where it opens none. Leaves no record to the claim of the operation it
    /// closes. Repeats as for [`Self::commit`].
    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError>;

    /// What was claimed under a name, while it is kept.
    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError>;

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

    /// Up to `limit` operations of a kind that are open and were opened before an instant, the
    /// oldest first.
    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError>;

    /// Says that a process is there, for `ttl` by the store's own clock, and answers who else is. Takes
    /// each role it wants that nobody holds, whose holder was silent for the time it had given, or that
    /// an earlier life of its name holds; keeps those it has, even where their time ran out, as long as
    /// nobody took them. One call does all of it, and repeating it does no harm.
    ///
    /// Terms are of this store as it is open: one that is the property of a single process may begin
    /// anew with it.
    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError>;

    /// Gives up everything that a process has, so that others need not wait; a call of the same life
    /// that comes after is told that it is displaced. Nothing happens where a later life has the name.
    async fn leave(&self, presence: &Presence) -> Result<(), StoreError>;

    /// Gives the oldest unpublished messages of a channel their stream ids, where they have none
    /// yet, and returns them in order. Ids grow with `seq`, lie above every id assigned before and
    /// above `floor`, and carry `now` where that is above both.
    ///
    /// `None`, and nothing happens, where `term` is not the current one of the relay. INVARIANT: that
    /// is found out by whoever holds the channel, so that what a relay of an earlier term does here
    /// comes before everything that its successor does.
    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError>;

    /// Takes back the ids of unpublished messages, so that the next assignment lies above a floor
    /// that was not known when they were given. `None`, and nothing happens, as for
    /// [`Self::outbox_assign`].
    async fn outbox_unassign(&self, term: Term, channel: Channel)
    -> Result<Option<()>, StoreError>;

    /// Marks messages as published, but for those whose ids were taken back meanwhile: they go out
    /// once more.
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

    /// Takes messages marked as published under ids above `after` back into the queue, without
    /// their ids: they are published once more, under new ones, in their old places. Those that wait
    /// lose their ids as well, so that ids go on growing with `seq`. Returns how many were taken
    /// back.
    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError>;

    /// The messages that wait to be published.
    async fn outbox_backlog(&self) -> Result<Backlog, StoreError>;

    /// Forgets messages published before an instant; returns how many.
    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError>;

    /// Changes the registry of engine versions. A repeat answers `Applied` with the version as it is
    /// by then. A name that is taken goes before all that stands against the change, which may be
    /// what the first request under it did.
    async fn change_version(&self, commit: &VersionCommit)
    -> Result<VersionCommitted, CommitError>;

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
