//! The commands that ask no server.

use std::sync::Arc;

use serde_json::{Value, json};
use service::embedded::Embedded;
use service::ports::SystemClock;

use crate::{command, finish, gamemaster};

const NEEDED: [(&str, &str); 3] = [
    ("GAMEMASTER_LOBBY_URL", "http://127.0.0.1:1/"),
    ("GAMEMASTER_RTM_URL", "http://127.0.0.1:2"),
    ("GAMEMASTER_ENGINE_NETWORKS", "10.0.0.0/8,127.0.0.0/8"),
];

#[tokio::test]
async fn a_schedule_is_previewed() {
    let args = ["schedule", "0 18 * * 1-5", "--count", "3", "--from", "2026-03-05T19:00:00+01:00"];
    let run = gamemaster(&args).await;
    let lines = "TURNS\n2026-03-06 18:00:00Z  Friday\n2026-03-09 18:00:00Z  Monday\n\
                 2026-03-10 18:00:00Z  Tuesday\n";
    assert_eq!((run.code, &*run.out, &*run.err), (Some(0), lines, ""));
    let run = gamemaster(&[&args[..], &["-o", "json"]].concat()).await;
    let days = ["2026-03-06T18:00:00Z", "2026-03-09T18:00:00Z", "2026-03-10T18:00:00Z"];
    assert_eq!(run.json(), json!({ "expression": "0 18 * * 1-5", "occurrences": days }));

    let args = ["schedule", "*/20 * * * * *", "--count", "2", "--from", "2026-03-05T18:00:00Z"];
    let run = gamemaster(&[&args[..], &["--seconds"]].concat()).await;
    assert!(run.out.contains("18:00:20Z") && run.out.contains("18:00:40Z"), "{run:?}");
    let run = gamemaster(&args).await;
    assert_eq!(run.code, Some(2), "six fields are for development: {run:?}");
}

#[tokio::test]
async fn a_bad_schedule_is_shown_where_it_is_bad() {
    let run = gamemaster(&["schedule", "0 25 * * *"]).await;
    let lines = "gamemaster: hour (field 2, offset 2): \"25\" is out of range, expected 0 to 23\n  \
                 0 25 * * *\n    ^\n";
    assert_eq!((run.code, &*run.out, &*run.err), (Some(2), "", lines));
}

#[tokio::test]
async fn the_settings_in_force_are_shown() {
    let args = ["check", "config", "--listen", "127.0.0.1:7", "-o", "json"];
    let run = finish(command(&args).envs(NEEDED)).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let settings = run.json();
    let of = |name: &str| {
        let all = settings.as_array().expect("a list");
        let name = format!("GAMEMASTER_{name}");
        all.iter().find(|setting| setting["variable"] == name).cloned().expect("it is listed")
    };
    let shown = |setting: Value| (setting["value"].clone(), setting["source"].clone());
    assert_eq!(shown(of("LISTEN")), (json!("127.0.0.1:7"), json!("flag")));
    assert_eq!(shown(of("RTM_URL")), (json!("http://127.0.0.1:2"), json!("variable")));
    assert_eq!(shown(of("ENGINE_NETWORKS")).0, json!("10.0.0.0/8,127.0.0.0/8"));
    assert_eq!(shown(of("SCHEDULER_RESOLUTION")), (json!("minutes"), json!("default")));
    assert_eq!(shown(of("STORE_FILE")), (Value::Null, Value::Null));
}

#[tokio::test]
async fn a_bad_setting_is_named() {
    let check = |name: &'static str, value: &'static str| async move {
        finish(command(&["check", "config"]).envs(NEEDED).env(name, value)).await
    };
    for (name, value) in [
        ("GAMEMASTER_LISTEN", "nowhere"),
        ("GAMEMASTER_LISTEN", "8.8.8.8:1"),
        ("GAMEMASTER_ENGINE_NETWORKS", "10.0.0.0/99"),
        ("GAMEMASTER_SCHEDULER_RESOLUTION", "weeks"),
        ("GAMEMASTER_LOBBY_URL", "https://lobby"),
        ("GAMEMASTER_LISTNE", "127.0.0.1:1"),
    ] {
        let run = check(name, value).await;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{name} {run:?}");
        assert!(run.err.contains(name), "{name}: {}", run.err);
    }
    let run = gamemaster(&["check", "config"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    for (name, _) in NEEDED {
        assert!(run.err.contains(name), "{name}: {}", run.err);
    }
}

#[tokio::test]
async fn every_variable_is_listed() {
    let run = finish(command(&["config", "-o", "json"]).env("GAMEMASTER_TOKEN", "t")).await;
    let variables = run.json();
    let all = variables.as_array().expect("a list").clone();
    let of = |name: &str| all.iter().find(|v| v["variable"] == name).cloned().expect("listed");
    let listen = of("GAMEMASTER_LISTEN");
    assert_eq!(listen["default"], "127.0.0.1:8080");
    assert_eq!(listen["commands"], json!(["serve", "check config"]));
    assert_eq!(of("GAMEMASTER_LOBBY_URL")["required"], true);
    assert_eq!(of("GAMEMASTER_STREAMS_HEALTH_START")["choices"], json!(["beginning", "end"]));
    let token = of("GAMEMASTER_TOKEN");
    assert_eq!((&token["secret"], &token["set"]), (&json!(true), &json!(true)));
    assert_eq!(token["commands"], json!(["runtimes", "versions", "explain"]));
    assert_eq!(of("GAMEMASTER_URL")["set"], false);
    for variable in &all {
        assert!(variable["meaning"].as_str().is_some_and(|text| text.len() > 10), "{variable}");
    }

    let table = gamemaster(&["config"]).await;
    assert_eq!(table.out.lines().count(), all.len() + 1);
    let file = gamemaster(&["config", "-o", "env"]).await.out;
    for variable in &all {
        let (name, default) = (&variable["variable"], &variable["default"]);
        let (name, default) = (name.as_str().expect("text"), default.as_str().unwrap_or_default());
        assert!(file.contains(&format!("\n#{name}={default}\n")), "{name}: {file}");
    }
    assert!(file.lines().all(|line| line.is_empty() || line.starts_with('#')), "{file}");
}

#[tokio::test]
async fn a_shell_can_read_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = gamemaster(&["completions", shell]).await;
        assert_eq!((run.code, &*run.err), (Some(0), ""), "{shell}");
        assert!(run.out.contains("reconcile"), "{shell}: {}", run.out);
    }
    // The one that is here for certain takes it.
    let script = gamemaster(&["completions", "bash"]).await.out;
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-c", &format!("{script}\ncomplete -p gamemaster")]);
    let run = finish(&mut bash).await;
    assert_eq!((run.code, &*run.err), (Some(0), ""));
    assert!(run.out.contains("_gamemaster"), "{}", run.out);
}

#[tokio::test]
async fn a_reader_that_has_left_is_no_trouble() {
    for args in [&["config"][..], &["completions", "bash"], &["schedule", "* * * * *"], &["--help"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = command(args).stdout(writer).stderr(std::process::Stdio::piped()).spawn();
        let output = child.expect("it starts").wait_with_output().await.expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(0), ""), "{args:?}");
    }
}

#[tokio::test]
async fn the_outbox_of_a_file_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gm.redb");
    let file = path.to_str().expect("UTF-8");
    let run = gamemaster(&["outbox", "status", "--store-file", file]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("there is no file") && !path.exists(), "{}", run.err);

    let store = Embedded::open(&path, Arc::new(SystemClock)).expect("a new file");
    let run = gamemaster(&["outbox", "status", "--store-file", file]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("open already") && run.err.contains("stop it first"), "{}", run.err);
    drop(store);

    let run = gamemaster(&["outbox", "status", "--store-file", file, "-o", "json"]).await;
    let channel = |name| json!({ "channel": name, "newest_published": null });
    let channels = [channel("gm:lobby_events"), channel("notification:intents")];
    let empty = json!({ "waiting": 0, "oldest_waiting": null, "channels": channels });
    assert_eq!((run.code, run.json()), (Some(0), empty));

    let run = gamemaster(&["outbox", "status"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("GAMEMASTER_STORE_FILE"), "{}", run.err);
    let replay = ["outbox", "replay", "--store-file", file, "--channel", "lobby_events"];
    for more in
        [&["--yes"][..], &["--yes", "--all", "--after", "1-1"], &["--all"], &["--after", "x"]]
    {
        let run = gamemaster(&[&replay[..], more].concat()).await;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{more:?} {run:?}");
    }
}

#[tokio::test]
async fn what_is_no_name_is_refused_before_anybody_is_asked() {
    let nobody = ["--url", "http://127.0.0.1:9"];
    for args in [
        &["runtimes", "get", "a/b"][..],
        &["runtimes", "get", ".."],
        &["runtimes", "patch", "g", "v1", "--yes"],
        &["runtimes", "banish", "g", "..", "--yes"],
        &["runtimes", "stop", "g", "--yes", "--reason", "two\nlines"],
        &["runtimes", "stop", "g", "--yes"],
        &["runtimes", "force", "g", "--idempotency-key", "a b"],
        &["runtimes", "list", "--limit", "0"],
        &["versions", "update", "1.0.0"],
        &["versions", "add", "1.0.0", "no image"],
    ] {
        let run = gamemaster(&[args, &nobody].concat()).await;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{args:?} {run:?}");
    }
    let neither = gamemaster(&["versions", "update", "1.0.0"]).await;
    assert_eq!(neither.err, "gamemaster: --image or --turn-guard: must be set\n", "{neither:?}");
    for url in ["https://gm:1", "http://gm:1/api", "http://u:p@gm:1", "gm:1", "http://gm:1?x"] {
        let run = gamemaster(&["runtimes", "list", "--url", url]).await;
        assert_eq!(run.code, Some(2), "{url} {run:?}");
    }
}
