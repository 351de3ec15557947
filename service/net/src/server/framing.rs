//! Finds requests whose head says twice where the body ends.
//!
//! A `Content-Length` beside a `Transfer-Encoding` is how requests are smuggled past a proxy that
//! believes the other one of the two. The protocol layer takes the encoding and may drop the length
//! before anybody sees it, so that the bytes are looked at on their way there.
//!
//! ```text
//!   head, line by line ──▶ Content-Length: n ──▶ n bytes skipped ──▶ the next head
//!                     ──▶ chunked ──▶ size, that many bytes, …, trailers ──▶ the next head
//!                     ──▶ both ──▶ found, and nothing more is looked at
//! ```
//!
//! No second parser that could be of another opinion: whatever is not well-formed is an error of
//! the protocol layer too, which ends the connection, and nothing more is looked at either.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// Line ends after the bytes of a chunk.
const CHUNK_END: u64 = 2;

/// Which request of a connection was the ambiguous one. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Ambiguous(Arc<AtomicU64>);

impl Ambiguous {
    /// Whether it is this one; they are counted from 1.
    pub(super) fn is(&self, request: u64) -> bool {
        self.0.load(Ordering::Relaxed) == request
    }
}

/// Follows the bytes of a connection from head to head.
pub(super) struct Framing {
    /// What the head under way has said so far.
    head: Head,
    place: Place,
    /// The beginning of a line that came in pieces.
    partial: Vec<u8>,
    /// The protocol layer refuses longer ones.
    max_line: usize,
    request: u64,
    found: Ambiguous,
}

#[derive(Default)]
struct Head {
    has_begun: bool,
    length: Option<u64>,
    is_encoded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    Body {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    Trailers,
    /// Nothing more is looked at.
    Over,
}

impl Framing {
    pub(super) fn new(max_line: usize, found: Ambiguous) -> Self {
        let (head, partial) = (Head::default(), vec![]);
        Self { head, place: Place::Head, partial, max_line, request: 1, found }
    }

    /// Takes the next bytes, in whatever pieces they come.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Body { left } => {
                    let (left, rest) = skip(left, bytes);
                    self.place = if left == 0 { Place::Head } else { Place::Body { left } };
                    rest
                }
                Place::Chunk { left } => {
                    let (left, rest) = skip(left, bytes);
                    self.place = if left == 0 { Place::ChunkSize } else { Place::Chunk { left } };
                    rest
                }
                Place::Head | Place::ChunkSize | Place::Trailers => self.take_line(bytes),
                Place::Over => return,
            };
        }
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = end.map_or((bytes, &bytes[..0]), |end| bytes.split_at(end + 1));
        if self.partial.len() + piece.len() > self.max_line {
            self.place = Place::Over;
            self.partial = vec![];
            return rest;
        }
        if end.is_none() {
            self.partial.extend_from_slice(piece);
        } else if self.partial.is_empty() {
            self.line(piece);
        } else {
            let mut whole = mem::take(&mut self.partial);
            whole.extend_from_slice(piece);
            self.line(&whole);
        }
        rest
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.place = match self.place {
            Place::Head if line.is_empty() => self.head_ended(),
            Place::Head => self.header(line),
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => Place::Trailers,
                Some(size) => Place::Chunk { left: size.saturating_add(CHUNK_END) },
                None => Place::Over,
            },
            Place::Trailers if line.is_empty() => Place::Head,
            Place::Trailers => Place::Trailers,
            // These have no lines.
            Place::Body { .. } | Place::Chunk { .. } | Place::Over => Place::Over,
        };
    }

    fn header(&mut self, line: &[u8]) -> Place {
        // The first line is that of the request.
        if !mem::replace(&mut self.head.has_begun, true) {
            return Place::Head;
        }
        // Most lines are told apart by their first byte.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return Place::Head;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Place::Head };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(TRANSFER_ENCODING) {
            self.head.is_encoded = true;
        } else if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
            match number(value.trim_ascii(), 10) {
                Some(length) => self.head.length = Some(length),
                // Beside an encoding no number at all is taken for one.
                None if self.head.is_encoded => self.head.length = Some(0),
                None => return Place::Over,
            }
        }
        Place::Head
    }

    fn head_ended(&mut self) -> Place {
        // Empty lines before a request are allowed.
        if !self.head.has_begun {
            return Place::Head;
        }
        let head = mem::take(&mut self.head);
        let request = self.request;
        self.request += 1;
        match (head.length, head.is_encoded) {
            (Some(_), true) => {
                self.found.0.store(request, Ordering::Relaxed);
                Place::Over
            }
            (None, true) => Place::ChunkSize,
            (Some(0) | None, false) => Place::Head,
            (Some(left), false) => Place::Body { left },
        }
    }
}

/// Passes over so many bytes; how many are left of them, and what comes behind.
fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (left - here as u64, &bytes[here..])
}

/// What a line before a chunk says of its size; extensions are no part of it.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    number(digits.trim_ascii_end(), 16)
}

/// Digits and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // `from_str_radix` would take a sign.
    let text = str::from_utf8(digits).ok().filter(|text| !text.starts_with(['+', '-']))?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
        5;n=\"v\"\r\nhello\r\nA \r\n0123\r\n\r\n89\r\n0\r\nContent-Length: 3\r\n\r\n";
    const SIZED: &str = "PUT / HTTP/1.1\r\ncontent-LENGTH:   45  \r\nTe: x\r\n\r\n\
        A: b\r\nTransfer-Encoding: x\r\nContent-Length: 1";
    const BARE: &str = "\r\nGET /?Content-Length: HTTP/1.1\nTransfer-Encodings: 1\n\n";
    const LENGTH_FIRST: &str =
        "GET / HTTP/1.1\r\nContent-Length: 3\r\nTRANSFER-encoding: x\r\n\r\n";
    const LENGTH_LAST: &str =
        "GET / HTTP/1.1\r\nTransfer-Encoding:chunked\r\ncontent-length:x\r\n\r\n";

    /// Which request was found, whatever pieces the bytes come in.
    fn found(bytes: &str) -> u64 {
        let of = |size: usize| {
            let ambiguous = Ambiguous::default();
            let mut framing = Framing::new(1024, ambiguous.clone());
            bytes.as_bytes().chunks(size).for_each(|piece| framing.take(piece));
            ambiguous.0.load(Ordering::Relaxed)
        };
        let whole = of(bytes.len());
        for size in [1, 2, 3, 7, 19] {
            assert_eq!(of(size), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn both_in_one_head_are_found_in_either_order_behind_any_requests() {
        let before = [BARE, SIZED, CHUNKED, BARE, CHUNKED, SIZED, SIZED];
        for ambiguous in [LENGTH_FIRST, LENGTH_LAST] {
            for count in 0..=before.len() {
                let all = before[..count].concat() + ambiguous;
                assert_eq!(found(&all), count as u64 + 1, "{all}");
            }
        }
    }

    #[test]
    fn bodies_targets_trailers_and_neighbours_are_no_heads() {
        let all = [SIZED, CHUNKED, BARE, SIZED, CHUNKED].concat();
        assert_eq!(found(&all), 0);
        // A head each.
        assert_eq!(found(&(SIZED.to_owned() + CHUNKED)), 0);
    }

    #[test]
    fn what_is_not_well_formed_is_left_to_the_protocol_layer() {
        for broken in [
            "GET / HTTP/1.1\r\nContent-Length: 1e1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        ] {
            assert_eq!(found(&(broken.to_owned() + LENGTH_FIRST)), 0, "{broken}");
        }
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(1024));
        assert_eq!(found(&(long + LENGTH_FIRST)), 0);
    }
}
