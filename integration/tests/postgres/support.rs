//! Stores on databases of their own.

use std::sync::Arc;

use async_trait::async_trait;
use integration::servers::PostgresServer;
use net::TokioNet;
use service::conformance::{Game, Rng, START, StoreFactory};
use service::ports::{
    CommitId, Committed, NewVersion, Store, SystemEntropy, VersionChange, VersionCommit,
    VersionCommitted, VersionOptions,
};
use service::postgres::{Postgres, PostgresSettings, migrate};
use tokio::sync::OnceCell;

/// A database and how to get there.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) url: String,
}

pub(crate) async fn migrated(server: &PostgresServer) -> Database {
    let (name, url) = server.database().await;
    migrate(&url.as_str().into()).await.expect("a migration");
    Database { name, url }
}

/// A migrated database on the shared server: a copy of one that was migrated once.
pub(crate) async fn shared() -> (&'static PostgresServer, Database) {
    static PATTERN: OnceCell<Database> = OnceCell::const_new();
    let server = PostgresServer::shared().await;
    let pattern = PATTERN.get_or_init(|| migrated(server)).await;
    let (name, url) = server.database_like(&pattern.name).await;
    (server, Database { name, url })
}

pub(crate) fn settings(url: &str) -> PostgresSettings {
    PostgresSettings::new(url.into())
}

pub(crate) fn open(settings: PostgresSettings) -> Postgres {
    Postgres::open(settings, Arc::new(TokioNet), Arc::new(SystemEntropy)).expect("a store")
}

/// Registers the versions that the games of the suite name.
pub(crate) async fn know_versions(store: &dyn Store, rng: &mut Rng) {
    for text in ["1.4.2", "1.4.3"] {
        let new = NewVersion {
            version: text.parse().expect("a version"),
            image_ref: format!("galaxy/engine:{text}").parse().expect("an image"),
            options: VersionOptions::default(),
        };
        let change = VersionChange::Create(new);
        let commit = VersionCommit { id: CommitId(rng.uuid()), change, claim: None, at: START };
        let answer = store.change_version(&commit).await.expect("an answer");
        assert!(matches!(answer, VersionCommitted::Applied(Some(_))), "{answer:?}");
    }
}

/// A game that runs.
pub(crate) async fn running(store: &dyn Store, id: &str, rng: &mut Rng) -> Game {
    let mut game = Game::new(id);
    let register = game.must(&game.registration(rng), rng);
    assert_eq!(store.commit(&register).await.expect("a commit"), Committed::Applied);
    game.applied(&register);
    let started = game.must(&game.init_done(), rng);
    assert_eq!(store.commit(&started).await.expect("a commit"), Committed::Applied);
    game.applied(&started);
    game
}

/// Stores on the shared server.
#[derive(Default)]
pub(crate) struct OnServer {
    url: Option<String>,
}

#[async_trait]
impl StoreFactory for OnServer {
    async fn empty(&mut self) -> Arc<dyn Store> {
        let (_, database) = shared().await;
        let url = self.url.insert(database.url);
        Arc::new(open(settings(url)))
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        Arc::new(open(settings(self.url.as_deref().expect("one was made"))))
    }
}
