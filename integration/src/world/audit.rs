//! What must hold at the end of every scenario, whatever happened in it: read from the database,
//! the streams and the engines, never from what a Game Master says of itself. The names are those
//! of `docs/lifecycle.md`.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Runtime, Status};
use serde_json::Value;
use service::ports::Streams;

use super::neighbours::turns_of;
use super::{Part, World, ledger};
use crate::harness::{Audit, audit_streams, everything, until};

const LOBBY_EVENTS: &str = "gm:lobby_events";
const INTENTS: &str = "notification:intents";
/// Counters of a Game Master that stay at zero.
const NEVER: [&str; 2] =
    ["gamemaster_invariant_violations_total", "gamemaster_panics_contained_total"];

impl World {
    /// Has all parts behave, waits until everything comes to rest, stops the games that go on, and
    /// holds what must hold. Game Master and Runtime Manager must be there.
    ///
    /// # Panics
    /// With a list of everything that is wrong.
    #[expect(clippy::panic, reason = "failed expectations of a test")]
    pub async fn audit(&self) {
        let wrong = self.complaints().await;
        if !wrong.is_empty() {
            panic!("after everything came to rest:\n  {}", wrong.join("\n  "));
        }
    }

    /// The same, and what is wrong.
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    pub async fn complaints(&self) -> Vec<String> {
        self.behave().await;
        let store = self.store();
        let ran = self.come_to_rest(&*store).await;
        let ledger = self.ledger().await;
        until("every operation to be closed", async || {
            ledger::open_operations(&ledger).await.is_empty().then_some(())
        })
        .await;
        until("the outbox to be empty", async || {
            (ledger::waiting(&ledger).await == 0).then_some(())
        })
        .await;

        let mut wrong = ledger::complaints(&ledger).await;
        let streams = self.streams();
        let told = match audit_streams(&*streams).await {
            Ok(Ok(told)) => told,
            Ok(Err(complaints)) => {
                wrong.extend(complaints);
                BTreeMap::new()
            }
            Err(error) => panic!("the streams cannot be read: {error}"),
        };
        wrong.extend(follow_commits(&*streams, &ledger::published(&ledger).await).await);
        let records = self.records(&*store).await;
        for record in &records {
            let game = record.game_id.as_str();
            let complain = |complaint: String| format!("{game}: {complaint}");
            if let Err(violation) = record.check() {
                wrong.push(complain(violation.to_string()));
            }
            let told = told.get(game).cloned().unwrap_or_default();
            wrong.extend(as_told(record, &told).into_iter().map(complain));
            let ran = ran.get(game).copied().unwrap_or(false)
                || ledger::last_turn_was_answered(&ledger, game).await;
            wrong.extend(self.as_generated(record, ran).await.into_iter().map(complain));
        }
        wrong.extend(self.as_lobby_sees(&records).await);
        wrong.extend(self.as_the_processes_say().await);
        wrong
    }

    /// `no_turn_generated_twice`: the engine's turns are 1..n, each once, and n is the record's;
    /// one more where the game was not running in the end and its last answer was lost.
    async fn as_generated(&self, record: &Runtime, ran: bool) -> Vec<String> {
        let game = record.game_id.as_str();
        let turns = match self.turns_on_disk(game) {
            Some(turns) => turns,
            None if self.rtm().runtime(game).await.is_some() => {
                // Cleaned up after the end, or never initialised.
                let is_over = record.status() == Status::Finished || record.current_turn == 0;
                return if is_over { vec![] } else { vec!["its engine's game is gone".to_owned()] };
            }
            None => return self.as_a_stranger_generated(record).await,
        };
        let recorded = u64::from(record.current_turn);
        let ahead = (turns.len() as u64).checked_sub(recorded);
        let is_even = ahead == Some(0) || (ahead == Some(1) && !ran);
        let mut wrong = vec![];
        if !turns.iter().copied().eq(1..=turns.len() as u64) {
            wrong.push(format!("no_turn_generated_twice: the engine generated {turns:?}"));
        }
        if !is_even {
            let there = turns.len();
            wrong.push(format!("no_turn_twice: recorded {recorded}, the engine is at {there}"));
        }
        wrong
    }

    /// The same for an engine that Runtime Manager cannot stop: some moment at which both agree.
    async fn as_a_stranger_generated(&self, record: &Runtime) -> Vec<String> {
        let endpoint = record.engine.endpoint.as_str().to_owned();
        let address = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok());
        let Some(address) = address else { return vec![format!("no engine at {endpoint}")] };
        let engine = super::Ask::new("engine", address, None);
        let (gm, game) = (self.gm(), record.game_id.as_str());
        let turns = until(&format!("{game} to agree with its engine"), async || {
            let before = gm.runtime(game).await?;
            let turns = turns_of(&engine.get("/_log").await?)?;
            let after = gm.runtime(game).await?;
            let is_still = before.0["revision"] == after.0["revision"];
            (is_still && turns.len() as u64 == after.turn()).then_some(turns)
        })
        .await;
        let is_once = turns.iter().copied().eq(1..=turns.len() as u64);
        let complaint = || format!("no_turn_generated_twice: the engine generated {turns:?}");
        if is_once { vec![] } else { vec![complaint()] }
    }

    /// The turns of a game that Runtime Manager had an engine for, as the engine saved them: what
    /// `/_log` says while it is up.
    fn turns_on_disk(&self, game: &str) -> Option<Vec<u64>> {
        let saved = std::fs::read(self.engine_state_file(game)).ok()?;
        let saved: Value = serde_json::from_slice(&saved).ok()?;
        turns_of(&saved["log"])
    }

    /// Lobby's view comes to agree with the records, and it could read everything.
    async fn as_lobby_sees(&self, records: &[std::sync::Arc<Runtime>]) -> Vec<String> {
        let mut wrong = vec![];
        for record in records {
            let game = record.game_id.as_str();
            if self.lobby().game(game).await.is_none() {
                continue;
            }
            self.lobby()
                .until(
                    game,
                    &format!("to see {:?} {}", record.status(), record.current_turn),
                    |seen| {
                        let runtime = &seen["runtime"];
                        runtime["runtime_status"] == record.status().as_str()
                            && runtime["current_turn"] == record.current_turn
                    },
                )
                .await;
        }
        for part in [Part::Lobby, Part::Rtm, Part::Notification] {
            if !self.runs(part).await {
                continue;
            }
            let counters = self.ask(part).get("/_counters").await.unwrap_or_default();
            if counters["undecodable"] != 0 {
                wrong.push(format!("{part} could not read everything: {counters}"));
            }
        }
        wrong
    }

    /// Nobody panicked, and no Game Master found a rule broken.
    async fn as_the_processes_say(&self) -> Vec<String> {
        let mut wrong = vec![];
        for (part, lines) in self.output().await {
            let panics = lines.iter().filter(|line| line.contains("panicked at"));
            wrong.extend(panics.map(|line| format!("{part}: {line}")));
        }
        for number in 1..=self.setup.game_masters {
            if !self.runs(Part::GameMaster(number)).await {
                continue;
            }
            let metrics = self.gm_at(number).admin().text("/metrics").await.unwrap_or_default();
            for name in NEVER {
                let mut lines = metrics.lines().filter(|line| line.starts_with(name)).peekable();
                if lines.peek().is_none() {
                    wrong.push(format!("gm-{number} does not say {name}"));
                }
                let grown = lines.filter(|line| !line.ends_with(" 0"));
                wrong.extend(grown.map(|line| format!("gm-{number}: {line}")));
            }
        }
        wrong
    }
}

/// `messages_follow_commits`: the stream holds what was committed, each once, in order; the
/// players' stream at least once, among what others say.
async fn follow_commits(streams: &dyn Streams, sent: &[ledger::Sent]) -> Vec<String> {
    let mut wrong = vec![];
    let on = |channel: &str| {
        let of_it = sent.iter().filter(|sent| sent.channel == channel);
        of_it.map(|sent| (sent.id.clone(), sent.payload.clone())).collect::<Vec<_>>()
    };
    let read = async |stream: &str| match everything(streams, stream).await {
        Ok(entries) => entries
            .into_iter()
            .map(|entry| {
                (entry.id.to_string(), String::from_utf8_lossy(&entry.payload).into_owned())
            })
            .collect::<Vec<_>>(),
        Err(error) => vec![(String::new(), error.to_string())],
    };
    let (committed, published) = (on(LOBBY_EVENTS), read(LOBBY_EVENTS).await);
    if committed != published {
        let at = committed.iter().zip(&published).take_while(|(a, b)| a == b).count();
        wrong.push(format!(
            "messages_follow_commits: {} committed, {} published; from {at} on {:?} against {:?}",
            committed.len(),
            published.len(),
            committed.get(at),
            published.get(at),
        ));
    }
    let there: BTreeSet<String> = read(INTENTS).await.into_iter().map(|(_, text)| text).collect();
    let missing = on(INTENTS).into_iter().filter(|(_, payload)| !there.contains(payload));
    wrong.extend(missing.map(|(_, lost)| format!("messages_follow_commits: lost {lost}")));
    wrong
}

/// What Lobby and the players were told of a game is what the record says.
fn as_told(record: &Runtime, told: &Audit) -> Vec<String> {
    let mut wrong = vec![];
    let turn = record.current_turn;
    if told.turns.last().copied() != Some(turn) {
        wrong.push(format!("messages_follow_commits: at turn {turn}, told {:?}", told.turns));
    }
    let is_finished = record.status() == Status::Finished;
    if told.finished != is_finished {
        wrong.push(format!("finished_is_final: {is_finished} here, {} told", told.finished));
    }
    // The turn that ends a game is told of as its end.
    let ready: BTreeSet<u32> = (1..=turn).filter(|n| !is_finished || *n < turn).collect();
    let more: Vec<_> = told.notified.difference(&(1..=turn).collect()).copied().collect();
    if !told.notified.is_superset(&ready) || !more.is_empty() {
        wrong.push(format!("messages_follow_commits: players were told of {:?}", told.notified));
    }
    wrong
}
