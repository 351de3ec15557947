//! Runtime Manager, as Game Master asks it.

use async_trait::async_trait;
use machine::{ContainerId, GameId, ImageRef, RtmFailure, StopReason};

/// The calls to Runtime Manager; both idempotent.
#[async_trait]
pub trait RtmApi: Send + Sync + 'static {
    /// `POST /api/v1/internal/runtimes/{game_id}/stop`.
    async fn stop(&self, game: &GameId, reason: &StopReason) -> Result<(), RtmFailure>;

    /// `POST /api/v1/internal/runtimes/{game_id}/patch`: the new container.
    async fn patch(&self, game: &GameId, image: &ImageRef) -> Result<ContainerId, RtmFailure>;
}
