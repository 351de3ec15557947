//! Commands, orders and reports: the hot path.
//!
//! Little is allocated here: the identifiers, and what reading a body costs. The commands are a
//! slice of the body they came in, and the engine's answer goes out as it is.

use http::request;
use hyper::body::Incoming;
use machine::GameId;

use super::api::{Api, CommandList, PlayerRequest};
use super::body::{BodyLimits, receive};
use super::operation::{BodyRule, Player};
use super::reply::{Refusal, Reply, verbatim};
use super::{headers, query};

/// Answers for a player. `turn` is that of the path, where it has one.
pub(super) async fn answer(
    api: &dyn Api,
    operation: Player,
    (game, turn): (&GameId, u32),
    (head, body): (&request::Parts, Incoming),
    limits: BodyLimits,
) -> Result<Reply, Refusal> {
    let user = headers::user_id(&head.headers)?;
    query::none(head.uri.query().unwrap_or_default())?;
    let rule = match operation {
        Player::ExecuteCommands | Player::PutOrders => BodyRule::Json,
        Player::GetReport => BodyRule::Absent,
    };
    let body = receive(rule, &head.headers, body, limits).await?;
    let request = match operation {
        Player::ExecuteCommands => PlayerRequest::Commands(CommandList::from_body(&body)?),
        Player::PutOrders => PlayerRequest::Orders(CommandList::from_body(&body)?),
        Player::GetReport => PlayerRequest::Report { turn },
    };
    Ok(verbatim(api.player(game, &user, request).await?))
}
