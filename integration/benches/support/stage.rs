//! Game Master as in production, in this process: its composition root over real sockets. It, its
//! neighbours and the load have threads of their own, so that none of them waits for the others'
//! tasks.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use net::{Net as _, ServerLimits, TokioNet};
use peers::engine::game::GameOptions;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour};
use serde_json::{Value, json};
use service::app::{self, App, Seams};
use service::config::Settings;
use service::http::HttpSettings;
use service::ports::{Clock, SystemClock, SystemEntropy};
use service::telemetry::LoggingArgs;
use service::telemetry::logs::{self, Flush};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::ground::{Ground, Ports};
use super::wire::{Connection, Wire};

/// The races of every game, and the users who play them.
pub(crate) const PLAYERS: [(&str, &str); 2] = [("user-1", "Terrans"), ("user-2", "Zoral")];
/// A schedule that is not due while a bench runs.
pub(crate) const NEVER: &str = "0 0 0 29 2 *";
/// A turn a second.
pub(crate) const EACH_SECOND: &str = "* * * * * *";
const VERSION: &str = "1.4.2";
const TOKENS: [(&str, &str); 3] = [
    ("gateway", "gateway-0123456789abcdef"),
    ("lobby", "lobby-0123456789abcdef"),
    ("admin", "admin-0123456789abcdef"),
];
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// How long everything may take to end.
const END: Duration = Duration::from_secs(5);

/// The threads.
pub(crate) struct Stage {
    gm: Runtime,
    pub(crate) neighbours: Runtime,
    pub(crate) load: Runtime,
    pub(crate) stop: CancellationToken,
    _logs: Option<Flush>,
}

/// The cores that threads run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// Wherever the system puts them.
    Any,
    /// Game Master on the second one, everything else on the first.
    Split,
}

fn threads(name: &'static str, count: usize, core: Option<&'static str>) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).thread_name(name).enable_all();
    if let Some(core) = core {
        builder.on_thread_start(move || pin(core));
    }
    builder.build().expect("threads")
}

/// Keeps the current thread on a core, where the system has the tool for that.
fn pin(core: &str) {
    let Ok(link) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(thread) = link.file_name() else { return };
    let mut command = Command::new("taskset");
    command.args(["-c", "-p", core]).arg(thread).stdout(Stdio::null()).stderr(Stdio::null());
    // Without it the figures are as good as the system's scheduler.
    let _ = command.status();
}

impl Stage {
    pub(crate) fn new(cores: Cores) -> Self {
        // As in production: lines that nobody wants to read cost what they cost there.
        let logs = logs::init(&LoggingArgs::from_environment("error"));
        let (gm, other, count) = match cores {
            Cores::Any => (None, None, 2),
            Cores::Split => (Some("1"), Some("0"), 1),
        };
        Self {
            gm: threads("gm", count, gm),
            neighbours: threads("neighbours", 1, other),
            load: threads("load", 1, other),
            stop: CancellationToken::new(),
            _logs: logs.ok(),
        }
    }

    /// Where tasks of the load run: unlike `block_on` alone, on its own threads.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        bench: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let task = self.load.spawn(bench);
        self.load.block_on(task).expect("the bench does not panic")
    }

    /// Starts a Game Master.
    pub(crate) fn game_master(
        &self,
        ground: Ground<'_>,
        change: impl FnOnce(&mut Settings),
    ) -> GameMaster {
        let lobby = self.neighbours.block_on(lobby(self.stop.clone()));
        let url = format!("http://{lobby}");
        let networks = vec!["127.0.0.0/8".parse().expect("a network")];
        let tokens: Vec<_> = TOKENS.iter().map(|(name, token)| format!("{name}={token}")).collect();
        let mut settings = Settings::development(LOOPBACK, url.clone(), url, networks);
        settings.http = HttpSettings {
            tokens: Some(tokens.join(",").parse().expect("tokens")),
            ..HttpSettings::default()
        };
        change(&mut settings);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Ports { store, streams, feed } = self.gm.block_on(ground.open(Arc::clone(&clock)));
        let seams = Seams {
            net: Arc::new(TokioNet),
            store,
            streams,
            feed,
            clock,
            entropy: Arc::new(SystemEntropy),
        };
        let stop = self.stop.child_token();
        let bound = self.gm.block_on(app::bind(settings, seams, stop.clone()));
        let bound = bound.expect("it starts");
        let address = bound.address().expect("bound");
        let app = bound.app();
        let running = self.gm.spawn(async move { bound.run().await.expect("no worker panics") });
        let gm = GameMaster { address, app, stop, running };
        self.load.block_on(gm.register_version());
        gm
    }

    /// Starts a reference engine.
    pub(crate) fn engine(&self) -> (SocketAddr, Misbehaviour) {
        let misbehaviour = Misbehaviour::default();
        let options = EngineOptions {
            game: GameOptions { turn_limit: 1_000_000, ..GameOptions::default() },
            misbehaviour: misbehaviour.clone(),
            ..EngineOptions::default()
        };
        let bound = self.neighbours.block_on(EngineServer::bind(&TokioNet, LOOPBACK, options));
        let engine = bound.expect("an engine");
        let address = engine.local_addr().expect("bound");
        self.neighbours.spawn(engine.serve(self.stop.clone()));
        (address, misbehaviour)
    }

    /// Waits for the end of a Game Master.
    pub(crate) fn gm_ends(&self, gm: GameMaster) {
        self.load.block_on(gm.end());
    }

    pub(crate) fn end(self) {
        self.stop.cancel();
        for threads in [self.load, self.gm, self.neighbours] {
            threads.shutdown_timeout(END);
        }
    }
}

/// A Game Master that runs.
pub(crate) struct GameMaster {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl GameMaster {
    async fn register_version(&self) {
        let body = json!({ "version": VERSION, "image_ref": "galaxy/engine:1.4.2" });
        let request = by("admin", "POST", "engine-versions", &[], &body.to_string());
        let status = Connection::new(self.address).status(&request).await;
        assert!(matches!(status, Some(201 | 409)), "a version: {status:?}");
    }

    /// Ends it, and with it its use of the store's file.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("it ends");
    }
}

/// Registers a game.
pub(crate) async fn register(
    gm: &mut Connection,
    game: &str,
    engine: SocketAddr,
    turn_schedule: &str,
) {
    let members: Vec<Value> =
        PLAYERS.iter().map(|(user, race)| json!({ "user_id": user, "race_name": race })).collect();
    let body = json!({
        "engine_endpoint": format!("http://{engine}"),
        "members": members,
        "target_engine_version": VERSION,
        "turn_schedule": turn_schedule,
    });
    let path = format!("games/{game}/register-runtime");
    let request = by("lobby", "POST", &path, &[], &body.to_string());
    let answer = gm.send(&request).await.expect("an answer");
    let text = String::from_utf8_lossy(answer.1);
    assert!((200..300).contains(&answer.0), "{game}: {} {text}", answer.0);
}

/// A request to Game Master by one of its callers.
pub(crate) fn by(
    caller: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Wire {
    let token = TOKENS.iter().find(|(name, _)| *name == caller).expect("a caller").1;
    let token = format!("Bearer {token}");
    let mut all = vec![("authorization", token.as_str())];
    all.extend(headers);
    Wire::new(method, &format!("/api/v1/internal/{path}"), &all, body)
}

/// The commands that are sent: one that both kinds of engines take.
pub(crate) const COMMANDS: &str = r#"[{"type":"build","planet":0}]"#;

/// A player's commands.
pub(crate) fn commands(game: &str) -> Wire {
    let user = [("x-user-id", PLAYERS[0].0)];
    let body = format!(r#"{{"commands":{COMMANDS}}}"#);
    by("gateway", "POST", &format!("games/{game}/commands"), &user, &body)
}

/// The same, as Game Master asks the engine.
pub(crate) fn direct_commands() -> Wire {
    let body = format!(r#"{{"actor":"{}","cmd":{COMMANDS}}}"#, PLAYERS[0].1);
    Wire::new("PUT", "/api/v1/command", &[("accept", "application/json")], &body)
}

/// A turn now; the answer comes when it is generated.
pub(crate) fn force(game: &str) -> Wire {
    by("admin", "POST", &format!("runtimes/{game}/force-next-turn"), &[], "")
}

pub(crate) fn healthz() -> Wire {
    Wire::new("GET", "/healthz", &[], "")
}

/// A Lobby in whose games everybody plays.
async fn lobby(stop: CancellationToken) -> SocketAddr {
    let members: Vec<Value> = PLAYERS
        .iter()
        .map(|(user, race)| json!({ "user_id": user, "race_name": race, "status": "active" }))
        .collect();
    let body = Bytes::from(json!({ "members": members }).to_string());
    let answer = move |_: &Request<Incoming>| body.clone();
    serve(answer, stop).await
}

/// Answers every request with a body at once.
pub(super) async fn serve(
    answer: impl Fn(&Request<Incoming>) -> Bytes + Send + Sync + Clone + 'static,
    stop: CancellationToken,
) -> SocketAddr {
    let listener = TokioNet.bind(LOOPBACK).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let service = service_fn(move |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(answer(&request)));
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let limits = ServerLimits { max_connections: 100_000, ..ServerLimits::default() };
    tokio::spawn(net::serve(listener, service, limits, stop));
    address
}
