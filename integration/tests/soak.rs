//! The short form of the soak: the same program, the same faults, fewer of each.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// The longest it may take on a machine that does other things as well.
const BOUND: Duration = Duration::from_secs(400);
/// Fewer kills of one kind of process try nothing.
const KILLS: u64 = 5;
/// Fewer turns neither: one of each game.
const TURNS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_games_lose_nothing_while_everything_is_killed() {
    let args = "--games 200 --guests 2 --instances 2 --minutes 0.5 --every 3.5 --patience 180 \
                --output json";
    let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"));
    soak.args(args.split_whitespace()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(BOUND, soak.output()).await.expect("it ends in time");
    let ended = ended.expect("it runs");
    let (said, told) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{told}\n{said}");
    let report: Value = serde_json::from_str(&said).expect("JSON");
    for victim in ["Game Master", "PostgreSQL", "Redis"] {
        let kills = report["kills"][victim].as_u64();
        assert!(kills.is_some_and(|kills| kills >= KILLS), "{victim}: {kills:?} kills\n{told}");
    }
    let turns = report["turns"].as_u64();
    assert!(turns.is_some_and(|turns| turns >= TURNS), "{turns:?} turns\n{told}");
    let wrong = report["wrong"].as_object().expect("the audit");
    assert!(wrong.values().all(|count| count == 0), "{said}");
    let confirmed = report["players"]["confirmed"].as_u64();
    assert!(confirmed.is_some_and(|orders| orders > 0), "no order was looked after\n{said}");
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_refused_before_anything_starts() {
    for args in [&["--games", "0"][..], &["--strikes", "earthquakes"], &["--minutes=-1"]] {
        let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"));
        soak.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(BOUND, soak.output()).await.expect("it ends in time");
        let ended = ended.expect("it runs");
        assert_ne!(ended.status.code(), Some(0), "{args:?}");
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
}
