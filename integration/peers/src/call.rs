//! Calls of one neighbour to another: JSON over HTTP, with who calls said in the headers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

use crate::http::ErrorEnvelope;

/// A client of one service.
#[derive(Clone)]
pub struct Caller {
    client: net::HttpClient,
    base_url: String,
    headers: HeaderMap,
    timeout: Duration,
}

/// An answer, whatever it says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoAnswer {
    /// Whether the request may have had its effect all the same.
    pub may_have_happened: bool,
    /// For people.
    pub message: String,
}

impl NoAnswer {
    fn before_sending(message: impl ToString) -> Self {
        Self { may_have_happened: false, message: message.to_string() }
    }
}

impl Caller {
    /// A client of the service at `base_url` (`http://host:port`).
    pub fn new(client: net::HttpClient, base_url: &str, timeout: Duration) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { client, base_url, headers: HeaderMap::new(), timeout }
    }

    /// Says in every call who calls, and proves it where a token is given.
    pub fn calling_as(
        mut self,
        caller: &'static str,
        token: Option<&str>,
    ) -> Result<Self, http::header::InvalidHeaderValue> {
        self.headers.insert("x-galaxy-caller", HeaderValue::from_static(caller));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            self.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(self)
    }

    /// Sends a request without a body.
    pub async fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, Bytes::new(), &[]).await
    }

    /// Sends a request with a JSON body and extra headers.
    pub async fn post<B: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &B,
        extra: &[(&'static str, &str)],
    ) -> Result<Answer, NoAnswer> {
        let body = serde_json::to_vec(body).map_err(NoAnswer::before_sending)?;
        self.send(Method::POST, path, body.into(), extra).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        extra: &[(&'static str, &str)],
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base_url));
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(NoAnswer::before_sending)?;
        match self.client.send_within(request, self.timeout).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Answer { status: head.status, body })
            }
            Err(error) => Err(NoAnswer {
                may_have_happened: !error.is_determinate(),
                message: error.to_string(),
            }),
        }
    }
}

impl Answer {
    /// The body as `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Code and message of a refusal; made up from the status where there is no envelope.
    pub fn refusal(&self) -> (String, String) {
        match self.json::<ErrorEnvelope>() {
            Ok(envelope) => (envelope.error.code, envelope.error.message),
            Err(_) => (format!("http_{}", self.status.as_u16()), self.status.to_string()),
        }
    }
}
