//! What Lobby knows about a running game: Game Master's events, put together for people to look at.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::messages::{GameEvent, PlayerTurnStats};

/// How many of the last events of a game are remembered in order to recognise a repeated one.
pub const REMEMBERED_EVENTS: usize = 64;

/// The denormalised view of one game's runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeView {
    /// Game Master's status; none before its first event.
    pub runtime_status: Option<String>,
    /// The last turn generated.
    pub current_turn: Option<u32>,
    /// Summary of the engine's health.
    pub engine_health: Option<String>,
    /// Everybody's standing, by user.
    pub players: BTreeMap<String, PlayerView>,
    /// When the last event happened.
    pub last_event_at_ms: Option<u64>,
    /// When the game finished.
    pub finished_at_ms: Option<u64>,
    /// Fingerprints of the last events.
    seen: VecDeque<u64>,
}

/// One player's standing, and how far they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerView {
    /// At the first event of the game.
    pub initial: Standing,
    /// At the last one.
    pub current: Standing,
    /// The most they ever had, each figure for itself.
    pub maximum: Standing,
    /// Set at the finish: whether they qualified (see [`is_capable`]).
    pub capable: Option<bool>,
}

/// Planets and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Planets owned.
    pub planets: u64,
    /// People on them.
    pub population: u64,
}

/// What an event did to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The view is newer now.
    Updated,
    /// The game has finished.
    Finished,
    /// Known already, or older than what is known: nothing changed.
    Repeated,
}

impl RuntimeView {
    /// Applies an event. `fingerprint` is that of its bytes (see [`fingerprint`]).
    ///
    /// SUBTLE: comparing times instead of remembering fingerprints would be simpler, and would
    /// swallow true events after Game Master's clock stepped back.
    pub fn apply(&mut self, event: &GameEvent, fingerprint: u64) -> Applied {
        let turn = match event {
            GameEvent::RuntimeSnapshotUpdate { current_turn, .. } => *current_turn,
            GameEvent::GameFinished { final_turn_number, .. } => *final_turn_number,
        };
        let is_older = self.current_turn.is_some_and(|known| turn < known);
        if self.is_finished() || is_older || self.seen.contains(&fingerprint) {
            return Applied::Repeated;
        }
        self.seen.push_back(fingerprint);
        if self.seen.len() > REMEMBERED_EVENTS {
            self.seen.pop_front();
        }
        self.current_turn = Some(turn);
        match event {
            GameEvent::RuntimeSnapshotUpdate {
                game_id: _,
                current_turn: _,
                runtime_status,
                engine_health_summary,
                player_turn_stats,
                occurred_at_ms,
            } => {
                self.runtime_status = Some(runtime_status.clone());
                self.engine_health = Some(engine_health_summary.clone());
                self.last_event_at_ms = Some(*occurred_at_ms);
                self.note(player_turn_stats);
                Applied::Updated
            }
            GameEvent::GameFinished {
                game_id: _,
                final_turn_number: _,
                runtime_status,
                player_turn_stats,
                finished_at_ms,
            } => {
                self.runtime_status = Some(runtime_status.clone());
                self.last_event_at_ms = Some(*finished_at_ms);
                self.finished_at_ms = Some(*finished_at_ms);
                self.note(player_turn_stats);
                Applied::Finished
            }
        }
    }

    /// Whether the last event of the game was seen.
    pub fn is_finished(&self) -> bool {
        self.finished_at_ms.is_some()
    }

    /// Decides, once, who qualified. `is_active` says who is still a member in good standing.
    pub fn evaluate(&mut self, is_active: impl Fn(&str) -> bool) {
        for (user_id, player) in &mut self.players {
            if player.capable.is_none() {
                player.capable = Some(is_capable(player, is_active(user_id)));
            }
        }
    }

    /// Those who qualified, once the game has finished.
    pub fn capable_users(&self) -> Vec<String> {
        let capable = self.players.iter().filter(|(_, player)| player.capable == Some(true));
        capable.map(|(user_id, _)| user_id.clone()).collect()
    }

    fn note(&mut self, stats: &[PlayerTurnStats]) {
        for stat in stats {
            let standing = Standing { planets: stat.planets, population: stat.population };
            let first = || PlayerView { initial: standing, ..PlayerView::default() };
            let player = self.players.entry(stat.user_id.clone()).or_insert_with(first);
            player.current = standing;
            player.maximum.planets = player.maximum.planets.max(standing.planets);
            player.maximum.population = player.maximum.population.max(standing.population);
        }
    }
}

/// Who qualifies for games of the next size: an active member who at some time had both more
/// planets and more people than at the start.
pub fn is_capable(player: &PlayerView, is_active: bool) -> bool {
    is_active
        && player.maximum.planets > player.initial.planets
        && player.maximum.population > player.initial.population
}

/// A short, stable mark of an event's bytes (FNV-1a). It recognises repetitions and protects
/// against nothing else.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(turn: u32, status: &str, planets: u64, population: u64, at: u64) -> GameEvent {
        GameEvent::RuntimeSnapshotUpdate {
            game_id: "g".into(),
            current_turn: turn,
            runtime_status: status.into(),
            engine_health_summary: "healthy".into(),
            player_turn_stats: vec![PlayerTurnStats { user_id: "u".into(), planets, population }],
            occurred_at_ms: at,
        }
    }

    fn feed(view: &mut RuntimeView, event: &GameEvent) -> Applied {
        view.apply(event, fingerprint(&serde_json::to_vec(event).unwrap()))
    }

    #[test]
    fn keeps_initial_current_and_maximum() {
        let mut view = RuntimeView::default();
        for (turn, planets, population) in [(0, 2, 100), (1, 5, 90), (2, 3, 400), (3, 1, 10)] {
            let event = snapshot(turn, "running", planets, population, u64::from(turn));
            assert_eq!(feed(&mut view, &event), Applied::Updated);
        }
        let player = &view.players["u"];
        assert_eq!(player.initial, Standing { planets: 2, population: 100 });
        assert_eq!(player.current, Standing { planets: 1, population: 10 });
        assert_eq!(player.maximum, Standing { planets: 5, population: 400 });
    }

    #[test]
    fn a_repeated_event_does_not_turn_the_view_back() {
        let mut view = RuntimeView::default();
        let down = snapshot(1, "engine_unreachable", 1, 1, 50);
        // The clock stepped back in between: still a true event.
        let up = snapshot(1, "running", 1, 1, 40);
        for event in [&down, &up] {
            assert_eq!(feed(&mut view, event), Applied::Updated);
        }
        let before = view.clone();
        for event in [&down, &up, &snapshot(0, "running", 9, 9, 60)] {
            assert_eq!(feed(&mut view, event), Applied::Repeated);
        }
        assert_eq!(view, before);
    }

    #[test]
    fn the_finish_is_the_last_word() {
        let mut view = RuntimeView::default();
        feed(&mut view, &snapshot(0, "running", 1, 1, 1));
        let finish = GameEvent::GameFinished {
            game_id: "g".into(),
            final_turn_number: 1,
            runtime_status: "finished".into(),
            player_turn_stats: vec![],
            finished_at_ms: 2,
        };
        assert_eq!(feed(&mut view, &finish), Applied::Finished);
        assert_eq!(feed(&mut view, &finish), Applied::Repeated);
        assert_eq!(feed(&mut view, &snapshot(2, "running", 1, 1, 3)), Applied::Repeated);
    }

    #[test]
    fn qualifying_takes_both_figures_and_membership() {
        let standing = |planets, population| Standing { planets, population };
        let player = |maximum| PlayerView {
            initial: standing(2, 100),
            current: standing(0, 0),
            maximum,
            capable: None,
        };
        assert!(is_capable(&player(standing(3, 101)), true));
        assert!(!is_capable(&player(standing(3, 101)), false));
        assert!(!is_capable(&player(standing(2, 500)), true));
        assert!(!is_capable(&player(standing(9, 100)), true));
    }
}
