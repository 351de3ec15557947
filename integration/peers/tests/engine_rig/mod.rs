//! A reference engine on loopback, and a client that speaks to it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use net::{CallError, ClientLimits, HttpClient, TokioNet};
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Plan};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An engine that runs until it is stopped.
pub struct Rig {
    pub addr: SocketAddr,
    pub misbehaviour: Misbehaviour,
    client: HttpClient,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    pub async fn start(options: EngineOptions) -> Self {
        let misbehaviour = options.misbehaviour.clone();
        let any = "127.0.0.1:0".parse().unwrap();
        let server = EngineServer::bind(&TokioNet, any, options).await.unwrap();
        let addr = server.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(shutdown.clone()));
        Self { addr, misbehaviour, client: client(), shutdown, task }
    }

    /// An engine with a game of `races` races.
    pub async fn start_game(options: EngineOptions, races: usize) -> Self {
        let rig = Self::start(options).await;
        let (status, body) = rig.post("/api/v1/admin/init", init(races)).await;
        assert_eq!(status, 200, "{body}");
        rig
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    pub fn misbehave(&self, plan: Plan) {
        self.misbehaviour.set(plan);
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, Some(body)).await.unwrap()
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("PUT", path, Some(body)).await.unwrap()
    }

    /// Asks for the turn after `expected`.
    pub async fn turn(&self, expected: u32) -> (u16, Value) {
        self.try_turn(expected).await.unwrap()
    }

    pub async fn try_turn(&self, expected: u32) -> Result<(u16, Value), CallError> {
        let path = format!("/api/v1/admin/turn?expected_turn={expected}");
        self.send("PUT", &path, None).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), CallError> {
        call(&self.client, self.addr, method, path, body).await
    }

    pub async fn raw(&self, request: Request<Bytes>) -> http::Response<Bytes> {
        self.client.send(request).await.unwrap()
    }
}

pub fn client() -> HttpClient {
    HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None)
}

/// One request; an unreadable body is `null`.
pub async fn call(
    client: &HttpClient,
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value), CallError> {
    let mut request = Request::builder().method(method).uri(format!("http://{addr}{path}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let response = client.send_within(request.body(body).unwrap(), PATIENCE).await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(response.body()).unwrap_or(Value::Null)))
}

/// The body that initialises a game of `races` races.
pub fn init(races: usize) -> Value {
    let races: Vec<Value> =
        (0..races).map(|race| json!({ "race_name": format!("race {race}") })).collect();
    json!({ "races": races })
}
