//! The scheduler: strikes the timers of all records — ticks, leases, retries, debounce windows —
//! when they are due, the oldest first, so many at a time.
//!
//! While the store does not answer nothing is struck: one question now and then finds out when it
//! does again, and then the oldest come first.
//!
//! It sleeps until the next one is due. The store is asked for what lies within the horizon at the
//! start and now and then, which also finds what other instances left behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use machine::GameId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::jitter::jittered;
use crate::driver::Driver;
use crate::fleet::Fleet;
use crate::ports::{Clock, Store, StoreError};
use crate::telemetry::labels::Place;
use crate::timers::TimerQueue;
use crate::turns::{Turn, Turns};

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
/// How often what is due is counted.
const MEASURE_PERIOD: Duration = Duration::from_secs(1);
/// A game that could not be dealt with is tried again after this; doubled each time, up to the cap.
const POSTPONE: TimeDelta = TimeDelta::seconds(1);
/// The doublings of [`POSTPONE`] at most: about a minute.
const MAX_DOUBLINGS: u32 = 6;
/// Of how many games it is remembered how often they failed.
const MAX_FAILING: usize = 10_000;
/// The pause before a store that did not answer is asked again; doubled each time, up to the cap.
const OUTAGE_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause, but for the jitter.
const OUTAGE_PAUSE_CAP: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone)]
pub struct Scheduler {
    /// Decides and commits.
    pub driver: Arc<Driver>,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What is due when.
    pub timers: Arc<TimerQueue>,
    /// At most so many timers are being dealt with, from the claim to the last effect; see
    /// [`Turns`] for those that take long.
    pub concurrency: usize,
    /// Where the dealing runs.
    pub tasks: TaskTracker,
    /// Whose timers are struck here first.
    pub fleet: Arc<Fleet>,
}

/// What those who strike tell the one who lets them.
#[derive(Default)]
struct Failures {
    /// Whether the store may be away.
    suspected: AtomicBool,
    /// How often in a row each game could not be dealt with.
    by_game: Mutex<BTreeMap<GameId, u32>>,
}

impl Failures {
    fn suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// Notes one; answers when the game is to be tried again.
    fn note(&self, game: &GameId) -> TimeDelta {
        self.suspected.store(true, Ordering::Relaxed);
        let mut by_game = self.by_game.lock().unwrap_or_else(PoisonError::into_inner);
        if by_game.len() >= MAX_FAILING && !by_game.contains_key(game) {
            return POSTPONE;
        }
        let before = by_game.entry(game.clone()).or_default();
        let after = POSTPONE * (1 << (*before).min(MAX_DOUBLINGS));
        *before += 1;
        after
    }

    fn over(&self, game: &GameId) {
        self.by_game.lock().unwrap_or_else(PoisonError::into_inner).remove(game);
    }

    /// What failed while the store was away was not the games' doing.
    fn forget(&self) {
        self.by_game.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Scheduler {
    /// Runs until told to stop; what was begun goes on under the tracker.
    pub async fn run(self, stop: CancellationToken) {
        let turns = Turns::new(self.concurrency, Arc::clone(self.driver.telemetry().metrics()));
        self.run_within(turns, stop).await;
    }

    /// As [`Self::run`], within places that outlive it.
    pub async fn run_within(self, turns: Arc<Turns>, stop: CancellationToken) {
        let failures = Arc::new(Failures::default());
        // Whatever a predecessor that fell left in the queue: the store knows better.
        self.timers.clear();
        let mut fill_at = tokio::time::Instant::now();
        let mut measure_at = fill_at;
        loop {
            measure_at = self.measure(measure_at);
            if failures.suspected() {
                let was_away = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    was_away = self.until_the_store_answers(&failures) => was_away,
                };
                if was_away {
                    failures.forget();
                    self.timers.clear();
                    fill_at = tokio::time::Instant::now();
                }
            }
            if tokio::time::Instant::now() >= fill_at {
                fill_at = tokio::time::Instant::now() + self.fill(&failures).await;
            }
            let ours = |game: &GameId| self.fleet.strikes_first(game);
            for game in self.timers.pop_due(self.clock.now(), turns.free(), ours) {
                match turns.begin(&game) {
                    Some(turn) => self.strike(game, turn, Arc::clone(&failures)),
                    // Its engine was slow, and there are too many such.
                    None => self.timers.postpone(&game, self.clock.now(), POSTPONE),
                }
            }
            // Looked at once: a place that comes back from here on ends the wait below.
            let free = turns.free();
            let sleep = self
                .until_next(free)
                .min(fill_at.saturating_duration_since(tokio::time::Instant::now()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.timers.changed().notified() => {}
                () = tokio::time::sleep(sleep) => {}
                // A place that comes back may let in what is overdue.
                () = turns.freed(), if free == 0 => {}
            }
        }
    }

    /// Asks until there is an answer, as the only one who does; whether it took more than once.
    async fn until_the_store_answers(&self, failures: &Failures) -> bool {
        let mut pause = OUTAGE_PAUSE;
        let mut was_away = false;
        loop {
            let asked = self.store.due(self.clock.now(), 1).await;
            // After the question: those who failed meanwhile failed for the same reason.
            failures.suspected.store(false, Ordering::Relaxed);
            match asked {
                Ok(_) => {
                    if was_away {
                        tracing::info!("the store answers again");
                    }
                    return was_away;
                }
                Err(error) if !was_away => {
                    self.driver.telemetry().metrics().store_went_away();
                    tracing::warn!(%error, "the store does not answer; timers wait");
                    was_away = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(jittered(pause, self.driver.entropy())).await;
            pause = (pause * 2).min(OUTAGE_PAUSE_CAP);
        }
    }

    /// Counts what is due, when it is time to, and answers when it is next.
    fn measure(&self, at: tokio::time::Instant) -> tokio::time::Instant {
        let instant = tokio::time::Instant::now();
        if instant < at {
            return at;
        }
        let now = self.clock.now();
        let (count, first) = self.timers.overdue(now);
        let oldest = first.and_then(|first| (now - first).to_std().ok());
        self.driver.telemetry().metrics().due(count, oldest.unwrap_or_default());
        instant + MEASURE_PERIOD
    }

    fn until_next(&self, free: usize) -> Duration {
        if free == 0 {
            return MAX_SLEEP;
        }
        let next = self.timers.next();
        let left = next.map(|at| (at - self.clock.now()).to_std().unwrap_or(Duration::ZERO));
        left.map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP))
    }

    fn strike(&self, game: GameId, turn: Turn, failures: Arc<Failures>) {
        let driver = Arc::clone(&self.driver);
        let timers = Arc::clone(&self.timers);
        let clock = Arc::clone(&self.clock);
        self.tasks.spawn(async move {
            let _watch = driver.telemetry().metrics().watch(Place::Operation);
            if failures.suspected() {
                timers.postpone(&game, clock.now(), TimeDelta::zero());
                return;
            }
            match driver.strike(game.clone(), turn).await {
                Ok(()) => failures.over(&game),
                Err(error) => {
                    tracing::warn!(game_id = %game, %error, "a timer could not be dealt with");
                    let after = failures.note(&game);
                    timers.postpone(&game, clock.now(), after);
                }
            }
        });
    }

    /// Asks the store what is due within the horizon; answers when to ask again.
    async fn fill(&self, failures: &Failures) -> Duration {
        let horizon = self.clock.now() + HORIZON;
        match self.due(horizon).await {
            Ok(true) => FILL_PERIOD,
            Ok(false) => FILL_RETRY,
            Err(error) => {
                tracing::warn!(%error, "cannot read what is due");
                failures.suspected.store(true, Ordering::Relaxed);
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
