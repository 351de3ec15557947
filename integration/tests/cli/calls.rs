//! Each command makes the call that the contract has for it, and shows the answer.

use serde_json::{Value, json};

use crate::fake::{Act, Fake, example};
use crate::gamemaster;

/// A command, the operation and the path it calls, and an example of the answer.
type Case = (&'static [&'static str], &'static str, &'static str, (u16, &'static str));

const CASES: &[Case] = &[
    (&["runtimes", "get", "aurora-7"], "internalGetRuntime", "runtimes/aurora-7", (200, "failed")),
    (
        &["runtimes", "force", "g"],
        "internalForceNextTurn",
        "runtimes/g/force-next-turn",
        (200, "running"),
    ),
    (
        &["runtimes", "stop", "g", "--reason", "no \"players\"", "--yes"],
        "internalStopRuntime",
        "runtimes/g/stop",
        (200, "running"),
    ),
    (
        &["runtimes", "patch", "g", "1.4.3", "-y"],
        "internalPatchRuntime",
        "runtimes/g/patch",
        (200, "running"),
    ),
    (
        &["runtimes", "reconcile", "g"],
        "internalReconcileRuntime",
        "runtimes/g/reconcile",
        (200, "running"),
    ),
    (
        &["runtimes", "banish", "g", "Zoral/ Чужие?", "--yes"],
        "internalBanishRace",
        "games/g/races/Zoral%2F%20%D0%A7%D1%83%D0%B6%D0%B8%D0%B5%3F/banish",
        (204, ""),
    ),
    (
        &["explain", "aurora-7"],
        "internalExplainRuntime",
        "runtimes/aurora-7/explain",
        (200, "failed_turn"),
    ),
    (
        &["versions", "get", "1.4.2"],
        "internalGetEngineVersion",
        "engine-versions/1.4.2",
        (200, "active"),
    ),
    (
        &["versions", "add", "2.0.0-rc.1", "galaxy/engine:2", "--no-turn-guard"],
        "internalCreateEngineVersion",
        "engine-versions",
        (201, "active"),
    ),
    (
        &["versions", "update", "1.4.2", "--image", "galaxy/engine:3", "--turn-guard", "false"],
        "internalUpdateEngineVersion",
        "engine-versions/1.4.2",
        (200, "active"),
    ),
    (
        &["versions", "deprecate", "1.4.2"],
        "internalDeprecateEngineVersion",
        "engine-versions/1.4.2/deprecate",
        (200, "active"),
    ),
    (
        &["versions", "delete", "1.4.2", "--yes"],
        "internalDeleteEngineVersion",
        "engine-versions/1.4.2",
        (204, ""),
    ),
];

#[tokio::test]
async fn every_command_calls_its_operation() {
    for (args, operation, path, (status, name)) in CASES {
        for output in ["table", "json"] {
            let fake = Fake::start([Act::example(operation, *status, name)]).await;
            let url = fake.url();
            let args = [args, &["--output", output, "--url", &url][..]].concat();
            let run = gamemaster(&args).await;
            assert_eq!((run.code, &*run.err), (Some(0), ""), "{args:?} {run:?}");
            fake.only().must_be(operation, &format!("/api/v1/internal/{path}"));
            assert_eq!(run.out.is_empty(), output == "json" && *status == 204, "{run:?}");
            if output == "json" && *status != 204 {
                assert_eq!(run.json(), example(operation, *status, name), "{args:?}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_say_what_was_asked_for() {
    for (args, body) in [
        (
            &["runtimes", "stop", "g", "--reason", "no \"players\""][..],
            json!({ "reason": "no \"players\"" }),
        ),
        (&["runtimes", "patch", "g", "1.4.3"], json!({ "version": "1.4.3" })),
        (
            &["versions", "add", "1.0.0", "a/b:1"],
            json!({ "version": "1.0.0", "image_ref": "a/b:1", "options": { "turn_guard": true } }),
        ),
        (
            &["versions", "add", "1.0.0", "a/b:1", "--no-turn-guard"],
            json!({ "version": "1.0.0", "image_ref": "a/b:1", "options": { "turn_guard": false } }),
        ),
        (&["versions", "update", "1.0.0", "--image", "a/b:2"], json!({ "image_ref": "a/b:2" })),
        (
            &["versions", "update", "1.0.0", "--turn-guard", "true"],
            json!({ "options": { "turn_guard": true } }),
        ),
    ] {
        let fake = Fake::start([Act::refusal(409, "conflict", "no")]).await;
        let url = fake.url();
        let yes: &[&str] = if args[0] == "runtimes" { &["--yes"] } else { &[] };
        gamemaster(&[args, yes, &["--url", &url][..]].concat()).await;
        let sent: Value = serde_json::from_str(&fake.only().body).expect("JSON");
        assert_eq!(sent, body, "{args:?}");
    }
}

fn runtimes(ids: std::ops::Range<usize>) -> Vec<Value> {
    let one = example("internalGetRuntime", 200, "running");
    let named = |n: usize| {
        let mut runtime = one.clone();
        runtime["game_id"] = json!(format!("game-{n:04}"));
        runtime
    };
    ids.map(named).collect()
}

fn page(items: &[Value], next: Option<&str>) -> Act {
    Act::json(200, &json!({ "items": items, "next_cursor": next }))
}

#[tokio::test]
async fn a_list_is_read_to_its_end() {
    let all = runtimes(0..403);
    let pages = || {
        [page(&all[..200], Some("c-1")), page(&all[200..400], Some("c_2")), page(&all[400..], None)]
    };
    let fake = Fake::start(pages()).await;
    let url = fake.url();
    let args = ["runtimes", "list", "--status", "generation_failed", "-o", "json", "--url", &url];
    let run = gamemaster(&args).await;
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(run.json(), Value::Array(all.clone()));
    let path = "/api/v1/internal/runtimes?status=generation_failed&limit=200";
    let paths = [path.to_owned(), format!("{path}&cursor=c-1"), format!("{path}&cursor=c_2")];
    for (seen, path) in fake.seen().iter().zip(&paths) {
        seen.must_be("internalListRuntimes", path);
    }
    assert_eq!(fake.seen().len(), 3);

    let fake = Fake::start(pages()).await;
    let run = gamemaster(&["runtimes", "list", "--url", &fake.url()]).await;
    assert_eq!(run.out.lines().count(), 404, "a heading and the games: {run:?}");
    assert!(run.out.lines().nth(403).is_some_and(|line| line.starts_with("game-0402 ")));
}

#[tokio::test]
async fn a_list_ends_where_it_was_told_to() {
    let all = runtimes(0..250);
    let fake = Fake::start([page(&all[..200], Some("c")), page(&all[200..210], Some("d"))]).await;
    let args = ["runtimes", "list", "-o", "json", "--limit", "210", "--url", &fake.url()];
    let run = gamemaster(&args).await;
    assert_eq!(run.json(), Value::Array(all[..210].to_vec()));
    assert!(run.err.contains("there are more than these 210"), "{}", run.err);
    assert!(fake.seen()[1].path.ends_with("limit=10&cursor=c"), "{:?}", fake.seen()[1]);

    // A server that leads nowhere does not keep us.
    let circle = || page(&all[..1], Some("c"));
    let fake = Fake::start([circle(), circle(), circle(), circle()]).await;
    let run = gamemaster(&["runtimes", "list", "--url", &fake.url()]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn other_lists_are_tables_too() {
    let fake = Fake::start([Act::example("internalListOperations", 200, "page")]).await;
    let args = ["runtimes", "operations", "aurora-7", "--limit", "5", "--url", &fake.url()];
    let run = gamemaster(&args).await;
    let path = "/api/v1/internal/runtimes/aurora-7/operations?limit=5";
    fake.only().must_be("internalListOperations", path);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    for word in ["2026-03-01 18:00:00Z", "tick", "game_master", "failed", "30.007 s"] {
        assert!(lines[2].contains(word), "{word}: {}", lines[2]);
    }
    assert!(lines[2].contains("engine_unreachable: no answer within 30 s"), "{}", lines[2]);

    let fake = Fake::start([Act::example("internalListEngineVersions", 200, "page")]).await;
    let run = gamemaster(&["versions", "list", "--url", &fake.url()]).await;
    let path = "/api/v1/internal/engine-versions?limit=200";
    fake.only().must_be("internalListEngineVersions", path);
    assert!(run.out.starts_with("VERSION  STATUS  TURN GUARD  IMAGE"), "{}", run.out);
    assert!(
        run.out.contains("\n1.4.2    active  yes         registry.example/galaxy"),
        "{}",
        run.out
    );
}

#[tokio::test]
async fn an_explanation_reads_as_a_page() {
    let fake = Fake::start([Act::example("internalExplainRuntime", 200, "failed_turn")]).await;
    let run = gamemaster(&["explain", "aurora-7", "--url", &fake.url()]).await;
    // How far off an instant is depends on the day of the test.
    let mut page = String::new();
    for line in run.out.lines() {
        let (before, after) = line.split_once(" (").unwrap_or((line, ""));
        let after = after.split_once(")").map_or("", |(_, after)| after.trim_start());
        let gap = if after.is_empty() { "" } else { " " };
        page += &format!("{before}{gap}{after}\n");
    }
    let expected = "\
Game    aurora-7
Status  generation_failed
Why     Turn 15 failed at 2026-03-01T18:00:30Z with engine_unreachable: no answer within 30 s.

LAST TICKS                        OUTCOME  TURN  DETAIL
2026-03-01 18:00:00Z failed   15    engine_unreachable: no answer within 30 s
2026-02-28 18:00:00Z fired    14    generated in 0.9 s
2026-02-27 18:00:00Z missed   -     Game Master was not running; no catch-up turn was due

WHAT COMES NEXT
2026-03-01 18:01:30Z asks the engine where it stands
-                                 an operator may force the turn or reconcile at any time
";
    let squeezed = |text: &str| {
        let lines = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(squeezed(&page).replace(" (try 2 of 5)", ""), squeezed(expected), "{}", run.out);
    assert!(run.out.contains("asks the engine where it stands (try 2 of 5)"), "{}", run.out);
}

#[tokio::test]
async fn a_game_is_shown_with_its_troubles() {
    let fake = Fake::start([Act::example("internalGetRuntime", 200, "failed")]).await;
    let run = gamemaster(&["runtimes", "get", "aurora-7", "--url", &fake.url()]).await;
    let lines: Vec<&str> = run.out.lines().collect();
    let has = |name: &str, value: &str| {
        let found = lines.iter().find(|line| line.starts_with(name));
        let shown = found.and_then(|line| line.strip_prefix(name)).map(str::trim_start);
        assert!(shown.is_some_and(|shown| shown.starts_with(value)), "{name} {value}: {}", run.out);
    };
    has("Status", "generation_failed");
    has("Pending", "stop: abandoned by its players");
    has("Work", "probe");
    has("Last failure", "engine_unreachable: no answer within 30 s");
    has("Next try", "2026-03-02 18:01:30Z (");
    has("Next turn", "2026-03-02 18:00:00Z (");
    has("Engine", "1.4.2, without turn guard");
    assert!(
        run.out.contains("after 2 tries") && run.out.contains("takes its place"),
        "{}",
        run.out
    );
}
