//! The command itself: what it prints and how it ends.

use integration::harness::program;
use peers::engine::EngineOptions;
use serde_json::Value;
use tokio::process::Command;

use crate::rig::{GAME, engine, lobby};

async fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program()).args(args).output().await.expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&told).into_owned())
}

#[tokio::test]
async fn how_it_ends_says_what_was_found() {
    let good = engine(EngineOptions::default()).await;
    let url = format!("http://{}/", good.address);
    let (code, told) = run(&["check", "engine", &url]).await;
    assert_eq!(code, Some(0), "{told}");

    // It has a game now.
    let (code, told) = run(&["check", "engine", &url]).await;
    assert_eq!(code, Some(2), "{told}");

    let unguarded = EngineOptions { honours_expected_turn: false, ..EngineOptions::default() };
    let bad = engine(unguarded).await;
    let (code, told) = run(&["check", "engine", &format!("http://{}", bad.address)]).await;
    assert_eq!(code, Some(1), "{told}");

    for args in [
        vec!["check", "engine", "https://engine:8080"],
        vec!["check", "engine", &url, "--race", "A", "--race", "A"],
        vec!["check", "engine", &url, "--command", "[]"],
        vec!["check", "lobby", &url],
    ] {
        let (code, told) = run(&args).await;
        assert_eq!(code, Some(2), "{told}");
    }
    // Nobody listens on the discard port.
    for args in [
        vec!["check", "engine", "http://127.0.0.1:9"],
        vec!["check", "lobby", "http://127.0.0.1:9", "--game", "g"],
        vec!["check", "rtm", "http://127.0.0.1:9", "--game", "g"],
    ] {
        let (code, told) = run(&args).await;
        assert_eq!(code, Some(3), "{told}");
    }
}

#[tokio::test]
async fn programs_get_an_array_of_rules() {
    let lobby = lobby().await;
    let url = format!("http://{}", lobby.address);
    let (code, told) = run(&["check", "lobby", &url, "--game", GAME, "--output", "json"]).await;
    assert_eq!(code, Some(0), "{told}");
    let rules: Vec<Value> = serde_json::from_str(&told).expect("an array");
    assert!(rules.iter().any(|rule| rule["id"] == "lobby.game.unknown" && rule["level"] == "must"));
    assert!(rules.iter().all(|rule| rule["result"] == "pass"), "{told}");

    let unknown = ["check", "lobby", &url, "--game", "aurora-8", "--output", "json"];
    let (code, told) = run(&unknown).await;
    assert_eq!(code, Some(1), "{told}");
    let rules: Vec<Value> = serde_json::from_str(&told).expect("an array");
    let known = rules.iter().find(|rule| rule["id"] == "lobby.members.known").expect("it is there");
    assert_eq!(known["result"], "fail");
    assert_eq!(known["evidence"][0]["status"], 404);
    assert!(known["evidence"][0]["request"].as_str().expect("a text").contains("/aurora-8/"));
}

#[tokio::test]
async fn people_get_a_line_for_each_rule_and_the_evidence() {
    let lobby = lobby().await;
    let url = format!("http://{}", lobby.address);
    let (_, told) = run(&["check", "lobby", &url, "--game", "aurora-8"]).await;
    for expected in [
        "FAIL  lobby.members.known",
        "ok    lobby.game.unknown",
        "GET /api/v1/internal/games/aurora-8/memberships",
        "1 broken, 0 warnings",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[tokio::test]
async fn the_help_says_what_it_does_to_the_neighbour() {
    let (_, told) = run(&["check", "engine", "--help"]).await;
    assert!(told.contains("CHANGES IT"), "{told}");
    let (_, told) = run(&["check", "rtm", "--help"]).await;
    assert!(told.contains("STOPS"), "{told}");
}
