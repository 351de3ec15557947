//! What a player sends reaches the engine byte for byte, under the race that Game Master knows.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use integration::harness::{PortBlock, until};
use net::{ClientLimits, HttpClient, Net, ServerLimits, TokioNet};
use service::app::{self, Seams};
use service::config::Settings;
use service::embedded::Embedded;
use service::ports::{SystemClock, SystemEntropy};
use tokio_util::sync::CancellationToken;

/// Every path and body that a stand-in was asked with.
type Seen = Arc<Mutex<Vec<(String, Bytes)>>>;

const STATE: &str = r#"{"id":"e","turn":0,"finished":false,"player":[
    {"id":"p1","race_name":"Ündine \"X\"","planets":1,"population":10,"extinct":false},
    {"id":"p2","race_name":"Betans","planets":1,"population":10,"extinct":false}]}"#;
const MEMBERS: &str = r#"{"members":[{"user_id":"u1","race_name":"x","status":"active"},
    {"user_id":"u2","race_name":"y","status":"removed"}]}"#;
/// What the engine answers to commands, to be passed on as it is.
const ANSWER: &str = " { \"b\" : 1.50, \"a\":[ ] } ";

/// An engine and a Lobby that note what they are asked.
async fn stand_in(seen: Seen, stop: CancellationToken) -> SocketAddr {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TokioNet.bind(anywhere).await.expect("it binds");
    let address = listener.local_addr().expect("an address");
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = net::read_body(request.into_body(), 1 << 20, Duration::from_secs(5)).await;
            let answer = match path.as_str() {
                "/api/v1/admin/init" => STATE,
                path if path.ends_with("/memberships") => MEMBERS,
                _ => ANSWER,
            };
            seen.lock().expect("not poisoned").push((path, body.expect("a body")));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(answer.as_bytes()))))
        }
    });
    tokio::spawn(net::serve(listener, service, ServerLimits::default(), stop));
    address
}

struct Rig {
    client: HttpClient,
    gm: SocketAddr,
    seen: Seen,
    stop: CancellationToken,
    _ports: PortBlock,
}

impl Rig {
    async fn new() -> Self {
        let (seen, stop) = (Seen::default(), CancellationToken::new());
        let peer = stand_in(seen.clone(), stop.clone()).await;
        let ports = PortBlock::take();
        let store = Arc::new(Embedded::in_memory(Arc::new(SystemClock)));
        let seams = Seams {
            net: Arc::new(TokioNet),
            feed: Arc::new(store.feed()),
            store: store.clone(),
            streams: store,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let url = format!("http://{peer}");
        let networks = vec!["127.0.0.0/8".parse().expect("a network")];
        let settings = Settings::development(ports.first(), url.clone(), url, networks);
        let bound = app::bind(settings, seams, stop.clone()).await.expect("it binds");
        let gm = bound.address().expect("an address");
        tokio::spawn(bound.run());
        let client = HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None);
        let rig = Self { client, gm, seen, stop, _ports: ports };
        let version = r#"{"version":"1.0.0","image_ref":"galaxy/engine:1.0.0","options":{}}"#;
        rig.send(Method::POST, "engine-versions", None, version).await;
        let registration = format!(
            r#"{{"engine_endpoint":"http://{peer}","target_engine_version":"1.0.0",
                "turn_schedule":"0 0 1 1 *","members":[
                {{"user_id":"u1","race_name":"Ündine \"X\""}},
                {{"user_id":"u2","race_name":"Betans"}}]}}"#
        );
        let answer = rig.send(Method::POST, "games/g/register-runtime", None, &registration).await;
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        rig
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        user: Option<&str>,
        body: &str,
    ) -> (StatusCode, String) {
        let uri = format!("http://{}/api/v1/internal/{path}", self.gm);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(user) = user {
            request = request.header("X-User-Id", user);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_owned()))
            .expect("a request");
        let answer = self.client.send(request).await.expect("an answer");
        (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    fn asked(&self, path: &str) -> Vec<Bytes> {
        let seen = self.seen.lock().expect("not poisoned");
        seen.iter().filter(|(p, _)| p == path).map(|(_, body)| body.clone()).collect()
    }
}

#[tokio::test]
async fn payload_elements_reach_the_engine_byte_for_byte() {
    let rig = Rig::new().await;
    // Spaces, key order, number forms, escapes and nesting: all of it is the engine's business.
    let elements = "[ {\"z\":1,  \"a\" : 1.0e2 , \"n\":12345678901234567890.50},\n{\"t\":\"\\u00e9\\/\\n\",\"d\":{\"actor\":[{}]}} ]";
    let body = format!("{{ \"commands\" : {elements} }}");
    for (method, path, engine_path) in [
        (Method::POST, "games/g/commands", "/api/v1/command"),
        (Method::PUT, "games/g/orders", "/api/v1/order"),
    ] {
        let answer = rig.send(method, path, Some("u1"), &body).await;
        assert_eq!(answer, (StatusCode::OK, ANSWER.to_owned()));
        let expected = format!(r#"{{"actor":"Ündine \"X\"","cmd":{elements}}}"#);
        assert_eq!(rig.asked(engine_path), [Bytes::from(expected)]);
    }
    rig.stop.cancel();
}

#[tokio::test]
async fn an_actor_in_the_payload_is_refused_and_goes_nowhere() {
    let rig = Rig::new().await;
    for body in [
        r#"{"commands":[{"actor":"Betans"}]}"#,
        r#"{"commands":[{"a":1},{"x":{},"\u0061ctor":"Betans"}]}"#,
        r#"{"actor":"Betans","commands":[{"a":1}]}"#,
    ] {
        let (status, answer) = rig.send(Method::POST, "games/g/commands", Some("u1"), body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.contains("invalid_request"), "{answer}");
    }
    // A removed member, and somebody who has no race here.
    for user in ["u2", "u3"] {
        let body = r#"{"commands":[{"a":1}]}"#;
        let (status, answer) = rig.send(Method::POST, "games/g/commands", Some(user), body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    }
    assert!(rig.asked("/api/v1/command").is_empty());
    rig.stop.cancel();
}

#[tokio::test]
async fn lobby_is_asked_once_until_it_says_that_something_changed() {
    let rig = Rig::new().await;
    let body = r#"{"commands":[{"a":1}]}"#;
    let asked = || rig.asked("/api/v1/internal/games/g/memberships").len();
    for _ in 0..5 {
        rig.send(Method::POST, "games/g/commands", Some("u1"), body).await;
    }
    assert_eq!(asked(), 1);
    let (status, _) = rig.send(Method::POST, "games/g/memberships/invalidate", None, "{}").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    rig.send(Method::POST, "games/g/commands", Some("u1"), body).await;
    until("the second question", || async { (asked() == 2).then_some(()) }).await;
    rig.stop.cancel();
}
