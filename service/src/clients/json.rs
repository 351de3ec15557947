//! What the three clients share: building requests, reading bounded answers.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use net::{CallError, HttpClient};
use serde::Deserialize;

/// Longest part of a neighbour's error message that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Why there is no answer to work with.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The neighbour did not answer, or with 5xx.
    Unreachable(String),
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
    client: &HttpClient,
    method: Method,
    uri: String,
    body: Option<Bytes>,
    total: Option<std::time::Duration>,
) -> Result<Bytes, NoAnswer> {
    let mut request = Request::new(body.clone().unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() =
        uri.parse().map_err(|_| NoAnswer::Unreachable("the address is not a URI".into()))?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let sent = match total {
        Some(total) => client.send_within(request, total).await,
        None => client.send(request).await,
    };
    match sent {
        Ok(response) => sort(response),
        Err(error @ CallError::TooLarge { .. }) => Err(NoAnswer::Unreadable(error.to_string())),
        Err(error) => Err(NoAnswer::Unreachable(error.to_string())),
    }
}

fn sort(response: Response<Bytes>) -> Result<Bytes, NoAnswer> {
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    if status.is_server_error() {
        return Err(NoAnswer::Unreachable(format!("answered {}", status.as_u16())));
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
