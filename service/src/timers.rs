//! When which record wants attention: an in-process queue, fed by commits and filled up from the
//! store, so that nobody polls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;
use machine::{GameId, Timestamp};
use tokio::sync::Notify;

/// How long a timer is left to the process that strikes it first.
pub const GRACE: TimeDelta = TimeDelta::milliseconds(500);

/// The first timer of each record that strikes within the horizon.
///
/// Bounded by what is due within the horizon, which the store is asked for again before it is
/// reached; what lies beyond is left to the store.
pub struct TimerQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    by_time: BTreeSet<(Timestamp, GameId)>,
    by_game: BTreeMap<GameId, Timestamp>,
    /// Those in the queue that were left to somebody else first.
    left: BTreeSet<GameId>,
    horizon: Timestamp,
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Notify::new() }
    }
}

impl TimerQueue {
    /// Sets or clears the timer of a game.
    pub fn set(&self, game: &GameId, at: Option<Timestamp>) {
        let mut state = self.lock();
        state.clear(game);
        if let Some(at) = at.filter(|at| *at <= state.horizon) {
            state.insert(game.clone(), at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Moves the horizon and takes in what the store says is due until then.
    pub fn fill(&self, horizon: Timestamp, due: impl IntoIterator<Item = (Timestamp, GameId)>) {
        let mut state = self.lock();
        state.horizon = state.horizon.max(horizon);
        for (at, game) in due {
            // What commits said meanwhile is newer than what the store was asked for.
            if !state.by_game.contains_key(&game) {
                state.insert(game, at);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets everything: the store is to be asked again.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.by_time.clear();
        state.by_game.clear();
        state.left.clear();
    }

    /// Puts a game that could not be dealt with back, to be tried again a little later.
    pub fn postpone(&self, game: &GameId, now: Timestamp, by: TimeDelta) {
        let mut state = self.lock();
        if !state.by_game.contains_key(game) {
            state.insert(game.clone(), now + by);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The games that are due, the earliest first, at most `max`; they leave the queue. One that is
    /// not `ours` is left for [`GRACE`] to whoever strikes it first, and is due after that.
    pub fn pop_due(
        &self,
        now: Timestamp,
        max: usize,
        ours: impl Fn(&GameId) -> bool,
    ) -> Vec<GameId> {
        let mut state = self.lock();
        let mut due = vec![];
        while due.len() < max {
            let Some((at, game)) = state.by_time.first().cloned() else { break };
            if at > now {
                break;
            }
            let was_left = state.left.contains(&game);
            state.clear(&game);
            if was_left || ours(&game) {
                due.push(game);
            } else {
                // SUBTLE: from now, and not from when it was due: a backlog is not struck by
                // everybody at once.
                state.insert(game.clone(), now + GRACE);
                state.left.insert(game);
            }
        }
        due
    }

    /// How many are due, and since when the first of them.
    pub fn overdue(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let state = self.lock();
        let mut due = state.by_time.iter().map(|(at, _)| *at).take_while(|at| *at <= now);
        let first = due.next();
        (due.count() + usize::from(first.is_some()), first)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.lock().by_time.first().map(|(at, _)| *at)
    }

    /// Woken when the queue changes.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, game: GameId, at: Timestamp) {
        self.by_time.insert((at, game.clone()));
        self.by_game.insert(game, at);
    }

    fn clear(&mut self, game: &GameId) {
        self.left.remove(game);
        if let Some(at) = self.by_game.remove(game) {
            self.by_time.remove(&(at, game.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn game(name: &str) -> GameId {
        name.parse().expect("valid")
    }

    #[test]
    fn a_game_has_one_timer_and_the_earliest_comes_first() {
        let queue = TimerQueue::default();
        queue.fill(at(100), []);
        queue.set(&game("a"), Some(at(30)));
        queue.set(&game("b"), Some(at(20)));
        queue.set(&game("a"), Some(at(10)));
        assert_eq!(queue.next(), Some(at(10)));
        assert_eq!(queue.pop_due(at(25), 10, |_| true), [game("a"), game("b")]);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn what_a_commit_said_is_not_overwritten_by_an_older_answer_of_the_store() {
        let queue = TimerQueue::default();
        queue.fill(at(100), []);
        queue.set(&game("a"), Some(at(50)));
        queue.fill(at(200), [(at(10), game("a")), (at(150), game("b"))]);
        assert_eq!(queue.pop_due(at(40), 10, |_| true), [] as [GameId; 0]);
        assert_eq!(queue.pop_due(at(150), 10, |_| true), [game("a"), game("b")]);
    }

    #[test]
    fn what_lies_beyond_the_horizon_is_left_to_the_store() {
        let queue = TimerQueue::default();
        queue.fill(at(100), []);
        queue.set(&game("a"), Some(at(101)));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn what_is_somebody_elses_is_left_to_them_for_a_grace() {
        let queue = TimerQueue::default();
        queue.fill(at(100), []);
        for name in ["mine", "theirs", "struck"] {
            queue.set(&game(name), Some(at(10)));
        }
        let ours = |game: &GameId| game.as_str() == "mine";
        assert_eq!(queue.pop_due(at(20), 10, ours), [game("mine")]);
        assert_eq!(queue.next(), Some(at(20) + GRACE));
        // Whose it is struck it: it is left to them the next time as well.
        queue.set(&game("struck"), Some(at(20)));
        // An older answer of the store changes nothing.
        queue.fill(at(100), [(at(10), game("theirs"))]);
        assert_eq!(queue.pop_due(at(20), 10, ours), [] as [GameId; 0]);
        assert_eq!(queue.pop_due(at(20) + GRACE, 1, ours), [game("struck")]);
        assert_eq!(queue.pop_due(at(20) + GRACE, 10, ours), [game("theirs")]);
        // Who comes by it anew leaves it anew.
        queue.postpone(&game("theirs"), at(30), TimeDelta::zero());
        assert_eq!(queue.pop_due(at(30), 10, ours), [] as [GameId; 0]);
        // It became ours while it waited.
        assert_eq!(queue.pop_due(at(31), 10, |_| true), [game("theirs")]);
    }
}
