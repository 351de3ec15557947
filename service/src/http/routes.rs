//! Everything but probes and players, as warp filters.
//!
//! What the filters are given was checked by the front: the operation is known, the identifiers are
//! parsed, the body is whole. Each filter picks its operation and hands it to a function in
//! `runtimes`, `insight` or `versions`.

mod insight;
mod runtimes;
mod versions;

use std::convert::Infallible;
use std::sync::Arc;

use machine::{EngineVersion, GameId, RaceName};
use warp::filters::BoxedFilter;
use warp::reply::{Reply as _, Response};
use warp::{Filter, Rejection};

use super::api::{Api, Asked};
use super::operation::Managed;
use super::reply;

/// A request as the front hands it over, in the request's extensions.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Managed,
    /// The game in the path, where it has one.
    pub(super) game: Option<GameId>,
    /// The race in the path, where it has one.
    pub(super) race: Option<RaceName>,
    /// The engine version in the path, where it has one.
    pub(super) version: Option<EngineVersion>,
    /// Who asks, and under which name.
    pub(super) asked: Asked,
}

/// The filters. Cloning shares them.
pub(super) type Routes = BoxedFilter<(Response,)>;

/// Builds the filters over `api`.
pub(super) fn routes(api: Arc<dyn Api>) -> Routes {
    let api = with(api);
    let body = warp::body::bytes();
    let operations = [
        of_game(Managed::RegisterRuntime)
            .and(body)
            .and(api.clone())
            .then(runtimes::register)
            .map(answer)
            .boxed(),
        of_race(Managed::BanishRace).and(api.clone()).then(runtimes::banish).map(answer).boxed(),
        of_game(Managed::InvalidateMemberships)
            .and(api.clone())
            .then(runtimes::invalidate_memberships)
            .map(answer)
            .boxed(),
        of_game(Managed::GameLiveness)
            .and(api.clone())
            .then(runtimes::liveness)
            .map(answer)
            .boxed(),
        of_all(Managed::ListRuntimes)
            .and(raw_query())
            .and(api.clone())
            .then(runtimes::list)
            .map(answer)
            .boxed(),
        of_game(Managed::GetRuntime).and(api.clone()).then(runtimes::get).map(answer).boxed(),
        of_game(Managed::ForceNextTurn).and(api.clone()).then(runtimes::force).map(answer).boxed(),
        of_game(Managed::StopRuntime)
            .and(body)
            .and(api.clone())
            .then(runtimes::stop)
            .map(answer)
            .boxed(),
        of_game(Managed::PatchRuntime)
            .and(body)
            .and(api.clone())
            .then(runtimes::patch)
            .map(answer)
            .boxed(),
        of_game(Managed::ReconcileRuntime)
            .and(api.clone())
            .then(runtimes::reconcile)
            .map(answer)
            .boxed(),
        of_game(Managed::ListOperations)
            .and(raw_query())
            .and(api.clone())
            .then(insight::operations)
            .map(answer)
            .boxed(),
        of_game(Managed::ExplainRuntime)
            .and(api.clone())
            .then(insight::explain)
            .map(answer)
            .boxed(),
        of_all(Managed::PreviewSchedule)
            .and(raw_query())
            .and(api.clone())
            .then(insight::preview)
            .map(answer)
            .boxed(),
        of_all(Managed::ListEngineVersions)
            .and(raw_query())
            .and(api.clone())
            .then(versions::list)
            .map(answer)
            .boxed(),
        of_all(Managed::CreateEngineVersion)
            .and(body)
            .and(api.clone())
            .then(versions::create)
            .map(answer)
            .boxed(),
        of_version(Managed::GetEngineVersion)
            .and(api.clone())
            .then(versions::get)
            .map(answer)
            .boxed(),
        of_version(Managed::UpdateEngineVersion)
            .and(body)
            .and(api.clone())
            .then(versions::update)
            .map(answer)
            .boxed(),
        of_version(Managed::DeleteEngineVersion)
            .and(api.clone())
            .then(versions::delete)
            .map(answer)
            .boxed(),
        of_version(Managed::DeprecateEngineVersion)
            .and(api.clone())
            .then(versions::deprecate)
            .map(answer)
            .boxed(),
        of_version(Managed::ResolveEngineVersionImageRef)
            .and(api)
            .then(versions::image_ref)
            .map(answer)
            .boxed(),
    ];
    operations
        .into_iter()
        .fold(warp::any().and_then(nothing_here).boxed(), |so_far, next| {
            so_far.or(next).unify().boxed()
        })
        .recover(unexpected)
        .unify()
        .boxed()
}

fn with(api: Arc<dyn Api>) -> impl Filter<Extract = (Arc<dyn Api>,), Error = Infallible> + Clone {
    warp::any().map(move || Arc::clone(&api))
}

/// An operation about a game.
fn of_game(wanted: Managed) -> impl Filter<Extract = (GameId, Asked), Error = Rejection> + Clone {
    on(wanted)
        .and_then(|call: Arc<Call>| async move {
            let game = call.game.clone().ok_or_else(warp::reject::not_found)?;
            Ok::<_, Rejection>((game, call.asked.clone()))
        })
        .untuple_one()
}

/// An operation about a race in a game.
fn of_race(
    wanted: Managed,
) -> impl Filter<Extract = (GameId, RaceName, Asked), Error = Rejection> + Clone {
    on(wanted)
        .and_then(|call: Arc<Call>| async move {
            let key = call.game.clone().zip(call.race.clone());
            let (game, race) = key.ok_or_else(warp::reject::not_found)?;
            Ok::<_, Rejection>((game, race, call.asked.clone()))
        })
        .untuple_one()
}

/// An operation about an engine version.
fn of_version(
    wanted: Managed,
) -> impl Filter<Extract = (EngineVersion, Asked), Error = Rejection> + Clone {
    on(wanted)
        .and_then(|call: Arc<Call>| async move {
            let version = call.version.clone().ok_or_else(warp::reject::not_found)?;
            Ok::<_, Rejection>((version, call.asked.clone()))
        })
        .untuple_one()
}

/// An operation about all there are.
fn of_all(wanted: Managed) -> impl Filter<Extract = (Asked,), Error = Rejection> + Clone {
    on(wanted).map(|call: Arc<Call>| call.asked.clone())
}

fn on(wanted: Managed) -> impl Filter<Extract = (Arc<Call>,), Error = Rejection> + Clone {
    warp::ext::get::<Arc<Call>>().and_then(move |call: Arc<Call>| async move {
        if call.operation == wanted { Ok(call) } else { Err(warp::reject::not_found()) }
    })
}

/// The query as it stands, empty where there is none.
fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    let no_query = warp::any().map(String::new);
    warp::query::raw().or(no_query).unify()
}

fn answer(outcome: Result<reply::Reply, reply::Refusal>) -> Response {
    reply::of(outcome).into_response()
}

async fn nothing_here() -> Result<Response, Rejection> {
    Err(warp::reject::not_found())
}

/// The front calls for operations that the filters know, and what these are given was checked. So a
/// rejection is a mistake in this file.
async fn unexpected(rejection: Rejection) -> Result<Response, Infallible> {
    tracing::error!(?rejection, "no filter took a request");
    let refusal = reply::Refusal::from(crate::error::ServiceError::InternalError);
    Ok(refusal.into_reply().into_response())
}
