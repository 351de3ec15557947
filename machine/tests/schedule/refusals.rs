//! What is refused: with which error, and at which place.

use machine::schedule::{
    FieldName, MAX_EXPRESSION_BYTES, Place, Resolution, Schedule, ScheduleError,
};

fn refusal(expression: &str) -> ScheduleError {
    refusal_within(expression, Resolution::Minutes)
}

fn refusal_within(expression: &str, resolution: Resolution) -> ScheduleError {
    match Schedule::parse(expression, resolution) {
        Ok(schedule) => panic!("accepted as {schedule:?}: {expression:?}"),
        Err(error) => error,
    }
}

/// The place in an expression of five fields.
fn five_at(field: FieldName, offset: usize) -> Place {
    let index = match field {
        FieldName::Second => panic!("five fields have no seconds"),
        FieldName::Minute => 0,
        FieldName::Hour => 1,
        FieldName::DayOfMonth => 2,
        FieldName::Month => 3,
        FieldName::DayOfWeek => 4,
    };
    Place { field, index, offset }
}

#[track_caller]
fn bad(expression: &str, field: FieldName, offset: usize, text: &str, why: &str) {
    let error = refusal(expression);
    let ScheduleError::BadField { place, text: found, reason } = error else {
        panic!("{expression:?}: {error:?}");
    };
    assert_eq!((place, found.as_str()), (five_at(field, offset), text), "{expression:?}");
    assert!(reason.contains(why), "{expression:?}: {reason}");
}

#[track_caller]
fn out_of_range(expression: &str, field: FieldName, offset: usize, text: &str, bounds: (u32, u32)) {
    let expected = ScheduleError::OutOfRange {
        place: five_at(field, offset),
        text: text.to_owned(),
        min: bounds.0,
        max: bounds.1,
    };
    assert_eq!(refusal(expression), expected, "{expression:?}");
}

#[test]
fn the_number_of_fields() {
    let resolutions = [Resolution::Minutes, Resolution::Seconds];
    for (expression, got) in [("", 0), (" \t ", 0), ("*", 1), ("* * * *", 4), ("* * * * * * *", 7)]
    {
        for wanted in resolutions {
            let expected = ScheduleError::FieldCount { got, wanted };
            assert_eq!(refusal_within(expression, wanted), expected, "{expression:?}");
        }
    }
    let six = refusal("0 0 18 * * *");
    assert_eq!(six, ScheduleError::FieldCount { got: 6, wanted: Resolution::Minutes });
    assert_eq!(
        six.to_string(),
        "the schedule has 6 fields, expected five: minute, hour, day of month, month, day of week"
    );
}

#[test]
fn the_length() {
    let longest = format!("0 0 * * 1{}", " ".repeat(MAX_EXPRESSION_BYTES - 9));
    assert!(Schedule::parse(&longest, Resolution::Minutes).is_ok());
    let got_bytes = MAX_EXPRESSION_BYTES + 1;
    let expected = ScheduleError::TooLong { limit_bytes: MAX_EXPRESSION_BYTES, got_bytes };
    assert_eq!(refusal(&format!("{longest} ")), expected);
    let huge = "٣".repeat(1 << 20);
    assert!(matches!(refusal(&huge), ScheduleError::TooLong { got_bytes: 2_097_152, .. }));
}

#[test]
fn every_value_of_every_field_fits_the_length() {
    let list = |range: std::ops::RangeInclusive<u32>| {
        range.map(|n| format!("{n:02}")).collect::<Vec<_>>().join(",")
    };
    let (sixty, hours, days) = (list(0..=59), list(0..=23), list(1..=31));
    let expression = format!("{sixty} {sixty} {hours} {days} {} {}", list(1..=12), list(0..=7));
    assert!(Schedule::parse(&expression, Resolution::Seconds).is_ok());
}

#[test]
fn descriptors_and_time_zones() {
    for text in ["@daily", "@reboot", "@every", "@"] {
        let error = refusal(&format!("  {text} 1h"));
        let expected = ScheduleError::Descriptor { text: text.to_owned(), offset: 2 };
        assert_eq!(error, expected);
        assert!(error.to_string().contains("five-field cron"), "{error}");
    }
    for text in ["TZ=Europe/Berlin", "CRON_TZ=UTC", "TZ="] {
        let error = refusal(&format!("{text} 0 18 * * *"));
        assert_eq!(error, ScheduleError::TimeZone { text: text.to_owned(), offset: 0 });
    }
}

#[test]
fn characters_outside_ascii() {
    let expected = ScheduleError::NotAscii {
        character: '٣',
        offset: 5,
        place: Some(five_at(FieldName::DayOfMonth, 5)),
    };
    let error = refusal("0 0 1٣ * *");
    assert_eq!(error, expected);
    assert_eq!(error.field(), Some(FieldName::DayOfMonth));
    assert_eq!(error.to_string(), "day of month: '٣' at offset 5 is not an ASCII character");
    // A no-break space separates nothing, and the count is not what should be complained about.
    let expected = ScheduleError::NotAscii { character: '\u{a0}', offset: 1, place: None };
    assert_eq!(refusal("0\u{a0}18 * * *"), expected);
}

#[test]
fn numbers_out_of_range() {
    use FieldName::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
    out_of_range("60 * * * *", Minute, 0, "60", (0, 59));
    out_of_range("0,1,2-60 * * * *", Minute, 6, "60", (0, 59));
    out_of_range("  0 24 * * *", Hour, 4, "24", (0, 23));
    out_of_range("0 0 0 * *", DayOfMonth, 4, "0", (1, 31));
    out_of_range("0 0 32 * *", DayOfMonth, 4, "32", (1, 31));
    out_of_range("0 0 1-32/4 * *", DayOfMonth, 6, "32", (1, 31));
    out_of_range("0 0 1 0 *", Month, 6, "0", (1, 12));
    out_of_range("0 0 1 13 *", Month, 6, "13", (1, 12));
    out_of_range("0 0 * * 8", DayOfWeek, 8, "8", (0, 7));
    out_of_range("0 0 * * 6-8", DayOfWeek, 10, "8", (0, 7));
    // Does 7/2 mean Sunday alone or from Sunday on? Nobody agrees: only 0 may carry a step.
    out_of_range("0 0 * * 7/2", DayOfWeek, 8, "7", (0, 6));
    out_of_range("99999999999999999999 * * * *", Minute, 0, "99999999999999999999", (0, 59));
    out_of_range("*/4294967296 * * * *", Minute, 2, "4294967296", (1, u32::MAX));
}

#[test]
fn seconds_are_bounded_and_shift_the_field_index() {
    let error = refusal_within("60 * * * * *", Resolution::Seconds);
    let place = Place { field: FieldName::Second, index: 0, offset: 0 };
    let text = "60".to_owned();
    assert_eq!(error, ScheduleError::OutOfRange { place, text, min: 0, max: 59 });
    let error = refusal_within("0 0 0 * * x", Resolution::Seconds);
    let place = Place { field: FieldName::DayOfWeek, index: 5, offset: 10 };
    assert_eq!(error.place(), Some(place));
}

#[test]
fn steps() {
    use FieldName::{Hour, Minute};
    let zero = |field, offset, text: &str| ScheduleError::ZeroStep {
        place: five_at(field, offset),
        text: text.to_owned(),
    };
    assert_eq!(refusal("*/0 * * * *"), zero(Minute, 2, "*/0"));
    assert_eq!(refusal("* 1,2-8/00 * * *"), zero(Hour, 8, "2-8/00"));
    bad("*/ * * * *", Minute, 2, "", "as the step");
    bad("*/x * * * *", Minute, 2, "x", "as the step");
    bad("*/-1 * * * *", Minute, 2, "-1", "as the step");
    bad("*/+5 * * * *", Minute, 2, "+5", "as the step");
    bad("*/1-2 * * * *", Minute, 2, "1-2", "as the step");
    bad("*/2/3 * * * *", Minute, 0, "*/2/3", "one step");
    bad("*//2 * * * *", Minute, 0, "*//2", "one step");
    bad("/5 * * * *", Minute, 0, "", "missing");
}

#[test]
fn ranges() {
    use FieldName::{DayOfWeek, Hour, Minute, Month};
    let reversed = |field, offset, text: &str| ScheduleError::Reversed {
        place: five_at(field, offset),
        text: text.to_owned(),
    };
    assert_eq!(refusal("0 22-2 * * *"), reversed(Hour, 2, "22-2"));
    assert_eq!(refusal("0 0,22-2/2 * * *"), reversed(Hour, 4, "22-2"));
    assert_eq!(refusal("0 0 1 nov-FEB *"), reversed(Month, 6, "nov-FEB"));
    assert_eq!(refusal("0 0 * * FRI-SUN"), reversed(DayOfWeek, 8, "FRI-SUN"));
    assert_eq!(refusal("0 0 * * 7-1"), reversed(DayOfWeek, 8, "7-1"));
    bad("1-2-3 * * * *", Minute, 0, "1-2-3", "one hyphen");
    bad("1--3 * * * *", Minute, 0, "1--3", "one hyphen");
    bad("-5 * * * *", Minute, 0, "", "missing");
    bad("3- * * * *", Minute, 2, "", "missing");
    bad("*-5 * * * *", Minute, 0, "*", "only a step");
    bad("5-* * * * *", Minute, 2, "*", "only a step");
}

#[test]
fn lists() {
    use FieldName::{Hour, Minute};
    bad("1,,2 * * * *", Minute, 2, "", "missing");
    bad("* , * * *", Hour, 2, "", "missing");
    bad("0 1,2, * * *", Hour, 6, "", "missing");
}

#[test]
fn values_that_are_no_numbers() {
    use FieldName::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
    bad("x * * * *", Minute, 0, "x", "expected a number");
    bad("+5 * * * *", Minute, 0, "+5", "expected a number");
    bad("1.5 * * * *", Minute, 0, "1.5", "expected a number");
    bad("0x5 * * * *", Minute, 0, "0x5", "expected a number");
    bad("\0 * * * *", Minute, 0, "\0", "expected a number");
    bad("** * * * *", Minute, 0, "**", "only a step");
    bad("* *5 * * *", Hour, 2, "*5", "only a step");
    bad("0 0 L * *", DayOfMonth, 4, "L", "not supported");
    bad("0 0 1,15W * *", DayOfMonth, 6, "15W", "not supported");
    bad("0 0 LW * *", DayOfMonth, 4, "LW", "not supported");
    bad("0 0 * * 5#2", DayOfWeek, 8, "5#2", "not supported");
    bad("0 0 * * 5L", DayOfWeek, 8, "5L", "not supported");
    bad("0 0 * MON *", Month, 6, "MON", "JAN to DEC");
    bad("0 0 * january *", Month, 6, "january", "JAN to DEC");
    bad("0 0 * * JAN", DayOfWeek, 8, "JAN", "SUN to SAT");
    bad("MON * * * *", Minute, 0, "MON", "expected a number");
    bad("0 0 * * ;", DayOfWeek, 8, ";", "SUN to SAT");
}

#[test]
fn hostile_text_is_quoted_in_messages() {
    let error = refusal("\u{1b}[31m * * * *");
    assert_eq!(error.to_string().matches('\u{1b}').count(), 0, "{error:?}");
    assert_eq!(
        refusal("0 0 * * 8").to_string(),
        r#"day of week (field 5, offset 8): "8" is out of range, expected 0 to 7"#
    );
}

/// That this ends at once shows that the decision takes no search: each search would walk the
/// years to the horizon.
#[test]
fn exactly_the_dates_no_year_has_never_fire() {
    for month in 1..=12 {
        for day in 1..=31 {
            let exists = chrono::NaiveDate::from_ymd_opt(2024, month, day).is_some();
            for weekday in ["*", "?", "*/1", "1,*"] {
                let expression = format!("0 0 {day} {month} {weekday}");
                match Schedule::parse(&expression, Resolution::Minutes) {
                    Ok(_) => assert!(exists, "{expression}"),
                    Err(error) => {
                        assert_eq!(error, ScheduleError::NeverFires, "{expression}");
                        assert!(!exists, "{expression}");
                    }
                }
            }
        }
    }
    assert_eq!(refusal("* * 31 2,4,6,9,11 *"), ScheduleError::NeverFires);
    assert_eq!(refusal("* * 30-31 FEB ?"), ScheduleError::NeverFires);
    assert!(Schedule::parse("* * 31 2,4,5 *", Resolution::Minutes).is_ok());
    assert!(Schedule::parse("* * 30 2 */2", Resolution::Minutes).is_ok());
}

#[test]
fn only_faults_in_a_field_have_a_place() {
    assert_eq!(refusal("0 0 30 2 *").place(), None);
    assert_eq!(refusal("0 0 30 2 *").offset(), None);
    assert_eq!(refusal("* *").field(), None);
    assert_eq!(refusal(" @daily").offset(), Some(1));
    assert_eq!(refusal("0 0 * * 8").offset(), Some(8));
    assert_eq!(refusal("0 0 * * 8").field(), Some(FieldName::DayOfWeek));
}
