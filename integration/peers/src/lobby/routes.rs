//! Lobby's HTTP: requests taken apart, operations called, answers put together.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::{
    GameSummary,
    core::Core,
    game::{
        Game, MAX_MEMBERS_PER_GAME, MAX_NAME_BYTES, MAX_SCHEDULE_BYTES, Member, MemberAction,
        MemberStatus, Phase, is_identifier, is_race_name,
    },
    view::RuntimeView,
};
use crate::http::{
    MAX_BODY_BYTES, Problem, Reply, json, no_content, only_known, query, read_json, segments,
};

/// Games in one page where the caller does not say.
const DEFAULT_PAGE: usize = 100;
/// Most games in one page.
const MAX_PAGE: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateGame {
    game_id: String,
    engine_version: String,
    turn_schedule: String,
    #[serde(default)]
    members: Vec<Enrolment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolment {
    user_id: String,
    race_name: String,
}

/// Answers one request.
///
/// The work runs in a task of its own, so that a client who hangs up cannot leave a commit without
/// the hook that belongs to it.
pub(super) async fn handle(
    core: Arc<Core>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    let body = match core.front.before(&head, body).await {
        Ok(body) => body,
        Err(reply) => return Ok(reply),
    };
    let request = Request::from_parts(head, body);
    let working = Arc::clone(&core);
    let work = tokio::spawn(async move { route(&working, request).await });
    let worked = work.await;
    core.front.after().await;
    Ok(match worked {
        Ok(Ok(reply)) => reply,
        Ok(Err(problem)) => problem.into_reply(),
        Err(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "a bug").into_reply()
        }
    })
}

async fn route(core: &Core, request: Request<Incoming>) -> Result<Reply, Problem> {
    let (head, body) = request.into_parts();
    let path = segments(head.uri.path())?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = &head.method;
    match path.as_slice() {
        ["healthz"] if *method == Method::GET => Ok(json(StatusCode::OK, &json!({}))),
        ["_counters"] if *method == Method::GET => {
            let counters = core.state.read(|state| state.counters).await;
            Ok(json(StatusCode::OK, &counters))
        }
        ["api", "v1", "games"] if *method == Method::GET => list(core, &head.uri).await,
        ["api", "v1", "games"] if *method == Method::POST => {
            let create = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            let game = core.create(draft(create)?).await?;
            Ok(json(StatusCode::CREATED, &GameSummary::of(&game)))
        }
        ["api", "v1", "games", game_id] if *method == Method::GET => {
            Ok(json(StatusCode::OK, &GameSummary::of(&core.game(game_id).await?)))
        }
        ["api", "v1", "games", game_id, "start"] if *method == Method::POST => {
            Ok(json(StatusCode::ACCEPTED, &GameSummary::of(&core.start(game_id).await?)))
        }
        ["api", "v1", "games", game_id, "resume"] if *method == Method::POST => {
            Ok(json(StatusCode::ACCEPTED, &GameSummary::of(&core.resume(game_id).await?)))
        }
        ["api", "v1", "games", game_id, "members"] if *method == Method::POST => {
            let enrolment = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            let game = core.enrol(game_id, member(enrolment, MemberStatus::Pending)?).await?;
            Ok(json(StatusCode::CREATED, &GameSummary::of(&game)))
        }
        ["api", "v1", "games", game_id, "members", user_id, action] if *method == Method::POST => {
            let action = MemberAction::parse(action).ok_or_else(Problem::not_found)?;
            let game = core.act_on_member(game_id, user_id, action).await?;
            Ok(json(StatusCode::OK, &GameSummary::of(&game)))
        }
        ["api", "v1", "users", user_id] if *method == Method::DELETE => {
            core.delete_user(user_id).await?;
            Ok(no_content())
        }
        ["api", "v1", "internal", "games", game_id, "memberships"] if *method == Method::GET => {
            memberships(core, game_id).await
        }
        ["healthz" | "_counters"]
        | ["api", "v1", "games"]
        | ["api", "v1", "games", _]
        | ["api", "v1", "games", _, "start" | "resume" | "members"]
        | ["api", "v1", "games", _, "members", _, _]
        | ["api", "v1", "users", _]
        | ["api", "v1", "internal", "games", _, "memberships"] => {
            Err(Problem::method_not_allowed())
        }
        _ => Err(Problem::not_found()),
    }
}

async fn list(core: &Core, uri: &http::Uri) -> Result<Reply, Problem> {
    let query = query(uri)?;
    only_known(&query, &["limit", "cursor"])?;
    let limit = match query.get("limit") {
        None => DEFAULT_PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| Problem::invalid_request(format!("limit is 1 to {MAX_PAGE}")))?,
    };
    let cursor = query.get("cursor").cloned().unwrap_or_default();
    let page: Vec<GameSummary> = core
        .state
        .read(|state| {
            let after = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
            state.games.range(after).take(limit).map(|(_, game)| GameSummary::of(game)).collect()
        })
        .await;
    let next_cursor = page.last().filter(|_| page.len() == limit).map(|game| &game.game_id);
    Ok(json(StatusCode::OK, &json!({ "games": page, "next_cursor": next_cursor })))
}

async fn memberships(core: &Core, game_id: &str) -> Result<Reply, Problem> {
    let game = core.game(game_id).await?;
    let members: Vec<&Member> =
        game.members.iter().filter(|member| member.status.is_membership()).collect();
    Ok(json(StatusCode::OK, &json!({ "members": members })))
}

fn draft(create: CreateGame) -> Result<Game, Problem> {
    if !is_identifier(&create.game_id) {
        return Err(Problem::invalid_request("game_id is 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if create.engine_version.is_empty() || create.engine_version.len() > MAX_NAME_BYTES {
        return Err(Problem::invalid_request("engine_version is missing or too long"));
    }
    if create.turn_schedule.is_empty() || create.turn_schedule.len() > MAX_SCHEDULE_BYTES {
        return Err(Problem::invalid_request("turn_schedule is missing or too long"));
    }
    if create.members.len() > MAX_MEMBERS_PER_GAME {
        return Err(Problem::invalid_request("too many members"));
    }
    let mut members: Vec<Member> = Vec::with_capacity(create.members.len());
    for enrolment in create.members {
        let member = member(enrolment, MemberStatus::Active)?;
        if members.iter().any(|m| m.user_id == member.user_id || m.race_name == member.race_name) {
            return Err(Problem::invalid_request("a user or a race occurs twice"));
        }
        members.push(member);
    }
    Ok(Game {
        game_id: create.game_id,
        engine_version: create.engine_version,
        turn_schedule: create.turn_schedule,
        members,
        phase: Phase::Draft,
        pauses: 0,
        untold_pause: None,
        view: RuntimeView::default(),
        created_at_ms: 0,
    })
}

fn member(enrolment: Enrolment, status: MemberStatus) -> Result<Member, Problem> {
    let Enrolment { user_id, race_name } = enrolment;
    if !is_identifier(&user_id) {
        return Err(Problem::invalid_request("user_id is 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if !is_race_name(&race_name) {
        return Err(Problem::invalid_request("race_name is empty, too long or not printable"));
    }
    Ok(Member { user_id, race_name, status })
}
