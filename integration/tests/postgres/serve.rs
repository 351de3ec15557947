//! The real program on a real database: what a turn leaves when its process is killed, what the
//! commands say, and that the password never shows.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use integration::harness::{Client, PortBlock, Process, audit_streams, program, until};
use integration::redis_server::{Durability as Everything, RedisServer};
use integration::servers::{Durability, PostgresServer};
use net::TokioNet;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Operation, Plan};
use serde_json::{Value, json};
use service::redis_streams::{RedisSettings, RedisStreams};
use tokio_util::sync::CancellationToken;

use crate::support::shared;

/// The password in every URL here: a server that trusts everybody does not ask for it.
const CANARY: &str = "hush-canary";
const URL: &str = "GAMEMASTER_POSTGRES_URL";
const REDIS_URL: &str = "GAMEMASTER_REDIS_URL";
/// No Redis: messages wait in the database, and everything else goes on.
const NO_REDIS: &str = "redis://127.0.0.1:9";
/// The longest that a command takes.
const BOUND: Duration = Duration::from_secs(50);

fn redis_settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: url.parse().expect("a URL"),
        limits: net::RedisLimits::default(),
        key_prefix: String::new(),
    }
}

fn with_password(url: &str, password: &str) -> String {
    url.replacen("//gamemaster@", &format!("//gamemaster:{password}@"), 1)
}

fn serve(listen: SocketAddr, url: &str, redis: &str) -> Process {
    let listen = listen.to_string();
    let nobody = "http://127.0.0.1:9";
    let args = [
        "serve",
        "--listen",
        &listen,
        "--lobby-url",
        nobody,
        "--rtm-url",
        nobody,
        "--engine-networks",
        "127.0.0.0/8",
        "--resolution",
        "seconds",
        "--logging-filter",
        "debug",
    ];
    Process::start_with(&program(), &args, &[(URL, url), (REDIS_URL, redis)])
        .expect("the program starts")
}

/// A command to its end: its code, and what it said to either side.
async fn command(args: &[&str], url: &str) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GAMEMASTER_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .env(URL, url)
        .env(REDIS_URL, NO_REDIS)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(BOUND, command.output()).await.expect("it ends in time");
    let Output { status, stdout, stderr } = ended.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(!out.contains(CANARY) && !err.contains(CANARY), "the password shows: {out}{err}");
    (status.code(), out, err)
}

/// A command that succeeds, and the JSON it prints.
async fn told(args: &[&str], url: &str) -> Value {
    let (code, out, err) = command(&[args, &["--output", "json"]].concat(), url).await;
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).expect("JSON")
}

fn keeps_quiet(output: &[String]) {
    assert!(!output.is_empty(), "it said nothing at all");
    assert!(!output.iter().any(|line| line.contains(CANARY)), "the password shows: {output:#?}");
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

/// The process dies while the clock's turn is under way, before or after the engine acts; the next
/// one finds the record in the database, and the turn is there once: in the engine, in the record,
/// in the log, and in the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_process_is_killed_is_there_once() {
    let (server, database) = shared().await;
    let url = with_password(&database.url, CANARY);
    let misbehaviour = Misbehaviour::default();
    let options = EngineOptions { misbehaviour: misbehaviour.clone(), ..Default::default() };
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let engine = EngineServer::bind(&TokioNet, anywhere, options).await.expect("it binds");
    let (endpoint, stop) = (engine.local_addr().expect("an address"), CancellationToken::new());
    let serving = tokio::spawn(engine.serve(stop.clone()));
    let ports = PortBlock::take();
    let listen = ports.first();
    let (gm, engine) = (Client::new(listen), Client::new(endpoint));

    let redis = RedisServer::start(Everything::Always).await;
    let mut process = serve(listen, &url, &redis.url());
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

    for (latency_before_ms, latency_after_ms) in [(1_500, 0), (0, 1_500)] {
        let only = vec![Operation::Turn];
        misbehaviour.set(Plan { only, latency_before_ms, latency_after_ms, ..Plan::default() });
        let turn = until("a turn to be under way", || async {
            let (turn, status) = recorded(&gm).await?;
            let has_acted = generated(&engine).await?.len() as u64 > turn;
            let is_there = has_acted == (latency_before_ms == 0);
            (status == "generation_in_progress" && is_there).then_some(turn)
        })
        .await;
        keeps_quiet(&process.kill().await.expect("it can be killed"));
        misbehaviour.clear();
        // What the dead process did not publish is there for all to see.
        let status = told(&["outbox", "status"], &url).await;
        assert!(status["waiting"].is_u64(), "{status}");
        process = serve(listen, &url, &redis.url());
        until("the turn to be recorded", || async {
            let (now, status) = recorded(&gm).await?;
            assert_ne!(status, "generation_failed");
            (now > turn).then_some(())
        })
        .await;
    }
    let last = until("record and engine to agree", || async {
        let (turn, status) = recorded(&gm).await?;
        let log = generated(&engine).await?;
        let all: Vec<u64> = (1..=log.len() as u64).collect();
        assert_eq!(log, all, "each turn was generated once");
        (status == "running" && turn == log.len() as u64).then_some(turn)
    })
    .await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let once = "SELECT turn, count(*) FROM gamemaster.operation_log WHERE kind = 'tick' \
                AND outcome = 'succeeded' AND turn <= $1 GROUP BY turn ORDER BY turn";
    let bound = i64::try_from(last).expect("few");
    let rows = admin.query(once, &[&bound]).await.expect("the log");
    let counts: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, (1..=bound).map(|turn| (turn, 1)).collect::<Vec<_>>());
    let notified = "SELECT payload::jsonb->'payload'->>'turn', count(*) FROM gamemaster.outbox \
                    WHERE channel = 'notification:intents' \
                    AND payload::jsonb->>'notification_type' = 'game.turn.ready' \
                    GROUP BY 1 HAVING count(*) <> 1";
    let twice = admin.query(notified, &[]).await.expect("the outbox");
    assert!(twice.is_empty(), "players were told twice of a turn");
    let published = until("everything to be published", || async {
        let status = told(&["outbox", "status"], &url).await;
        let channels = status["channels"].as_array().expect("channels").clone();
        channels.iter().all(|channel| channel["newest_published"].is_string()).then_some(status)
    });
    assert_eq!(published.await["channels"].as_array().map(Vec::len), Some(2));
    let (code, output) = process.interrupt().await.expect("it ends");
    assert_eq!(code, Some(0), "{output:#?}");
    keeps_quiet(&output);
    // What Lobby and the players are told: each turn, in order, also over the deaths.
    let streams = RedisStreams::new(Arc::new(TokioNet), redis_settings(&redis.url()));
    let audits = audit_streams(&streams).await.expect("the streams").expect("nothing is wrong");
    let audit = audits.get("g").expect("the game");
    let recorded = "SELECT current_turn::text FROM gamemaster.runtime_records";
    let row = admin.query_one(recorded, &[]).await.expect("the record");
    let recorded: u32 = row.get::<_, String>(0).parse().expect("a number");
    assert!(u64::from(recorded) >= last);
    assert_eq!(audit.turns, (0..=recorded).collect::<Vec<_>>());
    stop.cancel();
    serving.await.expect("the engine ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_migration_has_nothing_to_do() {
    let server = PostgresServer::shared().await;
    let (_, url) = server.database().await;
    let url = with_password(&url, CANARY);
    let (code, _, err) = command(&["outbox", "status"], &url).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("gamemaster migrate"), "it does not say what to do: {err}");
    let (code, out, err) = command(&["migrate"], &url).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("applied: ") && out.contains("init"), "{out}");
    let again = told(&["migrate"], &url).await;
    assert_eq!(again, json!({ "version": 1, "applied": [] }));
    let (code, out, err) = command(&["migrate"], &url).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("nothing to do"), "{out}");
    let status = told(&["outbox", "status"], &url).await;
    assert_eq!((&status["waiting"], &status["oldest_waiting"]), (&json!(0), &Value::Null));
    let (code, out, err) = command(&["outbox", "status"], &url).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("gm:lobby_events") && out.contains("notification:intents"), "{out}");
}

/// To wait for a password to become right would help nobody, and could lock the account.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_every_command_at_once_and_is_not_told() {
    let server = PostgresServer::start(Durability::None).await;
    let (_, url) = server.database().await;
    server.demand_password("the-right-one").await;
    let wrong = with_password(&url, CANARY);
    let nobody = "http://127.0.0.1:9";
    let serve = [
        ["--listen", "127.0.0.1:0"],
        ["--lobby-url", nobody],
        ["--rtm-url", nobody],
        ["--engine-networks", "127.0.0.0/8"],
        ["--logging-filter", "debug"],
    ];
    let serve: Vec<&str> = ["serve"].into_iter().chain(serve.into_iter().flatten()).collect();
    for args in [&["migrate"][..], &["migrate", "--output", "json"], &["outbox", "status"], &serve]
    {
        let (code, out, err) = command(args, &wrong).await;
        assert_eq!(code, Some(1), "{args:?}: {err}");
        let said = format!("{out}{err}");
        assert!(said.contains("password authentication failed"), "{args:?}: {said}");
        assert!(!said.contains("waiting for the database"), "{args:?}: {said}");
    }
    let (code, _, err) = command(&["migrate"], &with_password(&url, "the-right-one")).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains("the-right-one"), "{err}");
}

/// Database and service may start in any order.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let server = PostgresServer::start(Durability::None).await;
    let (_, url) = server.database().await;
    let url = with_password(&url, CANARY);
    server.stop();
    let (code, _, err) = command(&["migrate"], &url).await;
    assert_eq!(code, Some(3), "{err}");
    let ports = PortBlock::take();
    let gm = Client::new(ports.first());
    let process = serve(ports.first(), &url, NO_REDIS);
    until("the service to wait", || async {
        let waits = |line: &String| line.contains("waiting for the database");
        process.output().iter().any(waits).then_some(())
    })
    .await;
    assert_eq!(gm.get("/healthz").await, None, "it serves without a database");
    server.restart().await;
    until("the service to be ready", || gm.get("/readyz")).await;
    let version = json!({ "version": "1.0.0", "image_ref": "galaxy/engine:1.0.0", "options": {} });
    post(&gm, "/api/v1/internal/engine-versions", version).await;
    let (code, output) = process.interrupt().await.expect("it ends");
    assert_eq!(code, Some(0), "{output:#?}");
    keeps_quiet(&output);
}
