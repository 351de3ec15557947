//! What people do in a life.

use serde::{Deserialize, Serialize};

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// When.
    pub at_ms: u64,
    /// Which instance is asked.
    pub gm: usize,
    /// How long whoever asks waits before hanging up.
    pub patience_ms: u64,
    /// Asked so many times more under the same `Idempotency-Key`.
    pub repeats: u32,
    /// Then the same key comes with something else, once the first answer is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuses_key: bool,
    /// What.
    pub what: Deed,
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the fields are games, players and versions, by their names")]
pub enum Deed {
    /// The next turn at once.
    Force { game: usize },
    /// The end of a game.
    Stop { game: usize },
    /// Another patch version of the engine.
    Patch { game: usize, version: String },
    /// Ask the engine where it stands.
    Reconcile { game: usize },
    /// A race goes.
    Banish { game: usize, player: usize },
    /// A member is barred by Lobby.
    Block { game: usize, player: usize },
    /// A version is registered.
    CreateVersion { version: String },
    /// A version gets another image.
    UpdateVersion { version: String },
    /// No new games on a version.
    DeprecateVersion { version: String },
    /// The record of a game.
    Get { game: usize },
    /// The list of all games.
    List,
}

impl Deed {
    /// The game it is about.
    pub fn game(&self) -> Option<usize> {
        match self {
            Self::Force { game }
            | Self::Stop { game }
            | Self::Patch { game, .. }
            | Self::Reconcile { game }
            | Self::Banish { game, .. }
            | Self::Block { game, .. }
            | Self::Get { game } => Some(*game),
            Self::CreateVersion { .. }
            | Self::UpdateVersion { .. }
            | Self::DeprecateVersion { .. }
            | Self::List => None,
        }
    }

    /// What to call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Force { .. } => "force",
            Self::Stop { .. } => "stop",
            Self::Patch { .. } => "patch",
            Self::Reconcile { .. } => "reconcile",
            Self::Banish { .. } => "banish",
            Self::Block { .. } => "block",
            Self::CreateVersion { .. } => "create_version",
            Self::UpdateVersion { .. } => "update_version",
            Self::DeprecateVersion { .. } => "deprecate_version",
            Self::Get { .. } => "get",
            Self::List => "list",
        }
    }
}
