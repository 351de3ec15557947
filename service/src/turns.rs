//! How many timers are being dealt with at a time, so that a stampede is spread and an engine that
//! hangs keeps nobody waiting.
//!
//! ```text
//!   begins ──▶ young place ──ends──▶ free again
//!                  │ still under way after SLOW_AFTER
//!                  ▼
//!              slow place (many more of them; none free: the young place is kept)
//! ```
//!
//! What is waited for costs next to nothing here; what is bounded by the young places is how much
//! begins and ends at once. A game that was slow the last time begins in a slow place: however many
//! engines hang, they take no young place a second time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::GameId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::telemetry::Metrics;
use crate::telemetry::labels::TurnPool;

/// After this, what is under way makes room for others.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// How many slow places there are for each young one.
const SLOW_FOR_EACH: usize = 16;
/// Of how many games it is remembered that they were slow; one too many begins as if it were not.
const MAX_REMEMBERED: usize = 10_000;

/// The places. See the module.
pub struct Turns {
    young: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    was_slow: Mutex<BTreeSet<GameId>>,
    metrics: Arc<Metrics>,
}

/// A place in use, counted until dropped.
struct InUse {
    _place: OwnedSemaphorePermit,
    pool: TurnPool,
    metrics: Arc<Metrics>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.metrics.place_freed(self.pool);
    }
}

/// A place, held until dropped.
pub struct Turn {
    _ended: DropGuard,
}

impl Turns {
    /// So many young places; `metrics` show how many are in use.
    pub fn new(young: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        let slow = young.saturating_mul(SLOW_FOR_EACH).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            young: Arc::new(Semaphore::new(young.min(Semaphore::MAX_PERMITS))),
            slow: Arc::new(Semaphore::new(slow)),
            was_slow: Mutex::default(),
            metrics,
        })
    }

    /// How many young places are free.
    pub fn free(&self) -> usize {
        self.young.available_permits()
    }

    /// Waits until a young place is free.
    pub async fn freed(&self) {
        // Never closed, so that it cannot fail.
        let _ = self.young.acquire().await;
    }

    /// Takes a place for a game, where there is one.
    pub fn begin(self: &Arc<Self>, game: &GameId) -> Option<Turn> {
        let was_slow = self.remembered().contains(game);
        let (places, pool) =
            if was_slow { (&self.slow, TurnPool::Slow) } else { (&self.young, TurnPool::Fast) };
        let place = self.in_use(pool, Arc::clone(places).try_acquire_owned().ok()?);
        let ended = CancellationToken::new();
        let watch = Arc::clone(self).watch(game.clone(), was_slow, place, ended.clone());
        tokio::spawn(watch);
        Some(Turn { _ended: ended.drop_guard() })
    }

    /// Holds the place, and changes it for a slow one in time.
    async fn watch(
        self: Arc<Self>,
        game: GameId,
        was_slow: bool,
        place: InUse,
        ended: CancellationToken,
    ) {
        if tokio::time::timeout(SLOW_AFTER, ended.cancelled()).await.is_ok() {
            self.remembered().remove(&game);
            return;
        }
        if was_slow {
            ended.cancelled().await;
            return;
        }
        {
            let mut remembered = self.remembered();
            if remembered.len() < MAX_REMEMBERED {
                remembered.insert(game);
            }
        }
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            Ok(slow) = Arc::clone(&self.slow).acquire_owned() => {
                drop(place);
                let slow = self.in_use(TurnPool::Slow, slow);
                ended.cancelled().await;
                drop(slow);
            }
        }
    }

    fn in_use(&self, pool: TurnPool, place: OwnedSemaphorePermit) -> InUse {
        self.metrics.place_taken(pool);
        InUse { _place: place, pool, metrics: Arc::clone(&self.metrics) }
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeSet<GameId>> {
        self.was_slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn game(name: &str) -> GameId {
        name.parse().expect("valid")
    }

    fn turns() -> Arc<Turns> {
        Turns::new(1, Arc::clone(crate::telemetry::Telemetry::default().metrics()))
    }

    /// What operators see of the young places and the slow ones.
    fn in_use(turns: &Turns) -> (usize, usize) {
        let text = turns.metrics.render();
        let of = |pool: &str| {
            let series = format!("gamemaster_turn_places_in_use{{pool=\"{pool}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            value.and_then(|value| value.parse().ok()).expect("a number")
        };
        (of("fast"), of("slow"))
    }

    async fn settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_makes_room_and_no_more_than_there_is() {
        let turns = turns();
        let mut under_way = vec![];
        for n in 0..=SLOW_FOR_EACH {
            under_way.push(turns.begin(&game(&format!("g{n}"))).expect("a place"));
            assert!(turns.begin(&game("other")).is_none(), "one at a time");
            tokio::time::sleep(SLOW_AFTER + Duration::from_millis(1)).await;
        }
        assert_eq!(turns.free(), 0, "the last one found no slow place");
        assert_eq!(in_use(&turns), (1, SLOW_FOR_EACH));
        under_way.remove(0);
        settled().await;
        assert_eq!(turns.free(), 1, "and takes the first one's");
        assert_eq!(in_use(&turns), (0, SLOW_FOR_EACH));
        under_way.clear();
        settled().await;
        assert_eq!((turns.free(), turns.slow.available_permits()), (1, SLOW_FOR_EACH));
        assert_eq!(in_use(&turns), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_slow_begins_where_it_keeps_nobody_waiting_until_it_is_fast_again() {
        let turns = turns();
        let first = turns.begin(&game("a")).expect("a place");
        tokio::time::sleep(SLOW_AFTER + Duration::from_millis(1)).await;
        drop(first);
        settled().await;
        let second = turns.begin(&game("a")).expect("a place");
        assert_eq!((turns.free(), in_use(&turns)), (1, (0, 1)));
        drop(second);
        settled().await;
        let _third = turns.begin(&game("a")).expect("a place");
        assert_eq!((turns.free(), in_use(&turns)), (0, (1, 0)));
    }
}
