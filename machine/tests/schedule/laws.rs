//! What holds for every expression: agreement with two independent readings, and the laws.

use chrono::{DateTime, Duration, Timelike};
use machine::schedule::{FAR_FUTURE, HORIZON, Resolution, Schedule, ScheduleError};
use machine::time::Timestamp;
use proptest::prelude::*;

use super::reference::{Expression, expressions};
use super::{at, six};

pub(crate) fn instants() -> impl Strategy<Value = Timestamp> {
    // From 1970 to the end of 2098, with milliseconds every other time.
    (0..4_070_908_800_i64, prop_oneof![Just(0), 0..1000_i64])
        .prop_map(|(seconds, millis)| DateTime::from_timestamp_millis(seconds * 1000 + millis))
        .prop_map(|instant| instant.expect("within range"))
}

/// The schedule, unless it rightly never fires.
pub(crate) fn parsed(expression: &Expression) -> Option<Schedule> {
    let text = expression.text();
    match Schedule::parse(&text, Resolution::Seconds) {
        Ok(schedule) => {
            assert!(expression.meaning().ever_fires(), "{text:?} never fires");
            Some(schedule)
        }
        Err(ScheduleError::NeverFires) => {
            assert!(!expression.meaning().ever_fires(), "{text:?} does fire");
            None
        }
        Err(error) => panic!("{text:?}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn agrees_with_croner(expression in expressions(), after in instants()) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let theirs = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Disallowed)
            .build()
            .parse(&expression.text_for_croner());
        let theirs = theirs.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut time = after;
        for ours in schedule.occurrences(after).take(4) {
            // Whole seconds, since croner's occurrences keep the fraction they start from.
            let start = time.with_nanosecond(0).expect("a whole second");
            let theirs = theirs.find_next_occurrence(&start, false);
            prop_assert_eq!(Ok(ours), theirs.map_err(|error| error.to_string()));
            time = ours;
        }
    }

    #[test]
    fn agrees_with_stepping_day_by_day(expression in expressions(), after in instants()) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let first = expression.meaning().first(after, HORIZON);
        prop_assert_eq!(schedule.next(after), first.unwrap_or(FAR_FUTURE), "{}", schedule);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any_text(), after in instants()) {
        for resolution in [Resolution::Minutes, Resolution::Seconds] {
            match Schedule::parse(&text, resolution) {
                Ok(schedule) => {
                    prop_assert!(schedule.next(after) > after);
                }
                Err(error) => {
                    prop_assert!(error.offset().unwrap_or(0) <= text.len());
                    prop_assert!(!error.to_string().contains(char::is_control));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn laws(expression in expressions(), after in instants(), between in 0.0..1.0_f64) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let next = schedule.next(after);
        prop_assert!(next > after);
        prop_assert!(next == FAR_FUTURE || expression.meaning().matches(next));
        prop_assert_eq!(next.nanosecond(), 0);

        // Nothing changes until the occurrence, and then there is another.
        if next != FAR_FUTURE {
            let span_ms = (next - after).num_milliseconds() - 1;
            let within = after + Duration::milliseconds((span_ms as f64 * between) as i64);
            prop_assert_eq!(schedule.next(within), next);
            prop_assert_eq!(schedule.next(next - Duration::milliseconds(1)), next);
            prop_assert!(schedule.next(next) > next);
        }

        let again = six(&schedule.to_string());
        prop_assert_eq!(&again, &schedule);
        prop_assert_eq!(again.next(after), next);
        let json = serde_json::to_string(&schedule).expect("a string");
        let stored: Schedule = serde_json::from_str(&json).expect("the same");
        prop_assert_eq!(&stored, &schedule);
        prop_assert_eq!(stored.has_seconds(), schedule.has_seconds());
    }

    #[test]
    fn agrees_with_stepping_minute_by_minute(expression in expressions(), start in instants()) {
        let Some(schedule) = parsed(&expression) else { return Ok(()) };
        let meaning = expression.meaning();
        // Two days, or with seconds two hours.
        let (step, steps) = if schedule.has_seconds() {
            (Duration::seconds(1), 7200)
        } else {
            (Duration::minutes(1), 2880)
        };
        let midnight = start.date_naive().and_hms_opt(0, 0, 0).expect("a time").and_utc();
        let times = (0..steps).map(|index| midnight + step * index);
        let expected: Vec<_> = times.filter(|time| meaning.matches(*time)).collect();
        let end = midnight + step * steps;
        let before = midnight - Duration::milliseconds(1);
        let found = schedule.occurrences(before).take_while(|time| *time < end);
        prop_assert_eq!(found.collect::<Vec<_>>(), expected, "{}", schedule);
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let field = "[0-9*?,/\\-a-zA-Z#]{0,3}|[0-9]{1,2}(-[0-9]{1,2})?(/[0-9])?|\\*";
    prop_oneof![
        1 => "\\PC{0,40}",
        1 => any::<String>(),
        1 => "[0-9*?,/\\- \t\nA-Za-z@=#+]{0,40}",
        3 => prop::collection::vec(field, 4..=7).prop_map(|fields| fields.join(" ")),
    ]
}

#[test]
fn agrees_with_croner_on_names() {
    for (expression, theirs) in [
        ("0 0 * jan-MAR,dec mon-Fri", "0 0 * JAN-MAR,DEC MON-FRI"),
        ("30 6 1 aug SUN", "30 6 1 AUG SUN"),
        ("0 0 ? * fri-7", "0 0 ? * FRI-SUN"),
    ] {
        let theirs: croner::Cron = theirs.parse().expect("readable");
        let after = at("2026-01-01 00:00");
        let theirs: Vec<_> = theirs.iter_after(after).take(200).collect();
        assert_eq!(six(expression).occurrences(after).take(200).collect::<Vec<_>>(), theirs);
    }
}
