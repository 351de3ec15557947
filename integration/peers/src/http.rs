//! Small HTTP helpers every reference peer shares: JSON replies, the error envelope
//! `{"error":{"code","message"}}`, paths and queries taken apart, bodies decoded strictly.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The body of a [`Reply`].
pub type Body = BoxBody<Bytes, io::Error>;
/// What a peer's handler answers.
pub type Reply = Response<Body>;

/// Largest request body a peer reads where the caller has no reason for another limit.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest time a peer waits for a request body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A refusal, as it goes into the error envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Problem {
    /// HTTP status of the answer.
    pub status: StatusCode,
    /// Stable, machine-readable code.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

impl Problem {
    /// A refusal with `status` and `code`.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// 400 `invalid_request`.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 404 `not_found`: no such path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "no such path")
    }

    /// 405 `invalid_request`: the path exists, the method does not.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            "this path does not take this method",
        )
    }

    /// The answer that carries this refusal.
    pub fn into_reply(self) -> Reply {
        let status = self.status;
        json(
            status,
            &ErrorEnvelope { error: ErrorDetail { code: self.code.into(), message: self.message } },
        )
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        problem.into_reply()
    }
}

/// The envelope of every error, on both sides of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEnvelope {
    /// The only member.
    pub error: ErrorDetail,
}

/// What is inside [`ErrorEnvelope`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable, machine-readable code.
    pub code: String,
    /// For people.
    pub message: String,
}

/// `value` as an `application/json` answer.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw_json(status, Bytes::from(bytes)),
        // A value that serde cannot write is a bug of the peer, so it says so and goes on serving.
        Err(_) => raw_json(
            StatusCode::INTERNAL_SERVER_ERROR,
            Bytes::from_static(
                br#"{"error":{"code":"internal_error","message":"unwritable answer"}}"#,
            ),
        ),
    }
}

/// Bytes that claim to be `application/json`.
pub fn raw_json(status: StatusCode, bytes: Bytes) -> Reply {
    let mut reply = Response::new(full(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// 204 without a body.
pub fn no_content() -> Reply {
    let mut reply = Response::new(full(Bytes::new()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// The error envelope with `status`, `code` and `message`.
pub fn error(
    status: StatusCode,
    code: impl Into<Cow<'static, str>>,
    message: impl Into<String>,
) -> Reply {
    Problem::new(status, code, message).into_reply()
}

/// An answer that never gets onto the wire: its body fails at once, and the server drops the
/// connection before it has flushed the head.
pub fn dropped_connection() -> Reply {
    Response::new(Failing.boxed())
}

/// A body of known bytes.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// The path's segments, percent-decoded; `/a/b%20c` is `["a", "b c"]`. A trailing slash leaves an
/// empty last segment, which matches no route.
pub fn segments(path: &str) -> Result<Vec<String>, Problem> {
    path.strip_prefix('/')
        .ok_or_else(Problem::not_found)?
        .split('/')
        .map(|segment| percent_decode(segment, false))
        .collect()
}

/// The query as a map. A key that occurs twice is refused: two readers could take it differently.
pub fn query(uri: &http::Uri) -> Result<BTreeMap<String, String>, Problem> {
    let mut map = BTreeMap::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decode(key, true)?;
        let value = percent_decode(value, true)?;
        if map.contains_key(&key) {
            return Err(Problem::invalid_request(format!("query: `{key}` occurs twice")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// Refuses query parameters that are not in `known`.
pub fn only_known(query: &BTreeMap<String, String>, known: &[&str]) -> Result<(), Problem> {
    match query.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Problem::invalid_request(format!("query: unknown parameter `{key}`"))),
        None => Ok(()),
    }
}

/// `text` for use as one path segment or one query value.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(hex_digit(byte >> 4));
            encoded.push(hex_digit(byte & 0x0f));
        }
    }
    encoded
}

/// Reads and decodes a JSON body: right content type, bounded, and strict as far as `T` is
/// (`#[serde(deny_unknown_fields)]`; serde itself refuses a known key that occurs twice).
pub async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Incoming,
    max_bytes: usize,
) -> Result<T, Problem> {
    require_json(headers)?;
    let bytes = net::read_body(body, max_bytes, BODY_TIMEOUT).await.map_err(body_problem)?;
    decode(&bytes)
}

/// Whoever can reach a neighbour from elsewhere must not be able to make it misbehave.
pub fn require_loopback(peer: Option<SocketAddr>) -> Result<(), Problem> {
    if peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "only from this machine"))
}

/// Decodes a JSON text that is already there.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|e| Problem::invalid_request(format!("body: {e}")))
}

/// A body that fails at its first poll.
struct Failing;

impl hyper::body::Body for Failing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let broken = io::Error::new(io::ErrorKind::ConnectionAborted, "dropped on purpose");
        Poll::Ready(Some(Err(broken)))
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "invalid_request",
        "the body must be application/json",
    ))
}

fn body_problem(error: net::BodyError) -> Problem {
    match error {
        net::BodyError::TooLarge { .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request",
            "the body is larger than this peer reads",
        ),
        net::BodyError::TimedOut => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request",
            "the body did not arrive in time",
        ),
        // `BodyError` may grow; every other way to fail is a body that is not there.
        net::BodyError::Broken(_) | _ => Problem::invalid_request("the body broke off"),
    }
}

fn percent_decode(text: &str, plus_is_space: bool) -> Result<String, Problem> {
    let bad = || Problem::invalid_request("the URL is not percent-encoded UTF-8");
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_value).ok_or_else(bad)?;
                let low = bytes.next().and_then(hex_value).ok_or_else(bad)?;
                decoded.push(high << 4 | low);
            }
            b'+' if plus_is_space => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_decoded() {
        assert_eq!(segments("/a/b%20c").unwrap(), ["a", "b c"]);
        assert_eq!(segments("/a/").unwrap(), ["a", ""]);
        assert!(segments("/a%2").is_err());
        assert!(segments("/%ff").is_err());
        assert!(segments("a").is_err());
    }

    #[test]
    fn queries_are_decoded_and_duplicates_refused() {
        let uri: http::Uri = "/r?player=A+B%26&turn=3".parse().unwrap();
        let query = query(&uri).unwrap();
        assert_eq!(query["player"], "A B&");
        assert_eq!(query["turn"], "3");
        assert!(only_known(&query, &["player", "turn"]).is_ok());
        assert!(only_known(&query, &["player"]).is_err());
        assert!(super::query(&"/r?a=1&a=2".parse().unwrap()).is_err());
    }

    #[test]
    fn encoding_and_decoding_are_inverse() {
        for text in ["", "Zerg", "a b/c?d=e&f%", "Жук", "+~."] {
            assert_eq!(percent_decode(&percent_encode(text), true).unwrap(), text);
        }
    }

    #[test]
    fn the_content_type_must_be_json() {
        let mut headers = HeaderMap::new();
        assert_eq!(require_json(&headers).unwrap_err().status, 415);
        headers.insert(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        assert!(require_json(&headers).is_ok());
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(require_json(&headers).is_err());
    }
}
