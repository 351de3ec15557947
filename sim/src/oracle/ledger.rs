//! What was committed of one game, and how much of it its streams have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::{GameId, LobbyEvent, Message, Runtime};

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    /// The last record committed; `None`: absent.
    pub(super) last: Option<Arc<Runtime>>,
    /// Status and turn by revision; a game that is registered again has several.
    revisions: BTreeMap<u64, BTreeSet<(&'static str, u32)>>,
    /// The same in the order of their commits, each with its instant; `None`: absent.
    history: Vec<(i64, Option<Seen>)>,
    /// Events for Lobby, in the order of their commits.
    events: Vec<String>,
    /// How many of them are on the stream.
    published: usize,
    /// Intents by their keys, in the order of their commits.
    intents: Vec<(String, BTreeSet<String>)>,
    /// Keys that came to the stream, in the order in which they first did.
    intended: Vec<String>,
}

/// What an answer shows of a record: its revision, its status and its turn.
pub(super) type Seen = (u64, &'static str, u32);

/// From when to when something was under way, in simulated milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct While {
    /// It was asked.
    pub asked_ms: i64,
    /// It was answered.
    pub answered_ms: i64,
}

impl Ledger {
    pub(super) fn committed(
        &mut self,
        after: Option<&Arc<Runtime>>,
        messages: &[Message],
        at_ms: i64,
    ) {
        let seen = after.map(|rt| (rt.revision, rt.status().as_str(), rt.current_turn));
        self.history.push((at_ms, seen));
        if let Some(rt) = after {
            let known = self.revisions.entry(rt.revision).or_default();
            known.insert((rt.status().as_str(), rt.current_turn));
        }
        self.last = after.cloned();
        for message in messages {
            let text = serde_json::to_string(message).unwrap_or_default();
            match message {
                Message::Lobby(_) => self.events.push(text),
                Message::Intent(intent) => {
                    let key = &intent.idempotency_key;
                    match self.intents.iter_mut().find(|(known, _)| known == key) {
                        Some((_, texts)) => drop(texts.insert(text)),
                        None => self.intents.push((key.clone(), BTreeSet::from([text]))),
                    }
                }
            }
        }
    }

    /// Whether a record like this was ever committed.
    pub(super) fn knows(&self, revision: u64, status: &str, turn: u32) -> bool {
        let known = self.revisions.get(&revision);
        known.is_some_and(|known| known.iter().any(|(s, t)| *s == status && *t == turn))
    }

    /// Whether a record like this, or none, was the current one at some instant of a while.
    pub(super) fn was(&self, shown: Option<(u64, &str, u32)>, during: While) -> bool {
        self.was_so(during, |seen| seen == shown)
    }

    /// Whether the current record had this status at some instant of a while.
    pub(super) fn had_status(&self, status: &str, during: While) -> bool {
        self.was_so(during, |seen| seen.is_some_and(|(_, its, _)| its == status))
    }

    fn was_so(&self, during: While, is_so: impl Fn(Option<Seen>) -> bool) -> bool {
        let mut until_ms = i64::MAX;
        for (since_ms, seen) in self.history.iter().rev() {
            if until_ms < during.asked_ms {
                return false;
            }
            if *since_ms <= during.answered_ms && is_so(*seen) {
                return true;
            }
            until_ms = *since_ms;
        }
        // Before the first commit there was nothing.
        until_ms >= during.asked_ms && is_so(None)
    }

    /// The next entry of the stream; what is wrong with it, if anything.
    pub(super) fn published(&mut self, text: &str) -> Option<&'static str> {
        let next = self.events.get(self.published).map(String::as_str);
        if next == Some(text) {
            self.published += 1;
            return None;
        }
        let place = self.events.iter().position(|event| event == text);
        Some(match place {
            None => "an event is published that was not committed",
            Some(place) if place < self.published => "an event is published twice",
            Some(_) => "an event is published before its predecessor",
        })
    }

    pub(super) fn forget_published(&mut self) {
        self.published = 0;
    }

    /// An intent comes to its stream, perhaps again; what is wrong with it, if anything.
    pub(super) fn intended(
        &mut self,
        key: &str,
        text: &str,
        is_strict: bool,
    ) -> Option<&'static str> {
        let committed = self.intents.iter().find(|(known, _)| known == key);
        if !committed.is_some_and(|(_, texts)| texts.contains(text)) {
            return Some("an intent is published that was not committed");
        }
        if self.intended.iter().any(|known| known == key) {
            return None;
        }
        let next = self.intents.get(self.intended.len()).map(|(known, _)| known.as_str());
        self.intended.push(key.to_owned());
        if is_strict && next != Some(key) {
            return Some("an intent is published before its predecessor");
        }
        None
    }

    /// What is not on the streams yet.
    pub(super) fn owes(&self, with_intents: bool) -> Option<String> {
        let events = self.events.len() - self.published;
        let intents = self.intents.len().saturating_sub(self.intended.len());
        if events > 0 {
            return Some(format!("{events} of {} events", self.events.len()));
        }
        (with_intents && intents > 0).then(|| format!("{intents} intents"))
    }
}

/// Whether the turn and the health that a record says were told are told by its commit: a turn to Lobby
/// and to the players.
pub(super) fn is_told(
    before: Option<&Runtime>,
    after: Option<&Runtime>,
    messages: &[Message],
) -> bool {
    let Some(after) = after else { return true };
    let turn = before.map_or(0, |rt| rt.current_turn);
    let published = before.and_then(|rt| rt.health.published);
    if after.current_turn == turn && after.health.published == published {
        return true;
    }
    let players_are_told = messages.iter().any(|message| matches!(message, Message::Intent(_)));
    if after.current_turn > turn && !players_are_told {
        return false;
    }
    messages.iter().any(|message| match message {
        Message::Lobby(LobbyEvent::RuntimeSnapshotUpdate { current_turn, .. }) => {
            *current_turn == after.current_turn
        }
        Message::Lobby(LobbyEvent::GameFinished { final_turn_number, .. }) => {
            *final_turn_number == after.current_turn
        }
        Message::Intent(_) => false,
    })
}

pub(super) fn game_of(event: &LobbyEvent) -> &GameId {
    match event {
        LobbyEvent::RuntimeSnapshotUpdate { game_id, .. }
        | LobbyEvent::GameFinished { game_id, .. } => game_id,
    }
}

pub(super) fn shown(event: &LobbyEvent) -> String {
    match event {
        LobbyEvent::RuntimeSnapshotUpdate { current_turn, runtime_status, .. } => {
            format!("snapshot {} at turn {current_turn}", runtime_status.as_str())
        }
        LobbyEvent::GameFinished { final_turn_number, .. } => {
            format!("game finished at turn {final_turn_number}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(events: &[&str]) -> Ledger {
        Ledger { events: events.iter().map(|&e| e.to_owned()).collect(), ..Ledger::default() }
    }

    #[test]
    fn sees_events_that_are_lost_doubled_reordered_or_invented() {
        let mut told = ledger(&["a", "b", "c"]);
        assert_eq!(told.published("a"), None);
        assert!(told.published("a").is_some_and(|how| how.contains("twice")));
        assert!(told.published("c").is_some_and(|how| how.contains("before")));
        assert!(told.published("x").is_some_and(|how| how.contains("not committed")));
        assert_eq!(told.owes(true).as_deref(), Some("2 of 3 events"));
        assert_eq!((told.published("b"), told.published("c")), (None, None));
        assert_eq!(told.owes(true), None);
    }

    #[test]
    fn an_answer_is_of_its_time_where_it_was_true_at_some_instant_of_it() {
        let history = vec![
            (10, Some((1, "running", 0))),
            (20, Some((2, "running", 1))),
            (30, None),
            (40, Some((1, "running", 0))),
        ];
        let told = Ledger { history, ..Ledger::default() };
        let was = |shown, asked_ms, answered_ms| told.was(shown, While { asked_ms, answered_ms });
        for (shown, asked_ms, answered_ms, expected) in [
            (None, 0, 9, true),
            (None, 11, 29, false),
            (None, 11, 30, true),
            (Some((1, "running", 0)), 0, 9, false),
            (Some((1, "running", 0)), 15, 18, true),
            (Some((1, "running", 0)), 21, 39, false),
            (Some((1, "running", 0)), 21, 40, true),
            (Some((2, "running", 1)), 5, 19, false),
            (Some((2, "running", 1)), 25, 90, true),
            (Some((2, "running", 1)), 31, 90, false),
            (Some((2, "stopped", 1)), 0, 90, false),
        ] {
            assert_eq!(was(shown, asked_ms, answered_ms), expected, "{shown:?} from {asked_ms}");
        }
        let ran =
            |asked_ms, answered_ms| told.had_status("running", While { asked_ms, answered_ms });
        assert!(!ran(0, 9) && ran(5, 10) && ran(5, 90) && !ran(31, 39) && ran(31, 40));
        assert!(!told.had_status("stopped", While { asked_ms: 0, answered_ms: 90 }));
    }

    #[test]
    fn an_intent_may_come_again_but_not_early() {
        let intent = |key: &str| (key.to_owned(), BTreeSet::from([format!("text {key}")]));
        let mut told = Ledger { intents: vec![intent("a"), intent("b")], ..Ledger::default() };
        assert!(told.intended("b", "text b", true).is_some());
        let mut told = Ledger { intents: vec![intent("a"), intent("b")], ..Ledger::default() };
        assert_eq!(told.intended("a", "text a", true), None);
        assert_eq!(told.intended("a", "text a", true), None);
        assert!(told.intended("a", "other", true).is_some());
        assert_eq!(told.owes(true).as_deref(), Some("1 intents"));
        assert_eq!(told.owes(false), None);
    }
}
