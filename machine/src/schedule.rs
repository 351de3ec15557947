//! The turn clock: when a game's next turn is due.
//!
//! A [`Schedule`] is a five-field cron expression in UTC, with the meaning that robfig/cron v3
//! gives it, because Lobby and the engines validate with that library:
//!
//! ```text
//!   ┌──────────── (second, 0-59: only with `Resolution::Seconds`)
//!   │ ┌────────── minute        0-59
//!   │ │ ┌──────── hour          0-23
//!   │ │ │  ┌───── day of month  1-31
//!   │ │ │  │ ┌─── month         1-12 or JAN-DEC
//!   │ │ │  │ │ ┌─ day of week   0-7 or SUN-SAT, Sunday is 0 and 7
//!   0 0 18 * * *
//! ```
//!
//! - A field is a list of `*`, `?` (the same as `*`), `N`, `A-B`, each with an optional `/step`.
//!   `N/step` runs from `N` to the end of the field. Names are case-insensitive.
//! - Where both day fields are restricted, either one matches. Only `*`, `?` and these with a step
//!   of 1 leave a day field unrestricted, even as one element of a list: `*/2` and `1-31` restrict
//!   it.
//!
//! Where we differ from robfig, and why: Sunday may be written 7, at the end of a range too; what
//! it accepts by accident is refused as the typing error it is (an empty list element, `*-5`, a
//! sign); descriptors (`@daily`) and time zone prefixes are refused, for the contract is five
//! fields in UTC.
//!
//! Each field is expanded here to the numbers it stands for, and the `cron` crate only searches the
//! calendar. Handing it the expression as given would be wrong: its weekdays count from 1 and it
//! requires both day fields to match.

mod error;
mod field;
mod fields;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, Duration, TimeDelta};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::error::{FieldName, Place, ScheduleError};
use self::field::{Piece, Values};
use self::fields::Fields;
use crate::time::Timestamp;

/// The longest expression that is read. One that lists every value of all six fields by number is
/// well below it.
pub const MAX_EXPRESSION_BYTES: usize = 1024;

/// The first instant that is no longer searched: the calendar of the `cron` crate ends with 2100.
pub const HORIZON: Timestamp = at_unix_seconds(4_133_980_800);

/// What [`Schedule::next`] answers when no occurrence is left before the [`HORIZON`]: the last day
/// of the year 9999, a date every encoding of ours can hold and no clock of ours reaches.
pub const FAR_FUTURE: Timestamp = at_unix_seconds(253_402_214_400);

/// How fine a schedule may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Five fields.
    Minutes,
    /// Five fields, or six of which the first is seconds. For development and tests.
    Seconds,
}

/// A validated cron expression. Cheap to clone. Two schedules are equal when their expressions are.
#[derive(Clone)]
pub struct Schedule {
    inner: Arc<Inner>,
}

struct Inner {
    expression: String,
    has_seconds: bool,
    fields: Fields,
    calendar: Calendar,
}

/// What is searched for occurrences; built once, since every turn asks.
struct Calendar {
    /// The days that match, be it by date, by weekday or by both at once.
    days: cron::Schedule,
    /// Where both day fields are restricted, `days` goes by date and these by weekday.
    or_days: Option<cron::Schedule>,
}

impl Schedule {
    /// Reads an expression, with any whitespace around and between its fields.
    ///
    /// A schedule without any occurrence (`0 0 30 2 *`) is refused. That is decided from the fields
    /// alone, with no reference instant and no search: the day-of-week field cannot make a schedule
    /// impossible (a weekday comes every week, and where both day fields are restricted either one
    /// will do), so it is impossible exactly if no wanted month has a wanted day, counting 29 days
    /// in February. A date which exists in a leap year returns within at most eight years.
    pub fn parse(expression: &str, resolution: Resolution) -> Result<Self, ScheduleError> {
        if expression.len() > MAX_EXPRESSION_BYTES {
            return Err(ScheduleError::TooLong {
                limit_bytes: MAX_EXPRESSION_BYTES,
                got_bytes: expression.len(),
            });
        }
        // Go's notion of whitespace within ASCII includes the vertical tab, Rust's
        // `is_ascii_whitespace` does not.
        let pieces: Vec<Piece<'_>> = Piece::whole(expression)
            .split(|c| c.is_ascii() && c.is_whitespace())
            .filter(|piece| !piece.text.is_empty())
            .collect();
        let names = FieldName::layout(pieces.len(), resolution);
        refuse_foreign_notations(&pieces, names)?;
        let Some(names) = names else {
            return Err(ScheduleError::FieldCount { got: pieces.len(), wanted: resolution });
        };

        let mut fields = Fields::default();
        for (index, (piece, name)) in pieces.iter().zip(names).enumerate() {
            let place = Place { field: *name, index, offset: piece.offset };
            *fields.slot(*name) = field::parse(*piece, place)?;
        }
        let words: Vec<&str> = pieces.iter().map(|piece| piece.text).collect();
        Ok(Self {
            inner: Arc::new(Inner {
                expression: words.join(" "),
                has_seconds: names.contains(&FieldName::Second),
                fields,
                calendar: fields.calendar()?,
            }),
        })
    }

    /// The first occurrence strictly after `after`.
    ///
    /// Total: where no occurrence is left before the [`HORIZON`], and so for every `after` beyond
    /// it, the answer is [`FAR_FUTURE`]. Before 1970 there are no occurrences.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        self.inner.calendar.first(after).unwrap_or(FAR_FUTURE)
    }

    /// All occurrences strictly after `after`, in order, up to the [`HORIZON`].
    pub fn occurrences(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
        let schedule = self.clone();
        let first = schedule.inner.calendar.first(after);
        std::iter::successors(first, move |last| schedule.inner.calendar.first(*last))
    }

    /// The last occurrence strictly before `before`; `None`: there is none since 1970. The cost is
    /// bounded, however long ago that is.
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        self.inner.fields.last_before(before)
    }

    /// The shortest time between two consecutive occurrences, to the second; `None`: there are not
    /// two before the [`HORIZON`]. The cost is bounded, however many there are.
    pub fn shortest_interval(&self) -> Option<TimeDelta> {
        self.inner.fields.shortest_interval()
    }

    /// Refuses a schedule that has two consecutive occurrences closer to each other than `minimum`.
    pub fn check_interval(&self, minimum: TimeDelta) -> Result<(), ScheduleError> {
        match self.shortest_interval() {
            Some(shortest) if shortest < minimum => {
                Err(ScheduleError::TooFrequent { shortest, minimum })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the expression has a seconds field.
    pub fn has_seconds(&self) -> bool {
        self.inner.has_seconds
    }

    /// The expression as given, its fields separated by single spaces.
    pub fn expression(&self) -> &str {
        &self.inner.expression
    }
}

/// Refuses what cron dialects write instead of fields, before the fields are counted, so that the
/// answer names the real trouble.
fn refuse_foreign_notations(
    pieces: &[Piece<'_>],
    names: Option<&[FieldName]>,
) -> Result<(), ScheduleError> {
    for (index, piece) in pieces.iter().enumerate() {
        let Some((within, character)) = piece.text.char_indices().find(|(_, c)| !c.is_ascii())
        else {
            continue;
        };
        let offset = piece.offset + within;
        let field = names.and_then(|names| names.get(index)).copied();
        return Err(ScheduleError::NotAscii {
            character,
            offset,
            place: field.map(|field| Place { field, index, offset }),
        });
    }
    match pieces.first() {
        Some(first) if first.text.starts_with('@') => {
            Err(ScheduleError::Descriptor { text: first.text.to_owned(), offset: first.offset })
        }
        Some(first) if first.text.starts_with("TZ=") || first.text.starts_with("CRON_TZ=") => {
            Err(ScheduleError::TimeZone { text: first.text.to_owned(), offset: first.offset })
        }
        Some(_) | None => Ok(()),
    }
}

impl Fields {
    fn calendar(&self) -> Result<Calendar, ScheduleError> {
        let any_date = Values::all(FieldName::DayOfMonth);
        let any_weekday = Values::all(FieldName::DayOfWeek);
        let (days, or_days) = match (self.either_day(), self.has_a_date()) {
            (false, false) => return Err(ScheduleError::NeverFires),
            (false, true) => (self.search(self.day_of_month, self.day_of_week)?, None),
            // The impossible half would have every search walk all years up to the horizon.
            (true, false) => (self.search(any_date, self.day_of_week)?, None),
            (true, true) => (
                self.search(self.day_of_month, any_weekday)?,
                Some(self.search(any_date, self.day_of_week)?),
            ),
        };
        Ok(Calendar { days, or_days })
    }

    /// The calendar search for days that match both of these. The `cron` crate counts weekdays from
    /// Sunday = 1.
    fn search(&self, date: Values, weekday: Values) -> Result<cron::Schedule, ScheduleError> {
        let numbers = [
            self.second.list(FieldName::Second, 0),
            self.minute.list(FieldName::Minute, 0),
            self.hour.list(FieldName::Hour, 0),
            date.list(FieldName::DayOfMonth, 0),
            self.month.list(FieldName::Month, 0),
            weekday.list(FieldName::DayOfWeek, 1),
        ];
        cron::Schedule::try_from(numbers.join(" "))
            .map_err(|error| ScheduleError::Calendar { reason: error.to_string() })
    }
}

impl Calendar {
    fn first(&self, after: Timestamp) -> Option<Timestamp> {
        // SUBTLE: the `cron` crate adds a second to what it is given, which overflows at the end of
        // chrono's time, and it casts the year to an unsigned number: both ends are cut off here.
        if after >= HORIZON {
            return None;
        }
        let before_first = DateTime::UNIX_EPOCH - Duration::seconds(1);
        let after = after.max(before_first);
        let days = std::iter::once(&self.days).chain(&self.or_days);
        days.filter_map(|days| days.after(&after).next()).min()
    }
}

const fn at_unix_seconds(seconds: i64) -> Timestamp {
    match DateTime::from_timestamp(seconds, 0) {
        Some(instant) => instant,
        None => DateTime::<chrono::Utc>::MAX_UTC,
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression() == other.expression()
    }
}

impl Eq for Schedule {}

impl Hash for Schedule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expression().hash(state);
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.expression()).finish()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expression())
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expression())
    }
}

impl<'de> Deserialize<'de> for Schedule {
    /// Accepts a seconds field: whether one is allowed was decided when the schedule was first
    /// accepted, and a stored one must stay readable when that setting changes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expression = String::deserialize(deserializer)?;
        Self::parse(&expression, Resolution::Seconds).map_err(serde::de::Error::custom)
    }
}
