//! The neighbours as programs: what they say of themselves, how they end, and how they are told to
//! misbehave.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::{net::SocketAddr, process::Stdio, time::Duration};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Scratch};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// Every wait ends by then, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galaxy-neighbour"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

struct Running {
    child: Child,
    /// Kept open: a program whose output nobody takes ends otherwise.
    _stderr: Option<Lines<BufReader<ChildStderr>>>,
    _stdout: Option<Lines<BufReader<ChildStdout>>>,
    address: SocketAddr,
}

async fn bounded<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("in time")
}

/// Starts a neighbour that logs where it listens.
async fn start(args: &[&str], variables: &[(&str, &str)]) -> Running {
    let mut command = program();
    let mut child =
        command.args(args).envs(variables.iter().copied()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = bounded(async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if let Some((_, address)) = line.split_once("listening address=") {
                return address.parse().expect("an address");
            }
        }
    })
    .await;
    Running { child, _stderr: Some(lines), _stdout: None, address }
}

/// Starts engines, which say so on standard output.
async fn start_engines(args: &[&str]) -> Running {
    let mut child = program().arg("engine").args(args).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = bounded(lines.next_line()).await.unwrap().expect("it listens");
    let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    Running { child, _stderr: None, _stdout: Some(lines), address }
}

impl Running {
    async fn ends_in_order(mut self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let told = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(told.success());
        let status = bounded(self.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "after {signal}");
    }
}

#[tokio::test]
async fn every_command_says_what_it_takes_and_refuses_anything_else() {
    for command in ["engine", "lobby", "rtm", "gateway", "notification"] {
        let help = bounded(program().args([command, "--help"]).output()).await.unwrap();
        assert_eq!(help.status.code(), Some(0), "{command}");
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains("--listen") && help.contains("--log"), "{command}: {help}");
        let wrong = bounded(program().args([command, "--nonsense"]).output()).await.unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{command}");
    }
}

#[tokio::test]
async fn a_password_that_makes_no_sense_is_not_repeated() {
    let url = "redis://:hush-canary@no-port";
    let mut command = program();
    command.args(["notification"]).env("NEIGHBOUR_REDIS_URL", url);
    let output = bounded(command.output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--redis-url") && !said.contains("hush-canary"), "{said}");
}

/// Also where what they need is out of reach: each serves, and ends when it is told to.
#[tokio::test]
async fn each_ends_in_order_without_redis() {
    let redis = format!("redis://{NOWHERE}");
    let gm = format!("http://{NOWHERE}");
    let redis = [("NEIGHBOUR_REDIS_URL", redis.as_str())];
    for (args, variables, signal) in [
        (vec!["lobby", "--gm-url", &gm], &redis[..], "-TERM"),
        (vec!["rtm"], &redis[..], "-INT"),
        (vec!["notification"], &redis[..], "-TERM"),
        (vec!["gateway", "--gm-url", &gm], &[("NEIGHBOUR_PLAYERS", "alice=a")][..], "-INT"),
    ] {
        let running = start(&args, variables).await;
        let client = Client::new(running.address);
        assert_eq!(client.get("/healthz").await.0, StatusCode::OK, "{args:?}");
        // Told to be unavailable it is, and still listens to reason.
        let (status, _) = client.post("/_misbehave", json!({ "is_unavailable": true })).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{args:?}");
        let (status, refusal) = client.get("/healthz").await;
        assert_eq!(
            (status.as_u16(), &refusal["error"]["code"]),
            (503, &json!("service_unavailable"))
        );
        let (status, plan) = client.get("/_misbehave").await;
        assert_eq!((status, &plan["is_unavailable"]), (StatusCode::OK, &json!(true)));
        let (status, _) = client.post("/_misbehave", json!({ "is_unheard_of": 1 })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{args:?}");
        client.post("/_misbehave", json!({})).await;
        assert_eq!(client.get("/healthz").await.0, StatusCode::OK, "{args:?}");
        running.ends_in_order(signal).await;
    }
}

#[tokio::test]
async fn the_gateway_knows_its_players_and_remembers_what_they_asked() {
    let gm = format!("http://{NOWHERE}");
    let players = [("NEIGHBOUR_PLAYERS", "alice=token-a,bob=token-b")];
    let running = start(&["gateway", "--gm-url", &gm], &players).await;
    let client = Client::new(running.address);
    let (status, refusal) = client.get("/api/v1/games/g/reports/0").await;
    assert_eq!((status.as_u16(), &refusal["error"]["code"]), (401, &json!("unauthenticated")));
    let (status, log) = client.get("/_log").await;
    assert_eq!(status, StatusCode::OK);
    let wanted = json!([{
        "user_id": null, "request": "GET /api/v1/games/g/reports/0",
        "status": 401, "code": "unauthenticated",
    }]);
    assert_eq!(log, wanted);
    assert_eq!(client.get("/api/v1/games/g").await.0, StatusCode::NOT_FOUND);
    let (status, _) = client.post("/api/v1/games/g/orders", json!({ "commands": [] })).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    running.ends_in_order("-TERM").await;
}

/// A run of ports that nobody uses at this moment.
fn free_ports(count: u16) -> u16 {
    let start = 40_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let starts = (0..200).map(|n| 40_000 + (start - 40_000 + n * count) % 20_000);
    starts.into_iter().find(|first| (*first..first + count).all(is_free)).expect("free ports")
}

/// Many engines in one process: each has a port, a game and faults of its own, and keeps its game
/// when the process is killed.
#[tokio::test]
async fn many_engines_share_a_process_and_nothing_else() {
    let scratch = Scratch::new("many");
    let dir = scratch.path().to_str().unwrap().to_owned();
    let first = free_ports(3);
    let ports = format!("{first}..{}", first + 2);
    let args = ["--ports", &ports, "--state-dir", &dir];
    let mut running = start_engines(&args).await;
    let engine = |n: u16| Client::new(SocketAddr::from(([127, 0, 0, 1], first + n)));
    let races = json!({ "races": [{ "race_name": "A" }, { "race_name": "B" }] });
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..2 {
        let (status, state) = engine(n).post("/api/v1/admin/init", races.clone()).await;
        assert_eq!(status, StatusCode::OK, "{state}");
        ids.insert(state["id"].to_string());
    }
    assert_eq!(ids.len(), 2, "each has a game of its own");
    engine(0).post("/_misbehave", json!({ "fail_next": 9 })).await;
    assert_eq!(engine(0).get("/api/v1/admin/status").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(engine(1).get("/api/v1/admin/status").await.0, StatusCode::OK);
    assert_eq!(engine(2).get("/api/v1/admin/status").await.0, StatusCode::CONFLICT);
    let turn = "/api/v1/admin/turn?expected_turn=0";
    assert_eq!(engine(1).send(Method::PUT, turn, None).await.0, StatusCode::OK);

    bounded(running.child.kill()).await.unwrap();
    let running = start_engines(&args).await;
    let turns: Vec<Value> = [
        engine(0).get("/api/v1/admin/status").await.1["turn"].clone(),
        engine(1).get("/api/v1/admin/status").await.1["turn"].clone(),
    ]
    .into();
    assert_eq!(turns, [0, 1]);
    running.ends_in_order("-TERM").await;

    for wrong in ["5", "9..8", "0..3", "a..b", "1..70000"] {
        let output = bounded(program().args(["engine", "--ports", wrong]).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
