//! What a Game Master keeps its state in.

use std::path::Path;
use std::sync::Arc;

use integration::redis_server::{self, RedisServer};
use integration::servers::{Durability, PostgresServer};
use net::{RedisLimits, TokioNet};
use service::embedded::Embedded;
use service::ports::{Clock, Feed, Store, Streams, SystemEntropy};
use service::postgres::{Postgres, PostgresFeed, PostgresSettings, migrate};
use service::redis_streams::{RedisSettings, RedisStreams};

use super::stage::Stage;

/// Where records and streams are.
#[derive(Clone, Copy)]
pub(crate) enum Ground<'a> {
    /// In memory, both.
    Memory,
    /// In one file, both.
    File(&'a Path),
    /// In a database of its own and under keys of its own.
    Servers(&'a Servers),
}

/// What is kept there, as the service sees it.
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) feed: Arc<dyn Feed>,
}

/// A PostgreSQL and a Redis that nobody else uses, as durable as in production: every commit is on
/// the disk before it is answered, and what Redis was told at most a second later.
pub(crate) struct Servers {
    pub(crate) postgres: PostgresServer,
    redis: RedisServer,
}

impl Servers {
    pub(crate) fn start(stage: &Stage) -> Self {
        stage.neighbours.block_on(async {
            Self {
                postgres: PostgresServer::start(Durability::Full).await,
                redis: RedisServer::start(redis_server::Durability::EverySecond).await,
            }
        })
    }

    /// The name of a new database and the store over it, with the settings that a deployment has by
    /// default. Its connections run on the threads of whoever calls.
    pub(crate) async fn store(&self) -> (String, Postgres) {
        let (name, settings) = self.database().await;
        let store = Postgres::open(settings, Arc::new(TokioNet), Arc::new(SystemEntropy));
        (name, store.expect("a store"))
    }

    async fn database(&self) -> (String, PostgresSettings) {
        let (name, url) = self.postgres.database().await;
        let url = url.as_str().into();
        migrate(&url).await.expect("a schema");
        (name, PostgresSettings::new(url))
    }

    fn streams(&self) -> RedisStreams {
        let settings = RedisSettings {
            url: self.redis.url().parse().expect("a URL"),
            limits: RedisLimits::default(),
            key_prefix: redis_server::own_prefix(),
        };
        RedisStreams::new(Arc::new(TokioNet), settings)
    }
}

impl Ground<'_> {
    /// The ports over it.
    pub(crate) async fn open(self, clock: Arc<dyn Clock>) -> Ports {
        let embedded = match self {
            Self::Memory => Embedded::in_memory(clock),
            Self::File(file) => Embedded::open(file, clock).expect("a store"),
            Self::Servers(servers) => {
                let (_, settings) = servers.database().await;
                let net = Arc::new(TokioNet);
                let feed = PostgresFeed::open(&settings, net.clone(), &SystemEntropy);
                let store = Postgres::open(settings, net, Arc::new(SystemEntropy));
                return Ports {
                    store: Arc::new(store.expect("a store")),
                    streams: Arc::new(servers.streams()),
                    feed: Arc::new(feed.expect("a feed")),
                };
            }
        };
        let embedded = Arc::new(embedded);
        let feed = Arc::new(embedded.feed());
        Ports { store: embedded.clone(), streams: embedded, feed }
    }
}
