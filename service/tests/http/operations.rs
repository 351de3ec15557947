//! Each operation: what it asks of the application, and how it shows the answer.

use std::sync::Arc;

use serde_json::{Value, json};
use service::error::ServiceError;
use service::http::{HttpSettings, Readiness};
use service::ports::{SystemEntropy, VersionStatus};

use crate::client::{Server, json_request};
use crate::fake::{Fake, failed, lock};

const GAMES: &str = "/api/v1/internal/games";
const RUNTIMES: &str = "/api/v1/internal/runtimes";
const VERSIONS: &str = "/api/v1/internal/engine-versions";

const REGISTRATION: &str = r#"{
    "engine_endpoint": "http://engine-aurora-7.games:8080",
    "members": [{"user_id": "u1", "race_name": "Terrans"}, {"user_id": "u2", "race_name": "銀河"}],
    "target_engine_version": "1.4.2",
    "turn_schedule": "0 18 * * *"
}"#;

fn aurora() -> Value {
    json!({
        "game_id": "aurora-7",
        "runtime_status": "running",
        "revision": 31,
        "current_turn": 14,
        "engine": {
            "endpoint": "http://engine-aurora-7.games:8080",
            "version": "1.4.2",
            "image_ref": "registry.example/galaxy/engine:1.4.2",
            "container_id": "9f2c4d1be07a",
            "turn_guard": true,
        },
        "turn_schedule": "0 18 * * *",
        "next_generation_at": "2026-03-02T18:00:00.000Z",
        "skip_next_tick": true,
        "engine_health_summary": "healthy",
        "pending": {"kind": "stop", "reason": "abandoned"},
        "work": null,
        "tries": 0,
        "retry_at": null,
        "player_turn_stats": [{"user_id": "u1", "planets": 12, "population": 48200}],
        "last_failure": null,
        "created_at": "2026-02-15T09:30:00.000Z",
        "started_at": "2026-02-15T09:30:01.204Z",
        "updated_at": "2026-03-01T18:00:00.871Z",
        "stopped_at": null,
        "finished_at": null,
    })
}

fn version(version: &str) -> Value {
    json!({
        "version": version,
        "image_ref": format!("registry.example/galaxy/engine:{version}"),
        "options": {"turn_guard": true},
        "status": "active",
        "created_at": "2026-01-10T12:00:00.000Z",
        "updated_at": "2026-01-10T12:00:00.000Z",
    })
}

#[tokio::test]
async fn a_runtime_is_registered_and_shown() {
    let server = Server::start().await;
    let path = format!("{GAMES}/aurora-7/register-runtime");
    let answer = server.call_with("POST", &path, REGISTRATION).await;
    assert_eq!((answer.status, answer.json()), (200, aurora()));
    assert_eq!(
        server.asked(),
        ["register aurora-7 http://engine-aurora-7.games:8080 2 1.4.2 \"0 18 * * *\" \
          Origin { source: Lobby, request_id: None }"]
    );
    server.stop().await;
}

#[tokio::test]
async fn runtimes_are_shown_in_each_status() {
    let mut fake = Fake::new();
    fake.runtimes.push(failed());
    let server = Server::with(fake, HttpSettings::default()).await;
    let get = async |game: &str| server.call("GET", &format!("{RUNTIMES}/{game}")).await;

    let answer = get("aurora-7").await;
    assert_eq!((answer.status, answer.json()), (200, aurora()));
    assert_eq!(get("%61urora-7").await.json(), aurora());

    let starting = get("borealis").await.json();
    assert_eq!(starting["runtime_status"], "starting");
    assert_eq!(starting["work"], json!({"kind": "init"}));
    assert_eq!(starting["next_generation_at"], Value::Null);
    assert_eq!(starting["skip_next_tick"], false);

    let finished = get("cygnus").await.json();
    assert_eq!(finished["finished_at"], "2026-03-01T18:00:00.871Z");
    assert_eq!((&finished["stopped_at"], &finished["pending"]), (&Value::Null, &Value::Null));

    let failed = get("dorado").await.json();
    assert_eq!(failed["retry_at"], "2026-03-02T18:01:30.500Z");
    assert_eq!(failed["tries"], 2);
    let failure = json!({"code": "engine_unreachable", "message": "no answer"});
    assert_eq!(failed["last_failure"], failure);

    get("unknown").await.expect_error(404, "runtime_not_found");
    server.stop().await;
}

#[tokio::test]
async fn lists_are_walked_by_their_cursors() {
    let server = Server::start().await;
    for (path, limit, keys, key) in [
        (RUNTIMES, 2, ["aurora-7", "borealis", "cygnus"], "game_id"),
        (VERSIONS, 1, ["1.4.2", "1.5.0-rc.1", "1.10.0"], "version"),
    ] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = server.call("GET", &format!("{path}?limit={limit}{cursor}")).await.json();
            let items = page["items"].as_array().expect("items").clone();
            assert!((1..=limit).contains(&items.len()), "{page}");
            seen.extend(items.iter().map(|item| item[key].as_str().expect("a key").to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, keys);
    }
    server.asked();
    let running = server.call("GET", &format!("{RUNTIMES}?status=running")).await;
    assert_eq!(running.json(), json!({"items": [aurora()], "next_cursor": null}));
    assert_eq!(server.asked(), ["runtimes Some(Running) None 51"]);
    let none = server.call("GET", &format!("{RUNTIMES}?status=stopped&limit=200")).await;
    assert_eq!(none.json(), json!({"items": [], "next_cursor": null}));
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_fits_its_own_list_only() {
    let server = Server::start().await;
    let page = server.call("GET", &format!("{RUNTIMES}?limit=1")).await.json();
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest = server.call("GET", &format!("{RUNTIMES}?cursor={cursor}")).await;
    assert_eq!(rest.status, 200);
    for foreign in [
        format!("{VERSIONS}?cursor={cursor}"),
        format!("{RUNTIMES}?cursor={cursor}&status=running"),
        format!("{RUNTIMES}?cursor={cursor}0"),
        format!("{RUNTIMES}?cursor=aurora-7"),
    ] {
        server.call("GET", &foreign).await.expect_error(400, "invalid_request");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_turn_is_forced_and_the_origin_is_told() {
    let server = Server::start().await;
    let path = format!("{RUNTIMES}/aurora-7/force-next-turn");
    let answer = server.call_with("POST", &path, "{}").await;
    assert_eq!((answer.status, answer.json()), (200, aurora()));
    let asked = server.asked();
    assert_eq!(asked[0], "force aurora-7 Origin { source: Admin, request_id: None }");

    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: gm\r\nX-Galaxy-Caller: lobby\r\nX-Request-Id: req-7\r\n\r\n"
    );
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("req-7")));
    assert_eq!(
        server.asked()[0],
        r#"force aurora-7 Origin { source: Lobby, request_id: Some("req-7") }"#
    );
    server.stop().await;
}

#[tokio::test]
async fn a_request_without_a_usable_name_gets_one_where_that_is_wanted() {
    let request = |id: &str| {
        format!("GET {RUNTIMES}/aurora-7 HTTP/1.1\r\nHost: gm\r\nX-Request-Id: {id}\r\n\r\n")
    };
    let server = Server::start().await;
    assert_eq!(server.send(request("a b")).await.header("x-request-id"), None);
    server.stop().await;

    let request_ids = Some(Arc::new(SystemEntropy) as _);
    let settings = HttpSettings { request_ids, ..HttpSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    let answer = server.send(request(&"x".repeat(129))).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    assert_eq!(server.send(request("mine")).await.header("x-request-id"), Some("mine"));
    let unknown = server.call("GET", "/unknown").await;
    assert!(unknown.header("x-request-id").is_some());
    server.stop().await;
}

#[tokio::test]
async fn memberships_are_invalidated() {
    let server = Server::start().await;
    let path = format!("{GAMES}/aurora-7/memberships/invalidate");
    let answer = server.call("POST", &path).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(server.call_with("POST", &path, " { } ").await.status, 204);
    assert_eq!(server.asked(), ["invalidate aurora-7", "invalidate aurora-7"]);
    server.stop().await;
}

#[tokio::test]
async fn liveness_tells_whether_a_game_may_go_on() {
    let server = Server::start().await;
    for (game, expected) in [
        ("aurora-7", json!({"ready": true, "status": "running"})),
        ("borealis", json!({"ready": false, "status": "starting"})),
        ("cygnus", json!({"ready": false, "status": "finished"})),
        ("unknown", json!({"ready": true, "status": "unregistered"})),
    ] {
        let answer = server.call("GET", &format!("{GAMES}/{game}/liveness")).await;
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    server.stop().await;
}

#[tokio::test]
async fn players_are_passed_on_byte_for_byte() {
    let server = Server::start().await;
    let list = r#"[{"b":1.0e2 ,"a":"\u00e9"},{}]"#;
    let body = format!("{{ \"commands\":{list} }}");
    for (method, path, what) in [("POST", "commands", "commands"), ("PUT", "orders", "orders")] {
        let answer = server.call_with(method, &format!("{GAMES}/aurora-7/{path}"), &body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, r#" {"b": 1.0e2,"a":[ ]} "#);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(server.asked(), [format!("aurora-7 u1 {what} {list}")]);
    }
    let report = format!(
        "GET {GAMES}/aurora-7/reports/4294967295 HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\r\n"
    );
    assert_eq!(server.send(report).await.status, 200);
    assert_eq!(server.asked(), ["aurora-7 u1 report 4294967295"]);

    let chunked = format!(
        "POST {GAMES}/aurora-7/commands HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\
         Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
         d\r\n{{\"commands\":[\r\n4\r\n{{}}]\r\n1\r\n}}\r\n0\r\n\r\n"
    );
    assert_eq!(server.send(chunked).await.status, 400, "the array is closed twice");
    let chunked = format!(
        "POST {GAMES}/aurora-7/commands HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\
         Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
         d\r\n{{\"commands\":[\r\n3\r\n{{}}]\r\n1\r\n}}\r\n0\r\n\r\n"
    );
    assert_eq!(server.send(chunked).await.status, 200);
    assert_eq!(server.asked(), ["aurora-7 u1 commands [{}]"]);
    server.stop().await;
}

#[tokio::test]
async fn engine_versions_are_created_read_and_resolved() {
    let mut fake = Fake::new();
    fake.versions[1].status = VersionStatus::Deprecated;
    let server = Server::with(fake, HttpSettings::default()).await;

    let body = r#"{"version":"2.0.0","image_ref":"registry.example/galaxy/engine:2.0.0"}"#;
    let answer = server.call_with("POST", VERSIONS, body).await;
    assert_eq!((answer.status, answer.json()), (201, version("2.0.0")));
    let body = r#"{"image_ref":"e:1","options":{"turn_guard":false},"version":"0.9.0-rc.1"}"#;
    let answer = server.call_with("POST", VERSIONS, body).await;
    assert_eq!(answer.json()["options"], json!({"turn_guard": false}));
    assert_eq!(
        server.call_with("POST", VERSIONS, &body.replace("\"turn_guard\":false", "")).await.json()
            ["options"],
        json!({"turn_guard": true})
    );
    let body = r#"{"version":"1.4.2","image_ref":"e:1"}"#;
    server.call_with("POST", VERSIONS, body).await.expect_error(409, "conflict");

    let get = async |path: &str| server.call("GET", &format!("{VERSIONS}/{path}")).await;
    assert_eq!(get("1.4.2").await.json(), version("1.4.2"));
    assert_eq!(get("1.5.0-rc.1").await.json()["status"], "deprecated");
    get("9.9.9").await.expect_error(404, "engine_version_not_found");
    assert_eq!(
        get("1.4.2/image-ref").await.json(),
        json!({"version": "1.4.2", "image_ref": "registry.example/galaxy/engine:1.4.2"})
    );
    get("1.5.0-rc.1/image-ref").await.expect_error(409, "conflict");
    get("9.9.9/image-ref").await.expect_error(404, "engine_version_not_found");
    server.stop().await;
}

#[tokio::test]
async fn probes_say_how_the_process_stands() {
    let server = Server::start().await;
    let answer = server.call("GET", "/healthz").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));

    let fine = Readiness { store: true, streams: true, outbox_backlog: 0, draining: false };
    for (readiness, status, expected) in [
        (fine, 200, json!({"status": "ready", "outbox_backlog": 0})),
        (
            Readiness { streams: false, outbox_backlog: 214, ..fine },
            200,
            json!({"status": "degraded", "outbox_backlog": 214}),
        ),
        (
            Readiness { store: false, ..fine },
            503,
            json!({"status": "unavailable", "outbox_backlog": null}),
        ),
        (
            Readiness { draining: true, ..fine },
            503,
            json!({"status": "unavailable", "outbox_backlog": 0}),
        ),
    ] {
        *lock(&server.fake.readiness) = readiness;
        let answer = server.call("GET", "/readyz").await;
        assert_eq!((answer.status, answer.json()), (status, expected));
    }
    server.stop().await;
}

#[tokio::test]
async fn refusals_of_the_application_keep_their_code_on_both_paths() {
    let server = Server::start().await;
    for (error, status, code) in [
        (ServiceError::Forbidden("not a member".into()), 403, "forbidden"),
        (ServiceError::RuntimeNotFound, 404, "runtime_not_found"),
        (ServiceError::RuntimeNotRunning("it is stopped".into()), 409, "runtime_not_running"),
        (ServiceError::EngineValidationError("no".into()), 422, "engine_validation_error"),
        (ServiceError::EngineUnreachable("no".into()), 502, "engine_unreachable"),
        (ServiceError::OutcomeUnknown("perhaps".into()), 503, "outcome_unknown"),
        (ServiceError::ServiceUnavailable("no".into()), 503, "service_unavailable"),
        (ServiceError::InternalError, 500, "internal_error"),
    ] {
        let body = r#"{"commands":[{}]}"#;
        for (method, path, body) in [
            ("POST", format!("{GAMES}/aurora-7/commands"), body),
            ("POST", format!("{RUNTIMES}/aurora-7/force-next-turn"), "{}"),
        ] {
            *lock(&server.fake.refusal) = Some(error.clone());
            let answer = server.send(json_request(method, &path, body)).await;
            answer.expect_error(status, code);
            assert_eq!(answer.error().1, error.to_string());
        }
    }
    server.stop().await;
}
