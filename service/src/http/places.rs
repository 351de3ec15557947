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
    /// That many in all, and that many for each game.
    pub(super) fn new(max: usize, max_per_game: usize) -> Self {
        Self {
            all: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
            by_game: Mutex::new(BTreeMap::new()),
            max_per_game,
        }
    }

    /// Takes a place, one of `game` too if the request is about one.
    pub(super) fn take(&self, game: Option<&GameId>) -> Result<Place<'_>, ServiceError> {
        let Ok(all) = self.all.try_acquire() else {
            return Err(ServiceError::ServiceUnavailable("too many requests in flight".into()));
        };
        let game = game.map(|game| self.take_of_game(game)).transpose()?;
        Ok(Place { _all: all, _game: game })
    }

    fn take_of_game(&self, game: &GameId) -> Result<GamePlace<'_>, ServiceError> {
        let mut by_game = self.lock();
        let taken = by_game.get(game).copied().unwrap_or(0);
        if taken >= self.max_per_game {
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
        let fourth = places.take(Some(&a)).expect("free again");
        drop(fourth);
        drop(_second);
        drop(_third);
        assert!(places.lock().is_empty());
    }
}
