//! The driver: the one loop that every operation goes through.
//!
//! ```text
//!   event ─▶ load ─▶ machine::step ─▶ commit ─▶ effects ─▶ outcome event ─▶ load ─▶ …
//!              ▲                        │
//!              └────── conflict ────────┘
//! ```
//!
//! A lost compare-and-set is no error: the record is loaded again and the machine decides anew. A
//! commit whose answer was lost is repeated under its name until the truth is known. Everything runs
//! on the process's task tracker, so that a caller that goes away cannot leave a thing half done.

mod banish;
pub(crate) mod claims;
pub(crate) mod confirm;
mod decide;
mod follow;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use machine::{
    Event, GameId, Ignored, InstanceId, OperationId, Outcome, Policy, Rejection, Runtime, Timer,
};
use tokio::sync::{Notify, broadcast};
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::effects::Effects;
use crate::error::ServiceError;
use crate::http::Asked;
use crate::news::Newsroom;
use crate::ports::{Claim, ClaimRow, Clock, Entropy, Origin, Store};
use crate::settle::Settlements;
use crate::telemetry::Telemetry;
use crate::telemetry::labels::Place;
use crate::timers::TimerQueue;
use crate::turns::Turn;

/// How often a lost compare-and-set is decided anew before the caller is told to come back.
const MAX_CONFLICTS: u32 = 32;
/// The pause before an outcome that could not be recorded is tried again; doubled each time.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);
/// How often an outcome that could not be recorded is tried again before its lease is left to run
/// out, which finds the truth by asking.
const MAX_RECORD_TRIES: u32 = 8;
/// How often somebody who waits for an operation looks whether another instance has closed it.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How many changes a slow observer may lag behind before it misses some.
const CHANGES_BUFFER: usize = 4096;

/// One committed change, for those who watch: the demo's narrator, logs, metrics.
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub event: &'static str,
    /// How long the call took whose outcome this is.
    pub took: Option<Duration>,
    /// The record that was decided on.
    pub before: Option<Arc<Runtime>>,
    /// The record from now on.
    pub after: Option<Arc<Runtime>>,
    /// The operations that this commit closed, and how.
    pub closed: Vec<(OperationId, Outcome)>,
}

/// What the driver needs.
#[expect(missing_docs, reason = "each field is the part of the same name")]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub effects: Effects,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub policy: Policy,
    pub instance: InstanceId,
    pub board: Arc<Board>,
    pub timers: Arc<TimerQueue>,
    pub tasks: TaskTracker,
    /// How long a caller waits for the end of an operation.
    pub operation_timeout: Duration,
}

/// See the module.
pub struct Driver {
    parts: Parts,
    settlements: Settlements,
    /// Held while the board and the queue are told of one record.
    seeing: Mutex<()>,
    outbox: Notify,
    news: Newsroom,
    changes: broadcast::Sender<Change>,
    telemetry: Telemetry,
}

/// What came of something that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The machine knows it now.
    Taken,
    /// It changes nothing.
    NothingToDo,
    /// It is about a game that has no record.
    NoSuchGame,
}

/// What came of an event.
struct Decided {
    /// Whether it opened an operation that something else will close.
    open: bool,
    /// The record as it now stands.
    record: Option<Arc<Runtime>>,
    effects: Vec<machine::Effect>,
}

/// Why an event came to nothing.
enum Undecided {
    Refused(Rejection),
    /// The name of the request was claimed before.
    Claimed(Box<ClaimRow>),
    Failed(ServiceError),
}

impl From<Undecided> for ServiceError {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Refused(rejection) => rejection.into(),
            // Whoever brings a claim looks for this first.
            Undecided::Claimed(_) => Self::InternalError,
            Undecided::Failed(error) => error,
        }
    }
}

/// An event on its way through the loop.
struct Cause<'a> {
    game: &'a GameId,
    event: &'a Event,
    operation: OperationId,
    origin: &'a Origin,
    claim: Option<&'a Claim>,
    took: Option<Duration>,
}

impl Driver {
    /// A driver over its parts, with telemetry of its own.
    pub fn new(parts: Parts) -> Arc<Self> {
        let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        Self::observed(parts, Telemetry::new(clock, entropy))
    }

    /// A driver over its parts.
    pub fn observed(parts: Parts, telemetry: Telemetry) -> Arc<Self> {
        let (changes, _) = broadcast::channel(CHANGES_BUFFER);
        let outbox = Notify::new();
        let (settlements, seeing) = (Settlements::default(), Mutex::default());
        let news = Newsroom::default();
        Arc::new(Self { parts, settlements, seeing, outbox, news, changes, telemetry })
    }

    /// Every change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Where the process draws from.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.parts.entropy
    }

    /// Whether the store answers a question about a game.
    pub async fn can_load(&self, game: &GameId) -> bool {
        self.parts.store.load(game).await.is_ok()
    }

    /// What sees the work of the driver, and of whoever works through it.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Woken whenever a commit left messages in the outbox.
    pub fn outbox(&self) -> &Notify {
        &self.outbox
    }

    /// What there is to tell the other processes.
    pub fn news(&self) -> &Newsroom {
        &self.news
    }

    /// Carries a request out to its end and answers with the record as it then stands.
    ///
    /// Dropping the returned future abandons the wait, never the operation.
    pub async fn perform(
        self: &Arc<Self>,
        game: GameId,
        event: Event,
        asked: Asked,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        let operation = OperationId(self.parts.entropy.uuid());
        let waiter = self.settlements.wait_for(operation);
        let driver = Arc::clone(self);
        let (task_game, task_asked) = (game.clone(), asked.clone());
        let name = name_of(&event);
        let work = async move {
            let (game, origin) = (&task_game, &task_asked.origin);
            let claim = task_asked.claim.as_ref();
            let cause = Cause { game, event: &event, operation, origin, claim, took: None };
            let decided = driver.decide(&cause).await?;
            driver.follow(task_game, decided.effects, None);
            Ok((decided.open, decided.record))
        };
        let work = self.telemetry.operation(name, &game, work);
        let decided = self.parts.tasks.spawn(work);
        let claim = asked.claim.as_ref();
        let (open, record) = match decided.await.map_err(|_| self.panicked())? {
            Ok(decided) => decided,
            Err(Undecided::Claimed(row)) => {
                let claim = claim.ok_or(ServiceError::InternalError)?;
                return self.answer_again(&game, claim, &row).await;
            }
            Err(refused) => return Err(refused.into()),
        };
        if !open {
            return Ok(record);
        }
        let settled = self.outcome(operation, waiter).await?;
        self.conclude(&game, claim, settled).await
    }

    /// The record after an operation that succeeded. SUBTLE: a store that fails now must not make
    /// that a refusal, or the caller would ask for the same thing a second time.
    async fn after(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, ServiceError> {
        match self.parts.store.load(game).await {
            Ok(record) => Ok(record),
            Err(error) => {
                tracing::warn!(game_id = %game, %error, "done, but the record cannot be read again");
                let unread = "it is done, but the record cannot be read; ask again";
                let known = self.parts.board.get(game);
                known.map(Some).ok_or_else(|| ServiceError::OutcomeUnknown(unread.into()))
            }
        }
    }

    /// Tells the machine of something that nobody waits for: a health event.
    pub async fn tell(self: &Arc<Self>, game: GameId, event: Event) -> Result<Told, ServiceError> {
        let driver = Arc::clone(self);
        let (name, about) = (name_of(&event), game.clone());
        let work = async move {
            let operation = OperationId(driver.parts.entropy.uuid());
            let origin = &Origin::SELF;
            let cause =
                Cause { game: &game, event: &event, operation, origin, claim: None, took: None };
            match driver.decide(&cause).await {
                Ok(decided) => {
                    driver.follow(game, decided.effects, None);
                    Ok(Told::Taken)
                }
                Err(Undecided::Refused(why)) => {
                    tracing::debug!(game_id = %game, event = name_of(&event), %why, "nothing to do");
                    Ok(if why == Rejection::Ignored(Ignored::Absent) {
                        Told::NoSuchGame
                    } else {
                        Told::NothingToDo
                    })
                }
                Err(failed @ (Undecided::Failed(_) | Undecided::Claimed(_))) => Err(failed.into()),
            }
        };
        let told = self.parts.tasks.spawn(self.telemetry.operation(name, &about, work));
        told.await.map_err(|_| self.panicked())?
    }

    /// A task of the driver is gone.
    fn panicked(&self) -> ServiceError {
        self.telemetry.metrics().panicked(Place::Operation);
        ServiceError::InternalError
    }

    /// Strikes a timer of a game, where one is due. `permit` is held until everything that follows
    /// from it is done: the bound on concurrent turns.
    pub async fn strike(self: &Arc<Self>, game: GameId, permit: Turn) -> Result<(), ServiceError> {
        let current = self.parts.store.load(&game).await?;
        let now = self.parts.clock.now();
        let due = current.as_ref().and_then(|rt| rt.next_timer()).filter(|(at, _)| *at <= now);
        let Some((at, timer)) = due else {
            self.seen(&game, current.as_ref());
            return Ok(());
        };
        self.parts.board.note(&game, current.as_ref());
        if timer == Timer::Tick {
            self.telemetry.metrics().ticked((now - at).to_std().unwrap_or_default());
        }
        let (name, about) = (name_of(&timer.event()), game.clone());
        self.telemetry.operation(name, &about, self.deal_with(game, timer, permit)).await
    }

    async fn deal_with(
        self: &Arc<Self>,
        game: GameId,
        timer: Timer,
        permit: Turn,
    ) -> Result<(), ServiceError> {
        let event = timer.event();
        let operation = OperationId(self.parts.entropy.uuid());
        let origin = &Origin::SELF;
        let cause =
            Cause { game: &game, event: &event, operation, origin, claim: None, took: None };
        match self.decide(&cause).await {
            Ok(decided) => {
                self.follow(game, decided.effects, Some(permit));
                Ok(())
            }
            // Somebody else dealt with it; the board knows the new record, and so will the queue.
            Err(Undecided::Refused(_)) => Ok(()),
            Err(failed @ (Undecided::Failed(_) | Undecided::Claimed(_))) => Err(failed.into()),
        }
    }
}

/// What an event is called in logs.
fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Register(_) => "register",
        Event::Tick => "tick",
        Event::Force => "force",
        Event::Stop { .. } => "stop",
        Event::Patch { .. } => "patch",
        Event::Reconcile => "reconcile",
        Event::Health(_) => "health",
        Event::WorkLeaseExpired => "work_lease_expired",
        Event::PendingLeaseExpired => "pending_lease_expired",
        Event::Abandoned(_) => "abandoned",
        Event::RetryDue => "retry_due",
        Event::SummaryDue => "summary_due",
        Event::InitDone(..) => "init_done",
        Event::TurnDone(..) => "turn_done",
        Event::ProbeDone(..) => "probe_done",
        Event::StopDone(..) => "stop_done",
        Event::PatchDone(..) => "patch_done",
    }
}
