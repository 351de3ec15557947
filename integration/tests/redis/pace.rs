//! How fast messages go out. No tests: `cargo nextest run -p integration --test redis --run-ignored
//! only --no-capture` measures it.

use std::sync::Arc;

use integration::harness::until;
use integration::redis_server::{Durability, RedisServer};
use integration::servers::{self, PostgresServer};
use machine::Channel;
use net::TokioNet;
use service::ports::{AppendAt, Store, Streams as _, SystemEntropy};
use service::postgres::{Postgres, PostgresSettings, migrate};
use service::redis_streams::RedisStreams;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::game_master::GameMaster;
use super::settings;

const ENTRIES: u32 = 20_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn appends_a_second() {
    let server = RedisServer::start(Durability::No).await;
    let streams = Arc::new(RedisStreams::new(Arc::new(TokioNet), settings(&server.url(), "")));
    for together in [1, 10, 100] {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..together {
            let streams = Arc::clone(&streams);
            tasks.spawn(async move {
                for _ in 0..ENTRIES / together {
                    streams.append("s", AppendAt::Next, &[b'x'; 300]).await.expect("an append");
                }
            });
        }
        tasks.join_all().await;
        let rate = f64::from(ENTRIES) / began.elapsed().as_secs_f64();
        println!("{together} at a time: {rate:.0} appends a second");
    }
}

/// From a durable PostgreSQL to Redis, by the relay as it is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn messages_relayed_a_second() {
    let server = RedisServer::start(Durability::No).await;
    let postgres = PostgresServer::start(servers::Durability::Full).await;
    for channel in Channel::ALL {
        let (name, url) = postgres.database().await;
        migrate(&url.as_str().into()).await.expect("a migration");
        let admin = postgres.admin(&name).await.expect("a connection");
        let fill = format!(
            "INSERT INTO gamemaster.outbox (channel, game_id, payload, committed_at) \
             SELECT '{channel}', 'g' || n % 100, repeat('x', 300), now() \
             FROM generate_series(1, {ENTRIES}) n",
            channel = channel.as_str(),
        );
        admin.batch_execute(&fill).await.expect("messages");
        let settings_of_store = PostgresSettings::new(url.as_str().into());
        let net = Arc::new(TokioNet);
        let store = Postgres::open(settings_of_store, net, Arc::new(SystemEntropy));
        let store = Arc::new(store.expect("a store"));
        let streams = Arc::new(RedisStreams::new(Arc::new(TokioNet), settings(&server.url(), "")));
        let gm = GameMaster::new().await;
        let began = Instant::now();
        let _relay = gm.relay_of(Arc::clone(&store) as _, streams.clone());
        until("the outbox to be empty", || async {
            (store.outbox_backlog().await.expect("a backlog").waiting == 0).then_some(())
        })
        .await;
        let rate = f64::from(ENTRIES) / began.elapsed().as_secs_f64();
        let length = server.command(&["XLEN", channel.as_str()]).await.expect("a length");
        assert_eq!(length, format!(":{ENTRIES}"));
        println!("{}: {rate:.0} messages a second", channel.as_str());
    }
}
