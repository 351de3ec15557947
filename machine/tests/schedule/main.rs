//! The turn clock: what its expressions mean, what it refuses, and the laws it keeps.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod interval;
mod laws;
mod meaning;
mod reference;
mod refusals;

use machine::schedule::{Resolution, Schedule};
use machine::time::Timestamp;

fn five(expression: &str) -> Schedule {
    Schedule::parse(expression, Resolution::Minutes)
        .unwrap_or_else(|error| panic!("{expression:?}: {error}"))
}

fn six(expression: &str) -> Schedule {
    Schedule::parse(expression, Resolution::Seconds)
        .unwrap_or_else(|error| panic!("{expression:?}: {error}"))
}

/// `2026-03-01 18:00` or `2026-03-01 18:00:05.250`.
fn at(text: &str) -> Timestamp {
    let with_seconds = if text.len() == 16 { format!("{text}:00") } else { text.to_owned() };
    chrono::NaiveDateTime::parse_from_str(&with_seconds, "%Y-%m-%d %H:%M:%S%.f")
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .and_utc()
}
