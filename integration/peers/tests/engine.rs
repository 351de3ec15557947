//! The engine's contract over real HTTP, its restarts, and its misbehaviours.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failure")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use peers::engine::{
    EngineArgs, EngineError, EngineOptions, EngineServer, Operation, Plan, Seen, Watcher,
    game::GameOptions, store::MemoryDisk,
};
use serde_json::{Value, json};

#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
mod engine_rig;
use engine_rig::{PATIENCE, Rig, call, client, init};

fn options() -> EngineOptions {
    EngineOptions::default()
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or("no envelope")
}

fn build() -> Value {
    json!({ "type": "build", "planet": 0 })
}

/// A free planet, from a report.
async fn free_planet(rig: &Rig) -> Value {
    let (_, report) = rig.get("/api/v1/report?player=race%200&turn=0").await;
    let planets = report["planets"].as_array().unwrap();
    planets.iter().find(|planet| planet["owner"].is_null()).unwrap()["id"].clone()
}

#[tokio::test]
async fn before_init_there_is_only_health() {
    let rig = Rig::start(options()).await;
    assert_eq!(rig.get("/healthz").await.0, 200);
    let actor = json!({ "actor": "race 0", "cmd": [build()] });
    for (status, body) in [
        rig.get("/api/v1/admin/status").await,
        rig.turn(0).await,
        rig.post("/api/v1/admin/race/banish", json!({ "race_name": "race 0" })).await,
        rig.put("/api/v1/command", actor.clone()).await,
        rig.put("/api/v1/order", actor).await,
        rig.get("/api/v1/report?player=race%200&turn=0").await,
    ] {
        assert_eq!((status, code(&body)), (409, "not_initialized"));
    }
    assert_eq!(rig.get("/_log").await, (200, json!([])));
    rig.stop().await;
}

#[tokio::test]
async fn init_happens_once() {
    let rig = Rig::start(options()).await;
    let (status, body) = rig.post("/api/v1/admin/init", json!({ "races": [] })).await;
    assert_eq!((status, code(&body)), (400, "invalid_request"));
    let (status, state) = rig.post("/api/v1/admin/init", init(2)).await;
    assert_eq!(status, 200);
    assert_eq!((&state["turn"], &state["finished"]), (&json!(0), &json!(false)));
    let keys: Vec<&String> = state.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["finished", "id", "player", "turn"]);
    let keys: Vec<&String> = state["player"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["extinct", "id", "planets", "population", "race_name"]);
    let (status, body) = rig.post("/api/v1/admin/init", init(2)).await;
    assert_eq!((status, code(&body)), (409, "already_initialized"));
    assert_eq!(rig.get("/api/v1/admin/status").await, (200, state));
    rig.stop().await;
}

#[tokio::test]
async fn the_guard_refuses_a_turn_that_is_not_the_expected_one() {
    let rig = Rig::start_game(options(), 2).await;
    let (status, state) = rig.turn(0).await;
    assert_eq!((status, &state["turn"]), (200, &json!(1)));
    for expected in [0, 2, u32::MAX] {
        let (status, body) = rig.turn(expected).await;
        assert_eq!((status, code(&body)), (409, "turn_conflict"));
    }
    let (status, state) = rig.turn(1).await;
    assert_eq!((status, &state["turn"]), (200, &json!(2)));
    let log = json!([
        { "turn": 1, "request_number": 1 },
        { "turn": 2, "request_number": 5 },
    ]);
    assert_eq!(rig.get("/_log").await, (200, log));
    rig.stop().await;
}

#[tokio::test]
async fn an_engine_without_the_guard_ignores_the_expected_turn() {
    let rig = Rig::start_game(EngineOptions { honours_expected_turn: false, ..options() }, 2).await;
    for turn in 1..=3 {
        let (status, state) = rig.turn(0).await;
        assert_eq!((status, &state["turn"]), (200, &json!(turn)));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_requests_for_one_turn_generate_one_turn() {
    let turn_latency = Duration::from_millis(20);
    let rig = Arc::new(Rig::start_game(EngineOptions { turn_latency, ..options() }, 2).await);
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.turn(0).await })
        })
        .collect();
    let mut generated = 0;
    for request in requests {
        let (status, body) = request.await.unwrap();
        if status == 200 {
            generated += 1;
        } else {
            assert_eq!((status, code(&body)), (409, "turn_conflict"));
        }
    }
    assert_eq!(generated, 1);
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 1);
    assert_eq!(rig.get("/_log").await.1.as_array().unwrap().len(), 1);
    Arc::into_inner(rig).unwrap().stop().await;
}

#[tokio::test]
async fn commands_act_at_once_and_orders_with_the_turn() {
    let rig = Rig::start_game(options(), 2).await;
    let planet = free_planet(&rig).await;
    let colonise = json!({ "type": "colonise", "planet": planet });
    let body = json!({ "actor": "race 0", "cmd": [colonise, { "type": "build", "planet": 1 }] });
    let (status, answer) = rig.put("/api/v1/command", body).await;
    let expected = json!({ "turn": 0, "outcomes": [
        { "outcome": "settled", "from": 0, "population": 20 },
        { "outcome": "refused", "reason": "not_yours" },
    ]});
    assert_eq!((status, answer), (200, expected));
    assert_eq!(rig.get("/api/v1/admin/status").await.1["player"][0]["planets"], 2);

    let body = json!({ "actor": "race 1", "cmd": [{ "type": "build", "planet": 1 }] });
    let (status, answer) = rig.put("/api/v1/order", body).await;
    assert_eq!((status, answer), (200, json!({ "turn": 0, "stored": 1 })));
    let (_, report) = rig.get("/api/v1/report?player=race+1&turn=0").await;
    assert_eq!(report["planets"][1]["level"], 0);
    rig.turn(0).await;
    let (_, report) = rig.get("/api/v1/report?player=race+1&turn=1").await;
    assert_eq!(report["planets"][1]["level"], 1);
    assert_eq!(report["outcomes"], json!([{ "outcome": "built", "level": 1 }]));
    rig.stop().await;
}

#[tokio::test]
async fn an_impossible_command_is_named_and_nothing_of_its_list_is_done() {
    let rig = Rig::start_game(options(), 2).await;
    let before = rig.get("/api/v1/admin/status").await;
    for bad in [
        json!({ "type": "teleport", "planet": 0 }),
        json!({ "type": "build", "planet": 0, "extra": 1 }),
        json!({ "type": "build", "planet": 999 }),
        json!("build"),
    ] {
        let cmd = json!([{ "type": "build", "planet": 0 }, bad]);
        for path in ["/api/v1/command", "/api/v1/order"] {
            let body = json!({ "actor": "race 0", "cmd": cmd });
            let (status, body) = rig.put(path, body).await;
            assert_eq!((status, code(&body)), (400, "invalid_request"));
            assert!(body["error"]["message"].as_str().unwrap().starts_with("cmd[1]: "), "{body}");
        }
    }
    let many: Vec<Value> = vec![json!({ "type": "build", "planet": 0 }); 257];
    let (status, _) = rig.put("/api/v1/command", json!({ "actor": "race 0", "cmd": many })).await;
    assert_eq!(status, 400);
    let (status, body) =
        rig.put("/api/v1/command", json!({ "actor": "nobody", "cmd": [build()] })).await;
    assert_eq!((status, code(&body)), (404, "race_not_found"));
    assert_eq!(rig.get("/api/v1/admin/status").await, before);
    rig.stop().await;
}

#[tokio::test]
async fn reports_are_there_for_known_players_and_turns() {
    let rig = Rig::start_game(options(), 2).await;
    rig.turn(0).await;
    for turn in 0..=1 {
        let (status, report) =
            rig.get(&format!("/api/v1/report?player=race%200&turn={turn}")).await;
        assert_eq!((status, &report["turn"]), (200, &json!(turn)));
    }
    let (status, body) = rig.get("/api/v1/report?player=race%200&turn=2").await;
    assert_eq!((status, code(&body)), (404, "report_not_found"));
    let (status, body) = rig.get("/api/v1/report?player=nobody&turn=0").await;
    assert_eq!((status, code(&body)), (404, "race_not_found"));
    rig.stop().await;
}

#[tokio::test]
async fn banishing_ends_a_game_of_two_with_the_next_turn() {
    let rig = Rig::start_game(options(), 2).await;
    let banish = |name: &str| json!({ "race_name": name });
    let (status, body) = rig.post("/api/v1/admin/race/banish", banish("nobody")).await;
    assert_eq!((status, code(&body)), (404, "race_not_found"));
    for _ in 0..2 {
        let answer = rig.post("/api/v1/admin/race/banish", banish("race 1")).await;
        assert_eq!(answer, (204, Value::Null));
    }
    let (_, state) = rig.get("/api/v1/admin/status").await;
    assert_eq!((&state["player"][1]["extinct"], &state["finished"]), (&json!(true), &json!(false)));
    let (status, body) =
        rig.put("/api/v1/command", json!({ "actor": "race 1", "cmd": [build()] })).await;
    assert_eq!((status, code(&body)), (409, "race_extinct"));
    assert_eq!(rig.turn(0).await.1["finished"], true);
    let (status, body) = rig.turn(1).await;
    assert_eq!((status, code(&body)), (409, "game_finished"));
    let (status, body) = rig.turn(0).await;
    assert_eq!((status, code(&body)), (409, "turn_conflict"), "the guard goes first");
    let (status, body) =
        rig.put("/api/v1/order", json!({ "actor": "race 0", "cmd": [build()] })).await;
    assert_eq!((status, code(&body)), (409, "game_finished"));
    rig.stop().await;
}

#[tokio::test]
async fn the_turn_limit_ends_a_game() {
    let game = GameOptions { turn_limit: 2, ..GameOptions::default() };
    let rig = Rig::start_game(EngineOptions { game, ..options() }, 3).await;
    assert_eq!(rig.turn(0).await.1["finished"], false);
    assert_eq!(rig.turn(1).await.1["finished"], true);
    rig.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_refused_with_the_envelope() {
    let rig = Rig::start_game(options(), 2).await;
    let url = |path: &str| format!("http://{}{path}", rig.addr);
    let request = |method: &str, path: &str, content_type: &str, body: &str| {
        Request::builder()
            .method(method)
            .uri(url(path))
            .header("content-type", content_type)
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap()
    };
    let large = format!(r#"{{"actor":"{}","cmd":[]}}"#, "x".repeat(300_000));
    let json = "application/json";
    let cases = [
        ("GET", "/nowhere", json, "", 404),
        ("GET", "/healthz/", json, "", 404),
        ("DELETE", "/healthz", json, "", 405),
        ("POST", "/api/v1/admin/turn", json, "", 405),
        ("GET", "/api/v1/admin/status?verbose=1", json, "", 400),
        ("PUT", "/api/v1/admin/turn?expected_turn=+1", json, "", 400),
        ("PUT", "/api/v1/admin/turn?expected_turn=-1", json, "", 400),
        ("PUT", "/api/v1/admin/turn?expected_turn=1&expected_turn=1", json, "", 400),
        ("PUT", "/api/v1/admin/turn", json, "", 400),
        ("PUT", "/api/v1/command", json, r#"{"actor":"race 0","cmd":[]}"#, 400),
        ("GET", "/api/v1/report?player=race%200", json, "", 400),
        ("GET", "/api/v1/report?player=%ff&turn=0", json, "", 400),
        ("PUT", "/api/v1/command", "text/plain", r#"{"actor":"race 0","cmd":[]}"#, 415),
        ("PUT", "/api/v1/command", json, "{", 400),
        ("PUT", "/api/v1/command", json, r#"{"actor":"race 0"}"#, 400),
        ("PUT", "/api/v1/command", json, r#"{"actor":"race 0","cmd":[],"turn":1}"#, 400),
        ("PUT", "/api/v1/command", json, r#"{"actor":"a","actor":"b","cmd":[]}"#, 400),
        ("PUT", "/api/v1/command", json, &large, 413),
        ("POST", "/api/v1/admin/race/banish", json, r#"{"race":"race 0"}"#, 400),
        ("POST", "/_misbehave", json, r#"{"explode":1}"#, 400),
        ("POST", "/_misbehave", json, r#"{"fail_status":200}"#, 400),
    ];
    for (method, path, content_type, body, expected) in cases {
        let response = rig.raw(request(method, path, content_type, body)).await;
        let answer: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status(), expected, "{method} {path}: {answer}");
        let expected_code = if expected == 404 { "not_found" } else { "invalid_request" };
        assert_eq!(code(&answer), expected_code);
    }
    rig.stop().await;
}

#[tokio::test]
async fn the_state_survives_a_restart() {
    let directory = std::env::temp_dir().join(format!("engine-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = EngineOptions { state_file: Some(directory.join("state.json")), ..options() };
    let memory = EngineOptions { memory_disk: Some(MemoryDisk::default()), ..options() };
    for options in [file, memory] {
        let rig = Rig::start(options.clone()).await;
        rig.stop().await;
        let rig = Rig::start_game(options.clone(), 3).await;
        rig.turn(0).await;
        let build = |race: &str, planet| {
            let command = json!({ "type": "build", "planet": planet });
            json!({ "actor": race, "cmd": [command] })
        };
        rig.put("/api/v1/command", build("race 0", 0)).await;
        rig.put("/api/v1/order", build("race 1", 1)).await;
        rig.post("/api/v1/admin/race/banish", json!({ "race_name": "race 2" })).await;
        let paths = [
            "/api/v1/admin/status",
            "/api/v1/report?player=race+1&turn=0",
            "/api/v1/report?player=race+1&turn=1",
            "/_log",
        ];
        let mut before = Vec::new();
        for path in paths {
            before.push(rig.get(path).await);
        }
        rig.stop().await;

        let rig = Rig::start(options).await;
        for (path, before) in paths.iter().zip(before) {
            assert_eq!(rig.get(path).await, before);
        }
        let (status, body) = rig.post("/api/v1/admin/init", init(2)).await;
        assert_eq!((status, code(&body)), (409, "already_initialized"));
        assert_eq!(rig.turn(1).await.0, 200);
        let (_, report) = rig.get("/api/v1/report?player=race+1&turn=2").await;
        assert_eq!(report["planets"][1]["level"], 1, "the stored order was carried out");
        rig.stop().await;
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_damaged_state_is_not_played_over() {
    let directory = std::env::temp_dir().join(format!("engine-damage-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("state.json");
    std::fs::write(&path, "{ damaged").unwrap();
    let options = EngineOptions { state_file: Some(path), ..options() };
    let any = "127.0.0.1:0".parse().unwrap();
    let refused = EngineServer::bind(&net::TokioNet, any, options).await;
    assert!(matches!(refused, Err(EngineError::State(_))));
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn what_cannot_be_saved_is_not_done() {
    let directory = std::env::temp_dir().join(format!("engine-unsaved-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let options = EngineOptions { state_file: Some(directory.join("s.json")), ..options() };
    let rig = Rig::start_game(options, 2).await;
    let before = rig.get("/api/v1/admin/status").await;
    std::fs::remove_dir_all(&directory).unwrap();
    let (status, body) = rig.turn(0).await;
    assert_eq!((status, code(&body)), (500, "internal_error"));
    assert_eq!(rig.get("/api/v1/admin/status").await, before);
    std::fs::create_dir_all(&directory).unwrap();
    assert_eq!(rig.turn(0).await.0, 200);
    rig.stop().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn failing_with_and_without_acting() {
    let rig = Rig::start_game(options(), 2).await;
    rig.misbehave(Plan { fail_next: 2, fail_status: 503, ..Plan::default() });
    for _ in 0..2 {
        assert_eq!(rig.turn(0).await.0, 503);
    }
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 0);
    rig.misbehave(Plan { fail_next: 1, act_first: true, ..Plan::default() });
    assert_eq!(rig.turn(0).await.0, 500);
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_dropped_connection_has_acted_and_sends_nothing() {
    let rig = Rig::start_game(options(), 2).await;
    rig.misbehave(Plan { only: vec![Operation::Turn], drop_next: 1, ..Plan::default() });
    let error = rig.try_turn(0).await.unwrap_err();
    assert!(!error.is_determinate(), "{error}");
    assert!(matches!(error, net::CallError::Unknown(net::Unknown::NoResponse(_))), "{error}");
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 1);
    assert_eq!(code(&rig.turn(0).await.1), "turn_conflict");
    rig.stop().await;
}

#[tokio::test]
async fn garbage_and_lies() {
    let rig = Rig::start_game(options(), 2).await;
    let plan = json!({ "garbage_next": 1, "lie_next": 1, "lie_turn_by": 2 });
    let (status, answer) = rig.post("/_misbehave", plan).await;
    assert_eq!((status, &answer["garbage_next"]), (200, &json!(1)));
    assert_eq!(rig.turn(0).await, (200, Value::Null));
    assert_eq!(rig.turn(1).await.1["turn"], 4);
    let (_, state) = rig.get("/api/v1/admin/status").await;
    assert_eq!(state["turn"], 2);
    assert_eq!(rig.get("/_misbehave").await.1["lie_next"], 0);
    rig.misbehave(Plan { lie_next: 1, lie_turn_by: -9, ..Plan::default() });
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 0);
    rig.stop().await;
}

#[tokio::test]
async fn latency_is_waited_out_and_an_impatient_caller_changes_nothing() {
    let rig = Rig::start_game(options(), 2).await;
    rig.misbehave(Plan {
        only: vec![Operation::Turn],
        latency_before_ms: 150,
        latency_after_ms: 100_000,
        ..Plan::default()
    });
    let request = Request::builder()
        .method("PUT")
        .uri(format!("http://{}/api/v1/admin/turn?expected_turn=0", rig.addr))
        .body(Bytes::new())
        .unwrap();
    let hung_up = client().send_within(request, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(hung_up, net::CallError::Unknown(net::Unknown::TimedOut(_))), "{hung_up}");
    let carried_out = async {
        while rig.get("/api/v1/admin/status").await.1["turn"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, carried_out).await.unwrap();
    // The end does not wait for the latency after acting.
    rig.stop().await;
}

#[tokio::test]
async fn a_hanging_request_is_never_answered_and_does_not_hold_up_the_end() {
    let rig = Rig::start_game(options(), 2).await;
    rig.misbehave(Plan { hang_next: 1, ..Plan::default() });
    let request = Request::builder()
        .method("PUT")
        .uri(format!("http://{}/api/v1/admin/turn?expected_turn=0", rig.addr))
        .body(Bytes::new())
        .unwrap();
    let hanging =
        tokio::spawn(async move { client().send_within(request, PATIENCE).await.map(drop) });
    let begun = async {
        while rig.misbehaviour.plan().hang_next > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 0);
    assert!(!hanging.is_finished());
    rig.stop().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_in_drops_arrives_whole_or_the_caller_hangs_up_and_is_seen_to() {
    let seen: Arc<Mutex<Vec<Weak<()>>>> = Arc::default();
    let waiting = Arc::clone(&seen);
    let watcher = Watcher::new(Arc::new(move |seen: &Seen| {
        if let Seen::Hangs { waiting: caller, .. } = seen {
            waiting.lock().unwrap().push(caller.clone());
        }
    }));
    let rig = Rig::start_game(EngineOptions { watcher, ..options() }, 2).await;
    let nobody_waits = async || {
        let caller = seen.lock().unwrap().pop().unwrap();
        let is_gone = async {
            while caller.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, is_gone).await.unwrap();
    };
    rig.misbehave(Plan { drip_next: 1, drip_ms: 1, ..Plan::default() });
    let (status, dripped) = rig.turn(0).await;
    assert_eq!((status, &dripped["turn"]), (200, &json!(1)));
    assert_eq!(dripped, rig.get("/api/v1/admin/status").await.1, "all of it");
    nobody_waits().await;
    // It would take minutes.
    rig.misbehave(Plan { drip_next: 1, drip_ms: 5_000, ..Plan::default() });
    let request = Request::builder()
        .method("PUT")
        .uri(format!("http://{}/api/v1/admin/turn?expected_turn=1", rig.addr))
        .body(Bytes::new())
        .unwrap();
    let hung_up = client().send_within(request, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(hung_up, net::CallError::Unknown(net::Unknown::TimedOut(_))), "{hung_up}");
    nobody_waits().await;
    assert_eq!(rig.get("/api/v1/admin/status").await.1["turn"], 2, "it was carried out");
    rig.stop().await;
}

#[tokio::test]
async fn the_same_seed_and_requests_get_the_same_answers() {
    let mut transcripts = Vec::new();
    for _ in 0..2 {
        let rig = Rig::start(options()).await;
        let mut transcript = vec![rig.post("/api/v1/admin/init", init(3)).await];
        for turn in 0..5 {
            for race in 0..3 {
                let path = format!("/api/v1/report?player=race%20{race}&turn={turn}");
                let (status, report) = rig.get(&path).await;
                let commands =
                    peers::engine::bot::plan(&serde_json::from_value(report.clone()).unwrap());
                transcript.push((status, report));
                if commands.is_empty() {
                    continue;
                }
                let body = json!({ "actor": format!("race {race}"), "cmd": commands });
                transcript.push(rig.put("/api/v1/command", body).await);
            }
            transcript.push(rig.turn(turn).await);
        }
        rig.stop().await;
        transcripts.push(transcript);
    }
    assert_eq!(transcripts[0], transcripts[1]);
}

/// Says that this process is to be an engine, and where its state is.
const CHILD_STATE: &str = "PEERS_ENGINE_CHILD_STATE";

/// Not a test: the body of the child process of the next one.
#[tokio::test]
#[ignore = "runs as a child process of killed_processes_remember"]
async fn child_engine() {
    let Ok(state) = std::env::var(CHILD_STATE) else { return };
    let args = EngineArgs {
        ports: None,
        state_dir: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        state: Some(state.into()),
        seed: 7,
        planets: 12,
        turn_limit: 50,
        kept_turns: 64,
        turn_latency_ms: 0,
        no_turn_guard: false,
        exit_on_stdin_close: true,
    };
    peers::engine::main(args).await.unwrap();
}

fn start_child(state: &std::path::Path) -> (Child, std::net::SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_engine", "--ignored", "--nocapture"])
        .env(CHILD_STATE, state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.as_mut().unwrap());
    let addr = stdout
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ").map(|(_, addr)| addr.parse().unwrap()))
        .unwrap();
    (child, addr)
}

#[tokio::test]
async fn killed_processes_remember() {
    let directory = std::env::temp_dir().join(format!("engine-child-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let state = directory.join("state.json");
    let client = client();
    for turn in 0..3 {
        let (mut child, addr) = start_child(&state);
        if turn == 0 {
            let (status, _) =
                call(&client, addr, "POST", "/api/v1/admin/init", Some(init(2))).await.unwrap();
            assert_eq!(status, 200);
        }
        let path = format!("/api/v1/admin/turn?expected_turn={turn}");
        let (status, body) = call(&client, addr, "PUT", &path, None).await.unwrap();
        assert_eq!((status, &body["turn"]), (200, &json!(turn + 1)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, addr) = start_child(&state);
    let (_, log) = call(&client, addr, "GET", "/_log", None).await.unwrap();
    let turns: Vec<u64> =
        log.as_array().unwrap().iter().map(|entry| entry["turn"].as_u64().unwrap()).collect();
    assert_eq!(turns, [1, 2, 3]);
    drop(child.stdin.take());
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
    std::fs::remove_dir_all(directory).unwrap();
}
