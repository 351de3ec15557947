//! Runtime Manager's HTTP.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, StatusCode, request::Parts};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Faults,
    core::{Core, Engine, runtime_not_found},
    launcher::ExitKind,
    state::Runtime,
};
use crate::{
    front::{from_this_machine, unavailable},
    http::{MAX_BODY_BYTES, Problem, Reply, json, no_content, read_json, segments},
};

/// Longest reason taken.
const MAX_REASON_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    image_ref: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    kind: ExitKind,
}

/// Answers one request, in a task of its own: a client who hangs up changes nothing.
pub(super) async fn handle(
    core: Arc<Core>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let work = tokio::spawn(async move { route(&core, request).await });
    Ok(match work.await {
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
    if path.first().is_some_and(|first| first.starts_with('_')) {
        return lever(core, &path, &head, body).await;
    }
    if core.faults().is_unavailable {
        return Err(unavailable());
    }
    match path.as_slice() {
        ["healthz"] if *method == Method::GET => Ok(json(StatusCode::OK, &json!({}))),
        ["api", "v1", "internal", "runtimes"] if *method == Method::GET => {
            Ok(json(StatusCode::OK, &json!({ "runtimes": all(core).await })))
        }
        ["api", "v1", "internal", "runtimes", game_id] if *method == Method::GET => {
            let runtime = core.state.read(|state| state.runtimes.get(*game_id).cloned()).await;
            let runtime = runtime.ok_or_else(runtime_not_found)?;
            let engine = core.engines.borrow().get(*game_id).cloned();
            Ok(json(StatusCode::OK, &shown(&runtime, engine.as_ref())))
        }
        ["api", "v1", "internal", "runtimes", game_id, "stop"] if *method == Method::POST => {
            let Stop { reason } = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            if reason.len() > MAX_REASON_BYTES {
                return Err(Problem::invalid_request("reason is too long"));
            }
            let container_id = core.stop(game_id, &reason).await?;
            Ok(json(StatusCode::OK, &json!({ "container_id": container_id })))
        }
        ["api", "v1", "internal", "runtimes", game_id, "patch"] if *method == Method::POST => {
            let Patch { image_ref } = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            let container_id = core.patch(game_id, &image_ref).await?;
            Ok(json(StatusCode::OK, &json!({ "container_id": container_id })))
        }
        ["healthz"]
        | ["api", "v1", "internal", "runtimes"]
        | ["api", "v1", "internal", "runtimes", _]
        | ["api", "v1", "internal", "runtimes", _, "stop" | "patch"] => {
            Err(Problem::method_not_allowed())
        }
        _ => Err(Problem::not_found()),
    }
}

/// What only this reference has: its counters, and the ways to make it misbehave.
async fn lever(core: &Core, path: &[&str], head: &Parts, body: Incoming) -> Result<Reply, Problem> {
    from_this_machine(head)?;
    let is_get = head.method == Method::GET;
    match path {
        ["_counters"] if is_get => {
            let counters = core.state.read(|state| state.counters).await;
            Ok(json(StatusCode::OK, &counters))
        }
        ["_misbehave"] if is_get => {
            let faults = core.faults().clone();
            Ok(json(StatusCode::OK, &faults))
        }
        ["_misbehave"] if head.method == Method::POST => {
            let faults: Faults = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            *core.faults() = faults;
            Ok(no_content())
        }
        ["_runtimes", game_id, "end"] if head.method == Method::POST => {
            let End { kind } = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
            if !core.engines.borrow().contains_key(*game_id) {
                return Err(runtime_not_found());
            }
            core.order_end(game_id, kind);
            Ok(no_content())
        }
        ["_counters" | "_misbehave"] | ["_runtimes", _, "end"] => {
            Err(Problem::method_not_allowed())
        }
        _ => Err(Problem::not_found()),
    }
}

async fn all(core: &Core) -> Vec<Value> {
    let engines = core.engines.borrow().clone();
    core.state
        .read(|state| {
            let runtimes = state.runtimes.values();
            runtimes.map(|runtime| shown(runtime, engines.get(&runtime.game_id))).collect()
        })
        .await
}

fn shown(runtime: &Runtime, engine: Option<&Engine>) -> Value {
    json!({
        "game_id": runtime.game_id,
        "container_id": runtime.container_id,
        "image_ref": runtime.image_ref,
        "port": runtime.port,
        "wanted": runtime.wanted,
        "is_up": engine.is_some_and(|engine| engine.is_up),
        "pid": engine.and_then(|engine| engine.pid),
        "endpoint": engine.map(|engine| &engine.endpoint),
    })
}
