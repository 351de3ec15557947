//! The health consumer: in order, each once, and nothing blocks it.

use std::sync::Arc;
use std::time::Duration;

use machine::{Event, Runtime, Status, StreamId, Summary};
use service::ports::{AppendAt, Store, Streams};
use service::unreliable::{Call, Fate, UnreliableStore, UnreliableStreams};
use service::workers::Start;

use crate::slow_store::SlowStore;
use crate::tape::Tape;
use crate::world::{DAILY, World, health_outcomes};

const HEALTH: &str = "runtime:health_events";
const GAPS: &str = "gamemaster_health_gaps_total";

pub(crate) fn event(game: &str, kind: &str) -> Vec<u8> {
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

pub(crate) async fn say(streams: &dyn Streams, payload: &[u8]) {
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
    let of = |(outcome, count): (&str, u64)| (outcome.to_owned(), count);
    let expected = [("applied", 4), ("unreadable", 7), ("unknown_game", 1)].map(of);
    assert_eq!(health_outcomes(gm.driver.telemetry()), expected.into());
    assert_eq!(gm.metric(GAPS), 0);
}

/// A store that refuses every commit about one game, for a while.
fn refuses(world: &World, game: &'static str, until: u64) -> Arc<UnreliableStore> {
    let began = tokio::time::Instant::now();
    let fate = move |call: Call<'_>| match call {
        Call::Commit(commit) if commit.game_id.as_str() == game => {
            let over = began.elapsed() >= Duration::from_secs(until);
            if over { Fate::Pass } else { Fate::Refused }
        }
        Call::Commit(_)
        | Call::Append(..)
        | Call::Write(_)
        | Call::Log(_)
        | Call::ChangeVersion(_)
        | Call::Read(_) => Fate::Pass,
    };
    Arc::new(UnreliableStore::new(world.store.clone(), fate))
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_for_good_is_given_up_and_the_next_one_is_applied() {
    let world = World::new(true);
    let sound = world.instance("gm-0");
    let (bad, game) = (
        world.running(&sound, "poisoned", DAILY).await,
        world.running(&sound, "game-1", DAILY).await,
    );
    let gm = world.instance_over("gm-1", refuses(&world, "poisoned", u64::MAX));
    let tape = Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    say(&*tape, &event("poisoned", "inspect_unhealthy")).await;
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    let waiting = world.record(&game).await.expect("a record");
    assert_eq!(waiting.health.summary, Summary::Unknown, "in order, while there is hope");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let applied = world.record(&game).await.expect("a record");
    assert_eq!(applied.health.summary, Summary::InspectUnhealthy);
    assert_eq!(world.record(&bad).await.expect("a record").health.summary, Summary::Unknown);
    let outcomes = health_outcomes(gm.driver.telemetry());
    // Each try of the first one failed, but for the last; its neighbour went through at once.
    let seen: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(seen, ["applied", "failed", "given_up"]);
    assert_eq!((outcomes["applied"], outcomes["given_up"]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_write_for_half_a_minute_costs_no_event() {
    let world = World::new(true);
    let game = world.running(&world.instance("gm-0"), "game-1", DAILY).await;
    let gm = world.instance_over("gm-1", refuses(&world, "game-1", 30));
    let tape = Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let applied = world.record(&game).await.expect("a record");
    assert_eq!(applied.health.summary, Summary::InspectUnhealthy);
    let outcomes = health_outcomes(gm.driver.telemetry());
    assert_eq!((outcomes["applied"], outcomes.get("given_up")), (1, None));
}

async fn say_at(tape: &Tape, ms: u64, payload: &[u8]) {
    let at = AppendAt::Exactly(StreamId { ms, seq: 0 });
    tape.append(HEALTH, at, payload).await.expect("appended");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lost_its_end_is_a_gap_and_what_comes_next_is_read() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    world.running(&gm, "game-2", DAILY).await;
    let tape = Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    say_at(&tape, 10, &event("game-2", "probe_failed")).await;
    say_at(&tape, 50, &event("game-2", "inspect_unhealthy")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    tape.lose_tail(HEALTH, 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(gm.metric(GAPS), 1);
    assert_eq!(gm.offset(HEALTH), "0.010", "what there is to go on from");
    // Below the id that was read last.
    say_at(&tape, 30, &event("game-1", "inspect_unhealthy")).await;
    world.until(&game, "unhealthy", says(Summary::InspectUnhealthy)).await;
    assert_eq!(tape.saved_offset("test"), Some("30-0".into()));
    // Gone altogether.
    tape.lose_tail(HEALTH, 100);
    tokio::time::sleep(Duration::from_secs(5)).await;
    say_at(&tape, 40, &event("game-1", "probe_failed")).await;
    world.until(&game, "failing its probes", says(Summary::ProbeFailed)).await;
    assert_eq!(gm.metric(GAPS), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_trimmed_beyond_the_reader_is_a_gap_and_one_trimmed_behind_it_is_not() {
    for (below, gaps) in [(20, 0), (25, 1)] {
        let world = World::new(true);
        let gm = world.instance("gm-1");
        let game = world.running(&gm, "game-1", DAILY).await;
        let tape = Arc::new(Tape::default());
        tape.plant_offset("test", "20-0");
        for ms in [10, 20, 22] {
            say_at(&tape, ms, &event("game-1", "probe_failed")).await;
        }
        say_at(&tape, 30, &event("game-1", "inspect_unhealthy")).await;
        tape.trim(HEALTH, StreamId { ms: below, seq: 0 }).await.expect("trimmed");
        let _consumer = gm.listen(tape.clone(), Start::Beginning);
        world.until(&game, "unhealthy", says(Summary::InspectUnhealthy)).await;
        assert_eq!(gm.metric(GAPS), gaps);
        // A quiet stream whose old entries go is none either.
        tokio::time::sleep(Duration::from_secs(5)).await;
        say_at(&tape, 40, &event("game-1", "probe_failed")).await;
        tape.trim(HEALTH, StreamId { ms: 40, seq: 0 }).await.expect("trimmed");
        world.until(&game, "failing its probes", says(Summary::ProbeFailed)).await;
        assert_eq!(gm.metric(GAPS), gaps);
    }
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
        Call::Write(_)
        | Call::Commit(_)
        | Call::Log(_)
        | Call::ChangeVersion(_)
        | Call::Append(..)
        | Call::Read(_) => Fate::Pass,
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
