//! Columns "stopped" and "finished".

use machine::{Event, Runtime, Summary};

use crate::common::events::{
    abandoned, health, init_done, one_of_each, patch, patch_done, probe_done, register, standing,
    stop, stop_done, turn_done,
};
use crate::common::records::{But, finished, stopped};
use crate::common::show::{row, row_at};

fn both() -> [Runtime; 2] {
    [stopped(), finished()]
}

#[test]
fn register_is_a_conflict() {
    for before in both() {
        row(before, register(), "refused Conflict(AlreadyRegistered)");
    }
}

#[test]
fn stop_of_a_stopped_game_is_satisfied() {
    row(stopped(), stop(), "unchanged");
}

#[test]
fn stop_of_a_finished_game_is_a_conflict() {
    row(finished(), stop(), "refused Conflict(Finished)");
}

#[test]
fn other_requests_are_refused() {
    for event in [Event::Force, patch("1.4.3"), patch("9.9.9"), Event::Reconcile] {
        row(stopped(), event.clone(), "refused NotRunning(stopped)");
        row(finished(), event, "refused NotRunning(finished)");
    }
}

#[test]
fn timers_are_ignored() {
    let timers = [
        Event::Tick,
        Event::WorkLeaseExpired,
        Event::PendingLeaseExpired,
        Event::RetryDue,
        Event::SummaryDue,
    ];
    for event in timers {
        for before in both() {
            row_at(before, event.clone(), "20:00", "refused Ignored(Status)");
        }
    }
}

#[test]
fn outcomes_are_stale() {
    let outcomes = [
        init_done(Ok(standing(0))),
        turn_done(Ok(standing(5))),
        probe_done(Ok(standing(5))),
        stop_done(),
        patch_done("c2"),
        abandoned(5),
        abandoned(6),
    ];
    for event in outcomes {
        for before in both() {
            row(before, event.clone(), "refused Stale");
        }
    }
}

#[test]
fn health_of_a_stopped_game_is_recorded_in_silence() {
    row(
        stopped(),
        health(Summary::Exited),
        "stopped stays
         set summary=exited, cursor=101-0
         note #9 health succeeded",
    );
    row(
        stopped(),
        health(Summary::ProbeFailed),
        "stopped stays
         set summary=probe_failed, cursor=101-0
         note #9 health succeeded",
    );
    row(stopped(), health(Summary::Healthy), "refused Ignored(NothingNew)");
    row_at(
        stopped().unpublished(Summary::Oom, "12:20"),
        Event::SummaryDue,
        "12:30",
        "refused Ignored(Status)",
    );
}

#[test]
fn finished_is_final() {
    for event in one_of_each() {
        let before = finished();
        let reply = crate::common::show::decide(Some(&before), &event, before.updated_at);
        assert!(reply.starts_with("refused"), "{event:?}: {reply}");
    }
}

#[test]
fn health_of_a_finished_game_is_nothing() {
    for summary in [Summary::Exited, Summary::Healthy, Summary::ProbeFailed] {
        row(finished(), health(summary), "refused Ignored(Status)");
    }
}

#[test]
fn nothing_wakes_a_final_record() {
    for before in both() {
        let before = before.unpublished(Summary::Exited, "12:20");
        assert_eq!(before.next_timer(), None);
    }
}
