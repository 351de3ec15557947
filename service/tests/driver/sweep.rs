//! The sweep: what no timer finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{FailureCode, GameId, OperationKind, Outcome};
use service::ports::{OperationRow, OperationState, Origin, Store};
use service::unreliable::{Call, Fate, UnreliableStore};
use service::workers::Sweep;

use crate::engine::Next;
use crate::slow_store::SlowStore;
use crate::world::{DAILY, Instance, World, game};

const TAKEN_UP: &str = "gamemaster_lease_recoveries_total{lease=\"banish\"}";
const OVERDUE: &str = "gamemaster_overdue_leases";
const PATIENCE: TimeDelta = TimeDelta::seconds(20);

fn sweep(gm: &Instance) -> tokio::task::JoinHandle<()> {
    let sweep = Sweep {
        driver: Arc::clone(&gm.driver),
        store: Arc::clone(&gm.store),
        clock: Arc::clone(&gm.clock),
        patience: PATIENCE,
    };
    tokio::spawn(sweep.run(gm.stop.clone()))
}

async fn banishes(world: &World, game: &GameId) -> Vec<OperationRow> {
    let all = world.store.operations(game, None, 100).await.expect("operations");
    all.into_iter().filter(|row| row.kind == OperationKind::Banish).collect()
}

/// A banish whose process dies before it hears of an end.
async fn left_open(world: &World, gm: &Instance, game: &GameId) {
    world.engines.script([Next::NeverArrives]);
    let race = "Race 1".parse().expect("a race name");
    let asked = gm.driver.banish(game.clone(), race, Origin::SELF.into());
    let ended = tokio::time::timeout(Duration::from_secs(1), asked).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_banish_that_was_left_open_is_carried_out_but_not_one_that_somebody_is_still_at() {
    let world = World::new(true);
    let dead = world.instance("gm-0");
    let game = world.running(&dead, "game-1", DAILY).await;
    left_open(&world, &dead, &game).await;
    let gm = world.instance("gm-1");
    let _sweep = sweep(&gm);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(banishes(&world, &game).await[0].state, OperationState::Open, "too soon");
    // By the next sweep it is old enough.
    tokio::time::sleep(Duration::from_secs(95)).await;
    let closed = OperationState::Closed(Outcome::Succeeded);
    assert_eq!(banishes(&world, &game).await[0].state, closed);
    assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init", "banish"]);
    assert_eq!(gm.metric(TAKEN_UP), 1);
    // Once.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(gm.metric(TAKEN_UP), 1);
}

#[tokio::test(start_paused = true)]
async fn a_banish_of_a_game_that_is_over_is_closed_as_failed() {
    let world = World::new(true);
    let dead = world.instance("gm-0");
    let game = world.running(&dead, "game-1", DAILY).await;
    left_open(&world, &dead, &game).await;
    let reason = "over".parse().expect("a reason");
    dead.perform(&game, machine::Event::Stop { reason }).await.expect("stopped");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let gm = world.instance("gm-1");
    let _sweep = sweep(&gm);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let rows = banishes(&world, &game).await;
    let OperationState::Closed(Outcome::Failed(failure)) = &rows[0].state else {
        panic!("{rows:?}");
    };
    assert_eq!(failure.code, FailureCode::Conflict);
}

#[tokio::test(start_paused = true)]
async fn many_left_open_are_taken_up_a_few_at_a_time() {
    let world = World::new(true);
    let dead = world.instance("gm-0");
    let game = world.running(&dead, "game-1", DAILY).await;
    for _ in 0..30 {
        left_open(&world, &dead, &game).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.engines.set_takes(Duration::from_secs(4));
    let gm = world.instance("gm-1");
    let _sweep = sweep(&gm);
    // Eight at a time, four seconds each: begun by now are two times eight.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let taken_up = gm.metric(TAKEN_UP);
    assert_eq!(taken_up, 16);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let rows = banishes(&world, &game).await;
    assert!(rows.iter().all(|row| row.state != OperationState::Open), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn all_records_are_looked_at_page_by_page_and_what_is_wrong_is_counted_and_left_alone() {
    let world = World::new(true);
    let gm = world.instance("gm-0");
    world.engines.set_takes(Duration::ZERO);
    for n in 0..450 {
        world.running(&gm, &format!("game-{n:03}"), DAILY).await;
    }
    // The last page: its lease runs out and nobody looks after it.
    let hung = game("game-449");
    world.engines.script([Next::NeverArrives]);
    let forced = gm.perform(&hung, machine::Event::Force);
    let _ = tokio::time::timeout(Duration::from_secs(1), forced).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let before = world.record(&hung).await;
    let counted = Arc::new(SlowStore::new(world.store.clone(), Duration::ZERO));
    let gm = world.instance_over("gm-1", counted.clone());
    let _sweep = sweep(&gm);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((counted.calls(), gm.metric(OVERDUE)), (2, 0));
    tokio::time::sleep(Duration::from_secs(200)).await;
    let violations = gm.metric("gamemaster_invariant_violations_total");
    assert_eq!((gm.metric(OVERDUE), violations), (1, 0));
    assert_eq!(world.record(&hung).await, before, "nothing is repaired");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_asked_again_with_the_next_sweep() {
    let world = World::new(true);
    let dead = world.instance("gm-0");
    let game = world.running(&dead, "game-1", DAILY).await;
    left_open(&world, &dead, &game).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let fate = move |_: Call<'_>| {
        if is_down.load(Ordering::Relaxed) { Fate::Refused } else { Fate::Pass }
    };
    let store = Arc::new(UnreliableStore::new(world.store.clone(), fate));
    let gm = world.instance_over("gm-1", store);
    let _sweep = sweep(&gm);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(banishes(&world, &game).await[0].state, OperationState::Open);
    down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(95)).await;
    assert_ne!(banishes(&world, &game).await[0].state, OperationState::Open);
}
