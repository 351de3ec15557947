//! Game Master with its neighbours, and a list of all that it ever answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use integration::contracts::{self, Contract};
use integration::harness::until;
use net::{Net as _, TokioNet};
use peers::engine::game::GameOptions;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour};
use serde_json::Value;
use service::app::{self, App, Seams};
use service::config::Settings;
use service::embedded::Embedded;
use service::http::{Api, HttpSettings};
use service::ports::{Clock, Entry, Store, Streams, SystemClock, SystemEntropy};
use service::unreliable::{Call as StoreCall, Fate, UnreliableStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Case;
use crate::broken::{Broken, tells_no_detail};
use crate::call::{Answer, Call, TOKENS};
use crate::neighbour::Neighbour;

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// Nothing gets through.
    Down,
    /// Every change is made, and its answer lost.
    Mute,
}

/// See the module.
pub(crate) struct World {
    /// Game Master.
    pub(crate) gm: SocketAddr,
    /// The same one, where there is no room for any request.
    pub(crate) full: SocketAddr,
    /// One with nothing but bugs.
    pub(crate) broken: SocketAddr,
    pub(crate) neighbour: Neighbour,
    contract: Contract,
    mode: Arc<Mutex<Mode>>,
    seen: Mutex<BTreeSet<Case>>,
    engines: Mutex<BTreeMap<String, (SocketAddr, Misbehaviour)>>,
    streams: Arc<Embedded>,
    stop: CancellationToken,
    gone: CancellationToken,
    running: JoinHandle<()>,
}

/// The longest body taken.
pub(crate) const MAX_BODY_BYTES: usize = 4096;

fn http_settings() -> HttpSettings {
    let text: Vec<String> = TOKENS.iter().map(|(name, token)| format!("{name}={token}")).collect();
    HttpSettings {
        tokens: Some(text.join(",").parse().expect("tokens")),
        max_body_bytes: MAX_BODY_BYTES,
        body_timeout: Duration::from_millis(200),
        request_ids: Some(Arc::new(SystemEntropy)),
        ..HttpSettings::default()
    }
}

async fn serve(api: Arc<dyn Api>, settings: HttpSettings, stop: CancellationToken) -> SocketAddr {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TokioNet.bind(loopback).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(service::http::serve(listener, api, settings, stop));
    address
}

impl World {
    pub(crate) async fn start() -> Self {
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let neighbour = Neighbour::start(gone.clone()).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let embedded = Arc::new(Embedded::in_memory(Arc::clone(&clock)));
        let mode = Arc::new(Mutex::new(Mode::Well));
        let decides = Arc::clone(&mode);
        let decide = move |call: StoreCall<'_>| {
            let mode = *decides.lock().unwrap_or_else(PoisonError::into_inner);
            let changes = match call {
                StoreCall::Read(_) | StoreCall::Write(_) => false,
                StoreCall::Commit(_)
                | StoreCall::Log(_)
                | StoreCall::ChangeVersion(_)
                | StoreCall::Append(..) => true,
            };
            match mode {
                Mode::Down => Fate::Refused,
                Mode::Mute if changes => Fate::ReplyLost,
                Mode::Mute | Mode::Well => Fate::Pass,
            }
        };
        let store: Arc<dyn Store> = Arc::new(UnreliableStore::new(embedded.clone(), decide));
        let networks = vec!["127.0.0.0/8".parse().expect("a network")];
        let settings = Settings {
            http: http_settings(),
            rtm_timeout: Duration::from_secs(20),
            ..Settings::development(
                SocketAddr::from(([127, 0, 0, 1], 0)),
                neighbour.url(),
                neighbour.url(),
                networks,
            )
        };
        let seams = Seams {
            net: Arc::new(TokioNet),
            store,
            feed: Arc::new(embedded.feed()),
            streams: embedded.clone(),
            clock,
            entropy: Arc::new(SystemEntropy),
        };
        let bound = app::bind(settings, seams, stop.clone()).await.expect("it starts");
        let gm = bound.address().expect("bound");
        let app: Arc<App> = bound.app();
        let running = tokio::spawn(async move { bound.run().await.expect("no worker panics") });
        let no_room = HttpSettings { max_in_flight: 0, ..http_settings() };
        Self {
            gm,
            full: serve(app, no_room, gone.clone()).await,
            broken: serve(Arc::new(Broken), http_settings(), gone.clone()).await,
            neighbour,
            contract: contracts::openapi().expect("the contract"),
            mode,
            seen: Mutex::default(),
            engines: Mutex::default(),
            streams: embedded,
            stop,
            gone,
            running,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Starts an engine of a name; what it does wrong can be told it.
    pub(crate) async fn engine(&self, name: &str, turn_limit: u32) -> String {
        let misbehaviour = Misbehaviour::default();
        let options = EngineOptions {
            game: GameOptions { turn_limit, ..GameOptions::default() },
            misbehaviour: misbehaviour.clone(),
            ..EngineOptions::default()
        };
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = EngineServer::bind(&TokioNet, loopback, options).await.expect("an engine");
        let address = engine.local_addr().expect("bound");
        tokio::spawn(engine.serve(self.gone.clone()));
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.insert(name.into(), (address, misbehaviour));
        format!("http://{address}")
    }

    /// What an engine does wrong.
    pub(crate) fn misbehaviour(&self, name: &str) -> Misbehaviour {
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.get(name).expect("an engine").1.clone()
    }

    /// Sends a request to Game Master and holds the answer against the contract.
    pub(crate) async fn ask(&self, call: Call) -> (u16, Value) {
        let answer = call.send(self.gm).await;
        self.hold(&call, &answer)
    }

    /// The same, and it must be answered so.
    pub(crate) async fn expect(&self, call: Call, status: u16, code: &str) -> Value {
        let asked = format!("{call:?}");
        let (found, body) = self.ask(call).await;
        let found_code = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((found, found_code), (status, code), "{asked}: {body}");
        body
    }

    /// Holds an answer against the contract, and notes that it was reached.
    pub(crate) fn hold(&self, call: &Call, answer: &Answer) -> (u16, Value) {
        let status = answer.status;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let check = self.contract.response_check(call.operation, status);
        let check = check.unwrap_or_else(|error| panic!("{error}: {call:?} -> {status} {text}"));
        let header = |name: &str| answer.headers.get(&name.to_ascii_lowercase()).cloned();
        let wrong = check.violations(header, &answer.body);
        assert!(wrong.is_empty(), "{call:?} -> {status} {text}\n{wrong:#?}");
        assert!(tells_no_detail(&answer.body), "{call:?} -> {text}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let code = body["error"]["code"].as_str().unwrap_or_default();
        let case = (call.operation.to_owned(), status, code.to_owned());
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(case);
        (status, body)
    }

    /// Ends everything: what was seen, and what the streams tell.
    pub(crate) async fn end(self) -> (BTreeSet<Case>, BTreeMap<String, Vec<Entry>>) {
        until("everything to be published", || async {
            (self.streams.outbox_backlog().await.ok()?.waiting == 0).then_some(())
        })
        .await;
        self.stop.cancel();
        self.running.await.expect("no panic");
        self.gone.cancel();
        let mut told = BTreeMap::new();
        for name in ["gm:lobby_events", "notification:intents"] {
            let from = machine::StreamId::ZERO;
            let read = self.streams.read(name, from, 100_000, Duration::ZERO).await;
            told.insert(name.to_owned(), read.expect("entries"));
        }
        (self.seen.into_inner().unwrap_or_else(PoisonError::into_inner), told)
    }
}
