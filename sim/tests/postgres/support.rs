//! Simulated servers on loopback, and stores over them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use integration::harness::until;
use net::TokioNet;
use service::conformance::StoreFactory;
use service::ports::{Store, SystemClock, SystemEntropy};
use service::postgres::{Postgres, PostgresSettings};
use sim::postgres::{Conduct, Database, Strike};
use tokio::task::JoinHandle;

/// A server on loopback, gone when dropped.
pub(crate) struct Served {
    pub(crate) database: Database,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    pub(crate) async fn new(seed: u64) -> Self {
        let database = Database::new(seed, Arc::new(SystemClock));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = database.bind(&TokioNet, any).await.expect("a free port");
        let address = server.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let ended = server.run().await;
            panic!("a server ends when it is dropped: {ended:?}");
        });
        Self { database, address, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://gm:hush@{}/gm", self.address)
    }

    pub(crate) fn settings(&self) -> PostgresSettings {
        PostgresSettings::new(self.url().into())
    }

    pub(crate) fn open(&self) -> Postgres {
        open(self.settings())
    }
}

pub(crate) fn open(settings: PostgresSettings) -> Postgres {
    Postgres::open(settings, Arc::new(TokioNet), Arc::new(SystemEntropy)).expect("a store")
}

/// Stores over simulated servers that behave in some way, and crash where the suite crashes them.
#[derive(Default)]
pub(crate) struct OnHost {
    pub(crate) conduct: Conduct,
    served: Option<Served>,
    made: u64,
}

impl OnHost {
    pub(crate) fn that(conduct: Conduct) -> Self {
        Self { conduct, ..Self::default() }
    }
}

#[async_trait]
impl StoreFactory for OnHost {
    async fn empty(&mut self) -> Arc<dyn Store> {
        self.made += 1;
        let served = self.served.insert(Served::new(self.made).await);
        served.database.conduct(self.conduct.clone());
        Arc::new(served.open())
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        let served = self.served.as_ref().expect("one was made");
        served.database.strike(Strike::Crash { down_ms: 0 });
        let store = served.open();
        until("the server crashed and is back", || async {
            let crashed = served.database.struck().contains_key("crash");
            (crashed && store.ready().await.is_ok()).then_some(())
        })
        .await;
        Arc::new(store)
    }
}
