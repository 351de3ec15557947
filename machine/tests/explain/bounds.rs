//! The cost is bounded whatever the log holds.

use chrono::TimeDelta;
use machine::explain::{LogLine, MAX_TICKS, TickOutcome, explain};
use machine::{OperationKind, Outcome, Status, Timestamp};
use proptest::prelude::*;

use crate::common::at;
use crate::story::Story;

/// That these end within the time of a test shows that nobody steps through the millions between.
#[test]
fn years_of_seconds() {
    let mut story = Story::begun("* * * * * *");
    story.tick("12:00:01", "12:00:02");
    story.tick("12:00:03", "12:00:04");
    for years in [1, 10, 70, 100] {
        let now = at("12:00") + TimeDelta::days(365 * years);
        let explained = story.explain(now);
        assert_eq!(explained.last_ticks.len(), MAX_TICKS);
        let how = "the turn due at 2026-03-01T12:00:05Z is not begun yet, and one will do";
        for tick in explained.last_ticks {
            let missed = tick.outcome == TickOutcome::Missed && tick.turn.is_none();
            assert!(missed && tick.detail == how, "{tick:?}");
        }
    }
}

fn lines() -> impl Strategy<Value = LogLine> {
    let kinds = vec![
        OperationKind::Register,
        OperationKind::Tick,
        OperationKind::Force,
        OperationKind::Stop,
        OperationKind::Patch,
        OperationKind::Reconcile,
        OperationKind::Banish,
        OperationKind::Retry,
        OperationKind::Recovery,
        OperationKind::Health,
        OperationKind::HealthPublish,
    ];
    let failed = machine::Failure::new(machine::FailureCode::Conflict, "so it said");
    let outcomes = vec![
        None,
        Some(Outcome::Succeeded),
        Some(Outcome::Failed(failed)),
        Some(Outcome::Superseded),
    ];
    let statuses: Vec<_> = std::iter::once(None).chain(Status::ALL.into_iter().map(Some)).collect();
    (
        prop::sample::select(kinds),
        prop::option::of(0..4_u32),
        prop::option::of(instants()),
        prop::sample::select(outcomes),
        prop::sample::select(statuses),
        instants(),
        prop::option::of(instants()),
    )
        .prop_map(|(kind, turn, tick, outcome, status, started_at, finished_at)| LogLine {
            kind,
            turn,
            tick,
            outcome,
            status,
            started_at,
            finished_at,
        })
}

/// Mostly near each other, sometimes at the ends of time.
fn instants() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        20 => (0..20_i64).prop_map(|s| at("12:00") + TimeDelta::seconds(s)),
        4 => (0..8_000_000_000_i64).prop_map(|s| at("12:00") + TimeDelta::seconds(s - 4_000_000_000)),
        1 => Just(Timestamp::MIN_UTC),
        1 => Just(Timestamp::MAX_UTC),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A log that no game ever had, in no order, at any instant.
    #[test]
    fn nonsense_is_explained_within_bounds(
        log in prop::collection::vec(lines(), 0..40),
        now in instants(),
        schedule in prop::sample::select(vec!["* * * * * *", "0 * * * *", "0 0 29 2 *"]),
        ticks in 0..3_u32,
    ) {
        let mut story = Story::begun(schedule);
        for _ in 0..ticks {
            let due = story.rt().clock().expect("a clock").next_generation_at;
            if due < at("23:59:59") {
                let when = due.format("%H:%M:%S").to_string();
                story.tick(&when, &when);
            }
        }
        let explained = explain(story.rt(), &log, now, &story.policy);
        prop_assert!(!explained.why.is_empty());
        prop_assert!(explained.last_ticks.len() <= MAX_TICKS);
        let newest_first =
            explained.last_ticks.windows(2).all(|pair| pair[0].due_at > pair[1].due_at);
        prop_assert!(newest_first);
        prop_assert!(explained.next.len() <= 20);
    }
}
