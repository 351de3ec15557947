//! Asking one part of a world.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use net::CallError;
use serde_json::Value;

use crate::harness::Client;

/// An answer, and what was asked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub what: String,
    /// The status.
    pub status: StatusCode,
    /// The body; `Null` where it is empty.
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Panics
    /// Where it is none.
    #[expect(clippy::panic, reason = "a failed expectation of a test")]
    pub fn done(self) -> Value {
        if !self.status.is_success() {
            panic!("{}: {} {}", self.what, self.status, self.body);
        }
        self.body
    }

    /// Expects a refusal.
    ///
    /// # Panics
    /// Where it is none, or another one.
    pub fn refused(self, status: u16, code: &str) {
        let got = (self.status.as_u16(), self.code().unwrap_or_default());
        assert_eq!(got, (status, code), "{}: {}", self.what, self.body);
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        self.body["error"]["code"].as_str()
    }
}

/// A client of one part, with its credentials.
#[derive(Clone)]
pub struct Ask {
    client: Client,
    who: String,
    token: Option<String>,
}

impl Ask {
    pub(super) fn new(who: impl Into<String>, address: SocketAddr, token: Option<String>) -> Self {
        Self { client: Client::new(address), who: who.into(), token }
    }

    /// Asks; no answer is an error.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let what = format!("{} {method} {path}", self.who);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut all = headers.to_vec();
        all.extend(bearer.as_ref().map(|bearer| ("authorization", bearer.as_str())));
        let (status, body) = self.client.call(method, path, &all, body).await?;
        Ok(Answer { what, status, body })
    }

    /// Asks somebody who is there.
    ///
    /// # Panics
    /// Where there is no answer.
    #[expect(clippy::panic, reason = "a failed expectation of a test")]
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        match self.try_call(method.clone(), path, &[], body).await {
            Ok(answer) => answer,
            Err(error) => panic!("{} {method} {path}: {error}", self.who),
        }
    }

    /// Reads something; `None` where it is not to be had.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.try_call(Method::GET, path, &[], None).await.ok()?;
        answer.status.is_success().then_some(answer.body)
    }

    /// Reads a text; `None` where it is not to be had.
    pub async fn text(&self, path: &str) -> Option<String> {
        self.client.text(path).await
    }

    /// Tells it what to do wrong from now on; an empty object: nothing.
    pub async fn misbehave(&self, plan: Value) {
        self.call(Method::POST, "/_misbehave", Some(&plan)).await.done();
    }
}
