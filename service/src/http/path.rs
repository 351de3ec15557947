//! Path parameters.

use std::borrow::Cow;
use std::str::FromStr;

use machine::{InvalidValue, RaceName};

use crate::error::ServiceError;

/// A path parameter as a value of `T`. Decoded once, then judged: what is still encoded after that
/// is part of the value, and no value of ours has a `%`.
pub(super) fn parameter<T>(raw: &str) -> Result<T, ServiceError>
where
    T: FromStr<Err = InvalidValue>,
{
    let text = decode(raw).ok_or_else(undecodable)?;
    text.parse().map_err(|invalid: InvalidValue| ServiceError::InvalidRequest(invalid.to_string()))
}

/// The name of a race. It is the one parameter that may hold almost anything, so an encoded slash,
/// which proxies disagree about, is refused.
pub(super) fn race(raw: &str) -> Result<RaceName, ServiceError> {
    let text = decode(raw).ok_or_else(undecodable)?;
    if text.contains('/') {
        return Err(ServiceError::InvalidRequest("race_name must not hold a slash".into()));
    }
    text.parse().map_err(|invalid: InvalidValue| ServiceError::InvalidRequest(invalid.to_string()))
}

/// The number of a turn.
pub(super) fn turn(raw: &str) -> Result<u32, ServiceError> {
    let text = decode(raw).ok_or_else(undecodable)?;
    decimal(&text).ok_or_else(|| {
        let message = "turn must be a decimal number up to 4294967295 without leading zeros";
        ServiceError::InvalidRequest(message.into())
    })
}

/// A number as we write it: digits alone, no leading zeros.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

/// Decodes percent escapes, once. `None` where one is broken or missing, or the result is no UTF-8.
pub(super) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.is_ascii() {
        return None;
    }
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The value of a hexadecimal digit.
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn undecodable() -> ServiceError {
    ServiceError::InvalidRequest("the path has a broken or missing percent escape".into())
}

#[cfg(test)]
mod tests {
    use machine::{EngineVersion, GameId};

    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let game = |raw| parameter::<GameId>(raw).map(|game| game.as_str().to_owned());
        assert_eq!(game("aurora-7"), Ok("aurora-7".into()));
        assert_eq!(game("%61urora%2D7"), Ok("aurora-7".into()));
        for bad in ["..", "%2e%2e", "..%2fetc", "a%2Fb", "a%00", "%2561", "%", "%6", "%zz", "%ff"] {
            assert!(game(bad).is_err(), "{bad}");
        }
        assert!(game(&"a".repeat(10_000)).is_err());
        assert!(parameter::<EngineVersion>("1.4.2-rc.1").is_ok());
        assert!(parameter::<EngineVersion>("v1.4.2").is_err());
    }

    #[test]
    fn races_may_be_in_any_script() {
        let race = |raw: &str| race(raw).map(|race| race.as_str().to_owned());
        assert_eq!(race("Zoral%20Combine"), Ok("Zoral Combine".into()));
        assert_eq!(race("%D0%A7%D1%83%D0%B6%D0%B8%D0%B5"), Ok("Чужие".into()));
        assert_eq!(race("a+b%2B%25%3F"), Ok("a+b+%?".into()));
        for bad in [
            "Чужие",
            "a%2Fb",
            "a%2fb",
            "%2F",
            "a%00",
            "%",
            "%4",
            "%zz",
            "%ff",
            "%c3%28",
            "%20a",
            "a%20",
            "a%0Ab",
            "%E2%80%AEa",
            "",
        ] {
            assert!(race(bad).is_err(), "{bad}");
        }
        assert!(race(&"%C3%A9".repeat(64)).is_ok());
        assert!(race(&"%C3%A9".repeat(65)).is_err());
    }

    #[test]
    fn turns_are_plain_numbers() {
        assert_eq!(turn("0"), Ok(0));
        assert_eq!(turn("4294967295"), Ok(u32::MAX));
        for bad in ["", "-1", "+1", "01", "00", "1.0", "1e3", "4294967296", "%20", "١"] {
            assert!(turn(bad).is_err(), "{bad}");
        }
    }
}
