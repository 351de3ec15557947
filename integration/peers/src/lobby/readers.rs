//! The two streams that Lobby reads. A batch and the place in the stream are committed together.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Event,
    core::Core,
    flow,
    game::{LobbyState, MemberStatus, Phase},
    view::{Applied, fingerprint},
};
use crate::{
    bus::{EntryId, Follower},
    messages::{GameEvent, JobResult},
    state_file::StateError,
};

/// What became of one entry.
enum Read {
    Applied(Option<Event>),
    Repeated,
    Foreign,
}

/// Reads `runtime:job_results`.
pub(super) struct JobResults(pub(super) Arc<Core>);

#[async_trait]
impl Follower for JobResults {
    type Error = StateError;

    async fn position(&self) -> EntryId {
        self.0.state.read(|state| state.job_results_at).await
    }

    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), StateError> {
        apply_all(&self.0, entries, read_result, |state, id| state.job_results_at = id).await
    }
}

/// Reads `gm:lobby_events`.
pub(super) struct GameEvents(pub(super) Arc<Core>);

#[async_trait]
impl Follower for GameEvents {
    type Error = StateError;

    async fn position(&self) -> EntryId {
        self.0.state.read(|state| state.game_events_at).await
    }

    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), StateError> {
        apply_all(&self.0, entries, read_event, |state, id| state.game_events_at = id).await
    }
}

fn read_result(state: &mut LobbyState, payload: &[u8]) -> Result<Read, serde_json::Error> {
    let result: JobResult = serde_json::from_slice(payload)?;
    let Some(game) = state.games.get_mut(&result.game_id) else { return Ok(Read::Foreign) };
    let before = game.phase.clone();
    Ok(if flow::apply_result(game, &result) {
        Read::Applied(Event::between(&before, game))
    } else {
        Read::Repeated
    })
}

fn read_event(state: &mut LobbyState, payload: &[u8]) -> Result<Read, serde_json::Error> {
    let event: GameEvent = serde_json::from_slice(payload)?;
    let Some(game) = state.games.get_mut(event.game_id()) else { return Ok(Read::Foreign) };
    let before = game.phase.clone();
    match game.view.apply(&event, fingerprint(payload)) {
        Applied::Repeated => return Ok(Read::Repeated),
        Applied::Updated => {}
        Applied::Finished => {
            let members = &game.members;
            game.view.evaluate(|user_id| {
                members.iter().any(|member| {
                    member.user_id == user_id && member.status == MemberStatus::Active
                })
            });
            // A finished game needs neither a registration nor a resumption any more.
            game.phase = Phase::Finished;
        }
    }
    Ok(Read::Applied(Event::between(&before, game)))
}

async fn apply_all(
    core: &Core,
    entries: &[(EntryId, Bytes)],
    read: fn(&mut LobbyState, &[u8]) -> Result<Read, serde_json::Error>,
    move_to: fn(&mut LobbyState, EntryId),
) -> Result<(), StateError> {
    let events = core
        .state
        .update(|state| {
            let mut events = Vec::new();
            for (id, payload) in entries {
                match read(state, payload) {
                    Ok(Read::Applied(event)) => {
                        state.counters.applied += 1;
                        events.extend(event);
                    }
                    Ok(Read::Repeated) => state.counters.repeated += 1,
                    Ok(Read::Foreign) => state.counters.foreign += 1,
                    Err(error) => {
                        state.counters.undecodable += 1;
                        tracing::warn!(%id, %error, "entry passed over");
                    }
                }
                move_to(state, *id);
            }
            events
        })
        .await?;
    for event in &events {
        (core.observer)(event);
    }
    Ok(())
}
