//! What the schema itself refuses, and what it must keep up with.

use std::collections::BTreeSet;
use std::time::Duration;

use machine::{Channel, GameId, Status, StreamId};
use service::conformance::{Rng, START};
use service::ports::{Store, Term};

use crate::support::{know_versions, open, running, settings, shared};

#[tokio::test]
async fn no_hand_can_write_what_no_record_says() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let mut rng = Rng::new(1);
    know_versions(&store, &mut rng).await;
    running(&store, "game-1", &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    for (change, constraint) in [
        ("status = 'paused'", "status_check"),
        ("status = 'starting'", "a_game_that_runs_was_started"),
        ("status = 'generation_in_progress'", "a_turn_has_a_trigger"),
        ("status = 'stopped'", "final_is_final"),
        ("stopped_at = now()", "final_is_final"),
        ("work_owner = 'gm-1'", "work_is_whole"),
        ("pending_stop_reason = 'x'", "pending_is_a_stop_or_a_patch"),
        ("pending_operation = gen_random_uuid()", "pending_is"),
        ("next_generation_at = NULL", "the_clock_goes_with_the_status"),
        ("retry_at = now()", "only_the_unwell_are_asked_again"),
        ("started_at = NULL", "a_game_that_runs_was_started"),
        ("next_timer_at = NULL", "something_wakes_it"),
        ("current_turn = -1", "current_turn_check"),
        ("revision = 0", "revision_check"),
        ("health_summary = 'fine'", "health_is_known"),
        ("engine_version = '9.9.9'", "engine_version_fkey"),
        ("game_id = '-x'", "game_id_check"),
    ] {
        let sql = format!("UPDATE gamemaster.runtime_records SET {change}");
        let error = admin.batch_execute(&sql).await.expect_err(change);
        let named = error.as_db_error().and_then(|db| db.constraint()).unwrap_or_default();
        assert!(constraint.split('|').any(|part| named.contains(part)), "{change}: {error:?}");
    }
    let delete = "DELETE FROM gamemaster.engine_versions WHERE version = '1.4.2'";
    admin.batch_execute(delete).await.expect_err("a version in use");
    let twice = "UPDATE gamemaster.player_mappings SET race_name = 'Terrans'";
    admin.batch_execute(twice).await.expect_err("a race played twice");
}

/// A column that a commit does not write would keep its old value for ever.
#[tokio::test]
async fn every_column_is_written_by_a_commit() {
    let (server, database) = shared().await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let columns = "SELECT column_name::text FROM information_schema.columns \
                   WHERE table_schema = 'gamemaster' AND table_name = 'runtime_records'";
    let columns = admin.query(columns, &[]).await.expect("columns");
    let columns: BTreeSet<String> = columns.iter().map(|row| row.get(0)).collect();
    let source = "SELECT prosrc FROM pg_proc WHERE proname = 'write_records'";
    let source: String = admin.query_one(source, &[]).await.expect("a function").get(0);
    for column in columns.iter().filter(|column| *column != "game_id") {
        let set = format!(" {column} = r.{column}");
        assert!(source.contains(&set), "write_records does not set {column}");
    }
    assert!(columns.len() > 40);
}

/// A message with a low number may be committed after one with a high number was published.
#[tokio::test]
async fn a_message_committed_late_is_neither_skipped_nor_published_out_of_order() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let late = server.admin(&database.name).await.expect("a connection");
    let early = server.admin(&database.name).await.expect("a connection");
    let put = |payload: &str| {
        format!(
            "INSERT INTO gamemaster.outbox (channel, game_id, payload, committed_at) \
             VALUES ('gm:lobby_events', 'g', '{payload}', now())"
        )
    };
    late.batch_execute(&format!("BEGIN; {}", put("late"))).await.expect("a message");
    early.batch_execute(&put("early")).await.expect("a message");
    let channel = Channel::LobbyEvents;
    let first = store
        .outbox_assign(Term::default(), channel, StreamId::ZERO, START, 9)
        .await
        .expect("rows")
        .expect("its term");
    late.batch_execute("COMMIT").await.expect("committed");
    let both = store
        .outbox_assign(Term::default(), channel, StreamId::ZERO, START, 9)
        .await
        .expect("rows")
        .expect("its term");
    let payloads: Vec<&str> = both.iter().map(|row| row.payload.as_str()).collect();
    assert_eq!(payloads, ["early", "late"]);
    assert_eq!(both.first(), first.first(), "what has an id keeps it");
    assert!(both.windows(2).all(|pair| match pair {
        [a, b] => a.seq < b.seq && a.stream_id < b.stream_id,
        _ => false,
    }));
}

/// What nobody may ask for any more goes, and nothing that somebody may.
#[tokio::test]
async fn old_names_are_forgotten() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let mut rng = Rng::new(2);
    know_versions(&store, &mut rng).await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let fill = "INSERT INTO gamemaster.commit_ids SELECT gen_random_uuid(), \
                '2029-12-01'::timestamptz FROM generate_series(1, 2500)";
    admin.batch_execute(fill).await.expect("old names");
    running(&store, "game-1", &mut rng).await;
    let pruning = tokio::time::timeout(Duration::from_secs(60), store.outbox_prune(START));
    pruning.await.expect("in time").expect("a count");
    let left: i64 = admin
        .query_one("SELECT count(*) FROM gamemaster.commit_ids", &[])
        .await
        .expect("a count")
        .get(0);
    assert_eq!(left, 4, "two versions, a registration, a start");
}

/// A row that another hand has spoilt, or that a later program wrote, costs its own game and no other.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_of_lists_and_of_nothing_else() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let mut rng = Rng::new(3);
    know_versions(&store, &mut rng).await;
    for n in 0..12 {
        running(&store, &format!("game-{n:02}"), &mut rng).await;
    }
    let admin = server.admin(&database.name).await.expect("a connection");
    let spoil = "UPDATE gamemaster.runtime_records SET engine_endpoint = 'nowhere' \
                 WHERE game_id IN ('game-00', 'game-04', 'game-05', 'game-06', 'game-11')";
    admin.batch_execute(spoil).await.expect("spoilt");
    let wanted = ["01", "02", "03", "07", "08", "09", "10"].map(|n| format!("game-{n}"));
    for status in [None, Some(Status::Running)] {
        for limit in 1..14 {
            let mut found: Vec<GameId> = vec![];
            loop {
                let page = store.list(status, found.last(), limit).await.expect("a page");
                let is_short = page.len() < limit;
                found.extend(page.iter().map(|record| record.game_id.clone()));
                if is_short {
                    break;
                }
            }
            let found: Vec<&str> = found.iter().map(GameId::as_str).collect();
            assert_eq!(found, wanted, "a page is short only where it is the last; {limit} a page");
        }
    }
    let spoilt: GameId = "game-04".parse().expect("a game");
    store.load(&spoilt).await.expect_err("it is there, and cannot be read");
    let far = START + chrono::TimeDelta::days(30);
    let due = store.due(far, 100).await.expect("due");
    assert!(due.iter().any(|due| due.game_id == spoilt), "it is as due as before");

    // A table of which nothing can be read is no empty one.
    let many = "INSERT INTO gamemaster.runtime_records \
                SELECT (jsonb_populate_record(r, jsonb_build_object('game_id', 'spoilt-' || n))).* \
                FROM gamemaster.runtime_records r, generate_series(1, 101) n \
                WHERE r.game_id = 'game-04'";
    admin.batch_execute(many).await.expect("many");
    store.list(None, None, 100).await.expect_err("too many to be an accident");
}

/// What is published again while a replay still goes on lies above the bound that it began with.
#[tokio::test]
async fn a_replay_ends_where_it_began() {
    let (server, database) = shared().await;
    let store = open(settings(&database.url));
    let admin = server.admin(&database.name).await.expect("a connection");
    let fill = "INSERT INTO gamemaster.outbox (channel, game_id, payload, committed_at) \
                SELECT 'gm:lobby_events', 'g', '{}', now() FROM generate_series(1, 6)";
    admin.batch_execute(fill).await.expect("messages");
    let channel = Channel::LobbyEvents;
    let rows = store
        .outbox_assign(Term::default(), channel, StreamId::ZERO, START, 9)
        .await
        .expect("rows")
        .expect("its term");
    let seqs: Vec<u64> = rows.iter().take(4).map(|row| row.seq).collect();
    store.outbox_published(&seqs, START).await.expect("marks");
    let ids: Vec<StreamId> = rows.iter().filter_map(|row| row.stream_id).collect();
    let (first, third) = (ids.first().expect("an id"), ids.get(2).expect("an id"));
    let step = format!(
        "SELECT gamemaster.outbox_replay('gm:lobby_events', {}, {}, {}, {})",
        first.ms, first.seq, third.ms, third.seq
    );
    let taken: i64 = admin.query_one(&step, &[]).await.expect("a step").get(0);
    assert_eq!(taken, 2, "strictly above the one, and no higher than the other");
    assert_eq!(store.outbox_newest(channel).await.expect("newest"), ids[3]);
    let again = store
        .outbox_assign(Term::default(), channel, StreamId::ZERO, START, 9)
        .await
        .expect("rows")
        .expect("its term");
    let places: Vec<u64> = again.iter().map(|row| row.seq).collect();
    let wanted: Vec<u64> =
        [1, 2, 4, 5].into_iter().filter_map(|n| rows.get(n)).map(|row| row.seq).collect();
    assert_eq!(places, wanted);
    assert!(again.iter().all(|row| row.stream_id > ids.last().copied()), "given once only");
    assert!(again.is_sorted_by_key(|row| row.stream_id));
}
