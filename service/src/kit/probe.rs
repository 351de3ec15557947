//! Asking: one request, one answer, and what is kept of both as evidence.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use machine::EngineEndpoint;
use net::{CallError, ClientLimits, HttpClient, Net};
use serde::Serialize;
use tokio::time::{Instant, timeout};

/// Longest part of a request or an answer that is quoted, in characters.
const MAX_QUOTED_CHARS: usize = 240;
/// The largest answer that Game Master reads where nothing else is set.
pub(super) const MAX_RESPONSE_BYTES: usize = 4 << 20;
/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What was seen where a rule does not hold. Escaped and bounded: fit for a terminal and a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The request's line, and its body where it had one.
    pub request: String,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// What is wrong with it.
    pub found: String,
}

/// A request to be made.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<Bytes>,
    limit: Duration,
    /// Whether the contract says what the answer's body looks like.
    pub(super) is_in_contract: bool,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>, limit: Duration) -> Self {
        Self { method, path: path.into(), body: None, limit, is_in_contract: true }
    }

    /// With a body that says it is JSON, whatever it is.
    pub(super) fn with(self, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    /// The answer's status is all that is looked at.
    pub(super) fn for_its_status(self) -> Self {
        Self { is_in_contract: false, ..self }
    }

    /// The request as evidence quotes it.
    pub(super) fn line(&self) -> String {
        let line = format!("{} {}", self.method, self.path);
        match &self.body {
            Some(body) => quoted(&format!("{line} {}", String::from_utf8_lossy(body))),
            None => quoted(&line),
        }
    }
}

/// A request that was made, and what came of it.
pub(super) struct Exchange {
    pub(super) ask: Ask,
    pub(super) outcome: Result<Response<Bytes>, CallError>,
    pub(super) took: Duration,
}

/// Asks one neighbour, as Game Master's own clients do.
#[derive(Clone)]
pub(super) struct Probe {
    net: Arc<dyn Net>,
    client: HttpClient,
    base: EngineEndpoint,
}

impl Probe {
    pub(super) fn new(net: Arc<dyn Net>, base: EngineEndpoint) -> Self {
        let limits = ClientLimits {
            connect_timeout: CONNECT_TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
            ..ClientLimits::default()
        };
        let client = HttpClient::new(Arc::clone(&net), limits, None);
        Self { net, client, base }
    }

    pub(super) async fn exchange(&self, ask: Ask) -> Exchange {
        let began = Instant::now();
        let outcome = match self.request(&ask, format!("{}{}", self.base, ask.path)) {
            Ok(request) => self.client.send_within(request, ask.limit).await,
            Err(error) => Err(error),
        };
        Exchange { ask, outcome, took: began.elapsed() }
    }

    fn request(&self, ask: &Ask, uri: String) -> Result<Request<Bytes>, CallError> {
        let json = HeaderValue::from_static("application/json");
        let mut request = Request::new(ask.body.clone().unwrap_or_default());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri
            .parse()
            .map_err(|_| CallError::NotSent(net::NotSent::Invalid("the path is not a URI")))?;
        request.headers_mut().insert(header::ACCEPT, json.clone());
        if ask.body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        Ok(request)
    }

    /// Makes one request twice over one connection; the reason where that does not work.
    ///
    /// SUBTLE: not through the pool. A pool may dial although a connection is just about to become
    /// free, so that counting its connections would blame a neighbour for that.
    pub(super) async fn twice_on_one_connection(&self, ask: &Ask) -> Result<(), String> {
        let both = async {
            let (host, port) = (self.base.host(), self.base.port());
            let addresses = self.net.resolve(host, port).await.map_err(|e| e.to_string())?;
            let mut stream = Err("the host has no address".to_owned());
            for address in addresses {
                stream = self.net.connect(address).await.map_err(|e| e.to_string());
                if stream.is_ok() {
                    break;
                }
            }
            let io = TokioIo::new(stream?);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
            let talk = async {
                for nth in ["first", "second"] {
                    let why = |e: hyper::Error| format!("the {nth} call on a connection: {e}");
                    sender.ready().await.map_err(why)?;
                    let mut request =
                        self.request(ask, ask.path.clone()).map_err(|e| e.to_string())?;
                    let authority = HeaderValue::from_str(self.base.authority());
                    let authority = authority.map_err(|e| e.to_string())?;
                    request.headers_mut().insert(header::HOST, authority);
                    let answer = sender.send_request(request.map(Full::new)).await.map_err(why)?;
                    let body = Limited::new(answer.into_body(), MAX_RESPONSE_BYTES);
                    body.collect().await.map_err(|e| format!("the {nth} answer: {e}"))?;
                }
                Ok(())
            };
            tokio::pin!(talk);
            tokio::select! {
                biased;
                done = &mut talk => done,
                // What it has read is still to be taken by the talk.
                _ = connection => talk.await,
            }
        };
        match timeout(ask.limit.saturating_mul(2), both).await {
            Ok(done) => done,
            Err(_elapsed) => Err("no second answer in time".into()),
        }
    }
}

/// A text for people: bounded, and with nothing in it that a terminal obeys.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == MAX_QUOTED_CHARS {
            out.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_is_quoted_is_bounded_and_obeyed_by_no_terminal() {
        assert_eq!(quoted("{\"a\":\"Чужие\"}"), "{\"a\":\"Чужие\"}");
        assert_eq!(quoted("\u{1b}[2J\r\n\u{202e}x"), "\\u{1b}[2J\\r\\n\\u{202e}x");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 241);
    }
}
