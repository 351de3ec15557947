//! Records as the contract shows them. Nothing is shown that is not written down here.

use chrono::SecondsFormat;
use http::StatusCode;
use machine::explain::{ExplainedStep, ExplainedTick, Explanation};
use machine::failure::Failure;
use machine::record::{InitStage, Life, Pending, PendingKind, TurnStage};
use machine::schedule::FAR_FUTURE;
use machine::{OperationId, Outcome, PlayerStats, Runtime, Status, Timestamp};
use serde::{Serialize, Serializer};

use super::api::{Explained, Readiness};
use crate::ports::{EngineVersionRow, OperationRow, OperationState, VersionOptions, VersionStatus};

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// A runtime record.
#[derive(Serialize)]
pub(super) struct RuntimeView<'a> {
    game_id: &'a str,
    runtime_status: &'static str,
    revision: u64,
    current_turn: u32,
    engine: EngineView<'a>,
    turn_schedule: &'a str,
    next_generation_at: Option<Time>,
    skip_next_tick: bool,
    engine_health_summary: &'static str,
    pending: Option<PendingView<'a>>,
    work: Option<WorkView>,
    tries: u32,
    retry_at: Option<Time>,
    player_turn_stats: Vec<StatsView<'a>>,
    last_failure: Option<FailureView<'a>>,
    created_at: Time,
    started_at: Option<Time>,
    updated_at: Time,
    stopped_at: Option<Time>,
    finished_at: Option<Time>,
}

impl<'a> From<&'a Runtime> for RuntimeView<'a> {
    fn from(rt: &'a Runtime) -> Self {
        let clock = rt.clock();
        let (stopped_at, finished_at) = ends(&rt.life);
        Self {
            game_id: rt.game_id.as_str(),
            runtime_status: rt.status().as_str(),
            revision: rt.revision,
            current_turn: rt.current_turn,
            engine: EngineView {
                endpoint: rt.engine.endpoint.as_str(),
                version: rt.engine.version.to_string(),
                image_ref: rt.engine.image_ref.as_str(),
                container_id: rt.engine.container_id.as_ref().map(|id| id.as_str()),
                turn_guard: rt.engine.turn_guard,
            },
            turn_schedule: rt.schedule.expression(),
            // A schedule that has run out has no next turn, whatever stands for that inside.
            next_generation_at: clock
                .map(|clock| clock.next_generation_at)
                .filter(|at| *at < FAR_FUTURE)
                .map(Time),
            skip_next_tick: clock.is_some_and(|clock| clock.skip.is_some()),
            engine_health_summary: rt.health.summary.as_str(),
            pending: rt.pending().map(PendingView::from),
            work: work_kind(rt).map(|kind| WorkView { kind }),
            tries: rt.tries,
            retry_at: rt.retry_at().map(Time),
            player_turn_stats: rt.player_turn_stats.iter().map(StatsView::from).collect(),
            last_failure: rt.last_failure.as_ref().map(FailureView::from),
            created_at: Time(rt.created_at),
            started_at: rt.started_at.map(Time),
            updated_at: Time(rt.updated_at),
            stopped_at: stopped_at.map(Time),
            finished_at: finished_at.map(Time),
        }
    }
}

/// When it was stopped, and when it was finished.
fn ends(life: &Life) -> (Option<Timestamp>, Option<Timestamp>) {
    match life {
        Life::Stopped { at } => (Some(*at), None),
        Life::Finished { at } => (None, Some(*at)),
        Life::Starting { .. }
        | Life::Running { .. }
        | Life::Generating { .. }
        | Life::Failed { .. }
        | Life::Unreachable { .. } => (None, None),
    }
}

/// What the engine is being asked at this moment: a look at its status is a probe, whatever it is
/// for.
fn work_kind(rt: &Runtime) -> Option<&'static str> {
    match &rt.life {
        Life::Starting { stage: InitStage::Call, .. } => Some("init"),
        Life::Generating { stage: TurnStage::Turn, .. } => Some("turn"),
        Life::Starting { stage: InitStage::Verify, .. }
        | Life::Generating {
            stage: TurnStage::ProbeThenTurn | TurnStage::ProbeAfterFence, ..
        } => Some("probe"),
        Life::Failed { repair, .. } | Life::Unreachable { repair, .. } => {
            repair.probe.as_ref().map(|_| "probe")
        }
        Life::Running { .. } | Life::Stopped { .. } | Life::Finished { .. } => None,
    }
}

#[derive(Serialize)]
struct EngineView<'a> {
    endpoint: &'a str,
    version: String,
    image_ref: &'a str,
    container_id: Option<&'a str>,
    turn_guard: bool,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum PendingView<'a> {
    Stop { reason: &'a str },
    Patch { version: String },
}

impl<'a> From<&'a Pending> for PendingView<'a> {
    fn from(pending: &'a Pending) -> Self {
        match &pending.what {
            PendingKind::Stop { reason } => Self::Stop { reason: reason.as_str() },
            PendingKind::Patch { version, image_ref: _, turn_guard: _ } => {
                Self::Patch { version: version.to_string() }
            }
        }
    }
}

#[derive(Serialize)]
struct WorkView {
    kind: &'static str,
}

#[derive(Serialize)]
struct StatsView<'a> {
    user_id: &'a str,
    planets: u32,
    population: u64,
}

impl<'a> From<&'a PlayerStats> for StatsView<'a> {
    fn from(stats: &'a PlayerStats) -> Self {
        let PlayerStats { user_id, planets, population } = stats;
        Self { user_id: user_id.as_str(), planets: *planets, population: *population }
    }
}

#[derive(Serialize)]
struct FailureView<'a> {
    code: &'static str,
    message: &'a str,
}

impl<'a> From<&'a Failure> for FailureView<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self { code: failure.code.as_str(), message: &failure.message }
    }
}

/// Whether Lobby may go on with a game.
#[derive(Serialize)]
pub(super) struct LivenessView {
    ready: bool,
    status: &'static str,
}

impl From<Option<&Runtime>> for LivenessView {
    fn from(runtime: Option<&Runtime>) -> Self {
        match runtime.map(Runtime::status) {
            Some(status) => Self { ready: status == Status::Running, status: status.as_str() },
            None => Self { ready: true, status: "unregistered" },
        }
    }
}

/// A registered engine version.
#[derive(Serialize)]
pub(super) struct VersionView {
    version: String,
    image_ref: String,
    options: OptionsView,
    status: &'static str,
    created_at: Time,
    updated_at: Time,
}

#[derive(Serialize)]
struct OptionsView {
    turn_guard: bool,
}

impl From<&EngineVersionRow> for VersionView {
    fn from(row: &EngineVersionRow) -> Self {
        let EngineVersionRow { version, image_ref, options, status, created_at, updated_at } = row;
        let VersionOptions { turn_guard } = *options;
        Self {
            version: version.to_string(),
            image_ref: image_ref.to_string(),
            options: OptionsView { turn_guard },
            status: match status {
                VersionStatus::Active => "active",
                VersionStatus::Deprecated => "deprecated",
            },
            created_at: Time(*created_at),
            updated_at: Time(*updated_at),
        }
    }
}

/// Which image to start for a version.
#[derive(Serialize)]
pub(super) struct ImageRefView {
    version: String,
    image_ref: String,
}

impl From<&EngineVersionRow> for ImageRefView {
    fn from(row: &EngineVersionRow) -> Self {
        Self { version: row.version.to_string(), image_ref: row.image_ref.to_string() }
    }
}

/// One operation of the log.
#[derive(Serialize)]
pub(super) struct OperationView<'a> {
    operation_id: OperationId,
    kind: &'static str,
    source: &'static str,
    request_id: Option<&'a str>,
    outcome: &'static str,
    error_code: Option<&'static str>,
    error_message: Option<&'a str>,
    started_at: Time,
    finished_at: Option<Time>,
}

impl<'a> From<&'a OperationRow> for OperationView<'a> {
    fn from(row: &'a OperationRow) -> Self {
        let (outcome, failure) = match &row.state {
            OperationState::Open => ("open", None),
            OperationState::Closed(Outcome::Succeeded) => ("succeeded", None),
            OperationState::Closed(Outcome::Failed(failure)) => ("failed", Some(failure)),
            OperationState::Closed(Outcome::Superseded) => ("superseded", None),
        };
        Self {
            operation_id: row.operation,
            kind: row.kind.as_str(),
            source: row.origin.source.as_str(),
            request_id: row.origin.request_id.as_deref(),
            outcome,
            error_code: failure.map(|failure| failure.code.as_str()),
            error_message: failure.map(|failure| failure.message.as_str()),
            started_at: Time(row.started_at),
            finished_at: row.finished_at.map(Time),
        }
    }
}

/// Why a game is as it is.
#[derive(Serialize)]
pub(super) struct ExplanationView<'a> {
    game_id: &'a str,
    runtime_status: &'static str,
    why: &'a str,
    last_ticks: Vec<TickView<'a>>,
    next: Vec<StepView<'a>>,
}

#[derive(Serialize)]
struct TickView<'a> {
    due_at: Time,
    outcome: &'static str,
    turn: Option<u32>,
    detail: &'a str,
}

#[derive(Serialize)]
struct StepView<'a> {
    what: &'a str,
    at: Option<Time>,
}

/// The most occurrences and the most steps that the contract has room for.
const MAX_TICKS: usize = 100;
const MAX_STEPS: usize = 20;

impl<'a> From<&'a Explained> for ExplanationView<'a> {
    fn from(explained: &'a Explained) -> Self {
        let Explained { runtime, explanation } = explained;
        let Explanation { why, last_ticks, next } = explanation;
        Self {
            game_id: runtime.game_id.as_str(),
            runtime_status: runtime.status().as_str(),
            why,
            last_ticks: last_ticks.iter().take(MAX_TICKS).map(TickView::from).collect(),
            next: next.iter().take(MAX_STEPS).map(StepView::from).collect(),
        }
    }
}

impl<'a> From<&'a ExplainedTick> for TickView<'a> {
    fn from(tick: &'a ExplainedTick) -> Self {
        let ExplainedTick { due_at, outcome, turn, detail } = tick;
        Self { due_at: Time(*due_at), outcome: outcome.as_str(), turn: *turn, detail }
    }
}

impl<'a> From<&'a ExplainedStep> for StepView<'a> {
    fn from(step: &'a ExplainedStep) -> Self {
        let ExplainedStep { what, at } = step;
        Self { what, at: at.map(Time) }
    }
}

/// When a schedule fires.
#[derive(Serialize)]
pub(super) struct PreviewView<'a> {
    expression: &'a str,
    occurrences: Vec<Time>,
}

impl<'a> PreviewView<'a> {
    pub(super) fn new(expression: &'a str, occurrences: &[Timestamp]) -> Self {
        Self { expression, occurrences: occurrences.iter().copied().map(Time).collect() }
    }
}

/// Whether traffic may be sent here.
#[derive(Serialize)]
pub(super) struct ReadinessView {
    status: &'static str,
    outbox_backlog: Option<u64>,
}

impl From<Readiness> for ReadinessView {
    fn from(readiness: Readiness) -> Self {
        let Readiness { store, streams, outbox_backlog, draining } = readiness;
        let status = match (store && !draining, streams) {
            (false, _) => UNAVAILABLE,
            (true, true) => "ready",
            (true, false) => "degraded",
        };
        Self { status, outbox_backlog: store.then_some(outbox_backlog) }
    }
}

const UNAVAILABLE: &str = "unavailable";

impl ReadinessView {
    /// The status of the answer.
    pub(super) fn http_status(&self) -> StatusCode {
        if self.status == UNAVAILABLE { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }
}

/// An instant: RFC 3339, in UTC, with milliseconds.
struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
