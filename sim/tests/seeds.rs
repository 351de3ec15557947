//! Lives of whole clusters, each in a process of its own: what they promise holds, the same one is
//! the same again, and who looks on does notice when something is wrong.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation of a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn gm_sim(args: &[&str]) -> Output {
    // Beside the other binary, which lives the lives.
    assert!(Path::new(env!("CARGO_BIN_EXE_gm-sim-life")).exists());
    Command::new(env!("CARGO_BIN_EXE_gm-sim")).args(args).output().expect("it starts")
}

fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {error}"))
}

fn promises(report: &Value) -> Vec<&str> {
    let broken = report["broken"].as_array().expect("a list").iter();
    broken.filter_map(|broken| broken["promise"].as_str()).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// The plan of a seed, changed and lived.
    fn changed(&self, seed: &str, change: impl FnOnce(&mut Value)) -> (Output, Value) {
        let file = self.0.path().join("plan.json");
        let path = file.to_str().expect("a name");
        let how = ["--profile", "race", "--gms", "1", "--calm"];
        let written = gm_sim(&[&["run", "--seed", seed, "--plan", path], &how[..]].concat());
        assert!(written.status.success());
        let text = std::fs::read_to_string(&file).expect("a plan");
        let mut kept: Value = serde_json::from_str(&text).expect("JSON");
        change(&mut kept["plan"]);
        std::fs::write(&file, kept.to_string()).expect("a changed plan");
        let output = gm_sim(&["replay", path, "--json"]);
        let report = report(&output);
        (output, report)
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_in_another_process() {
    let twice = gm_sim(&["run", "--seed", "3", "--profile", "race", "--twice"]);
    assert!(twice.status.success(), "{}", String::from_utf8_lossy(&twice.stdout));
    let hash = |seed: &str| {
        let how = ["--profile", "race", "--calm", "--json"];
        let output = gm_sim(&[&["run", "--seed", seed], &how[..]].concat());
        assert_eq!(output.status.code(), Some(0));
        report(&output)["hash"].as_str().expect("a hash").to_owned()
    };
    assert_ne!(hash("3"), hash("4"));
}

#[test]
fn kept_plans_give_what_is_known_of_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let path = file.to_str().expect("a name");
        let kept: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).expect("text")).expect("JSON");
        let output = gm_sim(&["replay", path, "--json"]);
        let report = report(&output);
        match kept["breaks"].as_str() {
            None => assert_eq!(report["broken"], json!([]), "{path}"),
            Some(known) => assert!(promises(&report).contains(&known), "{path}: {report:#}"),
        }
    }
}

/// Each part that does not what it says is found out, under the promise that it breaks.
#[test]
fn whoever_looks_on_notices() {
    // It acts seconds after the engine was asked again, so that the turn that was asked for twice is
    // generated twice.
    let slow = json!([{
        "at_ms": 6_000,
        "for_ms": 4_000,
        "what": { "kind": "engine", "game": 0, "bad": { "how": "slow_before", "ms": 13_500 } },
    }]);
    // Lobby bars a player, and cannot say so.
    let unheard = json!([{
        "at_ms": 5_000,
        "for_ms": 25_000,
        "what": { "kind": "one_way", "from": "lobby", "to": "gm-0" },
    }]);
    let deed = |at_ms: i32, what: Value| json!({ "at_ms": at_ms, "gm": 0, "patience_ms": 15_000, "repeats": 0, "what": what });
    let block = deed(6_000, json!({ "kind": "block", "game": 0, "player": 0 }));
    let looks: Vec<Value> = (0..20)
        .map(|number| deed(8_000 + 1_000 * number, json!({ "kind": "get", "game": 0 })))
        .collect();
    // Enough that the commit that ends one of them is among those swallowed.
    let forces: Vec<Value> = (0..20)
        .map(|number| {
            json!({
                "at_ms": 3_000 + 1_300 * number,
                "gm": 0,
                "patience_ms": 15_000,
                "repeats": 1,
                "what": { "kind": "force", "game": 0 },
            })
        })
        .collect();
    for (sabotage, faults, promise) in [
        ("swallow_appends", json!([]), "messages_follow_commits"),
        ("repeat_appends", json!([]), "messages_follow_commits"),
        ("swallow_commits", json!([]), "only_what_is_durable_is_acknowledged"),
        ("forget_keys", json!([]), "a_repeat_gets_the_first_answer"),
        ("unguarded", slow, "no_turn_generated_twice"),
        ("believe_for_ever", unheard, "a_barred_member_is_refused"),
        ("show_the_past", json!([]), "answers_are_of_their_time"),
    ] {
        let (output, report) = Folder::new().changed("3", |plan| {
            plan["sabotage"] = json!(sabotage);
            plan["faults"] = faults.clone();
            plan["actions"] = match sabotage {
                "swallow_commits" | "forget_keys" => json!(forces),
                "believe_for_ever" => json!([block]),
                "show_the_past" => json!(looks),
                _ => json!([]),
            };
            plan["games"] = json!([{
                "id": "game-0",
                "start_ms": 500,
                "schedule": "*/2 * * * * *",
                "version": "1.0.0",
                "players": 1,
                "turn_limit": 5_000,
                "turn_ms": 20,
                "player_period_ms": 700,
                "player_patience_ms": 3_000,
            }]);
            plan["safety_ms"] = json!(30_000);
            plan["patience_ms"] = json!(40_000);
        });
        assert!(promises(&report).contains(&promise), "{sabotage}: {:#}", report["broken"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!report["story"].as_array().expect("a story").is_empty());
    }
}

#[test]
fn a_plan_is_refused_in_another_build() {
    let folder = Folder::new();
    let file = folder.0.path().join("plan.json");
    let path = file.to_str().expect("a name");
    let how = ["--profile", "race", "--gms", "1", "--calm"];
    assert!(gm_sim(&[&["run", "--seed", "4", "--plan", path], &how[..]].concat()).status.success());
    assert_eq!(gm_sim(&["replay", path]).status.code(), Some(0));
    let text = std::fs::read_to_string(&file).expect("a plan");
    let mut kept: Value = serde_json::from_str(&text).expect("JSON");
    kept["build"] = json!("000000000000");
    std::fs::write(&file, kept.to_string()).expect("a changed plan");
    let refused = gm_sim(&["replay", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("000000000000"));
    assert_eq!(gm_sim(&["replay", path, "--any-build"]).status.code(), Some(0));
    let refused = gm_sim(&["run", "--seed", "4", "--build", "000000000000"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_command_that_cannot_be_carried_out_says_so() {
    assert_eq!(gm_sim(&["replay", "no-such-file.json"]).status.code(), Some(2));
    assert_eq!(gm_sim(&["fuzz", "--seeds", "9..3"]).status.code(), Some(2));
    assert_eq!(gm_sim(&["run"]).status.code(), Some(2));
}
