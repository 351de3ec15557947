//! Migrations: raced, repeated, refused.

use std::time::Duration;

use integration::servers::PostgresServer;
use net::TokioNet;
use service::ports::Store;
use service::postgres::{MigrateError, SCHEMA_VERSION, migrate, migrate_over};

use crate::support::{open, settings};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_start_at_once_one_migrates_and_all_find_it_done() {
    let (_, url) = PostgresServer::shared().await.database().await;
    let before = open(settings(&url));
    let why = before.ready().await.expect_err("no schema yet").to_string();
    assert!(why.contains("gamemaster migrate"), "{why}");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let url = url.clone();
        tasks.spawn(async move { migrate(&url.as_str().into()).await.expect("a migration") });
    }
    let mut applied = 0;
    while let Some(report) = tasks.join_next().await {
        let report = report.expect("a starter");
        assert_eq!(report.version, SCHEMA_VERSION);
        applied += report.applied.len();
    }
    assert_eq!(applied, 1, "each migration was applied once");
    before.ready().await.expect("ready");
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused() {
    let server = PostgresServer::shared().await;
    let (name, url) = server.database().await;
    migrate(&url.as_str().into()).await.expect("a migration");
    let store = open(settings(&url));
    let admin = server.admin(&name).await.expect("a connection");
    let later = "INSERT INTO gamemaster.schema_history SELECT version + 1, 'later', applied_on, \
                 checksum FROM gamemaster.schema_history";
    admin.batch_execute(later).await.expect("a later version");
    let error = migrate(&url.as_str().into()).await.expect_err("a newer schema");
    assert!(matches!(error, MigrateError::Newer { .. }), "{error}");
    assert!(store.ready().await.expect_err("a newer schema").to_string().contains("version 2"));
    admin
        .batch_execute(
            "DELETE FROM gamemaster.schema_history WHERE name = 'later'; \
             UPDATE gamemaster.schema_history SET checksum = '1'",
        )
        .await
        .expect("another history");
    let error = migrate(&url.as_str().into()).await.expect_err("another history");
    assert!(matches!(error, MigrateError::Divergent(_)), "{error}");
}

#[tokio::test]
async fn a_migration_waits_for_another_one_so_long_and_no_longer() {
    let server = PostgresServer::shared().await;
    let (name, url) = server.database().await;
    let admin = server.admin(&name).await.expect("a connection");
    admin.batch_execute("SELECT pg_advisory_lock(7449355541041738612)").await.expect("a lock");
    let patience = Duration::from_millis(200);
    let error = migrate_over(&TokioNet, &url.as_str().into(), patience).await.expect_err("busy");
    assert!(matches!(error, MigrateError::Busy(_)), "{error}");
    drop(admin);
    migrate(&url.as_str().into()).await.expect("a migration");
}

#[tokio::test]
async fn what_is_no_database_is_said_in_words_and_without_the_password() {
    for (url, wanted) in [
        ("postgresql://gm:hush@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://gm:hush@127.0.0.1:1/x?sslmode=require", "TLS"),
        ("postgresql://gm:hush@127.0.0.1:hush/x", "must be postgresql://"),
        ("postgresql://gm:hush@%2Ftmp/x", "Unix socket"),
    ] {
        let error = migrate(&url.into()).await.expect_err("no database").to_string();
        assert!(error.contains(wanted) && !error.contains("hush"), "{error}");
    }
}
