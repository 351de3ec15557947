//! The runtimes, and what Lobby asks about its games.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use machine::{EngineVersion, GameId, Member, RaceName, Roster, Runtime, StopReason};

use crate::error::ServiceError;
use crate::http::api::{Api, Asked, RegisterRequest};
use crate::http::cursor::{self, Scope};
use crate::http::json::Json;
use crate::http::query;
use crate::http::reply::{Refusal, Reply, json, no_content};
use crate::http::view::{LivenessView, Page, RuntimeView};

pub(super) async fn register(
    game: GameId,
    asked: Asked,
    body: Bytes,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let request = registration(&body)?;
    Ok(record(&*api.register(game, request, asked).await?))
}

pub(super) async fn get(game: GameId, _asked: Asked, api: Arc<dyn Api>) -> Result<Reply, Refusal> {
    let runtime = api.runtime(&game).await?.ok_or(ServiceError::RuntimeNotFound)?;
    Ok(record(&runtime))
}

pub(super) async fn force(game: GameId, asked: Asked, api: Arc<dyn Api>) -> Result<Reply, Refusal> {
    Ok(record(&*api.force_next_turn(game, asked).await?))
}

pub(super) async fn stop(
    game: GameId,
    asked: Asked,
    body: Bytes,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let [reason] = Json::parse(&body)?.fields(["reason"])?;
    let reason: StopReason = reason?.parse_as()?;
    Ok(record(&*api.stop(game, reason, asked).await?))
}

pub(super) async fn patch(
    game: GameId,
    asked: Asked,
    body: Bytes,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let [version] = Json::parse(&body)?.fields(["version"])?;
    let version: EngineVersion = version?.parse_as()?;
    Ok(record(&*api.patch(game, version, asked).await?))
}

pub(super) async fn reconcile(
    game: GameId,
    asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    Ok(record(&*api.reconcile(game, asked).await?))
}

pub(super) async fn banish(
    game: GameId,
    race: RaceName,
    asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    api.banish(game, race, asked).await?;
    Ok(no_content())
}

pub(super) async fn invalidate_memberships(
    game: GameId,
    _asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    api.invalidate_memberships(game).await?;
    Ok(no_content())
}

pub(super) async fn liveness(
    game: GameId,
    _asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let runtime = api.runtime(&game).await?;
    Ok(json(StatusCode::OK, &LivenessView::from(runtime.as_deref())))
}

pub(super) async fn list(
    _asked: Asked,
    query: String,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let query = query::of_runtimes(&query)?;
    let filter = query.status.map_or("", |status| status.as_str());
    let scope = Scope { list: "runtimes", filter };
    let after = query
        .cursor
        .map(|text| cursor::decode::<GameId>(scope, &text).ok_or_else(query::bad_cursor))
        .transpose()?;

    // One more than is shown tells whether there is a next page.
    let mut runtimes = api.runtimes(query.status, after, query.limit + 1).await?;
    let has_more = runtimes.len() > query.limit;
    runtimes.truncate(query.limit);
    let last = runtimes.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor::encode(scope, last.game_id.as_str()));
    let items = runtimes.iter().map(|runtime| RuntimeView::from(&**runtime)).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

fn record(runtime: &Runtime) -> Reply {
    json(StatusCode::OK, &RuntimeView::from(runtime))
}

fn registration(body: &[u8]) -> Result<RegisterRequest, ServiceError> {
    let body = Json::parse(body)?;
    let [endpoint, members, version, schedule] =
        body.fields(["engine_endpoint", "members", "target_engine_version", "turn_schedule"])?;
    Ok(RegisterRequest {
        engine_endpoint: endpoint?.parse_as()?,
        members: roster(&members?)?,
        target_engine_version: version?.parse_as()?,
        turn_schedule: turn_schedule(&schedule?)?,
    })
}

fn roster(members: &Json<'_>) -> Result<Roster, ServiceError> {
    let members = members
        .elements(Roster::MAX_MEMBERS)?
        .iter()
        .map(|member| {
            let [user_id, race_name] = member.fields(["user_id", "race_name"])?;
            let (user_id, race_name) = (user_id?.parse_as()?, race_name?.parse_as()?);
            Ok(Member { user_id, race_name, engine_player_id: None })
        })
        .collect::<Result<Vec<_>, ServiceError>>()?;
    Roster::new(members).map_err(|error| ServiceError::InvalidRequest(error.to_string()))
}

fn turn_schedule(schedule: &Json<'_>) -> Result<String, ServiceError> {
    let text = schedule.string()?;
    if !query::is_schedule_text(&text) {
        return Err(schedule.refuse(query::SCHEDULE_TEXT_RULE));
    }
    Ok(text.into_owned())
}
