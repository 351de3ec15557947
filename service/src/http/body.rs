//! Request bodies on their way in.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};
use net::BodyError;

use super::headers::check_json_type;
use super::json::Json;
use super::operation::BodyRule;
use super::reply::Refusal;
use crate::error::ServiceError;

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Its length.
    pub(super) max_bytes: usize,
    /// How long all of it may take to arrive.
    pub(super) timeout: Duration,
}

/// Reads a body that the rule allows. What is refused by its headers is not read at all.
pub(super) async fn receive(
    rule: BodyRule,
    headers: &HeaderMap,
    body: Incoming,
    limits: BodyLimits,
) -> Result<Bytes, Refusal> {
    match rule {
        BodyRule::Absent => refuse_any(&body).map(|()| Bytes::new()),
        BodyRule::Empty => {
            let body = read(body, limits).await?;
            if !body.is_empty() {
                check_json_type(headers)?;
                let [] = Json::parse(&body)?.fields([])?;
            }
            Ok(Bytes::new())
        }
        BodyRule::Json => {
            check_json_type(headers)?;
            read(body, limits).await
        }
    }
}

/// A body without a meaning is refused rather than ignored, and not waited for.
fn refuse_any(body: &Incoming) -> Result<(), Refusal> {
    if body.is_end_stream() {
        return Ok(());
    }
    Err(ServiceError::InvalidRequest("this operation takes no body".into()).into())
}

async fn read(body: Incoming, limits: BodyLimits) -> Result<Bytes, Refusal> {
    match net::read_body(body, limits.max_bytes, limits.timeout).await {
        Ok(body) => Ok(body),
        Err(BodyError::TooLarge { limit_bytes }) => Err(Refusal::payload_too_large(limit_bytes)),
        Err(BodyError::TimedOut) => Err(Refusal::request_timeout()),
        Err(error) => {
            tracing::debug!(%error, "a request body could not be read");
            let message = "the body is incomplete or malformed";
            Err(ServiceError::InvalidRequest(message.into()).into())
        }
    }
}
