//! Column "engine_unreachable".

use machine::{EngineFault, Event, Runtime, Summary};

use crate::common::events::{
    abandoned, health, init_done, no, of_another_game, over, patch, patch_done, patch_failed,
    probe_done, register, standing, stop, stop_done, stop_failed, ticket, turn_done,
};
use crate::common::records::{But, RTM, WORK, unreachable, unreachable_probing};
use crate::common::show::{row, row_at};

fn either() -> [Runtime; 2] {
    [unreachable(), unreachable_probing()]
}

#[test]
fn register_is_a_conflict() {
    for before in either() {
        row(before, register(), "refused Conflict(AlreadyRegistered)");
    }
}

#[test]
fn tick_and_outcomes_of_other_questions_come_to_nothing() {
    for before in either() {
        row_at(before.clone(), Event::Tick, "14:00", "refused Ignored(Status)");
        row(before.clone(), init_done(Ok(standing(0))), "refused Stale");
        row(before.clone(), turn_done(Ok(standing(5))), "refused Stale");
        row(before.clone(), stop_done(), "refused Stale");
        row(before.clone(), patch_done("c2"), "refused Stale");
        row(before.clone().patching(), stop_done(), "refused Stale");
        row(before.clone().stopping(), patch_done("c2"), "refused Stale");
        row(before, Event::ProbeDone(ticket(4), Ok(standing(5))), "refused Stale");
    }
    row(unreachable(), probe_done(Ok(standing(5))), "refused Stale");
}

#[test]
fn force_is_refused() {
    row(unreachable(), Event::Force, "refused NotRunning(engine_unreachable)");
    row(unreachable_probing(), Event::Force, "refused NotRunning(engine_unreachable)");
}

#[test]
fn other_admin_operations_are_a_conflict_while_one_is_pending() {
    for event in [Event::Force, patch("1.4.3"), Event::Reconcile] {
        for before in either() {
            row(before.clone().stopping(), event.clone(), "refused Conflict(StopPending)");
            row(before.patching(), event.clone(), "refused Conflict(PatchPending)");
        }
    }
}

#[test]
fn stop_asks_at_once() {
    row(
        unreachable(),
        stop(),
        "engine_unreachable: next 13:00, retry 12:31, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(
        unreachable_probing().patching(),
        stop(),
        "engine_unreachable: next 13:00, probe@5#1 until 12:31,
         stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         close #2 superseded
         open #9 stop",
    );
    row(unreachable().stopping(), stop(), "refused Conflict(StopPending)");
}

#[test]
fn patch_asks_at_once() {
    row(
        unreachable(),
        patch("1.4.3"),
        "engine_unreachable: next 13:00, retry 12:31, patch(1.4.3)@8#9 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         open #9 patch",
    );
    row(unreachable(), patch("1.5.0"), "refused SemverPatchOnly(1.4.2 to 1.5.0)");
}

#[test]
fn stop_done_ok_stops_and_fences_the_probe() {
    row(
        unreachable().stopping(),
        stop_done(),
        "engine_unreachable -> stopped: since 12:30
         lobby stopped turn 4 exited
         close #2 succeeded",
    );
    row(
        unreachable_probing().stopping(),
        stop_done(),
        "engine_unreachable -> stopped: since 12:30
         set attempt=8
         lobby stopped turn 4 exited
         close #2 succeeded
         close #1 failed conflict",
    );
}

#[test]
fn stop_done_err_clears_what_was_pending() {
    row(
        unreachable().stopping(),
        stop_failed(false),
        "engine_unreachable: next 13:00, retry 12:31
         set failure=rtm_unavailable
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn patch_done_ok_asks_the_new_container() {
    row(
        unreachable().patching(),
        patch_done("c2"),
        "engine_unreachable: next 13:00, probe@8#9 until 12:30:15
         set attempt=8, version=1.4.3, image=registry/engine:1.4.3, container=c2,
         summary=unknown, told=unknown, window=12:30:10
         call probe@8
         lobby engine_unreachable turn 4 unknown
         close #2 succeeded
         open #9 retry",
    );
    row(
        unreachable_probing().patching(),
        patch_done("c2"),
        "engine_unreachable: next 13:00, probe@9#9 until 12:30:15
         set attempt=9, version=1.4.3, image=registry/engine:1.4.3, container=c2,
         summary=unknown, told=unknown, window=12:30:10
         call probe@9
         lobby engine_unreachable turn 4 unknown
         close #2 succeeded
         close #1 superseded
         open #9 retry",
    );
}

#[test]
fn patch_done_err_clears_what_was_pending() {
    row(
        unreachable().patching(),
        patch_failed(true),
        "engine_unreachable: next 13:00, retry 12:31
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
}

#[test]
fn reconcile_asks_anew() {
    row(
        unreachable().tries(30),
        Event::Reconcile,
        "engine_unreachable: next 13:00, probe@8#9 until 12:30:15
         set attempt=8, tries=0
         call probe@8
         open #9 reconcile",
    );
    row(
        unreachable_probing(),
        Event::Reconcile,
        "engine_unreachable: next 13:00, probe@9#9 until 12:30:15
         set attempt=9
         call probe@9
         close #1 superseded
         open #9 reconcile",
    );
}

#[test]
fn retry_asks_without_end() {
    row_at(
        unreachable(),
        Event::RetryDue,
        "12:31",
        "engine_unreachable: next 13:00, probe@8#9 until 12:31:15
         set attempt=8, tries=1
         call probe@8
         open #9 retry",
    );
    row_at(
        unreachable().tries(30),
        Event::RetryDue,
        "12:31",
        "engine_unreachable: next 13:00, probe@8#9 until 12:31:15
         set attempt=8, tries=31
         call probe@8
         open #9 retry",
    );
    row_at(unreachable(), Event::RetryDue, "12:30:59", "refused Ignored(NotDue)");
    row_at(unreachable_probing(), Event::RetryDue, "14:00", "refused Ignored(NotDue)");
    row_at(unreachable().stopping(), Event::RetryDue, "12:31", "refused Ignored(Pending)");
    row_at(unreachable().patching(), Event::RetryDue, "12:31", "refused Ignored(Pending)");
}

#[test]
fn work_lease_expired_fences_and_asks_without_end() {
    row_at(
        unreachable_probing(),
        Event::WorkLeaseExpired,
        "12:31",
        "engine_unreachable: next 13:00, probe@8#1 until 12:31:15
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        unreachable_probing().tries(30),
        Event::WorkLeaseExpired,
        "12:31",
        "engine_unreachable: next 13:00, probe@8#1 until 12:31:15
         set attempt=8, tries=31
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(unreachable_probing(), Event::WorkLeaseExpired, "12:30:59", "refused Ignored(NotDue)");
    row_at(unreachable(), Event::WorkLeaseExpired, "14:00", "refused Ignored(Status)");
}

#[test]
fn pending_lease_expired_asks_again() {
    row_at(
        unreachable().patching(),
        Event::PendingLeaseExpired,
        "12:32",
        "engine_unreachable: next 13:00, retry 12:31, patch(1.4.3)@8#2 until 12:33:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
    row(unreachable(), Event::PendingLeaseExpired, "refused Ignored(Status)");
}

#[test]
fn probe_that_finds_the_turn_adopts_it() {
    row(
        unreachable_probing().next("12:00").tries(30),
        probe_done(Ok(standing(5))),
        "engine_unreachable -> running: next 13:00
         set turn=5, tries=0, stats
         lobby running turn 5 exited
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        unreachable_probing().owing("13:00"),
        probe_done(Ok(standing(5))),
        "engine_unreachable -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 exited
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        unreachable_probing(),
        probe_done(Ok(over(5))),
        "engine_unreachable -> finished: since 12:30
         set turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn probe_that_finds_the_engine_well_goes_on() {
    row(
        unreachable_probing(),
        probe_done(Ok(standing(4))),
        "engine_unreachable -> running: next 13:00
         lobby running turn 4 exited
         close #1 succeeded",
    );
    row(
        unreachable_probing().next("12:00").tries(30),
        probe_done(Ok(standing(4))),
        "engine_unreachable -> running: next 12:00
         set tries=0
         lobby running turn 4 exited
         close #1 succeeded",
    );
    row(
        unreachable_probing().patching(),
        probe_done(Ok(standing(4))),
        "engine_unreachable -> running: next 13:00, patch(1.4.3)@6#2 until 12:32
         lobby running turn 4 exited
         close #1 succeeded",
    );
}

#[test]
fn probe_that_finds_the_game_over_finishes_it() {
    row(
        unreachable_probing(),
        probe_done(Ok(over(4))),
        "engine_unreachable -> finished: since 12:30
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded",
    );
    row(
        unreachable_probing().patching(),
        probe_done(Ok(over(4))),
        "engine_unreachable -> finished: since 12:30
         set attempt=8
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn probe_that_finds_another_turn_fails() {
    row(
        unreachable_probing(),
        probe_done(Ok(standing(3))),
        "engine_unreachable -> generation_failed: next 13:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        unreachable_probing(),
        probe_done(Ok(standing(6))),
        "engine_unreachable -> generation_failed: next 13:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        unreachable_probing(),
        probe_done(Ok(of_another_game(4))),
        "engine_unreachable -> generation_failed: next 13:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        unreachable_probing().stopping(),
        probe_done(Ok(standing(6))),
        "engine_unreachable -> generation_failed: next 13:00,
         stop(maintenance)@6#2 until 12:32
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn probe_without_an_answer_is_tried_again_without_end() {
    row(
        unreachable_probing(),
        probe_done(no(EngineFault::Unreachable)),
        "engine_unreachable: next 13:00, retry 12:30:02
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        unreachable_probing().tries(30),
        probe_done(no(EngineFault::Unreachable)),
        "engine_unreachable: next 13:00, retry 12:35
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        unreachable_probing().stopping(),
        probe_done(no(EngineFault::Unreachable)),
        "engine_unreachable: next 13:00, retry 12:30:02, stop(maintenance)@6#2 until 12:32
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn probe_that_is_refused_fails() {
    row(
        unreachable_probing(),
        probe_done(no(EngineFault::Validation)),
        "engine_unreachable -> generation_failed: next 13:00
         set failure=engine_validation_error, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_validation_error
         close #1 failed engine_validation_error",
    );
    row(
        unreachable_probing(),
        probe_done(no(EngineFault::ProtocolViolation)),
        "engine_unreachable -> generation_failed: next 13:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 exited
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn health_healthy_asks_at_once() {
    row(
        unreachable(),
        health(Summary::Healthy),
        "engine_unreachable: next 13:00, probe@8#9 until 12:30:15
         set attempt=8, summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         call probe@8
         lobby engine_unreachable turn 4 healthy
         open #9 retry",
    );
    row(
        unreachable().summary(Summary::Healthy),
        health(Summary::Healthy),
        "engine_unreachable: next 13:00, probe@8#9 until 12:30:15
         set attempt=8, cursor=101-0
         call probe@8
         open #9 retry",
    );
}

#[test]
fn health_healthy_is_a_summary_where_asking_is_of_no_use() {
    row(
        unreachable_probing(),
        health(Summary::Healthy),
        "engine_unreachable stays
         set summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         lobby engine_unreachable turn 4 healthy
         note #9 health succeeded",
    );
    row(
        unreachable().stopping(),
        health(Summary::Healthy),
        "engine_unreachable stays
         set summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         lobby engine_unreachable turn 4 healthy
         note #9 health succeeded",
    );
    row(
        unreachable().patching(),
        health(Summary::Healthy),
        "engine_unreachable stays
         set summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         lobby engine_unreachable turn 4 healthy
         note #9 health succeeded",
    );
}

#[test]
fn other_health_is_a_summary() {
    row(
        unreachable(),
        health(Summary::Disappeared),
        "engine_unreachable stays
         set summary=disappeared, cursor=101-0, told=disappeared, window=12:30:10
         lobby engine_unreachable turn 4 disappeared
         note #9 health succeeded",
    );
    row(
        unreachable_probing(),
        health(Summary::Oom),
        "engine_unreachable stays
         set summary=oom, cursor=101-0, told=oom, window=12:30:10
         lobby engine_unreachable turn 4 oom
         note #9 health succeeded",
    );
    row(
        unreachable(),
        health(Summary::ProbeFailed),
        "engine_unreachable stays
         set summary=probe_failed, cursor=101-0, told=probe_failed, window=12:30:10
         lobby engine_unreachable turn 4 probe_failed
         note #9 health succeeded",
    );
}

#[test]
fn abandoned_probe_is_asked_again_before_its_lease_ends() {
    row(
        unreachable_probing(),
        abandoned(WORK),
        "engine_unreachable: next 13:00, probe@8#1 until 12:30:15
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row(
        unreachable_probing().tries(30),
        abandoned(WORK),
        "engine_unreachable: next 13:00, probe@8#1 until 12:30:15
         set attempt=8, tries=31
         call probe@8
         note #9 recovery succeeded",
    );
    row(unreachable(), abandoned(WORK), "refused Stale");
    row(unreachable_probing(), abandoned(4), "refused Stale");
    row(unreachable_probing(), abandoned(RTM), "refused Stale");
}

#[test]
fn abandoned_call_is_made_again_before_its_lease_ends() {
    row(
        unreachable_probing().stopping(),
        abandoned(RTM),
        "engine_unreachable: next 13:00, probe@5#1 until 12:31,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row(
        unreachable().patching(),
        abandoned(RTM),
        "engine_unreachable: next 13:00, retry 12:31, patch(1.4.3)@8#2 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
}
