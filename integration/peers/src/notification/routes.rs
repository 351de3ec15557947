//! The notification service's HTTP: what it would have sent, for whoever asks.

use std::convert::Infallible;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::Notification;
use crate::http::{Problem, Reply, json, only_known, query, segments};

/// Notifications in one page where the caller does not say.
const DEFAULT_PAGE: usize = 100;
/// Most notifications in one page.
const MAX_PAGE: usize = 1_000;

/// Answers one request.
pub(super) async fn handle(
    service: Notification,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    // None of these requests has a body.
    if let Err(reply) = service.front.before(&head, body).await {
        return Ok(reply);
    }
    let answer = route(&service, &head.method, &head.uri).await;
    service.front.after().await;
    Ok(answer.unwrap_or_else(Problem::into_reply))
}

async fn route(service: &Notification, method: &Method, uri: &http::Uri) -> Result<Reply, Problem> {
    let path = segments(uri.path())?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["healthz"] | ["_counters"] | ["api", "v1", "sent"] if *method != Method::GET => {
            Err(Problem::method_not_allowed())
        }
        ["healthz"] => Ok(json(StatusCode::OK, &json!({}))),
        ["_counters"] => Ok(json(StatusCode::OK, &service.counters().await)),
        ["api", "v1", "sent"] => sent(service, uri).await,
        _ => Err(Problem::not_found()),
    }
}

/// Oldest first. `after` says how many are passed over, those forgotten by now included.
async fn sent(service: &Notification, uri: &http::Uri) -> Result<Reply, Problem> {
    let query = query(uri)?;
    only_known(&query, &["after", "limit"])?;
    let number = |name: &str, otherwise: usize| match query.get(name) {
        None => Ok(otherwise),
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Problem::invalid_request(format!("query: `{name}` is not a number"))),
    };
    let limit = number("limit", DEFAULT_PAGE)?.clamp(1, MAX_PAGE);
    let (sent, next) = service.sent_after(number("after", 0)?, limit).await;
    Ok(json(StatusCode::OK, &json!({ "sent": sent, "next": next })))
}
