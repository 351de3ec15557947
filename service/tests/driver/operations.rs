//! Registrations and turns, each with every way it can end.

use std::time::Duration;

use chrono::TimeDelta;
use machine::{EngineFault, Event, Status};
use service::error::ServiceError;
use service::ports::{OperationState, Store};

use crate::engine::Next;
use crate::world::{DAILY, World, game};

/// A registration that is refused leaves nothing: no record, no timer, no operation that is open.
async fn leaves_no_orphan(world: &World, next: &[Next], expected: fn(&ServiceError) -> bool) {
    let gm = world.instance("gm-1");
    let game = game("game-1");
    world.engines.script(next.iter().copied());
    let refused = gm.perform(&game, world.registration(&game, DAILY)).await;
    let error = refused.expect_err("refused");
    assert!(expected(&error), "{error:?}");
    assert_eq!(world.record(&game).await, None);
    let later = world.clock.now() + TimeDelta::days(400);
    assert_eq!(world.store.due(later, 10).await.expect("an answer"), []);
    let operations = world.store.operations(&game, None, 10).await.expect("operations");
    assert!(operations.iter().all(|row| row.state != OperationState::Open), "{operations:?}");
    // Nothing is in the way of the next try.
    world.engines.change(&game, |engine| *engine = crate::engine::Engine::default());
    let registered = gm.perform(&game, world.registration(&game, DAILY)).await;
    assert!(registered.is_ok(), "{registered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registration_initialises_the_engine_and_sets_the_clock() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let record = world.record(&game).await.expect("a record");
    assert!(record.clock().is_some_and(|clock| clock.next_generation_at > world.clock.now()));
    assert!(record.roster.members().iter().all(|m| m.engine_player_id.is_some()));
    assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init"]);
    let again = gm.perform(&game, world.registration(&game, DAILY)).await;
    assert!(matches!(again, Err(ServiceError::Conflict(_))), "{again:?}");
    assert_eq!(world.engines.see(&game, |e| e.calls.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_init_leaves_no_orphan() {
    leaves_no_orphan(&World::new(true), &[Next::Fails(EngineFault::Validation)], |e| {
        matches!(e, ServiceError::EngineValidationError(_))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_or_is_silent_leaves_no_orphan() {
    leaves_no_orphan(&World::new(true), &[Next::Fails(EngineFault::Unreachable)], |e| {
        matches!(e, ServiceError::EngineUnreachable(_))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_nonsense_leaves_no_orphan() {
    leaves_no_orphan(&World::new(true), &[Next::Says(7)], |e| {
        matches!(e, ServiceError::EngineProtocolViolation(_))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_asker_died_is_rolled_back_when_its_lease_ends() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = game("game-1");
    let _scheduler = gm.schedule();
    world.engines.script([Next::NeverArrives]);
    let refused = gm.perform(&game, world.registration(&game, DAILY)).await;
    assert!(matches!(refused, Err(ServiceError::ServiceUnavailable(_))), "{refused:?}");
    assert_eq!(world.record(&game).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_an_earlier_try_initialised_is_taken_as_it_is() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = game("game-1");
    world.engines.script([Next::ReplyLost]);
    let lost = gm.perform(&game, world.registration(&game, DAILY)).await;
    assert!(matches!(lost, Err(ServiceError::EngineUnreachable(_))), "{lost:?}");
    assert_eq!(world.record(&game).await, None);
    let registered = gm.perform(&game, world.registration(&game, DAILY)).await;
    let record = registered.expect("registered").expect("a record");
    assert_eq!(record.status(), Status::Running);
    assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init", "init", "status"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_begun_another_game_is_refused() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = game("game-1");
    world.engines.script([Next::ReplyLost]);
    let _ = gm.perform(&game, world.registration(&game, DAILY)).await;
    world.engines.change(&game, |engine| engine.turn = 3);
    let refused = gm.perform(&game, world.registration(&game, DAILY)).await;
    assert!(matches!(refused, Err(ServiceError::EngineValidationError(_))), "{refused:?}");
    assert_eq!(world.record(&game).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_forced_turn_is_answered_when_it_is_recorded() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let forced = gm.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!((forced.current_turn, forced.status()), (1, Status::Running));
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_fails_is_told_and_passes_by_itself_where_it_may() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let _scheduler = gm.schedule();
    world.engines.script([Next::Fails(EngineFault::Unreachable)]);
    let failed = gm.perform(&game, Event::Force).await;
    assert!(matches!(failed, Err(ServiceError::EngineUnreachable(_))), "{failed:?}");
    world.until(&game, "running again", |rt| rt.status() == Status::Running).await;
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let failed = gm.perform(&game, Event::Force).await;
    assert!(matches!(failed, Err(ServiceError::EngineValidationError(_))), "{failed:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.status(&game).await, Some(Status::GenerationFailed));
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_answer_was_lost_is_adopted_and_not_generated_again() {
    for guard in [true, false] {
        let world = World::new(guard);
        let gm = world.instance("gm-1");
        let game = world.running(&gm, "game-1", DAILY).await;
        let _scheduler = gm.schedule();
        world.engines.script([Next::ReplyLost]);
        let lost = gm.perform(&game, Event::Force).await;
        assert!(matches!(lost, Err(ServiceError::EngineUnreachable(_))), "{lost:?}");
        world.until_turn(&game, 1).await;
        world.each_turn_once(&game).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_turn_is_never_believed() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let _scheduler = gm.schedule();
    world.engines.script([Next::Says(9)]);
    let wrong = gm.perform(&game, Event::Force).await;
    assert!(matches!(wrong, Err(ServiceError::EngineProtocolViolation(_))), "{wrong:?}");
    let record = world.record(&game).await.expect("a record");
    assert_eq!((record.current_turn, record.status()), (0, Status::GenerationFailed));
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_refuses_makes_game_master_ask() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    world.engines.script([Next::Fails(EngineFault::TurnConflict)]);
    let forced = gm.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!(forced.current_turn, 1);
    let calls = world.engines.see(&game, |e| e.calls.clone());
    assert_eq!(calls, ["init", "status", "turn"]);
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_turn_that_runs() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    world.engines.set_takes(Duration::from_secs(4));
    let stop = Event::Stop { reason: "the players left".parse().expect("a reason") };
    let force = gm.perform(&game, Event::Force);
    let stop = async {
        world.until(&game, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        gm.perform(&game, stop).await
    };
    let (forced, stopped) = tokio::join!(force, stop);
    assert!(forced.is_ok(), "{forced:?}");
    let record = stopped.expect("stopped").expect("a record");
    assert_eq!((record.status(), record.current_turn), (Status::Stopped, 1));
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn what_runtime_manager_refuses_is_told() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    world.rtm.set_refuses(true);
    let patch = Event::Patch {
        version: "1.4.3".parse().expect("a version"),
        image_ref: "galaxy/engine:1.4.3".parse().expect("an image"),
        turn_guard: true,
    };
    let refused = gm.perform(&game, patch.clone()).await;
    assert!(matches!(refused, Err(ServiceError::ServiceUnavailable(_))), "{refused:?}");
    world.rtm.set_refuses(false);
    let patched = gm.perform(&game, patch).await.expect("patched").expect("a record");
    assert_eq!(patched.engine.version.to_string(), "1.4.3");
}
