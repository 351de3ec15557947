//! Trace context as of W3C: `traceparent` (version 00, read strictly) and `tracestate`.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that names a trace and the span of the caller.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that others keep their own notes in.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that is passed on, in bytes.
const MAX_STATE_BYTES: usize = 512;
/// The bits of a trace id that are random however it was drawn.
const RANDOM_BITS: u32 = 56;

/// Names a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TraceId {
    /// A trace that nobody else begins.
    pub(super) fn fresh(id: Uuid) -> Self {
        Self(id.as_u128().max(1))
    }

    /// Whether it is among the given share of all traces.
    pub(super) fn is_within(self, ratio: f64) -> bool {
        let random = self.0 & ((1 << RANDOM_BITS) - 1);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
        let place = random as f64 / (1u64 << RANDOM_BITS) as f64;
        place < ratio
    }
}

/// Names a span within a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub(super) u64);

impl SpanId {
    pub(super) fn fresh(id: Uuid) -> Self {
        let (high, low) = id.as_u64_pair();
        // Both halves, since one of them may be mostly the time.
        Self((high ^ low.rotate_left(32)).max(1))
    }
}

/// Where in which trace something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether whoever began the trace records it.
    pub sampled: bool,
    /// What others noted.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// What the caller says; nothing where it says it in another form than that of the standard.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let (Some(parent), None) = (values.next(), values.next()) else { return None };
        let context = parse(parent.as_bytes())?;
        Some(Self { state: state(headers), ..context })
    }

    /// Writes it into the headers of a request.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { trace, span, sampled, state } = self;
        let text = format!("00-{trace}-{:016x}-{:02x}", span.0, u8::from(*sampled));
        // Hexadecimal digits and text that came in a header are valid in one.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(Ok(value)) = state.as_deref().map(HeaderValue::from_str) {
            headers.insert(TRACESTATE, value);
        }
    }
}

/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, lower case, ids other than zero.
fn parse(text: &[u8]) -> Option<TraceContext> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_well_formed = version == "00"
        && parts.next().is_none()
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2);
    if !is_well_formed {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(TraceContext { trace: TraceId(trace), span: SpanId(span), sampled, state: None })
}

/// The lists of all headers of the name as one, if that is short and visible ASCII.
fn state(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut state = String::new();
    for value in headers.get_all(&TRACESTATE) {
        let is_plain = value.as_bytes().iter().all(|b| matches!(b, b' '..=b'~'));
        // Before it is taken in: many headers must not add up.
        if !is_plain || state.len() + value.len() + 1 > MAX_STATE_BYTES + 1 {
            return None;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(value.to_str().ok()?);
    }
    (1..=MAX_STATE_BYTES).contains(&state.len()).then(|| state.into())
}

/// Which side of what a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that came in.
    Server,
    /// A call that went out.
    Client,
    /// Neither.
    Internal,
}

/// A span that is over.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of a span in OTLP")]
pub struct FinishedSpan {
    pub context: TraceContext,
    pub parent: Option<SpanId>,
    pub kind: SpanKind,
    pub name: String,
    pub start_unix_nanos: u64,
    pub end_unix_nanos: u64,
    pub attributes: Vec<(&'static str, String)>,
    pub failed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(*name, value);
        }
        headers
    }

    #[test]
    fn a_parent_is_read_and_written_as_it_came() {
        let context = TraceContext::of(&headers(&[("traceparent", GOOD), ("tracestate", "a=1")]))
            .expect("well-formed");
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.sampled);
        let mut out = HeaderMap::new();
        context.write(&mut out);
        assert_eq!(out.get(TRACEPARENT).expect("written"), GOOD);
        assert_eq!(out.get(TRACESTATE).expect("written"), "a=1");
        let unsampled = GOOD.replace("-01", "-fe");
        let context = TraceContext::of(&headers(&[("traceparent", &unsampled)]));
        assert!(!context.expect("any flags").sampled);
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        for bad in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-é",
        ] {
            assert_eq!(TraceContext::of(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
        let twice = headers(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(TraceContext::of(&twice), None);
    }

    #[test]
    fn a_state_is_passed_on_while_it_is_short_and_plain() {
        let of = |states: &[&str]| {
            let mut pairs = vec![("traceparent", GOOD)];
            pairs.extend(states.iter().map(|state| ("tracestate", *state)));
            TraceContext::of(&headers(&pairs)).expect("a parent").state
        };
        assert_eq!(of(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let longest = "x".repeat(512);
        assert_eq!(of(&[&longest]).as_deref(), Some(&*longest));
        for bad in [&["x".repeat(513)][..], &["é".into()], &["a\tb".into()], &[String::new()]] {
            let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
            assert_eq!(of(&bad), None);
        }
        let half = "x".repeat(256);
        assert_eq!(of(&[&half, &half]), None, "the comma counts");
    }

    #[test]
    fn a_share_of_traces_is_about_that_share() {
        let ids = (0..1000u128).map(|n| TraceId(n << (RANDOM_BITS - 10) | 1 << 100));
        let share = |ratio| ids.clone().filter(|id| id.is_within(ratio)).count();
        assert_eq!((share(0.0), share(0.25), share(1.0)), (0, 256, 1000));
    }
}
