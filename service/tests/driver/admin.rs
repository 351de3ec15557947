//! What administrators and Lobby ask of a running game, each with every way it can end.

use std::time::Duration;

use machine::{EngineFault, Event, FailureCode, OperationKind, Outcome, Status, Summary};
use service::error::ServiceError;
use service::http::Asked;
use service::ports::{OperationRow, OperationState, Origin, Source, Store};
use service::workers::Start;

use crate::engine::Next;
use crate::health::{event, say};
use crate::tape::Tape;
use crate::world::{DAILY, EVERY_TEN, Instance, World, game};

fn stop() -> Event {
    Event::Stop { reason: "the players left".parse().expect("a reason") }
}

fn patch(version: &str) -> Event {
    Event::Patch {
        version: version.parse().expect("a version"),
        image_ref: format!("galaxy/engine:{version}").parse().expect("an image"),
        turn_guard: true,
    }
}

fn by(source: Source) -> Asked {
    Origin { source, request_id: Some("request-7".into()) }.into()
}

/// The newest operation of a kind.
async fn last(world: &World, of: &machine::GameId, kind: OperationKind) -> OperationRow {
    let rows = world.store.operations(of, None, 100).await.expect("operations");
    rows.into_iter().find(|row| row.kind == kind).expect("an operation of that kind")
}

/// No operation is left open: each was opened with its intent and closed once.
pub(crate) async fn all_closed(world: &World, of: &machine::GameId) {
    let rows = world.store.operations(of, None, 1_000).await.expect("operations");
    let open: Vec<_> = rows.iter().filter(|row| row.state == OperationState::Open).collect();
    assert!(open.is_empty(), "{open:?}");
    for row in &rows {
        assert!(row.finished_at.is_some_and(|at| at >= row.started_at), "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_goes_through_runtime_manager_and_is_final() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", EVERY_TEN).await;
    let _scheduler = gm.schedule();
    let stopped = gm.ask(&of, stop(), by(Source::Admin)).await.expect("stopped");
    assert_eq!(stopped.expect("a record").status(), Status::Stopped);
    assert_eq!(world.rtm.calls(), ["stop game-1 the players left"]);
    let row = last(&world, &of, OperationKind::Stop).await;
    assert_eq!((row.origin.source, row.origin.request_id.as_deref()), {
        (Source::Admin, Some("request-7"))
    });
    assert_eq!(row.state, OperationState::Closed(Outcome::Succeeded));
    // Nothing leads back: not the clock, not an administrator; a second stop changes nothing.
    let turns = world.record(&of).await.expect("a record").current_turn;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let again = gm.perform(&of, stop()).await.expect("stopped").expect("a record");
    assert_eq!((again.status(), again.current_turn), (Status::Stopped, turns));
    for refused in [Event::Force, Event::Reconcile, patch("1.4.3")] {
        let answer = gm.perform(&of, refused).await;
        assert!(matches!(answer, Err(ServiceError::RuntimeNotRunning(_))), "{answer:?}");
    }
    assert_eq!(world.rtm.calls().len(), 1);
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_runtime_manager_does_not_carry_out_leaves_the_game_running() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", EVERY_TEN).await;
    let _scheduler = gm.schedule();
    type Fault = fn(&World, bool);
    let faults: [(Fault, FailureCode); 2] = [
        (|world, on| world.rtm.set_refuses(on), FailureCode::RtmRefused),
        (|world, on| world.rtm.set_absent(on), FailureCode::RtmUnavailable),
    ];
    for (fault, code) in faults {
        fault(&world, true);
        let answer = gm.perform(&of, stop()).await;
        assert!(matches!(answer, Err(ServiceError::ServiceUnavailable(_))), "{answer:?}");
        let failure = world.record(&of).await.and_then(|rt| rt.last_failure.clone());
        assert_eq!(failure.map(|failure| failure.code), Some(code));
        let turn = world.record(&of).await.expect("a record").current_turn;
        world.until_turn(&of, turn + 1).await;
        fault(&world, false);
    }
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_finishes_the_game_wins_over_the_stop_that_waits_for_it() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    world.engines.finish_at(&of, 1);
    world.engines.set_takes(Duration::from_secs(4));
    let waits = async {
        world.until(&of, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        gm.perform(&of, stop()).await
    };
    let (forced, stopped) = tokio::join!(gm.perform(&of, Event::Force), waits);
    assert_eq!(forced.expect("a turn").expect("a record").status(), Status::Finished);
    assert!(matches!(stopped, Err(ServiceError::Conflict(_))), "{stopped:?}");
    assert!(world.rtm.calls().is_empty(), "Runtime Manager was asked to stop a finished game");
    let again = gm.perform(&of, stop()).await;
    assert!(matches!(again, Err(ServiceError::Conflict(_))), "{again:?}");
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_turn_beyond_the_drain_deadline() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let _scheduler = gm.schedule();
    world.engines.script([Next::NeverAnswers]);
    let waits = async {
        world.until(&of, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        gm.perform(&of, stop()).await
    };
    let (forced, stopped) = tokio::join!(gm.perform(&of, Event::Force), waits);
    assert_eq!(stopped.expect("stopped").expect("a record").status(), Status::Stopped);
    assert!(matches!(forced, Err(ServiceError::Conflict(_))), "{forced:?}");
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_the_place_of_a_patch_and_stands_in_the_way_of_everything_else() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let patched = gm.perform(&of, patch("1.4.3"));
    let stopped = async {
        world.until(&of, "being patched", |rt| rt.pending().is_some()).await;
        let refused = gm.perform(&of, Event::Force).await;
        assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
        let stopped = gm.perform(&of, stop());
        let meanwhile = async {
            let refused = gm.perform(&of, patch("1.4.3")).await;
            assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
            let refused = gm.perform(&of, stop()).await;
            assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
        };
        tokio::join!(stopped, meanwhile).0
    };
    let (patched, stopped) = tokio::join!(patched, stopped);
    assert!(matches!(patched, Err(ServiceError::Conflict(_))), "{patched:?}");
    let record = stopped.expect("stopped").expect("a record");
    assert_eq!((record.status(), record.engine.version.to_string()), {
        (Status::Stopped, "1.4.2".into())
    });
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_patch_stays_within_major_and_minor_and_may_go_back() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let refused = gm.perform(&of, patch("1.5.0")).await;
    assert!(matches!(refused, Err(ServiceError::SemverPatchOnly(_))), "{refused:?}");
    assert!(world.rtm.calls().is_empty());
    let patched = gm.perform(&of, patch("1.4.3")).await.expect("patched").expect("a record");
    assert_eq!(patched.engine.version.to_string(), "1.4.3");
    assert_eq!(patched.engine.container_id.as_ref().map(|id| id.as_str()), Some("container-2"));
    let back = gm.perform(&of, patch("1.4.2")).await.expect("patched").expect("a record");
    assert_eq!(back.engine.image_ref.to_string(), "galaxy/engine:1.4.2");
    assert_eq!(world.rtm.calls(), {
        ["patch game-1 galaxy/engine:1.4.3", "patch game-1 galaxy/engine:1.4.2"]
    });
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_patch_to_a_version_that_was_removed_meanwhile_is_refused() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let refused = gm.perform(&of, patch("1.4.9")).await;
    assert_eq!(refused, Err(ServiceError::EngineVersionNotFound));
    assert!(world.record(&of).await.expect("a record").pending().is_none());
    assert!(world.rtm.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_patch_while_a_turn_is_generated_is_a_conflict() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let refused = async {
        world.until(&of, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        gm.perform(&of, patch("1.4.3")).await
    };
    let (forced, refused) = tokio::join!(gm.perform(&of, Event::Force), refused);
    assert!(forced.is_ok(), "{forced:?}");
    assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn news_of_the_container_that_a_patch_replaced_change_nothing() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let tape = std::sync::Arc::new(Tape::default());
    let _consumer = gm.listen(tape.clone(), Start::Beginning);
    say(&*tape, &event("game-1", "inspect_unhealthy")).await;
    world.until(&of, "unwell", |rt| rt.health.summary == Summary::InspectUnhealthy).await;
    gm.perform(&of, patch("1.4.3")).await.expect("patched");
    // All of it of container-1.
    for kind in ["container_exited", "container_oom", "container_disappeared", "healthy"] {
        say(&*tape, &event("game-1", kind)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let record = world.record(&of).await.expect("a record");
    assert_eq!((record.status(), record.health.summary), (Status::Running, Summary::Unknown));
}

#[tokio::test(start_paused = true)]
async fn reconcile_believes_the_engine() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let before = world.record(&of).await;
    let unchanged = gm.perform(&of, Event::Reconcile).await.expect("nothing to do");
    assert_eq!(unchanged, before);
    // A turn failed for good, and an operator had the engine generate it by hand.
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let _ = gm.perform(&of, Event::Force).await;
    assert_eq!(world.status(&of).await, Some(Status::GenerationFailed));
    world.engines.change(&of, |engine| {
        engine.turn += 1;
        engine.generated.push(engine.turn);
    });
    let adopted = gm.perform(&of, Event::Reconcile).await.expect("adopted").expect("a record");
    assert_eq!((adopted.status(), adopted.current_turn), (Status::Running, 1));
    world.each_turn_once(&of).await;
    // An engine that does not answer leaves the game where it is, and says so.
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let _ = gm.perform(&of, Event::Force).await;
    world.engines.set_down(true);
    let failed = gm.perform(&of, Event::Reconcile).await;
    assert!(matches!(failed, Err(ServiceError::EngineUnreachable(_))), "{failed:?}");
    assert_eq!(world.status(&of).await, Some(Status::GenerationFailed));
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn reconcile_of_nothing_is_refused() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let refused = gm.perform(&game("nobody"), Event::Reconcile).await;
    assert_eq!(refused, Err(ServiceError::RuntimeNotFound));
    let of = game("game-1");
    let starting = gm.perform(&of, world.registration(&of, DAILY));
    let refused = async {
        world.until(&of, "starting", |rt| rt.status() == Status::Starting).await;
        gm.perform(&of, Event::Reconcile).await
    };
    let (started, refused) = tokio::join!(starting, refused);
    assert!(started.is_ok(), "{started:?}");
    assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
}

async fn banish(gm: &Instance, of: &machine::GameId, race: &str) -> Result<(), ServiceError> {
    let race = race.parse().expect("a race name");
    gm.driver.banish(of.clone(), race, by(Source::Lobby)).await
}

#[tokio::test(start_paused = true)]
async fn a_race_is_banished_by_the_engine_and_the_record_does_not_change() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let before = world.record(&of).await;
    banish(&gm, &of, "Race 1").await.expect("banished");
    assert_eq!(world.engines.see(&of, |engine| engine.banished.clone()), ["Race 1"]);
    assert_eq!(world.record(&of).await, before);
    let row = last(&world, &of, OperationKind::Banish).await;
    assert_eq!(row.state, OperationState::Closed(Outcome::Succeeded));
    assert_eq!((row.origin.source, row.race.map(|race| race.to_string())), {
        (Source::Lobby, Some("Race 1".into()))
    });
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_banish_that_is_refused_leaves_no_mark_and_one_that_fails_leaves_one() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    assert_eq!(banish(&gm, &game("nobody"), "Race 1").await, Err(ServiceError::RuntimeNotFound));
    let of = world.running(&gm, "game-1", DAILY).await;
    assert_eq!(banish(&gm, &of, "Race 9").await, Err(ServiceError::RaceNotFound));
    let rows = world.store.operations(&of, None, 10).await.expect("operations");
    assert!(rows.iter().all(|row| row.kind == OperationKind::Register), "{rows:?}");
    for (fault, code) in [
        (EngineFault::Validation, FailureCode::EngineValidationError),
        (EngineFault::Unreachable, FailureCode::EngineUnreachable),
        (EngineFault::ProtocolViolation, FailureCode::EngineProtocolViolation),
    ] {
        world.engines.script([Next::Fails(fault)]);
        let failed = banish(&gm, &of, "Race 1").await.expect_err("it failed");
        let expected: ServiceError = machine::Failure::new(code, "by script").into();
        assert_eq!(failed, expected);
        let row = last(&world, &of, OperationKind::Banish).await;
        assert!(matches!(
            row.state,
            OperationState::Closed(Outcome::Failed(failure)) if failure.code == code
        ));
    }
    gm.perform(&of, stop()).await.expect("stopped");
    let refused = banish(&gm, &of, "Race 1").await;
    assert!(matches!(refused, Err(ServiceError::RuntimeNotRunning(_))), "{refused:?}");
    all_closed(&world, &of).await;
}

#[tokio::test(start_paused = true)]
async fn a_banish_is_let_through_beside_a_turn_and_after_one_that_failed() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let beside = async {
        world.until(&of, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        banish(&gm, &of, "Race 0").await
    };
    let (forced, banished) = tokio::join!(gm.perform(&of, Event::Force), beside);
    assert!(forced.is_ok() && banished.is_ok(), "{forced:?} {banished:?}");
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let _ = gm.perform(&of, Event::Force).await;
    banish(&gm, &of, "Race 2").await.expect("banished");
    assert_eq!(world.engines.see(&of, |engine| engine.banished.clone()), ["Race 0", "Race 2"]);
    world.each_turn_once(&of).await;
}

#[tokio::test(start_paused = true)]
async fn a_banish_whose_asker_died_is_asked_again() {
    for next in [Next::NeverArrives, Next::NeverAnswers] {
        let world = World::new(true);
        let dead = world.instance("gm-1");
        let of = world.running(&dead, "game-1", DAILY).await;
        world.engines.script([next]);
        let waits = banish(&dead, &of, "Race 1");
        assert!(tokio::time::timeout(Duration::from_secs(60), waits).await.is_err());
        let other = world.instance("gm-2");
        let kind = OperationKind::Banish;
        let open = world.store.open_operations(kind, world.clock.now(), 10).await;
        let [row] = <[_; 1]>::try_from(open.expect("operations")).expect("one is open");
        other.driver.settle_banish(row).await.expect("settled");
        assert_eq!(world.engines.see(&of, |engine| engine.banished.clone()), ["Race 1"]);
        all_closed(&world, &of).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_banish_left_open_of_a_game_that_is_over_is_closed_with_the_reason() {
    let world = World::new(true);
    let dead = world.instance("gm-1");
    let of = world.running(&dead, "game-1", DAILY).await;
    world.engines.script([Next::NeverArrives]);
    let waits = banish(&dead, &of, "Race 1");
    assert!(tokio::time::timeout(Duration::from_secs(60), waits).await.is_err());
    dead.perform(&of, stop()).await.expect("stopped");
    let other = world.instance("gm-2");
    let row = last(&world, &of, OperationKind::Banish).await;
    other.driver.settle_banish(row).await.expect("settled");
    let row = last(&world, &of, OperationKind::Banish).await;
    let OperationState::Closed(Outcome::Failed(failure)) = row.state else { panic!("{row:?}") };
    assert!(failure.message.contains("stopped"), "{failure:?}");
    all_closed(&world, &of).await;
}
