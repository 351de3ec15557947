//! Column "starting": ends in `running`, or as if it had never been.

use machine::{EngineFault, Event, Summary};

use crate::common::events::{
    abandoned, health, init_done, no, of_another_game, over, patch, patch_done, probe_done,
    register, report, standing, stop, stop_done, stop_failed, ticket, turn_done,
};
use crate::common::records::{But, RTM, WORK, starting, verifying};
use crate::common::show::{row, row_at};

#[test]
fn register_is_a_conflict() {
    row(starting(), register(), "refused Conflict(AlreadyRegistered)");
    row(verifying(), register(), "refused Conflict(AlreadyRegistered)");
}

#[test]
fn init_done_ok_begins_the_game() {
    row(
        starting(),
        init_done(Ok(standing(0))),
        "starting -> running: next 13:00
         set players-named, told=healthy, stats, started=12:30
         lobby running turn 0 healthy
         close #1 succeeded",
    );
    row(
        starting().stopping(),
        init_done(Ok(standing(0))),
        "starting -> running: next 13:00, stop(maintenance)@6#2 until 12:32
         set players-named, told=healthy, stats, started=12:30
         lobby running turn 0 healthy
         close #1 succeeded",
    );
    row(
        starting().summary(Summary::Unknown),
        init_done(Ok(standing(0))),
        "starting -> running: next 13:00
         set players-named, stats, started=12:30
         lobby running turn 0 unknown
         close #1 succeeded",
    );
}

#[test]
fn init_done_with_a_game_that_has_not_just_begun_rolls_back() {
    row(
        starting(),
        init_done(Ok(standing(1))),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    row(
        starting(),
        init_done(Ok(over(0))),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    row(
        starting(),
        init_done(Ok(of_another_game(0))),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    let mut one_race_short = standing(0);
    one_race_short.players.pop();
    row(
        starting(),
        init_done(Ok(one_race_short)),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    let mut one_race_twice = standing(0);
    one_race_twice.players[1] = one_race_twice.players[0].clone();
    row(
        starting(),
        init_done(Ok(one_race_twice)),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn init_done_err_rolls_back() {
    row(
        starting(),
        init_done(no(EngineFault::Validation)),
        "starting -> deleted
         close #1 failed engine_validation_error",
    );
    row(
        starting(),
        init_done(no(EngineFault::Unreachable)),
        "starting -> deleted
         close #1 failed engine_unreachable",
    );
    row(
        starting(),
        init_done(no(EngineFault::ProtocolViolation)),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    row(
        starting(),
        init_done(no(EngineFault::TurnConflict)),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
    row(
        starting().stopping(),
        init_done(no(EngineFault::Unreachable)),
        "starting -> deleted
         close #1 failed engine_unreachable
         close #2 failed conflict",
    );
}

#[test]
fn an_engine_initialised_before_is_looked_at() {
    row(
        starting(),
        init_done(no(EngineFault::AlreadyInitialised)),
        "starting: verify@8#1 until 12:30:15
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    row(
        starting().stopping(),
        init_done(no(EngineFault::AlreadyInitialised)),
        "starting: verify@8#1 until 12:30:15, stop(maintenance)@6#2 until 12:32
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
}

#[test]
fn an_engine_initialised_before_and_fresh_is_as_good() {
    row(
        verifying(),
        probe_done(Ok(standing(0))),
        "starting -> running: next 13:00
         set players-named, told=healthy, stats, started=12:30
         lobby running turn 0 healthy
         close #1 succeeded",
    );
    row(
        verifying().stopping(),
        probe_done(Ok(standing(0))),
        "starting -> running: next 13:00, stop(maintenance)@6#2 until 12:32
         set players-named, told=healthy, stats, started=12:30
         lobby running turn 0 healthy
         close #1 succeeded",
    );
}

#[test]
fn an_engine_initialised_before_and_not_fresh_rolls_back() {
    row(
        verifying(),
        probe_done(Ok(standing(1))),
        "starting -> deleted
         close #1 failed engine_validation_error",
    );
    row(
        verifying(),
        probe_done(Ok(over(0))),
        "starting -> deleted
         close #1 failed engine_validation_error",
    );
    row(
        verifying(),
        probe_done(Ok(of_another_game(0))),
        "starting -> deleted
         close #1 failed engine_validation_error",
    );
    row(
        verifying(),
        probe_done(no(EngineFault::Unreachable)),
        "starting -> deleted
         close #1 failed engine_unreachable",
    );
    row(
        verifying(),
        probe_done(no(EngineFault::Validation)),
        "starting -> deleted
         close #1 failed engine_validation_error",
    );
    row(
        verifying(),
        probe_done(no(EngineFault::AlreadyInitialised)),
        "starting -> deleted
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn outcomes_of_other_questions_are_stale() {
    row(starting(), probe_done(Ok(standing(0))), "refused Stale");
    row(verifying(), init_done(Ok(standing(0))), "refused Stale");
    row(starting(), turn_done(Ok(standing(1))), "refused Stale");
    row(starting(), stop_done(), "refused Stale");
    row(starting().stopping(), patch_done("c2"), "refused Stale");
    row(starting(), Event::InitDone(ticket(4), Ok(standing(0))), "refused Stale");
    row(verifying(), Event::ProbeDone(ticket(4), Ok(standing(0))), "refused Stale");
    let of_pending = Event::InitDone(ticket(RTM), Ok(standing(0)));
    row(starting().stopping(), of_pending, "refused Stale");
}

#[test]
fn tick_retry_and_summary_are_ignored() {
    for event in [Event::Tick, Event::RetryDue, Event::SummaryDue] {
        row_at(starting(), event, "14:00", "refused Ignored(Status)");
    }
}

#[test]
fn force_and_patch_are_refused() {
    row(starting(), Event::Force, "refused NotRunning(starting)");
    row(starting(), patch("1.4.3"), "refused NotRunning(starting)");
    row(starting().stopping(), Event::Force, "refused NotRunning(starting)");
}

#[test]
fn reconcile_is_a_conflict() {
    row(starting(), Event::Reconcile, "refused Conflict(Starting)");
    row(verifying(), Event::Reconcile, "refused Conflict(Starting)");
}

#[test]
fn stop_asks_at_once() {
    row(
        starting(),
        stop(),
        "starting: init@5#1 until 12:31, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(
        verifying(),
        stop(),
        "starting: verify@5#1 until 12:31, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(starting().stopping(), stop(), "refused Conflict(StopPending)");
}

#[test]
fn stop_done_ok_stops_and_fences_the_init() {
    row(
        starting().stopping(),
        stop_done(),
        "starting -> stopped: since 12:30
         set attempt=8, told=healthy
         lobby stopped turn 0 healthy
         close #2 succeeded
         close #1 failed conflict",
    );
    row(
        verifying().stopping(),
        stop_done(),
        "starting -> stopped: since 12:30
         set attempt=8, told=healthy
         lobby stopped turn 0 healthy
         close #2 succeeded
         close #1 failed conflict",
    );
}

#[test]
fn stop_done_err_clears_what_was_pending() {
    row(
        starting().stopping(),
        stop_failed(true),
        "starting: init@5#1 until 12:31
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
    row(
        starting().stopping(),
        stop_failed(false),
        "starting: init@5#1 until 12:31
         set failure=rtm_unavailable
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn health_is_recorded_in_silence() {
    row(
        starting(),
        health(Summary::Exited),
        "starting stays
         set summary=exited, cursor=101-0
         note #9 health succeeded",
    );
    row(
        starting(),
        health(Summary::ProbeFailed),
        "starting stays
         set summary=probe_failed, cursor=101-0
         note #9 health succeeded",
    );
    row(starting(), health(Summary::Healthy), "refused Ignored(NothingNew)");
    let mut too_few = report(Summary::ProbeFailed);
    too_few.consecutive_failures = 2;
    row(starting(), Event::Health(too_few), "refused Ignored(BelowThreshold)");
}

#[test]
fn work_lease_expired_rolls_back() {
    row_at(
        starting(),
        Event::WorkLeaseExpired,
        "12:31",
        "starting -> deleted
         close #1 failed start_interrupted",
    );
    row_at(
        verifying(),
        Event::WorkLeaseExpired,
        "12:31",
        "starting -> deleted
         close #1 failed start_interrupted",
    );
    row_at(
        starting().stopping(),
        Event::WorkLeaseExpired,
        "12:31",
        "starting -> deleted
         close #1 failed start_interrupted
         close #2 failed conflict",
    );
    row_at(starting(), Event::WorkLeaseExpired, "12:30:59", "refused Ignored(NotDue)");
}

#[test]
fn pending_lease_expired_asks_again() {
    row_at(
        starting().stopping(),
        Event::PendingLeaseExpired,
        "12:32",
        "starting: init@5#1 until 12:31, stop(maintenance)@8#2 until 12:33:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    let early = "refused Ignored(NotDue)";
    row_at(starting().stopping(), Event::PendingLeaseExpired, "12:31:59", early);
    row(starting(), Event::PendingLeaseExpired, "refused Ignored(Status)");
}

#[test]
fn abandoned_init_rolls_back_before_its_lease_ends() {
    for before in [starting(), verifying()] {
        row(
            before,
            abandoned(WORK),
            "starting -> deleted
             close #1 failed start_interrupted",
        );
    }
    row(starting(), abandoned(4), "refused Stale");
    row(starting(), abandoned(RTM), "refused Stale");
}

#[test]
fn abandoned_stop_is_asked_again_before_its_lease_ends() {
    row(
        starting().stopping(),
        abandoned(RTM),
        "starting: init@5#1 until 12:31, stop(maintenance)@8#2 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
}
