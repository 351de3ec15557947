//! Column "absent": only a registration makes a record.

use machine::{Event, Summary};

use crate::common::events::{
    abandoned, health, init_done, patch, patch_done, probe_done, register, standing, stop,
    stop_done, turn_done,
};
use crate::common::show::absent;

#[test]
fn register_asks_the_engine_to_initialise() {
    absent(
        register(),
        "absent -> starting: init@1#9 until 12:30:15
         call init(Terrans, Martians)@1
         open #9 register",
    );
}

#[test]
fn other_requests_find_nothing() {
    for event in [Event::Force, stop(), patch("1.4.3"), Event::Reconcile] {
        absent(event, "refused NotFound");
    }
}

#[test]
fn timers_and_health_are_ignored() {
    let timers = [
        Event::Tick,
        Event::WorkLeaseExpired,
        Event::PendingLeaseExpired,
        Event::RetryDue,
        Event::SummaryDue,
        health(Summary::Exited),
    ];
    for event in timers {
        absent(event, "refused Ignored(Absent)");
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
    ];
    for event in outcomes {
        absent(event, "refused Stale");
    }
}
