//! Load, slowness and panics.

use std::time::Duration;

use bytes::Bytes;
use net::ServerLimits;
use service::http::HttpSettings;

use crate::client::{PATIENCE, Server, json_request};
use crate::fake::{Fake, lock};

const COMMANDS: &str = "/api/v1/internal/games/aurora-7/commands";
const ONE: &str = r#"{"commands":[{}]}"#;

fn report(game: &str) -> String {
    let path = format!("/api/v1/internal/games/{game}/reports/1");
    format!("GET {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\r\n")
}

#[tokio::test]
async fn too_many_requests_in_flight_are_told_so_at_once() {
    let mut fake = Fake::new();
    fake.permits = tokio::sync::Semaphore::new(0);
    let settings =
        HttpSettings { max_in_flight: 3, max_in_flight_per_game: 2, ..HttpSettings::default() };
    let server = Server::with(fake, settings).await;

    let mut waiting = Vec::new();
    for game in ["a", "a", "b"] {
        let mut connection = server.connect().await;
        connection.write(report(game).as_bytes()).await;
        server.fake.begun.acquire().await.expect("never closed").forget();
        waiting.push(connection);
        if waiting.len() == 2 {
            let refused = server.send(report("a")).await;
            refused.expect_error(503, "service_unavailable");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
    }
    server.send(report("c")).await.expect_error(503, "service_unavailable");
    let list = server.call("GET", "/api/v1/internal/runtimes").await;
    list.expect_error(503, "service_unavailable");
    assert_eq!(server.call("GET", "/healthz").await.status, 200);
    assert_eq!(server.call("GET", "/readyz").await.status, 200);

    server.fake.permits.add_permits(10);
    for mut connection in waiting {
        assert_eq!(connection.read().await.status, 200);
    }
    for game in ["a", "b", "c"] {
        assert_eq!(server.send(report(game)).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_gives_its_place_back() {
    let mut fake = Fake::new();
    fake.permits = tokio::sync::Semaphore::new(0);
    let settings = HttpSettings { max_in_flight: 1, ..HttpSettings::default() };
    let server = Server::with(fake, settings).await;
    let mut connection = server.connect().await;
    connection.write(report("a").as_bytes()).await;
    server.fake.begun.acquire().await.expect("never closed").forget();
    drop(connection);
    server.fake.permits.add_permits(10);
    let again = async {
        while server.send(report("a")).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the place is free again");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_ends_a_request_and_not_its_connection() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    for request in [json_request("POST", COMMANDS, ONE), report("a")] {
        *lock(&server.fake.panics) = true;
        connection.write(request.as_bytes()).await;
        connection.read().await.expect_error(500, "internal_error");
    }
    connection.write(b"GET /api/v1/internal/runtimes/a HTTP/1.1\r\nHost: gm\r\n\r\n").await;
    connection.read().await.expect_error(500, "internal_error");

    *lock(&server.fake.panics) = false;
    connection.write(json_request("POST", COMMANDS, ONE).as_bytes()).await;
    assert_eq!(connection.read().await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_body_is_bounded_in_size_and_time() {
    let settings = HttpSettings {
        max_body_bytes: 64,
        body_timeout: Duration::from_millis(100),
        ..HttpSettings::default()
    };
    let server = Server::with(Fake::new(), settings).await;
    let head = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n\
             Content-Type: application/json\r\n{more}\r\n\r\n"
        )
    };
    let force = "/api/v1/internal/runtimes/aurora-7/force-next-turn";
    for path in [COMMANDS, "/api/v1/internal/engine-versions", force] {
        // Refused by its declared length, before a byte of it was sent.
        let declared = server.send(head(path, "Content-Length: 65")).await;
        declared.expect_error(413, "invalid_request");

        let chunk = format!("40\r\n{}\r\n1\r\n \r\n", " ".repeat(64));
        let chunked = server.send(head(path, "Transfer-Encoding: chunked") + &chunk).await;
        chunked.expect_error(413, "invalid_request");

        let mut connection = server.connect().await;
        connection.write((head(path, "Content-Length: 64") + "{").as_bytes()).await;
        let stalled = connection.read().await;
        stalled.expect_error(408, "invalid_request");
        assert_eq!(stalled.header("connection"), Some("close"));
        assert!(connection.is_closed().await);
    }
    // A GET has no body: one is refused, however long it claims to be, and not waited for.
    for framing in ["Content-Length: 99999999", "Content-Length: 3", "Transfer-Encoding: chunked"] {
        let request = format!(
            "GET /api/v1/internal/runtimes/aurora-7 HTTP/1.1\r\nHost: gm\r\n{framing}\r\n\r\n"
        );
        server.send(request).await.expect_error(400, "invalid_request");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    let body = format!("{ONE}{}", " ".repeat(64 - ONE.len()));
    assert_eq!(server.call_with("POST", COMMANDS, &body).await.status, 200);
    server.stop().await;
}

/// These bounds of connections, everything else as usual.
fn bounded(server: ServerLimits) -> HttpSettings {
    HttpSettings { server, ..HttpSettings::default() }
}

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn two_thousand_idle_connections_lock_nobody_out() {
    let limits = ServerLimits { max_connections: 16, ..ServerLimits::default() };
    let server = Server::with(Fake::new(), bounded(limits)).await;
    let healthz = b"GET /healthz HTTP/1.1\r\nHost: gm\r\n\r\n";
    for wave in 0..4 {
        let mut idle = Vec::new();
        for _ in 0..500 {
            let mut connection = server.connect().await;
            // Some say nothing, some begin to say something.
            if idle.len() % 2 == 0 {
                connection.try_write(b"GET /hea").await;
            }
            idle.push(connection);
        }
        let mut asks = server.connect().await;
        asks.write(healthz).await;
        assert_eq!(asks.read().await.status, 200, "wave {wave}");
        // Whoever waited the longest made room.
        for connection in idle.iter_mut().take(400) {
            assert!(connection.read_or_end().await.is_none(), "nothing was asked");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn heads_that_drip_are_cut() {
    let limits = ServerLimits { header_timeout: SHORT, ..ServerLimits::default() };
    let server = Server::with(Fake::new(), bounded(limits)).await;
    for start in ["", "GET /healthz HTTP/1.1\r\nHost: gm\r\n"] {
        let mut connection = server.connect().await;
        connection.write(start.as_bytes()).await;
        connection.write(b"x").await;
        let cut = async {
            let mut drip = tokio::time::interval(SHORT / 10);
            while connection.try_write(b"x").await {
                drip.tick().await;
            }
            assert!(connection.read_or_end().await.is_none());
        };
        tokio::time::timeout(PATIENCE, cut).await.expect("cut off");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let limits =
        ServerLimits { header_timeout: SHORT, idle_timeout: SHORT, ..ServerLimits::default() };
    let server = Server::with(Fake::new(), bounded(limits)).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write(report("a").as_bytes()).await;
    assert_eq!(idle.read().await.status, 200);
    assert!(silent.is_closed().await);
    assert!(idle.is_closed().await);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_answer_gives_its_connection_up() {
    let limits =
        ServerLimits { write_timeout: SHORT, max_connections: 1, ..ServerLimits::default() };
    // More than the buffers of both sockets hold.
    let engine_answer = Bytes::from(vec![b' '; 64 << 20]);
    let server = Server::with(Fake { engine_answer, ..Fake::new() }, bounded(limits)).await;
    let mut slow = server.connect().await;
    slow.write(report("a").as_bytes()).await;
    server.fake.begun.acquire().await.expect("never closed").forget();
    let again = async {
        loop {
            let mut other = server.connect().await;
            other.write(b"GET /healthz HTTP/1.1\r\nHost: gm\r\n\r\n").await;
            if other.read_or_end().await.is_some_and(|answer| answer.status == 200) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("its place is free");
    drop(slow);
    server.stop().await;
}
