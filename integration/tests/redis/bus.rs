//! The bus of the neighbours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use integration::redis_server::{Durability, RedisServer};
use net::TokioNet;
use peers::bus::{Bus, BusError, FROM_THE_START};
use peers::redis_bus::RedisBus;
use service::ports::Streams as _;

use super::{LIMITS, PATIENCE, bounded, eventually, streams};

fn bus(server: &RedisServer) -> Arc<RedisBus> {
    RedisBus::new(Arc::new(TokioNet), server.url().parse().expect("a URL"), LIMITS, "")
}

#[tokio::test]
async fn game_master_and_its_neighbours_read_each_other() {
    let server = RedisServer::start(Durability::No).await;
    let (bus, gm) = (bus(&server), streams(&server.url()));
    let told = bus.append("s", Bytes::from_static(b"{\"n\":1}")).await.expect("an append");
    let read = gm.read("s", machine::StreamId::ZERO, 9, Duration::ZERO).await.expect("a read");
    assert_eq!(
        read.first().map(|e| (e.id.to_string(), e.payload.clone())),
        Some((told.clone(), b"{\"n\":1}".to_vec(),))
    );
    super::add(&*gm, "s", super::id(u64::MAX, 0), "{\"n\":2}").await;
    let read = bus.read("s", &told, 9, Duration::ZERO).await.expect("a read");
    let read: Vec<_> = read.iter().map(|e| (e.id.as_str(), &e.payload[..])).collect();
    assert_eq!(read, [("18446744073709551615-0", &b"{\"n\":2}"[..])]);
}

#[tokio::test]
async fn a_read_waits_for_an_entry_but_not_for_ever() {
    let server = RedisServer::start(Durability::No).await;
    let bus = bus(&server);
    let none = bounded("a read", bus.read("s", FROM_THE_START, 9, Duration::from_millis(30))).await;
    assert!(none.expect("a read").is_empty());
    let reader = Arc::clone(&bus);
    let waiting = tokio::spawn(async move { reader.read("s", FROM_THE_START, 9, PATIENCE).await });
    blocked(&server, 1).await;
    for n in [b"1", b"2", b"3"] {
        bus.append("s", Bytes::from_static(n)).await.expect("an append");
    }
    let found = bounded("a read", waiting).await.expect("a reader").expect("a read");
    assert_eq!(found.first().map(|entry| &entry.payload[..]), Some(&b"1"[..]));
    let rest = bus.read("s", &found[0].id, 1, PATIENCE).await.expect("a read");
    assert_eq!(rest.iter().map(|entry| &entry.payload[..]).collect::<Vec<_>>(), [b"2"]);
}

/// Waits until so many clients wait inside Redis.
pub(crate) async fn blocked(server: &RedisServer, count: usize) {
    integration::harness::until("readers to wait", || async {
        let info = server.command(&["INFO", "clients"]).await.ok()?;
        info.contains(&format!("blocked_clients:{count}\r")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_id_is_refused() {
    let server = RedisServer::start(Durability::No).await;
    for text in ["$", "5", "", "0-0 0-0"] {
        let read = bus(&server).read("s", text, 9, Duration::ZERO).await;
        assert_eq!(read, Err(BusError::InvalidId(text.to_owned())));
    }
}

#[tokio::test]
async fn a_stream_is_kept_to_a_bounded_length() {
    let server = RedisServer::start(Durability::No).await;
    let bus = bus(&server);
    // Whole nodes go, of a hundred entries each as Redis comes.
    server.command(&["CONFIG", "SET", "stream-node-max-entries", "1000"]).await.expect("set");
    let fill = "for i = 1, 110000 do redis.call('XADD', KEYS[1], i .. '-0', 'payload', '') end";
    server.command(&["EVAL", fill, "1", "s"]).await.expect("filled");
    bus.append("s", Bytes::new()).await.expect("an append");
    let length = server.command(&["XLEN", "s"]).await.expect("a length");
    let length: u32 = length.trim_start_matches(':').parse().expect("a number");
    assert!((100_000..102_000).contains(&length), "{length}");
}

#[tokio::test]
async fn it_is_unavailable_while_redis_is_and_works_again() {
    let mut server = RedisServer::start(Durability::Always).await;
    let bus = bus(&server);
    bus.append("s", Bytes::from_static(b"1")).await.expect("an append");
    server.kill();
    let failed = bounded("an append", bus.append("s", Bytes::new())).await;
    assert!(matches!(failed, Err(BusError::Unavailable(_))), "{failed:?}");
    server.start_again().await;
    eventually(|| bus.append("s", Bytes::from_static(b"2"))).await;
    let read = eventually(|| bus.read("s", FROM_THE_START, 9, Duration::ZERO)).await;
    assert_eq!(read.iter().map(|entry| &entry.payload[..]).collect::<Vec<_>>(), [b"1", b"2"]);
}
