//! The streams that Runtime Manager reads, and the one it answers on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{core::Core, state::Accepted};
use crate::{
    bus::{EntryId, Follower, append_json, streams},
    messages::{GameEvent, StartJob},
    state_file::StateError,
};

/// Reads `runtime:start_jobs`. A job is only written down here: the supervisors carry it out.
pub(super) struct StartJobs(pub(super) Arc<Core>);

#[async_trait]
impl Follower for StartJobs {
    type Error = StateError;

    async fn position(&self) -> EntryId {
        self.0.state.read(|state| state.start_jobs_at).await
    }

    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), StateError> {
        let core = &self.0;
        core.state
            .update(|state| {
                for (id, payload) in entries {
                    match serde_json::from_slice::<StartJob>(payload) {
                        Ok(job) => {
                            let container_id = core.env.new_id();
                            match state.accept(&job, container_id, core.config.max_engines) {
                                Accepted::Fresh => state.counters.applied += 1,
                                Accepted::Repeated => state.counters.repeated += 1,
                            }
                        }
                        Err(error) => {
                            state.counters.undecodable += 1;
                            tracing::warn!(%id, %error, "start job passed over");
                        }
                    }
                    state.start_jobs_at = *id;
                }
            })
            .await
    }
}

/// Reads `gm:lobby_events`, for the ends of games.
pub(super) struct GameEnds(pub(super) Arc<Core>);

#[async_trait]
impl Follower for GameEnds {
    type Error = StateError;

    async fn position(&self) -> EntryId {
        self.0.state.read(|state| state.game_events_at).await
    }

    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), StateError> {
        self.0
            .state
            .update(|state| {
                for (id, payload) in entries {
                    match serde_json::from_slice::<GameEvent>(payload) {
                        Ok(GameEvent::GameFinished { game_id, .. }) => {
                            if state.remove(&game_id) {
                                state.counters.applied += 1;
                            } else {
                                state.counters.repeated += 1;
                            }
                        }
                        Ok(GameEvent::RuntimeSnapshotUpdate { .. }) => state.counters.foreign += 1,
                        Err(error) => {
                            state.counters.undecodable += 1;
                            tracing::warn!(%id, %error, "game event passed over");
                        }
                    }
                    state.game_events_at = *id;
                }
            })
            .await
    }
}

/// Puts results on `runtime:job_results` until `stop`. A crash between that and noting it repeats
/// the result, which Lobby recognises by its job.
pub(super) async fn publish_results(core: Arc<Core>, stop: CancellationToken) {
    let mut changes = core.state.changes();
    let backoff = core.config.follow.backoff;
    let mut failures = 0_u32;
    loop {
        changes.borrow_and_update();
        let pause = match publish_waiting(&core).await {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures == 1 {
                    tracing::warn!(error, "job results wait");
                }
                Some(backoff.delay(failures))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed(), if pause.is_none() => if changed.is_err() { return },
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

async fn publish_waiting(core: &Core) -> Result<(), String> {
    for result in core.state.read(|state| state.unpublished()).await {
        let appended = append_json(&*core.bus, streams::JOB_RESULTS, &result).await;
        appended.map_err(|error| error.to_string())?;
        let noted = core.state.update(|state| {
            if let Some(job) = state.jobs.get_mut(&result.job_id) {
                job.is_published = true;
            }
        });
        noted.await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
