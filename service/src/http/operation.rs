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
    GetRuntime,
    ListRuntimes,
    ForceNextTurn,
    InvalidateMemberships,
    GameLiveness,
    CreateEngineVersion,
    GetEngineVersion,
    ListEngineVersions,
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
            Self::Player(Player::ExecuteCommands) => "internalExecuteCommands",
            Self::Player(Player::PutOrders) => "internalPutOrders",
            Self::Player(Player::GetReport) => "internalGetReport",
            Self::Managed(Managed::RegisterRuntime) => "internalRegisterRuntime",
            Self::Managed(Managed::GetRuntime) => "internalGetRuntime",
            Self::Managed(Managed::ListRuntimes) => "internalListRuntimes",
            Self::Managed(Managed::ForceNextTurn) => "internalForceNextTurn",
            Self::Managed(Managed::InvalidateMemberships) => "internalInvalidateMemberships",
            Self::Managed(Managed::GameLiveness) => "internalGameLiveness",
            Self::Managed(Managed::CreateEngineVersion) => "internalCreateEngineVersion",
            Self::Managed(Managed::GetEngineVersion) => "internalGetEngineVersion",
            Self::Managed(Managed::ListEngineVersions) => "internalListEngineVersions",
            Self::Managed(Managed::ResolveEngineVersionImageRef) => {
                "internalResolveEngineVersionImageRef"
            }
        }
    }
}

impl Managed {
    /// Who is taken to ask where the request does not say.
    pub(super) fn usual_caller(self) -> Source {
        match self {
            Self::RegisterRuntime
            | Self::InvalidateMemberships
            | Self::GameLiveness
            | Self::ResolveEngineVersionImageRef => Source::Lobby,
            Self::GetRuntime
            | Self::ListRuntimes
            | Self::ForceNextTurn
            | Self::CreateEngineVersion
            | Self::GetEngineVersion
            | Self::ListEngineVersions => Source::Admin,
        }
    }

    /// What body it takes.
    pub(super) fn body(self) -> BodyRule {
        match self {
            Self::RegisterRuntime | Self::CreateEngineVersion => BodyRule::Json,
            Self::ForceNextTurn | Self::InvalidateMemberships => BodyRule::Empty,
            Self::GetRuntime
            | Self::ListRuntimes
            | Self::GameLiveness
            | Self::GetEngineVersion
            | Self::ListEngineVersions
            | Self::ResolveEngineVersionImageRef => BodyRule::Absent,
        }
    }

    /// Whether it knows query parameters.
    pub(super) fn takes_query(self) -> bool {
        matches!(self, Self::ListRuntimes | Self::ListEngineVersions)
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
        _ => {}
    }
    let mut segments = path.strip_prefix(INTERNAL)?.split('/');
    let head = (segments.next()?, segments.next(), segments.next(), segments.next());
    if segments.next().is_some() {
        return None;
    }
    let (methods, parameters) = match head {
        ("runtimes", None, None, None) => (RUNTIMES, Parameters::None),
        ("runtimes", Some(game), None, None) => (RUNTIME, Parameters::Game(game)),
        ("runtimes", Some(game), Some("force-next-turn"), None) => (FORCE, Parameters::Game(game)),
        ("games", Some(game), Some("register-runtime"), None) => (REGISTER, Parameters::Game(game)),
        ("games", Some(game), Some("liveness"), None) => (LIVENESS, Parameters::Game(game)),
        ("games", Some(game), Some("commands"), None) => (COMMANDS, Parameters::Game(game)),
        ("games", Some(game), Some("orders"), None) => (ORDERS, Parameters::Game(game)),
        ("games", Some(game), Some("reports"), Some(turn)) => {
            (REPORT, Parameters::GameAndTurn(game, turn))
        }
        ("games", Some(game), Some("memberships"), Some("invalidate")) => {
            (INVALIDATE, Parameters::Game(game))
        }
        ("engine-versions", None, None, None) => (VERSIONS, Parameters::None),
        ("engine-versions", Some(version), None, None) => (VERSION, Parameters::Version(version)),
        ("engine-versions", Some(version), Some("image-ref"), None) => {
            (IMAGE_REF, Parameters::Version(version))
        }
        _ => return None,
    };
    let has_empty_segment = match parameters {
        Parameters::None => false,
        Parameters::Game(key) | Parameters::Version(key) => key.is_empty(),
        Parameters::GameAndTurn(game, turn) => game.is_empty() || turn.is_empty(),
    };
    (!has_empty_segment).then_some((methods, parameters))
}

const HEALTHZ: Methods = &[(Method::GET, Operation::Probe(Probe::Healthz))];
const READYZ: Methods = &[(Method::GET, Operation::Probe(Probe::Readyz))];
const RUNTIMES: Methods = &[(Method::GET, Operation::Managed(Managed::ListRuntimes))];
const RUNTIME: Methods = &[(Method::GET, Operation::Managed(Managed::GetRuntime))];
const FORCE: Methods = &[(Method::POST, Operation::Managed(Managed::ForceNextTurn))];
const REGISTER: Methods = &[(Method::POST, Operation::Managed(Managed::RegisterRuntime))];
const LIVENESS: Methods = &[(Method::GET, Operation::Managed(Managed::GameLiveness))];
const COMMANDS: Methods = &[(Method::POST, Operation::Player(Player::ExecuteCommands))];
const ORDERS: Methods = &[(Method::PUT, Operation::Player(Player::PutOrders))];
const REPORT: Methods = &[(Method::GET, Operation::Player(Player::GetReport))];
const INVALIDATE: Methods = &[(Method::POST, Operation::Managed(Managed::InvalidateMemberships))];
const VERSIONS: Methods = &[
    (Method::GET, Operation::Managed(Managed::ListEngineVersions)),
    (Method::POST, Operation::Managed(Managed::CreateEngineVersion)),
];
const VERSION: Methods = &[(Method::GET, Operation::Managed(Managed::GetEngineVersion))];
const IMAGE_REF: Methods =
    &[(Method::GET, Operation::Managed(Managed::ResolveEngineVersionImageRef))];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_one_spelling() {
        let parameters = |path| find(&Method::GET, path).map(|found| found.parameters).ok();
        assert_eq!(parameters("/api/v1/internal/runtimes"), Some(Parameters::None));
        assert_eq!(parameters("/api/v1/internal/runtimes/a"), Some(Parameters::Game("a")));
        assert_eq!(
            parameters("/api/v1/internal/games/a/reports/7"),
            Some(Parameters::GameAndTurn("a", "7"))
        );
        for unknown in [
            "",
            "*",
            "/",
            "/healthz/",
            "//healthz",
            "/Healthz",
            "/api/v1/internal",
            "/api/v1/internal/",
            "/api/v1/internal/runtimes/",
            "/api/v1/internal//runtimes",
            "/api/v1/internal/%72untimes",
            "/api/v1/internal/runtimes;a=b",
            "/api/v1/internal/runtimes/a/",
            "/api/v1/internal/games//liveness",
            "/api/v1/internal/games/a/liveness/",
            "/api/v1/internal/games/a/reports/",
            "/api/v1/internal/games/a/reports/7/",
            "/api/v1/internal/games/a/reports/7/8",
            "/api/v1/internal/games/a/b/liveness",
        ] {
            assert_eq!(parameters(unknown), None, "{unknown}");
        }
    }
}
