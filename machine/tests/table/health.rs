//! What the health stream may change, the same in every column, and the debounce of its summary.

use machine::{Event, HealthReport, Runtime, StreamId, Summary};

use crate::common::at;
use crate::common::events::{health, report};
use crate::common::parse;
use crate::common::records::{
    But, failed, failed_probing, recovering, running, starting, stopped, turn, unreachable,
    unreachable_probing,
};
use crate::common::show::{row, row_at};

/// Every state that listens.
fn listening() -> Vec<Runtime> {
    vec![
        starting(),
        starting().stopping(),
        running(),
        running().stopping(),
        turn(),
        turn().draining(),
        recovering(),
        failed(),
        failed_probing().patching(),
        unreachable(),
        unreachable_probing(),
        stopped(),
    ]
}

#[test]
fn health_events_once_in_order() {
    for id in [StreamId::ZERO, StreamId { ms: 99, seq: 9 }, StreamId { ms: 100, seq: 0 }] {
        for summary in [Summary::Oom, Summary::Healthy, Summary::InspectUnhealthy] {
            for before in listening() {
                let event = Event::Health(HealthReport { id, ..report(summary) });
                row(before, event, "refused Ignored(AppliedBefore)");
            }
        }
    }
}

#[test]
fn health_of_another_container_says_nothing_of_this_one() {
    for summary in [Summary::Oom, Summary::Healthy, Summary::InspectUnhealthy] {
        for before in listening() {
            let other = HealthReport { container_id: parse("c0"), ..report(summary) };
            row(before, Event::Health(other), "refused Ignored(OtherContainer)");
        }
    }
}

#[test]
fn health_of_any_container_counts_while_none_is_on_record() {
    row(
        running().container(None),
        health(Summary::Exited),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn a_few_failed_probes_mean_nothing() {
    for consecutive_failures in [0, 1, 2] {
        for before in listening() {
            let few = HealthReport { consecutive_failures, ..report(Summary::ProbeFailed) };
            row(before, Event::Health(few), "refused Ignored(BelowThreshold)");
        }
    }
}

#[test]
fn the_threshold_is_for_failed_probes_alone() {
    let event = HealthReport { consecutive_failures: 0, ..report(Summary::InspectUnhealthy) };
    row(
        running(),
        Event::Health(event),
        "running stays
         set summary=inspect_unhealthy, cursor=101-0, told=inspect_unhealthy, window=12:30:10
         lobby running turn 4 inspect_unhealthy
         note #9 health succeeded",
    );
}

#[test]
fn what_is_known_already_changes_nothing() {
    for before in [running(), turn(), failed(), stopped(), starting()] {
        row(before, health(Summary::Healthy), "refused Ignored(NothingNew)");
    }
}

#[test]
fn a_repeated_end_of_the_container_does_not_come_back_later() {
    let moves_the_cursor = "engine_unreachable stays
         set cursor=101-0
         note #9 health succeeded";
    row(unreachable(), health(Summary::Exited), moves_the_cursor);
    row(
        running().stopping().summary(Summary::Exited),
        health(Summary::Exited),
        "running stays
         set cursor=101-0
         note #9 health succeeded",
    );
}

#[test]
fn a_container_known_to_be_down_takes_a_running_game_down_all_the_same() {
    row(
        running().summary(Summary::Exited),
        health(Summary::Exited),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set cursor=101-0, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn a_summary_is_published_once_per_window() {
    // The window is open: recorded, and told when it ends.
    let within = running().change(|rt| rt.health.publish_at = Some(at("12:30:05")));
    row(
        within,
        health(Summary::ProbeFailed),
        "running stays
         set summary=probe_failed, cursor=101-0
         note #9 health succeeded",
    );
    // It ended.
    let after = running().change(|rt| rt.health.publish_at = Some(at("12:30")));
    row(
        after,
        health(Summary::ProbeFailed),
        "running stays
         set summary=probe_failed, cursor=101-0, told=probe_failed, window=12:30:10
         lobby running turn 4 probe_failed
         note #9 health succeeded",
    );
}

#[test]
fn a_summary_that_was_taken_back_is_not_published() {
    let before = running().unpublished(Summary::ProbeFailed, "12:30:05");
    row(
        before,
        health(Summary::Healthy),
        "running stays
         set summary=healthy, cursor=101-0
         note #9 health succeeded",
    );
}

#[test]
fn a_change_of_status_tells_the_summary_whatever_the_window() {
    let before = running().unpublished(Summary::ProbeFailed, "12:30:05");
    row(
        before,
        health(Summary::Exited),
        "running -> engine_unreachable: next 13:00, retry 12:30:02
         set summary=exited, cursor=101-0, told=exited, failure=engine_unreachable
         lobby engine_unreachable turn 4 exited
         note #9 health succeeded",
    );
}

#[test]
fn summary_due_publishes_the_latest() {
    for before in [running(), running().stopping(), turn(), failed(), unreachable_probing()] {
        let status = before.status();
        let before = before.unpublished(Summary::ProbeFailed, "12:30:05");
        let expected = format!(
            "{status} stays
             set told=probe_failed, window=12:30:15
             lobby {status} turn 4 probe_failed
             note #9 health_publish succeeded"
        );
        row_at(before.clone(), Event::SummaryDue, "12:30:05", &expected);
        row_at(before, Event::SummaryDue, "12:30:04", "refused Ignored(NotDue)");
    }
}

#[test]
fn summary_due_with_nothing_to_tell_is_ignored() {
    for before in [running(), turn(), failed(), unreachable()] {
        row_at(before, Event::SummaryDue, "14:00", "refused Ignored(NothingNew)");
    }
    row_at(starting(), Event::SummaryDue, "14:00", "refused Ignored(Status)");
}
