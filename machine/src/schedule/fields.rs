//! What the fields of a schedule stand for, and what follows from them without a calendar search.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike};

use super::HORIZON;
use super::error::FieldName;
use super::field::Values;
use crate::time::Timestamp;

/// A date that exists comes back within eight years (29 February around a year that is no leap
/// year), so that no more days than these are ever looked at.
const LONGEST_WAIT_DAYS: usize = 9 * 366;

/// What each field stands for.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) second: Values,
    pub(super) minute: Values,
    pub(super) hour: Values,
    pub(super) day_of_month: Values,
    pub(super) month: Values,
    pub(super) day_of_week: Values,
}

impl Default for Fields {
    /// Without a seconds field a schedule fires at second 0. The other fields are always given.
    fn default() -> Self {
        Self {
            second: Values::only(0),
            minute: Values::all(FieldName::Minute),
            hour: Values::all(FieldName::Hour),
            day_of_month: Values::all(FieldName::DayOfMonth),
            month: Values::all(FieldName::Month),
            day_of_week: Values::all(FieldName::DayOfWeek),
        }
    }
}

impl Fields {
    pub(super) fn slot(&mut self, name: FieldName) -> &mut Values {
        match name {
            FieldName::Second => &mut self.second,
            FieldName::Minute => &mut self.minute,
            FieldName::Hour => &mut self.hour,
            FieldName::DayOfMonth => &mut self.day_of_month,
            FieldName::Month => &mut self.month,
            FieldName::DayOfWeek => &mut self.day_of_week,
        }
    }

    /// Whether either day field will do, as opposed to both having to match.
    pub(super) fn either_day(&self) -> bool {
        self.day_of_month.restricted() && self.day_of_week.restricted()
    }

    /// Whether some wanted month has a wanted day of the month, in a leap year at least.
    pub(super) fn has_a_date(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        (1..).zip(LONGEST).any(|(month, days)| {
            self.month.contains(month) && (1..=days).any(|day| self.day_of_month.contains(day))
        })
    }

    fn on_day(&self, day: NaiveDate) -> bool {
        let date = self.day_of_month.contains(day.day());
        let weekday = self.day_of_week.contains(day.weekday().num_days_from_sunday());
        let wanted = if self.either_day() { date || weekday } else { date && weekday };
        wanted && self.month.contains(day.month())
    }

    /// The last occurrence strictly before `before`, and before the [`HORIZON`].
    pub(super) fn last_before(&self, before: Timestamp) -> Option<Timestamp> {
        let latest = before.min(HORIZON).checked_sub_signed(TimeDelta::nanoseconds(1))?;
        let first_day = DateTime::UNIX_EPOCH.date_naive();
        let today = latest.date_naive();
        let time = latest.time();
        let until = (time.hour(), time.minute(), time.second());
        let earlier_today = self.on_day(today).then(|| self.last_time(until)).flatten();
        let (day, (hour, minute, second)) = match earlier_today {
            Some(time) => (today, time),
            None => {
                let days = std::iter::successors(today.pred_opt(), |day| day.pred_opt());
                let day = days.take(LONGEST_WAIT_DAYS).find(|day| self.on_day(*day))?;
                (day, self.last_time((23, 59, 59))?)
            }
        };
        let found = day.and_hms_opt(hour, minute, second)?.and_utc();
        (day >= first_day).then_some(found)
    }

    /// The last time of day that is wanted, up to and including `until`.
    fn last_time(&self, until: (u32, u32, u32)) -> Option<(u32, u32, u32)> {
        let (hour, minute, second) = until;
        let last_minute = |hour: u32| Some((hour, self.minute.last(59)?, self.second.last(59)?));
        if self.hour.contains(hour) {
            if self.minute.contains(minute)
                && let Some(second) = self.second.last(second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = minute.checked_sub(1).and_then(|minute| self.minute.last(minute))
            {
                return Some((hour, minute, self.second.last(59)?));
            }
        }
        hour.checked_sub(1).and_then(|hour| self.hour.last(hour)).and_then(last_minute)
    }

    /// The shortest time between two consecutive occurrences before the [`HORIZON`]; `None`: there
    /// are not two.
    ///
    /// Exact, and without stepping through the occurrences: two neighbours differ in their seconds,
    /// or the last second of one minute meets the first of the next wanted minute, or the same with
    /// hours, or with days. Each of the four is shortest where the two minutes, hours or days are
    /// closest.
    pub(super) fn shortest_interval(&self) -> Option<TimeDelta> {
        let within_minute = i64::from(self.second.width());
        let within_hour = i64::from(self.minute.width()) * 60 + within_minute;
        let within_day = i64::from(self.hour.width()) * 3600 + within_hour;
        let seconds = self.second.closest().map(i64::from);
        let minutes = self.minute.closest().map(|gap| i64::from(gap) * 60 - within_minute);
        let hours = self.hour.closest().map(|gap| i64::from(gap) * 3600 - within_hour);
        let days = self.closest_days().map(|gap| gap * 86_400 - within_day);
        [seconds, minutes, hours, days].into_iter().flatten().min().map(TimeDelta::seconds)
    }

    /// How many days the closest two wanted days are apart. Looks at each day up to the horizon at
    /// most, which is some ten thousand.
    fn closest_days(&self) -> Option<i64> {
        let (mut closest, mut previous) = (None, None);
        let days = DateTime::UNIX_EPOCH.date_naive().iter_days();
        let horizon = HORIZON.date_naive();
        for day in days.take_while(|day| *day < horizon).filter(|day| self.on_day(*day)) {
            let gap = previous.map(|previous: NaiveDate| (day - previous).num_days());
            closest = closest.into_iter().chain(gap).min();
            if closest == Some(1) {
                break;
            }
            previous = Some(day);
        }
        closest
    }
}
