//! Which operation a request means: the table of paths and methods.

use http::Method;

use super::reply::Refusal;
use crate::ports::Source;

/// An operation of the contract, by the way it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Answered whatever the load.
    Probe(Probe),
    /// Answered on the short path.
    Player(Player),
    /// Answered by warp's filters.
    Managed(Managed),
}

/// What an orchestrator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Healthz,
    Readyz,
    Metrics,
}

/// What Gateway passes on for a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Player {
    ExecuteCommands,
    PutOrders,
    GetReport,
}

/// Everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Managed {
    RegisterRuntime,
    BanishRace,
    InvalidateMemberships,
    GameLiveness,
    ListRuntimes,
    GetRuntime,
    ForceNextTurn,
    StopRuntime,
    PatchRuntime,
    ReconcileRuntime,
    ListOperations,
    ExplainRuntime,
    PreviewSchedule,
    ListEngineVersions,
    CreateEngineVersion,
    GetEngineVersion,
    UpdateEngineVersion,
    DeleteEngineVersion,
    DeprecateEngineVersion,
    ResolveEngineVersionImageRef,
}

/// What body an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyRule {
    /// None at all.
    Absent,
    /// None, or an empty object.
    Empty,
    /// A JSON object.
    Json,
}

impl Operation {
    /// The operation id in the contract.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Probe(Probe::Healthz) => "internalHealthz",
            Self::Probe(Probe::Readyz) => "internalReadyz",
            // Not in the contract: its answer is not JSON, and not for callers.
            Self::Probe(Probe::Metrics) => "metrics",
            Self::Player(Player::ExecuteCommands) => "internalExecuteCommands",
            Self::Player(Player::PutOrders) => "internalPutOrders",
            Self::Player(Player::GetReport) => "internalGetReport",
            Self::Managed(operation) => operation.id(),
        }
    }

    /// Who may ask for it, whoever usually does first. Anybody may ask a probe.
    pub(super) fn callers(self) -> &'static [Source] {
        match self {
            Self::Probe(Probe::Healthz | Probe::Readyz | Probe::Metrics) => &[],
            Self::Player(Player::ExecuteCommands | Player::PutOrders | Player::GetReport) => {
                &[Source::Gateway]
            }
            Self::Managed(operation) => operation.callers(),
        }
    }
}

impl Managed {
    fn id(self) -> &'static str {
        match self {
            Self::RegisterRuntime => "internalRegisterRuntime",
            Self::BanishRace => "internalBanishRace",
            Self::InvalidateMemberships => "internalInvalidateMemberships",
            Self::GameLiveness => "internalGameLiveness",
            Self::ListRuntimes => "internalListRuntimes",
            Self::GetRuntime => "internalGetRuntime",
            Self::ForceNextTurn => "internalForceNextTurn",
            Self::StopRuntime => "internalStopRuntime",
            Self::PatchRuntime => "internalPatchRuntime",
            Self::ReconcileRuntime => "internalReconcileRuntime",
            Self::ListOperations => "internalListOperations",
            Self::ExplainRuntime => "internalExplainRuntime",
            Self::PreviewSchedule => "internalPreviewSchedule",
            Self::ListEngineVersions => "internalListEngineVersions",
            Self::CreateEngineVersion => "internalCreateEngineVersion",
            Self::GetEngineVersion => "internalGetEngineVersion",
            Self::UpdateEngineVersion => "internalUpdateEngineVersion",
            Self::DeleteEngineVersion => "internalDeleteEngineVersion",
            Self::DeprecateEngineVersion => "internalDeprecateEngineVersion",
            Self::ResolveEngineVersionImageRef => "internalResolveEngineVersionImageRef",
        }
    }

    fn callers(self) -> &'static [Source] {
        match self {
            Self::RegisterRuntime
            | Self::InvalidateMemberships
            | Self::GameLiveness
            | Self::ResolveEngineVersionImageRef => &[Source::Lobby],
            Self::BanishRace | Self::PreviewSchedule => &[Source::Lobby, Source::Admin],
            Self::GetRuntime | Self::StopRuntime => &[Source::Admin, Source::Lobby],
            Self::ListRuntimes
            | Self::ForceNextTurn
            | Self::PatchRuntime
            | Self::ReconcileRuntime
            | Self::ListOperations
            | Self::ExplainRuntime
            | Self::ListEngineVersions
            | Self::CreateEngineVersion
            | Self::GetEngineVersion
            | Self::UpdateEngineVersion
            | Self::DeleteEngineVersion
            | Self::DeprecateEngineVersion => &[Source::Admin],
        }
    }

    /// What body it takes.
    pub(super) fn body(self) -> BodyRule {
        match self {
            Self::RegisterRuntime
            | Self::StopRuntime
            | Self::PatchRuntime
            | Self::CreateEngineVersion
            | Self::UpdateEngineVersion => BodyRule::Json,
            Self::BanishRace
            | Self::InvalidateMemberships
            | Self::ForceNextTurn
            | Self::ReconcileRuntime
            | Self::DeprecateEngineVersion => BodyRule::Empty,
            Self::GameLiveness
            | Self::ListRuntimes
            | Self::GetRuntime
            | Self::ListOperations
            | Self::ExplainRuntime
            | Self::PreviewSchedule
            | Self::ListEngineVersions
            | Self::GetEngineVersion
            | Self::DeleteEngineVersion
            | Self::ResolveEngineVersionImageRef => BodyRule::Absent,
        }
    }

    /// Whether it knows query parameters.
    pub(super) fn takes_query(self) -> bool {
        matches!(
            self,
            Self::ListRuntimes
                | Self::ListOperations
                | Self::PreviewSchedule
                | Self::ListEngineVersions
        )
    }

    /// Whether a repeat under the same `Idempotency-Key` is recognised.
    pub(super) fn takes_idempotency_key(self) -> bool {
        match self {
            Self::RegisterRuntime
            | Self::BanishRace
            | Self::ForceNextTurn
            | Self::StopRuntime
            | Self::PatchRuntime
            | Self::ReconcileRuntime
            | Self::CreateEngineVersion
            | Self::UpdateEngineVersion
            | Self::DeleteEngineVersion
            | Self::DeprecateEngineVersion => true,
            // What may be repeated freely needs no name.
            Self::InvalidateMemberships
            | Self::GameLiveness
            | Self::ListRuntimes
            | Self::GetRuntime
            | Self::ListOperations
            | Self::ExplainRuntime
            | Self::PreviewSchedule
            | Self::ListEngineVersions
            | Self::GetEngineVersion
            | Self::ResolveEngineVersionImageRef => false,
        }
    }
}

/// An operation, with the parts of the path that are parameters, as they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'p> {
    pub(super) operation: Operation,
    pub(super) parameters: Parameters<'p>,
}

/// The raw path parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters<'p> {
    None,
    Game(&'p str),
    GameAndTurn(&'p str, &'p str),
    GameAndRace(&'p str, &'p str),
    Version(&'p str),
}

type Methods = &'static [(Method, Operation)];

/// Finds the operation, or says that there is no such path, or no such method of it.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Result<Found<'p>, Refusal> {
    let (methods, parameters) = resource(path).ok_or_else(Refusal::not_found)?;
    match methods.iter().find(|(known, _)| known == method) {
        Some((_, operation)) => Ok(Found { operation: *operation, parameters }),
        None => Err(Refusal::method_not_allowed(methods.iter().map(|(known, _)| known))),
    }
}

/// The methods a path knows. Paths are compared as they stand: a trailing slash, a double one or an
/// encoded letter makes another path, so that each resource has one name.
fn resource(path: &str) -> Option<(Methods, Parameters<'_>)> {
    const INTERNAL: &str = "/api/v1/internal/";
    match path {
        "/healthz" => return Some((HEALTHZ, Parameters::None)),
        "/readyz" => return Some((READYZ, Parameters::None)),
        "/metrics" => return Some((METRICS, Parameters::None)),
        _ => {}
    }
    let mut segments = path.strip_prefix(INTERNAL)?.split('/');
    let head = (segments.next()?, segments.next(), segments.next(), segments.next());
    let end = segments.next();
    if segments.next().is_some() {
        return None;
    }
    let (methods, parameters) = match (head, end) {
        (head, None) => short_resource(head)?,
        (("games", Some(game), Some("races"), Some(race)), Some("banish")) => {
            (BANISH, Parameters::GameAndRace(game, race))
        }
        (_, Some(_)) => return None,
    };
    let has_empty_segment = match parameters {
        Parameters::None => false,
        Parameters::Game(key) | Parameters::Version(key) => key.is_empty(),
        Parameters::GameAndTurn(game, more) | Parameters::GameAndRace(game, more) => {
            game.is_empty() || more.is_empty()
        }
    };
    (!has_empty_segment).then_some((methods, parameters))
}

/// A resource of up to four segments below the prefix.
fn short_resource<'p>(
    segments: (&'p str, Option<&'p str>, Option<&'p str>, Option<&'p str>),
) -> Option<(Methods, Parameters<'p>)> {
    Some(match segments {
        ("games", Some(game), Some("commands"), None) => (COMMANDS, Parameters::Game(game)),
        ("games", Some(game), Some("orders"), None) => (ORDERS, Parameters::Game(game)),
        ("games", Some(game), Some("reports"), Some(turn)) => {
            (REPORT, Parameters::GameAndTurn(game, turn))
        }
        ("games", Some(game), Some("register-runtime"), None) => (REGISTER, Parameters::Game(game)),
        ("games", Some(game), Some("liveness"), None) => (LIVENESS, Parameters::Game(game)),
        ("games", Some(game), Some("memberships"), Some("invalidate")) => {
            (INVALIDATE, Parameters::Game(game))
        }
        ("runtimes", None, None, None) => (RUNTIMES, Parameters::None),
        ("runtimes", Some(game), None, None) => (RUNTIME, Parameters::Game(game)),
        ("runtimes", Some(game), Some("force-next-turn"), None) => (FORCE, Parameters::Game(game)),
        ("runtimes", Some(game), Some("stop"), None) => (STOP, Parameters::Game(game)),
        ("runtimes", Some(game), Some("patch"), None) => (PATCH, Parameters::Game(game)),
        ("runtimes", Some(game), Some("reconcile"), None) => (RECONCILE, Parameters::Game(game)),
        ("runtimes", Some(game), Some("operations"), None) => (OPERATIONS, Parameters::Game(game)),
        ("runtimes", Some(game), Some("explain"), None) => (EXPLAIN, Parameters::Game(game)),
        ("schedules", Some("preview"), None, None) => (PREVIEW, Parameters::None),
        ("engine-versions", None, None, None) => (VERSIONS, Parameters::None),
        ("engine-versions", Some(version), None, None) => (VERSION, Parameters::Version(version)),
        ("engine-versions", Some(version), Some("deprecate"), None) => {
            (DEPRECATE, Parameters::Version(version))
        }
        ("engine-versions", Some(version), Some("image-ref"), None) => {
            (IMAGE_REF, Parameters::Version(version))
        }
        _ => return None,
    })
}

const HEALTHZ: Methods = &[(Method::GET, Operation::Probe(Probe::Healthz))];
const READYZ: Methods = &[(Method::GET, Operation::Probe(Probe::Readyz))];
const METRICS: Methods = &[(Method::GET, Operation::Probe(Probe::Metrics))];
const COMMANDS: Methods = &[(Method::POST, Operation::Player(Player::ExecuteCommands))];
const ORDERS: Methods = &[(Method::PUT, Operation::Player(Player::PutOrders))];
const REPORT: Methods = &[(Method::GET, Operation::Player(Player::GetReport))];
const REGISTER: Methods = &[(Method::POST, Operation::Managed(Managed::RegisterRuntime))];
const BANISH: Methods = &[(Method::POST, Operation::Managed(Managed::BanishRace))];
const LIVENESS: Methods = &[(Method::GET, Operation::Managed(Managed::GameLiveness))];
const INVALIDATE: Methods = &[(Method::POST, Operation::Managed(Managed::InvalidateMemberships))];
const RUNTIMES: Methods = &[(Method::GET, Operation::Managed(Managed::ListRuntimes))];
const RUNTIME: Methods = &[(Method::GET, Operation::Managed(Managed::GetRuntime))];
const FORCE: Methods = &[(Method::POST, Operation::Managed(Managed::ForceNextTurn))];
const STOP: Methods = &[(Method::POST, Operation::Managed(Managed::StopRuntime))];
const PATCH: Methods = &[(Method::POST, Operation::Managed(Managed::PatchRuntime))];
const RECONCILE: Methods = &[(Method::POST, Operation::Managed(Managed::ReconcileRuntime))];
const OPERATIONS: Methods = &[(Method::GET, Operation::Managed(Managed::ListOperations))];
const EXPLAIN: Methods = &[(Method::GET, Operation::Managed(Managed::ExplainRuntime))];
const PREVIEW: Methods = &[(Method::GET, Operation::Managed(Managed::PreviewSchedule))];
const VERSIONS: Methods = &[
    (Method::GET, Operation::Managed(Managed::ListEngineVersions)),
    (Method::POST, Operation::Managed(Managed::CreateEngineVersion)),
];
const VERSION: Methods = &[
    (Method::GET, Operation::Managed(Managed::GetEngineVersion)),
    (Method::PATCH, Operation::Managed(Managed::UpdateEngineVersion)),
    (Method::DELETE, Operation::Managed(Managed::DeleteEngineVersion)),
];
const DEPRECATE: Methods = &[(Method::POST, Operation::Managed(Managed::DeprecateEngineVersion))];
const IMAGE_REF: Methods =
    &[(Method::GET, Operation::Managed(Managed::ResolveEngineVersionImageRef))];

#[cfg(test)]
mod tests;
