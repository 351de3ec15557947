//! The reasons for the present status that [`crate::ledger`] does not come by.

use machine::{EngineFault, Event, Policy, Summary};

use crate::common::events::fault;
use crate::story::{Story, refuses, silent};

const HOURLY: &str = "0 * * * *";

#[test]
fn starting() {
    let mut story = Story::registered(HOURLY);
    story.explains(
        "11:59:59",
        "The engine was asked at 11:59:58Z to begin the game and has not answered yet.
         (12:00:13Z) rolls the registration back, unless the engine answers before",
    );
    story.answer("11:59:59", Err(fault(EngineFault::AlreadyInitialised)));
    story.stop("12:00:01");
    story.explains(
        "12:00:02",
        "The registration of 11:59:58Z found an engine that was initialised before; it is \
         being asked whether its game has just begun. A stop (maintenance) has been under \
         way at Runtime Manager since 12:00:01Z.
         (12:00:14Z) rolls the registration back, unless the engine answers before
         (12:01:31Z) asks Runtime Manager again for a stop (maintenance), unless it answers \
         before
         (-) the game ends once Runtime Manager has stopped the engine",
    );
}

#[test]
fn no_further_occurrence() {
    let mut story = Story::begun("0 12 1 3 *");
    story.tick("12:00", "12:00:01");
    let horizon = machine::schedule::HORIZON;
    if let Some(machine::Life::Running { clock, .. }) = story.rt.as_mut().map(|rt| &mut rt.life) {
        clock.next_generation_at = machine::schedule::FAR_FUTURE;
    }
    let explained = story.explain(horizon);
    assert_eq!(
        explained.why,
        "The game has been running since 2026-03-01T11:59:59Z, \
         and its schedule has no further occurrence."
    );
    let next: Vec<_> = explained.next.iter().map(|step| (step.what.as_str(), step.at)).collect();
    assert_eq!(next, [("an operator may force turn 2 at any time", None)]);
    assert_eq!(explained.last_ticks.len(), 75, "each 1 March up to 2100");
}

#[test]
fn failed_often_enough() {
    let mut story = Story::begun(HOURLY);
    story.policy = Policy { max_tries: 1, ..Policy::default() };
    story.give("12:00", &Event::Tick);
    story.answer("12:00:30", Err(silent()));
    story.explains(
        "12:00:31",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. Game \
         Master asks the engine where it stands at 12:00:32Z (try 1 of 1).
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:00:32Z) asks the engine where it stands (try 1 of 1)
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.give("12:00:32", &Event::RetryDue);
    story.explains(
        "12:00:33",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. The \
         engine was asked where it stands at 12:00:32Z and has not answered yet.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:00:47Z) stops asking and waits for an operator, unless the engine answers before
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.answer("12:01:02", Err(silent()));
    story.explains(
        "12:02",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. The game \
         waits for an operator: Game Master has asked the engine once by itself, and asks no \
         more.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.give("12:03", &Event::Reconcile);
    story.explains(
        "12:03:01",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. An \
         operator had the engine asked where it stands at 12:03:00Z; it has not answered yet.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:03:15Z) asks the engine again where it stands (try 1 of 1), unless the engine \
         answers before
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.answer("12:03:02", Err(refuses()));
    story.explains(
        "12:04",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. The game \
         waits for an operator: engine_validation_error: no such order does not pass by \
         itself.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.patch("12:05");
    story.explains(
        "12:05:01",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. A patch \
         to 1.4.3 has been under way at Runtime Manager since 12:05:00Z.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:06:30Z) asks Runtime Manager again for a patch to 1.4.3, unless it answers \
         before",
    );
}

#[test]
fn unreachable() {
    let mut story = Story::begun("0 13-23 * * *");
    story.health("12:30", Summary::Exited);
    story.explains(
        "12:30",
        "The engine's container exited at 12:30:00Z. Game Master asks it where it stands at \
         12:30:02Z (try 1), and again until it answers.
         (12:30:02Z) asks the engine where it stands (try 1, without end)
         (-) an operator may reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.patch("12:31");
    story.explains(
        "12:31",
        "The engine's container exited at 12:30:00Z. A patch to 1.4.3 has been under way at \
         Runtime Manager since 12:31:00Z.
         (12:32:30Z) asks Runtime Manager again for a patch to 1.4.3, unless it answers \
         before
         (-) asks the engine where it stands once the patch is done",
    );
    story.rtm("12:32", true);
    story.explains(
        "12:32",
        "The engine has been unreachable since 12:30:00Z; its container is now reported as \
         unknown. The engine was asked where it stands at 12:32:00Z and has not answered yet.
         (12:32:15Z) asks the engine again where it stands (try 1), unless the engine \
         answers before
         (-) an operator may reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.answer("12:32:10", Err(silent()));
    story.explains(
        "12:32:10",
        "The engine has been unreachable since 12:30:00Z; its container is now reported as \
         unknown. Game Master asks it where it stands at 12:32:12Z (try 1), and again until \
         it answers.
         (12:32:12Z) asks the engine where it stands (try 1, without end)
         (-) an operator may reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
}

#[test]
fn a_stop_waits_for_the_turn() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.stop("12:00:05");
    story.explains(
        "12:00:06",
        "Turn 1, due at 12:00:00Z, is being generated, begun at 12:00:00Z. A stop \
         (maintenance), asked for at 12:00:05Z, waits for the turn, until 12:01:05Z at most.
         [12:00:00Z fired 1] being generated, begun at 12:00:00Z
         (12:01:05Z) asks Runtime Manager for a stop (maintenance), though turn 1 is not \
         complete
         (12:01:30Z) gives the request for turn 1 up and asks the engine whether it has the \
         turn, unless the engine answers before
         (-) the game ends once Runtime Manager has stopped the engine",
    );
    story.give("12:01:05", &Event::PendingLeaseExpired);
    story.explains(
        "12:01:06",
        "Turn 1, due at 12:00:00Z, is being generated, begun at 12:00:00Z. A stop \
         (maintenance) has been under way at Runtime Manager since 12:00:05Z.
         [12:00:00Z fired 1] being generated, begun at 12:00:00Z
         (12:01:30Z) gives the request for turn 1 up and asks the engine whether it has the \
         turn, unless the engine answers before
         (12:02:35Z) asks Runtime Manager again for a stop (maintenance), unless it answers \
         before
         (-) the game ends once Runtime Manager has stopped the engine",
    );
    story.rtm("12:01:07", true);
    story.explains(
        "12:02",
        "The game was stopped at 12:01:07Z after turn 0, as was asked for at 12:00:05Z.
         [12:00:00Z failed 1] conflict: the runtime was stopped",
    );
}

#[test]
fn health_is_published_later() {
    let mut story = Story::begun("0 13-23 * * *");
    story.health("12:10", Summary::ProbeFailed);
    story.health("12:10:01", Summary::Healthy);
    story.explains(
        "12:10:02",
        "The game has been running since 11:59:59Z; turn 1 is due at 13:00:00Z.
         (12:10:10Z) publishes that the engine's health is healthy
         (13:00:00Z) begins turn 1
         (-) an operator may force turn 1 at any time",
    );
}

#[test]
fn stopped_before_it_began() {
    let mut story = Story::registered(HOURLY);
    story.stop("11:59:59");
    story.rtm("12:00:01", true);
    story.explains(
        "13:00",
        "The game was stopped at 12:00:01Z after turn 0, as was asked for at 11:59:59Z.",
    );
}
