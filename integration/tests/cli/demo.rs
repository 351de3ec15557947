//! The commands against the real thing.

use integration::harness::{PATIENCE, PortBlock, Process, program, until};
use serde_json::json;

use crate::{Run, gamemaster};

const IMAGE: &str = "registry.example/galaxy/engine:1.0.2";

#[tokio::test]
async fn the_demo_can_be_operated_from_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("demo.redb");
    let data = data.to_str().expect("UTF-8");
    let ports = PortBlock::take();
    let listen = ports.first().to_string();
    let args = ["dev", "--listen", &listen, "--games", "2", "--turn-every", "30", "--data", data];
    let demo = Process::start(&program(), &args).expect("the program starts");
    let url = format!("http://{listen}");
    let remote = ["--url", &url, "--output", "json"];
    let run = |args: &'static [&'static str]| gamemaster_owned([args, &remote].concat());

    let before = until("the game to run", || async {
        let run = run(&["runtimes", "get", "aurora"]).await;
        let game = (run.code == Some(0)).then(|| run.json())?;
        (game["runtime_status"] == "running").then_some(game)
    })
    .await;
    let turn = |game: &serde_json::Value| game["current_turn"].as_u64().expect("a turn");
    // A regular turn may be under way.
    let after = until("a forced turn", || async {
        let run = run(&["runtimes", "force", "aurora"]).await;
        (run.code == Some(0)).then(|| run.json())
    })
    .await;
    assert!(turn(&after) > turn(&before), "{before} {after}");

    let list = run(&["runtimes", "list", "--status", "running"]).await;
    assert_eq!(list.json()[0]["game_id"], "aurora", "{list:?}");
    let table = gamemaster(&["runtimes", "list", "--url", &url]).await;
    assert_eq!(table.out.lines().count(), 3, "{table:?}");
    assert!(table.out.starts_with("GAME      STATUS "), "{table:?}");
    let unknown = run(&["runtimes", "get", "nobody"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("runtime_not_found"), "{unknown:?}");

    let added = run(&["versions", "add", "9.9.9", "galaxy/engine:9", "--no-turn-guard"]).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(added.json()["options"], json!({ "turn_guard": false }));
    let versions = run(&["versions", "list"]).await.json();
    let versions = versions.as_array().expect("a list");
    assert!(versions.iter().any(|version| version["version"] == "9.9.9"), "{versions:?}");

    operate_versions(&run).await;
    operate_games(&run, &url).await;

    // The store is the demo's as long as that runs.
    let replay = ["outbox", "replay", "--channel", "lobby_events", "--all", "--yes"];
    let replay = [&replay[..], &["--store-file", data, "-o", "json"]].concat();
    let locked = gamemaster(&replay).await;
    assert_eq!(locked.code, Some(1), "{locked:?}");
    let ended = tokio::time::timeout(PATIENCE, demo.interrupt()).await;
    let (code, output) = ended.expect("it ends").expect("it can be asked to");
    assert_eq!(code, Some(0), "{output:?}");

    let waiting = || async {
        let status = ["outbox", "status", "--store-file", data, "-o", "json"];
        gamemaster(&status).await.json()["waiting"].as_u64().expect("a number")
    };
    let before = waiting().await;
    let replayed = gamemaster(&replay).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let replayed = replayed.json()["replayed"].as_u64().expect("a number");
    assert!(replayed >= 2, "a registration and a turn were published");
    assert_eq!(waiting().await, before + replayed);
}

/// Adds a version, corrects and deprecates it; one that nobody uses is removed.
async fn operate_versions(run: &impl AsyncFn(&'static [&'static str]) -> Run) {
    let added = run(&["versions", "add", "1.0.2", "registry.example/galaxy/engine:wrong"]).await;
    assert_eq!((added.code, &added.json()["status"]), (Some(0), &json!("active")), "{added:?}");
    let updated = run(&["versions", "update", "1.0.2", "--image", IMAGE]).await;
    assert_eq!((updated.code, &updated.json()["image_ref"]), (Some(0), &json!(IMAGE)));
    let deleted = run(&["versions", "delete", "9.9.9", "--yes"]).await;
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    let gone = run(&["versions", "get", "9.9.9"]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("engine_version_not_found"), "{gone:?}");
}

/// Moves a game to the version that was added, looks at it, takes a race out of it and stops it.
async fn operate_games(run: &impl AsyncFn(&'static [&'static str]) -> Run, url: &str) {
    // A regular turn may be under way.
    let patched = until("a patch", || async {
        let patched = run(&["runtimes", "patch", "aurora", "1.0.2", "--yes"]).await;
        (patched.code == Some(0)).then_some(patched)
    })
    .await;
    assert_eq!(patched.json()["engine"]["version"], "1.0.2", "{patched:?}");
    assert!(patched.json()["engine"]["container_id"].is_string(), "{patched:?}");
    let used = run(&["versions", "delete", "1.0.2", "--yes"]).await;
    assert!(used.code == Some(1) && used.err.contains("engine_version_in_use"), "{used:?}");
    let deprecated = run(&["versions", "deprecate", "1.0.2"]).await;
    assert_eq!(deprecated.json()["status"], "deprecated", "{deprecated:?}");

    let reconciled = until("a game at rest", || async {
        let reconciled = run(&["runtimes", "reconcile", "aurora"]).await;
        (reconciled.code == Some(0)).then(|| reconciled.json())
    })
    .await;
    assert_eq!(reconciled["runtime_status"], "running", "{reconciled}");

    let nobody = run(&["runtimes", "banish", "aurora", "Nobody", "--yes"]).await;
    assert!(nobody.code == Some(1) && nobody.err.contains("race_not_found"), "{nobody:?}");
    // Twice: an engine that has banished a race says so again.
    for _ in 0..2 {
        let banished = until("a banishment", || async {
            let banished = run(&["runtimes", "banish", "aurora", "Betans", "--yes"]).await;
            (banished.code == Some(0)).then_some(banished)
        })
        .await;
        assert_eq!(banished.out, "", "{banished:?}");
    }

    // Whoever answers for what cannot be taken back is asked; here nobody is there to answer.
    let unasked = run(&["runtimes", "stop", "borealis", "--reason", "maintenance"]).await;
    assert_eq!((unasked.code, unasked.out.as_str()), (Some(2), ""), "{unasked:?}");
    let stopped = run(&["runtimes", "stop", "borealis", "--reason", "maintenance", "--yes"]).await;
    assert_eq!(stopped.json()["runtime_status"], "stopped", "{stopped:?}");
    let over = run(&["runtimes", "force", "borealis"]).await;
    assert!(over.code == Some(1) && over.err.contains("runtime_not_running"), "{over:?}");

    let operations = run(&["runtimes", "operations", "aurora"]).await.json();
    let operations = operations.as_array().expect("a list");
    for (kind, times) in [("register", 1), ("force", 1), ("patch", 1), ("banish", 2)] {
        let these = |row: &&serde_json::Value| {
            row["kind"] == kind && row["outcome"] == "succeeded" && row["request_id"].is_string()
        };
        assert!(operations.iter().filter(these).count() >= times, "{kind}: {operations:?}");
    }

    let told = run(&["explain", "borealis"]).await.json();
    let why = told["why"].as_str().expect("a reason");
    assert!(why.starts_with("The game was stopped at "), "{why}");
    let page = gamemaster(&["explain", "borealis", "--url", url]).await;
    assert!(page.out.contains("\nNothing more will happen by itself.\n"), "{page:?}");
    let page = gamemaster(&["explain", "aurora", "--url", url]).await;
    assert!(page.out.contains("\nWHAT COMES NEXT"), "{page:?}");
    assert!(page.out.contains(" begins turn "), "{page:?}");
}

async fn gamemaster_owned(args: Vec<&str>) -> crate::Run {
    gamemaster(&args).await
}
