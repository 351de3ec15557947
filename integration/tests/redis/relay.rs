//! The outbox relay on a real Redis that forgets, hangs and lies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use integration::harness::until;
use integration::proxy::{Close, FaultProxy, Trap};
use integration::redis_server::{Durability, RedisServer};
use machine::{Channel, StreamId, Timestamp};
use service::ports::{AppendAt, Clock, NewEntry, Store as _, Streams, SystemClock};
use service::workers::Relay;
use tokio_util::task::AbortOnDropHandle;

use super::game_master::{GameMaster, INTENTS, LOBBY, entries};
use super::{eventually, id, streams, url};

type Told = Arc<Mutex<Vec<(StreamId, String)>>>;

/// A reader that keeps the last id, as Lobby does: everything it was ever given.
struct Consumer {
    told: Told,
    _task: AbortOnDropHandle<()>,
}

impl Consumer {
    fn of(url: &str) -> Self {
        let (streams, told) = (streams(url), Told::default());
        let kept = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let mut last = StreamId::ZERO;
            loop {
                let read = streams.read(LOBBY, last, 7, Duration::from_millis(200)).await;
                match read {
                    Ok(entries) => {
                        let mut told = kept.lock().unwrap_or_else(PoisonError::into_inner);
                        for entry in entries {
                            last = entry.id;
                            let text = String::from_utf8(entry.payload).expect("text");
                            told.push((entry.id, text));
                        }
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Self { told, _task: AbortOnDropHandle::new(task) }
    }

    fn told(&self) -> Vec<(StreamId, String)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was told of everything, and checks that it was so once and in order.
    async fn until_told(&self, gm: &GameMaster) {
        let wanted = gm.published(Channel::LobbyEvents).await;
        until("the consumer", || async { (self.told().len() >= wanted.len()).then_some(()) }).await;
        assert_eq!(self.told(), wanted);
    }
}

#[tokio::test]
async fn what_was_committed_is_told_once_and_in_order() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut gm = GameMaster::new().await;
    gm.turns(120).await;
    let _relay = gm.relay(streams.clone());
    gm.until_told(&*streams).await;
    assert!(entries(&*streams, LOBBY).await.len() > 120);
    let intents = gm.published(Channel::NotificationIntents).await;
    let told: Vec<_> =
        entries(&*streams, INTENTS).await.into_iter().map(|(_, text)| text).collect();
    assert!(told.len() >= 120);
    assert_eq!(told, intents.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lost_tail_is_told_again() {
    let mut server = RedisServer::start(Durability::Always).await;
    let streams = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams.clone());
    gm.turns(5).await;
    gm.until_told(&*streams).await;
    let copy = server.copy_data();
    let kept = entries(&*streams, LOBBY).await.len();
    gm.turns(130).await;
    gm.until_told(&*streams).await;
    consumer.until_told(&gm).await;
    let before = entries(&*streams, LOBBY).await;
    server.lose_tail(&copy).await;
    // Nothing is committed any more: the relay finds it out by itself.
    until("the tail to be told again", || async {
        let now = streams.read(LOBBY, StreamId::ZERO, 100_000, Duration::ZERO).await.ok()?;
        assert!(now.len() >= kept, "the copy was older than it should be");
        (now.len() == before.len()).then_some(())
    })
    .await;
    assert_eq!(entries(&*streams, LOBBY).await, before, "same ids, same order");
    // And what comes right after another loss does not seal it.
    server.lose_tail(&copy).await;
    gm.turns(3).await;
    gm.until_told(&*streams).await;
    consumer.until_told(&gm).await;
}

#[tokio::test]
async fn everything_that_is_lost_is_told_again() {
    let mut server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams.clone());
    for round in 0..3 {
        gm.turns(40).await;
        gm.until_told(&*streams).await;
        consumer.until_told(&gm).await;
        let before = entries(&*streams, LOBBY).await;
        match round {
            0 => server.flush_all().await,
            1 => {
                server.kill();
                server.start_again().await;
            }
            _ => {
                server.stop().await;
                // What is committed while there is no Redis waits.
                gm.turns(10).await;
                server.start_again().await;
            }
        }
        eventually(|| streams.newest(LOBBY)).await;
        gm.until_told(&*streams).await;
        assert_eq!(entries(&*streams, LOBBY).await[..before.len()], before);
        consumer.until_told(&gm).await;
    }
}

/// Trap 3: an id from the far future, by somebody else.
#[tokio::test]
async fn entries_from_the_future_are_gone_on_above() {
    const FAR: &str = "99999999999999-7";
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams.clone());
    gm.turns(3).await;
    gm.until_told(&*streams).await;
    let before = entries(&*streams, LOBBY).await;
    for stream in [LOBBY, INTENTS] {
        let added = server.command(&["XADD", stream, FAR, "who", "somebody"]).await;
        assert_eq!(added.expect("an entry"), FAR);
    }
    gm.turns(120).await;
    gm.until_published().await;
    let wanted = gm.published(Channel::LobbyEvents).await;
    let found = entries(&*streams, LOBBY).await;
    assert_eq!(found[..before.len()], before);
    assert_eq!(found[before.len()], (id(99_999_999_999_999, 7), String::new()));
    let ours: Vec<_> =
        found.iter().filter(|(at, _)| *at != id(99_999_999_999_999, 7)).cloned().collect();
    assert_eq!(ours, wanted, "each once, in order, under the id the store knows");
    assert!(wanted.last().is_some_and(|(at, _)| at.ms >= 99_999_999_999_999));
    let texts = |entries: Vec<(StreamId, String)>| -> Vec<String> {
        entries.into_iter().map(|(_, text)| text).filter(|text| !text.is_empty()).collect()
    };
    assert_eq!(
        texts(entries(&*streams, INTENTS).await),
        texts(gm.published(Channel::NotificationIntents).await)
    );
}

#[tokio::test]
async fn lost_answers_and_cut_connections_duplicate_nothing() {
    let server = RedisServer::start(Durability::No).await;
    let proxy = FaultProxy::start(server.address());
    let through = streams(&url(&proxy));
    let direct = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(through.clone());
    for _ in 0..4 {
        let lost_answers = proxy.trap(Trap::answer_to(b"XADD"));
        gm.turns(30).await;
        gm.until_told(&*direct).await;
        assert_eq!(lost_answers.count(), 1);
    }
    consumer.until_told(&gm).await;
    // On the channel with other producers: at least once.
    let texts = |entries: Vec<(StreamId, String)>| -> BTreeSet<String> {
        entries.into_iter().map(|(_, text)| text).collect()
    };
    let told = entries(&*direct, INTENTS).await;
    assert_eq!(texts(told), texts(gm.published(Channel::NotificationIntents).await));
}

#[tokio::test]
async fn a_batch_of_which_half_arrives_is_told_once() {
    let server = RedisServer::start(Durability::No).await;
    let proxy = FaultProxy::start(server.address());
    let direct = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams(&url(&proxy)));
    gm.turns(1).await;
    gm.until_told(&*direct).await;
    for _ in 0..4 {
        let halves = proxy.trap(Trap::half_of(b"XADD").close(Close::Finish));
        gm.turns(30).await;
        gm.until_told(&*direct).await;
        assert_eq!(halves.count(), 1);
    }
    consumer.until_told(&gm).await;
    let told = entries(&*direct, INTENTS).await;
    assert_eq!(told.len(), gm.published(Channel::NotificationIntents).await.len(), "nothing twice");
}

/// What is left of a stream ends in the middle of what was appended at once.
#[tokio::test]
async fn a_tail_lost_in_the_middle_of_a_batch_is_told_again() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut gm = GameMaster::new().await;
    gm.turns(90).await;
    {
        let _relay = gm.relay(streams.clone());
        gm.until_told(&*streams).await;
    }
    let before = entries(&*streams, LOBBY).await;
    for kept in [before.len() / 2, 1, before.len() - 1] {
        assert_eq!(server.command(&["DEL", LOBBY]).await.expect("an answer"), ":1");
        let left: Vec<NewEntry<'_>> = before
            .iter()
            .take(kept)
            .map(|(id, text)| NewEntry { at: AppendAt::Exactly(*id), payload: text.as_bytes() })
            .collect();
        let ended = streams.append_all(LOBBY, StreamId::ZERO, &left).await;
        assert_eq!(ended.added.len(), kept, "{ended:?}");
        // Some of what comes next has its id already.
        gm.turns(3).await;
        let _relay = gm.relay(streams.clone());
        gm.until_told(&*streams).await;
        assert_eq!(entries(&*streams, LOBBY).await[..before.len()], before);
    }
}

/// Redis answers, and says no.
#[tokio::test]
async fn while_redis_refuses_messages_wait_and_then_are_told_in_order() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams.clone());
    gm.turns(5).await;
    gm.until_told(&*streams).await;
    let command = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let answer = server.command(&words).await.expect("an answer");
        assert!(answer.starts_with('+') || answer.starts_with(':'), "{words:?}: {answer}");
    };
    let slaveof = format!("REPLICAOF 127.0.0.1 {}", server.address().port() + 1);
    for (code, begin, end) in [
        (
            "WRONGTYPE",
            ["RENAME gm:lobby_events kept", "SET gm:lobby_events text"],
            ["DEL gm:lobby_events", "RENAME kept gm:lobby_events"],
        ),
        ("OOM", ["PING", "CONFIG SET maxmemory 1"], ["PING", "CONFIG SET maxmemory 0"]),
        (
            "NOREPLICAS",
            ["PING", "CONFIG SET min-replicas-to-write 1"],
            ["PING", "CONFIG SET min-replicas-to-write 0"],
        ),
        ("READONLY", ["PING", &slaveof], ["PING", "REPLICAOF NO ONE"]),
        // Of the rights of a script's commands Redis 7.0 has no code for it.
        (
            "ERR|NOPERM",
            ["PING", "ACL SETUSER default -xadd"],
            ["PING", "ACL SETUSER default +xadd"],
        ),
        ("NOPERM", ["PING", "ACL SETUSER default -eval"], ["PING", "ACL SETUSER default +eval"]),
    ] {
        command("CONFIG RESETSTAT").await;
        for words in begin {
            command(words).await;
        }
        gm.turns(4).await;
        until(&format!("{code} for the relay"), || async {
            let errors = server.command(&["INFO", "errorstats"]).await.ok()?;
            let mut codes = code.split('|').map(|code| format!("errorstat_{code}:"));
            codes.any(|code| errors.contains(&code)).then_some(())
        })
        .await;
        let waiting = gm.store.outbox_backlog().await.expect("a backlog").waiting;
        assert!(waiting >= 4, "{code}: {waiting}");
        for words in end {
            command(words).await;
        }
        gm.until_told(&*streams).await;
        consumer.until_told(&gm).await;
    }
}

#[tokio::test]
async fn a_hung_server_delays_and_loses_nothing() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(streams.clone());
    gm.turns(5).await;
    gm.until_told(&*streams).await;
    server.pause();
    gm.turns(50).await;
    let hung = streams.newest(LOBBY).await;
    assert!(hung.is_err(), "{hung:?}");
    let waiting = gm.store.outbox_backlog().await.expect("a backlog").waiting;
    assert!(waiting >= 50, "{waiting}");
    server.resume();
    eventually(|| streams.newest(LOBBY)).await;
    gm.until_told(&*streams).await;
    consumer.until_told(&gm).await;
}

/// A stream trimmed to nothing is not one that lost its tail.
#[tokio::test]
async fn what_was_trimmed_is_not_told_again() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut gm = GameMaster::new().await;
    gm.turns(10).await;
    {
        let _relay = gm.relay(streams.clone());
        gm.until_told(&*streams).await;
    }
    let trimmed = server.command(&["XTRIM", LOBBY, "MAXLEN", "0"]).await.expect("a trim");
    assert_ne!(trimmed, ":0");
    let before = gm.published(Channel::LobbyEvents).await.len();
    // The first round of a relay looks for a lost tail.
    let _relay = gm.relay(streams.clone());
    gm.turns(1).await;
    gm.until_published().await;
    let wanted = gm.published(Channel::LobbyEvents).await;
    assert_eq!(entries(&*streams, LOBBY).await, wanted[before..]);
}

/// Weeks from now.
struct Later(TimeDelta);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

#[tokio::test]
async fn what_is_old_is_trimmed_and_not_told_again() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut gm = GameMaster::new().await;
    gm.turns(450).await;
    {
        let _relay = gm.relay(streams.clone());
        gm.until_told(&*streams).await;
    }
    let all = entries(&*streams, LOBBY).await;
    let trims = |days, after| Relay {
        clock: Arc::new(Later(TimeDelta::days(days))),
        trim_after: after,
        ..gm.worker(gm.store.clone(), streams.clone())
    };
    let fortnight = Some(TimeDelta::days(14));
    trims(13, fortnight).trim().await.expect("a trim");
    assert_eq!(entries(&*streams, LOBBY).await, all, "none is old enough");
    trims(15, fortnight).trim().await.expect("a trim");
    assert_eq!(entries(&*streams, LOBBY).await, all, "a stream that is lost is given all of them");
    gm.store.outbox_prune(Later(TimeDelta::days(1)).now()).await.expect("a count");
    trims(15, None).trim().await.expect("no trim");
    assert_eq!(entries(&*streams, LOBBY).await, all, "never");
    trims(15, fortnight).trim().await.expect("a trim");
    // Whole nodes go, of a hundred entries each as Redis comes.
    let left = entries(&*streams, LOBBY).await;
    assert!(left.len() < 100, "{}", left.len());
    assert_eq!(left, all[all.len() - left.len()..]);
    let _relay = gm.relay(streams.clone());
    gm.turns(2).await;
    gm.until_published().await;
    let next = gm.published(Channel::LobbyEvents).await;
    let told = entries(&*streams, LOBBY).await;
    assert_eq!(told, [left, next].concat(), "only what is new");
}
