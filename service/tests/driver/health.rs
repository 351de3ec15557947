//! The health consumer: in order, each once, and nothing blocks it.

use std::sync::Arc;
use std::time::Duration;

use machine::{Event, Runtime, Status, StreamId, Summary};
use service::ports::{AppendAt, Store, Streams};
use service::unreliable::{Call, Fate, UnreliableStreams};
use service::workers::Start;

use crate::slow_store::SlowStore;
use crate::tape::Tape;
use crate::world::{DAILY, World};

const HEALTH: &str = "runtime:health_events";

fn event(game: &str, kind: &str) -> Vec<u8> {
    serde_json::json!({
        "game_id": game,
        "container_id": "container-1",
        "event_type": kind,
        "occurred_at_ms": 1,
        "details": { "consecutive_failures": 3 },
    })
    .to_string()
    .into_bytes()
}

async fn say(streams: &dyn Streams, payload: &[u8]) {
    streams.append(HEALTH, AppendAt::Next, payload).await.expect("appended");
}

fn says(summary: Summary) -> impl Fn(&Runtime) -> bool {
    move |rt| rt.health.summary == summary
}

#[tokio::test(start_paused = true)]
async fn events_are_applied_in_order_and_what_cannot_be_read_is_passed_over() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let tape = Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    say(&*tape, &event("game-1", "probe_failed")).await;
    world.until(&game, "failing its probes", says(Summary::ProbeFailed)).await;
    for unreadable in [&b"{"[..], b"", b"[]", b"\xff\xfe", br#"{"game_id":"game-1"}"#] {
        say(&*tape, unreadable).await;
    }
    say(&*tape, &event("no-such-game", "container_exited")).await;
    say(&*tape, &event("../game-1", "container_exited")).await;
    say(&*tape, &event("game-1", "a_kind_of_next_year")).await;
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    say(&*tape, &event("game-1", "container_oom")).await;
    let down = world.until(&game, "out of memory", says(Summary::Oom)).await;
    assert_eq!(down.status(), Status::EngineUnreachable);
    say(&*tape, &event("game-1", "healthy")).await;
    world.until(&game, "running", |rt| rt.status() == Status::Running).await;
    let newest = tape.newest(HEALTH).await.expect("an id");
    assert_eq!(tape.saved_offset("test"), Some(newest.to_string()));
}

#[tokio::test(start_paused = true)]
async fn what_was_applied_and_not_saved_comes_again_and_changes_nothing() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let tape = Arc::new(Tape::default());
    for kind in ["probe_failed", "container_exited", "healthy", "inspect_unhealthy"] {
        say(&*tape, &event("game-1", kind)).await;
    }
    // The offset is never saved, as if the process died each time before it was.
    let never_saved = |call: Call<'_>| match call {
        Call::Write("save_offset") => Fate::RequestLost,
        Call::Write(_) | Call::Commit(_) | Call::Append(..) | Call::Read(_) => Fate::Pass,
    };
    let mut seen = None;
    for _ in 0..3 {
        let life = world.instance("gm-1");
        let streams = Arc::new(UnreliableStreams::new(tape.clone(), never_saved));
        let consumer = life.listen(streams, Start::Beginning);
        world.until(&game, "unhealthy", says(Summary::InspectUnhealthy)).await;
        life.idle().await;
        world.until(&game, "running", |rt| rt.status() == Status::Running).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        life.stop.cancel();
        consumer.await.expect("no panic");
        let record = world.record(&game).await.expect("a record");
        let before = seen.get_or_insert_with(|| record.clone());
        assert_eq!(*before, record);
    }
    assert_eq!(tape.saved_offset("test"), None);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_applied_now_is_not_passed_over() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(1)));
    let gm = world.instance_over("gm-1", slow.clone());
    let game = world.running(&gm, "game-1", DAILY).await;
    let tape = Arc::new(Tape::default());
    slow.set_down(true);
    let consumer = gm.listen(tape.clone(), Start::Beginning);
    say(&*tape, &event("game-1", "probe_failed")).await;
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(tape.saved_offset("test").is_none_or(|saved| saved == StreamId::ZERO.to_string()));
    assert!(slow.calls() < 300, "{} calls in five minutes", slow.calls());
    slow.set_down(false);
    world.until(&game, "unhealthy", says(Summary::InspectUnhealthy)).await;
    gm.stop.cancel();
    consumer.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_offset_begins_where_it_was_configured_to() {
    for (start, expected) in
        [(Start::Beginning, Summary::InspectUnhealthy), (Start::End, Summary::Unknown)]
    {
        let world = World::new(true);
        let gm = world.instance("gm-1");
        let game = world.running(&gm, "game-1", DAILY).await;
        let tape = Arc::new(Tape::default());
        tape.plant_offset("test", "yesterday, around noon");
        say(&*tape, &event("game-1", "inspect_unhealthy")).await;
        let _consumer = gm.listen(tape.clone(), start);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let record = world.record(&game).await.expect("a record");
        assert_eq!(record.health.summary, expected);
        say(&*tape, &event("game-1", "probe_failed")).await;
        world.until(&game, "failing its probes", says(Summary::ProbeFailed)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_nobody_listens_is_not_lost_where_listening_began_at_the_end() {
    let world = World::new(true);
    let game = world.running(&world.instance("gm-1"), "game-1", DAILY).await;
    let tape = Arc::new(Tape::default());
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    let first = world.instance("gm-1");
    let consumer = first.listen(tape.clone(), Start::End);
    tokio::time::sleep(Duration::from_secs(5)).await;
    first.stop.cancel();
    consumer.await.expect("no panic");
    // Between two lives, of which the first one saw nothing at all.
    say(&*tape, &event("game-1", "container_exited")).await;
    let second = world.instance("gm-1");
    let _consumer = second.listen(tape.clone(), Start::End);
    world.until(&game, "down", |rt| rt.status() == Status::EngineUnreachable).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_dies_in_the_middle_of_a_turn_fences_the_turn_off() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let tape = Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    world.engines.set_takes(Duration::from_secs(6));
    let force = gm.perform(&game, Event::Force);
    let dies = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        say(&*tape, &event("game-1", "container_exited")).await;
    };
    let (forced, ()) = tokio::join!(force, dies);
    assert!(forced.is_err(), "{forced:?}");
    let down = world.record(&game).await.expect("a record");
    assert_eq!((down.status(), down.current_turn), (Status::EngineUnreachable, 0));
    // The late answer changes nothing; what the engine did is found out by asking.
    gm.idle().await;
    let late = world.record(&game).await.expect("a record");
    assert_eq!(late.current_turn, 0);
    world.engines.set_takes(Duration::from_millis(300));
    let _scheduler = gm.schedule();
    world.until_turn(&game, 1).await;
    world.each_turn_once(&game).await;
    let due = world.store.due(world.clock.now(), 10).await.expect("an answer");
    assert_eq!(due, []);
}
