//! Lobby, Runtime Manager and an odd engine on one listener, by script.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use net::{Net as _, ServerLimits, TokioNet};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the neighbours do.
#[derive(Clone)]
pub(crate) struct Neighbour {
    script: Arc<Mutex<Script>>,
    /// Whether Runtime Manager keeps its callers waiting.
    holds: Arc<watch::Sender<bool>>,
    pub(crate) address: SocketAddr,
}

#[derive(Default)]
struct Script {
    members: BTreeMap<String, Value>,
    lobby_is_down: bool,
    rtm_is_down: bool,
}

impl Neighbour {
    pub(crate) async fn start(stop: CancellationToken) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TokioNet.bind(loopback).await.expect("a free port");
        let neighbour = Self {
            script: Arc::default(),
            holds: Arc::new(watch::Sender::new(false)),
            address: listener.local_addr().expect("bound"),
        };
        let serving = neighbour.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let neighbour = serving.clone();
            async move { Ok::<_, Infallible>(neighbour.answer(request.uri().path()).await) }
        });
        tokio::spawn(net::serve(listener, service, ServerLimits::default(), stop));
        neighbour
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set_members(&self, game: &str, members: Value) {
        self.lock().members.insert(game.into(), json!({ "members": members }));
    }

    pub(crate) fn set_lobby_down(&self, down: bool) {
        self.lock().lobby_is_down = down;
    }

    pub(crate) fn set_rtm_down(&self, down: bool) {
        self.lock().rtm_is_down = down;
    }

    pub(crate) fn hold_rtm(&self, hold: bool) {
        self.holds.send_replace(hold);
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
        let (status, body) = match *parts {
            ["internal", "games", game, "memberships"] => {
                let script = self.lock();
                match script.members.get(game) {
                    _ if script.lobby_is_down => (StatusCode::SERVICE_UNAVAILABLE, json!({})),
                    Some(members) => (StatusCode::OK, members.clone()),
                    None => (StatusCode::NOT_FOUND, json!({})),
                }
            }
            ["internal", "runtimes", _, verb] => {
                let mut holds = self.holds.subscribe();
                let _ = holds.wait_for(|holds| !holds).await;
                match verb {
                    _ if self.lock().rtm_is_down => (StatusCode::SERVICE_UNAVAILABLE, json!({})),
                    "patch" => (StatusCode::OK, json!({ "container_id": "container-2" })),
                    _ => (StatusCode::OK, json!({})),
                }
            }
            ["admin", "init" | "status"] => (StatusCode::OK, odd_state()),
            ["admin", "race", "banish"] => (StatusCode::FOUND, json!({})),
            _ => (StatusCode::NOT_FOUND, json!({})),
        };
        let response =
            Response::builder().status(status).header("Content-Type", "application/json");
        response.body(Full::new(body.to_string().into())).expect("a response")
    }
}

/// An engine that plays along until it is asked to banish somebody.
fn odd_state() -> Value {
    let player = |race: &str| {
        json!({
            "id": race.len().to_string(),
            "race_name": race,
            "planets": 1,
            "population": 1,
            "extinct": false,
        })
    };
    let players = ["Terrans", "Zoral Combine"].map(player);
    json!({ "id": "odd", "turn": 0, "player": players, "finished": false })
}
