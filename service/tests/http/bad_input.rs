//! Bad input, row by row: the error envelope, no call of the application, no echo.

use crate::client::{Server, json_request};

const GAMES: &str = "/api/v1/internal/games";
const RUNTIMES: &str = "/api/v1/internal/runtimes";
const VERSIONS: &str = "/api/v1/internal/engine-versions";
const COMMANDS: &str = "/api/v1/internal/games/aurora-7/commands";
const REGISTER: &str = "/api/v1/internal/games/aurora-7/register-runtime";

/// Occurs in bad input, and must not in an answer.
const SECRET: &str = "hunter2";

async fn refused(server: &Server, request: impl AsRef<[u8]>, status: u16, code: &str) -> String {
    let request = request.as_ref();
    let answer = server.send(request).await;
    let what = String::from_utf8_lossy(request);
    let what: String = what.chars().take(400).collect();
    let (found, message) = answer.error();
    assert_eq!((answer.status, found.as_str()), (status, code), "{what}\n{answer:?}");
    assert!(!answer.body.contains(SECRET), "{what}\n{answer:?}");
    assert_eq!(server.asked(), Vec::<String>::new(), "{what}");
    message
}

fn plain(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\r\n")
}

fn with_headers(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn unknown_paths_are_404() {
    let server = Server::start().await;
    for path in [
        "/".to_owned(),
        "/hunter2".to_owned(),
        "/metrics/".to_owned(),
        "/healthz/".to_owned(),
        "//healthz".to_owned(),
        "/api/v1/internal".to_owned(),
        "/API/v1/internal/runtimes".to_owned(),
        format!("{RUNTIMES}/"),
        format!("{RUNTIMES}//"),
        format!("{RUNTIMES};a=b"),
        format!("{RUNTIMES}/aurora-7/"),
        format!("{RUNTIMES}//force-next-turn"),
        format!("{RUNTIMES}/../runtimes/hunter2"),
        format!("{GAMES}/aurora-7"),
        format!("{GAMES}/aurora-7/%6civeness"),
        format!("{GAMES}/aurora-7/reports"),
        format!("{RUNTIMES}/aurora-7/restart"),
        format!("{GAMES}/aurora-7/races//banish"),
        format!("{GAMES}/aurora-7/races/a/b/banish"),
        "/api/v1/internal/schedules".to_owned(),
    ] {
        for method in ["GET", "POST", "FOO"] {
            refused(&server, plain(method, &path), 404, "not_found").await;
        }
    }
    refused(&server, plain("OPTIONS", "*"), 404, "not_found").await;
    server.stop().await;
}

#[tokio::test]
async fn known_paths_name_their_methods() {
    let server = Server::start().await;
    for (path, allow) in [
        ("/healthz".to_owned(), "GET"),
        ("/readyz".to_owned(), "GET"),
        (RUNTIMES.to_owned(), "GET"),
        (format!("{RUNTIMES}/aurora-7"), "GET"),
        (format!("{RUNTIMES}/aurora-7/force-next-turn"), "POST"),
        (REGISTER.to_owned(), "POST"),
        (COMMANDS.to_owned(), "POST"),
        (format!("{GAMES}/aurora-7/orders"), "PUT"),
        (format!("{GAMES}/aurora-7/reports/1"), "GET"),
        (format!("{GAMES}/aurora-7/liveness"), "GET"),
        (format!("{GAMES}/aurora-7/memberships/invalidate"), "POST"),
        (VERSIONS.to_owned(), "GET, POST"),
        (format!("{VERSIONS}/1.4.2"), "GET, PATCH, DELETE"),
        (format!("{VERSIONS}/1.4.2/deprecate"), "POST"),
        (format!("{RUNTIMES}/aurora-7/stop"), "POST"),
        (format!("{RUNTIMES}/aurora-7/patch"), "POST"),
        (format!("{RUNTIMES}/aurora-7/reconcile"), "POST"),
        (format!("{RUNTIMES}/aurora-7/operations"), "GET"),
        (format!("{RUNTIMES}/aurora-7/explain"), "GET"),
        (format!("{GAMES}/aurora-7/races/Terrans/banish"), "POST"),
        ("/api/v1/internal/schedules/preview".to_owned(), "GET"),
        (format!("{VERSIONS}/1.4.2/image-ref"), "GET"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", "get"] {
            if allow.split(", ").any(|known| known == method) {
                continue;
            }
            let answer = server.send(plain(method, &path)).await;
            answer.expect_error(405, "invalid_request");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
        // The answer to HEAD is that to GET without its body, which hangs no client.
        let mut connection = server.connect().await;
        connection
            .write(
                plain("HEAD", &path)
                    .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        let head = connection.read_head().await;
        assert_eq!((head.status, head.header("allow")), (405, Some(allow)));
        assert!(connection.is_closed().await);
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn path_parameters_are_decoded_once_and_judged() {
    let server = Server::start().await;
    let long = "a".repeat(10_000);
    for id in [
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fetc",
        "a%2Fb",
        "a%00",
        "a%0d%0aX",
        "%",
        "%6",
        "%zz",
        "%ff",
        "%2561",
        "a;b=hunter2",
        "-a",
        "a.b",
        "{a}",
        "urn:uuid:a",
        "a+b",
        "%C3%A9",
        "a%20",
        &long,
    ] {
        for (method, path) in [
            ("GET", format!("{RUNTIMES}/{id}")),
            ("POST", format!("{RUNTIMES}/{id}/force-next-turn")),
            ("GET", format!("{GAMES}/{id}/liveness")),
            ("GET", format!("{GAMES}/{id}/reports/1")),
            ("POST", format!("{GAMES}/{id}/commands")),
        ] {
            refused(&server, plain(method, &path), 400, "invalid_request").await;
        }
    }
    let long_race = "%C3%A9".repeat(65);
    for race in [
        "a%2Fb",
        "%2f",
        "a%00",
        "a%0d%0aX",
        "%",
        "%6",
        "%zz",
        "%ff",
        "%c3%28",
        "%20a",
        "a%20",
        "%E2%80%AEhunter2",
        "%EF%BB%BFa",
        "é",
        &long_race,
    ] {
        let path = format!("{GAMES}/aurora-7/races/{race}/banish");
        refused(&server, plain("POST", &path), 400, "invalid_request").await;
    }
    for turn in ["-1", "+1", "01", "1.0", "4294967296", "hunter2", "%2e"] {
        let path = format!("{GAMES}/aurora-7/reports/{turn}");
        refused(&server, plain("GET", &path), 400, "invalid_request").await;
    }
    for version in
        ["v1.4.2", "1.4", "01.4.2", "1.4.2+hunter2", "%20", "..", "1.4.99999999999999999999"]
    {
        for path in [format!("{VERSIONS}/{version}"), format!("{VERSIONS}/{version}/image-ref")] {
            refused(&server, plain("GET", &path), 400, "invalid_request").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn queries_are_known_once_and_in_range() {
    let server = Server::start().await;
    for query in [
        "hunter2=1",
        "limit=hunter2",
        "limit=1&limit=1",
        "limit=",
        "limit",
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1e9",
        "limit=%",
        "cursor=",
        "cursor=hunter2",
        "cursor=1-00-00000000",
        "limit=1&",
        "&",
        "LIMIT=1",
    ] {
        for path in [RUNTIMES, VERSIONS, &format!("{RUNTIMES}/aurora-7/operations")] {
            refused(&server, plain("GET", &format!("{path}?{query}")), 400, "invalid_request")
                .await;
        }
    }
    for path in [
        format!("{RUNTIMES}?status=hunter2"),
        format!("{RUNTIMES}?status=RUNNING"),
        format!("{VERSIONS}?status=active"),
        format!("{RUNTIMES}/aurora-7?x=1"),
        format!("{GAMES}/aurora-7/reports/1?x"),
        format!("{VERSIONS}/1.4.2?limit=1"),
        format!("{RUNTIMES}/aurora-7/explain?limit=1"),
        "/api/v1/internal/schedules/preview".to_owned(),
        "/api/v1/internal/schedules/preview?expression=*&count=0".to_owned(),
        "/api/v1/internal/schedules/preview?expression=hunter2%0A".to_owned(),
    ] {
        refused(&server, plain("GET", &path), 400, "invalid_request").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_must_be_declared_as_plain_json() {
    let server = Server::start().await;
    let body = r#"{"commands":[{}]}"#;
    for path in [COMMANDS, REGISTER, VERSIONS, &format!("{RUNTIMES}/aurora-7/force-next-turn")] {
        for headers in [
            "",
            "Content-Type: text/plain\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "Content-Type: application/json; charset=utf-16\r\n",
            "Content-Type: application/json; charset=latin1\r\n",
            "Content-Type: application/json\r\nContent-Type: application/json\r\n",
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "Content-Type: application/json\r\nContent-Encoding: identity\r\n",
        ] {
            let headers = format!("Host: gm\r\nX-User-Id: u1\r\n{headers}");
            let request = with_headers(path, &headers, body);
            refused(&server, request, 415, "invalid_request").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn commands_are_checked_and_the_actor_is_never_believed() {
    let server = Server::start().await;
    let deep =
        |depth| format!(r#"{{"commands":[{{"x":{}{}}}]}}"#, "[".repeat(depth), "]".repeat(depth));
    for body in [
        "",
        "hunter2",
        "{",
        "null",
        "[]",
        r#""hunter2""#,
        "{}",
        r#"{"commands":[]}"#,
        r#"{"commands":{}}"#,
        r#"{"commands":"hunter2"}"#,
        r#"{"commands":[1]}"#,
        r#"{"commands":["hunter2"]}"#,
        r#"{"commands":[null]}"#,
        r#"{"commands":[{},[]]}"#,
        r#"{"commands":[{}],"hunter2":1}"#,
        r#"{"commands":[{}],"actor":"hunter2"}"#,
        r#"{"actor":"hunter2","commands":[{}]}"#,
        r#"{"commands":[{"actor":"hunter2"}]}"#,
        r#"{"commands":[{},{"x":1,"\u0061ctor":"hunter2"}]}"#,
        r#"{"commands":[{}],"commands":[{}]}"#,
        r#"{"commands":[{}],"\u0063ommands":[{}]}"#,
        r#"{"commands":[{"hunter2":1,"hunter2":2}]}"#,
        r#"{"commands":[{"a":{"b":[{"hunter2":1,"hunter2":2}]}}]}"#,
        r#"{"commands":[{"x":1e400}]}"#,
        r#"{"commands":[{"x":NaN}]}"#,
        r#"{"commands":[{"x":"\ud800"}]}"#,
        r#"{"commands":[{}]}hunter2"#,
        &deep(10_000),
        &deep(130),
        &format!(r#"{{"commands":[{}]}}"#, vec!["{}"; 257].join(",")),
    ] {
        for (method, path) in [("POST", "commands"), ("PUT", "orders")] {
            let request = json_request(method, &format!("{GAMES}/aurora-7/{path}"), body);
            refused(&server, request, 400, "invalid_request").await;
        }
    }
    let mut not_utf8 =
        json_request("POST", COMMANDS, "{\"commands\":[{\"x\":\"_\"}]}").into_bytes();
    for byte in &mut not_utf8 {
        if *byte == b'_' {
            *byte = 0xff;
        }
    }
    refused(&server, not_utf8, 400, "invalid_request").await;
    server.stop().await;
}

#[tokio::test]
async fn registrations_say_what_is_wrong_and_where() {
    let server = Server::start().await;
    let good = r#"{"engine_endpoint":"http://e:1","members":[{"user_id":"a","race_name":"A"}],"#
        .to_owned()
        + r#""target_engine_version":"1.4.2","turn_schedule":"0 18 * * *"}"#;
    for (from, to, expected) in [
        ("http://e:1", "file:///hunter2", "engine_endpoint must be http://host:port"),
        ("\"http://e:1\"", "7", "engine_endpoint must be a string"),
        ("\"engine_endpoint\":\"http://e:1\",", "", "engine_endpoint is missing"),
        ("[{\"user_id\":\"a\",\"race_name\":\"A\"}]", "[]", "members must not be empty"),
        ("[{\"user_id\":\"a\",\"race_name\":\"A\"}]", "null", "members must be an array"),
        ("{\"user_id\":\"a\",\"race_name\":\"A\"}", "7", "members[0] must be an object"),
        ("\"race_name\":\"A\"", "\"hunter2\":1", "members[0] must not have unknown fields"),
        (",\"race_name\":\"A\"", "", "members[0].race_name is missing"),
        ("\"race_name\":\"A\"", "\"race_name\":\"A\\u0000\"", "members[0].race_name must be"),
        ("\"race_name\":\"A\"", "\"race_name\":\"\\u202ehunter2\"", "members[0].race_name must"),
        ("\"user_id\":\"a\"", "\"user_id\":\"hunter2 \"", "members[0].user_id must be"),
        ("}],", "},{\"user_id\":\"a\",\"race_name\":\"B\"}],", "members must name each user_id"),
        ("}],", "},{\"user_id\":\"b\",\"race_name\":\"A\"}],", "members must name each race_name"),
        ("1.4.2", "v1.4.2", "target_engine_version must be a semantic version"),
        ("0 18 * * *", "", "turn_schedule must be 1 to 256"),
        ("0 18 * * *", "0 18 * *\\n*", "turn_schedule must be 1 to 256"),
        ("0 18 * * *", "٠ 18 * * *", "turn_schedule must be 1 to 256"),
        ("\"0 18 * * *\"", "null", "turn_schedule must be a string"),
        ("\"0 18 * * *\"", "\"0 18 * * *\",\"hunter2\":1", "the body must not have unknown"),
    ] {
        let body = good.replacen(from, to, 1);
        assert_ne!(body, good, "{from}");
        let request = json_request("POST", REGISTER, &body);
        let message = refused(&server, request, 400, "invalid_request").await;
        assert!(message.starts_with(expected), "{message}");
    }
    let member = |n: usize| format!(r#"{{"user_id":"u{n}","race_name":"R{n}"}}"#);
    let many = (0..257).map(member).collect::<Vec<_>>().join(",");
    let body = good.replacen("{\"user_id\":\"a\",\"race_name\":\"A\"}", &many, 1);
    refused(&server, json_request("POST", REGISTER, &body), 400, "invalid_request").await;
    server.stop().await;
}

#[tokio::test]
async fn versions_and_empty_bodies_are_checked_too() {
    let server = Server::start().await;
    for body in [
        r#"{}"#,
        r#"{"version":"1.0.0"}"#,
        r#"{"version":"1.0.0","image_ref":"hunter2"}"#,
        r#"{"version":"1.0.0","image_ref":"UPPER/x:1"}"#,
        r#"{"version":"1.0","image_ref":"e:1"}"#,
        r#"{"version":"1.0.0+b","image_ref":"e:1"}"#,
        r#"{"version":"1.0.0","image_ref":"e:1","options":null}"#,
        r#"{"version":"1.0.0","image_ref":"e:1","options":{"turn_guard":null}}"#,
        r#"{"version":"1.0.0","image_ref":"e:1","options":{"hunter2":true}}"#,
        r#"{"version":"1.0.0","image_ref":"e:1","status":"active"}"#,
    ] {
        refused(&server, json_request("POST", VERSIONS, body), 400, "invalid_request").await;
    }
    for body in ["[]", "null", r#"{"hunter2":1}"#, "{", "{}{}", " "] {
        for path in [
            format!("{RUNTIMES}/aurora-7/force-next-turn"),
            format!("{GAMES}/aurora-7/memberships/invalidate"),
        ] {
            refused(&server, json_request("POST", &path, body), 400, "invalid_request").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_that_name_somebody_come_once_and_well_formed() {
    let server = Server::start().await;
    let body = r#"{"commands":[{}]}"#;
    let json = "Content-Type: application/json\r\n";
    for headers in [
        "Host: gm\r\n".to_owned(),
        "Host: gm\r\nX-User-Id:\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: hunter2 x\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: é\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: ../hunter2\r\n".to_owned(),
        format!("Host: gm\r\nX-User-Id: {}\r\n", "a".repeat(65)),
        "Host: gm\r\nX-User-Id: u1\r\nX-User-Id: u1\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: u1\r\nX-Galaxy-Caller: hunter2\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: u1\r\nX-Galaxy-Caller: Gateway\r\n".to_owned(),
        "Host: gm\r\nX-User-Id: u1\r\nX-Galaxy-Caller: gateway\r\nX-Galaxy-Caller: gateway\r\n"
            .to_owned(),
        "X-User-Id: u1\r\n".to_owned(),
        "Host: gm\r\nHost: gm\r\nX-User-Id: u1\r\n".to_owned(),
    ] {
        let request = with_headers(COMMANDS, &format!("{headers}{json}"), body);
        refused(&server, request, 400, "invalid_request").await;
    }
    for headers in ["X-Galaxy-Caller: hunter2\r\n", "X-Galaxy-Caller: game_master\r\n"] {
        let request = format!("GET {RUNTIMES} HTTP/1.1\r\nHost: gm\r\n{headers}\r\n");
        refused(&server, request, 400, "invalid_request").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn framing_that_contradicts_itself_never_reaches_the_application() {
    let server = Server::start().await;
    let body = r#"{"commands":[{}]}"#;
    let head = format!(
        "POST {COMMANDS} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\
         Content-Type: application/json\r\n"
    );
    // The protocol layer answers these, without a body.
    for framing in [
        "Content-Length: 17\r\nContent-Length: 18\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1e1\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        " folded: yes\r\n",
    ] {
        let answer = server.send(format!("{head}{framing}\r\n{body}")).await;
        assert_eq!(answer.status, 400, "{framing}");
    }
    let broken = format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{body}");
    refused(&server, broken, 400, "invalid_request").await;
    assert_eq!(server.asked(), Vec::<String>::new());
    server.stop().await;
}
