//! The outbox under several callers at a time.

use std::sync::Arc;
use std::time::Duration;

use integration::harness::until;
use machine::{Channel, StreamId};
use service::conformance::{Rng, START};
use service::ports::{Store, Term};
use tokio::task::JoinSet;

use crate::support::{open, settings, shared};

const CHANNEL: Channel = Channel::LobbyEvents;
const MESSAGES: usize = 400;
/// For what must end on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn fill(count: usize) -> String {
    format!(
        "INSERT INTO gamemaster.outbox (channel, game_id, payload, committed_at) \
         SELECT c.channel, 'g', n::text, now() \
           FROM generate_series(1, {count}) n, gamemaster.outbox_channels c"
    )
}

/// Whoever changes messages that are there holds the channels first, and until then none of them:
/// so nobody who holds a channel can be waiting for one who waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_a_message_while_it_waits_for_a_channel() {
    let (server, database) = shared().await;
    let store = Arc::new(open(settings(&database.url)));
    let admin = server.admin(&database.name).await.expect("a connection");
    let look = server.admin(&database.name).await.expect("a connection");
    admin.batch_execute(&fill(4)).await.expect("messages");
    let term = Term::default();
    let rows = store.outbox_assign(term, CHANNEL, StreamId::ZERO, START, 9).await;
    let rows = rows.expect("rows").expect("the term");
    let first = rows.first().map(|row| row.seq).expect("a row");
    store.outbox_published(&[first], START).await.expect("a mark");
    let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
    for call in ["assign", "unassign", "published", "replay"] {
        let hold = "BEGIN; SELECT FROM gamemaster.outbox_channels FOR NO KEY UPDATE";
        admin.batch_execute(hold).await.expect("the channels are held");
        let (store, seqs) = (Arc::clone(&store), seqs.clone());
        let waiting = tokio::spawn(async move {
            match call {
                "assign" => {
                    store.outbox_assign(term, CHANNEL, StreamId::ZERO, START, 9).await.map(drop)
                }
                "unassign" => store.outbox_unassign(term, CHANNEL).await.map(drop),
                "published" => store.outbox_published(&seqs, START).await,
                _ => store.outbox_replay(CHANNEL, StreamId::ZERO).await.map(drop),
            }
        });
        until("the caller to wait for the channel", || async {
            let waits = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let count: i64 = look.query_one(waits, &[]).await.ok()?.get(0);
            (count == 1).then_some(())
        })
        .await;
        let free = "SELECT FROM gamemaster.outbox FOR UPDATE NOWAIT";
        look.batch_execute(free).await.expect("nobody holds a message");
        admin.batch_execute("COMMIT").await.expect("let go");
        let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
        ended.expect("no panic").unwrap_or_else(|error| panic!("{call}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_the_same_time_wait_for_each_other_and_all_succeed() {
    let (server, database) = shared().await;
    let store = Arc::new(open(settings(&database.url)));
    let admin = server.admin(&database.name).await.expect("a connection");
    admin.batch_execute(&fill(MESSAGES)).await.expect("messages");
    let mut tasks = JoinSet::new();
    let term = Term::default();
    for caller in 0..6_u64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut rng = Rng::new(caller);
            for _ in 0..12 {
                let channel = if rng.percent(70) { CHANNEL } else { Channel::NotificationIntents };
                let rows =
                    store.outbox_assign(term, channel, StreamId::ZERO, START, MESSAGES).await;
                let rows = rows.expect("rows").expect("the term");
                let mut seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
                seqs.sort_by_cached_key(|_| rng.bits());
                seqs.truncate(MESSAGES / 2);
                match caller % 3 {
                    0 => store.outbox_published(&seqs, START).await.expect("marks"),
                    1 => {
                        let taken_back = store.outbox_unassign(term, channel).await;
                        taken_back.expect("an answer").expect("the term");
                    }
                    _ => {
                        store.outbox_published(&seqs, START).await.expect("marks");
                        store.outbox_replay(channel, StreamId::ZERO).await.expect("a count");
                    }
                }
            }
        });
    }
    let pruner = Arc::clone(&store);
    tasks.spawn(async move {
        for _ in 0..12 {
            // Before all of them: what it looks at and does not take it must not wait for.
            pruner.outbox_prune(START).await.expect("a count");
        }
    });
    let ends = async {
        while let Some(caller) = tasks.join_next().await {
            caller.expect("no caller fails");
        }
    };
    tokio::time::timeout(PATIENCE, ends).await.expect("in time");
    // Whatever they did: none is gone, and ids grow with places.
    let count = "SELECT count(*) FROM gamemaster.outbox";
    let count: i64 = admin.query_one(count, &[]).await.expect("a count").get(0);
    assert_eq!(usize::try_from(count).expect("a number"), MESSAGES * Channel::ALL.len());
    admin.batch_execute(&fill(MESSAGES)).await.expect("messages");
    for channel in Channel::ALL {
        let rows = store.outbox_assign(term, channel, StreamId::ZERO, START, 10 * MESSAGES).await;
        let rows = rows.expect("rows").expect("the term");
        assert!(rows.len() >= MESSAGES, "{}", rows.len());
        let grows = |pair: &[service::ports::OutboxRow]| match pair {
            [a, b] => a.seq < b.seq && a.stream_id < b.stream_id,
            _ => false,
        };
        assert!(rows.windows(2).all(grows));
    }
}
