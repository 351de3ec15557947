//! `kill -9` in the middle of turns: no turn is lost, none is played twice, no event is missing or
//! out of order.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation of a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use integration::harness::{Client, PortBlock, Process, audit_streams, program, until};
use machine::Status;
use serde_json::Value;
use service::embedded::Embedded;
use service::ports::{Store, SystemClock};

const KILLS: usize = 10;
const GAMES: usize = 3;
const TURN_LIMIT: u32 = 24;

/// A Game Master with its neighbours, over its data.
fn start(data: &Path, listen: &str, more: &[&str]) -> Process {
    let (games, limit) = (GAMES.to_string(), TURN_LIMIT.to_string());
    let data = data.to_str().expect("a path in UTF-8");
    let mut args = vec!["dev", "--data", data, "--listen", listen, "--games", &games];
    // Turns take so long that most kills strike in the middle of some.
    args.extend(["--turn-every", "1", "--turn-latency-ms", "400", "--turn-limit", &limit]);
    args.extend(more);
    Process::start(&program(), &args).expect("the program starts")
}

async fn runtimes(gm: &Client) -> Option<Vec<Value>> {
    let list = gm.get("/api/v1/internal/runtimes").await?;
    list["items"].as_array().cloned()
}

fn is(runtime: &Value, status: &str) -> bool {
    runtime["runtime_status"] == status
}

/// The turns each engine generated, from its own log.
fn engine_turns(data: &Path, game: &str) -> Vec<u64> {
    let folder = format!("{}.d/engines/{game}.json", data.display());
    let text = std::fs::read_to_string(&folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let state: Value = serde_json::from_str(&text).expect("the engine's own file");
    let log = state["log"].as_array().unwrap_or_else(|| panic!("{folder} has a log")).clone();
    log.iter().map(|entry| entry["turn"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn the_games_go_on_and_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("demo.redb");
    let ports = PortBlock::take();
    let address = ports.first();
    let (listen, gm) = (address.to_string(), Client::new(address));
    let mut turns_seen: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 0..KILLS {
        let process = start(&data, &listen, &[]);
        // Alive again: every game that was there before is there, at no lower turn, and goes on.
        until("all games to move on", || async {
            let now = runtimes(&gm).await?;
            let moved = |runtime: &Value| {
                let game = runtime["game_id"].as_str().unwrap_or_default();
                let turn = runtime["current_turn"].as_u64().unwrap_or_default();
                let before = turns_seen.get(game).copied().unwrap_or(0);
                assert!(turn >= before, "{game} fell back from {before} to {turn}");
                turn > before || is(runtime, "finished")
            };
            (now.len() == GAMES && now.iter().all(moved)).then_some(())
        })
        .await;
        // In the middle of a turn of some game, another one each time.
        let victim = kill % GAMES;
        let last = until("a turn to be under way", || async {
            let now = runtimes(&gm).await?;
            let strikes = is(now.get(victim)?, "generation_in_progress");
            (strikes || now.iter().all(|rt| is(rt, "finished"))).then_some(now)
        })
        .await;
        for runtime in last {
            let game = runtime["game_id"].as_str().expect("an id").to_owned();
            turns_seen.insert(game, runtime["current_turn"].as_u64().expect("a turn"));
        }
        let output = process.kill().await.expect("it can be killed");
        assert!(!output.iter().any(|line| line.contains("panicked")), "{output:#?}");
    }
    let (code, output) =
        start(&data, &listen, &["--exit-when-finished"]).wait().await.expect("it runs");
    assert_eq!(code, Some(0), "{output:#?}");

    let store = Embedded::open(&data, Arc::new(SystemClock)).expect("the file opens");
    let records = store.list(None, None, 100).await.expect("the store answers");
    let told = audit_streams(&store).await.expect("the streams answer").expect("nothing is wrong");
    assert_eq!(records.len(), GAMES);
    for record in records {
        let game = record.game_id.as_str();
        assert_eq!(record.status(), Status::Finished, "{game}");
        let all: Vec<u64> = (1..=u64::from(record.current_turn)).collect();
        assert_eq!(engine_turns(&data, game), all, "{game}: what its engine generated");
        let told = &told[game];
        assert!(told.finished, "{game}: its end was told");
        let expected: Vec<u32> = (0..=record.current_turn).collect();
        assert_eq!(told.turns, expected, "{game}: what Lobby was told");
        let notified: Vec<u32> = told.notified.iter().copied().collect();
        assert_eq!(notified, expected[1..expected.len() - 1], "{game}: what players were told");
    }
    assert_eq!(store.outbox_backlog().await.expect("the store answers").waiting, 0);
}
