//! The reference neighbours, and a proxy before them that does something wrong.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use net::{ClientLimits, HttpClient, Net, ServerLimits, TokioNet};
use peers::bus::{Bus, MemoryBus, streams};
use peers::engine::{EngineOptions, EngineServer};
use peers::env::{Env, unobserved};
use peers::http::{Reply, dropped_connection, full};
use peers::lobby::{Lobby, LobbyConfig};
use peers::rtm::{Rtm, RtmConfig, TaskLauncher};
use serde_json::{Value, json};
use service::kit::{
    CheckEngine, CheckLobby, CheckRtm, Finding, Output, Report, Stopped, Timing, check_engine,
    check_lobby, check_rtm,
};
use tokio_util::sync::CancellationToken;

/// Every wait of a test ends by then.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The game the Lobby and the Runtime Manager know.
pub(crate) const GAME: &str = "aurora-7";
/// The image the Runtime Manager is asked to patch to.
pub(crate) const IMAGE: &str = "galaxy/engine:1.4.3";

/// Something runs until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn engine(options: EngineOptions) -> Running {
    let server = EngineServer::bind(&TokioNet, anywhere(), options).await.expect("it binds");
    let running =
        Running { address: server.local_addr().expect("an address"), stop: Default::default() };
    tokio::spawn(server.serve(running.stop.clone()));
    running
}

fn env() -> Env {
    let (clock, ids) = (AtomicU64::new(1_000_000), AtomicU64::new(1));
    Env::new(
        move || clock.fetch_add(1, Ordering::Relaxed),
        move || format!("id{}", ids.fetch_add(1, Ordering::Relaxed)),
    )
}

/// A Lobby that knows [`GAME`], which has two members.
pub(crate) async fn lobby() -> Running {
    // Nobody starts the game, so that no Game Master is ever asked.
    let config = LobbyConfig::new(anywhere(), "http://127.0.0.1:9");
    let bus = MemoryBus::new(env());
    let lobby = Lobby::bind(config, Arc::new(TokioNet), bus, env(), unobserved()).await;
    let lobby = lobby.expect("it binds");
    let running = Running { address: lobby.local_addr(), stop: Default::default() };
    tokio::spawn(lobby.run(running.stop.clone()));
    let game = json!({
        "game_id": GAME, "engine_version": "1.0.0", "turn_schedule": "0 18 * * *",
        "members": [
            { "user_id": "u1", "race_name": "Terrans" },
            { "user_id": "u2", "race_name": "Чужие" },
        ],
    });
    let call = Call::new(Method::POST, "/api/v1/games", game.to_string());
    let answer = Upstream::new(running.address).send(call).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    running
}

/// A Runtime Manager that runs the engine of [`GAME`].
pub(crate) async fn rtm() -> Running {
    let bus = MemoryBus::new(env());
    let net = Arc::new(TokioNet);
    let launcher = Arc::new(TaskLauncher::new(net.clone(), EngineOptions::default()));
    let config = RtmConfig::new(anywhere());
    let rtm = Rtm::bind(config, net, bus.clone(), env(), launcher, unobserved()).await;
    let rtm = rtm.expect("it binds");
    let running = Running { address: rtm.local_addr(), stop: Default::default() };
    let handle = rtm.handle();
    tokio::spawn(rtm.run(running.stop.clone()));
    let job = json!({
        "job_id": "job-1", "game_id": GAME, "image_ref": "galaxy/engine:1.4.2",
        "requested_at_ms": 1,
    });
    bus.append(streams::START_JOBS, job.to_string().into()).await.expect("appended");
    let is_up = |engine: Option<&peers::rtm::Engine>| engine.is_some_and(|engine| engine.is_up);
    assert!(handle.wait_for_engine(GAME, LIMIT, is_up).await, "the engine comes up");
    running
}

/// A request on its way through the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: Option<String>,
    /// Which of the calls of this method and path it is, the query aside; from 1.
    pub(crate) nth: usize,
}

impl Call {
    pub(crate) fn new(method: Method, path: &str, body: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: Some(body.into()), nth: 1 }
    }

    /// Whether the method and the path, the query aside, are these.
    pub(crate) fn is(&self, line: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method) == line
    }

    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.path.contains(text) || self.body.as_ref().is_some_and(|body| body.contains(text))
    }
}

/// An answer on its way back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// 0 stands for none: the connection is dropped.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json")];
        Self { status, headers, body: body.to_string().into() }
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": { "code": code, "message": "in words" } }))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Changes the body where it is a JSON object of which `has` says yes.
    pub(crate) fn change(mut self, has: &str, change: impl FnOnce(&mut Value)) -> Self {
        if let Ok(mut json) = serde_json::from_slice::<Value>(&self.body)
            && json.get(has).is_some()
        {
            change(&mut json);
            self.body = json.to_string().into();
        }
        self
    }
}

/// The neighbour behind the proxy.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: HttpClient,
    base: String,
}

impl Upstream {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let client = HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None);
        Self { client, base: format!("http://{address}") }
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        let mut request =
            Request::builder().method(call.method).uri(format!("{}{}", self.base, call.path));
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(call.body.unwrap_or_default());
        let response = self.client.send(request.body(body).expect("a request")).await;
        let response = response.expect("the reference answers");
        let is_json = response.headers().contains_key(header::CONTENT_TYPE);
        let headers = if is_json { vec![("content-type", "application/json")] } else { vec![] };
        Answer { status: response.status().as_u16(), headers, body: response.into_body().into() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Call { body: None, ..Call::new(Method::GET, path, "") }).await
    }
}

type Twisted = Pin<Box<dyn Future<Output = Answer> + Send>>;
/// What the proxy does with a call.
pub(crate) type Twist = Arc<dyn Fn(Call, Upstream) -> Twisted + Send + Sync>;

/// A twist from an async function.
pub(crate) fn twist<F, T>(how: F) -> Twist
where
    F: Fn(Call, Upstream) -> T + Send + Sync + 'static,
    T: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move |call, upstream| Box::pin(how(call, upstream)))
}

/// Lets every answer through, changed.
pub(crate) fn altered(
    change: impl Fn(&Call, Answer) -> Answer + Send + Sync + Clone + 'static,
) -> Twist {
    twist(move |call, upstream| {
        let change = change.clone();
        async move {
            let answer = upstream.send(call.clone()).await;
            change(&call, answer)
        }
    })
}

/// Lets everything through but the calls that `wrong` answers itself.
pub(crate) fn replaced(
    wrong: impl Fn(&Call) -> Option<Answer> + Send + Sync + Clone + 'static,
) -> Twist {
    twist(move |call, upstream| {
        let wrong = wrong.clone();
        async move {
            match wrong(&call) {
                Some(answer) => answer,
                None => upstream.send(call).await,
            }
        }
    })
}

/// A proxy before `behind`, and the calls it has seen.
pub(crate) async fn proxy(behind: &Running, how: Twist) -> (Running, Arc<Mutex<Vec<Call>>>) {
    let listener = TokioNet.bind(anywhere()).await.expect("it binds");
    let running =
        Running { address: listener.local_addr().expect("an address"), stop: Default::default() };
    let upstream = Upstream::new(behind.address);
    let seen = Arc::new(Mutex::new(vec![]));
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let noted = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let (how, upstream) = (Arc::clone(&how), upstream.clone());
        let (noted, counts) = (Arc::clone(&noted), Arc::clone(&counts));
        async move {
            let (head, body) = request.into_parts();
            let body = net::read_body(body, 1 << 20, LIMIT).await.expect("a body");
            let has_body = head.headers.contains_key(header::CONTENT_TYPE);
            let line = format!("{} {}", head.method, head.uri.path());
            let nth = {
                let mut counts = counts.lock().expect("not poisoned");
                let count = counts.entry(line).or_insert(0_usize);
                *count += 1;
                *count
            };
            let body = has_body.then(|| String::from_utf8_lossy(&body).into_owned());
            let call = Call { method: head.method, path: head.uri.to_string(), body, nth };
            noted.lock().expect("not poisoned").push(call.clone());
            Ok::<_, Infallible>(reply(how(call, upstream).await))
        }
    });
    tokio::spawn(net::serve(listener, service, ServerLimits::default(), running.stop.clone()));
    (running, seen)
}

fn reply(answer: Answer) -> Reply {
    let Ok(status) = StatusCode::from_u16(answer.status) else { return dropped_connection() };
    let mut reply = Reply::new(full(answer.body.into()));
    *reply.status_mut() = status;
    for (name, value) in answer.headers {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn timing() -> Timing {
    Timing { timeout_seconds: 10, output: Output::Table }
}

pub(crate) fn engine_args(address: SocketAddr) -> CheckEngine {
    CheckEngine {
        url: format!("http://{address}").parse().expect("an endpoint"),
        races: ["Terrans", "Zoral Combine", "Чужие"].map(|r| r.parse().expect("a race")).into(),
        command: Some(r#"{"type":"build","planet":1}"#.into()),
        no_turn_guard: false,
        turn_timeout_seconds: 10,
        timing: timing(),
    }
}

pub(crate) async fn run_engine(args: &CheckEngine) -> Result<Report, Stopped> {
    check_engine(args, Arc::new(TokioNet)).await
}

pub(crate) async fn run_lobby(address: SocketAddr) -> Report {
    let url = format!("http://{address}").parse().expect("an endpoint");
    let args = CheckLobby { url, game: GAME.parse().expect("an id"), timing: timing() };
    check_lobby(&args, Arc::new(TokioNet)).await.expect("it is there")
}

pub(crate) async fn run_rtm(address: SocketAddr, allow_destructive: bool) -> Report {
    let args = CheckRtm {
        url: format!("http://{address}").parse().expect("an endpoint"),
        game: GAME.parse().expect("an id"),
        image_ref: Some(IMAGE.parse().expect("an image")),
        allow_destructive,
        timing: timing(),
    };
    check_rtm(&args, Arc::new(TokioNet)).await.expect("it is there")
}

/// The check of a reference engine behind a proxy.
pub(crate) async fn bent_engine(how: Twist) -> Report {
    let engine = engine(EngineOptions::default()).await;
    let (proxy, _) = proxy(&engine, how).await;
    run_engine(&engine_args(proxy.address)).await.expect("it is there and fresh")
}

pub(crate) async fn bent_lobby(how: Twist) -> Report {
    let lobby = lobby().await;
    let (proxy, _) = proxy(&lobby, how).await;
    run_lobby(proxy.address).await
}

pub(crate) async fn bent_rtm(how: Twist) -> Report {
    let rtm = rtm().await;
    let (proxy, _) = proxy(&rtm, how).await;
    run_rtm(proxy.address, true).await
}

/// Exactly these rules are broken. What is not among them was not blamed for it.
#[track_caller]
pub(crate) fn assert_broken(report: &Report, ids: &[&str]) {
    let failed: Vec<&str> = report.failed().map(|rule| rule.id).collect();
    let told = || service::kit::table(report, &service::kit::Marks::WORDS);
    assert_eq!(failed, ids, "\n{}", told());
}

/// Every rule holds, and every one was looked at.
#[track_caller]
pub(crate) fn assert_sound(report: &Report) {
    let told = || service::kit::table(report, &service::kit::Marks::WORDS);
    let all_pass = report.found.iter().all(|found| matches!(found.finding, Finding::Pass));
    assert!(all_pass && report.holds(), "\n{}", told());
}

/// The rules that were not looked at.
pub(crate) fn skipped(report: &Report) -> Vec<&str> {
    let skipped = report.found.iter().filter(|f| matches!(f.finding, Finding::Skip { .. }));
    skipped.map(|found| found.rule.id).collect()
}
