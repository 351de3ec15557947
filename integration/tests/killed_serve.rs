//! `kill -9` of the service alone, while the engines live on and finish what they were asked: what
//! an engine did for a dead process is adopted, never done again.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::net::SocketAddr;
use std::path::Path;

use http::Method;
use integration::harness::{Client, PortBlock, Process, program, until};
use net::TokioNet;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Operation, Plan};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const ROUNDS: u64 = 3;

/// Turns take so long before, or after, the engine acts; everything else is as ever.
fn turns_only(latency_before_ms: u64, latency_after_ms: u64) -> Plan {
    Plan { only: vec![Operation::Turn], latency_before_ms, latency_after_ms, ..Plan::default() }
}

fn serve(listen: SocketAddr, store: &Path) -> Process {
    let listen = listen.to_string();
    let store = store.to_str().expect("a path in UTF-8");
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
    Process::start(&program(), &args).expect("the program starts")
}

async fn post(client: &Client, path: &str, body: Value) {
    let posted = client.call(Method::POST, path, &[], Some(&body)).await.expect("an answer");
    assert!(posted.0.is_success(), "{path}: {posted:?}");
}

async fn recorded(gm: &Client) -> Option<(u64, String)> {
    let runtime = gm.get("/api/v1/internal/runtimes/g").await?;
    let status = runtime["runtime_status"].as_str()?.to_owned();
    Some((runtime["current_turn"].as_u64()?, status))
}

async fn generated(engine: &Client) -> Option<Vec<u64>> {
    let log = engine.get("/_log").await?;
    log.as_array()?.iter().map(|entry| entry["turn"].as_u64()).collect()
}

/// Kills the service while a turn is under way and the engine behaves as `plan` says; starts it
/// again, and expects the turn exactly once.
async fn kill_in_mid_turn(plan: impl Fn() -> Plan, acted_by_the_kill: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = folder.path().join("gm.redb");
    let misbehaviour = Misbehaviour::default();
    let options = EngineOptions { misbehaviour: misbehaviour.clone(), ..Default::default() };
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let engine = EngineServer::bind(&TokioNet, anywhere, options).await.expect("it binds");
    let (endpoint, stop) = (engine.local_addr().expect("an address"), CancellationToken::new());
    let serving = tokio::spawn(engine.serve(stop.clone()));
    let ports = PortBlock::take();
    let listen = ports.first();
    let (gm, engine) = (Client::new(listen), Client::new(endpoint));

    let mut process = serve(listen, &store);
    until("the service to be ready", || gm.get("/readyz")).await;
    let version = json!({ "version": "1.0.0", "image_ref": "galaxy/engine:1.0.0", "options": {} });
    post(&gm, "/api/v1/internal/engine-versions", version).await;
    let registration = json!({
        "engine_endpoint": format!("http://{endpoint}"),
        "target_engine_version": "1.0.0",
        "turn_schedule": "* * * * * *",
        "members": [{ "user_id": "u1", "race_name": "Andorians" },
                    { "user_id": "u2", "race_name": "Betans" }],
    });
    post(&gm, "/api/v1/internal/games/g/register-runtime", registration).await;

    for _ in 0..ROUNDS {
        misbehaviour.set(plan());
        let turn = until("a turn to be under way", || async {
            let (turn, status) = recorded(&gm).await?;
            let acted = generated(&engine).await?.len() as u64 > turn;
            let there = status == "generation_in_progress" && acted == acted_by_the_kill;
            there.then_some(turn)
        })
        .await;
        process.kill().await.expect("it can be killed");
        misbehaviour.clear();
        process = serve(listen, &store);
        until("the turn to be recorded", || async {
            let (now, status) = recorded(&gm).await?;
            assert_ne!(status, "generation_failed");
            (now > turn).then_some(())
        })
        .await;
    }
    // The engine at rest: nothing is on its way any more.
    until("record and engine to agree", || async {
        let (turn, status) = recorded(&gm).await?;
        let log = generated(&engine).await?;
        let all: Vec<u64> = (1..=log.len() as u64).collect();
        assert_eq!(log, all, "each turn was generated once");
        (status == "running" && turn == log.len() as u64).then_some(())
    })
    .await;
    let (code, output) = process.interrupt().await.expect("it ends");
    assert_eq!(code, Some(0), "{output:#?}");
    stop.cancel();
    serving.await.expect("the engine ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_was_generated_for_a_dead_process_is_adopted() {
    kill_in_mid_turn(|| turns_only(0, 1500), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_outlives_its_process_does_not_make_a_second_turn() {
    kill_in_mid_turn(|| turns_only(1500, 0), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_setting_ends_the_process_at_once_and_is_named() {
    let mut command = tokio::process::Command::new(program());
    command.args(["serve", "--lobby-url", "http://l:1", "--rtm-url", "http://r:1"]);
    command.env("GAMEMASTER_ENGINE_NETWORKS", "10.0.0.0/8");
    command.env("GAMEMASTER_LISTNE", "secret-value");
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("GAMEMASTER_LISTNE") && !said.contains("secret-value"), "{said}");
}
