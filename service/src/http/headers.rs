//! What the headers of a request say.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use machine::{InvalidValue, UserId};

use super::reply::Refusal;
use crate::error::ServiceError;
use crate::ports::{BadIdempotencyKey, IdempotencyKey, Source};

/// Names a request, in logs and in the operation log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Who asks, for the operation log.
pub(super) const CALLER: HeaderName = HeaderName::from_static("x-galaxy-caller");
/// Which player Gateway speaks for.
pub(super) const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// Names a change, so that it happens once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest identifier of a request, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The identifier the caller gave, if it is usable: it goes into logs and into the store, and must
/// not be able to do anything there.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let id = only(headers, &REQUEST_ID).ok().flatten()?;
    let is_usable = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_usable.then_some(id)
}

/// Who asks, where the request says so.
pub(super) fn caller(headers: &HeaderMap) -> Result<Option<Source>, ServiceError> {
    match only(headers, &CALLER)?.map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"gateway") => Ok(Some(Source::Gateway)),
        Some(b"lobby") => Ok(Some(Source::Lobby)),
        Some(b"admin") => Ok(Some(Source::Admin)),
        Some(_) => Err(invalid("X-Galaxy-Caller must be gateway, lobby or admin")),
    }
}

/// The name the caller gave the request, so that a repeat is recognised.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ServiceError> {
    let Some(value) = only(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.parse().ok());
    key.map(Some).ok_or_else(|| invalid(format!("Idempotency-Key {BadIdempotencyKey}")))
}

/// The player Gateway speaks for.
pub(super) fn user_id(headers: &HeaderMap) -> Result<UserId, ServiceError> {
    let value = only(headers, &USER_ID)?.ok_or_else(|| invalid("X-User-Id is missing"))?;
    let text = value.to_str().map_err(|_| invalid("X-User-Id must be ASCII"))?;
    text.parse().map_err(|error: InvalidValue| invalid(format!("X-User-Id {}", error.problem)))
}

/// Refuses a request that does not say which host it is for (RFC 9112, section 3.2).
pub(super) fn check_host(version: Version, headers: &HeaderMap) -> Result<(), ServiceError> {
    match only(headers, &HOST)? {
        Some(_) => Ok(()),
        None if version < Version::HTTP_11 => Ok(()),
        None => Err(invalid("Host is missing")),
    }
}

/// Refuses a body that is anything but plain UTF-8 JSON.
pub(super) fn check_json_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_ENCODING) {
        let message = "Content-Encoding is not supported: send the body as it is";
        return Err(Refusal::unsupported_media_type(message));
    }
    let declared = only(headers, &CONTENT_TYPE).ok().flatten();
    if declared.and_then(|value| value.to_str().ok()).is_some_and(is_json) {
        return Ok(());
    }
    let message = "Content-Type must be application/json, in UTF-8 if it says a charset";
    Err(Refusal::unsupported_media_type(message))
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
        })
}

/// The value of a header that may come once.
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, ServiceError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(invalid(format!("the header {name} must be given once"))),
    }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::InvalidRequest(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_declared_in_one_way() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "application/json; charset=utf-16",
            "application/json; charset",
            "application/json;",
            "application/json, text/plain",
            "application/merge-patch+json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn identifiers_that_could_do_harm_are_not_taken() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                headers.append(REQUEST_ID, value);
            }
            request_id(&headers).map(|id| id.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(of(&["req-7f31"]), Some("req-7f31".into()));
        for bad in ["", "a b", "é", "a\tb", &"x".repeat(129)] {
            assert_eq!(of(&[bad]), None);
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["a", "b"]), None);
    }
}
