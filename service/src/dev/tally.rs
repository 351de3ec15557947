//! What happened to the games, counted.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine::{Life, Runtime, Status};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Turns that the engine answered with.
    pub(super) generated: u64,
    /// Turns whose answer was lost, found with the engine afterwards.
    pub(super) adopted: u64,
    /// Turns that failed.
    pub(super) failed: u64,
    /// Times the engine was out of reach.
    pub(super) unreachable: u64,
    /// Ways back from either.
    pub(super) recovered: u64,
    /// Engines started again.
    pub(super) restarts: u64,
    /// Calls of players that were refused or not answered.
    pub(super) calls: u64,
    /// Times an operator was needed.
    pub(super) operator: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.generated += more.generated;
        self.adopted += more.adopted;
        self.failed += more.failed;
        self.unreachable += more.unreachable;
        self.recovered += more.recovered;
        self.restarts += more.restarts;
        self.calls += more.calls;
        self.operator += more.operator;
    }
}

/// What came between two looks, the earlier one on the right.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            generated: self.generated.saturating_sub(before.generated),
            adopted: self.adopted.saturating_sub(before.adopted),
            failed: self.failed.saturating_sub(before.failed),
            unreachable: self.unreachable.saturating_sub(before.unreachable),
            recovered: self.recovered.saturating_sub(before.recovered),
            restarts: self.restarts.saturating_sub(before.restarts),
            calls: self.calls.saturating_sub(before.calls),
            operator: self.operator.saturating_sub(before.operator),
        }
    }
}

/// The counts of each game; clones count in the same place.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<String, Counts>>>);

impl Tally {
    /// Counts something of a game.
    pub(super) fn count(&self, game: &str, what: impl FnOnce(&mut Counts)) {
        what(self.games().entry(game.to_owned()).or_default());
    }

    /// Counts what a change of a record means.
    pub(super) fn change(&self, before: Option<&Runtime>, after: &Runtime, event: &str) {
        let Some(before) = before else { return };
        let (was, is) = (before.status(), after.status());
        let ill = |status| matches!(status, Status::GenerationFailed | Status::EngineUnreachable);
        self.count(after.game_id.as_str(), |counts| {
            if after.current_turn > before.current_turn {
                let told = event == "turn_done";
                *(if told { &mut counts.generated } else { &mut counts.adopted }) += 1;
            }
            if was != is {
                match &after.life {
                    Life::Failed { .. } => counts.failed += 1,
                    Life::Unreachable { .. } => counts.unreachable += 1,
                    Life::Running { .. } | Life::Generating { .. } | Life::Finished { .. }
                        if ill(was) =>
                    {
                        counts.recovered += 1;
                    }
                    Life::Starting { .. }
                    | Life::Running { .. }
                    | Life::Generating { .. }
                    | Life::Stopped { .. }
                    | Life::Finished { .. } => {}
                }
            }
        });
    }

    /// The counts of one game, or of all together.
    pub(super) fn of(&self, game: Option<&str>) -> Counts {
        let games = self.games();
        match game {
            Some(game) => games.get(game).copied().unwrap_or_default(),
            None => games.values().fold(Counts::default(), |mut all, counts| {
                all += *counts;
                all
            }),
        }
    }

    fn games(&self) -> MutexGuard<'_, BTreeMap<String, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
