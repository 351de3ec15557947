//! The gateway as a server: players come with their tokens, Game Master's answers go back as they
//! are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use hyper::{body::Incoming, service::service_fn};
use net::{Listener, ServerLimits};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio_util::sync::CancellationToken;

use super::{Gateway, GatewayError};
use crate::{
    front::Front,
    http::{MAX_BODY_BYTES, Problem, Reply, json, raw_json, read_json, segments},
};

/// Requests remembered.
const MAX_REMEMBERED: usize = 1_000;

/// A request of a player, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handled {
    /// Who asked; none where nobody knows.
    pub user_id: Option<String>,
    /// What: method and path.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
}

/// A gateway behind HTTP; cloning gives another window into the same one.
#[derive(Clone)]
pub struct GatewayServer {
    gateway: Arc<Gateway>,
    front: Front,
    handled: Arc<Mutex<VecDeque<Handled>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    /// Not looked into: what a command is, the engine knows.
    commands: Vec<Box<RawValue>>,
}

impl GatewayServer {
    /// A server of `gateway`.
    pub fn new(gateway: Gateway) -> Self {
        let gateway = Arc::new(gateway);
        Self { gateway, front: Front::default(), handled: Arc::default() }
    }

    /// Works until `stop`.
    pub async fn serve(
        &self,
        listener: Box<dyn Listener>,
        limits: ServerLimits,
        stop: CancellationToken,
    ) {
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        net::serve(listener, service, limits, stop).await;
    }

    /// The last requests of players, oldest first.
    pub fn handled(&self) -> Vec<Handled> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Handled>> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let body = match self.front.before(&head, body).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let is_get = head.method == Method::GET;
        let reply = match head.uri.path() {
            "/healthz" if is_get => json(StatusCode::OK, &json!({})),
            "/_log" if is_get => json(StatusCode::OK, &self.handled()),
            _ => self.players_answer(&head, body).await,
        };
        self.front.after().await;
        reply
    }

    async fn players_answer(&self, head: &Parts, body: Incoming) -> Reply {
        let token = bearer(&head.headers).unwrap_or_default();
        let user_id = self.gateway.authenticate(token).ok().map(str::to_owned);
        let (reply, code) = match self.pass_on(token, head, body).await {
            Ok(answer) => (raw_json(StatusCode::OK, answer), None),
            Err(problem) => {
                let code = problem.code.clone().into_owned();
                (problem.into_reply(), Some(code))
            }
        };
        let request = format!("{} {}", head.method, head.uri.path());
        let status = reply.status().as_u16();
        let mut handled = self.lock();
        handled.push_back(Handled { user_id, request, status, code });
        if handled.len() > MAX_REMEMBERED {
            handled.pop_front();
        }
        drop(handled);
        reply
    }

    async fn pass_on(&self, token: &str, head: &Parts, body: Incoming) -> Result<Bytes, Problem> {
        let path = segments(head.uri.path())?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let ["api", "v1", "games", game_id, what @ ..] = path.as_slice() else {
            return Err(Problem::not_found());
        };
        let answer = match (what, &head.method) {
            (["commands"], &Method::POST) => {
                let Commands { commands } = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
                self.gateway.execute_commands(token, game_id, &commands).await
            }
            (["orders"], &Method::PUT) => {
                let Commands { commands } = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
                self.gateway.put_orders(token, game_id, &commands).await
            }
            (["reports", turn], &Method::GET) => {
                let turn = turn.parse().map_err(|_| Problem::not_found())?;
                self.gateway.report(token, game_id, turn).await
            }
            (["commands" | "orders"] | ["reports", _], _) => {
                return Err(Problem::method_not_allowed());
            }
            _ => return Err(Problem::not_found()),
        };
        answer.map_err(Problem::from)
    }
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Unauthenticated => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "no such player")
            }
            GatewayError::Refused { status, code, message } => Self::new(status, code, message),
            GatewayError::Unreachable(error) => {
                Self::new(StatusCode::BAD_GATEWAY, "game_master_unreachable", error.to_string())
            }
            GatewayError::Unwritable(message) => Self::invalid_request(message),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
