//! The relay: complete, in order, once.

use std::sync::Arc;
use std::time::Duration;

use machine::{Channel, Event, StreamId};
use service::ports::{AppendAt, Streams};

use crate::tape::Tape;
use crate::world::{DAILY, World};

const LOBBY: &str = "gm:lobby_events";

async fn turns(world: &World, gm: &crate::world::Instance, game: &machine::GameId, count: usize) {
    for _ in 0..count {
        let forced = gm.perform(game, Event::Force).await;
        assert!(forced.is_ok(), "{forced:?}");
    }
    world.until_published().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lost_its_tail_is_given_it_again_under_the_same_ids() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let _relay = gm.relay(tape.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 5).await;
    let before = tape.entries(LOBBY);
    tape.lose_tail(LOBBY, 4);
    assert_ne!(tape.entries(LOBBY), before);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(tape.entries(LOBBY), before);
    tape.lose_tail(LOBBY, before.len());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(tape.entries(LOBBY), before);
    world.told_in_order(&*tape, &game).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_right_after_the_loss_does_not_seal_it() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let _relay = gm.relay(tape.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 3).await;
    tape.lose_tail(LOBBY, 2);
    // Sooner than the next regular check of the tail.
    turns(&world, &gm, &game, 1).await;
    world.told_in_order(&*tape, &game).await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_from_the_future_is_gone_on_above() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let far = StreamId { ms: 99_999_999_999_999, seq: 7 };
    tape.append(LOBBY, AppendAt::Exactly(far), b"somebody's clock was wrong").await.expect("added");
    let _relay = gm.relay(tape.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 4).await;
    let entries = tape.entries(LOBBY);
    assert_eq!(entries[0].0, far);
    let rows = world.outbox(Channel::LobbyEvents).await;
    assert_eq!(entries.len(), rows.len() + 1);
    for (row, (id, payload)) in rows.iter().zip(&entries[1..]) {
        assert!(*id > far);
        assert_eq!((row.stream_id, row.payload.as_bytes()), (Some(*id), payload.as_slice()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_publishes_what_is_left() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    for _ in 0..150 {
        gm.perform(&game, Event::Force).await.expect("a turn");
    }
    let tape = Arc::new(Tape::default());
    gm.stop.cancel();
    gm.relay(tape.clone()).await.expect("no panic");
    world.told_in_order(&*tape, &game).await;
    assert_eq!(tape.entries(LOBBY).len(), 151);
}

#[tokio::test(start_paused = true)]
async fn messages_of_another_instance_are_found_without_a_bell() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let other = world.instance("gm-2");
    let tape = Arc::new(Tape::default());
    let _relay = gm.relay(tape.clone());
    let game = world.running(&other, "game-1", DAILY).await;
    turns(&world, &other, &game, 2).await;
    world.told_in_order(&*tape, &game).await;
}
