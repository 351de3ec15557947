//! What a caller calls a request, and what the request asks for.

use http::Uri;
use sha2::{Digest as _, Sha256};

use super::operation::Operation;
use crate::ports::{Claim, ClaimKey, Fingerprint, IdempotencyKey, Source};

/// The claim of a request that its caller gave the name `key`.
pub(super) fn claim(
    caller: Source,
    key: IdempotencyKey,
    operation: Operation,
    uri: &Uri,
    body: &[u8],
) -> Claim {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    Claim {
        key: ClaimKey { caller, key },
        fingerprint: fingerprint([
            operation.id().as_bytes(),
            path.as_bytes(),
            query.as_bytes(),
            body,
        ]),
    }
}

/// SHA-256 over the parts, each behind its length: no two lists of parts run together to the same.
fn fingerprint(parts: [&[u8]; 4]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    Fingerprint(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_makes_another_fingerprint() {
        let all = [
            fingerprint([b"op", b"/a", b"q=1", b"{}"]),
            fingerprint([b"oq", b"/a", b"q=1", b"{}"]),
            fingerprint([b"op", b"/b", b"q=1", b"{}"]),
            fingerprint([b"op", b"/a", b"q=2", b"{}"]),
            fingerprint([b"op", b"/a", b"q=1", b"{ }"]),
            fingerprint([b"op/", b"a", b"q=1", b"{}"]),
            fingerprint([b"op", b"/aq", b"=1", b"{}"]),
            fingerprint([b"op", b"/a", b"q=1{}", b""]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
        assert_eq!(all[0], fingerprint([b"op", b"/a", b"q=1", b"{}"]));
    }
}
