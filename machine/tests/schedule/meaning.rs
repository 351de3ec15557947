//! What expressions mean, by hand-written example. 1 March 2026 is a Sunday.

use machine::schedule::{FAR_FUTURE, HORIZON, Schedule};

use super::{at, five, six};

/// The dates on which a schedule fires after the last day of February 2026.
fn march_days(day_fields: &str) -> Vec<u32> {
    use chrono::Datelike;
    let (date, weekday) = day_fields.split_once(' ').unwrap();
    let schedule = five(&format!("0 0 {date} MAR {weekday}"));
    let days = schedule.occurrences(at("2026-02-28 23:59"));
    days.take_while(|day| day.year() == 2026).map(|day| day.day()).collect()
}

fn minutes(field: &str) -> Vec<u32> {
    use chrono::Timelike;
    let schedule = five(&format!("{field} 0 1 1 *"));
    let hour = schedule.occurrences(at("2026-12-31 23:59"));
    hour.take_while(|time| *time < at("2027-01-01 01:00")).map(|time| time.minute()).collect()
}

fn weekdays(field: &str) -> Vec<u32> {
    // The week from Sunday 1 to Saturday 7 March, Sunday as 0.
    march_days(&format!("* {field}")).into_iter().filter(|d| *d <= 7).map(|d| d - 1).collect()
}

#[test]
fn the_horizon_constants_are_the_dates_they_say() {
    assert_eq!(HORIZON, at("2101-01-01 00:00"));
    assert_eq!(FAR_FUTURE, at("9999-12-31 00:00"));
}

#[test]
fn a_daily_turn() {
    let schedule = five("0 18 * * *");
    assert_eq!(schedule.next(at("2026-03-01 17:59:59.999")), at("2026-03-01 18:00"));
    assert_eq!(schedule.next(at("2026-03-01 18:00")), at("2026-03-02 18:00"));
    assert_eq!(schedule.next(at("2026-03-01 18:00:00.001")), at("2026-03-02 18:00"));
    assert_eq!(schedule.next(at("2026-12-31 18:00")), at("2027-01-01 18:00"));
    assert!(!schedule.has_seconds());
}

#[test]
fn lists_ranges_and_steps() {
    assert_eq!(minutes("5"), [5]);
    assert_eq!(minutes("05,5,005"), [5]);
    assert_eq!(minutes("40,10-12,10"), [10, 11, 12, 40]);
    assert_eq!(minutes("10-20/5"), [10, 15, 20]);
    assert_eq!(minutes("10-19/5"), [10, 15]);
    assert_eq!(minutes("7-7"), [7]);
    assert_eq!(minutes("7-7/3"), [7]);
    assert_eq!(minutes("*/25"), [0, 25, 50]);
    assert_eq!(minutes("?/25"), [0, 25, 50]);
    assert_eq!(minutes("*/60"), [0]);
    assert_eq!(minutes("*/4294967295"), [0]);
    assert_eq!(minutes("*"), (0..60).collect::<Vec<_>>());
    assert_eq!(minutes("59,*"), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_number_with_a_step_runs_to_the_end_of_the_field() {
    assert_eq!(minutes("50/4"), [50, 54, 58]);
    assert_eq!(minutes("59/4"), [59]);
    assert_eq!(march_days("25/3 *"), [25, 28, 31]);
    assert_eq!(weekdays("2/2"), [2, 4, 6]);
    assert_eq!(weekdays("mon/2"), [1, 3, 5]);
}

#[test]
fn sunday_is_0_and_7() {
    assert_eq!(weekdays("0"), [0]);
    assert_eq!(weekdays("7"), [0]);
    assert_eq!(weekdays("sun"), [0]);
    assert_eq!(weekdays("0,7"), [0]);
    assert_eq!(weekdays("7-7"), [0]);
    assert_eq!(weekdays("5-7"), [0, 5, 6]);
    assert_eq!(weekdays("FRI-7"), [0, 5, 6]);
    assert_eq!(weekdays("5-7/2"), [0, 5]);
    assert_eq!(weekdays("1-7/2"), [0, 1, 3, 5]);
    assert_eq!(weekdays("0-7"), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_step_in_the_weekday_field_does_not_reach_sunday_a_second_time() {
    assert_eq!(weekdays("5/2"), [5]);
    assert_eq!(weekdays("1/2"), [1, 3, 5]);
    assert_eq!(weekdays("*/7"), [0]);
}

#[test]
fn names_in_any_case() {
    assert_eq!(weekdays("Mon-fri"), [1, 2, 3, 4, 5]);
    assert_eq!(weekdays("SUN,wed,6"), [0, 3, 6]);
    let schedule = five("0 0 1 jAn-MAR,oct/2 ?");
    let months: Vec<_> = schedule.occurrences(at("2026-01-01 00:00")).take(5).collect();
    let expected = ["2026-02-01", "2026-03-01", "2026-10-01", "2026-12-01", "2027-01-01"];
    assert_eq!(months, expected.map(|day| at(&format!("{day} 00:00"))));
}

#[test]
fn either_day_field_matches_where_both_are_restricted() {
    assert_eq!(march_days("13 FRI"), [6, 13, 20, 27]);
    assert_eq!(march_days("10,20 MON"), [2, 9, 10, 16, 20, 23, 30]);
    assert_eq!(march_days("*/15 MON"), [1, 2, 9, 16, 23, 30, 31]);
    assert_eq!(march_days("?/15 MON"), [1, 2, 9, 16, 23, 30, 31]);
    assert_eq!(march_days("10 */3"), [1, 4, 7, 8, 10, 11, 14, 15, 18, 21, 22, 25, 28, 29]);
}

#[test]
fn a_full_range_still_restricts() {
    let all: Vec<u32> = (1..=31).collect();
    assert_eq!(march_days("1-31 MON"), all);
    assert_eq!(march_days("1/1 MON"), all);
    assert_eq!(march_days("13 0-6"), all);
}

#[test]
fn star_question_mark_and_a_step_of_one_leave_a_day_field_open() {
    for open in ["*", "?", "*/1", "?/1", "5,*", "*,5", "*/2,*", "3-9,?"] {
        assert_eq!(march_days(&format!("{open} MON")), [2, 9, 16, 23, 30], "{open}");
    }
    for open in ["*", "?", "*/1", "?/1", "5,*", "MON-FRI,?"] {
        assert_eq!(march_days(&format!("13 {open}")), [13], "{open}");
    }
    assert_eq!(march_days("* ?"), (1..=31).collect::<Vec<_>>());
}

#[test]
fn short_months_have_no_31st() {
    let schedule = five("30 12 31 * *");
    let ends: Vec<_> = schedule.occurrences(at("2026-01-31 12:30")).take(4).collect();
    let expected = ["2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31"];
    assert_eq!(ends, expected.map(|day| at(&format!("{day} 12:30"))));
}

#[test]
fn leap_days() {
    let schedule = five("0 0 29 2 *");
    assert_eq!(schedule.next(at("2026-01-01 00:00")), at("2028-02-29 00:00"));
    assert_eq!(schedule.next(at("2028-02-29 00:00")), at("2032-02-29 00:00"));
    assert_eq!(schedule.next(at("1997-01-01 00:00")), at("2000-02-29 00:00"));
    assert_eq!(schedule.next(at("2095-06-01 00:00")), at("2096-02-29 00:00"));
    // 2100 is no leap year, and 2104 is beyond the horizon.
    assert_eq!(schedule.next(at("2096-02-29 00:00")), FAR_FUTURE);
    assert_eq!(schedule.occurrences(at("2090-01-01 00:00")).count(), 2);
}

#[test]
fn the_ends_of_time() {
    use chrono::{DateTime, Utc};
    let schedule = five("59 23 31 12 *");
    let last = at("2100-12-31 23:59");
    assert_eq!(schedule.next(at("2100-12-31 23:58:59.999")), last);
    assert_eq!(schedule.next(last), FAR_FUTURE);
    assert_eq!(five("* * * * *").next(last), FAR_FUTURE);
    for beyond in [HORIZON, FAR_FUTURE, DateTime::<Utc>::MAX_UTC] {
        assert_eq!(schedule.next(beyond), FAR_FUTURE);
        assert_eq!(schedule.occurrences(beyond).next(), None);
    }
    for before in [at("1969-12-31 23:59"), at("1066-10-14 09:00"), DateTime::<Utc>::MIN_UTC] {
        assert_eq!(schedule.next(before), at("1970-12-31 23:59"));
        assert_eq!(five("* * * * *").next(before), at("1970-01-01 00:00"));
    }
}

#[test]
fn leap_second_instants_are_followed_by_the_next_second() {
    let leap = at("2016-12-31 23:59:60");
    assert_eq!(five("* * * * *").next(leap), at("2017-01-01 00:00"));
    assert_eq!(six("* * * * * *").next(leap), at("2017-01-01 00:00"));
}

#[test]
fn seconds() {
    let schedule = six("*/20 59 23 31 12 *");
    assert!(schedule.has_seconds());
    let after = at("2026-12-31 23:59:19.999");
    let times: Vec<_> = schedule.occurrences(after).take(3).collect();
    let expected = ["2026-12-31 23:59:20", "2026-12-31 23:59:40", "2027-12-31 23:59:00"];
    assert_eq!(times, expected.map(at));
    assert!(!six("* * * * *").has_seconds());
}

#[test]
fn an_impossible_date_does_not_disturb_the_weekday() {
    let schedule = five("0 0 30 2 MON");
    assert_eq!(schedule.next(at("2026-02-01 00:00")), at("2026-02-02 00:00"));
    assert_eq!(schedule.next(at("2026-02-23 00:00")), at("2027-02-01 00:00"));
}

#[test]
fn occurrences_do_not_borrow_the_schedule() {
    let mut occurrences = {
        let schedule = five("0 * * * *");
        schedule.occurrences(at("2026-03-01 00:30"))
    };
    assert_eq!(occurrences.next(), Some(at("2026-03-01 01:00")));
}

#[test]
fn the_expression_is_kept_with_single_spaces() {
    let schedule = five(" \t0  18\n*\r\n* \u{b} mon-FRI \u{c}");
    assert_eq!(schedule.expression(), "0 18 * * mon-FRI");
    assert_eq!(schedule.to_string(), "0 18 * * mon-FRI");
    assert_eq!(format!("{schedule:?}"), r#"Schedule("0 18 * * mon-FRI")"#);
    assert_eq!(schedule, five("0 18 * * mon-FRI"));
    assert_ne!(schedule, five("0 18 * * MON-FRI"), "equality goes by the expression");
}

#[test]
fn stored_as_a_string() {
    let schedule = six("*/5 * * * * ?");
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(json, r#""*/5 * * * * ?""#);
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    let error = serde_json::from_str::<Schedule>(r#""0 0 30 2 *""#).unwrap_err();
    assert!(error.to_string().contains("never fires"), "{error}");
    assert!(serde_json::from_str::<Schedule>("5").is_err());
}
