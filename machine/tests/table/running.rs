//! Column "running".

use machine::{Event, Summary, Ticket};

use crate::common::events::{
    abandoned, health, init_done, patch, patch_done, patch_failed, probe_done, register, standing,
    stop, stop_done, stop_failed, ticket, turn_done,
};
use crate::common::parse;
use crate::common::records::{But, RTM, WORK, incarnation, running};
use crate::common::show::{row, row_at};

#[test]
fn register_is_a_conflict() {
    row(running(), register(), "refused Conflict(AlreadyRegistered)");
}

#[test]
fn tick_starts_the_turn_that_is_due() {
    row_at(
        running(),
        Event::Tick,
        "13:00",
        "running -> generation_in_progress: turn@8#9 until 13:01:30 by tick 13:00, next 13:00
         set attempt=8
         call turn(4)@8
         open #9 tick 5 for 13:00",
    );
    row_at(running(), Event::Tick, "12:59:59", "refused Ignored(NotDue)");
}

#[test]
fn a_late_tick_starts_one_turn() {
    row_at(
        running(),
        Event::Tick,
        "16:20",
        "running -> generation_in_progress: turn@8#9 until 16:21:30 by tick 13:00, next 13:00
         set attempt=8
         call turn(4)@8
         open #9 tick 5 for 13:00",
    );
}

#[test]
fn a_tick_that_stands_in_for_a_failed_forced_turn_passes_the_skip_on() {
    row_at(
        running().owing("13:00"),
        Event::Tick,
        "13:00",
        "running -> generation_in_progress: turn@8#9 until 13:01:30 by tick 13:00,
         next 13:00 skip 14:00
         set attempt=8
         call turn(4)@8
         open #9 tick 5 for 13:00",
    );
    row_at(
        running().owing("13:00"),
        Event::Tick,
        "16:20",
        "running -> generation_in_progress: turn@8#9 until 16:21:30 by tick 13:00,
         next 13:00 skip 17:00
         set attempt=8
         call turn(4)@8
         open #9 tick 5 for 13:00",
    );
}

#[test]
fn no_tick_while_pending() {
    row_at(running().stopping(), Event::Tick, "13:00", "refused Ignored(Pending)");
    row_at(running().patching(), Event::Tick, "13:00", "refused Ignored(Pending)");
}

#[test]
fn force_replaces_the_next_regular_turn() {
    row(
        running(),
        Event::Force,
        "running -> generation_in_progress: turn@8#9 until 12:31:30 by force,
         next 13:00 skip 13:00
         set attempt=8
         call turn(4)@8
         open #9 force 5 for 13:00",
    );
    row(
        running().tries(3),
        Event::Force,
        "running -> generation_in_progress: turn@8#9 until 12:31:30 by force,
         next 13:00 skip 13:00
         set attempt=8, tries=0
         call turn(4)@8
         open #9 force 5 for 13:00",
    );
}

#[test]
fn force_replaces_a_turn_that_is_due_and_was_not_tried() {
    row_at(
        running(),
        Event::Force,
        "13:00",
        "running -> generation_in_progress: turn@8#9 until 13:01:30 by force,
         next 13:00 skip 13:00
         set attempt=8
         call turn(4)@8
         open #9 force 5 for 13:00",
    );
}

#[test]
fn a_second_force_replaces_nothing_more() {
    row(
        running().owing("14:00"),
        Event::Force,
        "running -> generation_in_progress: turn@8#9 until 12:31:30 by force,
         next 13:00 skip 14:00
         set attempt=8
         call turn(4)@8
         open #9 force 5 for 14:00",
    );
}

#[test]
fn stop_asks_at_once() {
    row(
        running(),
        stop(),
        "running: next 13:00, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         open #9 stop",
    );
    row(running().stopping(), stop(), "refused Conflict(StopPending)");
}

#[test]
fn stop_replaces_a_patch() {
    row(
        running().patching(),
        stop(),
        "running: next 13:00, stop(maintenance)@8#9 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         close #2 superseded
         open #9 stop",
    );
}

#[test]
fn patch_asks_at_once() {
    row(
        running(),
        patch("1.4.3"),
        "running: next 13:00, patch(1.4.3)@8#9 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         open #9 patch",
    );
    row(
        running(),
        patch("1.4.1"),
        "running: next 13:00, patch(1.4.1)@8#9 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.1)@8
         open #9 patch",
    );
}

#[test]
fn patch_keeps_major_and_minor() {
    row(running(), patch("1.5.2"), "refused SemverPatchOnly(1.4.2 to 1.5.2)");
    row(running(), patch("2.4.2"), "refused SemverPatchOnly(1.4.2 to 2.4.2)");
}

#[test]
fn other_admin_operations_are_a_conflict_while_one_is_pending() {
    for event in [Event::Force, patch("1.4.3"), Event::Reconcile] {
        row(running().stopping(), event.clone(), "refused Conflict(StopPending)");
        row(running().patching(), event, "refused Conflict(PatchPending)");
    }
}

#[test]
fn reconcile_changes_nothing() {
    row(running(), Event::Reconcile, "unchanged");
}

#[test]
fn stop_done_ok_stops() {
    row(
        running().stopping(),
        stop_done(),
        "running -> stopped: since 12:30
         lobby stopped turn 4 healthy
         close #2 succeeded",
    );
}

#[test]
fn stop_done_err_clears_what_was_pending() {
    row(
        running().stopping(),
        stop_failed(true),
        "running: next 13:00
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
    row(
        running().stopping(),
        stop_failed(false),
        "running: next 13:00
         set failure=rtm_unavailable
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn a_container_that_went_down_meanwhile_is_down_once_runtime_manager_failed() {
    row(
        running().stopping().summary(Summary::Exited),
        stop_failed(false),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn a_patch_says_whether_the_engine_honours_the_expected_turn() {
    let unguarded = running().patching().change(|rt| rt.engine.turn_guard = false);
    row(
        unguarded,
        patch_done("c1"),
        "running: next 13:00
         set endpoint/guard, version=1.4.3, image=registry/engine:1.4.3
         close #2 succeeded",
    );
}

#[test]
fn patch_done_ok_updates_the_engine() {
    row(
        running().patching(),
        patch_done("c2"),
        "running: next 13:00
         set version=1.4.3, image=registry/engine:1.4.3, container=c2, summary=unknown,
         told=unknown, window=12:30:10
         lobby running turn 4 unknown
         close #2 succeeded",
    );
}

#[test]
fn patch_done_ok_in_the_same_container_keeps_its_health() {
    row(
        running().patching(),
        patch_done("c1"),
        "running: next 13:00
         set version=1.4.3, image=registry/engine:1.4.3
         close #2 succeeded",
    );
}

#[test]
fn patch_done_ok_within_a_debounce_window_says_nothing_yet() {
    let before = running().unpublished(Summary::ProbeFailed, "12:30:05").patching();
    row(
        before,
        patch_done("c2"),
        "running: next 13:00
         set version=1.4.3, image=registry/engine:1.4.3, container=c2, summary=unknown
         close #2 succeeded",
    );
}

#[test]
fn patch_done_err_clears_what_was_pending() {
    row(
        running().patching(),
        patch_failed(true),
        "running: next 13:00
         set failure=rtm_refused
         close #2 failed rtm_refused",
    );
    row(
        running().patching(),
        patch_failed(false),
        "running: next 13:00
         set failure=rtm_unavailable
         close #2 failed rtm_unavailable",
    );
}

#[test]
fn outcomes_without_a_question_are_stale() {
    row(running(), init_done(Ok(standing(0))), "refused Stale");
    row(running(), turn_done(Ok(standing(5))), "refused Stale");
    row(running(), probe_done(Ok(standing(5))), "refused Stale");
    row(running(), stop_done(), "refused Stale");
    row(running(), patch_done("c2"), "refused Stale");
    row(running().patching(), stop_done(), "refused Stale");
    row(running().stopping(), patch_done("c2"), "refused Stale");
    row(running().stopping(), Event::StopDone(ticket(WORK), Ok(())), "refused Stale");
    let other_life = Ticket { incarnation: incarnation(2), attempt: RTM };
    row(running().stopping(), Event::StopDone(other_life, Ok(())), "refused Stale");
    row(running().patching(), Event::PatchDone(other_life, Ok(parse("c2"))), "refused Stale");
}

#[test]
fn health_down_means_unreachable() {
    row(
        running(),
        health(Summary::Exited),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
    row(
        running(),
        health(Summary::Oom),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set summary=oom, cursor=101-0, told=oom, failure=engine_unreachable
         lobby engine_unreachable turn 4 oom
         note #9 health succeeded",
    );
    row(
        running().owing("13:00"),
        health(Summary::Disappeared),
        "running -> engine_unreachable: next 13:00 skip 13:00, retry 12:30:02
         set summary=disappeared, cursor=101-0, told=disappeared, failure=engine_unreachable
         lobby engine_unreachable turn 4 disappeared
         note #9 health succeeded",
    );
    row(
        running().tries(2),
        health(Summary::Exited),
        "running -> engine_unreachable: next 13:00, retry 12:30:08
         set summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn health_down_is_a_summary_while_an_operation_is_pending() {
    row(
        running().stopping(),
        health(Summary::Exited),
        "running stays
         set summary=exited, cursor=101-0, told=exited, window=12:30:10
         lobby running turn 4 exited
         note #9 health succeeded",
    );
    row(
        running().patching(),
        health(Summary::Disappeared),
        "running stays
         set summary=disappeared, cursor=101-0, told=disappeared, window=12:30:10
         lobby running turn 4 disappeared
         note #9 health succeeded",
    );
}

#[test]
fn other_health_is_a_summary() {
    row(
        running(),
        health(Summary::InspectUnhealthy),
        "running stays
         set summary=inspect_unhealthy, cursor=101-0, told=inspect_unhealthy, window=12:30:10
         lobby running turn 4 inspect_unhealthy
         note #9 health succeeded",
    );
    row(
        running(),
        health(Summary::ProbeFailed),
        "running stays
         set summary=probe_failed, cursor=101-0, told=probe_failed, window=12:30:10
         lobby running turn 4 probe_failed
         note #9 health succeeded",
    );
    row(
        running().summary(Summary::ProbeFailed),
        health(Summary::Healthy),
        "running stays
         set summary=healthy, cursor=101-0, told=healthy, window=12:30:10
         lobby running turn 4 healthy
         note #9 health succeeded",
    );
}

#[test]
fn timers_of_other_states_are_ignored() {
    row(running(), Event::WorkLeaseExpired, "refused Ignored(Status)");
    row(running(), Event::RetryDue, "refused Ignored(Status)");
    row(running(), Event::PendingLeaseExpired, "refused Ignored(Status)");
}

#[test]
fn pending_lease_expired_asks_again() {
    row_at(
        running().stopping(),
        Event::PendingLeaseExpired,
        "12:32",
        "running: next 13:00, stop(maintenance)@8#2 until 12:33:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row_at(
        running().patching(),
        Event::PendingLeaseExpired,
        "12:32",
        "running: next 13:00, patch(1.4.3)@8#2 until 12:33:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
    let early = "refused Ignored(NotDue)";
    row_at(running().stopping(), Event::PendingLeaseExpired, "12:31:59", early);
}

#[test]
fn abandoned_call_is_made_again_before_its_lease_ends() {
    row(
        running().stopping(),
        abandoned(RTM),
        "running: next 13:00, stop(maintenance)@8#2 until 12:31:30
         set attempt=8
         call stop(maintenance)@8
         note #9 recovery succeeded",
    );
    row(
        running().patching(),
        abandoned(RTM),
        "running: next 13:00, patch(1.4.3)@8#2 until 12:31:30
         set attempt=8
         call patch(registry/engine:1.4.3)@8
         note #9 recovery succeeded",
    );
    row(running(), abandoned(RTM), "refused Stale");
    row(running().stopping(), abandoned(WORK), "refused Stale");
    let other_life = Ticket { incarnation: incarnation(2), attempt: RTM };
    row(running().stopping(), Event::Abandoned(other_life), "refused Stale");
}
