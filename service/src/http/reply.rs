//! Answers. This file alone gives a refusal its status; the table is that of the contract.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use crate::error::ServiceError;

/// An answer, whole.
pub(super) type Reply = Response<Bytes>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// Whatever is in the way passes in about a second, or not at all.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

const INVALID_REQUEST: &str = "invalid_request";

/// An answer with a body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(text) => with_body(status, text.into()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Refusal::from(ServiceError::InternalError).into_reply()
        }
    }
}

/// An answer that is JSON already.
pub(super) fn verbatim(json: Bytes) -> Reply {
    with_body(StatusCode::OK, json)
}

/// The numbers of this process, as Prometheus reads them.
pub(super) fn exposition(text: String) -> Reply {
    let mut reply = Response::new(text.into());
    reply.headers_mut().insert(CONTENT_TYPE, EXPOSITION);
    reply
}

/// An answer that says no more than that it was done.
pub(super) fn no_content() -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Whatever came of an operation, as an answer.
pub(super) fn of(outcome: Result<Reply, Refusal>) -> Reply {
    outcome.unwrap_or_else(Refusal::into_reply)
}

fn with_body(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// An answer with the error envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    /// The methods of the path, for 405.
    allow: Option<HeaderValue>,
}

impl Refusal {
    /// No operation has this path.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "no such path")
    }

    /// The path has other methods.
    pub(super) fn method_not_allowed<'m>(allowed: impl Iterator<Item = &'m Method>) -> Self {
        let methods: Vec<&str> = allowed.map(Method::as_str).collect();
        // Names of methods are valid in a header; if not, the answer does without.
        let allow = HeaderValue::from_str(&methods.join(", ")).ok();
        let message = "this path does not know the method";
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST, message);
        Self { allow, ..refusal }
    }

    /// Who asks is not known.
    pub(super) fn unauthenticated() -> Self {
        let message = "a bearer token of a caller is required";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// The body did not arrive in time.
    pub(super) fn request_timeout() -> Self {
        let message = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, message)
    }

    /// The body is longer than `max_bytes`.
    pub(super) fn payload_too_large(max_bytes: usize) -> Self {
        let message = format!("the body must be {max_bytes} bytes at most");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
    }

    /// The body is not declared as plain UTF-8 JSON.
    pub(super) fn unsupported_media_type(message: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, message)
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), allow: None }
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        // The contract promises a message, and some of them come from a neighbour.
        let message = if self.message.is_empty() { self.code } else { &*self.message };
        let envelope = Envelope { error: Detail { code: self.code, message } };
        // Two strings always serialise.
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let mut reply = with_body(self.status, body.into());
        let headers = reply.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, BEARER);
            }
            // The rest of the body may still come; it is no request.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(CONNECTION, CLOSE);
            }
            _ => {}
        }
        reply
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        let (status, code) = match &error {
            ServiceError::InvalidRequest(_) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            ServiceError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            ServiceError::RuntimeNotFound => (StatusCode::NOT_FOUND, "runtime_not_found"),
            ServiceError::EngineVersionNotFound => {
                (StatusCode::NOT_FOUND, "engine_version_not_found")
            }
            ServiceError::RaceNotFound => (StatusCode::NOT_FOUND, "race_not_found"),
            ServiceError::EngineVersionInUse => (StatusCode::CONFLICT, "engine_version_in_use"),
            ServiceError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ServiceError::RuntimeNotRunning(_) => (StatusCode::CONFLICT, "runtime_not_running"),
            ServiceError::SemverPatchOnly(_) => (StatusCode::CONFLICT, "semver_patch_only"),
            ServiceError::EngineValidationError(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "engine_validation_error")
            }
            ServiceError::EngineUnreachable(_) => (StatusCode::BAD_GATEWAY, "engine_unreachable"),
            ServiceError::EngineProtocolViolation(_) => {
                (StatusCode::BAD_GATEWAY, "engine_protocol_violation")
            }
            ServiceError::OutcomeUnknown(_) => (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown"),
            ServiceError::ServiceUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable")
            }
            ServiceError::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        };
        Self::new(status, code, error.to_string())
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'a str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_contract() {
        let text = || "why".to_string();
        for (error, status, code) in [
            (ServiceError::InvalidRequest(text()), 400, "invalid_request"),
            (ServiceError::Forbidden(text()), 403, "forbidden"),
            (ServiceError::RuntimeNotFound, 404, "runtime_not_found"),
            (ServiceError::EngineVersionNotFound, 404, "engine_version_not_found"),
            (ServiceError::RaceNotFound, 404, "race_not_found"),
            (ServiceError::EngineVersionInUse, 409, "engine_version_in_use"),
            (ServiceError::Conflict(text()), 409, "conflict"),
            (ServiceError::RuntimeNotRunning(text()), 409, "runtime_not_running"),
            (ServiceError::SemverPatchOnly(text()), 409, "semver_patch_only"),
            (ServiceError::EngineValidationError(text()), 422, "engine_validation_error"),
            (ServiceError::EngineUnreachable(text()), 502, "engine_unreachable"),
            (ServiceError::EngineProtocolViolation(text()), 502, "engine_protocol_violation"),
            (ServiceError::OutcomeUnknown(text()), 503, "outcome_unknown"),
            (ServiceError::ServiceUnavailable(text()), 503, "service_unavailable"),
            (ServiceError::InternalError, 500, "internal_error"),
        ] {
            let message = error.to_string();
            let reply = Refusal::from(error).into_reply();
            assert_eq!(reply.status(), status);
            assert_eq!(reply.headers().contains_key(RETRY_AFTER), status == 503, "{code}");
            assert_eq!(
                reply.body(),
                &format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
            );
        }
    }

    #[test]
    fn a_message_is_never_empty() {
        let reply = Refusal::from(ServiceError::EngineValidationError(String::new())).into_reply();
        let expected =
            r#"{"error":{"code":"engine_validation_error","message":"engine_validation_error"}}"#;
        assert_eq!(reply.body(), expected);
    }
}
