//! Bearer tokens: who a caller is.
//!
//! Only digests are kept. They are compared in constant time, and all of them each time, so that
//! how long an answer takes says nothing about a token: neither its length nor how much of it was
//! guessed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::headers::only;
use crate::ports::Source;

/// The tokens of all callers, each good for its own operations.
///
/// As text: `caller=token` for each, separated by commas. A caller with several tokens may use any
/// of them, which is how one is exchanged for another.
#[derive(Clone)]
pub struct Tokens(Arc<[Known]>);

struct Known {
    caller: Source,
    digest: [u8; 32],
}

/// Tokens that are none. Never says which: they are secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BadTokens {
    #[error("must be caller=token, separated by commas")]
    Form,
    #[error("must name no other caller than gateway, lobby and admin")]
    UnknownCaller,
    #[error(
        "must have tokens of {} to {} visible ASCII characters without a comma",
        Tokens::MIN_BYTES,
        Tokens::MAX_BYTES
    )]
    Token,
    #[error("must have a token for each of gateway, lobby and admin")]
    MissingCaller,
    #[error("must not give two callers the same token")]
    Shared,
    #[error("must have {} tokens at most", Tokens::MAX_TOKENS)]
    TooMany,
}

impl Tokens {
    /// Shortest token, in bytes.
    pub const MIN_BYTES: usize = 16;
    /// Longest token, in bytes.
    pub const MAX_BYTES: usize = 256;
    /// The most tokens, of all callers together: each request is compared with all of them.
    pub const MAX_TOKENS: usize = 16;

    /// Whose token a request brings; `None` where it brings none, or none of these.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Source> {
        let given = only(headers, &AUTHORIZATION).ok().flatten()?.as_bytes();
        let (scheme, token) = given.split_at_checked(BEARER.len())?;
        if !scheme.eq_ignore_ascii_case(BEARER) || !is_token(token) {
            return None;
        }
        let digest = digest(token);
        let mut caller = None;
        for known in &*self.0 {
            if bool::from(known.digest.ct_eq(&digest)) {
                caller = Some(known.caller);
            }
        }
        caller
    }
}

const BEARER: &[u8] = b"Bearer ";

fn is_token(token: &[u8]) -> bool {
    (Tokens::MIN_BYTES..=Tokens::MAX_BYTES).contains(&token.len())
        && token.iter().all(|b| b.is_ascii_graphic() && *b != b',')
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl FromStr for Tokens {
    type Err = BadTokens;

    fn from_str(text: &str) -> Result<Self, BadTokens> {
        let mut known: Vec<Known> = vec![];
        for entry in text.split(',') {
            let (caller, token) = entry.split_once('=').ok_or(BadTokens::Form)?;
            let caller = match caller {
                "gateway" => Source::Gateway,
                "lobby" => Source::Lobby,
                "admin" => Source::Admin,
                _ => return Err(BadTokens::UnknownCaller),
            };
            if !is_token(token.as_bytes()) {
                return Err(BadTokens::Token);
            }
            let digest = digest(token.as_bytes());
            if known.iter().any(|other| other.digest == digest && other.caller != caller) {
                return Err(BadTokens::Shared);
            }
            if known.len() == Self::MAX_TOKENS {
                return Err(BadTokens::TooMany);
            }
            known.push(Known { caller, digest });
        }
        let all = [Source::Gateway, Source::Lobby, Source::Admin];
        if !all.iter().all(|caller| known.iter().any(|known| known.caller == *caller)) {
            return Err(BadTokens::MissingCaller);
        }
        Ok(Self(known.into()))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|known| known.caller.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GATEWAY: &str = "gateway-secret-1";
    const LOBBY: &str = "lobby=secret=0001";
    const ADMIN: &str = "admin-secret-001";

    fn tokens() -> Tokens {
        let long = "a".repeat(256);
        let text =
            format!("gateway={GATEWAY},lobby={LOBBY},admin={ADMIN},admin={long},lobby={LOBBY}");
        text.parse().expect("tokens")
    }

    fn caller(values: &[&str]) -> Option<Source> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(AUTHORIZATION, value);
        }
        tokens().caller(&headers)
    }

    #[test]
    fn a_token_tells_its_caller() {
        for (token, expected) in [
            (GATEWAY, Source::Gateway),
            (LOBBY, Source::Lobby),
            (ADMIN, Source::Admin),
            (&*"a".repeat(256), Source::Admin),
        ] {
            assert_eq!(caller(&[&format!("Bearer {token}")]), Some(expected));
            assert_eq!(caller(&[&format!("bEARER {token}")]), Some(expected));
        }
    }

    #[test]
    fn anything_else_tells_nobody() {
        let good = format!("Bearer {ADMIN}");
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            ADMIN,
            &format!("Basic {ADMIN}"),
            &format!("Bearer  {ADMIN}"),
            &format!("Bearer\t{ADMIN}"),
            &format!("Bearer {ADMIN} "),
            &format!("Bearer {ADMIN}x"),
            &format!("Bearer {},", ADMIN),
            &format!("Bearer {}", &ADMIN[..15]),
            &format!("Bearer {}", ADMIN.to_uppercase()),
            &format!("Bearer {}", "a".repeat(257)),
            "Bearer \u{e9}dmin-secret-0001",
        ] {
            assert_eq!(caller(&[bad]), None, "{bad}");
        }
        assert_eq!(caller(&[]), None);
        assert_eq!(caller(&[&good, &good]), None, "a header that is given twice");
    }

    #[test]
    fn bad_tokens_are_refused_and_not_shown() {
        let (g, l, a) = (GATEWAY, LOBBY, ADMIN);
        for (bad, expected) in [
            (String::new(), BadTokens::Form),
            (g.to_owned(), BadTokens::Form),
            (format!("gateway={g},lobby={l},admin={a},"), BadTokens::Form),
            (format!("gateway={g},lobby={l}"), BadTokens::MissingCaller),
            (format!("gateway={g},lobby={l},admin={a},Admin={a}"), BadTokens::UnknownCaller),
            (format!("gateway={g}, lobby={l},admin={a}"), BadTokens::UnknownCaller),
            (format!("game_master={g},lobby={l},admin={a}"), BadTokens::UnknownCaller),
            (format!("gateway={},lobby={l},admin={a}", &g[..15]), BadTokens::Token),
            (format!("gateway={},lobby={l},admin={a}", "a".repeat(257)), BadTokens::Token),
            (format!("gateway={g} ,lobby={l},admin={a}"), BadTokens::Token),
            (format!("gateway={g},lobby={l},admin=\u{e9}{a}"), BadTokens::Token),
            (format!("gateway={g},lobby={l},admin={g}"), BadTokens::Shared),
            (vec![format!("admin={a}"); 17].join(","), BadTokens::TooMany),
        ] {
            let error = bad.parse::<Tokens>().map(|_| ()).expect_err("bad");
            assert_eq!(error, expected, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(format!("{:?}", tokens()), r#"["gateway", "lobby", "admin", "admin", "lobby"]"#);
    }
}
