//! The edges of the service, as traits: what the driver and the workers need from the world.
//!
//! Production, the development command, the simulation and the tests put different adapters behind
//! them; the code between is the same.

mod attendance;
mod engine;
mod feed;
mod lobby;
mod rtm;
mod seam;
mod store;
mod streams;

pub use attendance::{Attendance, Presence, Role, Roll, Term};
pub use engine::{EngineApi, EngineReply, PlayerCall, PlayerCallError};
pub use feed::{Feed, FeedError, Heard, News, Version};
pub use lobby::{LobbyApi, LobbyError, Membership, MembershipStatus};
pub use rtm::RtmApi;
pub use seam::{Clock, Entropy, SystemClock, SystemEntropy};
pub use store::{
    Backlog, BadIdempotencyKey, CLAIMS_KEPT_HOURS, Claim, ClaimAnswer, ClaimKey, ClaimRow, Commit,
    CommitError, CommitId, Committed, Due, EngineVersionRow, Expected, Fingerprint, IdempotencyKey,
    LogCommit, NewVersion, OperationRow, OperationState, Origin, OutboxRow, Source, Store,
    StoreError, VersionChange, VersionCommit, VersionCommitted, VersionOptions, VersionStatus,
};
pub use streams::{
    AppendAt, Appended, AppendedAll, Entry, NewEntry, Stopped, StreamError, Streams,
};
