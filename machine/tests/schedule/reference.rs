//! Random expressions whose meaning is known by construction, and the plainest way to step through
//! time with them. Shares no code with the schedule under test.

use chrono::{Datelike, Duration, NaiveDate, Timelike};
use machine::time::Timestamp;
use proptest::prelude::*;

/// A field's least number, where `*` and `N/step` end, the greatest number that may be written,
/// and the names.
struct Bounds {
    min: u32,
    max: u32,
    written: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const BOUNDS: [Bounds; 6] = [
    Bounds { min: 0, max: 59, written: 59, names: &[] },
    Bounds { min: 0, max: 59, written: 59, names: &[] },
    Bounds { min: 0, max: 23, written: 23, names: &[] },
    Bounds { min: 1, max: 31, written: 31, names: &[] },
    Bounds { min: 1, max: 12, written: 12, names: &MONTHS },
    Bounds { min: 0, max: 6, written: 7, names: &WEEKDAYS },
];
const DAY_OF_MONTH: usize = 3;
const MONTH: usize = 4;
const DAY_OF_WEEK: usize = 5;

#[derive(Clone, Debug)]
enum Element {
    Star,
    Question,
    StarStep(u32),
    One(u32),
    From(u32, u32),
    Range(u32, u32),
    RangeStep(u32, u32, u32),
}

/// How a number is written.
#[derive(Clone, Copy, Debug)]
enum Style {
    Plain,
    Padded,
    Upper,
    Lower,
}

#[derive(Clone, Debug)]
struct Field {
    elements: Vec<(Element, Style)>,
}

/// An expression with a known meaning.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    fields: Vec<Field>,
    with_seconds: bool,
}

fn element(bounds: &Bounds) -> BoxedStrategy<Element> {
    let (min, max, written) = (bounds.min, bounds.max, bounds.written);
    let step = prop_oneof![8 => 1..=max, 1 => Just(max + 1)];
    let range = (min..=written).prop_flat_map(move |start| (Just(start), start..=written));
    prop_oneof![
        1 => Just(Element::Star),
        1 => Just(Element::Question),
        3 => step.clone().prop_map(Element::StarStep),
        6 => (min..=written).prop_map(Element::One),
        2 => (min..=max, step.clone()).prop_map(|(start, step)| Element::From(start, step)),
        3 => range.clone().prop_map(|(start, end)| Element::Range(start, end)),
        2 => (range, step).prop_map(|((start, end), step)| Element::RangeStep(start, end, step)),
    ]
    .boxed()
}

fn field(bounds: &Bounds) -> BoxedStrategy<Field> {
    let style = prop_oneof![
        Just(Style::Plain),
        Just(Style::Padded),
        Just(Style::Upper),
        Just(Style::Lower),
    ];
    let star = Just(Field { elements: vec![(Element::Star, Style::Plain)] });
    let list = prop::collection::vec((element(bounds), style), 1..=3);
    prop_oneof![2 => star, 3 => list.prop_map(|elements| Field { elements })].boxed()
}

pub(crate) fn expressions() -> impl Strategy<Value = Expression> {
    let fields: Vec<_> = BOUNDS.iter().map(field).collect();
    (fields, any::<bool>()).prop_map(|(fields, with_seconds)| Expression { fields, with_seconds })
}

impl Element {
    fn holds(&self, number: u32, bounds: &Bounds) -> bool {
        let ordinary = number <= bounds.max;
        match *self {
            Self::Star | Self::Question => ordinary,
            Self::StarStep(step) => ordinary && (number - bounds.min).is_multiple_of(step),
            Self::One(one) => number == one,
            Self::From(start, step) => {
                ordinary && number >= start && (number - start).is_multiple_of(step)
            }
            Self::Range(start, end) => (start..=end).contains(&number),
            Self::RangeStep(start, end, step) => {
                (start..=end).contains(&number) && (number - start).is_multiple_of(step)
            }
        }
    }

    fn opens(&self) -> bool {
        matches!(self, Self::Star | Self::Question | Self::StarStep(1))
    }
}

impl Expression {
    pub(crate) fn text(&self) -> String {
        self.render(|element, style, bounds| {
            let number = |n: u32| match (style, bounds.names.get((n - bounds.min) as usize)) {
                (Style::Upper, Some(name)) => name.to_uppercase(),
                (Style::Lower, Some(name)) => (*name).to_owned(),
                (Style::Padded, _) => format!("{n:03}"),
                (Style::Plain | Style::Upper | Style::Lower, _) => n.to_string(),
            };
            // A name can stand for Sunday as 0 only.
            match *element {
                Element::Star => "*".to_owned(),
                Element::Question => "?".to_owned(),
                Element::StarStep(step) => format!("*/{step}"),
                Element::One(one) => number(one),
                Element::From(start, step) => format!("{}/{step}", number(start)),
                Element::Range(start, end) => format!("{}-{}", number(start), number(end)),
                Element::RangeStep(start, end, step) => {
                    format!("{}-{}/{step}", number(start), number(end))
                }
            }
        })
    }

    /// The same for `croner`, which agrees on everything but these, each written here in the way
    /// that means the same there:
    /// - a day field is open there if it is a bare `*` or `?`, not by `*/1` nor by a `*` in a list
    ///   (in which it knows no `*` at all); elsewhere than in day fields it knows no `?`;
    /// - `N/step` in the day-of-week field goes up to 7 there: we write where it ends;
    /// - it reads `-SUN` as `-7`: we write numbers instead of names. Names have their own tests.
    pub(crate) fn text_for_croner(&self) -> String {
        let open: Vec<bool> = self.fields.iter().map(Field::open).collect();
        let mut closed = self.clone();
        for (field, _) in closed.fields.iter_mut().zip(open).filter(|(_, open)| *open) {
            field.elements = vec![(Element::Star, Style::Plain)];
        }
        closed.render(|element, _, bounds| match *element {
            Element::Star | Element::Question => "*".to_owned(),
            Element::StarStep(step) => format!("*/{step}"),
            Element::One(one) => one.to_string(),
            Element::From(start, step) => format!("{start}-{}/{step}", bounds.max),
            Element::Range(start, end) => format!("{start}-{end}"),
            Element::RangeStep(start, end, step) => format!("{start}-{end}/{step}"),
        })
    }

    fn render(&self, write: impl Fn(&Element, Style, &Bounds) -> String) -> String {
        let skip = if self.with_seconds { 0 } else { 1 };
        let fields = self.fields.iter().zip(&BOUNDS).skip(skip).map(|(field, bounds)| {
            let elements = field.elements.iter();
            elements.map(|(one, style)| write(one, *style, bounds)).collect::<Vec<_>>().join(",")
        });
        fields.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn meaning(&self) -> Meaning {
        let numbers = std::array::from_fn(|index| {
            let (field, bounds) = (&self.fields[index], &BOUNDS[index]);
            if index == 0 && !self.with_seconds {
                return (0..60).map(|number| number == 0).collect();
            }
            let holds = |number| field.elements.iter().any(|(one, _)| one.holds(number, bounds));
            (0..60)
                .map(|n| (bounds.min..=bounds.written).contains(&n) && holds(n))
                .collect::<Vec<bool>>()
        });
        Meaning {
            numbers,
            either: !self.fields[DAY_OF_MONTH].open() && !self.fields[DAY_OF_WEEK].open(),
        }
    }
}

impl Field {
    fn open(&self) -> bool {
        self.elements.iter().any(|(element, _)| element.opens())
    }
}

/// Which numbers each field stands for, Sunday as 0 or 7.
pub(crate) struct Meaning {
    numbers: [Vec<bool>; 6],
    either: bool,
}

impl Meaning {
    pub(crate) fn day_matches(&self, day: NaiveDate) -> bool {
        let holds = |field: usize, number: u32| self.numbers[field][number as usize];
        let date = holds(DAY_OF_MONTH, day.day());
        let from_sunday = day.weekday().num_days_from_sunday();
        let weekday =
            holds(DAY_OF_WEEK, from_sunday) || (from_sunday == 0 && holds(DAY_OF_WEEK, 7));
        let days = if self.either { date || weekday } else { date && weekday };
        holds(MONTH, day.month()) && days
    }

    pub(crate) fn matches(&self, time: Timestamp) -> bool {
        self.numbers[0][time.second() as usize]
            && self.numbers[1][time.minute() as usize]
            && self.numbers[2][time.hour() as usize]
            && self.day_matches(time.date_naive())
    }

    /// Whether any day of a leap year and of the years around it matches.
    pub(crate) fn ever_fires(&self) -> bool {
        let start = NaiveDate::from_ymd_opt(2023, 1, 1).unwrap();
        start.iter_days().take(3 * 366).any(|day| self.day_matches(day))
    }

    /// The first occurrence after `after`: day by day, then second by second.
    pub(crate) fn first(&self, after: Timestamp, before: Timestamp) -> Option<Timestamp> {
        let days = after.date_naive().iter_days();
        let days = days.take_while(|day| *day < before.date_naive());
        days.filter(|day| self.day_matches(*day)).find_map(|day| {
            let midnight = day.and_hms_opt(0, 0, 0).unwrap().and_utc();
            let hours = (0..24).filter(|hour| self.numbers[2][*hour as usize]);
            hours
                .flat_map(|hour| (0..60).map(move |minute| (hour, minute)))
                .filter(|(_, minute)| self.numbers[1][*minute as usize])
                .flat_map(|(hour, minute)| (0..60).map(move |second| (hour, minute, second)))
                .filter(|(_, _, second)| self.numbers[0][*second as usize])
                .map(|(hour, minute, second)| {
                    midnight + Duration::seconds(hour * 3600 + minute * 60 + second)
                })
                .find(|time| *time > after)
        })
    }
}
