//! A small JSON client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use net::{CallError, ClientLimits, HttpClient, TokioNet};
use serde_json::Value;

/// Talks JSON to one address.
#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    base: String,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let limits = ClientLimits { total_timeout: Duration::from_secs(60), ..Default::default() };
        let http = HttpClient::new(Arc::new(TokioNet), limits, None);
        Self { http, base: format!("http://{address}") }
    }

    /// Sends a request; the answer's body is `Null` where it is empty or no JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), CallError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        #[expect(clippy::expect_used, reason = "the tests' own requests are well-formed")]
        let request = request.body(bytes).expect("a well-formed request");
        let answer = self.http.send(request).await?;
        let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        Ok((answer.status(), body))
    }

    /// Reads a text; `None` where it is not to be had.
    pub async fn text(&self, path: &str) -> Option<String> {
        let request = Request::builder().uri(format!("{}{path}", self.base)).body(Bytes::new());
        let answer = self.http.send(request.ok()?).await.ok()?;
        answer.status().is_success().then(|| String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// Reads something; `None` where it is not to be had.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.call(Method::GET, path, &[], None).await.ok()?;
        status.is_success().then_some(body)
    }
}
