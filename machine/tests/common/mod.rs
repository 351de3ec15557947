//! What the tests of the lifecycle share: one small game, and a way to write down what a step does.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod events;
pub(crate) mod journal;
pub(crate) mod records;
pub(crate) mod show;

use chrono::NaiveTime;
use machine::{Context, InstanceId, OperationId, Policy, Timestamp};
use uuid::Uuid;

/// A valid value of a text type.
pub(crate) fn parse<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

/// `13:00` or `13:01:30` on the day all tests play on.
pub(crate) fn at(text: &str) -> Timestamp {
    let full = if text.len() == 5 { format!("{text}:00") } else { text.to_owned() };
    let time: NaiveTime = parse(&full);
    let day = chrono::NaiveDate::from_ymd_opt(2026, 3, 1).expect("a date");
    day.and_time(time).and_utc()
}

/// The time of day, as [`at`] takes it.
pub(crate) fn clock(t: Timestamp) -> String {
    let text = t.format("%H:%M:%S").to_string();
    text.strip_suffix(":00").map_or(text.clone(), Into::into)
}

/// The operation with a number for a name.
pub(crate) fn op(number: u128) -> OperationId {
    OperationId(Uuid::from_u128(number))
}

/// The process that decides.
pub(crate) fn instance() -> InstanceId {
    parse("gm-1")
}

/// Calls `f` with a context of this instant, whose fresh operation is `operation`.
pub(crate) fn with_context<R>(
    now: Timestamp,
    operation: OperationId,
    policy: &Policy,
    f: impl FnOnce(&Context<'_>) -> R,
) -> R {
    let instance = instance();
    f(&Context { now, instance: &instance, operation, policy })
}
