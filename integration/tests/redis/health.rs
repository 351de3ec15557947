//! The health consumer on a real Redis.

use integration::harness::until;
use integration::redis_server::{Durability, RedisServer};
use machine::Summary;
use service::ports::{Store, Streams};

use super::game_master::GameMaster;
use super::{eventually, streams};

const STREAM: &str = "runtime:health_events";

async fn until_saved(streams: &dyn Streams, label: &str, wanted: &str) {
    until("the offset to be saved", || async {
        let saved = streams.offset(label).await.ok()?;
        (saved.as_deref() == Some(wanted)).then_some(())
    })
    .await;
}

/// What an entry says of the container of the game.
fn event(gm: &GameMaster, event_type: &str) -> String {
    let record = gm.game().record.as_ref().expect("a record");
    let container = record.engine.container_id.as_ref().map_or("container-1", |id| id.as_str());
    let game = &gm.game().id;
    format!(r#"{{"game_id":"{game}","container_id":"{container}","event_type":"{event_type}"}}"#)
}

async fn summary(gm: &GameMaster) -> Summary {
    let record = gm.store.load(&gm.game().id).await.expect("the store").expect("a record");
    record.health.summary
}

#[tokio::test]
async fn entries_that_make_no_sense_are_passed_over() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let gm = GameMaster::new().await;
    let oom = event(&gm, "container_oom");
    for words in [
        ["XADD", STREAM, "1-0", "who", "somebody"].as_slice(),
        &["XADD", STREAM, "2-0", "payload", "{"],
        &["XADD", STREAM, "3-0", "payload", "{\"event_type\":\"container_sings\"}"],
        &["XADD", STREAM, "4-0", "payload", &oom],
        &["XADD", STREAM, "5-0", "who", "somebody"],
    ] {
        server.command(words).await.expect("an entry");
    }
    let _consumer = gm.listen(streams.clone(), "gm");
    until_saved(&*streams, "gm", "5-0").await;
    assert_eq!(summary(&gm).await, Summary::Oom);
}

#[tokio::test]
async fn it_goes_on_where_it_was_and_from_the_start_where_that_is_lost() {
    let mut server = RedisServer::start(Durability::Always).await;
    let streams = streams(&server.url());
    let gm = GameMaster::new().await;
    let key = "gamemaster:offset:gm";
    server.command(&["SET", key, "yesterday"]).await.expect("planted");
    server.command(&["XADD", STREAM, "1-0", "payload", "{}"]).await.expect("an entry");
    let _consumer = gm.listen(streams.clone(), "gm");
    until_saved(&*streams, "gm", "1-0").await;
    for (at, event_type, wanted) in [
        ("2-0", "container_oom", Summary::Oom),
        ("3-0", "healthy", Summary::Healthy),
        ("4-0", "container_exited", Summary::Exited),
    ] {
        let kill = at != "3-0";
        if kill {
            server.kill();
            server.start_again().await;
            eventually(|| streams.newest(STREAM)).await;
        }
        let payload = event(&gm, event_type);
        server.command(&["XADD", STREAM, at, "payload", &payload]).await.expect("an entry");
        until_saved(&*streams, "gm", at).await;
        assert_eq!(summary(&gm).await, wanted);
    }
}

/// The key goes while it is read, or is none of a stream for a while.
#[tokio::test]
async fn a_key_that_goes_or_is_no_stream_holds_up_nobody_for_ever() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let gm = GameMaster::new().await;
    let _consumer = gm.listen(streams.clone(), "gm");
    let tell = async |at: &str, event_type: &str| {
        let payload = event(&gm, event_type);
        server.command(&["XADD", STREAM, at, "payload", &payload]).await.expect("an entry");
    };
    tell("50-0", "container_oom").await;
    until_saved(&*streams, "gm", "50-0").await;
    assert_eq!(server.command(&["DEL", STREAM]).await.expect("an answer"), ":1");
    // Its newest id is noticed, and what comes below the last one is read.
    until_saved(&*streams, "gm", "0-0").await;
    tell("20-0", "healthy").await;
    until_saved(&*streams, "gm", "20-0").await;
    assert_eq!(summary(&gm).await, Summary::Oom, "of this game something newer is known");
    server.command(&["DEL", STREAM]).await.expect("an answer");
    server.command(&["SET", STREAM, "text"]).await.expect("planted");
    server.command(&["CONFIG", "RESETSTAT"]).await.expect("reset");
    until("the reader to be refused", || async {
        let errors = server.command(&["INFO", "errorstats"]).await.ok()?;
        errors.contains("errorstat_WRONGTYPE:").then_some(())
    })
    .await;
    server.command(&["DEL", STREAM]).await.expect("an answer");
    tell("60-0", "container_exited").await;
    until_saved(&*streams, "gm", "60-0").await;
    assert_eq!(summary(&gm).await, Summary::Exited);
}
