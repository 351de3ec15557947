//! The scheduler: strikes the timers of all records — ticks, leases, retries, debounce windows —
//! when they are due, the oldest first, so many at a time.
//!
//! It sleeps until the next one is due. The store is asked for what lies within the horizon at the
//! start and now and then, which also finds what other instances left behind.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::GameId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::Driver;
use crate::ports::{Clock, Store, StoreError};
use crate::timers::TimerQueue;

/// The longest sleep: a clock that jumps is noticed within it.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// How far ahead the queue is filled.
const HORIZON: TimeDelta = TimeDelta::seconds(60);
/// How often it is filled.
const FILL_PERIOD: Duration = Duration::from_secs(15);
/// How often it is filled while the store does not answer, or has more than one answer holds.
const FILL_RETRY: Duration = Duration::from_secs(1);
/// How many records one fill asks for: what is due beyond them comes with the next fill, which
/// follows soon where there were as many. Not at once: as long as they are being worked off, the
/// answer is the same ones again.
const FILL_LIMIT: usize = 10_000;
/// A game that could not be dealt with is tried again after this.
const POSTPONE: TimeDelta = TimeDelta::seconds(1);

/// See the module.
pub struct Scheduler {
    /// Decides and commits.
    pub driver: Arc<Driver>,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What is due when.
    pub timers: Arc<TimerQueue>,
    /// At most so many timers are being dealt with, from the claim to the last effect.
    pub concurrency: usize,
    /// Where the dealing runs.
    pub tasks: TaskTracker,
}

impl Scheduler {
    /// Runs until told to stop; what was begun goes on under the tracker.
    pub async fn run(self, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.concurrency));
        let mut fill_at = tokio::time::Instant::now();
        loop {
            if tokio::time::Instant::now() >= fill_at {
                fill_at = tokio::time::Instant::now() + self.fill().await;
            }
            let free = permits.available_permits();
            for game in self.timers.pop_due(self.clock.now(), free) {
                // There are as many as were free, and nobody else takes any.
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    self.timers.postpone(&game, self.clock.now(), TimeDelta::zero());
                    continue;
                };
                self.strike(game, permit);
            }
            // Looked at once: a permit that comes back from here on ends the wait below.
            let free = permits.available_permits();
            let sleep = self
                .until_next(free)
                .min(fill_at.saturating_duration_since(tokio::time::Instant::now()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.timers.changed().notified() => {}
                () = tokio::time::sleep(sleep) => {}
                // A permit that comes back may let in what is overdue.
                Ok(_) = permits.acquire(), if free == 0 => {}
            }
        }
    }

    fn until_next(&self, free: usize) -> Duration {
        if free == 0 {
            return MAX_SLEEP;
        }
        let next = self.timers.next();
        let left = next.map(|at| (at - self.clock.now()).to_std().unwrap_or(Duration::ZERO));
        left.map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP))
    }

    fn strike(&self, game: GameId, permit: tokio::sync::OwnedSemaphorePermit) {
        let driver = Arc::clone(&self.driver);
        let timers = Arc::clone(&self.timers);
        let clock = Arc::clone(&self.clock);
        self.tasks.spawn(async move {
            if let Err(error) = driver.strike(game.clone(), permit).await {
                tracing::warn!(%game, %error, "a timer could not be dealt with");
                timers.postpone(&game, clock.now(), POSTPONE);
            }
        });
    }

    /// Asks the store what is due within the horizon; answers when to ask again.
    async fn fill(&self) -> Duration {
        let horizon = self.clock.now() + HORIZON;
        match self.due(horizon).await {
            Ok(true) => FILL_PERIOD,
            Ok(false) => FILL_RETRY,
            Err(error) => {
                tracing::warn!(%error, "cannot read what is due");
                FILL_RETRY
            }
        }
    }

    /// Whether everything until the horizon was read.
    async fn due(&self, horizon: machine::Timestamp) -> Result<bool, StoreError> {
        // SUBTLE: moved before the store is asked, so that a timer that a commit sets meanwhile,
        // too late for this answer, is kept.
        self.timers.fill(horizon, []);
        let due = self.store.due(horizon, FILL_LIMIT).await?;
        let complete = due.len() < FILL_LIMIT;
        self.timers.fill(horizon, due.into_iter().map(|d| (d.at, d.game_id)));
        Ok(complete)
    }
}
