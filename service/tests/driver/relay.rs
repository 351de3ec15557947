//! The relay: complete, in order, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Channel, Event, StreamId};
use service::embedded::Embedded;
use service::ports::{AppendAt, Streams};
use service::unreliable::{Call, Fate, UnreliableStreams};

use crate::tape::Tape;
use crate::world::{DAILY, World};

const LOBBY: &str = "gm:lobby_events";
const INTENTS: &str = "notification:intents";

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

/// What players were to be told was lost with it, and nobody can see that in their stream.
#[tokio::test(start_paused = true)]
async fn intents_lost_together_with_a_tail_are_sent_again_and_old_ones_are_not() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let _relay = gm.relay(tape.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 2).await;
    let old: Vec<_> = tape.entries(INTENTS).into_iter().map(|entry| entry.1).collect();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    turns(&world, &gm, &game, 3).await;
    let all: Vec<_> = tape.entries(INTENTS).into_iter().map(|entry| entry.1).collect();
    let recent = all.get(old.len()..).expect("those of the last turns").to_vec();
    assert!(recent.len() >= 3, "{recent:?}");
    tape.lose_tail(INTENTS, all.len());
    tape.lose_tail(LOBBY, tape.entries(LOBBY).len());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let told: Vec<_> = tape.entries(INTENTS).into_iter().map(|entry| entry.1).collect();
    assert_eq!(told, recent, "once each, in order, and none of those read long ago");
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

/// A tail that is lost after the relay last looked, right before it appends.
#[tokio::test(start_paused = true)]
async fn a_tail_lost_at_the_last_moment_is_not_sealed() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let loses = Arc::new(AtomicBool::new(false));
    let (lossy, now) = (Arc::clone(&tape), Arc::clone(&loses));
    let decide = move |call: Call<'_>| {
        if matches!(call, Call::Append(LOBBY, _)) && now.swap(false, Ordering::SeqCst) {
            lossy.lose_tail(LOBBY, 2);
        }
        Fate::Pass
    };
    let _relay = gm.relay(Arc::new(UnreliableStreams::new(tape.clone(), decide)));
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 3).await;
    for _ in 0..3 {
        loses.store(true, Ordering::SeqCst);
        turns(&world, &gm, &game, 1).await;
        assert!(!loses.load(Ordering::SeqCst), "it was lost");
        world.told_in_order(&*tape, &game).await;
    }
}

/// An id of somebody else between those that were assigned before and after it: the low ones are of
/// no use any more, and the high ones must not go before them.
#[tokio::test(start_paused = true)]
async fn an_id_in_the_middle_of_a_batch_changes_no_order() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let decide = move |call: Call<'_>| {
        let refused = matches!(call, Call::Append(LOBBY, _)) && is_away.load(Ordering::SeqCst);
        if refused { Fate::Refused } else { Fate::Pass }
    };
    let _relay = gm.relay(Arc::new(UnreliableStreams::new(tape.clone(), decide)));
    let game = world.running(&gm, "game-1", DAILY).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let now = u64::try_from(world.clock.now().timestamp_millis()).expect("after 1970");
    let stranger = StreamId { ms: now, seq: 0 };
    tape.append(LOBBY, AppendAt::Exactly(stranger), b"somebody else").await.expect("added");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        gm.perform(&game, Event::Force).await.expect("a turn");
    }
    // The first message has an id from before, the others get theirs now.
    tokio::time::sleep(Duration::from_secs(10)).await;
    away.store(false, Ordering::SeqCst);
    world.until_published().await;
    let mut told = tape.entries(LOBBY);
    assert_eq!(told.remove(0), (stranger, b"somebody else".to_vec()));
    let rows = world.outbox(Channel::LobbyEvents).await;
    let committed: Vec<_> =
        rows.into_iter().filter_map(|r| Some((r.stream_id?, r.payload.into_bytes()))).collect();
    assert_eq!(told, committed, "each once, in the order of the commits");
    assert!(told.len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn the_offset_that_is_told_is_the_one_in_the_stream() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let far = StreamId { ms: 9_000_000_000_000, seq: 0 };
    tape.append(INTENTS, AppendAt::Exactly(far), b"of another producer").await.expect("added");
    let _relay = gm.relay(tape.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 1).await;
    assert_eq!(gm.offset(INTENTS), "9000000000.000");
    let newest = tape.newest(LOBBY).await.expect("an id").ms;
    assert_eq!(gm.offset(LOBBY), format!("{}.{:03}", newest / 1000, newest % 1000));
    let count =
        |stream| gm.metric(&format!("gamemaster_outbox_published_total{{stream=\"{stream}\"}}"));
    let held = |stream| u64::try_from(tape.entries(stream).len()).expect("few");
    assert_eq!((count(LOBBY), count(INTENTS)), (held(LOBBY), held(INTENTS) - 1));
}

async fn ids(streams: &dyn Streams, stream: &str) -> Vec<StreamId> {
    let read = streams.read(stream, StreamId::ZERO, 1_000, Duration::ZERO).await;
    read.expect("entries").into_iter().map(|entry| entry.id).collect()
}

/// After six minutes and another six, of which ten are kept.
async fn trimmed_after_ten(keep: TimeDelta, after: Option<TimeDelta>) -> (usize, usize) {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let streams = Arc::new(Embedded::in_memory(Arc::clone(&world.clock)));
    let _relay = gm.relay_that_forgets(streams.clone(), keep, after);
    let game = world.running(&gm, "game-1", DAILY).await;
    turns(&world, &gm, &game, 3).await;
    let first = ids(&*streams, LOBBY).await;
    assert_eq!(first.len(), 4);
    tokio::time::sleep(Duration::from_secs(6 * 60)).await;
    turns(&world, &gm, &game, 2).await;
    let all = ids(&*streams, LOBBY).await;
    tokio::time::sleep(Duration::from_secs(6 * 60)).await;
    let left = ids(&*streams, LOBBY).await;
    assert_eq!(left, all[all.len() - left.len()..], "the oldest go first");
    // Trimmed to nothing it is not one that lost its tail.
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    let rest = ids(&*streams, LOBBY).await.len();
    turns(&world, &gm, &game, 1).await;
    let end = ids(&*streams, LOBBY).await;
    assert_eq!(end.len(), rest + 1, "nothing came back");
    assert!(end.last() > all.last());
    assert_eq!(ids(&*streams, INTENTS).await.len(), 6, "others write there, and others trim it");
    (left.len(), rest)
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_trimmed_and_what_may_be_given_again_is_not() {
    let minutes = TimeDelta::minutes;
    assert_eq!(trimmed_after_ten(minutes(5), Some(minutes(10))).await, (2, 0));
    assert_eq!(trimmed_after_ten(minutes(30), Some(minutes(10))).await, (6, 0));
    assert_eq!(trimmed_after_ten(minutes(5), None).await, (6, 6));
}

/// What waited for long goes out under an id from long ago.
#[tokio::test(start_paused = true)]
async fn what_goes_out_late_is_there_to_be_read() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let tape = Arc::new(Tape::default());
    let began = tokio::time::Instant::now();
    let decide = move |call: Call<'_>| {
        let is_away = began.elapsed() < Duration::from_secs(30 * 60);
        if is_away && matches!(call, Call::Append(..)) { Fate::Refused } else { Fate::Pass }
    };
    let (keep, age) = (TimeDelta::minutes(5), TimeDelta::minutes(10));
    let streams = Arc::new(UnreliableStreams::new(tape.clone(), decide));
    let _relay = gm.relay_that_forgets(streams, keep, Some(age));
    let game = world.running(&gm, "game-1", DAILY).await;
    let forced = gm.perform(&game, Event::Force).await;
    assert!(forced.is_ok(), "{forced:?}");
    tokio::time::sleep(Duration::from_secs(33 * 60)).await;
    world.told_in_order(&*tape, &game).await;
    assert_eq!(tape.entries(LOBBY).len(), 2);
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    assert_eq!(tape.entries(LOBBY).len(), 0);
}
