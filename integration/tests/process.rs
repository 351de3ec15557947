//! The life of the real process: how it ends, what it finishes before, and when it does not begin.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use integration::harness::{Client, PortBlock, Process, program, until};
use machine::Outcome;
use net::TokioNet;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Operation, Plan};
use serde_json::{Value, json};
use service::embedded::Embedded;
use service::ports::{OperationState, Store, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FORCE: &str = "/api/v1/internal/runtimes/g/force-next-turn";
const REGISTER: &str = "/api/v1/internal/games/g/register-runtime";
/// Beyond what the process is given to end: what a busy machine needs to notice.
const SLACK: Duration = Duration::from_secs(3);

fn serve(listen: SocketAddr, store: &Path, more: &[&str]) -> Process {
    let listen = listen.to_string();
    let store = store.to_str().expect("a path in UTF-8");
    let nobody = "http://127.0.0.1:9";
    let args = [
        ["--listen", listen.as_str()],
        ["--store-file", store],
        ["--lobby-url", nobody],
        ["--rtm-url", nobody],
        ["--engine-networks", "127.0.0.0/8"],
    ];
    let args = ["serve"].into_iter().chain(args.into_iter().flatten());
    let args: Vec<&str> = args.chain(more.iter().copied()).collect();
    Process::start(&program(), &args).expect("the program starts")
}

/// A service, an engine that can be made to misbehave, and one game between them once registered.
struct Rig {
    process: Process,
    gm: Client,
    listen: SocketAddr,
    misbehaviour: Misbehaviour,
    registration: Value,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    _ports: PortBlock,
}

impl Rig {
    async fn start(more: &[&str]) -> Self {
        let misbehaviour = Misbehaviour::default();
        let options = EngineOptions { misbehaviour: misbehaviour.clone(), ..Default::default() };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = EngineServer::bind(&TokioNet, anywhere, options).await.expect("it binds");
        let (endpoint, stop) = (engine.local_addr().expect("an address"), CancellationToken::new());
        tokio::spawn(engine.serve(stop.clone()));
        let (ports, folder) = (PortBlock::take(), tempfile::tempdir().expect("a folder"));
        let listen = ports.first();
        let process = serve(listen, &folder.path().join("gm.redb"), more);
        let gm = Client::new(listen);
        until("the service to be ready", || gm.get("/readyz")).await;
        let version = json!({
            "version": "1.0.0", "image_ref": "galaxy/engine:1.0.0", "options": {}
        });
        let path = "/api/v1/internal/engine-versions";
        let created = gm.call(Method::POST, path, &[], Some(&version)).await.expect("an answer");
        assert_eq!(created.0, StatusCode::CREATED, "{created:?}");
        let registration = json!({
            "engine_endpoint": format!("http://{endpoint}"),
            "target_engine_version": "1.0.0",
            "turn_schedule": "0 0 1 1 *",
            "members": [{ "user_id": "u1", "race_name": "Andorians" },
                        { "user_id": "u2", "race_name": "Betans" }],
        });
        Self { process, gm, listen, misbehaviour, registration, folder, stop, _ports: ports }
    }

    async fn register(&self) {
        let body = Some(&self.registration);
        let (status, body) = self.gm.call(Method::POST, REGISTER, &[], body).await.expect("sent");
        assert!(status.is_success(), "{body}");
    }

    /// Turns take so long from now on.
    fn slow_turns(&self, latency_before_ms: u64) {
        let only = vec![Operation::Turn];
        self.misbehaviour.set(Plan { only, latency_before_ms, ..Plan::default() });
    }

    async fn recorded(&self) -> Option<(u64, String)> {
        let runtime = self.gm.get("/api/v1/internal/runtimes/g").await?;
        let status = runtime["runtime_status"].as_str()?.to_owned();
        Some((runtime["current_turn"].as_u64()?, status))
    }

    async fn until_status(&self, wanted: &str) -> u64 {
        until(wanted, || async {
            let (turn, status) = self.recorded().await?;
            (status == wanted).then_some(turn)
        })
        .await
    }

    /// A turn that somebody waits for, under way.
    async fn turn_under_way(&self) -> tokio::task::JoinHandle<Option<StatusCode>> {
        let gm = self.gm.clone();
        let forced = tokio::spawn(async move {
            let answer = gm.call(Method::POST, FORCE, &[], None).await;
            answer.ok().map(|(status, _)| status)
        });
        self.until_status("generation_in_progress").await;
        forced
    }

    /// Sends a request by hand, and lets its connection go as soon as the game has this status.
    async fn hang_up_at(&self, status: &str, path: &str, body: &str) {
        let mut socket = TcpStream::connect(self.listen).await.expect("it connects");
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gm\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await.expect("it is sent");
        self.until_status(status).await;
        drop(socket);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_end_says_so_at_once_and_finishes_the_turn_that_is_under_way() {
    let mut rig = Rig::start(&["--shutdown-timeout-seconds", "20"]).await;
    rig.register().await;
    rig.slow_turns(4000);
    let forced = rig.turn_under_way().await;
    let began = Instant::now();
    rig.process.signal("TERM").await.expect("it is there");
    until("the service not to be ready", || async {
        let (status, _) = rig.gm.call(Method::GET, "/readyz", &[], None).await.ok()?;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Alive, but not there for anything new.
    let alive = rig.gm.call(Method::GET, "/healthz", &[], None).await.expect("an answer");
    assert_eq!(alive.0, StatusCode::OK);
    let refused = rig.gm.call(Method::GET, "/api/v1/internal/runtimes", &[], None).await;
    let (status, body) = refused.expect("an answer");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["error"]["code"], "service_unavailable");
    assert!(!forced.is_finished());
    assert_eq!(forced.await.expect("no panic"), Some(StatusCode::OK));

    let process = std::mem::replace(&mut rig.process, nothing());
    let (code, output) = process.wait().await.expect("it ends");
    assert_eq!(code, Some(0), "{output:#?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(output.iter().all(|line| !line.contains("left to the next process")), "{output:#?}");
    let again = serve(rig.listen, &rig.folder.path().join("gm.redb"), &[]);
    let gm = &rig.gm;
    let turn = until("the record", || async {
        let runtime = gm.get("/api/v1/internal/runtimes/g").await?;
        runtime["current_turn"].as_u64()
    })
    .await;
    assert_eq!(turn, 1);
    assert_eq!(again.interrupt().await.expect("it ends").0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_holds_the_process_beyond_its_time() {
    let mut rig = Rig::start(&["--shutdown-timeout-seconds", "4"]).await;
    rig.register().await;
    // An engine that hangs, a client with nothing to say, and one that stops in mid-sentence.
    rig.slow_turns(600_000);
    let _forced = rig.turn_under_way().await;
    let mut idle = TcpStream::connect(rig.listen).await.expect("it connects");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: gm\r\n\r\n").await.expect("sent");
    let mut some = [0; 64];
    assert!(idle.read(&mut some).await.expect("an answer") > 0);
    let mut stalled = TcpStream::connect(rig.listen).await.expect("it connects");
    let head = "PUT /api/v1/internal/games/h/commands HTTP/1.1\r\nHost: gm\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stalled.write_all(head.as_bytes()).await.expect("sent");
    let began = Instant::now();
    rig.process.signal("TERM").await.expect("it is there");
    let process = std::mem::replace(&mut rig.process, nothing());
    let (code, output) = process.wait().await.expect("it ends");
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{output:#?}");
    assert!(took < Duration::from_secs(4) + SLACK, "{took:?}");
    // The turn had its time.
    assert!(took > Duration::from_secs(1), "{took:?}");
    drop((idle, stalled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_holds_nothing_up() {
    let mut rig = Rig::start(&["--shutdown-timeout-seconds", "60"]).await;
    let mut idle = TcpStream::connect(rig.listen).await.expect("it connects");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: gm\r\n\r\n").await.expect("sent");
    let mut some = [0; 64];
    assert!(idle.read(&mut some).await.expect("an answer") > 0);
    let began = Instant::now();
    rig.process.signal("TERM").await.expect("it is there");
    let process = std::mem::replace(&mut rig.process, nothing());
    assert_eq!(process.wait().await.expect("it ends").0, Some(0));
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let mut rig = Rig::start(&["--shutdown-timeout-seconds", "600"]).await;
    rig.register().await;
    rig.slow_turns(600_000);
    let _forced = rig.turn_under_way().await;
    rig.process.signal("TERM").await.expect("it is there");
    until("the service not to be ready", || async {
        let (status, _) = rig.gm.call(Method::GET, "/readyz", &[], None).await.ok()?;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    let began = Instant::now();
    rig.process.signal("TERM").await.expect("it is there");
    let process = std::mem::replace(&mut rig.process, nothing());
    assert_eq!(process.wait().await.expect("it ends").0, Some(130));
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let mut rig = Rig::start(&[]).await;
    let only = vec![Operation::Init, Operation::Turn];
    rig.misbehaviour.set(Plan { only, latency_before_ms: 1500, ..Plan::default() });
    rig.hang_up_at("starting", REGISTER, &rig.registration.to_string()).await;
    assert_eq!(rig.until_status("running").await, 0);
    rig.hang_up_at("generation_in_progress", FORCE, "").await;
    assert_eq!(rig.until_status("running").await, 1);
    let process = std::mem::replace(&mut rig.process, nothing());
    assert_eq!(process.interrupt().await.expect("it ends").0, Some(0));
    let path = rig.folder.path().join("gm.redb");
    let store = Embedded::open(&path, Arc::new(SystemClock)).expect("the store");
    let log = store.operations(&"g".parse().expect("a game id"), None, 10).await.expect("the log");
    let succeeded = OperationState::Closed(Outcome::Succeeded);
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log.iter().all(|row| row.state == succeeded), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_has_is_named_and_ends_the_start() {
    let rig = Rig::start(&[]).await;
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], rig.listen.port() + 1));
    let store = rig.folder.path().join("gm.redb");
    let (code, output) = serve(elsewhere, &store, &[]).wait().await.expect("it ends");
    assert_eq!(code, Some(1), "{output:?}");
    let said = output.iter().find(|line| line.starts_with("gamemaster: ")).expect("a reason");
    assert!(said.contains("gm.redb"), "{said}");
    let other = rig.folder.path().join("other.redb");
    let (code, output) = serve(rig.listen, &other, &[]).wait().await.expect("it ends");
    assert_eq!(code, Some(1), "{output:?}");
    let said = output.iter().find(|line| line.starts_with("gamemaster: ")).expect("a reason");
    assert!(said.contains(&rig.listen.to_string()), "{said}");
    // The first one is none the worse for it.
    assert!(rig.gm.get("/readyz").await.is_some());
}

/// A process that takes the place of one that is waited for.
fn nothing() -> Process {
    Process::start(&"true".into(), &[]).expect("it starts")
}
