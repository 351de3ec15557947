//! The log of a game, why it is as it is, and when a schedule fires.

use serde_json::{Value, json};
use service::http::HttpSettings;

use crate::client::Server;
use crate::contract::conforms;
use crate::fake::Fake;

const RUNTIMES: &str = "/api/v1/internal/runtimes";
const PREVIEW: &str = "/api/v1/internal/schedules/preview";

#[tokio::test]
async fn the_log_is_shown_newest_first() {
    let server = Server::start().await;
    let answer = server.call("GET", &format!("{RUNTIMES}/aurora-7/operations")).await;
    conforms("internalListOperations", &answer);
    let page = answer.json();
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(
        page["items"][0],
        json!({
            "operation_id": "00000000-0000-0000-0000-00000000005a",
            "kind": "stop",
            "source": "admin",
            "request_id": "req-7f31",
            "outcome": "open",
            "error_code": null,
            "error_message": null,
            "started_at": "2026-03-01T18:00:00.004Z",
            "finished_at": null,
        })
    );
    assert_eq!(
        page["items"][1],
        json!({
            "operation_id": "00000000-0000-0000-0000-000000000011",
            "kind": "tick",
            "source": "game_master",
            "request_id": null,
            "outcome": "failed",
            "error_code": "engine_unreachable",
            "error_message": "no answer within 30 s",
            "started_at": "2026-03-01T18:00:00.004Z",
            "finished_at": "2026-03-01T18:00:30.011Z",
        })
    );
    let outcomes: Vec<_> = (0..4).map(|n| page["items"][n]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["open", "failed", "superseded", "succeeded"]);
    assert_eq!(server.asked(), ["operations aurora-7 None 51"]);
    server.stop().await;
}

#[tokio::test]
async fn the_log_is_walked_by_its_cursor() {
    let server = Server::start().await;
    let path = format!("{RUNTIMES}/aurora-7/operations");
    let (mut seen, mut cursor, mut pages) = (vec![], String::new(), vec![]);
    loop {
        let page = server.call("GET", &format!("{path}?limit=2{cursor}")).await.json();
        let items = page["items"].as_array().expect("items").clone();
        seen.extend(items.iter().map(|item| item["kind"].as_str().expect("a kind").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        pages.push(cursor.clone());
    }
    assert_eq!(seen, ["stop", "tick", "patch", "health_publish"]);
    assert_eq!(server.asked(), ["operations aurora-7 None 3", "operations aurora-7 Some(17) 3"]);
    // The cursor of one game is none of another, nor of another list.
    let cursor = pages.first().expect("a second page");
    for foreign in [
        format!("{RUNTIMES}/borealis/operations?limit=2{cursor}"),
        format!("{RUNTIMES}?limit=2{cursor}"),
    ] {
        server.call("GET", &foreign).await.expect_error(400, "invalid_request");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_game_is_explained() {
    let server = Server::start().await;
    let answer = server.call("GET", &format!("{RUNTIMES}/aurora-7/explain")).await;
    conforms("internalExplainRuntime", &answer);
    let shown = answer.json();
    assert_eq!(shown["game_id"], "aurora-7");
    assert_eq!(
        (&shown["runtime_status"], &shown["why"]),
        (&json!("running"), &json!("Turn 15 failed."))
    );
    let tick = json!({
        "due_at": "2026-03-01T18:00:00.000Z", "outcome": "failed", "turn": 15, "detail": "as told",
    });
    assert_eq!(shown["last_ticks"][0], tick);
    assert_eq!(shown["last_ticks"][2]["turn"], Value::Null);
    let outcomes: Vec<_> = (0..5).map(|n| shown["last_ticks"][n]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "fired", "missed", "forced", "held"]);
    assert_eq!(
        shown["next"],
        json!([
            {"what": "asks again", "at": "2026-03-01T18:01:30.000Z"},
            {"what": "anybody may help", "at": null},
        ])
    );
    let unknown = server.call("GET", &format!("{RUNTIMES}/unknown/explain")).await;
    conforms("internalExplainRuntime", &unknown);
    unknown.expect_error(404, "runtime_not_found");
    server.stop().await;
}

#[tokio::test]
async fn an_explanation_is_no_longer_than_the_contract_allows() {
    let mut fake = Fake::new();
    let ticks = &mut fake.explanation.last_ticks;
    *ticks = std::iter::repeat_n(ticks[0].clone(), 101).collect();
    let steps = &mut fake.explanation.next;
    *steps = std::iter::repeat_n(steps[0].clone(), 21).collect();
    let server = Server::with(fake, HttpSettings::default()).await;
    let answer = server.call("GET", &format!("{RUNTIMES}/aurora-7/explain")).await;
    conforms("internalExplainRuntime", &answer);
    assert_eq!(answer.json()["last_ticks"].as_array().map(Vec::len), Some(100));
    assert_eq!(answer.json()["next"].as_array().map(Vec::len), Some(20));
    server.stop().await;
}

#[tokio::test]
async fn a_schedule_is_previewed() {
    let server = Server::start().await;
    for (query, expression, count) in [
        ("expression=0%2018%20*%20*%201-5", "0 18 * * 1-5", 10),
        ("count=1&expression=0+18+*+*+*", "0 18 * * *", 1),
        ("count=100&expression=%40daily", "@daily", 100),
    ] {
        let answer = server.call("GET", &format!("{PREVIEW}?{query}")).await;
        conforms("internalPreviewSchedule", &answer);
        let shown = answer.json();
        assert_eq!((answer.status, &shown["expression"]), (200, &json!(expression)));
        assert_eq!(shown["occurrences"].as_array().map(Vec::len), Some(count));
        assert_eq!(shown["occurrences"][0], "2026-03-02T18:00:00.000Z");
        assert_eq!(server.asked(), [format!("preview {expression:?} {count}")]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_schedule_that_is_over_is_refused_and_not_shown_empty() {
    let server =
        Server::with(Fake { occurrences: 0, ..Fake::new() }, HttpSettings::default()).await;
    let answer = server.call("GET", &format!("{PREVIEW}?expression=0+0+1+1+*")).await;
    conforms("internalPreviewSchedule", &answer);
    answer.expect_error(400, "invalid_request");
    server.stop().await;
}
