//! Going through a contract: every answer is held against the rules of HTTP first, and only one
//! that can be worked with gets as far as the rule it was asked for.

use bytes::Bytes;
use http::{Response, header};
use net::{CallError, Unknown};
use serde_json::Value;

use super::probe::{Ask, Evidence, Exchange, Probe, quoted};
use super::rule::{Rule, http as rules};
use super::sheet::Sheet;

/// After so many calls without an answer the rest is not tried: each may cost a whole time-out.
const MAX_UNANSWERED: u32 = 5;

/// An answer that can be worked with.
pub(super) struct Answer {
    request: String,
    /// Its status, 2xx, 4xx or 5xx.
    pub(super) status: u16,
    /// Its body.
    pub(super) body: Bytes,
    /// Its body read, where it is JSON.
    pub(super) json: Option<Value>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Understood and refused. To be told that it came at the wrong time is no refusal.
    pub(super) fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status) && !matches!(self.status, 408 | 425 | 429)
    }

    /// The code in the error envelope.
    pub(super) fn code(&self) -> Option<&str> {
        self.json.as_ref()?.get("error")?.get("code")?.as_str()
    }

    /// What is wrong with it.
    pub(super) fn evidence(&self, problem: impl AsRef<str>) -> Evidence {
        let found = quoted(problem.as_ref());
        Evidence { request: self.request.clone(), status: Some(self.status), found }
    }

    /// That it is not what was expected, its beginning quoted.
    pub(super) fn instead_of(&self, expected: &str) -> Evidence {
        let body = quoted(&String::from_utf8_lossy(&self.body));
        let found = format!("expected {expected}, got {} {body}", self.status);
        Evidence { request: self.request.clone(), status: Some(self.status), found }
    }
}

/// Why an answer cannot be worked with: a rule of HTTP that says so.
pub(super) struct Unusable(String);

impl Unusable {
    /// Why a rule could not be looked at.
    pub(super) fn reason(&self) -> String {
        self.0.clone()
    }
}

/// Why a check has ended before it began.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Nobody is there.
    #[error("nothing can be reached there: {0}")]
    Unreachable(String),
    /// The neighbour must not be touched.
    #[error("{0}")]
    Unfit(String),
}

/// A check on its way.
pub(super) struct Walk {
    pub(super) probe: Probe,
    pub(super) sheet: Sheet,
    unanswered: u32,
}

impl Walk {
    pub(super) fn new(probe: Probe, own: &[Rule]) -> Self {
        Self { probe, sheet: Sheet::new(own), unanswered: 0 }
    }

    /// Like [`ask`](Self::ask), for the first call: whether anybody is there at all.
    pub(super) async fn knock(&mut self, ask: Ask) -> Result<Result<Answer, Unusable>, Stopped> {
        let exchange = self.probe.exchange(ask).await;
        if let Err(error @ CallError::NotSent(_)) = &exchange.outcome {
            return Err(Stopped::Unreachable(quoted(&error.to_string())));
        }
        Ok(self.judge(exchange))
    }

    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Answer, Unusable> {
        if self.unanswered >= MAX_UNANSWERED {
            let reason = format!("given up after {MAX_UNANSWERED} calls without an answer");
            return Err(Unusable(reason));
        }
        let exchange = self.probe.exchange(ask).await;
        self.judge(exchange)
    }

    /// Asks for what has to be refused.
    pub(super) async fn refused(&mut self, rule: Rule, ask: Ask) -> Option<Answer> {
        match self.ask(ask).await {
            Ok(answer) => {
                let seen = || answer.instead_of("a refusal (4xx)");
                self.sheet.check(rule, answer.is_refusal(), seen);
                Some(answer)
            }
            Err(unusable) => {
                self.sheet.skip(rule, unusable.reason());
                None
            }
        }
    }

    /// Asks for what has to be granted; the answer where it was.
    pub(super) async fn granted(&mut self, rule: Rule, ask: Ask) -> Option<Answer> {
        match self.ask(ask).await {
            Ok(answer) => {
                self.sheet.check(rule, answer.is_success(), || answer.instead_of("success (2xx)"));
                Some(answer).filter(Answer::is_success)
            }
            Err(unusable) => {
                self.sheet.skip(rule, unusable.reason());
                None
            }
        }
    }

    /// Two calls over one connection, and one to nowhere.
    pub(super) async fn manners(&mut self, harmless: Ask, nowhere: Ask) {
        let request = harmless.line();
        match self.probe.twice_on_one_connection(&harmless).await {
            Ok(()) => self.sheet.pass(rules::KEEP_ALIVE),
            Err(why) => {
                let found = quoted(&why);
                self.sheet.fail(rules::KEEP_ALIVE, Evidence { request, status: None, found });
            }
        }
        self.refused(rules::UNKNOWN_PATH, nowhere.for_its_status()).await;
    }

    /// Holds what came of a request against the rules of HTTP.
    pub(super) fn judge(&mut self, exchange: Exchange) -> Result<Answer, Unusable> {
        let Exchange { ask, outcome, took } = exchange;
        let request = ask.line();
        let mut broken = |rule: Rule, status: Option<u16>, found: String| {
            let reason = format!("no usable answer to {request}: see {}", rule.id);
            self.sheet.fail(rule, Evidence { request: request.clone(), status, found });
            Err(Unusable(reason))
        };
        let response = match outcome {
            Ok(response) => response,
            Err(CallError::TooLarge { .. }) => {
                let found = format!("more than {} bytes", super::probe::MAX_RESPONSE_BYTES);
                return broken(rules::SIZE, None, found);
            }
            Err(CallError::Unknown(Unknown::TimedOut(_))) => {
                self.unanswered += 1;
                let found = format!("no whole answer within {} ms", took.as_millis());
                return broken(rules::IN_TIME, None, found);
            }
            // The kinds of error may grow; whatever it is, it is no answer.
            Err(error @ (CallError::NotSent(_) | CallError::Unknown(_) | _)) => {
                self.unanswered += 1;
                return broken(rules::ANSWERED, None, quoted(&error.to_string()));
            }
        };
        let status = response.status().as_u16();
        if response.status().is_redirection() {
            let to = header_text(&response, header::LOCATION);
            return broken(rules::NO_REDIRECT, Some(status), format!("redirected to {to:?}"));
        }
        let encoding = header_text(&response, header::CONTENT_ENCODING);
        if !matches!(encoding.as_str(), "" | "identity") {
            let found = format!("Content-Encoding: {encoding}");
            return broken(rules::PLAIN, Some(status), found);
        }
        for rule in [rules::ANSWERED, rules::SIZE, rules::IN_TIME, rules::NO_REDIRECT, rules::PLAIN]
        {
            self.sheet.pass(rule);
        }
        let content_type = header_text(&response, header::CONTENT_TYPE);
        let body = response.into_body();
        let json = serde_json::from_slice(&body).ok();
        let answer = Answer { request, status, body, json };
        if ask.is_in_contract { self.judge_body(answer, &content_type) } else { Ok(answer) }
    }

    fn judge_body(&mut self, answer: Answer, content_type: &str) -> Result<Answer, Unusable> {
        if !answer.body.is_empty() {
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            let is_json = essence.eq_ignore_ascii_case("application/json");
            let seen = || answer.evidence(format!("Content-Type: {content_type:?}"));
            self.sheet.check(rules::CONTENT_TYPE, is_json, seen);
        }
        if answer.is_success() {
            if answer.json.is_none() && !answer.body.is_empty() {
                self.sheet.fail(rules::JSON, answer.instead_of("JSON"));
                let Answer { request, .. } = answer;
                let rule = rules::JSON.id;
                return Err(Unusable(format!("no usable answer to {request}: see {rule}")));
            }
            self.sheet.pass(rules::JSON);
        } else if answer.is_refusal() {
            let text = |name: &str| {
                let text = answer.json.as_ref()?.get("error")?.get(name)?.as_str()?;
                Some(!text.is_empty())
            };
            let is_there = text("code") == Some(true) && text("message") == Some(true);
            let seen = || answer.instead_of("the error envelope");
            self.sheet.check(rules::ENVELOPE, is_there, seen);
        }
        Ok(answer)
    }
}

fn header_text(response: &Response<Bytes>, name: header::HeaderName) -> String {
    let value = response.headers().get(name);
    value.map(|v| quoted(&String::from_utf8_lossy(v.as_bytes()))).unwrap_or_default()
}
