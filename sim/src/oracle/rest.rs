//! Whether everything has come to rest after the faults.

use std::collections::BTreeSet;

use machine::{Life, Runtime, Status, Timestamp};

use super::Oracle;

/// What has not come to rest yet. A game that was at rest once counts as such from then on: games
/// that go on are never all at rest at the same time.
pub struct Unrest {
    /// How late a turn may be and still count as on time.
    late_ms: i64,
    rested: BTreeSet<String>,
    is_published: bool,
}

impl Unrest {
    /// Nothing has been looked at yet.
    pub fn new(late_ms: i64) -> Self {
        Self { late_ms, rested: BTreeSet::new(), is_published: false }
    }

    /// Looks again; what is still open, in words.
    pub fn look(&mut self, oracle: &Oracle, games: &[String], now: Timestamp) -> Vec<String> {
        let records = oracle.records();
        let mut open = Vec::new();
        for game in games.iter().filter(|game| !self.rested.contains(*game)) {
            let record = records.get(game).and_then(Option::as_deref);
            match record.map_or(Some("has no record"), |rt| restless(rt, now, self.late_ms)) {
                Some(_) if oracle.is_excused(game) && record.is_some() => {}
                Some(_) if oracle.is_empty(game) && record.is_none() => {}
                Some(why) => open.push(format!("{game} {why}")),
                None if record.is_some_and(is_played) && !oracle.is_heard(game) => {
                    open.push(format!("{game} answers no player"));
                }
                None => {}
            }
        }
        let open_games: BTreeSet<&str> =
            open.iter().filter_map(|text| text.split(' ').next()).collect();
        let rested = games.iter().filter(|game| !open_games.contains(game.as_str()));
        self.rested.extend(rested.cloned().collect::<Vec<_>>());
        open.extend(oracle.unheard());
        if !self.is_published {
            let owed = oracle.owed();
            self.is_published = owed.is_empty();
            open.extend(owed.into_iter().map(|owed| format!("{owed} not published")));
        }
        open
    }
}

fn is_played(rt: &Runtime) -> bool {
    matches!(rt.life, Life::Running { .. })
}

/// Why a record is not at rest.
fn restless(rt: &Runtime, now: Timestamp, most_ms: i64) -> Option<&'static str> {
    if rt.pending().is_some() {
        return Some("waits for Runtime Manager");
    }
    match &rt.life {
        Life::Stopped { .. } | Life::Finished { .. } => None,
        Life::Running { clock, .. } => {
            let late_ms = (now - clock.next_generation_at).num_milliseconds();
            (late_ms > most_ms).then_some("is late with a turn")
        }
        Life::Starting { .. } => Some("is starting"),
        Life::Generating { .. } => Some("generates a turn"),
        // A failed turn of an engine without a guard is an operator's to judge.
        Life::Failed { repair, .. } => {
            let waits = repair.probe.is_none() && repair.retry_at.is_none();
            (rt.engine.turn_guard || !waits).then_some("is failed")
        }
        Life::Unreachable { .. } => Some("has an unreachable engine"),
    }
}

impl Oracle {
    fn is_heard(&self, game: &str) -> bool {
        super::lock(&self.inner).heard.contains(game)
    }

    /// The games that have not been told of the end of a container.
    fn unheard(&self) -> Vec<String> {
        let inner = super::lock(&self.inner);
        let is_owed = |rt: &Runtime| !rt.status().is_final() && inner.hearing.is_owed(rt.into());
        let records =
            inner.games.iter().filter_map(|(game, ledger)| Some((game, ledger.last.as_deref()?)));
        let unheard = records.filter(|(_, rt)| is_owed(rt));
        unheard.map(|(game, _)| format!("{game} has not heard of an end")).collect()
    }

    /// The games whose engine is to be asked again by an operator.
    pub fn unwell(&self) -> Vec<String> {
        let records = self.records();
        let unwell = records.iter().filter(|(_, record)| {
            record.as_ref().is_some_and(|rt| {
                matches!(rt.status(), Status::GenerationFailed | Status::EngineUnreachable)
            })
        });
        unwell.map(|(game, _)| game.clone()).collect()
    }
}
