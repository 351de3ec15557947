//! Query parameters: known ones, once each, none empty.

use std::borrow::Cow;

use machine::Status;

use super::path::{decimal, decode};
use crate::error::ServiceError;

const MAX_LIMIT: usize = 200;
const DEFAULT_LIMIT: usize = 50;
const MAX_COUNT: usize = 100;
const DEFAULT_COUNT: usize = 10;
/// Longest turn schedule, in bytes.
const MAX_SCHEDULE_BYTES: usize = 256;

/// The query of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery<'q> {
    /// Only of this status.
    pub(super) status: Option<Status>,
    /// Most items on a page: 1 to 200.
    pub(super) limit: usize,
    /// Where to go on, not looked into yet.
    pub(super) cursor: Option<Cow<'q, str>>,
}

/// The query of `internalListRuntimes`.
pub(super) fn of_runtimes(query: &str) -> Result<ListQuery<'_>, ServiceError> {
    let [status, limit, cursor] = parameters(query, ["status", "limit", "cursor"])?;
    let status = status.map(|text| parse_status(&text)).transpose()?;
    Ok(ListQuery { status, limit: parse_limit(limit)?, cursor })
}

/// The query of a list without a filter.
pub(super) fn of_page(query: &str) -> Result<ListQuery<'_>, ServiceError> {
    let [limit, cursor] = parameters(query, ["limit", "cursor"])?;
    Ok(ListQuery { status: None, limit: parse_limit(limit)?, cursor })
}

/// The query of `internalPreviewSchedule`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PreviewQuery {
    /// The schedule: 1 to 256 printable ASCII characters, not looked into yet.
    pub(super) expression: String,
    /// How many occurrences: 1 to 100.
    pub(super) count: usize,
}

/// The query of `internalPreviewSchedule`.
pub(super) fn of_preview(query: &str) -> Result<PreviewQuery, ServiceError> {
    // A schedule has no plus, and many clients write a blank as one.
    let query = query.replace('+', "%20");
    let [expression, count] = parameters(&query, ["expression", "count"])?;
    let expression = expression.ok_or_else(|| invalid("query parameter expression is missing"))?;
    if !is_schedule_text(&expression) {
        return Err(invalid(format!("expression {SCHEDULE_TEXT_RULE}")));
    }
    let count = match count {
        None => DEFAULT_COUNT,
        Some(text) => number(&text, MAX_COUNT)
            .ok_or_else(|| invalid("count must be a number from 1 to 100"))?,
    };
    Ok(PreviewQuery { expression: expression.into_owned(), count })
}

/// What [`is_schedule_text`] wants, to follow the name of what is refused.
pub(super) const SCHEDULE_TEXT_RULE: &str = "must be 1 to 256 printable ASCII characters";

/// Whether a text could be a turn schedule: the contract's words, before anybody looks into it.
pub(super) fn is_schedule_text(text: &str) -> bool {
    let is_printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    is_printable && (1..=MAX_SCHEDULE_BYTES).contains(&text.len())
}

/// Refuses any parameter.
pub(super) fn none(query: &str) -> Result<(), ServiceError> {
    let [] = parameters(query, [])?;
    Ok(())
}

/// A cursor that we did not give out, or not for this list.
pub(super) fn bad_cursor() -> ServiceError {
    invalid("cursor must be the next_cursor of a page of this list")
}

fn parse_status(text: &str) -> Result<Status, ServiceError> {
    let found = Status::ALL.into_iter().find(|status| status.as_str() == text);
    found.ok_or_else(|| invalid("status must be a runtime status"))
}

fn parse_limit(text: Option<Cow<'_, str>>) -> Result<usize, ServiceError> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    number(&text, MAX_LIMIT).ok_or_else(|| invalid("limit must be a number from 1 to 200"))
}

/// A number from 1 to `max`.
fn number(text: &str, max: usize) -> Option<usize> {
    let number = usize::try_from(decimal(text)?).ok()?;
    (1..=max).contains(&number).then_some(number)
}

/// The parameters of these names. The query's own words are not repeated in a refusal.
fn parameters<'q, const N: usize>(
    query: &'q str,
    names: [&'static str; N],
) -> Result<[Option<Cow<'q, str>>; N], ServiceError> {
    let mut values = [const { None }; N];
    if query.is_empty() {
        return Ok(values);
    }
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)
            .ok_or_else(|| invalid("the query has a broken or missing percent escape"))?;
        let place = names.iter().position(|known| *known == name);
        let Some((known, slot)) =
            place.and_then(|place| Some((names.get(place)?, values.get_mut(place)?)))
        else {
            let known = if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(invalid(format!("unknown query parameter (known: {known})")));
        };
        if slot.is_some() {
            return Err(invalid(format!("query parameter {known} must be given once")));
        }
        let value = decode(value)
            .ok_or_else(|| invalid(format!("{known} has a broken or missing percent escape")))?;
        if value.is_empty() {
            return Err(invalid(format!("query parameter {known} must not be empty")));
        }
        *slot = Some(value);
    }
    Ok(values)
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::InvalidRequest(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_are_taken_in_any_order() {
        let query = of_runtimes("cursor=x&limit=200&status=generation_failed").expect("valid");
        let status = Some(Status::GenerationFailed);
        assert_eq!(query, ListQuery { status, limit: 200, cursor: Some("x".into()) });
        let query = of_runtimes("").expect("valid");
        assert_eq!(query, ListQuery { status: None, limit: 50, cursor: None });
        assert_eq!(of_page("l%69mit=%31").map(|query| query.limit), Ok(1));
        assert_eq!(none(""), Ok(()));
    }

    #[test]
    fn a_preview_is_of_a_schedule_and_of_so_many() {
        let wanted = |count| Ok(PreviewQuery { expression: "0 18 * * 1-5".into(), count });
        assert_eq!(of_preview("expression=0%2018%20*%20*%201-5"), wanted(10));
        assert_eq!(of_preview("count=100&expression=0+18+*+*+1-5"), wanted(100));
        for bad in [
            "",
            "count=1",
            "expression=",
            "expression=*&expression=*",
            "expression=*&count=0",
            "expression=*&count=101",
            "expression=*&count=+1",
            "expression=*&limit=1",
            "expression=%0A",
            "expression=%D9%A0",
            "expression=\u{660}",
            "expression=%",
            &format!("expression={}", "*".repeat(257)),
        ] {
            assert!(of_preview(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_else_is_refused_without_repeating_it() {
        for bad in [
            "SECRET=1",
            "limit=1&SECRET",
            "limit=1&limit=1",
            "limit=",
            "limit",
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=+1",
            "limit=01",
            "limit=1e2",
            "limit=99999999999999999999",
            "limit=%",
            "status=",
            "status=SECRET",
            "status=Running",
            "cursor=",
            "Limit=1",
            "&",
            "limit=1&",
            "=1",
            "%ff=1",
        ] {
            let error = of_runtimes(bad).expect_err(bad);
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        assert!(of_page("status=running").is_err());
        assert!(none("limit=1").is_err());
    }
}
