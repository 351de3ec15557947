//! Entries on the streams that nobody there has written: unreadable, foreign, or told before.

use machine::{Channel, StreamId};

use crate::redis::Keys;

/// Where Runtime Manager tells of its engines.
const HEALTH: &str = "runtime:health_events";
/// An id far above any that a clock gives.
const FAR_FUTURE: StreamId = StreamId { ms: 99_999_999_999_999, seq: 0 };

/// What no reader of health events must stumble over.
pub(crate) fn poison(keys: &mut Keys, game: Option<&String>, now_ms: i64) {
    let game = game.map_or("game-0", String::as_str);
    let foreign = format!(r#"{{"game_id":"{game}","container_id":7,"event_type":"healthy"}}"#);
    let unknown = format!(r#"{{"game_id":"{game}","container_id":"c","event_type":"on_fire"}}"#);
    let of_nobody = r#"{"game_id":"nobodys","container_id":"c","event_type":"container_exited"}"#;
    for payload in ["", "{", "\u{0}", "[]", of_nobody, &foreign, &unknown] {
        append(keys, HEALTH, payload.as_bytes(), now_ms);
    }
}

/// The latest health events once more, under new ids.
pub(crate) fn repeat(keys: &mut Keys, count: usize, now_ms: i64) {
    let told: Vec<_> = keys.all(HEALTH).map(|(_, entry)| entry.payload.clone()).collect();
    for payload in told.iter().skip(told.len().saturating_sub(count)) {
        append(keys, HEALTH, payload, now_ms);
    }
}

/// An entry among the events for Lobby that Game Master did not write, above all that it will.
pub(crate) fn foreign(keys: &mut Keys, now_ms: i64) {
    let stream = Channel::LobbyEvents.as_str();
    keys.append(stream, Some(FAR_FUTURE), br#"{"kind":"of_somebody_else"}"#, 0, now_ms);
}

/// Under the next id.
fn append(keys: &mut Keys, stream: &str, payload: &[u8], now_ms: i64) {
    keys.append(stream, None, payload, 0, now_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_told_again_at_the_end_and_what_is_foreign_stays_above() {
        let mut keys = Keys::default();
        for text in ["a", "b", "c"] {
            append(&mut keys, HEALTH, text.as_bytes(), 1);
        }
        repeat(&mut keys, 2, 2);
        let told: Vec<_> = keys.all(HEALTH).map(|(_, entry)| entry.payload.to_vec()).collect();
        assert_eq!(told, [b"a", b"b", b"c", b"b", b"c"]);
        foreign(&mut keys, 3);
        let newest = keys.newest(Channel::LobbyEvents.as_str()).map(|(newest, _)| newest);
        assert_eq!(newest, Some(FAR_FUTURE));
    }
}
