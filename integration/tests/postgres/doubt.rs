//! What becomes of a commit whose caller, connection or server goes away.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use integration::harness::until;
use integration::servers::PostgresServer;
use machine::{AuditEntry, AuditMark, Event, OperationId, Outcome};
use service::conformance::{Game, Rng};
use service::ports::{Commit, CommitError, CommitId, Committed, Store};
use service::postgres::Postgres;

use crate::support::{Database, know_versions, open, running, settings, shared};

/// The next commit of a game: a turn forced, or completed.
fn next(game: &Game, rng: &mut Rng) -> Commit {
    let turning = game.record.as_ref().is_some_and(|rt| rt.work().is_some());
    let event = if turning { game.turn_done() } else { Event::Force };
    game.must(&event, rng)
}

/// Polls a future so many times; `None` where that did not suffice, and the future is dropped.
async fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future: Pin<Box<_>> = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Nothing is left open: no transaction at the server, no connection that the pool misses.
async fn is_whole(server: &PostgresServer, database: &Database, store: &Postgres) {
    let admin = server.admin("postgres").await.expect("a connection");
    until("every connection is idle and back", || async {
        let rows = admin
            .query(
                "SELECT state FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle'",
                &[&database.name],
            )
            .await
            .expect("the activity");
        let (all, free) = store.connections();
        (rows.is_empty() && all == free).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_goes_away_at_any_poll_leaves_nothing_open() {
    let (server, database) = shared().await;
    let warm = open(settings(&database.url));
    let mut rng = Rng::new(1);
    know_versions(&warm, &mut rng).await;
    let mut game = running(&warm, "game-1", &mut rng).await;
    // A store that has seen nothing yet reads the record first, over a connection it must open.
    for cold in [false, true] {
        for times in 0.. {
            let store = if cold { open(settings(&database.url)) } else { warm.clone() };
            let commit = next(&game, &mut rng);
            let answer = polled(store.commit(&commit), times).await;
            is_whole(server, &database, &store).await;
            let found = store.load(&game.id).await.expect("a load");
            assert!(found == game.record || found == commit.next, "half of a commit");
            // Whatever became of it, the repeat under its name tells.
            assert_eq!(store.commit(&commit).await.expect("a repeat"), Committed::Applied);
            assert_eq!(store.load(&game.id).await.expect("a load"), commit.next);
            let operations = store.operations(&game.id, None, 1_000).await.expect("operations");
            let same = |a: &AuditEntry| {
                operations.iter().filter(|row| row.operation == a.operation).count()
            };
            assert!(commit.audit.iter().all(|a| same(a) == 1));
            game.applied(&commit);
            if answer.is_some() {
                assert!(times > 1, "it was over before it could be dropped");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_while_committing_leaves_a_doubt_that_the_repeat_ends() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let mut rng = Rng::new(2);
    know_versions(&store, &mut rng).await;
    let mut game = running(&store, "game-1", &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    admin
        .batch_execute("BEGIN; SELECT * FROM gamemaster.runtime_records FOR UPDATE")
        .await
        .expect("a lock");
    let commit = next(&game, &mut rng);
    let committing = tokio::spawn({
        let (store, commit) = (store.clone(), commit.clone());
        async move { store.commit(&commit).await }
    });
    let watcher = server.admin("postgres").await.expect("a connection");
    until("the commit waits and its connection is cut", || async {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = $1 AND wait_event_type = 'Lock'";
        let rows = watcher.query(cut, &[&database.name]).await.expect("the activity");
        (!rows.is_empty()).then_some(())
    })
    .await;
    let answer = committing.await.expect("a task");
    assert!(matches!(answer, Err(CommitError::Indeterminate(_))), "{answer:?}");
    admin.batch_execute("ROLLBACK").await.expect("the lock goes");
    assert_eq!(store.commit(&commit).await.expect("a repeat"), Committed::Applied);
    assert_eq!(store.load(&game.id).await.expect("a load"), commit.next);
    game.applied(&commit);

    // And again and again, at whatever moment it strikes.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 \
               AND application_name = 'gamemaster'";
    let named: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&database.name];
    let mut doubts = 0;
    for round in 0.. {
        if round > 40 && doubts > 0 {
            break;
        }
        assert!(round < 2_000, "it never struck in the middle");
        let commit = next(&game, &mut rng);
        let (answer, cut) = tokio::join!(store.commit(&commit), watcher.query(cut, &named));
        cut.expect("cut");
        match answer {
            Ok(committed) => assert_eq!(committed, Committed::Applied),
            Err(CommitError::Indeterminate(_)) => doubts += 1,
            Err(CommitError::Determinate(_)) => {
                let found = until("it answers", || async { store.load(&game.id).await.ok() }).await;
                assert_eq!(found, game.record, "what did not happen is not there");
            }
        }
        let repeat = until("it answers", || async { store.commit(&commit).await.ok() }).await;
        assert_eq!(repeat, Committed::Applied, "it stands in its own way");
        game.applied(&commit);
    }
    let found = until("it answers again", || async { store.load(&game.id).await.ok() }).await;
    assert_eq!(found, game.record);
    is_whole(server, &database, &store).await;
}

#[tokio::test]
async fn a_row_held_by_somebody_else_is_waited_for_so_long_and_no_longer() {
    let (server, database) = shared().await;
    let mut settings = settings(&database.url);
    settings.lock_timeout = Duration::from_millis(100);
    let store = open(settings);
    let mut rng = Rng::new(3);
    know_versions(&store, &mut rng).await;
    let game = running(&store, "game-1", &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    admin
        .batch_execute("BEGIN; SELECT * FROM gamemaster.runtime_records FOR UPDATE")
        .await
        .expect("a lock");
    let commit = next(&game, &mut rng);
    let answer = store.commit(&commit).await;
    assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    admin.batch_execute("ROLLBACK").await.expect("the lock goes");
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.commit(&commit).await.expect("a commit"), Committed::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_a_batch_succeed_and_fail_one_by_one() {
    let (_, database) = shared().await;
    let mut settings = settings(&database.url);
    settings.commit_lanes = 1;
    let store = open(settings);
    let mut rng = Rng::new(4);
    know_versions(&store, &mut rng).await;
    let mut commits = vec![];
    for n in 0..24 {
        let game = running(&store, &format!("game-{n:02}"), &mut rng).await;
        let mut commit = next(&game, &mut rng);
        match n % 4 {
            // Refused by the server alone: the batch they are in fails as a whole.
            0 => {
                let operation = OperationId(rng.uuid());
                let mark = AuditMark::Closed(Outcome::Succeeded);
                commit.audit.push(AuditEntry { operation, mark });
            }
            1 => {
                let rival = next(&game, &mut rng);
                assert_eq!(store.commit(&rival).await.expect("a rival"), Committed::Applied);
            }
            _ => {}
        }
        commits.push(Commit { id: CommitId(rng.uuid()), ..commit });
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (n, commit) in commits.into_iter().enumerate() {
        let store = store.clone();
        tasks.spawn(async move { (n, store.commit(&commit).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (n, answer) = done.expect("a task");
        match n % 4 {
            0 => assert!(matches!(answer, Err(CommitError::Determinate(_))), "{n}: {answer:?}"),
            1 => assert_eq!(answer.expect("an answer"), Committed::Conflict, "{n}"),
            _ => assert_eq!(answer.expect("an answer"), Committed::Applied, "{n}"),
        }
    }
}
