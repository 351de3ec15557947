//! Lobby, as Game Master asks it.

use async_trait::async_trait;
use machine::{GameId, UserId};
use serde::{Deserialize, Serialize};

/// A member as Lobby sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The player.
    pub user_id: UserId,
    /// Whether the player may act.
    pub status: MembershipStatus,
}

/// Whether a member may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipStatus {
    /// May act.
    Active,
    /// Left or was taken out.
    Removed,
    /// Is barred.
    Blocked,
}

/// Lobby gave no list of members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Lobby did not tell the members: {0}")]
pub struct LobbyError(pub String);

/// The calls to Lobby.
#[async_trait]
pub trait LobbyApi: Send + Sync + 'static {
    /// `GET /api/v1/internal/games/{game_id}/memberships`.
    async fn memberships(&self, game: &GameId) -> Result<Vec<Membership>, LobbyError>;
}
