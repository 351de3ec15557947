//! Instants, durations and failures, as people read them.

use chrono::{SecondsFormat, TimeDelta};

use crate::failure::Failure;
use crate::record::{Pending, PendingKind};
use crate::time::Timestamp;

/// `2026-03-01T18:00:00Z`.
pub(super) fn stamp(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The two greatest units that count: `40 ms`, `0.9 s`, `42 s`, `3 min 2 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn human(duration: TimeDelta) -> String {
    let ms = duration.num_milliseconds().max(0);
    let seconds = ms / 1000;
    let two = |unit: i64, name: &str, lesser: i64, lesser_name: &str| {
        let (count, rest) = (seconds / unit, seconds % unit / lesser);
        if rest == 0 {
            format!("{count} {name}")
        } else {
            format!("{count} {name} {rest} {lesser_name}")
        }
    };
    match (ms, seconds) {
        (..100, _) => format!("{ms} ms"),
        (_, ..10) => format!("{seconds}.{} s", ms % 1000 / 100),
        (_, ..60) => format!("{seconds} s"),
        (_, ..3600) => two(60, "min", 1, "s"),
        (_, ..86_400) => two(3600, "h", 60, "min"),
        (_, _) => two(86_400, "d", 3600, "h"),
    }
}

/// `engine_unreachable: no answer within 30 s`.
pub(super) fn failure(failure: &Failure) -> String {
    let Failure { code, message } = failure;
    if message.is_empty() {
        code.as_str().to_owned()
    } else {
        format!("{}: {message}", code.as_str())
    }
}

/// `a stop (maintenance)`, `a patch to 1.4.3`.
pub(super) fn pending(pending: &Pending) -> String {
    match &pending.what {
        PendingKind::Stop { reason } => format!("a stop ({reason})"),
        PendingKind::Patch { version, image_ref: _, turn_guard: _ } => {
            format!("a patch to {version}")
        }
    }
}

/// The turn that an operator of the log or the record is about.
pub(super) fn turn(number: Option<u32>) -> String {
    number.map_or_else(|| "the turn".to_owned(), |number| format!("turn {number}"))
}

/// A sentence begins.
pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ms, words) in [
            (-5, "0 ms"),
            (0, "0 ms"),
            (99, "99 ms"),
            (100, "0.1 s"),
            (950, "0.9 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (182_000, "3 min 2 s"),
            (3_599_999, "59 min 59 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (86_400_000, "1 d"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(human(TimeDelta::milliseconds(ms)), words, "{ms}");
        }
        assert_eq!(human(TimeDelta::MAX), "106751991167 d 7 h");
    }
}
