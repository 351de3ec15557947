//! `gamemaster explain` of a game to which everything happens, one thing after the other: on the
//! real service with its store file, killed and started again, and an engine that outlives it.
//! `--no-capture` shows each page as an operator sees it.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation of a test")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use integration::harness::{Client, PATIENCE, PortBlock, Process, program, until};
use machine::Timestamp;
use net::TokioNet;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Operation, Plan};
use serde_json::{Value, json};
use service::ports::{Clock as _, SystemClock};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const GAME: &str = "aurora";
/// A turn in each of these.
const PERIOD: Duration = Duration::from_secs(2);

/// The service, killed and started again.
struct Scene {
    listen: SocketAddr,
    store: PathBuf,
    gm: Client,
    process: Option<Process>,
}

impl Scene {
    fn start(&mut self) {
        let (listen, store) = (self.listen.to_string(), self.store.to_str().expect("UTF-8"));
        let nobody = "http://127.0.0.1:9";
        let args = [
            ["--listen", listen.as_str()],
            ["--store-file", store],
            ["--lobby-url", nobody],
            ["--rtm-url", nobody],
            ["--engine-networks", "127.0.0.0/8"],
            ["--resolution", "seconds"],
        ];
        let args: Vec<&str> = ["serve"].into_iter().chain(args.into_iter().flatten()).collect();
        self.process = Some(Process::start(&program(), &args).expect("the program starts"));
    }

    async fn kill(&mut self) {
        let process = self.process.take().expect("it runs");
        process.kill().await.expect("it can be killed");
    }

    async fn post(&self, path: &str, body: Option<&Value>) -> Option<Value> {
        let path = format!("/api/v1/internal/{path}");
        let (status, body) = self.gm.call(Method::POST, &path, &[], body).await.expect("an answer");
        status.is_success().then_some(body)
    }

    async fn record(&self) -> Option<Value> {
        self.gm.get(&format!("/api/v1/internal/runtimes/{GAME}")).await
    }

    /// Waits for a status.
    async fn status(&self, status: &str) -> Value {
        until(status, || async {
            self.record().await.filter(|record| record["runtime_status"] == status)
        })
        .await
    }

    /// What the command prints, as JSON and as a page.
    async fn explain(&self) -> Explained {
        let url = format!("http://{}", self.listen);
        let run = async |format: &str| {
            let mut command = Command::new(program());
            command.args(["explain", GAME, "--url", &url, "--output", format]);
            command.stdin(Stdio::null()).kill_on_drop(true);
            let output = tokio::time::timeout(PATIENCE, command.output());
            let output = output.await.expect("it ends").expect("it starts");
            output.status.success().then(|| String::from_utf8(output.stdout).expect("UTF-8"))
        };
        let json = run("json").await.expect("an explanation");
        let page = run("table").await.expect("an explanation");
        Explained { json: serde_json::from_str(&json).expect("JSON"), page }
    }

    /// Waits until an explanation is what it must come to be, and shows it.
    async fn explained(&self, what: &str, fits: impl Fn(&Explained) -> bool) -> Explained {
        let explained = until(what, || async {
            let explained = self.explain().await;
            fits(&explained).then_some(explained)
        })
        .await;
        println!("--- {what}\n{}", explained.page);
        explained
    }
}

#[derive(Debug)]
struct Explained {
    json: Value,
    page: String,
}

impl Explained {
    fn status(&self) -> &str {
        self.json["runtime_status"].as_str().expect("a status")
    }

    fn why(&self) -> &str {
        self.json["why"].as_str().expect("a reason")
    }

    fn ticks(&self) -> &[Value] {
        self.json["last_ticks"].as_array().expect("a list")
    }

    /// The newest tick that ended so.
    fn tick(&self, outcome: &str) -> Option<Tick> {
        self.ticks().iter().map(Tick::of).find(|tick| tick.outcome == outcome)
    }

    fn at(&self, due: Timestamp) -> Option<Tick> {
        self.ticks().iter().map(Tick::of).find(|tick| tick.due == due)
    }

    fn next(&self) -> &Value {
        &self.json["next"][0]
    }

    /// The page has a line for the tick with all that is to be known of it.
    fn shows(&self, tick: &Tick) -> bool {
        let due = tick.due.format("%Y-%m-%d %H:%M:%SZ").to_string();
        let turn = tick.turn.map_or("-".to_owned(), |turn| turn.to_string());
        self.page.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let told = words.windows(2).any(|pair| pair == [tick.outcome.as_str(), turn.as_str()]);
            line.starts_with(&due) && told && line.ends_with(&tick.detail)
        })
    }
}

#[derive(Debug)]
struct Tick {
    due: Timestamp,
    outcome: String,
    turn: Option<u64>,
    detail: String,
}

impl Tick {
    fn of(row: &Value) -> Self {
        Self {
            due: instant(&row["due_at"]),
            outcome: row["outcome"].as_str().expect("an outcome").to_owned(),
            turn: row["turn"].as_u64(),
            detail: row["detail"].as_str().expect("words").to_owned(),
        }
    }
}

fn instant(value: &Value) -> Timestamp {
    serde_json::from_value(value.clone()).expect("an instant")
}

fn at(instant: Timestamp) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn scene(store: &Path, ports: &PortBlock, engine: SocketAddr) -> Scene {
    let gm = Client::new(ports.first());
    let mut scene = Scene { listen: ports.first(), store: store.into(), gm, process: None };
    scene.start();
    until("the service to be ready", || scene.gm.get("/readyz")).await;
    let version = json!({ "version": "1.0.0", "image_ref": "galaxy/engine:1.0.0", "options": {} });
    scene.post("engine-versions", Some(&version)).await.expect("a version");
    let registration = json!({
        "engine_endpoint": format!("http://{engine}"),
        "target_engine_version": "1.0.0",
        "turn_schedule": "*/2 * * * * *",
        "members": [{ "user_id": "u1", "race_name": "Andorians" },
                    { "user_id": "u2", "race_name": "Betans" }],
    });
    let register = format!("games/{GAME}/register-runtime");
    scene.post(&register, Some(&registration)).await.expect("a registration");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_what_happened_and_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let misbehaviour = Misbehaviour::default();
    let options = EngineOptions { misbehaviour: misbehaviour.clone(), ..Default::default() };
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let engine = EngineServer::bind(&TokioNet, anywhere, options).await.expect("it binds");
    let (endpoint, stop) = (engine.local_addr().expect("an address"), CancellationToken::new());
    let serving = tokio::spawn(engine.serve(stop.clone()));
    let ports = PortBlock::take();
    let mut scene = scene(&folder.path().join("gm.redb"), &ports, endpoint).await;

    fired(&scene).await;
    forced(&scene).await;
    missed(&mut scene).await;
    failed_and_recovered(&scene, &misbehaviour).await;
    adopted(&scene, &misbehaviour).await;
    killed_in_mid_turn(&mut scene, &misbehaviour).await;

    let process = scene.process.take().expect("it runs");
    let (code, output) = process.interrupt().await.expect("it ends");
    assert_eq!(code, Some(0), "{output:#?}");
    stop.cancel();
    serving.await.expect("the engine ends");
}

async fn fired(scene: &Scene) {
    let told = scene
        .explained("a tick fired", |told| {
            told.tick("fired").is_some() && told.status() == "running"
        })
        .await;
    let tick = told.tick("fired").expect("a tick");
    assert!(tick.detail.starts_with("generated in "), "{told:?}");
    assert!(told.shows(&tick), "{told:?}");
    let next = told.next();
    let number = tick.turn.expect("a turn") + 1;
    assert_eq!(next["what"], format!("begins turn {number}"), "{told:?}");
    assert!(told.why().starts_with("The game has been running since "), "{told:?}");
    let due = format!("; turn {number} is due at {}.", at(instant(&next["at"])));
    let due_now = format!("; turn {number} is due and about to begin.");
    assert!(told.why().ends_with(&due) || told.why().ends_with(&due_now), "{told:?}");
}

async fn forced(scene: &Scene) {
    // A regular turn may be under way.
    let force = format!("runtimes/{GAME}/force-next-turn");
    let after = until("a forced turn", || scene.post(&force, None)).await;
    let turn = after["current_turn"].as_u64();
    let told = scene.explained("a turn was forced", |told| told.tick("forced").is_some()).await;
    let tick = told.tick("forced").expect("a tick");
    assert_eq!(tick.turn, turn, "{told:?}");
    assert!(tick.detail.starts_with("the turn forced at "), "{told:?}");
    assert!(tick.detail.contains(" took its place: generated in "), "{told:?}");
    assert!(told.shows(&tick), "{told:?}");
    // The one it took the place of was left out, the one after it was not.
    let next = scene
        .explained("the grid goes on after the forced turn", |told| {
            told.tick("fired").is_some_and(|later| later.due == tick.due + PERIOD)
        })
        .await;
    let later = next.tick("fired").expect("a tick");
    assert_eq!(later.turn, turn.map(|turn| turn + 1), "{next:?}");
}

async fn missed(scene: &mut Scene) {
    let before = scene.status("running").await;
    scene.kill().await;
    let due = instant(&before["next_generation_at"]);
    // Long enough that even the turn which is caught up is called late.
    until("four ticks to pass", || async { (SystemClock.now() > due + PERIOD * 4).then_some(()) })
        .await;
    scene.start();
    until("the service to be ready", || scene.gm.get("/readyz")).await;
    let told = scene
        .explained("ticks were missed while Game Master was down", |told| {
            told.tick("missed").is_some_and(|_| told.why().contains(" is due "))
        })
        .await;
    let not_there = "Game Master was not there; one turn was caught up: turn ";
    let missed: Vec<_> = told.ticks().iter().filter(|tick| tick["outcome"] == "missed").collect();
    assert!(missed.len() >= 3, "{told:?}");
    for tick in &missed {
        assert!(tick["detail"].as_str().is_some_and(|why| why.starts_with(not_there)), "{told:?}");
        assert_eq!(tick["turn"], Value::Null, "{told:?}");
    }
    let last = told.tick("missed").expect("a tick");
    assert!(told.shows(&last), "{told:?}");
    let late =
        |tick: &&Value| tick["detail"].as_str().is_some_and(|how| how.contains(" late, in "));
    let caught_up: Vec<_> = told.ticks().iter().filter(late).collect();
    let [caught_up] = caught_up.as_slice() else { panic!("one turn caught up: {told:?}") };
    assert_eq!(caught_up["outcome"], "fired", "{told:?}");
    assert!(instant(&caught_up["due_at"]) < last.due, "{told:?}");
    let detail = caught_up["detail"].as_str().expect("words");
    assert!(detail.ends_with(": Game Master was not there when it was due"), "{told:?}");
}

async fn failed_and_recovered(scene: &Scene, misbehaviour: &Misbehaviour) {
    misbehaviour.set(Plan {
        only: vec![Operation::Turn, Operation::Status],
        fail_next: 1000,
        ..Plan::default()
    });
    let told = scene
        .explained("the turn failed", |told| {
            told.status() == "generation_failed" && told.why().contains("(try ")
        })
        .await;
    let tick = told.tick("failed").expect("a tick");
    let number = tick.turn.expect("a turn");
    assert!(tick.detail.starts_with("engine_unreachable: "), "{told:?}");
    assert!(told.shows(&tick), "{told:?}");
    let why = format!("Turn {number} failed at ");
    assert!(told.why().starts_with(&why), "{told:?}");
    assert!(told.why().contains(" with engine_unreachable: "), "{told:?}");
    assert!(told.why().contains(". Game Master asks the engine where it stands at "), "{told:?}");
    let what = told.next()["what"].as_str().expect("words");
    assert!(what.starts_with("asks the engine where it stands (try "), "{told:?}");

    misbehaviour.clear();
    let made_up =
        |told: &Explained| told.at(tick.due).filter(|again| again.detail.contains(" late, in "));
    let told = scene
        .explained("the engine recovered", |told| {
            told.status() == "running" && made_up(told).is_some()
        })
        .await;
    let again = made_up(&told).expect("a tick");
    assert_eq!((again.outcome.as_str(), again.turn), ("fired", Some(number)), "{told:?}");
    assert!(again.detail.contains(": it had failed at "), "{told:?}");
    assert!(again.detail.ends_with(" with engine_unreachable: engine: answered 500"), "{told:?}");
    assert!(told.why().starts_with("The game has been running since "), "{told:?}");
}

async fn adopted(scene: &Scene, misbehaviour: &Misbehaviour) {
    misbehaviour.set(Plan { only: vec![Operation::Turn], drop_next: 1, ..Plan::default() });
    let all_the_same = " to have been generated all the same";
    let told = scene
        .explained("the answer was lost, and the turn adopted", |told| {
            told.tick("failed").is_some_and(|tick| tick.detail.ends_with(all_the_same))
        })
        .await;
    let tick = told.tick("failed").expect("a tick");
    assert!(tick.detail.starts_with("engine_unreachable: "), "{told:?}");
    assert!(told.shows(&tick), "{told:?}");
}

async fn killed_in_mid_turn(scene: &mut Scene, misbehaviour: &Misbehaviour) {
    let slow = Plan { only: vec![Operation::Turn], latency_before_ms: 1500, ..Plan::default() };
    misbehaviour.set(slow);
    let before = scene.status("generation_in_progress").await;
    scene.kill().await;
    misbehaviour.clear();
    scene.start();
    until("the service to be ready", || scene.gm.get("/readyz")).await;
    let turn = before["current_turn"].as_u64().expect("a turn") + 1;
    let told = scene
        .explained("Game Master was killed in mid-turn", |told| {
            told.ticks().iter().any(|tick| {
                tick["turn"] == turn
                    && tick["detail"].as_str().is_some_and(|how| how.contains("again"))
            })
        })
        .await;
    assert_ne!(told.status(), "generation_failed", "{told:?}");
}
