//! How close two occurrences come to each other, and the occurrence before an instant.

use chrono::{DateTime, TimeDelta};
use machine::schedule::{FAR_FUTURE, HORIZON, Schedule, ScheduleError};
use machine::time::Timestamp;
use proptest::prelude::*;

use super::laws::{instants, parsed};
use super::reference::expressions;
use super::{at, five, six};

fn shortest(schedule: &Schedule) -> i64 {
    schedule.shortest_interval().map_or(-1, |gap| gap.num_seconds())
}

#[test]
fn shortest_intervals() {
    const DAY: i64 = 86_400;
    for (expression, seconds) in [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("*/7 * * * *", 240),
        ("0 * * * *", 3600),
        ("58,2 * * * *", 240),
        ("30 0,23 * * *", 3600),
        ("0 18 * * *", DAY),
        ("0,59 18 * * *", 59 * 60),
        ("59,0 0,23 * * *", 60),
        ("0 0,23 * * 1", 23 * 3600),
        ("0 0,23 * * 1,2", 3600),
        ("0 18 * * 1", 7 * DAY),
        ("0 18 * * 1,4", 3 * DAY),
        ("0 18 * * 0,6", DAY),
        ("0 0 1 * *", 28 * DAY),
        ("0 0 31 * *", 31 * DAY),
        ("0 0 1,31 * *", DAY),
        ("0 0 29 2 *", 1461 * DAY),
        ("0 0 1 1 *", 365 * DAY),
        // By date or by weekday: the 1st is a Tuesday at times, a day after a Monday.
        ("0 0 1 * 1", DAY),
        ("0 0 1 2 *", 365 * DAY),
    ] {
        assert_eq!(shortest(&five(expression)), seconds, "{expression}");
    }
    for (expression, seconds) in [
        ("* * * * * *", 1),
        ("*/10 * * * * *", 10),
        ("*/7 * * * * *", 4),
        ("5,55 * * * * *", 10),
        ("5,55 */2 * * * *", 50),
        ("30 0 18 * * *", DAY),
        ("0,59 59,0 23,0 * * *", 1),
    ] {
        assert_eq!(shortest(&six(expression)), seconds, "{expression}");
    }
}

#[test]
fn too_frequent_is_refused() {
    let every_minute = five("* * * * *");
    assert_eq!(every_minute.check_interval(TimeDelta::seconds(60)), Ok(()));
    assert_eq!(every_minute.check_interval(TimeDelta::zero()), Ok(()));
    let minimum = TimeDelta::milliseconds(60_001);
    let refusal = every_minute.check_interval(minimum).expect_err("too often");
    let shortest = TimeDelta::seconds(60);
    assert_eq!(refusal, ScheduleError::TooFrequent { shortest, minimum });
    assert_eq!((refusal.place(), refusal.offset(), refusal.field()), (None, None, None));
    let message = |expression: &str, minimum| {
        five(expression).check_interval(minimum).expect_err("too often").to_string()
    };
    assert_eq!(
        message("58,2 * * * *", TimeDelta::minutes(5)),
        "the schedule fires too often: two of its turns are 4 min apart, 5 min is the least allowed"
    );
    assert_eq!(
        message("0 0,23 * * *", TimeDelta::milliseconds(93_784_005)),
        "the schedule fires too often: two of its turns are 1 h apart, \
         1 d 2 h 3 min 4.005 s is the least allowed"
    );
}

#[test]
fn the_occurrence_before() {
    let daily = five("0 18 * * *");
    assert_eq!(daily.previous(at("2026-03-01 18:00")), Some(at("2026-02-28 18:00")));
    assert_eq!(daily.previous(at("2026-03-01 18:00:00.001")), Some(at("2026-03-01 18:00")));
    assert_eq!(daily.previous(at("1970-01-01 18:00")), None);
    assert_eq!(daily.previous(Timestamp::MIN_UTC), None);
    let last = Some(at("2100-12-31 18:00"));
    assert_eq!(daily.previous(HORIZON), last);
    assert_eq!(daily.previous(FAR_FUTURE), last);
    assert_eq!(daily.previous(Timestamp::MAX_UTC), last);
    let leap_day = five("0 0 29 2 *");
    assert_eq!(leap_day.previous(at("2028-02-29 00:00")), Some(at("2024-02-29 00:00")));
    assert_eq!(leap_day.previous(HORIZON), Some(at("2096-02-29 00:00")));
    let first = DateTime::UNIX_EPOCH;
    assert_eq!(six("* * * * * *").previous(first + TimeDelta::milliseconds(1)), Some(first));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn previous_is_the_last_before(expression in expressions(), before in instants()) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        match schedule.previous(before) {
            Some(found) => {
                prop_assert!(found < before);
                prop_assert!(expression.meaning().matches(found), "{} {}", schedule, found);
                prop_assert!(schedule.next(found) >= before, "{} {}", schedule, found);
            }
            None => {
                let first = schedule.next(DateTime::UNIX_EPOCH - TimeDelta::seconds(1));
                prop_assert!(first >= before, "{}", schedule);
            }
        }
    }

    /// No two are closer than the answer, and some two are exactly that close: looked for by
    /// stepping from the places where neighbours meet.
    #[test]
    fn shortest_interval_is_the_shortest(expression in expressions(), from in instants()) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let Some(shortest) = schedule.shortest_interval() else { return Ok(()) };
        let mut last = schedule.next(from);
        for next in schedule.occurrences(last).take(300) {
            prop_assert!(next - last >= shortest, "{}: {} to {}", schedule, last, next);
            last = next;
        }
        prop_assert!(schedule.check_interval(shortest).is_ok());
        let more = shortest + TimeDelta::milliseconds(1);
        prop_assert!(schedule.check_interval(more).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Stepping through every occurrence of a schedule that has not too many.
    #[test]
    fn shortest_interval_agrees_with_stepping_through_all(
        expression in expressions(),
        start in instants(),
    ) {
        const MANY: usize = 20_000;
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let meaning = expression.meaning();
        // Sparse ones to the end; of dense ones a few days that match, from the first of them on.
        let epoch = DateTime::UNIX_EPOCH - TimeDelta::seconds(1);
        let found: Vec<_> = schedule.occurrences(epoch).take(MANY).collect();
        let gaps = found.iter().zip(found.iter().skip(1)).map(|(a, b)| *b - *a);
        let stepped = gaps.min();
        let exact = schedule.shortest_interval();
        if found.len() < MANY {
            prop_assert_eq!(stepped, exact, "{}", schedule);
        } else {
            prop_assert!(exact <= stepped, "{}", schedule);
            // The answer is met somewhere: an occurrence with its successor just so far away.
            let exact = exact.expect("thousands of occurrences");
            let met = meaning.first(start, HORIZON).is_none()
                || stepped == Some(exact)
                || schedule.occurrences(start).take(MANY).any(|at| schedule.next(at) - at == exact);
            prop_assert!(met, "{}: {} is never met", schedule, exact);
        }
    }
}
