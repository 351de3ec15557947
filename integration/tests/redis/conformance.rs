//! The conformance suite of the port.

use std::sync::Arc;

use async_trait::async_trait;
use integration::redis_server::{self, RedisServer};
use net::{RedisLink, TokioNet};
use service::conformance::{StreamsFactory, streams};
use service::ports::Streams;
use service::redis_streams::RedisStreams;

use super::{LIMITS, settings};

/// How many random sequences, and how long.
const SEQUENCES: u64 = 60;
const STEPS: usize = 120;

/// Streams apart from all others by the prefix of their keys. A crash is one of the process: a new
/// adapter finds what the last one left.
struct InRedis {
    url: String,
    prefix: String,
    _server: Option<RedisServer>,
}

impl InRedis {
    async fn new() -> Self {
        let (url, server) = redis_server::any().await;
        Self { url, prefix: String::new(), _server: server }
    }

    fn make(&self) -> Arc<dyn Streams> {
        Arc::new(RedisStreams::new(Arc::new(TokioNet), settings(&self.url, &self.prefix)))
    }
}

#[async_trait]
impl StreamsFactory for InRedis {
    async fn empty(&mut self) -> Arc<dyn Streams> {
        self.prefix = redis_server::own_prefix();
        self.make()
    }

    async fn reopen(&mut self, streams: Arc<dyn Streams>) -> Arc<dyn Streams> {
        drop(streams);
        self.make()
    }

    async fn plant_offset(&mut self, consumer: &str, text: &str) {
        let url = self.url.parse().expect("a URL");
        let link = RedisLink::new(Arc::new(TokioNet), url, LIMITS);
        let key = format!("{}gamemaster:offset:{consumer}", self.prefix);
        let request = redis::Cmd::new().arg("SET").arg(key).arg(text).take();
        link.ask(&request).await.expect("planted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_keep_every_promise() {
    streams::directed(&mut InRedis::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_do_what_the_model_does() {
    let mut factory = InRedis::new().await;
    for seed in 0..SEQUENCES {
        streams::sequence(&mut factory, seed, STEPS).await;
    }
}

/// Behind a password, in another database than the first one.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_database_change_nothing() {
    let server = RedisServer::start_with_password().await;
    let url = format!("{}/3", server.url());
    let mut factory = InRedis { url, prefix: String::new(), _server: Some(server) };
    streams::directed(&mut factory).await;
    let server = factory._server.as_ref().expect("the server");
    assert_eq!(
        server.command(&["DBSIZE"]).await.expect("a number"),
        ":0",
        "the first one is empty"
    );
}
