//! Identifiers and other small value types. Each is valid by construction: parse once at the edge,
//! believe the type from then on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a value of the wanted type. Never carries the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidValue {
    /// The type's name in the field's words, such as `game_id`.
    pub what: &'static str,
    /// What the text would have to be.
    pub problem: &'static str,
}

/// A shared, validated text: cheap to clone, ordered, a plain string on the wire.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(problem) => Err(InvalidValue { what: $what, problem }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_type!(
    /// The key of a game: 1–64 of `A-Z a-z 0-9 _ -`, the first one alphanumeric.
    GameId,
    "game_id",
    identifier
);
text_type!(
    /// A player's account: the same alphabet as [`GameId`].
    UserId,
    "user_id",
    identifier
);
text_type!(
    /// The name of a race in one game: 1–64 printable characters, no blanks at the ends.
    RaceName,
    "race_name",
    printable_name
);
text_type!(
    /// Which process holds a lease: an identifier drawn at its start.
    InstanceId,
    "instance_id",
    identifier
);
text_type!(
    /// The container an engine runs in, as Runtime Manager names it.
    ContainerId,
    "container_id",
    token
);
text_type!(
    /// The engine's own identifier of a player.
    EnginePlayerId,
    "engine player id",
    token
);
text_type!(
    /// Why a runtime is being stopped: 1–200 printable characters, passed on to Runtime Manager.
    StopReason,
    "reason",
    reason
);
text_type!(
    /// Where an engine listens: `http://host:port`, nothing before or behind it.
    EngineEndpoint,
    "engine_endpoint",
    endpoint
);

/// Longest identifier, in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 64;
/// Longest race name, in characters.
pub const MAX_RACE_NAME_CHARS: usize = 64;
/// Longest stop reason, in characters.
pub const MAX_REASON_CHARS: usize = 200;
/// Longest opaque token given by a neighbour, in bytes.
pub const MAX_TOKEN_BYTES: usize = 128;

fn identifier(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be 1 to 64 of A-Z a-z 0-9 _ -, the first one alphanumeric";
    let bytes = text.as_bytes();
    let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    let all_allowed = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if starts_well && all_allowed && bytes.len() <= MAX_IDENTIFIER_BYTES {
        Ok(())
    } else {
        Err(RULE)
    }
}

fn token(text: &str) -> Result<(), &'static str> {
    if (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("must be 1 to 128 visible ASCII characters")
    }
}

fn printable_name(text: &str) -> Result<(), &'static str> {
    if text.trim() != text {
        return Err("must not begin or end with a blank");
    }
    printable(text, MAX_RACE_NAME_CHARS, "must be 1 to 64 printable characters")
}

fn reason(text: &str) -> Result<(), &'static str> {
    printable(text, MAX_REASON_CHARS, "must be 1 to 200 printable characters")
}

fn printable(text: &str, max_chars: usize, rule: &'static str) -> Result<(), &'static str> {
    let chars = text.chars().count();
    if chars == 0 || chars > max_chars || text.chars().any(char::is_control) {
        return Err(rule);
    }
    if text.chars().any(changes_the_look_of_its_neighbours) {
        return Err("must not hold invisible or direction-changing characters");
    }
    Ok(())
}

/// Zero-width, bidirectional-control and line-separating characters make two different names look
/// the same, or one log line look like two (Unicode Technical Report 36, section 2.5).
fn changes_the_look_of_its_neighbours(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn endpoint(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be http://host:port and nothing else";
    let authority = text.strip_prefix("http://").ok_or(RULE)?;
    let (host, port) = authority.rsplit_once(':').ok_or(RULE)?;
    let port_is_plain = !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
    if port_is_plain && is_host(host) { Ok(()) } else { Err(RULE) }
}

fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    let labels_are_fine = host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
    // A host whose last label is numeric is an address to every resolver (WHATWG URL, "ends in a
    // number"): only the four-part decimal form is accepted, so that `http://2130706433:80` or
    // `http://0x7f.1:80` cannot disguise one.
    let last = host.rsplit('.').next().unwrap_or(host);
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    labels_are_fine && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

impl EngineEndpoint {
    /// `host:port`, without the scheme.
    pub fn authority(&self) -> &str {
        self.0.strip_prefix("http://").unwrap_or(&self.0)
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.authority().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }
}

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_type!(
    /// One life of a game's runtime. A game that was rolled back and registered again is another
    /// incarnation, so that no reply meant for the first can count for the second.
    Incarnation
);
uuid_type!(
    /// One entry of the operation log: opened with an intent, closed once with its outcome.
    OperationId
);

/// What a reply must carry to count: which life, and which of its attempts, it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The life of the runtime the question belonged to.
    pub incarnation: Incarnation,
    /// The number of the attempt within that life.
    pub attempt: u64,
}

/// The id of a stream entry: `milliseconds-sequence`, ordered as Redis orders them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId {
    /// Milliseconds part.
    pub ms: u64,
    /// Sequence within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// Before every entry.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The smallest id above this one.
    pub fn successor(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// The greatest id below this one; `ZERO` below itself.
    pub fn predecessor(self) -> Self {
        match (self.ms, self.seq.checked_sub(1)) {
            (ms, Some(seq)) => Self { ms, seq },
            (0, None) => Self::ZERO,
            (ms, None) => Self { ms: ms - 1, seq: u64::MAX },
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for StreamId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u64>().ok()).flatten()
        };
        text.split_once('-')
            .and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }))
            .ok_or(InvalidValue { what: "stream id", problem: "must be milliseconds-sequence" })
    }
}

impl TryFrom<String> for StreamId {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_take_the_documented_alphabet_only() {
        for good in ["a", "Z9", "game-1", "g_2", &"x".repeat(64)] {
            assert!(good.parse::<GameId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "..", ".", "%2e", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<GameId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn race_names_are_printable_and_look_like_what_they_are() {
        for good in ["Terrans", "Ünï çødé", "O'Hara 3", "銀河"] {
            assert!(good.parse::<RaceName>().is_ok(), "{good}");
        }
        let long = "é".repeat(65);
        for bad in ["", " a", "a ", "a\nb", "a\u{202E}b", "a\u{200B}", "\u{1b}[0m", long.as_str()] {
            assert!(bad.parse::<RaceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn endpoints_are_plain_http_with_a_port_and_no_disguise() {
        for good in ["http://engine-1:8080", "http://10.0.0.7:80", "http://[::1]:9000"] {
            assert!(good.parse::<EngineEndpoint>().is_ok(), "{good}");
        }
        for bad in [
            "https://a:1",
            "file:///etc/passwd",
            "http://a",
            "http://a:0",
            "http://a:65536",
            "http://a:80/",
            "http://a:80/x",
            "http://u@a:80",
            "http://a:80?x",
            "http://a:80#x",
            "http://2130706433:80",
            "http://0x7f.0x1:80",
            "http://127.1:80",
            "http://[::1:80",
            "http://a:+80",
            "http://a..b:80",
        ] {
            assert!(bad.parse::<EngineEndpoint>().is_err(), "{bad}");
        }
        let v6: EngineEndpoint = "http://[::1]:9000".parse().expect("valid");
        assert_eq!((v6.host(), v6.port(), v6.authority()), ("::1", 9000, "[::1]:9000"));
    }

    #[test]
    fn stream_ids_order_as_numbers() {
        let id = |t: &str| t.parse::<StreamId>().expect("valid");
        assert!(id("9-1") < id("10-0") && id("10-2") < id("10-10"));
        assert_eq!(id("7-3").successor(), id("7-4"));
        assert_eq!(StreamId { ms: 1, seq: u64::MAX }.successor(), id("2-0"));
        for at in [id("7-3"), id("2-0"), StreamId { ms: u64::MAX, seq: 0 }, id("0-0")] {
            assert_eq!(at.successor().predecessor(), at);
        }
        assert_eq!(id("2-0").predecessor().successor(), id("2-0"));
        assert_eq!(StreamId::ZERO.predecessor(), StreamId::ZERO);
        for bad in ["", "1", "1-", "-1", "+1-2", "1-2-3", "a-b"] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad}");
        }
    }
}
