//! Why an expression is refused, and where in it the trouble is.

use std::fmt;

use chrono::TimeDelta;

use super::Resolution;

/// A field of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// 0-59; only in schedules of six fields.
    Second,
    /// 0-59.
    Minute,
    /// 0-23.
    Hour,
    /// 1-31.
    DayOfMonth,
    /// 1-12 or JAN-DEC.
    Month,
    /// 0-7 or SUN-SAT.
    DayOfWeek,
}

/// Where in an expression something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The field.
    pub field: FieldName,
    /// Which of the expression's fields that is, counted from 0.
    pub index: usize,
    /// The offset of the offending text within the expression as given, in bytes (and in
    /// characters: everything before it is ASCII), counted from 0.
    pub offset: usize,
}

/// Why an expression is no valid schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Longer than [`super::MAX_EXPRESSION_BYTES`].
    #[error("the schedule is {got_bytes} bytes long, the limit is {limit_bytes}")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
        /// The length.
        got_bytes: usize,
    },
    /// Too few fields or too many.
    #[error("the schedule has {got} fields, expected {wanted}")]
    FieldCount {
        /// How many there are.
        got: usize,
        /// What would be accepted.
        wanted: Resolution,
    },
    /// `@daily`, `@every 1h` and the like.
    #[error("{text:?} at offset {offset}: descriptors are not supported, only five-field cron")]
    Descriptor {
        /// The descriptor.
        text: String,
        /// Where it starts.
        offset: usize,
    },
    /// `TZ=…` or `CRON_TZ=…`.
    #[error("{text:?} at offset {offset}: time zones are not supported, schedules are in UTC")]
    TimeZone {
        /// The prefix.
        text: String,
        /// Where it starts.
        offset: usize,
    },
    /// A character outside ASCII: an Arabic digit, a typographic dash, a no-break space.
    #[error("{}{character:?} at offset {offset} is not an ASCII character", in_field(place))]
    NotAscii {
        /// The first such character.
        character: char,
        /// Where it is.
        offset: usize,
        /// The same place with its field, if the expression has the right number of fields.
        place: Option<Place>,
    },
    /// A field that cannot be read.
    #[error("{place}: {text:?}: {reason}")]
    BadField {
        /// Where the text is.
        place: Place,
        /// The part that cannot be read.
        text: String,
        /// Why.
        reason: &'static str,
    },
    /// A number beyond the bounds of its field.
    #[error("{place}: {text:?} is out of range, expected {min} to {max}")]
    OutOfRange {
        /// Where the number is.
        place: Place,
        /// The number.
        text: String,
        /// The least that is accepted.
        min: u32,
        /// The greatest that is accepted.
        max: u32,
    },
    /// A range that ends before it starts.
    #[error("{place}: the range {text:?} ends before it starts; ranges do not wrap around")]
    Reversed {
        /// Where the range is.
        place: Place,
        /// The range.
        text: String,
    },
    /// A step of 0.
    #[error("{place}: {text:?}: a step must be at least 1")]
    ZeroStep {
        /// Where the step is.
        place: Place,
        /// The list element it belongs to.
        text: String,
    },
    /// No date of any year matches.
    #[error("the schedule never fires: none of its months has any of its days")]
    NeverFires,
    /// Two occurrences are closer to each other than is allowed.
    #[error(
        "the schedule fires too often: two of its turns are {} apart, {} is the least allowed",
        Exactly(*shortest), Exactly(*minimum)
    )]
    TooFrequent {
        /// The shortest time between two of its occurrences.
        shortest: TimeDelta,
        /// The shortest that is allowed.
        minimum: TimeDelta,
    },
    /// A defect: the calendar library refused the expanded schedule.
    #[error("the schedule cannot be searched: {reason}")]
    Calendar {
        /// What the library said.
        reason: String,
    },
}

impl ScheduleError {
    /// The field at fault, where one is.
    pub fn field(&self) -> Option<FieldName> {
        self.place().map(|place| place.field)
    }

    /// Where the fault is, if it is in a field.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::BadField { place, text: _, reason: _ }
            | Self::OutOfRange { place, text: _, min: _, max: _ }
            | Self::Reversed { place, text: _ }
            | Self::ZeroStep { place, text: _ } => Some(*place),
            Self::NotAscii { place, character: _, offset: _ } => *place,
            Self::TooLong { .. }
            | Self::FieldCount { .. }
            | Self::Descriptor { .. }
            | Self::TimeZone { .. }
            | Self::NeverFires
            | Self::TooFrequent { .. }
            | Self::Calendar { .. } => None,
        }
    }

    /// The offset of the fault within the expression as given, where it has one.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Descriptor { offset, text: _ }
            | Self::TimeZone { offset, text: _ }
            | Self::NotAscii { offset, character: _, place: _ } => Some(*offset),
            Self::BadField { .. }
            | Self::OutOfRange { .. }
            | Self::Reversed { .. }
            | Self::ZeroStep { .. } => self.place().map(|place| place.offset),
            Self::TooLong { .. }
            | Self::FieldCount { .. }
            | Self::NeverFires
            | Self::TooFrequent { .. }
            | Self::Calendar { .. } => None,
        }
    }
}

fn in_field(place: &Option<Place>) -> String {
    place.map(|place| format!("{}: ", place.field)).unwrap_or_default()
}

/// A duration to the millisecond: `1 h 30 min`, `0.5 s`.
struct Exactly(TimeDelta);

impl fmt::Display for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.num_milliseconds();
        let whole = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
        let (mut rest, mut words) = (ms, vec![]);
        for (unit, name) in whole {
            if rest >= unit {
                words.push(format!("{} {name}", rest / unit));
                rest %= unit;
            }
        }
        if rest % 1000 != 0 {
            words.push(format!("{}.{:03} s", rest / 1000, (rest % 1000).abs()));
        } else if rest != 0 || words.is_empty() {
            words.push(format!("{} s", rest / 1000));
        }
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

impl fmt::Display for Place {
    /// People count fields from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (field {}, offset {})", self.field, self.index + 1, self.offset)
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minutes => "five: minute, hour, day of month, month, day of week",
            Self::Seconds => {
                "five: minute, hour, day of month, month, day of week, \
                              or six, with the second before them"
            }
        })
    }
}
