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

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machine::{
    AuditMark, Context, Event, GameId, InstanceId, OperationId, Outcome, Policy, Rejection,
    Runtime, Timer, Verdict,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast};
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::effects::Effects;
use crate::error::ServiceError;
use crate::ports::{
    Clock, Commit, CommitError, CommitId, Committed, Entropy, Expected, OperationState, Origin,
    Store,
};
use crate::settle::Settlements;
use crate::timers::TimerQueue;

/// How often a lost compare-and-set is decided anew before the caller is told to come back.
const MAX_CONFLICTS: u32 = 32;
/// How often a commit whose answer was lost is repeated within one call.
const MAX_REPEATS: u32 = 5;
/// The pause before the first such repeat; doubled each time.
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
    changes: broadcast::Sender<Change>,
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
    Failed(ServiceError),
}

impl From<Undecided> for ServiceError {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Refused(rejection) => rejection.into(),
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
    took: Option<Duration>,
}

impl Driver {
    /// A driver over its parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        let (changes, _) = broadcast::channel(CHANGES_BUFFER);
        let outbox = Notify::new();
        let (settlements, seeing) = (Settlements::default(), Mutex::default());
        Arc::new(Self { parts, settlements, seeing, outbox, changes })
    }

    /// Every change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Woken whenever a commit left messages in the outbox.
    pub fn outbox(&self) -> &Notify {
        &self.outbox
    }

    /// Carries a request out to its end and answers with the record as it then stands.
    ///
    /// Dropping the returned future abandons the wait, never the operation.
    pub async fn perform(
        self: &Arc<Self>,
        game: GameId,
        event: Event,
        origin: Origin,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        let operation = OperationId(self.parts.entropy.uuid());
        let waiter = self.settlements.wait_for(operation);
        let driver = Arc::clone(self);
        let task_game = game.clone();
        let decided = self.parts.tasks.spawn(async move {
            let (game, origin) = (&task_game, &origin);
            let cause = Cause { game, event: &event, operation, origin, took: None };
            let decided = driver.decide(&cause).await?;
            driver.follow(task_game, decided.effects, None);
            Ok::<_, ServiceError>((decided.open, decided.record))
        });
        let (open, record) = decided.await.map_err(|_| ServiceError::InternalError)??;
        if !open {
            return Ok(record);
        }
        match self.outcome(operation, waiter).await? {
            Outcome::Succeeded => self.after(&game).await,
            Outcome::Failed(failure) => Err(failure.into()),
            Outcome::Superseded => {
                Err(ServiceError::Conflict("a later operation took this one's place".into()))
            }
        }
    }

    /// The record after an operation that succeeded. SUBTLE: a store that fails now must not make
    /// that a refusal, or the caller would ask for the same thing a second time.
    async fn after(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, ServiceError> {
        match self.parts.store.load(game).await {
            Ok(record) => Ok(record),
            Err(error) => {
                tracing::warn!(%game, %error, "done, but the record cannot be read again");
                let unread = "it is done, but the record cannot be read; ask again";
                let known = self.parts.board.get(game);
                known.map(Some).ok_or_else(|| ServiceError::OutcomeUnknown(unread.into()))
            }
        }
    }

    /// Tells the machine of something that nobody waits for: a health event.
    pub async fn tell(self: &Arc<Self>, game: GameId, event: Event) -> Result<(), ServiceError> {
        let driver = Arc::clone(self);
        let told = self.parts.tasks.spawn(async move {
            let operation = OperationId(driver.parts.entropy.uuid());
            let origin = &Origin::SELF;
            let cause = Cause { game: &game, event: &event, operation, origin, took: None };
            match driver.decide(&cause).await {
                Ok(decided) => {
                    driver.follow(game, decided.effects, None);
                    Ok(())
                }
                Err(Undecided::Refused(why)) => {
                    tracing::debug!(%game, event = name_of(&event), %why, "nothing to do");
                    Ok(())
                }
                Err(Undecided::Failed(error)) => Err(error),
            }
        });
        told.await.map_err(|_| ServiceError::InternalError)?
    }

    /// Strikes a timer of a game, where one is due. `permit` is held until everything that follows
    /// from it is done: the bound on concurrent turns.
    pub async fn strike(
        self: &Arc<Self>,
        game: GameId,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), ServiceError> {
        let current = self.parts.store.load(&game).await?;
        let now = self.parts.clock.now();
        let due = current.as_ref().and_then(|rt| rt.next_timer()).filter(|(at, _)| *at <= now);
        let Some((_, timer)) = due else {
            self.seen(&game, current.as_ref());
            return Ok(());
        };
        self.parts.board.note(&game, current.as_ref());
        self.deal_with(game, timer, permit).await
    }

    async fn deal_with(
        self: &Arc<Self>,
        game: GameId,
        timer: Timer,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), ServiceError> {
        let event = timer.event();
        let operation = OperationId(self.parts.entropy.uuid());
        let origin = &Origin::SELF;
        let cause = Cause { game: &game, event: &event, operation, origin, took: None };
        match self.decide(&cause).await {
            Ok(decided) => {
                self.follow(game, decided.effects, Some(permit));
                Ok(())
            }
            // Somebody else dealt with it; the board knows the new record, and so will the queue.
            Err(Undecided::Refused(_)) => Ok(()),
            Err(Undecided::Failed(error)) => Err(error),
        }
    }

    /// Load, decide, commit; again where somebody else was faster.
    async fn decide(&self, cause: &Cause<'_>) -> Result<Decided, Undecided> {
        // The board saves the round trip, and the compare-and-set keeps it honest; a refusal is
        // only final on the store's own record.
        let mut known = self.parts.board.get(cause.game).map(Some);
        for _ in 0..MAX_CONFLICTS {
            let fresh = known.is_none();
            let current = match known.take() {
                Some(record) => record,
                None => self.load(cause.game).await?,
            };
            let cx = Context {
                now: self.parts.clock.now(),
                instance: &self.parts.instance,
                operation: cause.operation,
                policy: &self.parts.policy,
            };
            let step = match machine::step(current.as_deref(), cause.event, &cx) {
                Ok(Verdict::Commit(step)) => step,
                Ok(Verdict::Unchanged) if fresh => {
                    return Ok(Decided { open: false, record: current, effects: vec![] });
                }
                Err(rejection) if fresh => return Err(Undecided::Refused(rejection)),
                Ok(Verdict::Unchanged) | Err(_) => continue,
            };
            let opens = |mark: &AuditMark| matches!(mark, AuditMark::Opened { .. });
            let open = step.audit.iter().any(|entry| opens(&entry.mark));
            let commit = Commit {
                id: CommitId(self.parts.entropy.uuid()),
                game_id: cause.game.clone(),
                expected: current.as_deref().map(Expected::from),
                next: step.next.map(Arc::new),
                messages: step.messages,
                audit: step.audit,
                origin: cause.origin.clone(),
                at: cx.now,
            };
            match self.commit(&commit).await {
                Ok(Committed::Applied) => {
                    let record = commit.next.clone();
                    self.announce(cause, current, commit);
                    return Ok(Decided { open, record, effects: step.effects });
                }
                Ok(Committed::Conflict) => self.parts.board.forget(cause.game),
                Err(error) => {
                    self.parts.board.forget(cause.game);
                    return Err(Undecided::Failed(error.into()));
                }
            }
        }
        Err(Undecided::Failed(ServiceError::ServiceUnavailable(
            "the game changes faster than this could be decided".into(),
        )))
    }

    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, Undecided> {
        match self.parts.store.load(game).await {
            Ok(record) => {
                self.parts.board.note(game, record.as_ref());
                Ok(record)
            }
            Err(error) => Err(Undecided::Failed(error.into())),
        }
    }

    /// Commits; where the answer was lost, finds out by repeating the commit under its name.
    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let mut pause = REPEAT_PAUSE;
        let mut unknown = false;
        for _ in 0..MAX_REPEATS {
            match self.parts.store.commit(commit).await {
                Ok(committed) => return Ok(committed),
                // SUBTLE: that a repeat did not happen says nothing of the first try.
                Err(CommitError::Determinate(error)) if !unknown => {
                    return Err(CommitError::Determinate(error));
                }
                Err(CommitError::Determinate(error) | CommitError::Indeterminate(error)) => {
                    tracing::warn!(game = %commit.game_id, %error, "repeating a commit");
                    // It may have happened: a player's call must not be let through on the
                    // strength of the record before it.
                    self.parts.board.forget(&commit.game_id);
                    unknown = true;
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(CommitError::Indeterminate(crate::ports::StoreError(
            "no answer to any repeat of a commit".into(),
        )))
    }

    /// Takes a record to the board and its timer to the queue, unless a later one is known.
    ///
    /// SUBTLE: two commits of one game may be announced in the other order; a timer of the earlier
    /// record would take the place of the right one until the store is asked again.
    fn seen(&self, game: &GameId, record: Option<&Arc<Runtime>>) {
        let _in_order = self.seeing.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match record {
            Some(record) if !self.parts.board.put(Arc::clone(record)) => return,
            Some(record) => record.next_timer().map(|(at, _)| at),
            None => {
                self.parts.board.forget(game);
                None
            }
        };
        self.parts.timers.set(game, at);
    }

    /// Tells everybody in this process who needs to know.
    fn announce(&self, cause: &Cause<'_>, before: Option<Arc<Runtime>>, commit: Commit) {
        self.seen(cause.game, commit.next.as_ref());
        if !commit.messages.is_empty() {
            self.outbox.notify_one();
        }
        let mut closed = vec![];
        for entry in commit.audit {
            let outcome = match entry.mark {
                AuditMark::Opened { .. } => continue,
                AuditMark::Closed(outcome) | AuditMark::Instant { outcome, .. } => outcome,
            };
            self.settlements.settle(entry.operation, &outcome);
            closed.push((entry.operation, outcome));
        }
        let (event, took) = (name_of(cause.event), cause.took);
        let status = commit.next.as_ref().map(|rt| rt.status());
        tracing::info!(game = %cause.game, event, status = ?status, "committed");
        // Nobody watching is fine.
        let _ = self.changes.send(Change { event, took, before, after: commit.next, closed });
    }

    /// Carries out what follows from a commit, and what follows from that, in a task of its own.
    fn follow(
        self: &Arc<Self>,
        game: GameId,
        effects: Vec<machine::Effect>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        if effects.is_empty() {
            return;
        }
        let driver = Arc::clone(self);
        self.parts.tasks.spawn(async move {
            let _permit = permit;
            let mut todo = std::collections::VecDeque::from(effects);
            while let Some(effect) = todo.pop_front() {
                let began = tokio::time::Instant::now();
                let outcome = driver.parts.effects.carry_out(&effect).await;
                let more = driver.record(&game, &outcome, began.elapsed()).await;
                todo.extend(more);
            }
        });
    }

    /// Records an outcome. Where the store stays silent, the lease of the question runs out and
    /// somebody asks the engine: nothing is lost, it only takes longer.
    async fn record(&self, game: &GameId, outcome: &Event, took: Duration) -> Vec<machine::Effect> {
        let operation = OperationId(self.parts.entropy.uuid());
        let origin = &Origin::SELF;
        let cause = Cause { game, event: outcome, operation, origin, took: Some(took) };
        let mut pause = REPEAT_PAUSE;
        for _ in 0..MAX_RECORD_TRIES {
            match self.decide(&cause).await {
                Ok(decided) => return decided.effects,
                Err(Undecided::Refused(why)) => {
                    tracing::info!(%game, event = name_of(outcome), %why, "outcome put aside");
                    return vec![];
                }
                Err(Undecided::Failed(error)) => {
                    tracing::warn!(%game, event = name_of(outcome), %error, "not yet recorded");
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        tracing::error!(%game, event = name_of(outcome), "left to recovery");
        vec![]
    }

    /// Waits for the end of an operation, whichever instance brings it about.
    async fn outcome(
        &self,
        operation: OperationId,
        mut waiter: crate::settle::Waiter<'_>,
    ) -> Result<Outcome, ServiceError> {
        let ended = async {
            loop {
                if let Ok(outcome) = tokio::time::timeout(LOOK_PERIOD, waiter.outcome()).await {
                    return outcome;
                }
                if let Ok(Some(row)) = self.parts.store.operation(operation).await
                    && let OperationState::Closed(outcome) = row.state
                {
                    return outcome;
                }
            }
        };
        // Around the looks too: a store that hangs does not keep the caller beyond the time.
        tokio::time::timeout(self.parts.operation_timeout, ended).await.map_err(|_| {
            ServiceError::OutcomeUnknown("the operation is still under way; ask again".into())
        })
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
