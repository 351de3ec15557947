//! A process that dies in the middle: at every point where it can, in every kind of operation.
//!
//! Another process finds what it left, and within the time of a lease the game is whole: nothing
//! half done, nothing twice, nothing that stays under way.

use std::sync::Arc;
use std::time::Duration;

use machine::{EngineFault, Event, GameId, OperationKind, Runtime, Status};
use service::effects::Effects;
use service::error::ServiceError;
use service::http::Asked;
use service::ports::{
    Claim, ClaimKey, EngineApi, Fingerprint, OperationState, Origin, RtmApi, Source, Store,
};
use tokio::time::Instant;

use crate::admin::all_closed;
use crate::engine::Next;
use crate::mortal::{Life, Mortal};
use crate::world::{DAILY, EVERY_TEN, Instance, World, game};

/// The longest lease and drain deadline of these tests, with a moment for what follows.
const LONGEST_RECOVERY: Duration = Duration::from_secs(40);

/// What a process is at when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Register,
    Force,
    NamedForce,
    Tick,
    Stop,
    StopWhileATurnRuns,
    Patch,
    Reconcile,
    Banish,
}

const ALL: [At; 9] = [
    At::Register,
    At::Force,
    At::NamedForce,
    At::Tick,
    At::Stop,
    At::StopWhileATurnRuns,
    At::Patch,
    At::Reconcile,
    At::Banish,
];

fn mortal(world: &World, life: &Life) -> Instance {
    let store: Arc<dyn Store> = world.store.clone();
    let engine: Arc<dyn EngineApi> = world.engines.clone();
    let rtm: Arc<dyn RtmApi> = world.rtm.clone();
    let effects = Effects {
        engine: Arc::new(Mortal::new(life, engine)),
        rtm: Arc::new(Mortal::new(life, rtm)),
    };
    world.instance_of("gm-1", Arc::new(Mortal::new(life, store)), effects)
}

fn stop() -> Event {
    Event::Stop { reason: "the players left".parse().expect("a reason") }
}

fn patch() -> Event {
    Event::Patch {
        version: "1.4.3".parse().expect("a version"),
        image_ref: "galaxy/engine:1.4.3".parse().expect("an image"),
        turn_guard: true,
    }
}

fn named() -> Asked {
    let key = ClaimKey { caller: Source::Admin, key: "a".parse().expect("a key") };
    Asked {
        origin: Origin { source: Source::Admin, request_id: None },
        claim: Some(Claim { key, fingerprint: Fingerprint([1; 32]) }),
    }
}

/// Has a process that lives prepare the game.
async fn prepared(world: &World, at: At) -> GameId {
    let first = world.instance("gm-0");
    match at {
        At::Register => game("game-1"),
        At::Tick => world.running(&first, "game-1", EVERY_TEN).await,
        At::Reconcile => {
            let of = world.running(&first, "game-1", DAILY).await;
            world.engines.script([Next::Fails(EngineFault::Validation)]);
            let failed = first.perform(&of, Event::Force).await;
            assert!(matches!(failed, Err(ServiceError::EngineValidationError(_))), "{failed:?}");
            // Somebody generated the turn by hand: this is what is to be found out.
            world.engines.change(&of, |engine| {
                engine.turn += 1;
                engine.generated.push(engine.turn);
            });
            of
        }
        At::Force | At::NamedForce | At::Stop | At::StopWhileATurnRuns | At::Patch | At::Banish => {
            world.running(&first, "game-1", DAILY).await
        }
    }
}

/// The operation, from beginning to end, where the process lives that long.
async fn asked(world: &World, gm: &Instance, of: &GameId, at: At) {
    match at {
        At::Register => drop(gm.perform(of, world.registration(of, DAILY)).await),
        At::Force => drop(gm.perform(of, Event::Force).await),
        At::NamedForce => drop(gm.ask(of, Event::Force, named()).await),
        At::Tick => {
            let _scheduler = gm.schedule();
            world.until_turn(of, 1).await;
        }
        At::Stop => drop(gm.perform(of, stop()).await),
        At::StopWhileATurnRuns => {
            let stopped = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                gm.perform(of, stop()).await
            };
            let _ = tokio::join!(gm.perform(of, Event::Force), stopped);
        }
        At::Patch => drop(gm.perform(of, patch()).await),
        At::Reconcile => drop(gm.perform(of, Event::Reconcile).await),
        At::Banish => {
            let race = "Race 1".parse().expect("a race");
            drop(gm.driver.banish(of.clone(), race, Origin::SELF.into()).await);
        }
    }
}

fn is_at_rest(record: Option<&Runtime>) -> bool {
    record.is_none_or(|rt| {
        let resting = match rt.status() {
            Status::Running | Status::GenerationFailed | Status::Stopped | Status::Finished => true,
            Status::Starting | Status::GenerationInProgress | Status::EngineUnreachable => false,
        };
        resting && rt.work().is_none() && rt.pending().is_none()
    })
}

/// What the sweep of the service does about operations that no record tells of.
async fn settle_open(world: &World, gm: &Instance) {
    let now = world.clock.now();
    let open = world.store.open_operations(OperationKind::Banish, now, 10).await;
    for row in open.expect("operations") {
        gm.driver.settle_banish(row).await.expect("settled");
    }
}

/// One death; answers whether the operation came to its end before it.
async fn one_death(at: At, guard: bool, point: usize) -> bool {
    let world = World::new(guard);
    let of = prepared(&world, at).await;
    let life = Life::until(point);
    let gm = mortal(&world, &life);
    let ended = tokio::time::timeout(Duration::from_secs(15), asked(&world, &gm, &of, at)).await;
    gm.stop.cancel();
    let came_to_its_end = ended.is_ok() && !life.is_over();
    // The next one knows nothing of it but what the store says.
    let began = Instant::now();
    let other = world.instance("gm-2");
    let scheduler = other.schedule();
    while !is_at_rest(world.record(&of).await.as_deref()) {
        let waited = began.elapsed();
        let record = world.record(&of).await;
        assert!(waited < LONGEST_RECOVERY, "{at:?}, point {point}: {record:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settle_open(&world, &other).await;
    whole(&world, &other, &of, at, point).await;
    other.stop.cancel();
    scheduler.await.expect("no panic");
    other.idle().await;
    all_closed(&world, &of).await;
    came_to_its_end
}

/// The game is whole, and what was asked for can be asked for again.
async fn whole(world: &World, other: &Instance, of: &GameId, at: At, point: usize) {
    let place = format!("{at:?}, point {point}");
    let record = world.record(of).await;
    let rows = world.store.operations(of, None, 100).await.expect("operations");
    let begun = |kind| rows.iter().any(|row| row.kind == kind);
    match at {
        At::Register => {
            if record.is_none() {
                let again = other.perform(of, world.registration(of, DAILY)).await;
                assert!(again.is_ok(), "{place}: {again:?}");
            }
            assert_eq!(world.status(of).await, Some(Status::Running), "{place}");
        }
        At::NamedForce => {
            let turn = other.ask(of, Event::Force, named()).await;
            let turns = world.record(of).await.expect("a record").current_turn;
            match turn {
                Ok(record) => assert_eq!(record.expect("a record").current_turn, 1, "{place}"),
                // Recovery without a guard leaves the turn to the operator, and says so.
                Err(ServiceError::ServiceUnavailable(_)) => assert_eq!(turns, 0, "{place}"),
                Err(other) => panic!("{place}: {other:?}"),
            }
            let rows = world.store.operations(of, None, 100).await.expect("operations");
            let forced = rows.iter().filter(|row| row.kind == OperationKind::Force).count();
            assert_eq!(forced, 1, "{place}");
        }
        At::Stop | At::StopWhileATurnRuns => {
            let expected =
                if begun(OperationKind::Stop) { Status::Stopped } else { Status::Running };
            let found = record.expect("a record").status();
            let waiting = at == At::StopWhileATurnRuns && !world.guard;
            let left_failed = waiting && found == Status::GenerationFailed;
            assert!(found == expected || left_failed, "{place}: {found}");
        }
        At::Patch => {
            let expected = if begun(OperationKind::Patch) { "1.4.3" } else { "1.4.2" };
            assert_eq!(record.expect("a record").engine.version.to_string(), expected, "{place}");
        }
        At::Reconcile => {
            let adopted = other.perform(of, Event::Reconcile).await.expect("the engine is there");
            assert_eq!(adopted.expect("a record").current_turn, 1, "{place}");
        }
        At::Banish => {
            let row = rows.iter().find(|row| row.kind == OperationKind::Banish);
            let banished = world.engines.see(of, |engine| engine.banished.clone());
            assert_eq!(banished.len(), usize::from(row.is_some()), "{place}");
        }
        At::Force | At::Tick => {
            let forced = other.perform(of, Event::Force).await;
            assert!(forced.is_ok(), "{place}: {forced:?}");
        }
    }
    match at {
        // The clock goes on ticking meanwhile.
        At::Tick => {}
        // Nobody asks an engine that is to be stopped, once the drain deadline is past: a turn whose
        // answer was lost goes down with it.
        At::StopWhileATurnRuns => {
            let turn = world.record(of).await.expect("a record").current_turn;
            let generated = world.engines.see(of, |engine| engine.generated.clone());
            assert!([vec![], vec![1]].contains(&generated), "{place}: {generated:?}");
            assert!(generated.len() >= turn as usize, "{place}: {generated:?}");
        }
        At::Register
        | At::Force
        | At::NamedForce
        | At::Stop
        | At::Patch
        | At::Reconcile
        | At::Banish => world.each_turn_once(of).await,
    }
    let open = world.store.operations(of, None, 100).await.expect("operations");
    let open = open.iter().filter(|row| row.state == OperationState::Open).count();
    let working = world.record(of).await.is_some_and(|rt| rt.work().is_some());
    assert_eq!(open, usize::from(working), "{place}");
}

fn dies_at_every_point(at: At, guard: bool) -> usize {
    for point in 0..10_000 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        if runtime.block_on(one_death(at, guard, point)) {
            return point;
        }
    }
    panic!("{at:?} never came to its end");
}

fn every_death(guard: bool) {
    let mut total = 0;
    for at in ALL {
        let points = dies_at_every_point(at, guard);
        println!("{at:?}, guard {guard}: died at {points} points");
        assert!(points >= 6, "{at:?} has only {points} points to die at");
        total += points;
    }
    println!("in all: died at {total} points");
}

#[test]
fn whatever_a_process_is_at_when_it_dies_the_game_is_whole_again_with_a_guard() {
    every_death(true);
}

#[test]
fn whatever_a_process_is_at_when_it_dies_the_game_is_whole_again_without_a_guard() {
    every_death(false);
}
