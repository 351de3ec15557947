//! What must hold of the streams once everything has come to rest, read from outside the service.

use std::collections::{BTreeMap, BTreeSet};

use crate::ports::{Entry, StreamError, Streams};
use machine::{LobbyEvent, Message, NotificationType, Status, StreamId};

/// What the streams tell of one game.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The turns, in the order in which they were first told of.
    pub turns: Vec<u32>,
    /// Whether the end was told of.
    pub finished: bool,
    /// The turns that players were told of.
    pub notified: BTreeSet<u32>,
}

/// Reads both streams to their end and checks the order of what they tell of each game; a list of
/// what is wrong, or what they tell.
pub async fn audit_streams(
    streams: &dyn Streams,
) -> Result<Result<BTreeMap<String, Audit>, Vec<String>>, StreamError> {
    let mut audits: BTreeMap<String, Audit> = BTreeMap::new();
    let mut wrong = vec![];
    for entry in everything(streams, "gm:lobby_events").await? {
        match serde_json::from_slice::<LobbyEvent>(&entry.payload) {
            Ok(event) => lobby_event(&mut audits, event, &mut wrong),
            Err(error) => wrong.push(format!("{} cannot be read: {error}", entry.id)),
        }
    }
    let mut keys = BTreeMap::new();
    for entry in everything(streams, "notification:intents").await? {
        match serde_json::from_slice::<Message>(&entry.payload) {
            Ok(Message::Intent(intent)) => {
                let game = intent.payload.game_id.to_string();
                let first = keys.insert(intent.idempotency_key.clone(), intent.clone());
                if first.is_some_and(|first| first != intent) {
                    wrong.push(format!("{game}: one key, two contents"));
                }
                if intent.notification_type == NotificationType::TurnReady {
                    audits.entry(game).or_default().notified.insert(intent.payload.turn);
                }
            }
            Ok(Message::Lobby(_)) => wrong.push(format!("{}: an event among intents", entry.id)),
            // Other producers write there too.
            Err(_) => {}
        }
    }
    Ok(if wrong.is_empty() { Ok(audits) } else { Err(wrong) })
}

fn lobby_event(audits: &mut BTreeMap<String, Audit>, event: LobbyEvent, wrong: &mut Vec<String>) {
    let (game, turn, status) = match event {
        LobbyEvent::RuntimeSnapshotUpdate { game_id, current_turn, runtime_status, .. } => {
            (game_id.to_string(), current_turn, runtime_status)
        }
        LobbyEvent::GameFinished { game_id, final_turn_number, runtime_status, .. } => {
            (game_id.to_string(), final_turn_number, runtime_status)
        }
    };
    let audit = audits.entry(game.clone()).or_default();
    if audit.finished {
        wrong.push(format!("{game}: something comes after the end"));
    }
    match audit.turns.last() {
        None if turn == 0 => audit.turns.push(0),
        Some(last) if turn == last + 1 => audit.turns.push(turn),
        // A change of status or health without a new turn.
        Some(last) if turn == *last => {}
        known => wrong.push(format!("{game}: turn {turn} comes after {known:?}")),
    }
    audit.finished = status == Status::Finished;
}

/// Every entry of a stream.
pub async fn everything(streams: &dyn Streams, stream: &str) -> Result<Vec<Entry>, StreamError> {
    let mut entries: Vec<Entry> = vec![];
    loop {
        let after = entries.last().map_or(StreamId::ZERO, |entry| entry.id);
        let more = streams.read(stream, after, 1000, std::time::Duration::ZERO).await?;
        if more.is_empty() {
            return Ok(entries);
        }
        entries.extend(more);
    }
}
