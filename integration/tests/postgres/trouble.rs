//! Servers that are gone, or that do not write.

use std::net::SocketAddr;
use std::time::Duration;

use integration::harness::until;
use integration::proxy::{FaultProxy, Trap};
use integration::servers::{Durability, PostgresServer};
use machine::Event;
use service::conformance::Rng;
use service::ports::{CommitError, Committed, Store};
use service::postgres::{MigrateError, migrate};

use crate::support::{know_versions, migrated, open, running, settings, shared};

/// Longer than any method may take.
const BOUND: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_missed_in_time_and_found_again() {
    let server = PostgresServer::start(Durability::Full).await;
    let database = migrated(&server).await;
    let store = open(settings(&database.url));
    let mut rng = Rng::new(1);
    know_versions(&store, &mut rng).await;
    let mut game = running(&store, "game-1", &mut rng).await;
    let commit = game.must(&Event::Force, &mut rng);
    server.stop();
    let answers = async {
        store.ready().await.expect_err("no server");
        store.load(&game.id).await.expect_err("no server");
        let answer = store.commit(&commit).await;
        assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
        let error = migrate(&database.url.as_str().into()).await.expect_err("no server");
        assert!(matches!(error, MigrateError::Unreachable(_)), "{error}");
    };
    tokio::time::timeout(BOUND, answers).await.expect("answers in time");
    server.restart().await;
    until("the store is ready", || async { store.ready().await.ok() }).await;
    // Everything that was confirmed is there after the crash.
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.commit(&commit).await.expect("a commit"), Committed::Applied);
    game.applied(&commit);

    server.become_standby().await;
    let why = until("the replica answers", || async {
        store.ready().await.err().map(|e| e.to_string()).filter(|why| why.contains("replica"))
    });
    why.await;
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    let commit = game.must(&game.turn_done(), &mut rng);
    let answer = store.commit(&commit).await;
    assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    let error = migrate(&database.url.as_str().into()).await.expect_err("a replica");
    assert!(matches!(error, MigrateError::ReadOnly), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_waited_for_so_long_and_no_longer() {
    let (server, database) = shared().await;
    let mut settings = settings(&database.url);
    settings.pool_size = 2;
    settings.commit_lanes = 1;
    settings.wait_timeout = Duration::from_millis(200);
    let store = open(settings);
    let mut rng = Rng::new(2);
    know_versions(&store, &mut rng).await;
    let game = running(&store, "game-1", &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let hold = "BEGIN; LOCK TABLE gamemaster.operation_log IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(hold).await.expect("a lock");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (store, id) = (store.clone(), game.id.clone());
        tasks.spawn(async move { store.operations(&id, None, 1).await });
    }
    let mut told = 0;
    for _ in 0..10 {
        let answer = tasks.join_next().await.expect("a task").expect("it ends");
        told += usize::from(answer.is_err_and(|e| e.to_string().contains("in use")));
    }
    assert_eq!(told, 10, "those who found no connection were told so");
    admin.batch_execute("ROLLBACK").await.expect("the lock goes");
    while let Some(answer) = tasks.join_next().await {
        answer.expect("it ends").expect("those who had one were answered");
    }
}

/// Whoever starts while the database goes away has to wait for it, and must not take that for a
/// migration that was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_connection_is_lost_has_not_failed() {
    let (_, database) = shared().await;
    let server: SocketAddr =
        database.url.split(['@', '/']).nth(3).unwrap_or_default().parse().expect("an address");
    let proxy = FaultProxy::start(server);
    let url = database.url.replace(&server.to_string(), &proxy.address().to_string());
    for request in [&b"pg_advisory_lock"[..], b"schema_history"] {
        let lost = proxy.trap(Trap::request_with(request));
        let error = migrate(&url.as_str().into()).await.expect_err("a lost connection");
        assert!(matches!(error, MigrateError::Unreachable(_)), "{error}");
        assert_eq!(lost.count(), 1);
        proxy.heal();
    }
    migrate(&url.as_str().into()).await.expect("the schema is there");
}
