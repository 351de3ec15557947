//! The client of Game Master's REST API.
//!
//! A change is sent with an `Idempotency-Key`, so that it may be sent again where its outcome is
//! not known: the repeat finds the first one, done or under way, and gives its answer. What is
//! still unknown after the last try is reported as such, with the key to go on with.

use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use service::config::secret;
use service::ports::{Entropy, SystemEntropy};
use tokio::time::{Instant, sleep, timeout_at};

use super::output::{note, plain};
use super::{EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_UNKNOWN, EXIT_UNREACHABLE, EXIT_USAGE, Failure};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How often a call is made before its outcome is left unknown.
const TRIES: u32 = 3;
/// The longest pause between two tries, whatever Game Master asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause where it asks for none.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// What of an answer that makes no sense is shown, in characters.
const EXCERPT_CHARS: usize = 120;

/// Where Game Master is, and who asks.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// Where Game Master's REST API listens.
    #[arg(long, env = "GAMEMASTER_URL", default_value = "http://127.0.0.1:8080",
          value_parser = base, global = true, help_heading = "Connection")]
    url: Url,

    /// The administrator's bearer token. Better set as the variable: others on the machine can see
    /// a program's arguments.
    #[arg(long, env = "GAMEMASTER_TOKEN", hide_env_values = true, value_parser = secret,
          global = true, help_heading = "Connection")]
    token: Option<SecretString>,

    /// How long to wait for the outcome of a call, in seconds, repeats included.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, global = true,
          value_parser = clap::value_parser!(u64).range(1..=3600), help_heading = "Connection")]
    timeout: u64,
}

/// What a change is known by.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChangeArgs {
    /// The name of this change: where the outcome of a change is unknown, the same command with the
    /// same key tells it, and changes nothing a second time. A fresh one where not set.
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
}

fn base(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| "must be http://host:port".to_owned())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if url.scheme() != "http" || !bare || !anonymous {
        return Err("must be http://host:port, with nothing before or after it".into());
    }
    Ok(url)
}

fn key(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be 1 to 128 visible ASCII characters".into());
    }
    Ok(text.to_owned())
}

/// Carries out work against Game Master, until Ctrl-C.
pub(crate) async fn with_client(
    remote: Remote,
    work: impl AsyncFnOnce(&Client) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let client = Client::new(remote)?;
    tokio::select! {
        biased;
        done = work(&client) => done,
        () = interrupted() => Err(client.on_interrupt()),
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system's own takes effect, which ends the process.
        std::future::pending().await
    }
}

/// A client of one Game Master, for one command.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    request_id: String,
    /// The key of the change that was begun.
    begun: OnceLock<String>,
}

struct Call {
    method: Method,
    url: Url,
    body: Option<String>,
    /// Of a change.
    key: Option<String>,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// JSON, or nothing.
    pub(crate) body: String,
}

/// How one try ended.
enum Tried {
    Done(Answer),
    Refused(Refusal),
    /// No byte of the request left.
    NotSent(String),
    /// The request may have been acted upon.
    Lost(String),
    /// An answer, but no sense in it; with a success, the change has perhaps been made.
    Nonsense(StatusCode, String),
}

struct Refusal {
    code: String,
    message: String,
    status: StatusCode,
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Envelope {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    code: String,
    message: String,
}

impl Client {
    fn new(remote: Remote) -> Result<Self, Failure> {
        let request_id = SystemEntropy.uuid().to_string();
        let usage = |why: &str| Failure::new(EXIT_USAGE, why.to_owned());
        let mut headers = HeaderMap::new();
        headers
            .insert(HeaderName::from_static("x-galaxy-caller"), HeaderValue::from_static("admin"));
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        if let Some(token) = &remote.token {
            let token = token.expose_secret();
            if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(usage("GAMEMASTER_TOKEN must be visible ASCII characters"));
            }
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| usage("GAMEMASTER_TOKEN cannot be sent"))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("gamemaster/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| Failure::new(EXIT_FAILURE, format!("no HTTP client: {e}")))?;
        let timeout = Duration::from_secs(remote.timeout);
        Ok(Self { http, base: remote.url, timeout, request_id, begun: OnceLock::new() })
    }

    /// Asks for something, below `/api/v1/internal`.
    pub(crate) async fn read(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.call(Call { method: Method::GET, url, body: None, key: None }).await
    }

    /// Changes something, below `/api/v1/internal`.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        args: &ChangeArgs,
    ) -> Result<Answer, Failure> {
        let fresh = || SystemEntropy.uuid().to_string();
        let key = args.idempotency_key.clone().unwrap_or_else(fresh);
        let call =
            Call { method, url: self.url(path)?, body: body.map(Value::to_string), key: Some(key) };
        self.call(call).await
    }

    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        // SUBTLE: a URL has no form, escaped or not, for a segment of dots: it would be resolved.
        if path.iter().any(|segment| matches!(*segment, "." | "..")) {
            let why = "a name that consists of dots cannot be put into a URL";
            return Err(Failure::new(EXIT_USAGE, why.into()));
        }
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.clear().extend(["api", "v1", "internal"]).extend(path);
            }
            Err(()) => return Err(Failure::new(EXIT_USAGE, "--url has no path".into())),
        }
        Ok(url)
    }

    /// Makes a call, again where its outcome is not known.
    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        if let Some(key) = &call.key {
            let _ = self.begun.set(key.clone());
        }
        let deadline = Instant::now() + self.timeout;
        let mut unknown = None;
        for tries_left in (0..TRIES).rev() {
            let Ok(tried) = timeout_at(deadline, self.once(&call)).await else {
                unknown = Some(format!("no answer within {} s", self.timeout.as_secs()));
                break;
            };
            let (why, pause) = match tried {
                Tried::Done(answer) => return Ok(answer),
                Tried::Refused(refusal) if self.is_no_answer(&refusal, unknown.is_some()) => {
                    (format!("{}: {}", refusal.code, refusal.message), refusal.retry_after)
                }
                Tried::Refused(refusal) => return Err(self.refused(refusal)),
                Tried::NotSent(why) if unknown.is_none() => return Err(self.unreachable(&why)),
                Tried::NotSent(why) | Tried::Lost(why) => (why, None),
                Tried::Nonsense(status, why) => return Err(self.nonsense(&call, status, &why)),
            };
            let pause = pause.unwrap_or(SHORTEST_PAUSE).min(LONGEST_PAUSE);
            if tries_left == 0 || Instant::now() + pause >= deadline {
                unknown = Some(why);
                break;
            }
            note(&format_args!(
                "{why}; asking again in {:.1} s, try {} of {TRIES}",
                pause.as_secs_f32(),
                TRIES - tries_left + 1
            ));
            unknown = Some(why);
            sleep(pause).await;
        }
        Err(self.gave_up(&call, &unknown.unwrap_or_default()))
    }

    /// Whether a refusal leaves the outcome open.
    fn is_no_answer(&self, refusal: &Refusal, in_doubt: bool) -> bool {
        // The second says that *this* try changed nothing, and nothing of the one before.
        refusal.code == "outcome_unknown" || (in_doubt && refusal.code == "service_unavailable")
    }

    async fn once(&self, call: &Call) -> Tried {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if let Some(key) = &call.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Tried::NotSent(reasons(&error)),
            Err(error) => return Tried::Lost(reasons(&error)),
        };
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = vec![];
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                    let why = format!("an answer of more than {} MiB", MAX_ANSWER_BYTES >> 20);
                    return Tried::Nonsense(status, why);
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Tried::Lost(reasons(&error)),
            }
        }
        judge(status, retry_after.map(Duration::from_secs), body)
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        let Refusal { code, message, status, retry_after } = refusal;
        let hint = match (status, retry_after) {
            (StatusCode::UNAUTHORIZED, _) => "; see --token, GAMEMASTER_TOKEN".to_owned(),
            (_, Some(after)) => format!("; another try is worth it in {} s", after.as_secs()),
            (_, None) => String::new(),
        };
        let code_of_exit = if code == "outcome_unknown" { EXIT_UNKNOWN } else { EXIT_FAILURE };
        Failure::new(code_of_exit, format!("{code}: {message}{hint} ({})", self.request()))
    }

    fn unreachable(&self, why: &str) -> Failure {
        let base = self.base.as_str().trim_end_matches('/');
        let why = format!(
            "cannot reach Game Master at {base}: {why}; is it running? (--url, GAMEMASTER_URL)"
        );
        Failure::new(EXIT_UNREACHABLE, why)
    }

    fn nonsense(&self, call: &Call, status: StatusCode, why: &str) -> Failure {
        let base = self.base.as_str().trim_end_matches('/');
        let what = format!("{why}; is this Game Master at {base}? ({})", self.request());
        match &call.key {
            Some(key) if status.is_success() => {
                Failure::new(EXIT_UNKNOWN, format!("{what}\n{}", how_to_learn(key)))
            }
            Some(_) | None => Failure::new(EXIT_FAILURE, what),
        }
    }

    fn gave_up(&self, call: &Call, why: &str) -> Failure {
        match &call.key {
            Some(key) => {
                let what = format!("the outcome is unknown: {why} ({})", self.request());
                Failure::new(EXIT_UNKNOWN, format!("{what}\n{}", how_to_learn(key)))
            }
            None => self.unreachable(why),
        }
    }

    fn on_interrupt(&self) -> Failure {
        let what = match self.begun.get() {
            Some(key) => format!("interrupted; the change may happen\n{}", how_to_learn(key)),
            None => "interrupted".into(),
        };
        Failure::new(EXIT_INTERRUPTED, what)
    }

    fn request(&self) -> String {
        format!("request {}", self.request_id)
    }
}

fn how_to_learn(key: &str) -> String {
    format!("to learn it, repeat the command with --idempotency-key {key}")
}

/// What an answer says.
fn judge(status: StatusCode, retry_after: Option<Duration>, body: Vec<u8>) -> Tried {
    let body = match String::from_utf8(body) {
        Ok(body) => body,
        Err(_) if status.is_server_error() => return Tried::Lost(format!("an answer {status}")),
        Err(_) => return Tried::Nonsense(status, format!("an answer {status} that is no text")),
    };
    if status == StatusCode::NO_CONTENT && body.is_empty() {
        return Tried::Done(Answer { body });
    }
    if status.is_success() {
        return match serde_json::from_str::<&serde_json::value::RawValue>(&body) {
            Ok(_) => Tried::Done(Answer { body }),
            Err(_) => {
                let why = format!("an answer {status} that is no JSON{}", excerpt(&body));
                Tried::Nonsense(status, why)
            }
        };
    }
    match serde_json::from_str::<Envelope>(&body) {
        Ok(Envelope { error: Detail { code, message } }) => Tried::Refused(Refusal {
            code: plain(&code),
            message: plain(&message),
            status,
            retry_after,
        }),
        // Not Game Master's: something between us and it, which knows nothing of what it did.
        Err(_) if status.is_server_error() => {
            Tried::Lost(format!("an answer {status}{}", excerpt(&body)))
        }
        Err(_) => Tried::Nonsense(status, format!("an answer {status}{}", excerpt(&body))),
    }
}

fn excerpt(body: &str) -> String {
    let start: String = body.chars().take(EXCERPT_CHARS).collect();
    if start.is_empty() { String::new() } else { format!(": {}", plain(&start)) }
}

/// An error and what it comes from, without repeating the URL.
fn reasons(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    plain(&reason.to_string())
}

impl Answer {
    /// As a value of a type that has what is shown of it.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|error| {
            let why = plain(&error.to_string());
            Failure::new(EXIT_FAILURE, format!("Game Master's answer cannot be read: {why}"))
        })
    }
}
