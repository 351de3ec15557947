//! What the three clients share: building requests, reading bounded answers.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use net::{CallError, HttpClient};
use serde::Deserialize;

use crate::telemetry::call as traced_call;
use crate::telemetry::labels::{CallOutcome, Peer};

/// Longest part of a neighbour's error message that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Why there is no answer to work with.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The question did not reach the neighbour: nothing can have happened.
    NotSent(String),
    /// It was sent, and no answer came: anything may have happened.
    Lost(String),
    /// The neighbour answered 5xx.
    Unwell(String),
    /// It answered and refused.
    Refused {
        /// The status.
        status: u16,
        /// The envelope's code, where there is one.
        code: String,
        /// In words.
        message: String,
    },
    /// It answered what cannot be read.
    Unreadable(String),
}

/// The base of a neighbour's address, `http://host:port`, and a path under it. `total` bounds the
/// whole call where the client's own limit is not the right one.
pub(super) async fn call(
    (peer, client): (Peer, &HttpClient),
    method: Method,
    uri: String,
    body: Option<Bytes>,
    total: Option<std::time::Duration>,
) -> Result<Bytes, NoAnswer> {
    let mut request = Request::new(body.clone().unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() =
        uri.parse().map_err(|_| NoAnswer::NotSent("the address is not a URI".into()))?;
    let traced = traced_call(peer, request.method(), request.uri());
    let headers = request.headers_mut();
    traced.write(headers);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let sent = match total {
        Some(total) => client.send_within(request, total).await,
        None => client.send(request).await,
    };
    let answer = match sent {
        Ok(response) => sort(response),
        Err(error @ CallError::TooLarge { .. }) => Err(NoAnswer::Unreadable(error.to_string())),
        Err(error) if error.is_determinate() => Err(NoAnswer::NotSent(error.to_string())),
        Err(error) => Err(NoAnswer::Lost(error.to_string())),
    };
    traced.ended(match &answer {
        Ok(_) => CallOutcome::Answered,
        Err(NoAnswer::Refused { .. }) => CallOutcome::Refused,
        Err(NoAnswer::NotSent(_) | NoAnswer::Lost(_) | NoAnswer::Unwell(_)) => {
            CallOutcome::Unreachable
        }
        Err(NoAnswer::Unreadable(_)) => CallOutcome::Unreadable,
    });
    answer
}

fn sort(response: Response<Bytes>) -> Result<Bytes, NoAnswer> {
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    if status.is_server_error() {
        return Err(NoAnswer::Unwell(format!("answered {}", status.as_u16())));
    }
    if !status.is_client_error() {
        // A redirect is never followed, and nothing else is an answer.
        return Err(NoAnswer::Unreadable(format!("answered {}", status.as_u16())));
    }
    #[derive(serde::Deserialize)]
    struct Envelope {
        error: Inner,
    }
    #[derive(serde::Deserialize)]
    struct Inner {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let (code, message) = match serde_json::from_slice::<Envelope>(response.body()) {
        Ok(Envelope { error }) => (error.code, error.message),
        Err(_) => (String::new(), "no error envelope".into()),
    };
    let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
    Err(NoAnswer::Refused { status: status.as_u16(), code, message })
}

/// Reads an answer's body.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, NoAnswer> {
    serde_json::from_slice(body).map_err(|error| {
        // The position, never the content.
        let (line, column) = (error.line(), error.column());
        NoAnswer::Unreadable(format!("unreadable answer at line {line}, column {column}"))
    })
}

/// Whether JSON text nests no deeper than that. The text is valid JSON, or will be refused anyway.
pub(super) fn is_at_most(deep: usize, text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > deep {
                    return false;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// A body to be sent; our own types always serialise.
pub(super) fn body(value: &impl serde::Serialize) -> Result<Bytes, NoAnswer> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| NoAnswer::Unreadable(format!("cannot write the request: {error}")))
}

/// A text as one segment of a path or one value of a query (RFC 3986, unreserved characters kept).
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        for (text, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[1,{"b":[]}]}"#, 4),
            (r#"["[[[[", "\"[[[", "\\"]"#, 1),
            ("[[],[],[[]]]", 3),
        ] {
            assert!(is_at_most(depth, text.as_bytes()), "{text}");
            assert!(depth == 0 || !is_at_most(depth - 1, text.as_bytes()), "{text}");
        }
        assert!(!is_at_most(128, "[".repeat(1_000_000).as_bytes()));
    }
}
