//! Column "generation_in_progress", while the engine is being asked for the turn; and what is the
//! same whatever it is being asked.

use machine::record::TurnStage;
use machine::{EngineFault, Event, Runtime, Summary};

use crate::common::events::{
    abandoned, health, init_done, no, of_another_game, over, patch, patch_done, probe_done,
    register, standing, stop, stop_done, stop_failed, ticket, turn_done,
};
use crate::common::records::{
    But, LAST, RTM, WORK, force_probing, forced, incarnation, recovering, turn,
};
use crate::common::show::{row, row_at};

fn every_stage() -> [Runtime; 3] {
    [turn(), recovering(), force_probing()]
}

#[test]
fn register_is_a_conflict() {
    for before in every_stage() {
        row(before, register(), "refused Conflict(AlreadyRegistered)");
    }
}

#[test]
fn tick_and_retry_are_ignored() {
    for before in every_stage() {
        row_at(before.clone(), Event::Tick, "14:00", "refused Ignored(Status)");
        row_at(before, Event::RetryDue, "14:00", "refused Ignored(Status)");
    }
}

#[test]
fn admin_operations_other_than_stop_are_a_conflict() {
    for event in [Event::Force, patch("1.4.3"), Event::Reconcile] {
        for before in every_stage() {
            row(before.clone(), event.clone(), "refused Conflict(Generating)");
            row(before.clone().draining(), event.clone(), "refused Conflict(StopPending)");
            row(before.stopping(), event.clone(), "refused Conflict(StopPending)");
        }
    }
}

#[test]
fn stop_drains() {
    row(
        turn(),
        stop(),
        "generation_in_progress: turn@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)#9 drains until 12:31
         open #9 stop",
    );
    row(
        recovering(),
        stop(),
        "generation_in_progress: probe-after-fence@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)#9 drains until 12:31
         open #9 stop",
    );
    row(
        force_probing(),
        stop(),
        "generation_in_progress: probe-then-turn@5#1 until 12:31 by force,
         next 13:00 skip 13:00, stop(maintenance)#9 drains until 12:31
         open #9 stop",
    );
    row(turn().draining(), stop(), "refused Conflict(StopPending)");
    row(turn().stopping(), stop(), "refused Conflict(StopPending)");
}

#[test]
fn drain_deadline_asks_runtime_manager_while_the_turn_goes_on() {
    row_at(
        turn().draining(),
        Event::PendingLeaseExpired,
        "12:31:15",
        "generation_in_progress: turn@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)@8#2 until 12:32:45
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row_at(
        recovering().draining(),
        Event::PendingLeaseExpired,
        "12:31:15",
        "generation_in_progress: probe-after-fence@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)@8#2 until 12:32:45
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    let early = "refused Ignored(NotDue)";
    row_at(turn().draining(), Event::PendingLeaseExpired, "12:31:14", early);
}

#[test]
fn pending_lease_expired_asks_again() {
    row_at(
        turn().stopping(),
        Event::PendingLeaseExpired,
        "12:32",
        "generation_in_progress: turn@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)@8#2 until 12:33:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row_at(turn().stopping(), Event::PendingLeaseExpired, "12:31:59", "refused Ignored(NotDue)");
    row(turn(), Event::PendingLeaseExpired, "refused Ignored(Status)");
}

#[test]
fn turn_done_ok_completes_the_turn() {
    row(
        turn(),
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        turn().unguarded(),
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_ok_heals() {
    let before = turn().tries(3).announced(5).ailing();
    row(
        before,
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00
         set turn=5, tries=0, stats, failure=none
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_ok_catches_up_with_one_turn() {
    row_at(
        turn(),
        turn_done(Ok(standing(5))),
        "16:20",
        "generation_in_progress -> running: next 17:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_ok_of_a_forced_turn_skips_exactly_one_tick() {
    row(
        forced(TurnStage::Turn),
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    // However long it takes: the replaced tick passed meanwhile, no other one is skipped.
    row_at(
        forced(TurnStage::Turn),
        turn_done(Ok(standing(5))),
        "13:00",
        "generation_in_progress -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row_at(
        forced(TurnStage::Turn),
        turn_done(Ok(standing(5))),
        "13:20",
        "generation_in_progress -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_ok_releases_a_stop_that_drains() {
    row(
        turn().draining(),
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00, stop(maintenance)@8#2 until 12:31:30
         set attempt=8, turn=5, stats
         call stop(maintenance)@8
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        turn().stopping(),
        turn_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00, stop(maintenance)@6#2 until 12:32
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_ok_and_finished_ends_the_game() {
    row(
        turn(),
        turn_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded",
    );
    row(
        forced(TurnStage::Turn),
        turn_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn a_turn_that_finishes_the_game_wins_over_a_stop() {
    row(
        turn().draining(),
        turn_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set attempt=8, turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
    row(
        turn().stopping(),
        turn_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set attempt=8, turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn turn_done_ok_with_a_race_that_is_no_more() {
    let mut state = standing(5);
    state.players.pop();
    row(
        turn(),
        turn_done(Ok(state)),
        "generation_in_progress -> running: next 13:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn turn_done_with_another_turn_is_a_violation() {
    row(
        turn(),
        turn_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn(),
        turn_done(Ok(over(4))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn(),
        turn_done(Ok(standing(6))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn(),
        turn_done(Ok(standing(0))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn(),
        turn_done(Ok(of_another_game(5))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn().announced(5),
        turn_done(Ok(standing(6))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation
         lobby generation_failed turn 4 healthy
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn turn_done_err_fails_the_generation() {
    row(
        turn(),
        turn_done(no(EngineFault::Validation)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_validation_error, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_validation_error
         close #1 failed engine_validation_error",
    );
    row(
        turn(),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        turn(),
        turn_done(no(EngineFault::ProtocolViolation)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        turn(),
        turn_done(no(EngineFault::AlreadyInitialised)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        forced(TurnStage::Turn),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 13:00 skip 13:00, retry 12:30:02
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn turn_done_err_is_announced_once_per_turn() {
    row(
        turn().announced(5),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02
         set failure=engine_unreachable
         lobby generation_failed turn 4 healthy
         close #1 failed engine_unreachable",
    );
    row(
        turn().announced(4),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn turn_done_err_after_the_last_try_waits_for_an_operator() {
    row(
        turn().tries(7),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:34:16
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        turn().tries(8),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn turn_done_err_releases_a_stop_that_drains() {
    row(
        turn().draining(),
        turn_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8, failure=engine_unreachable, announced=5
         call stop(maintenance)@8
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        turn().stopping(),
        turn_done(no(EngineFault::Validation)),
        "generation_in_progress -> generation_failed: next 12:00,
         stop(maintenance)@6#2 until 12:32
         set failure=engine_validation_error, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_validation_error
         close #1 failed engine_validation_error",
    );
}

#[test]
fn turn_conflict_asks_the_engine_where_it_stands() {
    row(
        turn(),
        turn_done(no(EngineFault::TurnConflict)),
        "generation_in_progress: probe-after-fence@8#1 until 12:30:15 by tick 12:00,
         next 12:00
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row(
        turn().draining(),
        turn_done(no(EngineFault::TurnConflict)),
        "generation_in_progress: probe-after-fence@8#1 until 12:30:15 by tick 12:00,
         next 12:00, stop(maintenance)#2 drains until 12:31:15
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row(
        forced(TurnStage::Turn),
        turn_done(no(EngineFault::TurnConflict)),
        "generation_in_progress: probe-after-fence@8#1 until 12:30:15 by force,
         next 13:00 skip 13:00
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
}

#[test]
fn turn_conflicts_without_end_are_a_violation() {
    row(
        turn().tries(8),
        turn_done(no(EngineFault::TurnConflict)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn fenced_replies_are_stale() {
    let other_life = machine::Ticket { incarnation: incarnation(2), attempt: 5 };
    for attempt in [0, 4, RTM, LAST, LAST + 1] {
        row(turn(), Event::TurnDone(ticket(attempt), Ok(standing(5))), "refused Stale");
        row(recovering(), Event::ProbeDone(ticket(attempt), Ok(standing(5))), "refused Stale");
    }
    row(turn(), Event::TurnDone(other_life, Ok(standing(5))), "refused Stale");
    row(turn(), Event::TurnDone(ticket(4), no(EngineFault::TurnConflict)), "refused Stale");
    row(recovering(), Event::ProbeDone(other_life, Ok(standing(5))), "refused Stale");
}

#[test]
fn outcomes_of_other_questions_are_stale() {
    row(turn(), probe_done(Ok(standing(5))), "refused Stale");
    row(recovering(), turn_done(Ok(standing(5))), "refused Stale");
    row(force_probing(), turn_done(Ok(standing(5))), "refused Stale");
    for before in every_stage() {
        row(before.clone(), init_done(Ok(standing(0))), "refused Stale");
        row(before.clone(), stop_done(), "refused Stale");
        row(before.clone().draining(), stop_done(), "refused Stale");
        row(before.clone(), patch_done("c2"), "refused Stale");
        row(before.stopping(), patch_done("c2"), "refused Stale");
    }
}

#[test]
fn stop_done_ok_stops_and_fences_the_turn() {
    row(
        turn().stopping(),
        stop_done(),
        "generation_in_progress -> stopped: since 12:30
         set attempt=8
         lobby stopped turn 4 healthy
         close #2 succeeded
         close #1 failed conflict",
    );
    row(
        recovering().stopping(),
        stop_done(),
        "generation_in_progress -> stopped: since 12:30
         set attempt=8
         lobby stopped turn 4 healthy
         close #2 succeeded
         close #1 failed conflict",
    );
}

#[test]
fn stop_done_err_lets_the_turn_go_on() {
    row(
        turn().stopping(),
        stop_failed(true),
        "generation_in_progress: turn@5#1 until 12:31 by tick 12:00, next 12:00
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
}

#[test]
fn work_lease_expired_fences_and_asks() {
    row_at(
        turn(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_in_progress: probe-after-fence@8#1 until 12:31:15 by tick 12:00,
         next 12:00
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        turn().unguarded(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_in_progress: probe-after-fence@8#1 until 12:31:15 by tick 12:00,
         next 12:00
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        recovering(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_in_progress: probe-after-fence@8#1 until 12:31:15 by tick 12:00,
         next 12:00
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        force_probing(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_in_progress: probe-after-fence@8#1 until 12:31:15 by force,
         next 13:00 skip 13:00
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        turn().draining(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_in_progress: probe-after-fence@8#1 until 12:31:15 by tick 12:00,
         next 12:00, stop(maintenance)#2 drains until 12:31:15
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    for before in every_stage() {
        row_at(before, Event::WorkLeaseExpired, "12:30:59", "refused Ignored(NotDue)");
    }
}

#[test]
fn health_down_means_unreachable_and_fences_the_turn() {
    row(
        turn(),
        health(Summary::Exited),
        "generation_in_progress -> engine_unreachable: next 12:00, retry 12:30:02
         set attempt=8, summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded
         close #1 failed engine_unreachable",
    );
    row(
        recovering(),
        health(Summary::Oom),
        "generation_in_progress -> engine_unreachable: next 12:00, retry 12:30:02
         set attempt=8, summary=oom, cursor=101-0, told=oom, failure=engine_unreachable
         lobby engine_unreachable turn 4 oom
         note #9 health succeeded
         close #1 failed engine_unreachable",
    );
    row(
        force_probing(),
        health(Summary::Disappeared),
        "generation_in_progress -> engine_unreachable: next 13:00 skip 13:00, retry 12:30:02
         set attempt=8, summary=disappeared, cursor=101-0, told=disappeared,
         failure=engine_unreachable
         lobby engine_unreachable turn 4 disappeared
         note #9 health succeeded
         close #1 failed engine_unreachable",
    );
}

#[test]
fn health_down_is_a_summary_while_a_stop_is_pending() {
    row(
        turn().stopping(),
        health(Summary::Exited),
        "generation_in_progress stays
         set summary=exited, cursor=101-0, told=exited, window=12:30:10
         lobby generation_in_progress turn 4 exited
         note #9 health succeeded",
    );
    row(
        turn().draining(),
        health(Summary::Exited),
        "generation_in_progress stays
         set summary=exited, cursor=101-0, told=exited, window=12:30:10
         lobby generation_in_progress turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn other_health_is_a_summary() {
    row(
        turn(),
        health(Summary::ProbeFailed),
        "generation_in_progress stays
         set summary=probe_failed, cursor=101-0, told=probe_failed, window=12:30:10
         lobby generation_in_progress turn 4 probe_failed
         note #9 health succeeded",
    );
    row(
        recovering(),
        health(Summary::InspectUnhealthy),
        "generation_in_progress stays
         set summary=inspect_unhealthy, cursor=101-0, told=inspect_unhealthy, window=12:30:10
         lobby generation_in_progress turn 4 inspect_unhealthy
         note #9 health succeeded",
    );
}

#[test]
fn abandoned_question_is_fenced_before_its_lease_ends() {
    for before in [turn(), turn().unguarded(), recovering()] {
        row(
            before,
            abandoned(WORK),
            "generation_in_progress: probe-after-fence@8#1 until 12:30:15 by tick 12:00, next 12:00
             set attempt=8
             call probe@8
             note #9 recovery succeeded",
        );
    }
    row(
        force_probing(),
        abandoned(WORK),
        "generation_in_progress: probe-after-fence@8#1 until 12:30:15 by force,
         next 13:00 skip 13:00
         set attempt=8
         call probe@8
         note #9 recovery succeeded",
    );
    let other_life = machine::Ticket { incarnation: incarnation(2), attempt: WORK };
    for before in every_stage() {
        row(before.clone(), Event::Abandoned(other_life), "refused Stale");
        for attempt in [0, 4, RTM, LAST, LAST + 1] {
            row(before.clone(), abandoned(attempt), "refused Stale");
            row(before.clone().draining(), abandoned(attempt), "refused Stale");
        }
    }
}

#[test]
fn abandoned_stop_is_asked_again_before_its_lease_ends() {
    row(
        turn().stopping(),
        abandoned(RTM),
        "generation_in_progress: turn@5#1 until 12:31 by tick 12:00, next 12:00,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
}
