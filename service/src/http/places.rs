//! How many requests are in flight, in all and about each game.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use machine::GameId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::ServiceError;

/// The places there are. Nobody waits for one: who finds none is told at once.
#[derive(Debug)]
pub(super) struct Places {
    all: Semaphore,
    /// INVARIANT: no entry is 0, so that the map holds the games with requests in flight only.
    by_game: Mutex<BTreeMap<GameId, usize>>,
    max_per_game: usize,
}

/// A place, kept until dropped.
#[derive(Debug)]
pub(super) struct Place<'p> {
    _all: SemaphorePermit<'p>,
    _game: Option<GamePlace<'p>>,
}

#[derive(Debug)]
struct GamePlace<'p> {
    places: &'p Places,
    game: GameId,
}

impl Places {
    /// That many in all, and that many for each game. No game has more than it leaves free for all
    /// others, so that however many engines hang, a request about another game finds a place.
    pub(super) fn new(max: usize, max_per_game: usize) -> Self {
        Self {
            all: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
            by_game: Mutex::new(BTreeMap::new()),
            max_per_game,
        }
    }

    /// Takes a place, one of `game` too if the request is about one.
    pub(super) fn take(&self, game: Option<&GameId>) -> Result<Place<'_>, ServiceError> {
        let free = self.all.available_permits();
        let Ok(all) = self.all.try_acquire() else {
            return Err(ServiceError::ServiceUnavailable("too many requests in flight".into()));
        };
        let game = game.map(|game| self.take_of_game(game, free)).transpose()?;
        Ok(Place { _all: all, _game: game })
    }

    fn take_of_game(&self, game: &GameId, free: usize) -> Result<GamePlace<'_>, ServiceError> {
        let mut by_game = self.lock();
        let taken = by_game.get(game).copied().unwrap_or(0);
        if taken >= self.max_per_game.min(free) {
            let message = "too many requests in flight for this game";
            return Err(ServiceError::ServiceUnavailable(message.into()));
        }
        by_game.insert(game.clone(), taken + 1);
        Ok(GamePlace { places: self, game: game.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GameId, usize>> {
        // Each change is one assignment, so that a panic cannot leave half of one.
        self.by_game.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GamePlace<'_> {
    fn drop(&mut self) {
        let mut by_game = self.places.lock();
        match by_game.get_mut(&self.game) {
            Some(taken) if *taken > 1 => *taken -= 1,
            Some(_) | None => {
                by_game.remove(&self.game);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let (a, b): (GameId, GameId) = ("a".parse().expect("valid"), "b".parse().expect("valid"));
        let places = Places::new(3, 2);
        let first = places.take(Some(&a)).expect("free");
        let _second = places.take(Some(&a)).expect("free");
        assert!(places.take(Some(&a)).is_err(), "two for each game");
        let _third = places.take(Some(&b)).expect("free");
        assert!(places.take(None).is_err(), "three in all");
        drop(first);
        assert!(places.take(Some(&a)).is_err(), "no more than it leaves free");
        drop(_third);
        let fourth = places.take(Some(&a)).expect("free again");
        drop(fourth);
        drop(_second);
        assert!(places.lock().is_empty());
    }

    #[test]
    fn however_many_games_hang_another_one_finds_places() {
        let game = |n: usize| -> GameId { format!("g{n}").parse().expect("valid") };
        for hung in [1, 15, 20, 100, 500] {
            let places = Places::new(1024, 64);
            let mut taken = vec![];
            // Each of them asks and asks, in turn.
            for _ in 0..64 {
                taken.extend((0..hung).filter_map(|n| places.take(Some(&game(n))).ok()));
            }
            let healthy = game(hung);
            let found = (0..64).map_while(|_| places.take(Some(&healthy)).ok());
            let found: Vec<_> = found.collect();
            assert!(!found.is_empty(), "{hung} hung games hold {}", taken.len());
            assert!(places.take(None).is_ok());
        }
    }
}
