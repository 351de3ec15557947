//! Names of requests that are taken while another request under them is waited for.

use std::time::Duration;

use integration::harness::until;
use integration::servers::PostgresServer;
use service::conformance::{Game, Rng, START};
use service::ports::{
    Claim, ClaimKey, Commit, CommitId, Committed, Fingerprint, NewVersion, Source, Store,
    VersionChange, VersionCommit, VersionCommitted, VersionOptions,
};
use service::postgres::Postgres;

use crate::support::{Database, know_versions, open, settings, shared};

const TAKEN: &str = "INSERT INTO gamemaster.claims (caller, key, fingerprint, at) \
    VALUES ('admin', 'key', decode(repeat('00', 32), 'hex'), '2030-01-01')";

fn claim() -> Claim {
    let key = ClaimKey { caller: Source::Admin, key: "key".parse().expect("a key") };
    Claim { key, fingerprint: Fingerprint([1; 32]) }
}

async fn store() -> (&'static PostgresServer, Database, Postgres) {
    let (server, database) = shared().await;
    let mut settings = settings(&database.url);
    settings.lock_timeout = Duration::from_secs(20);
    settings.statement_timeout = Duration::from_secs(30);
    (server, database, open(settings))
}

async fn somebody_waits(server: &PostgresServer, database: &Database) {
    let watcher = server.admin("postgres").await.expect("a connection");
    let waits = "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    until("somebody to wait", || async {
        let rows = watcher.query(waits, &[&database.name]).await.expect("the activity");
        (!rows.is_empty()).then_some(())
    })
    .await;
}

/// The version went by a request of that name: what counts is that the name is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_taken_meanwhile_goes_before_a_version_that_went_with_it() {
    let (server, database, store) = store().await;
    let mut rng = Rng::new(1);
    know_versions(&store, &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let first = format!("BEGIN; DELETE FROM gamemaster.engine_versions; {TAKEN}");
    admin.batch_execute(&first).await.expect("the first request");
    let game = Game::new("game-1");
    let commit = game.must(&game.registration(&mut rng), &mut rng);
    let commit = Commit { claim: Some(claim()), ..commit };
    let second = tokio::spawn({
        let store = store.clone();
        async move { store.commit(&commit).await }
    });
    somebody_waits(server, &database).await;
    admin.batch_execute("COMMIT").await.expect("the first request is done");
    let answer = second.await.expect("it ends").expect("an answer");
    assert_eq!(answer, Committed::Conflict);
    assert_eq!(store.load(&game.id).await.expect("a load"), None);
}

/// The version came by a request of that name, most likely by this very one.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_taken_meanwhile_goes_before_a_version_that_came_with_it() {
    let (server, database, store) = store().await;
    let mut rng = Rng::new(2);
    let admin = server.admin(&database.name).await.expect("a connection");
    let first = format!(
        "BEGIN; INSERT INTO gamemaster.engine_versions \
         VALUES ('1.0.0', 'x', 'a/b:1', '{{}}', 'active', '2030-01-01', '2030-01-01'); {TAKEN}"
    );
    admin.batch_execute(&first).await.expect("the first request");
    let new = NewVersion {
        version: "1.0.0".parse().expect("a version"),
        image_ref: "a/b:1".parse().expect("an image"),
        options: VersionOptions::default(),
    };
    let change = VersionChange::Create(new);
    let id = CommitId(rng.uuid());
    let commit = VersionCommit { id, change, claim: Some(claim()), at: START };
    let second = tokio::spawn({
        let (store, commit) = (store.clone(), commit.clone());
        async move { store.change_version(&commit).await }
    });
    somebody_waits(server, &database).await;
    admin.batch_execute("COMMIT").await.expect("the first request is done");
    let answer = second.await.expect("it ends").expect("an answer");
    assert_eq!(answer, VersionCommitted::Claimed);
    // Nor was the name of the change kept, which came to nothing.
    let again = VersionCommit { claim: None, ..commit };
    let answer = store.change_version(&again).await.expect("an answer");
    assert_eq!(answer, VersionCommitted::Exists);
}
