//! The gateway and its players, against a stand-in for Game Master that passes everything on to a
//! reference engine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, where a panic is a failure"
)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use net::{HttpClient, Net, ServerLimits, TokioNet};
use peers::{
    engine::{EngineOptions, game::GameOptions},
    gateway::{
        Gateway, GatewayError, GatewayOptions, Player, PlayerEnd, PlayerEvent, PlayerOutcome,
        PlayerRequest, TokenTable,
    },
    http::{percent_encode, segments},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
mod engine_rig;
use engine_rig::{PATIENCE, Rig, client};

const API_TOKEN: &str = "gateway's own";

/// `user-N` is `race N` in every game; engine refusals come back as `engine_validation_error`.
async fn pass_on(
    client: HttpClient,
    engine: SocketAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("authorization"), Some(format!("Bearer {API_TOKEN}").as_str()));
    assert_eq!(header("x-galaxy-caller"), Some("gateway"));
    let race = header("x-user-id").unwrap().replace("user-", "race ");
    let segments = segments(head.uri.path()).unwrap();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ["api", "v1", "internal", "games", "game 1", rest @ ..] = &segments[..] else {
        return refuse(StatusCode::NOT_FOUND, "runtime_not_found");
    };
    let body = net::read_body(body, 1 << 20, PATIENCE).await.unwrap();
    let (method, path, body) = match (head.method.as_str(), rest) {
        ("GET", ["reports", turn]) => {
            let path = format!("/api/v1/report?player={}&turn={turn}", percent_encode(&race));
            ("GET", path, None)
        }
        ("POST", ["commands"]) | ("PUT", ["orders"]) => {
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            let target = if *rest == ["orders"] { "order" } else { "command" };
            let body = json!({ "actor": race, "cmd": body["commands"].take() });
            ("PUT", format!("/api/v1/{target}"), Some(body))
        }
        other => panic!("{other:?}"),
    };
    match engine_rig::call(&client, engine, method, &path, body).await {
        Ok((200, body)) => Response::new(Full::from(body.to_string())),
        Ok(_) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "engine_validation_error"),
        Err(_) => refuse(StatusCode::BAD_GATEWAY, "engine_unreachable"),
    }
}

fn refuse(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "error": { "code": code, "message": "no" } });
    Response::builder().status(status).body(Full::from(body.to_string())).unwrap()
}

/// Runs the stand-in until `shutdown`.
async fn stand_in(engine: SocketAddr, shutdown: CancellationToken) -> SocketAddr {
    let listener = TokioNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = client();
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(pass_on(client, engine, request).await) }
    });
    tokio::spawn(net::serve(listener, service, ServerLimits::default(), shutdown));
    addr
}

fn gateway(addr: SocketAddr) -> Arc<Gateway> {
    let tokens: TokenTable =
        (0..3).map(|user| (format!("secret {user}"), format!("user-{user}"))).collect();
    let options = GatewayOptions {
        base_url: format!("http://{addr}/"),
        api_token: Some(API_TOKEN.to_owned()),
        tokens,
        call_timeout: PATIENCE,
    };
    assert!(!format!("{options:?}").contains("secret"), "tokens are not for logs");
    Arc::new(Gateway::new(client(), options))
}

fn player(gateway: &Arc<Gateway>, user: usize) -> Player {
    Player {
        gateway: Arc::clone(gateway),
        token: format!("secret {user}"),
        game_id: "game 1".to_owned(),
        period: Duration::from_millis(1),
        max_rounds: None,
    }
}

#[tokio::test]
async fn answers_refusals_and_unknown_tokens() {
    let rig = Rig::start_game(EngineOptions::default(), 3).await;
    let shutdown = CancellationToken::new();
    let gateway = gateway(stand_in(rig.addr, shutdown.clone()).await);

    let report = gateway.report("secret 1", "game 1", 0).await.unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["race_name"], "race 1");
    let build = json!({ "type": "build", "planet": 1 });
    let answer = gateway.execute_commands("secret 1", "game 1", &[&build]).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("built"));
    gateway.put_orders("secret 1", "game 1", &[&build]).await.unwrap();

    let refused = gateway.report("secret 1", "game 1", 7).await;
    assert!(matches!(refused, Err(GatewayError::Refused { status, code, .. })
        if status == 422 && code == "engine_validation_error"));
    let refused = gateway.report("secret 1", "game 2", 0).await;
    assert!(matches!(refused, Err(GatewayError::Refused { code, .. })
        if code == "runtime_not_found"));
    let unknown = gateway.report("guessed", "game 1", 0).await;
    assert!(matches!(unknown, Err(GatewayError::Unauthenticated)));
    let stranger = Player { token: "guessed".into(), ..player(&gateway, 0) };
    assert_eq!(stranger.run(|_| {}, CancellationToken::new()).await, PlayerEnd::Unauthenticated);
    shutdown.cancel();
    rig.stop().await;
}

/// Plays a game out with three players; a turn is generated after every dozen requests.
#[tokio::test]
async fn players_play_a_game_to_its_end() {
    let rig = Rig::start_game(EngineOptions::default(), 3).await;
    let shutdown = CancellationToken::new();
    let gateway = gateway(stand_in(rig.addr, shutdown.clone()).await);
    let (tell, mut told) = tokio::sync::mpsc::channel(1024);
    let mut players = tokio::task::JoinSet::new();
    for user in 0..3 {
        let tell = tell.clone();
        let observe = move |event: PlayerEvent| {
            let _ = tell.try_send(event);
        };
        players.spawn(player(&gateway, user).run(observe, shutdown.clone()));
    }
    drop(tell);
    let mut accepted = (0, 0);
    let drive = async {
        let mut turn = 0;
        loop {
            for _ in 0..12 {
                let Some(event) = told.recv().await else { break };
                match event.request {
                    PlayerRequest::Report { .. } => {}
                    PlayerRequest::Commands { .. } => {
                        accepted.0 += u32::from(event.outcome == PlayerOutcome::Accepted);
                    }
                    PlayerRequest::Orders { .. } => {
                        accepted.1 += u32::from(event.outcome == PlayerOutcome::Accepted);
                    }
                }
            }
            let (status, state) = rig.turn(turn).await;
            assert_eq!(status, 200, "{state}");
            turn += 1;
            if state["finished"] == true {
                return turn;
            }
        }
    };
    let last_turn = tokio::time::timeout(3 * PATIENCE, drive).await.unwrap();
    assert!(last_turn < 200, "decided before the limit");
    // Nobody listens any more: the players still playing must not care.
    drop(told);
    let ends = tokio::time::timeout(PATIENCE, players.join_all()).await.unwrap();
    assert!(ends.contains(&PlayerEnd::GameOver { turn: last_turn }), "{ends:?}");
    assert!(accepted.0 > 5 && accepted.1 > 5, "{accepted:?} commands and orders");
    shutdown.cancel();
    rig.stop().await;
}

#[tokio::test]
async fn a_latecomer_finds_the_turn() {
    let game = GameOptions { turn_limit: 300, ..GameOptions::default() };
    let rig = Rig::start_game(EngineOptions { game, ..EngineOptions::default() }, 2).await;
    for turn in 0..200 {
        rig.turn(turn).await;
    }
    let shutdown = CancellationToken::new();
    let gateway = gateway(stand_in(rig.addr, shutdown.clone()).await);
    let (found, mut turns) = tokio::sync::mpsc::channel(64);
    let observe = move |event: PlayerEvent| {
        if let PlayerRequest::Commands { turn, .. } | PlayerRequest::Orders { turn, .. } =
            event.request
        {
            let _ = found.try_send(turn);
        }
    };
    let playing = tokio::spawn(player(&gateway, 0).run(observe, shutdown.clone()));
    let turn = tokio::time::timeout(PATIENCE, turns.recv()).await.unwrap();
    assert_eq!(turn, Some(200));
    shutdown.cancel();
    assert_eq!(playing.await.unwrap(), PlayerEnd::Cancelled);
    rig.stop().await;
}

#[tokio::test]
async fn nobody_at_the_other_end_is_determinate_and_rounds_are_bounded() {
    let free = TokioNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let events: Mutex<Vec<PlayerEvent>> = Mutex::default();
    let player = Player { max_rounds: Some(2), ..player(&gateway(addr), 0) };
    let end = player.run(|e| events.lock().unwrap().push(e), CancellationToken::new()).await;
    assert_eq!(end, PlayerEnd::RoundsOver);
    let events = events.into_inner().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].outcome, PlayerOutcome::Unreachable { determinate: true });
    assert_eq!(events[0].request, PlayerRequest::Report { turn: 0 });
}
