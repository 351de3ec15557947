//! The record as flat columns: how stores keep it and how it goes over a wire. The only place
//! where [`Life`] is taken apart and put together.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{
    ContainerId, EngineEndpoint, GameId, Incarnation, InstanceId, OperationId, StopReason, StreamId,
};
use crate::record::{
    Engine, Health, InitStage, Lease, Life, Pending, PendingKind, PendingState, PlayerStats,
    Repair, Roster, Runtime, Status, Summary, Trigger, TurnClock, TurnStage, Work,
};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use crate::version::{EngineVersion, ImageRef};

/// A record in columns. Only [`Runtime`] says which combinations are valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each column is the field of `Runtime` of the same name")]
pub struct FlatRuntime {
    pub game_id: GameId,
    pub status: Status,
    pub revision: u64,
    pub incarnation: Incarnation,
    pub attempt: u64,
    pub work: Option<FlatWork>,
    pub pending: Option<FlatPending>,
    pub endpoint: EngineEndpoint,
    pub version: EngineVersion,
    pub image_ref: ImageRef,
    pub container_id: Option<ContainerId>,
    pub turn_guard: bool,
    pub roster: Roster,
    pub schedule: Schedule,
    pub next_generation_at: Option<Timestamp>,
    pub skipped_tick_at: Option<Timestamp>,
    pub current_turn: u32,
    pub health_summary: Summary,
    pub health_cursor: Option<StreamId>,
    pub health_published: Option<Summary>,
    pub health_publish_at: Option<Timestamp>,
    pub tries: u32,
    pub retry_at: Option<Timestamp>,
    pub player_turn_stats: Vec<PlayerStats>,
    pub last_failure: Option<Failure>,
    pub failure_announced_for: Option<u32>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub stopped_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// The question under way, in columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatWork {
    /// What is asked.
    pub kind: WorkKind,
    /// What started the turn, where it is one.
    pub trigger: Option<Trigger>,
    /// The number a reply must carry.
    pub attempt: u64,
    /// The operation it belongs to.
    pub operation: OperationId,
    /// Who asks.
    pub owner: InstanceId,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What is asked of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// [`InitStage::Call`].
    Init,
    /// [`InitStage::Verify`].
    InitVerify,
    /// [`TurnStage::Turn`].
    Turn,
    /// [`TurnStage::ProbeThenTurn`].
    ProbeThenTurn,
    /// [`TurnStage::ProbeAfterFence`].
    ProbeAfterFence,
    /// A status question to an unwell engine.
    Probe,
}

/// The admin operation in flight, in columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatPending {
    /// For a stop.
    pub stop_reason: Option<StopReason>,
    /// For a patch.
    pub patch_version: Option<EngineVersion>,
    /// For a patch.
    pub patch_image_ref: Option<ImageRef>,
    /// For a patch.
    pub patch_turn_guard: Option<bool>,
    /// The operation it belongs to.
    pub operation: OperationId,
    /// While a stop drains.
    pub drain_until: Option<Timestamp>,
    /// The number a reply must carry, once Runtime Manager was asked.
    pub attempt: Option<u64>,
    /// Who asks.
    pub owner: Option<InstanceId>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// A combination of columns that no record has: somebody else wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the columns contradict each other: {0}")]
pub struct Inconsistent(pub &'static str);

impl From<&Runtime> for FlatRuntime {
    fn from(rt: &Runtime) -> Self {
        let clock = rt.clock();
        let (stopped_at, finished_at) = match rt.life {
            Life::Stopped { at } => (Some(at), None),
            Life::Finished { at } => (None, Some(at)),
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Generating { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. } => (None, None),
        };
        Self {
            game_id: rt.game_id.clone(),
            status: rt.status(),
            revision: rt.revision,
            incarnation: rt.incarnation,
            attempt: rt.attempt,
            work: flat_work(&rt.life),
            pending: rt.pending().map(flat_pending),
            endpoint: rt.engine.endpoint.clone(),
            version: rt.engine.version.clone(),
            image_ref: rt.engine.image_ref.clone(),
            container_id: rt.engine.container_id.clone(),
            turn_guard: rt.engine.turn_guard,
            roster: rt.roster.clone(),
            schedule: rt.schedule.clone(),
            next_generation_at: clock.map(|c| c.next_generation_at),
            skipped_tick_at: clock.and_then(|c| c.skip),
            current_turn: rt.current_turn,
            health_summary: rt.health.summary,
            health_cursor: rt.health.cursor,
            health_published: rt.health.published,
            health_publish_at: rt.health.publish_at,
            tries: rt.tries,
            retry_at: rt.retry_at(),
            player_turn_stats: rt.player_turn_stats.clone(),
            last_failure: rt.last_failure.clone(),
            failure_announced_for: rt.failure_announced_for,
            created_at: rt.created_at,
            started_at: rt.started_at,
            updated_at: rt.updated_at,
            stopped_at,
            finished_at,
        }
    }
}

fn flat_work(life: &Life) -> Option<FlatWork> {
    let (work, kind, trigger) = match life {
        Life::Starting { work, stage: InitStage::Call, .. } => (work, WorkKind::Init, None),
        Life::Starting { work, stage: InitStage::Verify, .. } => (work, WorkKind::InitVerify, None),
        Life::Generating { work, stage, trigger, .. } => {
            let kind = match stage {
                TurnStage::Turn => WorkKind::Turn,
                TurnStage::ProbeThenTurn => WorkKind::ProbeThenTurn,
                TurnStage::ProbeAfterFence => WorkKind::ProbeAfterFence,
            };
            (work, kind, Some(*trigger))
        }
        Life::Failed { repair, .. } | Life::Unreachable { repair, .. } => {
            (repair.probe.as_ref()?, WorkKind::Probe, None)
        }
        Life::Running { .. } | Life::Stopped { .. } | Life::Finished { .. } => return None,
    };
    Some(FlatWork {
        kind,
        trigger,
        attempt: work.attempt,
        operation: work.operation,
        owner: work.lease.owner.clone(),
        expires_at: work.lease.expires_at,
    })
}

fn flat_pending(pending: &Pending) -> FlatPending {
    let (stop_reason, patch_version, patch_image_ref, patch_turn_guard) = match &pending.what {
        PendingKind::Stop { reason } => (Some(reason.clone()), None, None, None),
        PendingKind::Patch { version, image_ref, turn_guard } => {
            (None, Some(version.clone()), Some(image_ref.clone()), Some(*turn_guard))
        }
    };
    let operation = pending.operation;
    let flat = FlatPending {
        stop_reason,
        patch_version,
        patch_image_ref,
        patch_turn_guard,
        operation,
        drain_until: None,
        attempt: None,
        owner: None,
        expires_at: None,
    };
    match &pending.state {
        PendingState::Draining { until } => FlatPending { drain_until: Some(*until), ..flat },
        PendingState::Asked { attempt, lease } => FlatPending {
            attempt: Some(*attempt),
            owner: Some(lease.owner.clone()),
            expires_at: Some(lease.expires_at),
            ..flat
        },
    }
}

impl TryFrom<FlatRuntime> for Runtime {
    type Error = Inconsistent;

    fn try_from(flat: FlatRuntime) -> Result<Self, Inconsistent> {
        let life = life_of(&flat)?;
        let rt = Self {
            game_id: flat.game_id,
            revision: flat.revision,
            incarnation: flat.incarnation,
            attempt: flat.attempt,
            life,
            engine: Engine {
                endpoint: flat.endpoint,
                version: flat.version,
                image_ref: flat.image_ref,
                container_id: flat.container_id,
                turn_guard: flat.turn_guard,
            },
            roster: flat.roster,
            schedule: flat.schedule,
            current_turn: flat.current_turn,
            health: Health {
                summary: flat.health_summary,
                cursor: flat.health_cursor,
                published: flat.health_published,
                publish_at: flat.health_publish_at,
            },
            tries: flat.tries,
            player_turn_stats: flat.player_turn_stats,
            last_failure: flat.last_failure,
            failure_announced_for: flat.failure_announced_for,
            created_at: flat.created_at,
            started_at: flat.started_at,
            updated_at: flat.updated_at,
        };
        rt.check().map_err(|violation| Inconsistent(violation.problem))?;
        Ok(rt)
    }
}

/// Puts the status and its columns together; a column that is set where the status has no use for
/// it is a contradiction, not something to drop.
fn life_of(flat: &FlatRuntime) -> Result<Life, Inconsistent> {
    let wrong = |what| Err(Inconsistent(what));
    let pending = flat.pending.as_ref().map(pending_of).transpose()?;
    let clock = flat
        .next_generation_at
        .map(|next_generation_at| TurnClock { next_generation_at, skip: flat.skipped_tick_at });
    if clock.is_none() && flat.skipped_tick_at.is_some() {
        return wrong("a tick is skipped where no clock runs");
    }
    let work = flat.work.as_ref().map(|w| {
        let lease = Lease { owner: w.owner.clone(), expires_at: w.expires_at };
        (w.kind, w.trigger, Work { attempt: w.attempt, operation: w.operation, lease })
    });
    let ends = (flat.stopped_at, flat.finished_at);
    let retry_at = flat.retry_at;
    match (flat.status, work, clock, pending, ends, retry_at) {
        (Status::Starting, Some((kind, None, work)), None, pending, (None, None), None) => {
            let stage = match kind {
                WorkKind::Init => InitStage::Call,
                WorkKind::InitVerify => InitStage::Verify,
                WorkKind::Turn
                | WorkKind::ProbeThenTurn
                | WorkKind::ProbeAfterFence
                | WorkKind::Probe => return wrong("starting with another work than an init"),
            };
            Ok(Life::Starting { work, stage, pending })
        }
        (Status::Running, None, Some(clock), pending, (None, None), None) => {
            Ok(Life::Running { clock, pending })
        }
        (
            Status::GenerationInProgress,
            Some((kind, Some(trigger), work)),
            Some(clock),
            pending,
            (None, None),
            None,
        ) => {
            let stage = match kind {
                WorkKind::Turn => TurnStage::Turn,
                WorkKind::ProbeThenTurn => TurnStage::ProbeThenTurn,
                WorkKind::ProbeAfterFence => TurnStage::ProbeAfterFence,
                WorkKind::Init | WorkKind::InitVerify | WorkKind::Probe => {
                    return wrong("generating with another work than a turn");
                }
            };
            Ok(Life::Generating { clock, work, trigger, stage, pending })
        }
        (
            status @ (Status::GenerationFailed | Status::EngineUnreachable),
            work,
            Some(clock),
            pending,
            (None, None),
            retry_at,
        ) => {
            let probe = match work {
                None => None,
                Some((WorkKind::Probe, None, work)) => Some(work),
                Some(_) => return wrong("unwell with another work than a probe"),
            };
            let repair = Repair { probe, retry_at };
            Ok(if status == Status::GenerationFailed {
                Life::Failed { clock, repair, pending }
            } else {
                Life::Unreachable { clock, repair, pending }
            })
        }
        (Status::Stopped, None, None, None, (Some(at), None), None) => Ok(Life::Stopped { at }),
        (Status::Finished, None, None, None, (None, Some(at)), None) => Ok(Life::Finished { at }),
        _ => wrong("the status does not go with the columns that are set"),
    }
}

fn pending_of(flat: &FlatPending) -> Result<Pending, Inconsistent> {
    let patch = (&flat.patch_version, &flat.patch_image_ref, flat.patch_turn_guard);
    let what = match (&flat.stop_reason, patch) {
        (Some(reason), (None, None, None)) => PendingKind::Stop { reason: reason.clone() },
        (None, (Some(version), Some(image_ref), Some(turn_guard))) => PendingKind::Patch {
            version: version.clone(),
            image_ref: image_ref.clone(),
            turn_guard,
        },
        _ => return Err(Inconsistent("pending is neither a stop nor a patch")),
    };
    let state = match (flat.drain_until, flat.attempt, &flat.owner, flat.expires_at) {
        (Some(until), None, None, None) => PendingState::Draining { until },
        (None, Some(attempt), Some(owner), Some(expires_at)) => {
            PendingState::Asked { attempt, lease: Lease { owner: owner.clone(), expires_at } }
        }
        _ => return Err(Inconsistent("pending is neither draining nor asked")),
    };
    Ok(Pending { what, operation: flat.operation, state })
}

impl Serialize for Runtime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FlatRuntime::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FlatRuntime::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}
