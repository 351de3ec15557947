//! The outbox relay on a real Redis that forgets, hangs and lies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use integration::harness::until;
use integration::redis_server::{Durability, RedisServer};
use machine::{Channel, StreamId};
use service::ports::{Store as _, Streams};
use tokio_util::task::AbortOnDropHandle;

use super::game_master::{GameMaster, INTENTS, LOBBY, entries};
use super::proxy::Proxy;
use super::{eventually, id, streams};

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
    let proxy = Proxy::new(server.address()).await;
    let through = streams(&proxy.url());
    let direct = streams(&server.url());
    let consumer = Consumer::of(&server.url());
    let mut gm = GameMaster::new().await;
    let _relay = gm.relay(through.clone());
    for _ in 0..4 {
        proxy.lose_answers(1);
        gm.turns(30).await;
        gm.until_told(&*direct).await;
    }
    assert_eq!(proxy.lost(), 4);
    consumer.until_told(&gm).await;
    // On the channel with other producers: at least once.
    let texts = |entries: Vec<(StreamId, String)>| -> BTreeSet<String> {
        entries.into_iter().map(|(_, text)| text).collect()
    };
    let told = entries(&*direct, INTENTS).await;
    assert_eq!(texts(told), texts(gm.published(Channel::NotificationIntents).await));
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
