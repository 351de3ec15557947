//! Column "generation_failed".

use machine::{EngineFault, Event, Life, Runtime, Summary};

use crate::common::at;
use crate::common::events::{
    abandoned, health, init_done, no, of_another_game, over, patch, patch_done, patch_failed,
    probe_done, register, standing, stop, stop_done, stop_failed, ticket, turn_done,
};
use crate::common::records::{But, RTM, WORK, failed, failed_for_good, failed_probing};
use crate::common::show::{row, row_at};

fn every() -> [Runtime; 3] {
    [failed(), failed_probing(), failed_for_good()]
}

#[test]
fn register_is_a_conflict() {
    for before in every() {
        row(before, register(), "refused Conflict(AlreadyRegistered)");
    }
}

#[test]
fn tick_and_outcomes_of_other_questions_come_to_nothing() {
    for before in every() {
        row_at(before.clone(), Event::Tick, "14:00", "refused Ignored(Status)");
        row(before.clone(), init_done(Ok(standing(0))), "refused Stale");
        row(before.clone(), turn_done(Ok(standing(5))), "refused Stale");
        row(before.clone(), stop_done(), "refused Stale");
        row(before.clone(), patch_done("c2"), "refused Stale");
        row(before.clone().patching(), stop_done(), "refused Stale");
        row(before.clone().stopping(), patch_done("c2"), "refused Stale");
        row(before, Event::ProbeDone(ticket(4), Ok(standing(5))), "refused Stale");
    }
    row(failed(), probe_done(Ok(standing(5))), "refused Stale");
}

#[test]
fn force_asks_where_the_engine_stands_first() {
    row(
        failed(),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 12:30:15 by force,
         next 12:00 skip 13:00
         set attempt=8
         call probe@8
         open #9 force 5 for 13:00",
    );
    row(
        failed_for_good(),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 12:30:15 by force,
         next 12:00 skip 13:00
         set attempt=8, tries=0
         call probe@8
         open #9 force 5 for 13:00",
    );
    row(
        failed_probing(),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@9#9 until 12:30:15 by force,
         next 12:00 skip 13:00
         set attempt=9
         call probe@9
         close #1 superseded
         open #9 force 5 for 13:00",
    );
}

#[test]
fn force_replaces_the_turn_ahead() {
    // The one that failed was regular: the one after it is replaced.
    row(
        failed(),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 12:30:15 by force,
         next 12:00 skip 13:00
         set attempt=8
         call probe@8
         open #9 force 5 for 13:00",
    );
    // A forced one failed: it replaces the same one still.
    row(
        failed().next("13:00").owing("13:00"),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 12:30:15 by force,
         next 13:00 skip 13:00
         set attempt=8
         call probe@8
         open #9 force 5 for 13:00",
    );
    row_at(
        failed().next("13:00").owing("13:00"),
        Event::Force,
        "13:20",
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 13:20:15 by force,
         next 13:00 skip 13:00
         set attempt=8
         call probe@8
         open #9 force 5 for 13:00",
    );
    // None failed since the last regular one.
    row(
        failed().next("13:00"),
        Event::Force,
        "generation_failed -> generation_in_progress: probe-then-turn@8#9 until 12:30:15 by force,
         next 13:00 skip 13:00
         set attempt=8
         call probe@8
         open #9 force 5 for 13:00",
    );
}

#[test]
fn other_admin_operations_are_a_conflict_while_one_is_pending() {
    for event in [Event::Force, patch("1.4.3"), Event::Reconcile] {
        for before in every() {
            row(before.clone().stopping(), event.clone(), "refused Conflict(StopPending)");
            row(before.patching(), event.clone(), "refused Conflict(PatchPending)");
        }
    }
}

#[test]
fn stop_asks_at_once() {
    row(
        failed(),
        stop(),
        "generation_failed: next 12:00, retry 12:31, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(
        failed_probing(),
        stop(),
        "generation_failed: next 12:00, probe@5#1 until 12:31,
         stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(
        failed_for_good().patching(),
        stop(),
        "generation_failed: next 12:00, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         close #2 superseded
         open #9 stop",
    );
    row(failed().stopping(), stop(), "refused Conflict(StopPending)");
}

#[test]
fn patch_asks_at_once() {
    row(
        failed(),
        patch("1.4.3"),
        "generation_failed: next 12:00, retry 12:31, patch(1.4.3)@8#9 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         open #9 patch",
    );
    row(
        failed_probing(),
        patch("1.4.1"),
        "generation_failed: next 12:00, probe@5#1 until 12:31,
         patch(1.4.1)@8#9 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.1)@8
         open #9 patch",
    );
    row(failed(), patch("1.5.0"), "refused SemverPatchOnly(1.4.2 to 1.5.0)");
}

#[test]
fn stop_done_ok_stops_and_fences_the_probe() {
    row(
        failed().stopping(),
        stop_done(),
        "generation_failed -> stopped: since 12:30
         lobby stopped turn 4 healthy
         close #2 succeeded",
    );
    row(
        failed_probing().stopping(),
        stop_done(),
        "generation_failed -> stopped: since 12:30
         set attempt=8
         lobby stopped turn 4 healthy
         close #2 succeeded
         close #1 failed conflict",
    );
}

#[test]
fn stop_done_err_clears_what_was_pending() {
    row(
        failed().stopping(),
        stop_failed(true),
        "generation_failed: next 12:00, retry 12:31
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
    row(
        failed_for_good().stopping(),
        stop_failed(false),
        "generation_failed: next 12:00
         set failure=rtm_unavailable
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn patch_done_ok_updates_the_engine() {
    row(
        failed().patching(),
        patch_done("c2"),
        "generation_failed: next 12:00, retry 12:31
         set version=1.4.3, image=registry/engine:1.4.3, container=c2, summary=unknown,
         told=unknown, window=12:30:10
         lobby generation_failed turn 4 unknown
         close #2 succeeded",
    );
    row(
        failed_probing().patching(),
        patch_done("c2"),
        "generation_failed: next 12:00, probe@5#1 until 12:31
         set version=1.4.3, image=registry/engine:1.4.3, container=c2, summary=unknown,
         told=unknown, window=12:30:10
         lobby generation_failed turn 4 unknown
         close #2 succeeded",
    );
}

#[test]
fn patch_done_err_clears_what_was_pending() {
    row(
        failed_probing().patching(),
        patch_failed(true),
        "generation_failed: next 12:00, probe@5#1 until 12:31
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
}

#[test]
fn reconcile_asks_anew() {
    row(
        failed(),
        Event::Reconcile,
        "generation_failed: next 12:00, probe@8#9 until 12:30:15
         set attempt=8
         call probe@8
         open #9 reconcile",
    );
    row(
        failed_for_good(),
        Event::Reconcile,
        "generation_failed: next 12:00, probe@8#9 until 12:30:15
         set attempt=8, tries=0
         call probe@8
         open #9 reconcile",
    );
    row(
        failed_probing(),
        Event::Reconcile,
        "generation_failed: next 12:00, probe@9#9 until 12:30:15
         set attempt=9
         call probe@9
         close #1 superseded
         open #9 reconcile",
    );
}

#[test]
fn retry_asks_and_counts() {
    row_at(
        failed(),
        Event::RetryDue,
        "12:31",
        "generation_failed: next 12:00, probe@8#9 until 12:31:15
         set attempt=8, tries=1
         call probe@8
         open #9 retry",
    );
    row_at(
        failed().tries(7),
        Event::RetryDue,
        "12:31",
        "generation_failed: next 12:00, probe@8#9 until 12:31:15
         set attempt=8, tries=8
         call probe@8
         open #9 retry",
    );
    row_at(failed(), Event::RetryDue, "12:30:59", "refused Ignored(NotDue)");
    row_at(failed_probing(), Event::RetryDue, "14:00", "refused Ignored(NotDue)");
    row_at(failed_for_good(), Event::RetryDue, "14:00", "refused Ignored(NotDue)");
    let both = failed_probing().change(|rt| {
        if let Life::Failed { repair, .. } = &mut rt.life {
            repair.retry_at = Some(at("12:31"));
        }
    });
    row_at(both, Event::RetryDue, "14:00", "refused Ignored(NotDue)");
    row_at(failed().stopping(), Event::RetryDue, "12:31", "refused Ignored(Pending)");
    row_at(failed().patching(), Event::RetryDue, "12:31", "refused Ignored(Pending)");
}

#[test]
fn work_lease_expired_fences_and_asks_in_bounds() {
    row_at(
        failed_probing(),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_failed: next 12:00, probe@8#1 until 12:31:15
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        failed_probing().tries(7),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_failed: next 12:00, probe@8#1 until 12:31:15
         set attempt=8, tries=8
         call probe@8
         note #9 recovery succeeded",
    );
    row_at(
        failed_probing().tries(8),
        Event::WorkLeaseExpired,
        "12:31",
        "generation_failed: next 12:00
         set attempt=8, failure=engine_unreachable
         note #9 recovery succeeded
         close #1 failed engine_unreachable",
    );
    row_at(failed_probing(), Event::WorkLeaseExpired, "12:30:59", "refused Ignored(NotDue)");
    row_at(failed(), Event::WorkLeaseExpired, "14:00", "refused Ignored(Status)");
}

#[test]
fn pending_lease_expired_asks_again() {
    row_at(
        failed().stopping(),
        Event::PendingLeaseExpired,
        "12:32",
        "generation_failed: next 12:00, retry 12:31, stop(maintenance)@8#2 until 12:33:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row_at(
        failed_probing().patching(),
        Event::PendingLeaseExpired,
        "12:32",
        "generation_failed: next 12:00, probe@5#1 until 12:31,
         patch(1.4.3)@8#2 until 12:33:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
    let early = "refused Ignored(NotDue)";
    row_at(failed().stopping(), Event::PendingLeaseExpired, "12:31:59", early);
    row(failed(), Event::PendingLeaseExpired, "refused Ignored(Status)");
}

#[test]
fn probe_that_finds_the_turn_adopts_it() {
    row(
        failed_probing().tries(3).announced(5),
        probe_done(Ok(standing(5))),
        "generation_failed -> running: next 13:00
         set turn=5, tries=0, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        failed_probing().next("13:00").owing("13:00"),
        probe_done(Ok(standing(5))),
        "generation_failed -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        failed_probing(),
        probe_done(Ok(over(5))),
        "generation_failed -> finished: since 12:30
         set turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded",
    );
    row(
        failed_probing().patching(),
        probe_done(Ok(standing(5))),
        "generation_failed -> running: next 13:00, patch(1.4.3)@6#2 until 12:32
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        failed_probing().patching(),
        probe_done(Ok(over(5))),
        "generation_failed -> finished: since 12:30
         set attempt=8, turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn probe_that_finds_the_engine_well_goes_on() {
    // The turn that failed is due at once.
    row(
        failed_probing().tries(3),
        probe_done(Ok(standing(4))),
        "generation_failed -> running: next 12:00
         lobby running turn 4 healthy
         close #1 succeeded",
    );
    row(
        failed_probing().next("13:00").owing("13:00"),
        probe_done(Ok(standing(4))),
        "generation_failed -> running: next 13:00 skip 13:00
         lobby running turn 4 healthy
         close #1 succeeded",
    );
    row(
        failed_probing().stopping(),
        probe_done(Ok(standing(4))),
        "generation_failed -> running: next 12:00, stop(maintenance)@6#2 until 12:32
         lobby running turn 4 healthy
         close #1 succeeded",
    );
}

#[test]
fn probe_that_finds_the_game_over_finishes_it() {
    row(
        failed_probing(),
        probe_done(Ok(over(4))),
        "generation_failed -> finished: since 12:30
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded",
    );
    row(
        failed_probing().stopping(),
        probe_done(Ok(over(4))),
        "generation_failed -> finished: since 12:30
         set attempt=8
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn probe_that_finds_another_turn_stays_failed() {
    row(
        failed_probing(),
        probe_done(Ok(standing(3))),
        "generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        failed_probing().announced(5),
        probe_done(Ok(over(6))),
        "generation_failed: next 12:00
         set failure=engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        failed_probing().announced(5),
        probe_done(Ok(of_another_game(4))),
        "generation_failed: next 12:00
         set failure=engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        failed_probing().announced(5).stopping(),
        probe_done(Ok(standing(6))),
        "generation_failed: next 12:00, stop(maintenance)@6#2 until 12:32
         set failure=engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn probe_without_an_answer_is_tried_again_later() {
    row(
        failed_probing().announced(5),
        probe_done(no(EngineFault::Unreachable)),
        "generation_failed: next 12:00, retry 12:30:02
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        failed_probing().tries(3),
        probe_done(no(EngineFault::Unreachable)),
        "generation_failed: next 12:00, retry 12:30:16
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        failed_probing().tries(7),
        probe_done(no(EngineFault::Unreachable)),
        "generation_failed: next 12:00, retry 12:34:16
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        failed_probing().stopping(),
        probe_done(no(EngineFault::Unreachable)),
        "generation_failed: next 12:00, retry 12:30:02, stop(maintenance)@6#2 until 12:32
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn probe_without_an_answer_after_the_last_try_waits_for_an_operator() {
    row(
        failed_probing().tries(8),
        probe_done(no(EngineFault::Unreachable)),
        "generation_failed: next 12:00
         set failure=engine_unreachable
         close #1 failed engine_unreachable",
    );
}

#[test]
fn probe_that_is_refused_is_not_repeated() {
    row(
        failed_probing().announced(5),
        probe_done(no(EngineFault::Validation)),
        "generation_failed: next 12:00
         set failure=engine_validation_error
         close #1 failed engine_validation_error",
    );
    row(
        failed_probing().announced(5),
        probe_done(no(EngineFault::ProtocolViolation)),
        "generation_failed: next 12:00
         set failure=engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
}

#[test]
fn health_down_means_unreachable_and_fences_the_probe() {
    row(
        failed(),
        health(Summary::Exited),
        "generation_failed -> engine_unreachable: next 12:00, retry 12:30:02
         set summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
    row(
        failed_probing(),
        health(Summary::Oom),
        "generation_failed -> engine_unreachable: next 12:00, retry 12:30:02
         set attempt=8, summary=oom, cursor=101-0, told=oom, failure=engine_unreachable
         lobby engine_unreachable turn 4 oom
         note #9 health succeeded
         close #1 failed engine_unreachable",
    );
    row(
        failed_for_good(),
        health(Summary::Disappeared),
        "generation_failed -> engine_unreachable: next 12:00, retry 12:35
         set summary=disappeared, cursor=101-0, told=disappeared, failure=engine_unreachable
         lobby engine_unreachable turn 4 disappeared
         note #9 health succeeded",
    );
}

#[test]
fn health_down_is_a_summary_while_an_operation_is_pending() {
    row(
        failed().patching(),
        health(Summary::Exited),
        "generation_failed stays
         set summary=exited, cursor=101-0, told=exited, window=12:30:10
         lobby generation_failed turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn other_health_is_a_summary() {
    row(
        failed(),
        health(Summary::ProbeFailed),
        "generation_failed stays
         set summary=probe_failed, cursor=101-0, told=probe_failed, window=12:30:10
         lobby generation_failed turn 4 probe_failed
         note #9 health succeeded",
    );
    row(
        failed_probing().summary(Summary::ProbeFailed),
        health(Summary::Healthy),
        "generation_failed stays
         set summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         lobby generation_failed turn 4 healthy
         note #9 health succeeded",
    );
}

#[test]
fn abandoned_probe_is_asked_again_before_its_lease_ends() {
    row(
        failed_probing(),
        abandoned(WORK),
        "generation_failed: next 12:00, probe@8#1 until 12:30:15
         set attempt=8, tries=1
         call probe@8
         note #9 recovery succeeded",
    );
    row(
        failed_probing().tries(8),
        abandoned(WORK),
        "generation_failed: next 12:00
         set attempt=8, failure=engine_unreachable
         note #9 recovery succeeded
         close #1 failed engine_unreachable",
    );
    row(failed(), abandoned(WORK), "refused Stale");
    row(failed_probing(), abandoned(4), "refused Stale");
    row(failed_probing(), abandoned(RTM), "refused Stale");
}

#[test]
fn abandoned_call_is_made_again_before_its_lease_ends() {
    row(
        failed_probing().stopping(),
        abandoned(RTM),
        "generation_failed: next 12:00, probe@5#1 until 12:31,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row(
        failed().patching(),
        abandoned(RTM),
        "generation_failed: next 12:00, retry 12:31, patch(1.4.3)@8#2 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
}
