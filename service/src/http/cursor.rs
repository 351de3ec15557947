//! Where a list goes on: the last key of a page, in a form that callers have no reason to read.
//!
//! ```text
//!   1 - 6175726f7261 - 9f2c4d1b
//!   |   the key, hex   check over the list, its filter and the key
//!   version
//! ```
//!
//! The check finds accidents and mix-ups: a cut cursor, one of another list or another filter. It
//! is no signature. A cursor gives no access to anything, so forging one gains nothing.

use std::fmt::Write as _;
use std::str::FromStr;

use super::path::hex_digit;

const VERSION: &str = "1";

/// What a cursor is of: it does not fit anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    /// The list.
    pub(super) list: &'static str,
    /// How it is filtered; empty where it is not.
    pub(super) filter: &'a str,
}

/// The cursor behind `key`.
pub(super) fn encode(scope: Scope<'_>, key: &str) -> String {
    let mut cursor = String::with_capacity(VERSION.len() + 2 * key.len() + 10);
    cursor.push_str(VERSION);
    cursor.push('-');
    for byte in key.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(cursor, "{byte:02x}");
    }
    let _ = write!(cursor, "-{:08x}", check(scope, key));
    cursor
}

/// The key in a cursor; `None` where it is not one that [`encode`] made for this scope.
pub(super) fn decode<T: FromStr>(scope: Scope<'_>, cursor: &str) -> Option<T> {
    let (hex, _) = cursor.strip_prefix(VERSION)?.strip_prefix('-')?.split_once('-')?;
    let mut key = Vec::with_capacity(hex.len() / 2);
    let mut digits = hex.bytes();
    while let Some(high) = digits.next() {
        key.push(hex_digit(high)? << 4 | hex_digit(digits.next()?)?);
    }
    let key = String::from_utf8(key).ok()?;
    // Encoding again leaves one form for each key: no upper-case digits, nothing behind the check.
    if encode(scope, &key) != cursor {
        return None;
    }
    key.parse().ok()
}

/// FNV-1a of 32 bits over the scope and the key.
fn check(scope: Scope<'_>, key: &str) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    // A separator that occurs in none of the parts keeps them apart.
    let bytes = [scope.list, "\0", scope.filter, "\0", key];
    bytes
        .iter()
        .flat_map(|part| part.bytes())
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use machine::GameId;

    use super::*;

    const LIST: Scope<'_> = Scope { list: "runtimes", filter: "" };

    #[test]
    fn a_cursor_gives_its_key_back_and_no_other_does() {
        let cursor = encode(LIST, "aurora-7");
        assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{cursor}");
        let key: Option<GameId> = decode(LIST, &cursor);
        assert_eq!(key.expect("ours").as_str(), "aurora-7");

        for at in 0..cursor.len() {
            let mut tampered = cursor.clone().into_bytes();
            if let Some(byte) = tampered.get_mut(at) {
                *byte ^= 1;
            }
            let tampered = String::from_utf8(tampered).expect("ASCII");
            assert!(decode::<GameId>(LIST, &tampered).is_none(), "{tampered}");
            assert!(decode::<GameId>(LIST, cursor.get(..at).unwrap_or_default()).is_none());
        }
        for foreign in [
            encode(Scope { list: "engine-versions", filter: "" }, "aurora-7"),
            encode(Scope { filter: "running", ..LIST }, "aurora-7"),
            encode(LIST, "not a game id"),
            cursor.to_uppercase(),
            format!("{cursor}0"),
            format!("{cursor}-"),
        ] {
            assert!(decode::<GameId>(LIST, &foreign).is_none(), "{foreign}");
        }
    }
}
