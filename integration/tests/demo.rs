//! The demo, as README shows it.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Method, StatusCode};
use integration::contracts;
use integration::harness::{Client, PATIENCE, PortBlock, Process, program, until};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const RUNTIME: &str = "/api/v1/internal/runtimes/aurora";

/// Asks, and holds the answer against the contract.
async fn ask(
    gm: &Client,
    operation: &str,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> (StatusCode, Value) {
    let (status, body) = gm.call(method, path, headers, body).await.expect("an answer");
    let check = contracts::validator_for(operation, status.as_u16()).expect("documented");
    let text = if body.is_null() { String::new() } else { body.to_string() };
    // The headers are looked at by the service's own tests, over raw sockets.
    let headers = |_: &str| Some("application/json".to_owned());
    let wrong = check.violations(headers, text.as_bytes());
    assert!(wrong.is_empty(), "{operation} {status}: {wrong:?}\n{text}");
    (status, body)
}

/// How long a demo with troubles may take: some of its waits are Game Master's own, and the machine
/// may be loaded.
const WHOLE_GAME: Duration = Duration::from_secs(300);

fn seconds_of(at: &Value) -> i64 {
    let at: machine::Timestamp = serde_json::from_value(at.clone()).expect("an instant");
    at.timestamp()
}

#[tokio::test]
async fn it_shows_what_the_readme_says() {
    let ports = PortBlock::take();
    let listen = ports.first();
    let gm = Client::new(listen);
    let lobby = Client::new((listen.ip(), listen.port() + 1).into());
    let args = ["dev", "--listen", &listen.to_string(), "--games", "1", "--turn-every", "5"];
    let demo = Process::start(&program(), &args).expect("the program starts");
    until("a turn to be generated", || async {
        let runtime = gm.get(RUNTIME).await?;
        let plays = runtime["runtime_status"] == "running" && runtime["current_turn"] != 0;
        plays.then_some(())
    })
    .await;

    // A turn now, and the next regular one is skipped.
    let get = (Method::GET, RUNTIME);
    let (_, before) = ask(&gm, "internalGetRuntime", get.clone(), &[], None).await;
    let force = format!("{RUNTIME}/force-next-turn");
    let after = until("a turn between two regular ones", || async {
        let call = (Method::POST, force.as_str());
        let (status, after) = ask(&gm, "internalForceNextTurn", call, &[], None).await;
        (status == StatusCode::OK).then_some(after)
    })
    .await;
    let turn = |runtime: &Value| runtime["current_turn"].as_u64().expect("a turn");
    assert!(turn(&after) > turn(&before));
    let replaced = seconds_of(&before["next_generation_at"]);
    assert!(seconds_of(&after["next_generation_at"]) >= replaced + 5, "{before} {after}");

    // A command, with the player's race as its actor and never the payload's.
    let path = "/api/v1/internal/games/aurora/commands";
    let alice = [("X-User-Id", "alice")];
    let command = json!({ "commands": [{ "type": "build", "planet": 0 }] });
    until("a command between two turns", || async {
        let call = (Method::POST, path);
        let (status, _) = ask(&gm, "internalExecuteCommands", call, &alice, Some(&command)).await;
        (status == StatusCode::OK).then_some(())
    })
    .await;
    let claims = json!({ "commands": [{ "type": "build", "planet": 0, "actor": "Betans" }] });
    let call = (Method::POST, path);
    let (status, refusal) = ask(&gm, "internalExecuteCommands", call, &alice, Some(&claims)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refusal["error"]["code"], "invalid_request");

    // Who is removed at Lobby is refused from then on.
    let report = "/api/v1/internal/games/aurora/reports/1";
    let bob = [("X-User-Id", "bob")];
    let (status, _) = ask(&gm, "internalGetReport", (Method::GET, report), &bob, None).await;
    assert_eq!(status, StatusCode::OK);
    let remove = "/api/v1/games/aurora/members/bob/remove";
    let (status, _) = lobby.call(Method::POST, remove, &[], None).await.expect("an answer");
    assert_eq!(status, StatusCode::OK);
    let (status, refusal) = ask(&gm, "internalGetReport", (Method::GET, report), &bob, None).await;
    assert_eq!((status, &refusal["error"]["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")));

    for (operation, path) in [
        ("internalListRuntimes", "/api/v1/internal/runtimes?status=running&limit=1"),
        ("internalGameLiveness", "/api/v1/internal/games/aurora/liveness"),
        ("internalListEngineVersions", "/api/v1/internal/engine-versions"),
        ("internalGetEngineVersion", "/api/v1/internal/engine-versions/1.0.0"),
        (
            "internalResolveEngineVersionImageRef",
            "/api/v1/internal/engine-versions/1.0.0/image-ref",
        ),
        ("internalHealthz", "/healthz"),
        ("internalReadyz", "/readyz"),
    ] {
        let (status, _) = ask(&gm, operation, (Method::GET, path), &[], None).await;
        assert_eq!(status, StatusCode::OK, "{operation}");
    }

    until("a bot's command", || async {
        demo.output().iter().any(|line| line.contains("accepted")).then_some(())
    })
    .await;
    // Ctrl-C ends it, cleanly.
    let began = Instant::now();
    let (code, output) =
        timeout(PATIENCE, demo.interrupt()).await.expect("it ends").expect("it can be asked to");
    assert_eq!(code, Some(0), "{output:#?}");
    assert!(began.elapsed() < Duration::from_secs(10), "no drain deadline was hit");
    for line in ["registered in", "turn 1 generated in", "forced", "skips", "accepted", "stopping"]
    {
        assert!(output.iter().any(|l| l.contains(line)), "{line} is told: {output:#?}");
    }
}

/// The numbers of the troubles in lines that say so.
fn troubles(output: &[String], mark: &str) -> BTreeSet<u32> {
    let mark = format!("{mark} trouble ");
    let number = |line: &String| {
        let told = line.split_once(&mark)?.1;
        told.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    output.iter().filter_map(number).collect()
}

#[tokio::test]
async fn among_misbehaving_neighbours_nothing_is_lost_and_a_loss_would_be_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("demo.redb");
    let ports = PortBlock::take();
    let listen = ports.first().to_string();
    let data_text = data.to_str().expect("a path in UTF-8");
    let mut args = vec!["dev", "--listen", &listen, "--data", data_text, "--turn-every", "1"];
    args.extend(["--turn-limit", "25", "--exit-when-finished"]);
    args.extend(["--faults", "7", "--faults-every", "1"]);
    let demo = Process::start(&program(), &args).expect("the program starts");
    let (code, output) = timeout(WHOLE_GAME, demo.wait()).await.expect("it ends").expect("it runs");
    assert_eq!(code, Some(0), "{output:#?}");
    let told = |text: &str| output.iter().any(|line| line.contains(text));
    assert!(told("from seed 7"), "{output:#?}");
    assert!(told("Nothing lost, nothing doubled: "), "{output:#?}");
    assert!(told(" turns of 3 games"), "{output:#?}");
    let begun = troubles(&output, ">>");
    assert!(begun.len() >= 5, "{output:#?}");
    assert_eq!(begun, troubles(&output, "<<"), "each ends: {output:#?}");
    assert!(told(&format!("Troubles: {} of ", begun.len())), "{output:#?}");

    // An engine that says it generated a turn twice is believed, not Game Master.
    let file = folder.path().join("demo.redb.d/engines/borealis.json");
    let text = std::fs::read_to_string(&file).expect("the engine's own file");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    let log = state["log"].as_array_mut().expect("a log");
    let first = log.first().expect("a turn").clone();
    log.insert(0, first);
    std::fs::write(&file, state.to_string()).expect("it can be written");
    let demo = Process::start(&program(), &args).expect("the program starts");
    let (code, output) = timeout(WHOLE_GAME, demo.wait()).await.expect("it ends").expect("it runs");
    assert_eq!(code, Some(1), "{output:#?}");
    let wrong = |line: &String| line.starts_with("WRONG  borealis: its engine generated [1, 1, ");
    assert!(output.iter().any(wrong), "{output:#?}");
    assert!(!output.iter().any(|line| line.contains("Nothing lost")), "{output:#?}");
}
