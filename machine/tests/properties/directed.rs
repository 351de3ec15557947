//! Histories worth telling one by one, named after what must hold.

use chrono::TimeDelta;
use machine::{Conflict, EngineFault, Event, Message, Rejection, Status, Summary, Timer, Verdict};

use crate::common::at;
use crate::common::events::{no, stop};
use crate::world::World;

/// More rounds than anything here takes.
const MANY: usize = 100;

/// The turn that is due is asked for, and the asker crashes; the request is still on its way.
fn abandoned_turn(guard: bool) -> World {
    let mut world = World::begun(guard, 100);
    world.strike();
    assert_eq!(world.status(), Some(Status::GenerationInProgress));
    world.crash(0);
    // The lease runs out; the engine, asked where it stands, has no turn yet.
    world.strike();
    world.arrive(1);
    world.hear(0);
    world
}

/// The documented counterexample: without a guard two requests for one turn generate two.
#[test]
fn without_a_guard_a_turn_can_be_generated_twice() {
    let mut world = abandoned_turn(false);
    assert_eq!(world.status(), Some(Status::GenerationFailed), "interrupted");
    // Game Master looks again, finds the engine well and the turn still missing, and asks for it.
    world.strike();
    world.arrive(1);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::Running));
    world.strike();
    // Both requests arrive.
    world.arrive(0);
    world.arrive(0);
    assert_eq!((world.engine.turn, world.turn()), (2, 0), "the engine is two turns ahead");
    // The record does not follow: it fails, and an operator is told.
    world.hear(0);
    assert_eq!((world.status(), world.turn()), (Some(Status::GenerationFailed), 0));
    let failure = world.rt.as_ref().and_then(|rt| rt.last_failure.clone()).expect("a failure");
    assert_eq!(failure.code, machine::FailureCode::EngineProtocolViolation);
}

/// The same history with a guard.
#[test]
fn no_turn_generated_twice() {
    let mut world = abandoned_turn(true);
    // Asked for again, under a new ticket; then both requests arrive.
    assert_eq!(world.status(), Some(Status::GenerationInProgress));
    world.arrive(0);
    world.arrive(0);
    assert_eq!(world.engine.turn, 1, "the guard refused the second");
    // The refusal makes Game Master look, and adopt.
    world.hear(0);
    world.arrive(0);
    world.hear(0);
    assert_eq!((world.status(), world.turn()), (Some(Status::Running), 1));
}

/// Turn A is abandoned, recovered, and begun again: the late answer to A must not end B.
#[test]
fn fenced_reply_changes_nothing() {
    let mut world = World::begun(true, 100);
    world.strike();
    world.arrive(0);
    // A's answer is slow; the container dies and comes back; A's turn is adopted; B begins.
    world.report(Summary::Exited, 0, 0);
    world.report(Summary::Healthy, 0, 0);
    world.arrive(0);
    world.hear(1);
    assert_eq!((world.status(), world.turn()), (Some(Status::Running), 1));
    world.strike();
    assert_eq!(world.status(), Some(Status::GenerationInProgress));
    let before = world.rt.clone();
    let late = world.replies[0].clone();
    assert_eq!(world.give(&late), Err(Rejection::Stale));
    assert_eq!(world.rt, before);
}

/// No reply outlives a rolled-back registration.
#[test]
fn a_reply_to_an_earlier_incarnation_is_stale() {
    let mut world = World::new(true, 100);
    world.register();
    world.arrive(0);
    world.wait(3600);
    world.strike();
    assert_eq!(world.status(), None, "the init was abandoned");
    world.register();
    // The same attempt number, of another life.
    let late = world.replies[0].clone();
    assert_eq!(world.give(&late), Err(Rejection::Stale));
    // The engine was initialised by the first: it is looked at, and as good.
    world.arrive(0);
    world.hear(1);
    world.arrive(0);
    world.hear(1);
    assert_eq!(world.status(), Some(Status::Running));
}

#[test]
fn force_skips_exactly_one_tick() {
    let mut world = World::begun(true, 100);
    let due = |world: &World| world.rt.as_ref().and_then(machine::Runtime::next_timer);
    assert_eq!(due(&world), Some((at("13:00"), Timer::Tick)));
    let _ = world.give(&Event::Force);
    world.arrive(0);
    world.hear(0);
    assert_eq!(due(&world), Some((at("14:00"), Timer::Tick)), "13:00 is replaced");
    world.strike();
    world.arrive(0);
    world.hear(0);
    assert_eq!(due(&world), Some((at("15:00"), Timer::Tick)), "and no other");
}

/// However long the forced turn takes.
#[test]
fn a_slow_forced_turn_skips_exactly_one_tick() {
    for (minutes, next) in [(29, "14:00"), (30, "14:00"), (31, "14:00"), (91, "15:00")] {
        let mut world = World::begun(true, 100);
        let _ = world.give(&Event::Force);
        world.arrive(0);
        world.now += TimeDelta::minutes(minutes);
        world.hear(0);
        let timer = world.rt.as_ref().and_then(machine::Runtime::next_timer);
        assert_eq!(timer, Some((at(next), Timer::Tick)), "{minutes} minutes");
    }
}

/// A forced turn fails, and the regular one stands in for it: the one after that is replaced.
#[test]
fn a_failed_forced_turn_still_skips_exactly_one_tick() {
    let mut world = World::begun(true, 100);
    world.engine.up = false;
    let _ = world.give(&Event::Force);
    world.arrive(0);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::GenerationFailed));
    world.engine.up = true;
    world.strike();
    world.arrive(0);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::Running));
    world.strike();
    assert_eq!(world.now, at("13:00"));
    world.arrive(0);
    world.hear(0);
    let timer = world.rt.as_ref().and_then(machine::Runtime::next_timer);
    assert_eq!((world.turn(), timer), (1, Some((at("15:00"), Timer::Tick))));
}

/// Game Master was down over several ticks: one turn, then the grid from now.
#[test]
fn missed_ticks_are_caught_up_with_one_turn() {
    let mut world = World::begun(true, 100);
    world.now = at("16:20");
    world.strike();
    world.arrive(0);
    world.hear(0);
    let timer = world.rt.as_ref().and_then(machine::Runtime::next_timer);
    assert_eq!((world.turn(), timer), (1, Some((at("17:00"), Timer::Tick))));
}

/// The clock is set back while a regular turn is generated, or whoever records it has one that is
/// behind: the turn's own instant is over all the same.
#[test]
fn no_instant_twice() {
    for recorded_at in ["12:00", "12:59:59", "13:00", "13:00:01"] {
        let mut world = World::begun(true, 100);
        world.strike();
        assert_eq!(world.now, at("13:00"));
        world.arrive(0);
        world.now = at(recorded_at);
        world.hear(0);
        let timer = world.rt.as_ref().and_then(machine::Runtime::next_timer);
        assert_eq!((world.turn(), timer), (1, Some((at("14:00"), Timer::Tick))), "{recorded_at}");
    }
}

/// A turn that finishes the game while a stop drains wins, and Runtime Manager is not asked.
#[test]
fn finished_is_final() {
    let mut world = World::begun(true, 1);
    world.strike();
    world.stop();
    world.arrive(0);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::Finished));
    assert!(world.calls.is_empty(), "no call to Runtime Manager");
    assert_eq!(world.give(&Event::Force), Err(Rejection::NotRunning(Status::Finished)));
    let conflict = Err(Rejection::Conflict(Conflict::Finished));
    assert_eq!(world.give(&stop()), conflict);
    assert_eq!(world.rt.as_ref().and_then(machine::Runtime::next_timer), None);
}

#[test]
fn stopped_is_final() {
    let mut world = World::begun(true, 100);
    world.strike();
    world.stop();
    // The drain deadline passes before the turn is there.
    world.strike();
    world.arrive(1);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::Stopped));
    world.arrive(0);
    let late = world.replies[0].clone();
    assert_eq!(world.give(&late), Err(Rejection::Stale));
    assert_eq!(world.give(&stop()), Ok(Verdict::Unchanged));
    world.report(Summary::Exited, 0, 0);
    assert_eq!(world.status(), Some(Status::Stopped));
}

/// The administrators hear once of a turn that fails again and again, and again of the next one.
#[test]
fn a_failure_is_announced_once_per_turn() {
    let mut world = World::begun(true, 100);
    let mut announced = vec![];
    for turn in 1..=2 {
        for _ in 0..3 {
            world.engine.up = false;
            let _ = world.give(&Event::Force);
            world.arrive(0);
            let reply = world.replies.remove(0);
            if let Ok(Verdict::Commit(step)) = world.give(&reply) {
                announced.extend(step.messages.into_iter().filter_map(|message| match message {
                    Message::Intent(intent) => Some(intent.payload.turn),
                    Message::Lobby(_) => None,
                }));
            }
            assert_eq!(world.status(), Some(Status::GenerationFailed));
        }
        world.engine.up = true;
        let _ = world.give(&Event::Force);
        for _ in 0..2 {
            world.arrive(0);
            world.hear(0);
        }
        assert_eq!(world.turn(), turn);
    }
    assert_eq!(announced, [1, 2]);
}

/// An engine that stays silent is asked a bounded number of times, ever more seldom.
#[test]
fn a_failed_game_waits_for_an_operator_in_the_end() {
    let mut world = World::begun(true, 100);
    world.engine.up = false;
    world.strike();
    let mut asked = 0;
    let mut last = TimeDelta::zero();
    for _ in 0..MANY {
        world.arrive(0);
        world.hear(0);
        let Some((at, timer)) = world.rt.as_ref().and_then(machine::Runtime::next_timer) else {
            break;
        };
        assert_eq!(timer, Timer::Retry);
        assert!(at - world.now > last, "ever more seldom");
        last = at - world.now;
        asked += 1;
        world.strike();
    }
    assert_eq!(asked, world.policy.max_tries);
    // An operator acts.
    world.engine.up = true;
    let _ = world.give(&Event::Reconcile);
    world.arrive(0);
    world.hear(0);
    assert_eq!(world.status(), Some(Status::Running));
}

/// An engine whose guard and status contradict each other is not asked in turns for ever.
#[test]
fn turn_conflicts_come_to_an_end() {
    let mut world = World::begun(true, 100);
    world.strike();
    let mut asked = 0;
    for _ in 0..MANY {
        if world.status() != Some(Status::GenerationInProgress) {
            break;
        }
        let effect = &world.calls[0].effect;
        if matches!(effect.call, machine::Call::Turn { .. }) {
            let refusal = Event::TurnDone(effect.ticket, no(EngineFault::TurnConflict));
            world.lose(0);
            let _ = world.give(&refusal);
            asked += 1;
        } else {
            world.arrive(0);
            world.hear(0);
        }
    }
    assert_eq!(world.status(), Some(Status::GenerationFailed));
    assert_eq!(asked, world.policy.max_tries + 1);
}

/// A turn that was generated unasked and adopted does not bring a replaced one back.
#[test]
fn an_adopted_turn_does_not_undo_a_skip() {
    let mut world = World::begun(false, 100);
    // A forced turn is abandoned, and its request is still on its way; a second one is generated.
    let _ = world.give(&Event::Force);
    world.crash(0);
    world.strike();
    world.arrive(1);
    world.hear(0);
    let _ = world.give(&Event::Force);
    for _ in 0..2 {
        world.arrive(1);
        world.hear(0);
    }
    let timer = |world: &World| world.rt.as_ref().and_then(machine::Runtime::next_timer);
    assert_eq!(timer(&world), Some((at("14:00"), Timer::Tick)), "13:00 is replaced");
    // The first request arrives, its turn is found and adopted.
    world.arrive(0);
    world.report(Summary::Exited, 0, 0);
    world.report(Summary::Healthy, 0, 0);
    world.arrive(0);
    world.hear(0);
    assert_eq!((world.status(), world.turn()), (Some(Status::Running), 2));
    assert_eq!(timer(&world), Some((at("14:00"), Timer::Tick)), "13:00 stays replaced");
}
