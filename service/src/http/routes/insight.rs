//! What an operator looks at: a game's log, why it is as it is, and when a schedule fires.

use std::sync::Arc;

use http::StatusCode;
use machine::GameId;

use crate::error::ServiceError;
use crate::http::api::{Api, Asked};
use crate::http::cursor::{self, Scope};
use crate::http::query;
use crate::http::reply::{Refusal, Reply, json};
use crate::http::view::{ExplanationView, OperationView, Page, PreviewView};

pub(super) async fn operations(
    game: GameId,
    _asked: Asked,
    query: String,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let query = query::of_page(&query)?;
    let scope = Scope { list: "operations", filter: game.as_str() };
    let before = query
        .cursor
        .map(|text| cursor::decode::<u64>(scope, &text).ok_or_else(query::bad_cursor))
        .transpose()?;

    // One more than is shown tells whether there is a next page.
    let mut rows = api.operations(&game, before, query.limit + 1).await?;
    let has_more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let last = rows.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor::encode(scope, &last.seq.to_string()));
    let items = rows.iter().map(OperationView::from).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

pub(super) async fn explain(
    game: GameId,
    _asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    Ok(json(StatusCode::OK, &ExplanationView::from(&api.explain(&game).await?)))
}

pub(super) async fn preview(
    _asked: Asked,
    query: String,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let query = query::of_preview(&query)?;
    let occurrences = api.preview(&query.expression, query.count).await?;
    if occurrences.is_empty() {
        let message = "expression: the schedule has no occurrence to come";
        return Err(ServiceError::InvalidRequest(message.into()).into());
    }
    Ok(json(StatusCode::OK, &PreviewView::new(&query.expression, &occurrences)))
}
