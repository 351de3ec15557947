//! One field of a schedule: its text, and the numbers it stands for.

use super::Resolution;
use super::error::{FieldName, Place, ScheduleError};

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Sunday's second number.
const SUNDAY_AS_LAST: u32 = 7;

impl FieldName {
    /// The fields of an expression that has `count` of them.
    pub(super) fn layout(count: usize, resolution: Resolution) -> Option<&'static [FieldName]> {
        const SIX: [FieldName; 6] = [
            FieldName::Second,
            FieldName::Minute,
            FieldName::Hour,
            FieldName::DayOfMonth,
            FieldName::Month,
            FieldName::DayOfWeek,
        ];
        match (count, resolution) {
            (5, Resolution::Minutes | Resolution::Seconds) => SIX.get(1..),
            (6, Resolution::Seconds) => Some(&SIX),
            (_, Resolution::Minutes | Resolution::Seconds) => None,
        }
    }

    fn min(self) -> u32 {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::DayOfWeek => 0,
            Self::DayOfMonth | Self::Month => 1,
        }
    }

    /// Where `*` and `N/step` end.
    fn max(self) -> u32 {
        match self {
            Self::Second | Self::Minute => 59,
            Self::Hour => 23,
            Self::DayOfMonth => 31,
            Self::Month => 12,
            Self::DayOfWeek => 6,
        }
    }

    /// The greatest number that may be written.
    fn max_written(self) -> u32 {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::DayOfMonth | Self::Month => self.max(),
            Self::DayOfWeek => SUNDAY_AS_LAST,
        }
    }

    /// Names of the values from the least one on.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::DayOfMonth => &[],
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
        }
    }

    fn wants(self) -> &'static str {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::DayOfMonth => "expected a number",
            Self::Month => "expected a number or a name from JAN to DEC",
            Self::DayOfWeek => "expected a number or a name from SUN to SAT",
        }
    }
}

/// A part of the expression that knows where it stands.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) offset: usize,
}

impl<'a> Piece<'a> {
    pub(super) fn whole(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    /// The pieces between separators, empty ones included. Separators must be ASCII.
    pub(super) fn split(self, is_separator: fn(char) -> bool) -> impl Iterator<Item = Self> {
        self.text.split(is_separator).scan(self.offset, |next, text| {
            let offset = *next;
            *next += text.len() + 1;
            Some(Self { text, offset })
        })
    }
}

/// The numbers a field stands for.
#[derive(Clone, Copy)]
pub(super) struct Values {
    /// Bit n for the number n; no field goes beyond 59.
    bits: u64,
    /// Whether the field is left open: it says `*`. All its numbers are set then.
    open: bool,
}

impl Values {
    pub(super) fn all(name: FieldName) -> Self {
        Self { open: true, ..Self::span(name.min(), name.max(), 1) }
    }

    pub(super) fn only(number: u32) -> Self {
        Self::span(number, number, 1)
    }

    fn span(start: u32, end: u32, step: u32) -> Self {
        let mut bits = 0;
        let mut number = start;
        while number <= end {
            bits |= 1 << number;
            number = number.saturating_add(step);
        }
        Self { bits, open: false }
    }

    fn and(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, open: self.open || other.open }
    }

    /// Whether the field constrains anything, as opposed to saying `*`.
    pub(super) fn restricted(self) -> bool {
        !self.open
    }

    pub(super) fn contains(self, number: u32) -> bool {
        self.bits & (1 << number) != 0
    }

    /// The greatest number up to and including `limit`.
    pub(super) fn last(self, limit: u32) -> Option<u32> {
        let kept = self.bits & (u64::MAX >> (63 - limit.min(63)));
        kept.checked_ilog2()
    }

    /// How far the greatest number is from the least.
    pub(super) fn width(self) -> u32 {
        self.bits.checked_ilog2().unwrap_or_default().saturating_sub(self.bits.trailing_zeros())
    }

    /// How far the closest two neighbours are apart; `None`: there is one number only.
    pub(super) fn closest(self) -> Option<u32> {
        (1..64).find(|gap| self.bits & (self.bits >> gap) != 0)
    }

    /// The numbers as a list, each moved up by `shift`; `*` where all are in it, which the `cron`
    /// crate need not store as a set.
    pub(super) fn list(self, name: FieldName, shift: u32) -> String {
        if self.bits == Self::all(name).bits {
            return "*".to_owned();
        }
        let numbers = (name.min()..=name.max()).filter(|number| self.contains(*number));
        let words: Vec<String> = numbers.map(|number| (number + shift).to_string()).collect();
        words.join(",")
    }

    /// Sunday by either number is 0.
    fn with_one_sunday(self) -> Self {
        if self.contains(SUNDAY_AS_LAST) {
            Self { bits: (self.bits & !(1 << SUNDAY_AS_LAST)) | 1, ..self }
        } else {
            self
        }
    }
}

/// Reads a whole field.
pub(super) fn parse(field: Piece<'_>, place: Place) -> Result<Values, ScheduleError> {
    let nothing = Values { bits: 0, open: false };
    let values = field
        .split(|c| c == ',')
        .try_fold(nothing, |values, element| Ok(values.and(parse_element(element, place)?)))?;
    Ok(match place.field {
        FieldName::DayOfWeek => values.with_one_sunday(),
        FieldName::Second
        | FieldName::Minute
        | FieldName::Hour
        | FieldName::DayOfMonth
        | FieldName::Month => values,
    })
}

/// Reads one element of a list: `*`, `N` or `A-B`, each with an optional `/step`.
fn parse_element(element: Piece<'_>, field: Place) -> Result<Values, ScheduleError> {
    let name = field.field;
    if element.text.is_empty() {
        return Err(bad(element, field, "an element of the list is missing"));
    }
    let mut halves = element.split(|c| c == '/');
    let (Some(range), step, None) = (halves.next(), halves.next(), halves.next()) else {
        return Err(bad(element, field, "there can be one step only"));
    };
    let step = step.map(|step| parse_step(step, element, field)).transpose()?;

    if range.text == "*" || range.text == "?" {
        let all = Values::all(name);
        return Ok(match step {
            None | Some(1) => all,
            Some(step) => Values::span(name.min(), name.max(), step),
        });
    }
    let mut ends = range.split(|c| c == '-');
    match (ends.next(), ends.next(), ends.next()) {
        (Some(start), None, None) => match step {
            None => Ok(Values::only(parse_number(start, field, name.max_written())?)),
            // SUBTLE: not up to 7. Else `5/2` would be Friday and Sunday here, Friday elsewhere.
            Some(step) => {
                Ok(Values::span(parse_number(start, field, name.max())?, name.max(), step))
            }
        },
        (Some(start), Some(end), None) => {
            let start = parse_number(start, field, name.max_written())?;
            let end = parse_number(end, field, name.max_written())?;
            if start > end {
                let place = Place { offset: range.offset, ..field };
                return Err(ScheduleError::Reversed { place, text: range.text.to_owned() });
            }
            Ok(Values::span(start, end, step.unwrap_or(1)))
        }
        _ => Err(bad(range, field, "a range has one hyphen")),
    }
}

fn parse_step(step: Piece<'_>, element: Piece<'_>, field: Place) -> Result<u32, ScheduleError> {
    if !is_decimal(step.text) {
        return Err(bad(step, field, "expected a number as the step"));
    }
    // A step beyond the field's end is no error: it leaves the first number.
    match step.text.parse() {
        Ok(0) => Err(ScheduleError::ZeroStep {
            place: Place { offset: step.offset, ..field },
            text: element.text.to_owned(),
        }),
        Ok(step) => Ok(step),
        Err(_) => Err(out_of_range(step, field, 1, u32::MAX)),
    }
}

fn parse_number(number: Piece<'_>, field: Place, max: u32) -> Result<u32, ScheduleError> {
    let min = field.field.min();
    let named =
        (min..).zip(field.field.names()).find(|(_, name)| name.eq_ignore_ascii_case(number.text));
    if let Some((value, _)) = named {
        return Ok(value);
    }
    if !is_decimal(number.text) {
        return Err(bad(number, field, why_no_number(number.text, field.field)));
    }
    match number.text.parse() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(out_of_range(number, field, min, max)),
    }
}

/// The standard library's parser alone would take a sign.
fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn why_no_number(text: &str, name: FieldName) -> &'static str {
    let extension = |byte: u8| matches!(byte, b'L' | b'l' | b'W' | b'w' | b'#');
    if text.is_empty() {
        "a number is missing"
    } else if text.starts_with(['*', '?']) {
        "only a step can follow `*` or `?`"
    } else if text.bytes().any(extension)
        && text.bytes().all(|byte| extension(byte) || byte.is_ascii_digit())
    {
        "`L`, `W` and `#` are not supported"
    } else {
        name.wants()
    }
}

fn bad(piece: Piece<'_>, field: Place, reason: &'static str) -> ScheduleError {
    let place = Place { offset: piece.offset, ..field };
    ScheduleError::BadField { place, text: piece.text.to_owned(), reason }
}

fn out_of_range(piece: Piece<'_>, field: Place, min: u32, max: u32) -> ScheduleError {
    let place = Place { offset: piece.offset, ..field };
    ScheduleError::OutOfRange { place, text: piece.text.to_owned(), min, max }
}
