//! Just enough of Game Master for Lobby to talk to, with every call on record.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
};

use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use net::{Net, ServerLimits, TokioNet};
use peers::http::{Reply, dropped_connection, error, json, segments};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{LIMIT, Running};

/// What becomes of the next registration.
#[derive(Clone)]
pub(crate) enum Script {
    /// It is refused with this status and code.
    Refuse(StatusCode, &'static str),
    /// It is done, and the answer lost.
    DoAndDrop,
}

#[derive(Clone, Default)]
pub(crate) struct Book {
    /// Registered games, by id, with the body.
    pub(crate) records: BTreeMap<String, Value>,
    /// Every registration tried: game and idempotency key.
    pub(crate) registrations: Vec<(String, String)>,
    pub(crate) script: VecDeque<Script>,
    /// Every invalidation, by game.
    pub(crate) invalidations: Vec<String>,
    pub(crate) invalidations_fail: bool,
    /// Stops asked of Runtime Manager, which this fake plays too.
    pub(crate) stops: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// Status told of registered games.
    pub(crate) status: Option<&'static str>,
}

pub(crate) struct FakeGm {
    pub(crate) addr: SocketAddr,
    book: Arc<watch::Sender<Book>>,
    server: Option<Running>,
}

impl FakeGm {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(watch::Sender::new(Book::default()));
        let mut gm = Self { addr: super::any_port(), book, server: None };
        gm.go_up().await;
        gm
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Listens, on the same address as before.
    pub(crate) async fn go_up(&mut self) {
        let listener = TokioNet.bind(self.addr).await.unwrap();
        self.addr = listener.local_addr().unwrap();
        let book = Arc::clone(&self.book);
        let service = service_fn(move |request| {
            let book = Arc::clone(&book);
            async move { Ok::<_, Infallible>(answer(&book, request).await) }
        });
        self.server = Some(Running::spawn(|stop| async move {
            net::serve(listener, service, ServerLimits::default(), stop).await;
        }));
    }

    pub(crate) async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    pub(crate) fn book(&self) -> Book {
        self.book.borrow().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Book)) {
        self.book.send_modify(change);
    }

    pub(crate) async fn until(&self, wanted: impl Fn(&Book) -> bool) -> Book {
        let mut book = self.book.subscribe();
        let waiting = book.wait_for(|book| wanted(book));
        tokio::time::timeout(LIMIT, waiting).await.expect("in time").unwrap().clone()
    }
}

async fn answer(book: &watch::Sender<Book>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let body = net::read_body(body, 1 << 20, LIMIT).await.unwrap();
    let path = segments(head.uri.path()).unwrap();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let ok = |value: Value| json(StatusCode::OK, &value);
    match path.as_slice() {
        ["api", "v1", "internal", "engine-versions", "1.0.0", "image-ref"] => {
            ok(json!({ "image_ref": "galaxy/game:1.0.0" }))
        }
        ["api", "v1", "internal", "engine-versions", _, "image-ref"] => {
            error(StatusCode::NOT_FOUND, "engine_version_not_found", "no such version")
        }
        ["api", "v1", "internal", "games", game_id, "register-runtime"] => {
            let header = |name: &str| {
                let value = head.headers.get(name).map(|value| value.to_str().unwrap());
                value.unwrap_or_default().to_owned()
            };
            let body: Value = serde_json::from_slice(&body).unwrap();
            let mut reply = None;
            book.send_modify(|book| {
                book.registrations.push(((*game_id).to_owned(), header("idempotency-key")));
                for name in ["x-galaxy-caller", "authorization"] {
                    book.headers.insert(name.to_owned(), header(name));
                }
                let script = book.script.pop_front();
                if let Some(Script::Refuse(status, code)) = script {
                    reply = Some(error(status, code, "as scripted"));
                } else if book.records.contains_key(*game_id) {
                    reply = Some(error(StatusCode::CONFLICT, "conflict", "registered"));
                } else {
                    book.records.insert((*game_id).to_owned(), body.clone());
                    if matches!(script, Some(Script::DoAndDrop)) {
                        reply = Some(dropped_connection());
                    }
                }
            });
            reply.unwrap_or_else(|| ok(body))
        }
        ["api", "v1", "internal", "games", game_id, "liveness"] => {
            let book = book.borrow();
            let status = book.status.unwrap_or("running");
            match book.records.get(*game_id) {
                Some(_) => ok(json!({ "ready": status == "running", "status": status })),
                None => ok(json!({ "ready": true, "status": "unregistered" })),
            }
        }
        ["api", "v1", "internal", "games", game_id, "memberships", "invalidate"] => {
            let mut fail = false;
            book.send_modify(|book| {
                book.invalidations.push((*game_id).to_owned());
                fail = book.invalidations_fail;
            });
            if fail {
                return error(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "told to");
            }
            ok(json!({}))
        }
        ["api", "v1", "internal", "runtimes", game_id] => {
            let book = book.borrow();
            match book.records.get(*game_id) {
                Some(record) => ok(json!({
                    "game_id": game_id,
                    "runtime_status": book.status.unwrap_or("running"),
                    "engine": { "endpoint": record["engine_endpoint"] },
                })),
                None => error(StatusCode::NOT_FOUND, "runtime_not_found", "no such runtime"),
            }
        }
        ["api", "v1", "internal", "runtimes", game_id, "stop"] => {
            book.send_modify(|book| book.stops.push((*game_id).to_owned()));
            ok(json!({ "container_id": "c" }))
        }
        _ => error(StatusCode::NOT_FOUND, "not_found", "no such path"),
    }
}
