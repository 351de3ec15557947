//! Query parameters: known ones, once each, none empty.

use std::borrow::Cow;

use machine::Status;

use super::path::{decimal, decode};
use crate::error::ServiceError;

const MAX_LIMIT: usize = 200;
const DEFAULT_LIMIT: usize = 50;

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

/// The query of `internalListEngineVersions`.
pub(super) fn of_versions(query: &str) -> Result<ListQuery<'_>, ServiceError> {
    let [limit, cursor] = parameters(query, ["limit", "cursor"])?;
    Ok(ListQuery { status: None, limit: parse_limit(limit)?, cursor })
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
    decimal(&text)
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| invalid("limit must be a number from 1 to 200"))
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
        let name = decode(name).ok_or_else(|| invalid("the query has a broken percent escape"))?;
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
        let value =
            decode(value).ok_or_else(|| invalid(format!("{known} has a broken percent escape")))?;
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
        assert_eq!(of_versions("l%69mit=%31").map(|query| query.limit), Ok(1));
        assert_eq!(none(""), Ok(()));
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
        assert!(of_versions("status=running").is_err());
        assert!(none("limit=1").is_err());
    }
}
