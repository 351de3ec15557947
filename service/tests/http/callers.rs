//! Who may ask for what, where callers have tokens.

use std::time::Duration;

use service::http::{HttpSettings, Tokens};

use crate::client::{Answer, Server};
use crate::contract::{conforms, document};
use crate::fake::Fake;

const GATEWAY: &str = "gateway-hunter2-1";
const LOBBY: &str = "lobby-hunter2-0001";
const OLD_LOBBY: &str = "lobby-hunter2-0000";
const ADMIN: &str = "admin-hunter2-000001";
const CALLERS: [(&str, &str); 3] = [("gateway", GATEWAY), ("lobby", LOBBY), ("admin", ADMIN)];

async fn guarded() -> Server {
    Server::with(Fake::new(), settings()).await
}

fn settings() -> HttpSettings {
    let text = format!("gateway={GATEWAY},lobby={OLD_LOBBY},admin={ADMIN},lobby={LOBBY}");
    let tokens: Tokens = text.parse().expect("tokens");
    HttpSettings { tokens: Some(tokens), ..HttpSettings::default() }
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n{headers}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Method, path, operation and callers, as the contract has them.
fn operations() -> Vec<(String, String, String, Vec<String>)> {
    let mut operations = vec![];
    for (path, item) in document()["paths"].as_object().expect("paths") {
        let path = path
            .replace("{game_id}", "aurora-7")
            .replace("{race_name}", "Terrans")
            .replace("{turn}", "1")
            .replace("{version}", "1.4.2");
        for (method, described) in item.as_object().expect("an object") {
            let Some(id) = described["operationId"].as_str() else { continue };
            let callers = described["x-callers"].as_array().expect("callers").iter();
            let callers = callers.map(|caller| caller.as_str().expect("a caller").to_owned());
            operations.push((method.to_uppercase(), path.clone(), id.into(), callers.collect()));
        }
    }
    assert!(operations.len() > 20);
    operations
}

#[tokio::test]
async fn a_token_is_good_for_the_operations_of_its_caller() {
    let server = guarded().await;
    for (method, path, id, callers) in operations() {
        if callers.is_empty() {
            let answer = server.send(request(&method, &path, "")).await;
            assert_eq!(answer.status, 200, "{id}: probes need no token");
            continue;
        }
        for (caller, token) in CALLERS {
            let answer = server.send(request(&method, &path, &bearer(token))).await;
            let asked = server.asked();
            if callers.iter().any(|allowed| allowed == caller) {
                assert!(![401, 403].contains(&answer.status), "{id} by {caller}: {answer:?}");
            } else {
                conforms(&id, &answer);
                answer.expect_error(403, "forbidden");
                assert_eq!(asked, Vec::<String>::new(), "{id} by {caller}");
            }
        }
    }
    server.stop().await;
}

fn is_unknown(answer: &Answer) {
    answer.expect_error(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(!answer.body.contains("hunter2"), "{answer:?}");
}

#[tokio::test]
async fn without_a_token_nothing_is_done_and_nothing_is_told() {
    let server = guarded().await;
    for (method, path, id, callers) in operations() {
        if callers.is_empty() {
            continue;
        }
        let answer = server.send(request(&method, &path, "")).await;
        is_unknown(&answer);
        conforms(&id, &answer);
    }
    let path = "/api/v1/internal/runtimes/aurora-7";
    for authorization in [
        "Authorization:\r\n".to_owned(),
        "Authorization: Bearer\r\n".into(),
        format!("Authorization: Basic {ADMIN}\r\n"),
        format!("Authorization: {ADMIN}\r\n"),
        format!("Authorization: Bearer  {ADMIN}\r\n"),
        format!("Authorization: Bearer {ADMIN}x\r\n"),
        format!("Authorization: Bearer {}\r\n", ADMIN.to_uppercase()),
        format!("Authorization: Bearer {ADMIN},{LOBBY}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(10_000)),
        "Authorization: Bearer h\u{e9}hunter2-h\u{e9}hunter2\r\n".into(),
        format!("{}{}", bearer(ADMIN), bearer(ADMIN)),
        format!("X-Galaxy-Caller: admin\r\nX-Api-Key: {ADMIN}\r\n"),
    ] {
        is_unknown(&server.send(request("GET", path, &authorization)).await);
    }
    // Whatever else is wrong with it comes after: a stranger learns nothing from the answer.
    for (method, path) in [
        ("GET", "/api/v1/internal/runtimes/no.game"),
        ("GET", "/api/v1/internal/runtimes/unknown"),
        ("GET", "/api/v1/internal/runtimes?limit=0"),
        ("POST", "/api/v1/internal/games/aurora-7/commands"),
        ("GET", "/api/v1/internal/games/aurora-7/reports/x"),
    ] {
        is_unknown(&server.send(request(method, path, "X-Galaxy-Caller: x\r\n")).await);
    }
    let unknown = server.send(request("GET", "/api/v1/internal/unknown", "")).await;
    unknown.expect_error(404, "not_found");
    server.send(request("PUT", path, "")).await.expect_error(405, "invalid_request");
    assert_eq!(server.asked(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_comes() {
    let settings = HttpSettings { body_timeout: Duration::from_secs(3600), ..settings() };
    let server = Server::with(Fake::new(), settings).await;
    for path in ["/api/v1/internal/games/a/commands", "/api/v1/internal/games/a/register-runtime"] {
        // No byte of the body is sent, and more is announced than is ever taken.
        let headers = "Content-Type: application/json\r\nContent-Length: 99999999\r\n";
        is_unknown(&server.send(request("POST", path, headers)).await);
        let headers = format!("{headers}{}", bearer(ADMIN));
        let answer = server.send(request("POST", path, &headers)).await;
        answer.expect_error(403, "forbidden");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_token_decides_who_asks() {
    let server = guarded().await;
    let force = "/api/v1/internal/runtimes/aurora-7/force-next-turn";
    for headers in [bearer(ADMIN), format!("{}X-Galaxy-Caller: admin\r\n", bearer(ADMIN))] {
        assert_eq!(server.send(request("POST", force, &headers)).await.status, 200);
        let expected = "force aurora-7 Origin { source: Admin, request_id: None }";
        assert_eq!(server.asked(), [expected]);
    }
    // Both of a caller's tokens are good, and the claim is the caller's.
    let register = "/api/v1/internal/runtimes/aurora-7/stop";
    for token in [LOBBY, OLD_LOBBY] {
        let body = r#"{"reason":"r"}"#;
        let request = format!(
            "POST {register} HTTP/1.1\r\nHost: gm\r\n{}Content-Type: application/json\r\n\
             Idempotency-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
            bearer(token),
            body.len()
        );
        assert_eq!(server.send(request).await.status, 200);
        assert_eq!(server.asked(), ["stop aurora-7 \"r\" Lobby"]);
        let claim = server.claims().pop().flatten().expect("a claim");
        assert_eq!(claim.key.caller.as_str(), "lobby");
    }
    for named in ["lobby", "gateway"] {
        let headers = format!("{}X-Galaxy-Caller: {named}\r\n", bearer(ADMIN));
        let answer = server.send(request("POST", force, &headers)).await;
        answer.expect_error(403, "forbidden");
    }
    let headers = format!("{}X-Galaxy-Caller: root\r\n", bearer(ADMIN));
    let answer = server.send(request("POST", force, &headers)).await;
    answer.expect_error(400, "invalid_request");
    assert_eq!(server.asked(), Vec::<String>::new());

    let report = "/api/v1/internal/games/aurora-7/reports/1";
    assert_eq!(server.send(request("GET", report, &bearer(GATEWAY))).await.status, 200);
    let headers = format!("{}X-Galaxy-Caller: lobby\r\n", bearer(GATEWAY));
    server.send(request("GET", report, &headers)).await.expect_error(403, "forbidden");
    server.stop().await;
}

#[tokio::test]
async fn settings_show_no_token() {
    let shown = format!("{:?}", settings());
    assert!(shown.contains("tokens") && !shown.contains("hunter2"), "{shown}");
}
