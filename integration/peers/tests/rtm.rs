//! Runtime Manager over real loopback HTTP, with engines as tasks and as child processes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::{
    ffi::OsString,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::{Response, body::Incoming, service::service_fn};
use net::{Net, ServerLimits, TokioNet};
use peers::{
    bus::{MemoryBus, streams},
    engine::EngineOptions,
    env::Env,
    rtm::{
        Engine, Event, ProcessLauncher, Rtm, RtmConfig, RtmHandle, RtmTiming, TaskLauncher,
        launcher::{EngineLauncher, EngineSpec, Exit, ExitKind, LaunchError, RunningEngine},
    },
};
use serde_json::{Value, json};
use support::{Client, LIMIT, Running, Scratch, Seen, Tail, any_port, append, env, follow_fast};

const IMAGE: &str = "galaxy/game:1.0.0";

struct World {
    bus: Arc<MemoryBus>,
    env: Env,
    launcher: Arc<dyn EngineLauncher>,
    config: RtmConfig,
    rtm: Option<Running>,
    handle: Option<RtmHandle>,
    client: Client,
    results: Tail,
    health: Tail,
    seen: Option<Seen<Event>>,
    scratch: Scratch,
}

impl World {
    async fn new(name: &str) -> Self {
        Self::with(name, Arc::new(tasks())).await
    }

    async fn with(name: &str, launcher: Arc<dyn EngineLauncher>) -> Self {
        let env = env();
        let bus = MemoryBus::new(env.clone());
        let scratch = Scratch::new(name);
        let mut config = RtmConfig::new(any_port());
        config.state_file = Some(scratch.path().join("rtm.json"));
        config.engine_state_dir = Some(scratch.path().join("engines"));
        config.follow = follow_fast();
        config.timing = RtmTiming {
            restart_delay: Duration::from_millis(10),
            probe_period: Duration::from_millis(10),
            ..RtmTiming::default()
        };
        let results = Tail::new(&bus, streams::JOB_RESULTS);
        let health = Tail::new(&bus, streams::HEALTH_EVENTS);
        let client = Client::new(any_port());
        let (rtm, handle, seen) = (None, None, None);
        let mut world = Self {
            bus,
            env,
            launcher,
            config,
            rtm,
            handle,
            client,
            results,
            health,
            seen,
            scratch,
        };
        world.start_rtm().await;
        world
    }

    async fn start_rtm(&mut self) {
        let (seen, observer) = Seen::new();
        let (bus, launcher) = (self.bus.clone(), Arc::clone(&self.launcher));
        let config = self.config.clone();
        let rtm =
            Rtm::bind(config, Arc::new(TokioNet), bus, self.env.clone(), launcher, observer).await;
        let rtm = rtm.unwrap();
        self.client = Client::new(rtm.local_addr());
        self.handle = Some(rtm.handle());
        self.seen = Some(seen);
        self.rtm = Some(Running::spawn(|stop| rtm.run(stop)));
    }

    fn handle(&self) -> &RtmHandle {
        self.handle.as_ref().unwrap()
    }

    fn seen(&self) -> Vec<Event> {
        self.seen.as_ref().unwrap().all()
    }

    async fn ask(&self, job_id: &str, game_id: &str, image_ref: &str) {
        let job = json!({
            "job_id": job_id, "game_id": game_id, "image_ref": image_ref, "requested_at_ms": 1,
        });
        append(&self.bus, streams::START_JOBS, &job).await;
    }

    /// Starts a game's engine: its endpoint and its container.
    async fn start(&mut self, game_id: &str) -> (String, String) {
        self.ask(&format!("job-{game_id}"), game_id, IMAGE).await;
        let result = self.results.next().await;
        assert_eq!((&result["outcome"], &result["game_id"]), (&json!("success"), &json!(game_id)));
        let text = |name: &str| result[name].as_str().unwrap().to_owned();
        (text("engine_endpoint"), text("container_id"))
    }

    async fn post(&self, game_id: &str, operation: &str, body: Value) -> (StatusCode, Value) {
        let path = format!("/api/v1/internal/runtimes/{game_id}/{operation}");
        self.client.post(&path, body).await
    }

    async fn event(&mut self, event_type: &str) -> Value {
        self.health.next_where(|event| event["event_type"] == event_type).await
    }

    async fn finish(&self, game_id: &str) {
        let event = json!({
            "event_type": "game_finished", "game_id": game_id, "final_turn_number": 1,
            "runtime_status": "finished", "player_turn_stats": [], "finished_at_ms": 1,
        });
        append(&self.bus, streams::LOBBY_EVENTS, &event).await;
    }
}

fn tasks() -> TaskLauncher {
    TaskLauncher::new(Arc::new(TokioNet), EngineOptions::default())
}

fn engine_at(endpoint: &str) -> Client {
    let addr: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    Client::new(addr)
}

async fn init(endpoint: &str) {
    let races = json!({ "races": [{ "race_name": "A" }, { "race_name": "B" }] });
    let (status, body) = engine_at(endpoint).post("/api/v1/admin/init", races).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

async fn has_game(endpoint: &str) -> bool {
    engine_at(endpoint).get("/api/v1/admin/status").await.0 == StatusCode::OK
}

#[tokio::test]
async fn a_job_starts_one_engine_however_often_it_comes() {
    let mut world = World::new("rtm-job").await;
    let (endpoint, container) = world.start("g").await;
    let healthy = world.event("healthy").await;
    assert_eq!((&healthy["game_id"], &healthy["container_id"]), (&json!("g"), &json!(container)));
    init(&endpoint).await;

    world.ask("job-g", "g", IMAGE).await;
    let again = world.results.next().await;
    assert_eq!(again["engine_endpoint"], endpoint.as_str());
    // Another job for a game that runs already finds that engine too.
    world.ask("job-other", "g", IMAGE).await;
    let other = world.results.next().await;
    assert_eq!(
        (&other["job_id"], &other["container_id"]),
        (&json!("job-other"), &json!(container))
    );
    assert!(has_game(&endpoint).await);
    let starts = world.seen().into_iter();
    assert_eq!(starts.filter(|e| matches!(e, Event::EngineStarted { .. })).count(), 1);

    let (status, list) = world.client.get("/api/v1/internal/runtimes").await;
    assert_eq!((status, &list["runtimes"][0]["is_up"]), (StatusCode::OK, &json!(true)));
    world.rtm.take().unwrap().stop().await;
}

#[tokio::test]
async fn jobs_that_cannot_be_done_say_why() {
    let mut world = World::new("rtm-refusals").await;
    world.handle().set_faults(|faults| {
        faults.missing_images.insert("galaxy/none:1".into());
    });
    let cases = [
        ("j1", "g1", "Not An Image", "start_config_invalid"),
        ("j2", "../g", IMAGE, "start_config_invalid"),
        ("j3", "g3", "galaxy/none:1", "image_pull_failed"),
    ];
    for (job, game, image, outcome) in cases {
        world.ask(job, game, image).await;
        let result = world.results.next().await;
        assert_eq!((&result["job_id"], &result["outcome"]), (&json!(job), &json!(outcome)));
        assert_eq!(result["engine_endpoint"], Value::Null);
        assert!(result["error_message"].is_string());
    }
    append(&world.bus, streams::START_JOBS, &json!({ "job_id": 7 })).await;
    assert!(world.handle().wait_for_counters(LIMIT, |c| c.undecodable == 1).await.is_some());
    world.handle().set_faults(|faults| faults.failing_starts = 1);
    world.ask("j4", "g4", IMAGE).await;
    assert_eq!(world.results.next().await["outcome"], "start_config_invalid");
    // A failed start is over: a new job tries anew.
    world.ask("j5", "g4", IMAGE).await;
    assert_eq!(world.results.next().await["outcome"], "success");
}

#[tokio::test]
async fn stopping_is_idempotent() {
    let mut world = World::new("rtm-stop").await;
    let (endpoint, container) = world.start("g").await;
    for _ in 0..2 {
        let (status, body) = world.post("g", "stop", json!({ "reason": "admin" })).await;
        assert_eq!((status, &body["container_id"]), (StatusCode::OK, &json!(container)));
        assert_eq!(world.handle().engine("g"), None);
    }
    let addr: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    assert!(TokioNet.connect(addr).await.is_err(), "nobody listens any more");
    let stops = world.seen().into_iter();
    assert_eq!(stops.filter(|e| matches!(e, Event::EngineStopped { .. })).count(), 1);
    let (status, body) = world.post("none", "stop", json!({ "reason": "admin" })).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("runtime_not_found"))
    );
    let patch = world.post("g", "patch", json!({ "image_ref": "galaxy/game:1.0.1" })).await;
    assert_eq!(patch.0, StatusCode::CONFLICT);
    for body in [json!({}), json!({ "reason": 1 }), json!({ "reason": "x", "more": 1 })] {
        assert_eq!(world.post("g", "stop", body).await.0, StatusCode::BAD_REQUEST);
    }
    assert!(world.bus.entries(streams::HEALTH_EVENTS).iter().all(|entry| {
        let event: Value = serde_json::from_slice(&entry.payload).unwrap();
        event["event_type"] != "container_exited"
    }));
}

/// What an engine held that was taken down is no business of the one that comes after it, which may be
/// initialised with other members.
#[tokio::test]
async fn a_start_after_a_stop_begins_with_nothing() {
    let mut world = World::new("rtm-afresh").await;
    let (endpoint, old) = world.start("g").await;
    init(&endpoint).await;
    assert_eq!(world.post("g", "stop", json!({ "reason": "failed" })).await.0, StatusCode::OK);
    world.ask("job-again", "g", IMAGE).await;
    let again = world.results.next().await;
    assert_eq!((&again["job_id"], &again["outcome"]), (&json!("job-again"), &json!("success")));
    assert_ne!(again["container_id"], old.as_str());
    assert!(!has_game(&endpoint).await);
    // From then on what it holds is kept, however it ends.
    init(&endpoint).await;
    world.handle().end_engine("g", ExitKind::OutOfMemory);
    world.event("container_oom").await;
    let is_up = |engine: Option<&Engine>| engine.is_some_and(|engine| engine.is_up);
    assert!(world.handle().wait_for_engine("g", LIMIT, is_up).await);
    assert!(has_game(&endpoint).await);
    world.rtm.take().unwrap().stop().await;
}

#[tokio::test]
async fn patching_restarts_once_on_the_same_port_with_the_same_game() {
    let mut world = World::new("rtm-patch").await;
    let (endpoint, old) = world.start("g").await;
    init(&endpoint).await;
    let patch = json!({ "image_ref": "galaxy/game:1.0.1" });
    let (status, first) = world.post("g", "patch", patch.clone()).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(first["container_id"], old.as_str());
    assert!(has_game(&endpoint).await);
    assert_eq!(world.post("g", "patch", patch).await, (status, first.clone()));
    world
        .health
        .next_where(|event| {
            event["event_type"] == "healthy" && event["container_id"] == first["container_id"]
        })
        .await;
    let starts = world.seen().into_iter();
    assert_eq!(starts.filter(|e| matches!(e, Event::EngineStarted { .. })).count(), 2);

    let missing = "galaxy/game:9.9.9";
    world.handle().set_faults(|faults| {
        faults.missing_images.insert(missing.into());
    });
    for image in [missing, "no image", ""] {
        let (status, _) = world.post("g", "patch", json!({ "image_ref": image })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{image}");
    }
    let unknown = world.post("none", "patch", json!({ "image_ref": IMAGE })).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    world.handle().set_faults(|faults| faults.is_unavailable = true);
    let away = world.post("g", "patch", json!({ "image_ref": IMAGE })).await;
    assert_eq!(away.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn every_unexpected_end_is_reported_and_mended() {
    let mut world = World::new("rtm-ends").await;
    let (endpoint, container) = world.start("g").await;
    world.event("healthy").await;
    init(&endpoint).await;
    let kinds = [
        (ExitKind::Exited, "container_exited"),
        (ExitKind::OutOfMemory, "container_oom"),
        (ExitKind::Disappeared, "container_disappeared"),
    ];
    for (kind, event_type) in kinds {
        world.handle().end_engine("g", kind);
        let event = world.event(event_type).await;
        assert_eq!(event["container_id"], container.as_str());
        assert_eq!(world.event("healthy").await["container_id"], container.as_str());
        assert!(has_game(&endpoint).await, "same port, same game");
    }
    // An engine that is down for the moment can be stopped all the same.
    world.handle().end_engine("g", ExitKind::Exited);
    assert_eq!(world.post("g", "stop", json!({ "reason": "admin" })).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_restart_brings_the_same_engines_back() {
    let mut world = World::new("rtm-restart").await;
    let (endpoint, container) = world.start("g").await;
    world.start("stopped").await;
    world.post("stopped", "stop", json!({ "reason": "admin" })).await;
    init(&endpoint).await;
    world.rtm.take().unwrap().stop().await;

    world.start_rtm().await;
    let is_up = world.handle().wait_for_engine("g", LIMIT, |e| e.is_some_and(|e| e.is_up)).await;
    assert!(is_up);
    let engine = world.handle().engine("g").unwrap();
    assert_eq!((engine.endpoint, engine.container_id), (endpoint.clone(), container));
    assert!(has_game(&endpoint).await);
    assert_eq!(world.handle().engine("stopped"), None);
    // A job from before is known, and its place in the stream too.
    assert_eq!(world.handle().counters().await.applied, 2);
    world.ask("job-g", "g", IMAGE).await;
    assert_eq!(world.results.next().await["engine_endpoint"], endpoint.as_str());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_start_is_made_good() {
    let scratch = Scratch::new("rtm-half-start-flag");
    let gate = scratch.path().join("gate");
    // An engine that does not get ready before the gate is there.
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; echo listening on here; exec cat",
        gate.display()
    );
    let mut world = World::with("rtm-half-start", Arc::new(shell(&script))).await;
    world.ask("j", "g", IMAGE).await;
    assert!(world.handle().wait_for_counters(LIMIT, |c| c.applied == 1).await.is_some());
    world.rtm.take().unwrap().crash().await;
    assert!(world.bus.entries(streams::JOB_RESULTS).is_empty());
    std::fs::write(&gate, "").unwrap();
    world.start_rtm().await;
    let result = world.results.next().await;
    assert_eq!((&result["job_id"], &result["outcome"]), (&json!("j"), &json!("success")));
}

#[tokio::test]
async fn a_result_is_delivered_when_the_streams_come_back() {
    let mut world = World::new("rtm-results-wait").await;
    world.ask("j", "g", IMAGE).await;
    assert!(world.handle().wait_for_counters(LIMIT, |c| c.applied == 1).await.is_some());
    world.bus.set_unavailable(true);
    let is_up = world.handle().wait_for_engine("g", LIMIT, |e| e.is_some_and(|e| e.is_up)).await;
    assert!(is_up);
    world.bus.set_unavailable(false);
    assert_eq!(world.results.next().await["outcome"], "success");
    world.event("healthy").await;
}

#[tokio::test]
async fn a_finished_game_is_cleaned_up_after() {
    let mut world = World::new("rtm-finish").await;
    let (endpoint, _) = world.start("g").await;
    init(&endpoint).await;
    let file = world.scratch.path().join("engines/g.json");
    assert!(file.exists());
    world.finish("g").await;
    world.finish("g").await;
    world.finish("unknown").await;
    append(&world.bus, streams::LOBBY_EVENTS, &json!("nonsense")).await;
    let settled = world.handle().wait_for_counters(LIMIT, |c| c.undecodable == 1).await.unwrap();
    assert_eq!((settled.applied, settled.repeated), (2, 2));
    assert!(world.handle().wait_for_engine("g", LIMIT, |engine| engine.is_none()).await);
    assert!(!file.exists());
    assert!(world.seen().contains(&Event::CleanedUp { game_id: "g".into() }));
    let (status, _) = world.post("g", "stop", json!({ "reason": "late" })).await;
    assert_eq!(status, StatusCode::OK, "stopping what is gone is done already");
}

#[tokio::test]
async fn a_finished_game_can_be_kept() {
    let mut world = World::new("rtm-keep").await;
    world.rtm.take().unwrap().stop().await;
    world.config.keeps_finished_state = true;
    world.start_rtm().await;
    let (endpoint, _) = world.start("g").await;
    init(&endpoint).await;
    world.finish("g").await;
    assert!(world.handle().wait_for_engine("g", LIMIT, |engine| engine.is_none()).await);
    assert!(world.scratch.path().join("engines/g.json").exists());
}

#[tokio::test]
async fn engines_are_bounded_and_ports_come_from_the_range() {
    let mut world = World::new("rtm-bounds").await;
    world.rtm.take().unwrap().stop().await;
    // A range around a port that is free now.
    let free = TokioNet.bind(any_port()).await.unwrap().local_addr().unwrap().port();
    world.config.engine_ports = Some(free..=free.saturating_add(50));
    world.config.max_engines = 2;
    world.start_rtm().await;
    for game in ["g1", "g2"] {
        let (endpoint, _) = world.start(game).await;
        let port: u16 = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        assert!((free..=free.saturating_add(50)).contains(&port));
    }
    world.ask("j3", "g3", IMAGE).await;
    assert_eq!(world.results.next().await["outcome"], "container_start_failed");
    world.post("g1", "stop", json!({ "reason": "room" })).await;
    world.ask("j4", "g3", IMAGE).await;
    assert_eq!(world.results.next().await["outcome"], "success");
}

#[tokio::test]
async fn failing_probes_are_counted_and_recovery_is_told() {
    let is_well = Arc::new(AtomicBool::new(true));
    let launcher = MoodyLauncher { is_well: Arc::clone(&is_well) };
    let mut world = World::with("rtm-probes", Arc::new(launcher)).await;
    world.start("g").await;
    world.event("healthy").await;
    is_well.store(false, Ordering::Relaxed);
    for count in 1..=3 {
        let failed = world.health.next().await;
        assert_eq!(failed["event_type"], "probe_failed");
        assert_eq!(failed["details"]["consecutive_failures"], count);
    }
    is_well.store(true, Ordering::Relaxed);
    world.event("healthy").await;
    is_well.store(false, Ordering::Relaxed);
    assert_eq!(world.event("probe_failed").await["details"]["consecutive_failures"], 1);
}

/// From this machine it can be told over HTTP what a container is to look like, and how an engine
/// is to end; while it is told to be unavailable, too.
#[tokio::test]
async fn misbehaviour_is_ordered_over_http() {
    let mut world = World::new("rtm-levers").await;
    world.start("g").await;
    world.event("healthy").await;
    let orders = json!({ "unhealthy_games": ["g"], "is_unavailable": true });
    assert_eq!(world.client.post("/_misbehave", orders).await.0, StatusCode::NO_CONTENT);
    world.event("inspect_unhealthy").await;
    assert_eq!(world.client.get("/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.client.get("/_misbehave").await.1["unhealthy_games"], json!(["g"]));
    assert_eq!(world.client.post("/_misbehave", json!({})).await.0, StatusCode::NO_CONTENT);
    world.event("healthy").await;
    for (kind, event) in
        [("out_of_memory", "container_oom"), ("disappeared", "container_disappeared")]
    {
        let end = json!({ "kind": kind });
        assert_eq!(world.client.post("/_runtimes/g/end", end).await.0, StatusCode::NO_CONTENT);
        world.event(event).await;
        // It is started again.
        world.event("healthy").await;
    }
    let end = |kind: &str| json!({ "kind": kind });
    assert_eq!(world.client.post("/_runtimes/g/end", end("murdered")).await.0, 400);
    assert_eq!(world.client.post("/_runtimes/x/end", end("exited")).await.0, 404);
    let (_, counters) = world.client.get("/_counters").await;
    assert_eq!((&counters["applied"], &counters["undecodable"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn an_engine_process_is_watched_killed_and_stopped() {
    let mut world =
        World::with("rtm-process", Arc::new(shell("echo listening on $2; exec cat"))).await;
    let (_, container) = world.start("g").await;
    let pid = world.handle().engine("g").unwrap().pid.expect("a process");
    let killed = tokio::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.await.unwrap().success());
    let exited = world.event("container_exited").await;
    assert_eq!(exited["container_id"], container.as_str());
    assert_eq!(
        (&exited["details"]["signal"], &exited["details"]["exit_code"]),
        (&json!(9), &Value::Null)
    );
    let is_back = |e: Option<&peers::rtm::Engine>| e.is_some_and(|e| e.is_up && e.pid != Some(pid));
    assert!(world.handle().wait_for_engine("g", LIMIT, is_back).await);
    // It ends by itself once its standard input is closed.
    let (status, _) = world.post("g", "stop", json!({ "reason": "admin" })).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        matches!(
            world.seen().as_slice(),
            [
                Event::EngineStarted { pid: Some(_), .. },
                Event::EngineExited { exit: Exit { kind: ExitKind::Exited, .. }, .. },
                Event::EngineStarted { .. },
                Event::EngineStopped { .. },
            ]
        ),
        "{:?}",
        world.seen()
    );
}

#[tokio::test]
async fn a_process_that_does_not_get_ready_fails_with_what_it_said() {
    let mut world = World::with("rtm-unready", Arc::new(shell("echo no room >&2; exit 3"))).await;
    world.ask("j", "g", IMAGE).await;
    let result = world.results.next().await;
    assert_eq!(result["outcome"], "container_start_failed");
    assert!(result["error_message"].as_str().unwrap().contains("no room"), "{result}");

    let nowhere = ProcessLauncher::new("/nonexistent/engine", Vec::new());
    let mut world = World::with("rtm-nowhere", Arc::new(nowhere)).await;
    world.ask("j", "g", IMAGE).await;
    assert_eq!(world.results.next().await["outcome"], "container_start_failed");
}

#[tokio::test]
async fn the_engine_is_told_how_to_run() {
    let scratch = Scratch::new("rtm-args");
    let said = scratch.path().join("args");
    let script = format!("echo \"$@\" > {}; echo listening on $2; exec cat", said.display());
    let mut world = World::with("rtm-args-world", Arc::new(shell(&script))).await;
    world.rtm.take().unwrap().stop().await;
    world.config.engine.seed = Some(5);
    world.config.engine.planets = Some(30);
    world.config.engine.turn_limit = Some(9);
    world.config.engine.turn_latency = Duration::from_millis(20);
    world.config.engine.turn_guard = false;
    world.start_rtm().await;
    let (endpoint, _) = world.start("g").await;
    let addr = endpoint.strip_prefix("http://").unwrap();
    let state = world.scratch.path().join("engines/g.json");
    let expected = format!(
        "--listen {addr} --state {} --seed 5 --planets 30 --turn-limit 9 --turn-latency-ms 20 \
         --no-turn-guard --exit-on-stdin-close\n",
        state.display()
    );
    assert_eq!(std::fs::read_to_string(said).unwrap(), expected);
}

/// A shell that plays the engine; its arguments are those of an engine.
fn shell(script: &str) -> ProcessLauncher {
    let prefix = ["-c", script, "engine"].map(OsString::from);
    ProcessLauncher::new("/bin/sh", prefix.to_vec())
}

/// Starts engines that have nothing but a health check, and that as told.
struct MoodyLauncher {
    is_well: Arc<AtomicBool>,
}

#[async_trait]
impl EngineLauncher for MoodyLauncher {
    async fn start(&self, spec: EngineSpec) -> Result<Box<dyn RunningEngine>, LaunchError> {
        let listener = TokioNet.bind(spec.listen).await;
        let listener = listener.map_err(|error| LaunchError::Start(error.to_string()))?;
        let is_well = Arc::clone(&self.is_well);
        let service = service_fn(move |_: Request<Incoming>| {
            let is_well = is_well.load(Ordering::Relaxed);
            let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = status;
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        Ok(Box::new(Moody(Some(Running::spawn(|stop| async move {
            net::serve(listener, service, ServerLimits::default(), stop).await;
        })))))
    }

    fn forget(&self, _game_id: &str) {}
}

struct Moody(Option<Running>);

#[async_trait]
impl RunningEngine for Moody {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn exited(&mut self) -> Exit {
        std::future::pending().await
    }

    async fn stop(&mut self) {
        if let Some(server) = self.0.take() {
            server.stop().await;
        }
    }

    async fn kill(&mut self) {
        self.stop().await;
    }
}
