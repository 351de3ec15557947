//! Every call to the store made to fail, one at a time and in every way; after that everything
//! comes right by itself.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use machine::{Event, GameId, Status};
use service::embedded::Embedded;
use service::error::ServiceError;
use service::ports::{AppendAt, OperationState, Store};
use service::unreliable::{Call, Fate, UnreliableStore, UnreliableStreams, seeded};

use crate::world::{EVERY_TEN, Instance, World, game};

const FATES: [Fate; 5] = [
    Fate::Refused,
    Fate::RequestLost,
    Fate::ReplyLost,
    Fate::Late { after_calls: 0 },
    Fate::Late { after_calls: 3 },
];

/// Whether a call is one of the driver's, the scheduler's or those who wait: the relay's have an
/// enumeration of their own.
fn of_the_driver(call: &Call<'_>) -> bool {
    match call {
        Call::Commit(_) | Call::Log(_) | Call::ChangeVersion(_) => true,
        Call::Read(name) => ["load", "due", "operation"].contains(name),
        Call::Append(..) | Call::Write(_) => false,
    }
}

fn of_the_relay(call: &Call<'_>) -> bool {
    match call {
        Call::Commit(_) | Call::Log(_) | Call::ChangeVersion(_) => false,
        Call::Append(..) => true,
        Call::Read(name) | Call::Write(name) => name.starts_with("outbox") || *name == "newest",
    }
}

/// Lets the k-th call of a kind fail, and counts them.
fn nth(
    count: Arc<AtomicUsize>,
    k: usize,
    fate: Fate,
    counts: fn(&Call<'_>) -> bool,
) -> impl Fn(Call<'_>) -> Fate + Send + Sync + 'static {
    move |call| {
        if !counts(&call) {
            return Fate::Pass;
        }
        if count.fetch_add(1, Ordering::Relaxed) == k { fate } else { Fate::Pass }
    }
}

fn in_its_own_time<T>(of: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(of)
}

/// Registers as Lobby does: again, until the game runs.
async fn register(world: &World, gm: &Instance) -> GameId {
    let game = game("game-1");
    for _ in 0..50 {
        match gm.perform(&game, world.registration(&game, EVERY_TEN)).await {
            Ok(_) => return game,
            Err(ServiceError::Conflict(_))
                if world.status(&game).await.is_some_and(|s| s != Status::Starting) =>
            {
                return game;
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(2)).await,
        }
    }
    panic!("never registered: {:?}", world.record(&game).await);
}

/// Two regular turns and a forced one with a relay at work, then everything at rest.
async fn story(world: &World, gm: &Instance, streams: Arc<UnreliableStreams>) -> GameId {
    let relay = gm.relay(streams.clone());
    let scheduler = gm.schedule();
    let game = register(world, gm).await;
    world.until_turn(&game, 1).await;
    let forced = world.record(&game).await.expect("a record").current_turn;
    let _ = gm.perform(&game, Event::Force).await;
    world.until_turn(&game, forced + 1).await;
    // Whatever was to be tried again has been, and a lease that was left has run out.
    tokio::time::sleep(Duration::from_secs(45)).await;
    let now = world.record(&game).await.expect("a record").current_turn;
    world.until_turn(&game, now + 1).await;
    world.until_published().await;
    gm.stop.cancel();
    scheduler.await.expect("no panic");
    gm.idle().await;
    relay.await.expect("no panic");
    game
}

async fn comes_right(world: &World, game: &GameId, streams: &Embedded) {
    world.each_turn_once(game).await;
    world.told_in_order(streams, game).await;
    let operations = world.store.operations(game, None, 1_000).await.expect("operations");
    let record = world.record(game).await.expect("a record");
    let open = operations.iter().filter(|row| row.state == OperationState::Open).count();
    assert_eq!(open, usize::from(record.work().is_some()), "{operations:?}");
}

/// One life with one failure; answers how many calls there were.
async fn one_life(guard: bool, k: usize, fate: Fate, counts: fn(&Call<'_>) -> bool) -> usize {
    let world = World::new(guard);
    let count = Arc::new(AtomicUsize::new(0));
    let inner = Arc::clone(&world.store) as Arc<dyn Store>;
    let store = Arc::new(UnreliableStore::new(inner, nth(count.clone(), k, fate, counts)));
    let published = Embedded::in_memory(Arc::clone(&world.clock));
    let decide = nth(count.clone(), k, fate, counts);
    let streams = Arc::new(UnreliableStreams::new(Arc::new(published.clone()), decide));
    let gm = world.instance_over("gm-1", store.clone());
    let game = story(&world, &gm, streams.clone()).await;
    store.deliver_late().await;
    streams.deliver_late().await;
    comes_right(&world, &game, &published).await;
    count.load(Ordering::Relaxed)
}

fn every_call(guard: bool, counts: fn(&Call<'_>) -> bool, at_most: usize) -> usize {
    let quiet = in_its_own_time(one_life(guard, usize::MAX, Fate::Pass, counts));
    let last = quiet.min(at_most);
    for k in 0..last {
        for fate in FATES {
            println!("guard {guard}, call {k} of {last}: {fate:?}");
            in_its_own_time(one_life(guard, k, fate, counts));
        }
    }
    last
}

#[test]
fn each_call_of_the_driver_fails_once_and_everything_comes_right() {
    // Until the forced turn is over; what comes after repeats what came before.
    let with = every_call(true, of_the_driver, 60);
    let without = every_call(false, of_the_driver, 60);
    println!("{with} calls with a guard, {without} without, {} ways each", FATES.len());
    assert!(with > 15 && without > 15);
}

#[test]
fn each_call_of_the_relay_fails_once_and_the_streams_are_complete_and_in_order() {
    let calls = every_call(true, of_the_relay, 120);
    println!("{calls} calls, {} ways each", FATES.len());
    assert!(calls > 50);
}

#[test]
fn any_calls_fail_for_a_while_and_everything_comes_right() {
    for seed in 0..40 {
        println!("seed {seed}");
        in_its_own_time(async {
            let world = World::new(true);
            let clock = Arc::clone(&world.clock);
            let calm_from = clock.now() + chrono::TimeDelta::seconds(60);
            let while_it_lasts = |inner: Box<dyn Fn(Call<'_>) -> Fate + Send + Sync>| {
                let clock = Arc::clone(&clock);
                move |call: Call<'_>| {
                    if clock.now() < calm_from { inner(call) } else { Fate::Pass }
                }
            };
            let inner = Arc::clone(&world.store) as Arc<dyn Store>;
            let decide = while_it_lasts(Box::new(seeded(seed, 25)));
            let store = Arc::new(UnreliableStore::new(inner, decide));
            let published = Embedded::in_memory(Arc::clone(&world.clock));
            let decide = while_it_lasts(Box::new(seeded(seed + 1_000, 25)));
            let streams = UnreliableStreams::new(Arc::new(published.clone()), decide);
            let gm = world.instance_over("gm-1", store);
            let game = story(&world, &gm, Arc::new(streams)).await;
            comes_right(&world, &game, &published).await;
        });
    }
}

#[test]
fn an_append_whose_answer_was_lost_is_not_repeated_under_another_id() {
    // The same fate for every append there is, each one failing at its first try.
    for fate in FATES {
        in_its_own_time(async {
            let world = World::new(true);
            let published = Embedded::in_memory(Arc::clone(&world.clock));
            let tried = std::sync::Mutex::new(std::collections::BTreeSet::new());
            let decide = move |call: Call<'_>| match call {
                Call::Append(_, AppendAt::Exactly(id)) => {
                    let first = tried.lock().expect("not poisoned").insert(id);
                    if first { fate } else { Fate::Pass }
                }
                Call::Append(_, AppendAt::Next)
                | Call::Commit(_)
                | Call::Log(_)
                | Call::ChangeVersion(_)
                | Call::Write(_)
                | Call::Read(_) => Fate::Pass,
            };
            let streams = UnreliableStreams::new(Arc::new(published.clone()), decide);
            let gm = world.instance("gm-1");
            let game = story(&world, &gm, Arc::new(streams)).await;
            comes_right(&world, &game, &published).await;
        });
    }
}
