//! Operations that change a game or the registry: what they ask of the application, and that their
//! answers are those of the contract.

use serde_json::{Value, json};
use service::error::ServiceError;

use crate::client::{Answer, Server, json_request};
use crate::contract::conforms;
use crate::fake::lock;

const GAMES: &str = "/api/v1/internal/games";
const RUNTIMES: &str = "/api/v1/internal/runtimes";
const VERSIONS: &str = "/api/v1/internal/engine-versions";

/// Sends it, and holds the answer against the contract.
async fn call(server: &Server, operation: &str, method: &str, path: &str, body: &str) -> Answer {
    let answer = match body {
        "" => server.call(method, path).await,
        body => server.call_with(method, path, body).await,
    };
    conforms(operation, &answer);
    answer
}

#[tokio::test]
async fn a_game_is_stopped_for_a_reason() {
    let server = Server::start().await;
    let path = format!("{RUNTIMES}/aurora-7/stop");
    let body = r#"{"reason": "abandonn\u00e9 ☃ by its players"}"#;
    let answer = call(&server, "internalStopRuntime", "POST", &path, body).await;
    assert_eq!((answer.status, answer.json()["pending"]["kind"].clone()), (200, json!("stop")));
    assert_eq!(server.asked(), ["stop aurora-7 \"abandonné ☃ by its players\" Admin"]);

    let body = format!(r#"{{"reason":"{}"}}"#, "é".repeat(200));
    assert_eq!(call(&server, "internalStopRuntime", "POST", &path, &body).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_game_is_patched_and_reconciled() {
    let server = Server::start().await;
    let path = format!("{RUNTIMES}/aurora-7/patch");
    let body = r#"{"version":"1.4.3"}"#;
    let answer = call(&server, "internalPatchRuntime", "POST", &path, body).await;
    assert_eq!((answer.status, answer.json()["game_id"].clone()), (200, json!("aurora-7")));

    let path = format!("{RUNTIMES}/aurora-7/reconcile");
    for body in ["", "{}", " { } "] {
        let answer = call(&server, "internalReconcileRuntime", "POST", &path, body).await;
        assert_eq!((answer.status, answer.json()["revision"].clone()), (200, json!(31)));
    }
    assert_eq!(
        server.asked(),
        [
            "patch aurora-7 1.4.3 Admin",
            "reconcile aurora-7 Admin",
            "reconcile aurora-7 Admin",
            "reconcile aurora-7 Admin"
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_race_is_banished_by_its_name_in_any_script() {
    let server = Server::start().await;
    for (raw, race) in [
        ("Terrans", "Terrans"),
        ("Zoral%20Combine", "Zoral Combine"),
        ("%D0%A7%D1%83%D0%B6%D0%B8%D0%B5", "Чужие"),
        ("50%25%3F", "50%?"),
        ("%2561", "%61"),
        ("a;b=c", "a;b=c"),
        ("..", ".."),
    ] {
        let path = format!("{GAMES}/aurora-7/races/{raw}/banish");
        let answer = call(&server, "internalBanishRace", "POST", &path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(server.asked(), [format!("banish aurora-7 {race:?} Lobby")]);
    }
    *lock(&server.fake.refusal) = Some(ServiceError::RaceNotFound);
    let path = format!("{GAMES}/aurora-7/races/Nobody/banish");
    let answer = call(&server, "internalBanishRace", "POST", &path, "{}").await;
    answer.expect_error(404, "race_not_found");
    server.stop().await;
}

#[tokio::test]
async fn an_engine_version_is_corrected_deprecated_and_removed() {
    let server = Server::start().await;
    let path = format!("{VERSIONS}/1.4.2");
    for (body, image, guard) in [
        (r#"{"image_ref":"mirror/engine:1"}"#, "mirror/engine:1", true),
        (r#"{"options":{"turn_guard":false}}"#, "registry.example/galaxy/engine:1.4.2", false),
        (r#"{"options":{"turn_guard":false},"image_ref":"m/e:1"}"#, "m/e:1", false),
    ] {
        let answer = call(&server, "internalUpdateEngineVersion", "PATCH", &path, body).await;
        let view = answer.json();
        assert_eq!((answer.status, &view["image_ref"]), (200, &json!(image)));
        assert_eq!(view["options"], json!({"turn_guard": guard}));
    }
    let deprecate = format!("{path}/deprecate");
    let answer = call(&server, "internalDeprecateEngineVersion", "POST", &deprecate, "").await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (200, json!("deprecated")));
    let answer = call(&server, "internalDeleteEngineVersion", "DELETE", &path, "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        server.asked(),
        [
            "update 1.4.2 Some(\"mirror/engine:1\") None Admin",
            "update 1.4.2 None Some(false) Admin",
            "update 1.4.2 Some(\"m/e:1\") Some(false) Admin",
            "deprecate 1.4.2 Admin",
            "delete 1.4.2 Admin",
        ]
    );
    *lock(&server.fake.refusal) = Some(ServiceError::EngineVersionInUse);
    let answer = call(&server, "internalDeleteEngineVersion", "DELETE", &path, "").await;
    answer.expect_error(409, "engine_version_in_use");
    let unknown = format!("{VERSIONS}/9.9.9");
    let answer = call(&server, "internalDeleteEngineVersion", "DELETE", &unknown, "").await;
    answer.expect_error(404, "engine_version_not_found");
    // A body without a meaning is refused rather than ignored.
    let request = json_request("DELETE", &path, "{}");
    server.send(request).await.expect_error(400, "invalid_request");
    server.stop().await;
}

/// Every operation, with what makes it succeed.
const ALL: [(&str, &str, &str, &str); 22] = [
    (
        "internalRegisterRuntime",
        "POST",
        "games/aurora-7/register-runtime",
        r#"{"engine_endpoint":"http://e:1","members":[{"user_id":"a","race_name":"A"}],
            "target_engine_version":"1.4.2","turn_schedule":"0 18 * * *"}"#,
    ),
    ("internalBanishRace", "POST", "games/aurora-7/races/Terrans/banish", ""),
    ("internalInvalidateMemberships", "POST", "games/aurora-7/memberships/invalidate", ""),
    ("internalGameLiveness", "GET", "games/aurora-7/liveness", ""),
    ("internalListRuntimes", "GET", "runtimes", ""),
    ("internalListRuntimes", "GET", "runtimes?limit=1", ""),
    ("internalGetRuntime", "GET", "runtimes/aurora-7", ""),
    ("internalGetRuntime", "GET", "runtimes/borealis", ""),
    ("internalForceNextTurn", "POST", "runtimes/aurora-7/force-next-turn", ""),
    ("internalStopRuntime", "POST", "runtimes/aurora-7/stop", r#"{"reason":"r"}"#),
    ("internalPatchRuntime", "POST", "runtimes/aurora-7/patch", r#"{"version":"1.4.3"}"#),
    ("internalReconcileRuntime", "POST", "runtimes/aurora-7/reconcile", ""),
    ("internalListOperations", "GET", "runtimes/aurora-7/operations", ""),
    ("internalExplainRuntime", "GET", "runtimes/aurora-7/explain", ""),
    ("internalPreviewSchedule", "GET", "schedules/preview?expression=0+18+*+*+*", ""),
    ("internalListEngineVersions", "GET", "engine-versions", ""),
    (
        "internalCreateEngineVersion",
        "POST",
        "engine-versions",
        r#"{"version":"2.0.0","image_ref":"e:1"}"#,
    ),
    ("internalGetEngineVersion", "GET", "engine-versions/1.4.2", ""),
    ("internalUpdateEngineVersion", "PATCH", "engine-versions/1.4.2", r#"{"image_ref":"e:2"}"#),
    ("internalDeleteEngineVersion", "DELETE", "engine-versions/1.4.2", ""),
    ("internalDeprecateEngineVersion", "POST", "engine-versions/1.4.2/deprecate", ""),
    ("internalResolveEngineVersionImageRef", "GET", "engine-versions/1.4.2/image-ref", ""),
];

#[tokio::test]
async fn every_answer_is_that_of_the_contract() {
    let server = Server::start().await;
    for (operation, method, path, body) in ALL {
        let path = format!("/api/v1/internal/{path}");
        let answer = call(&server, operation, method, &path, body).await;
        assert!((200..300).contains(&answer.status), "{operation} {answer:?}");
        for error in [
            ServiceError::ServiceUnavailable("the store cannot be reached".into()),
            ServiceError::InternalError,
        ] {
            *lock(&server.fake.refusal) = Some(error);
            call(&server, operation, method, &path, body).await;
        }
    }
    for (operation, path) in [("internalHealthz", "/healthz"), ("internalReadyz", "/readyz")] {
        call(&server, operation, "GET", path, "").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn every_change_can_be_named() {
    let server = Server::start().await;
    let named = [
        "internalRegisterRuntime",
        "internalBanishRace",
        "internalForceNextTurn",
        "internalStopRuntime",
        "internalPatchRuntime",
        "internalReconcileRuntime",
        "internalCreateEngineVersion",
        "internalUpdateEngineVersion",
        "internalDeleteEngineVersion",
        "internalDeprecateEngineVersion",
    ];
    let mut fingerprints = vec![];
    for (operation, method, path, body) in ALL {
        server.claims();
        let json = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = |key: &str| {
            format!(
                "{method} /api/v1/internal/{path} HTTP/1.1\r\nHost: gm\r\n{json}{key}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let key = "!".repeat(127) + "~";
        server.send(request(&format!("Idempotency-Key: {key}\r\n"))).await;
        let first = server.claims();
        let bad = ["", "a b", "\u{e9}", &"k".repeat(129), &"k".repeat(10_000)];
        if !named.contains(&operation) {
            assert!(first.iter().all(Option::is_none), "{operation}");
            continue;
        }
        let [Some(claim)] = first.as_slice() else { panic!("{operation}: {first:?}") };
        assert_eq!(claim.key.key.as_str(), key);
        fingerprints.push(claim.fingerprint);
        server.send(request(&format!("Idempotency-Key: {key}\r\n"))).await;
        assert_eq!(server.claims(), first, "{operation}");
        server.send(request("")).await;
        assert_eq!(server.claims(), [None], "{operation}");

        let twice = "Idempotency-Key: a\r\nIdempotency-Key: a\r\n".to_owned();
        let bad = bad.iter().map(|key| format!("Idempotency-Key: {key}\r\n"));
        for headers in bad.chain([twice]) {
            let answer = server.send(request(&headers)).await;
            conforms(operation, &answer);
            answer.expect_error(400, "invalid_request");
            let message = answer.error().1.to_lowercase();
            assert!(message.contains("idempotency-key"), "{message}");
            assert_eq!(server.claims(), [], "{operation} {headers}");
        }
    }
    assert_eq!(fingerprints.len(), named.len());
    fingerprints.sort_by_key(|fingerprint| fingerprint.0);
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), named.len(), "each is of its own request");
    server.stop().await;
}

#[tokio::test]
async fn a_name_stands_for_its_request_and_its_caller() {
    let server = Server::start().await;
    let claim = async |path: &str, headers: &str, body: &str| {
        let request = format!(
            "POST {RUNTIMES}/{path} HTTP/1.1\r\nHost: gm\r\nContent-Type: application/json\r\n\
             Idempotency-Key: k\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(server.send(request).await.status, 200);
        server.claims().pop().flatten().expect("a claim")
    };
    let stop = "aurora-7/stop";
    let first = claim(stop, "X-Request-Id: a\r\n", r#"{"reason":"a"}"#).await;
    assert_eq!(claim(stop, "X-Request-Id: b\r\n", r#"{"reason":"a"}"#).await, first);

    let lobby = claim(stop, "X-Galaxy-Caller: lobby\r\n", r#"{"reason":"a"}"#).await;
    assert_ne!(lobby.key, first.key, "each caller has names of its own");
    assert_eq!(lobby.fingerprint, first.fingerprint);
    for (path, body) in [
        (stop, r#"{"reason":"b"}"#),
        (stop, r#"{"reason": "a"}"#),
        ("borealis/stop", r#"{"reason":"a"}"#),
    ] {
        let other = claim(path, "", body).await;
        assert_eq!(other.key, first.key);
        assert_ne!(other.fingerprint, first.fingerprint, "{path} {body}");
    }
    // Nothing and an empty object ask for the same.
    let force = "aurora-7/force-next-turn";
    assert_eq!(claim(force, "", "").await, claim(force, "", "{ }").await);
    server.stop().await;
}

#[tokio::test]
async fn what_a_change_needs_is_said_where_it_is_missing() {
    let server = Server::start().await;
    let long = format!(r#"{{"reason":"{}"}}"#, "a".repeat(201));
    for (method, path, body, expected) in [
        ("POST", format!("{RUNTIMES}/aurora-7/stop"), "{}", "reason is missing"),
        ("POST", format!("{RUNTIMES}/aurora-7/stop"), r#"{"reason":""}"#, "reason must be"),
        ("POST", format!("{RUNTIMES}/aurora-7/stop"), r#"{"reason":"a\n"}"#, "reason must be"),
        ("POST", format!("{RUNTIMES}/aurora-7/stop"), long.as_str(), "reason must be"),
        ("POST", format!("{RUNTIMES}/aurora-7/patch"), "{}", "version is missing"),
        ("POST", format!("{RUNTIMES}/aurora-7/patch"), r#"{"version":"1.4"}"#, "version must"),
        ("PATCH", format!("{VERSIONS}/1.4.2"), "{}", "the body must have at least one field"),
        ("PATCH", format!("{VERSIONS}/1.4.2"), r#"{"options":{}}"#, "options.turn_guard is mis"),
        ("PATCH", format!("{VERSIONS}/1.4.2"), r#"{"options":null}"#, "options must be an obj"),
        ("PATCH", format!("{VERSIONS}/1.4.2"), r#"{"image_ref":null}"#, "image_ref must be a s"),
        (
            "PATCH",
            format!("{VERSIONS}/1.4.2"),
            r#"{"image_ref":"e:1","status":"active"}"#,
            "the body must not have unknown fields",
        ),
    ] {
        let answer = server.call_with(method, &path, body).await;
        answer.expect_error(400, "invalid_request");
        let (_, message) = answer.error();
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    let none: Value = server.call("GET", &format!("{RUNTIMES}/unknown")).await.json();
    assert_eq!(none["error"]["code"], "runtime_not_found");
    server.stop().await;
}
