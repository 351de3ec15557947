//! Load, decide, commit: the loop itself, and who is told of what was committed.

use std::sync::{Arc, PoisonError};

use machine::{AuditMark, Context, GameId, Runtime, Verdict};

use super::confirm::confirmed;
use super::{Cause, Change, Decided, Driver, MAX_CONFLICTS, Undecided, name_of};
use crate::error::ServiceError;
use crate::ports::{Commit, CommitError, CommitId, Committed, Expected, Version};
use crate::settle::Settled;

impl Driver {
    /// Load, decide, commit; again where somebody else was faster.
    pub(super) async fn decide(&self, cause: &Cause<'_>) -> Result<Decided, Undecided> {
        // The board saves the round trip, and the compare-and-set keeps it honest; a refusal is
        // only final on the store's own record.
        let mut known = self.parts.board.get(cause.game).map(Some);
        for _ in 0..MAX_CONFLICTS {
            self.unclaimed(cause.claim).await?;
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
                claim: cause.claim.filter(|_| open).cloned(),
                at: cx.now,
            };
            match self.commit(&commit).await {
                Ok(Committed::Applied) => {
                    let record = commit.next.clone();
                    self.announce(cause, current, commit);
                    return Ok(Decided { open, record, effects: step.effects });
                }
                Ok(Committed::Conflict) => self.parts.board.forget(cause.game),
                Ok(Committed::UnknownVersion) => {
                    return Err(Undecided::Failed(ServiceError::EngineVersionNotFound));
                }
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

    pub(super) async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, Undecided> {
        match self.parts.store.load(game).await {
            Ok(record) => {
                self.parts.board.note(game, record.as_ref());
                self.check(record.as_deref());
                Ok(record)
            }
            Err(error) => Err(Undecided::Failed(error.into())),
        }
    }

    /// What the store gives back must be what was committed.
    fn check(&self, record: Option<&Runtime>) {
        if let Some(Err(violation)) = record.map(Runtime::check) {
            tracing::error!(%violation, "a record in the store breaks a rule");
            self.telemetry.metrics().violated();
        }
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        // It may have happened: a player's call must not be let through on the strength of the
        // record before it.
        let doubt = || self.parts.board.forget(&commit.game_id);
        let confirmed = confirmed(&commit.game_id, doubt, || self.parts.store.commit(commit));
        self.telemetry.commit(confirmed).await
    }

    /// Takes a record to the board and its timer to the queue, unless a later one is known.
    ///
    /// SUBTLE: two commits of one game may be announced in the other order; a timer of the earlier
    /// record would take the place of the right one until the store is asked again.
    pub(super) fn seen(&self, game: &GameId, record: Option<&Arc<Runtime>>) {
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

    /// Another process says what a record is by now.
    pub fn heard(&self, game: &GameId, now: Option<Version>) {
        let _in_order = self.seeing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.parts.board.outdated(game, now) {
            self.parts.timers.set(game, now.and_then(|now| now.next_timer));
        }
    }

    /// Tells everybody who needs to know: in this process at once, in the others soon.
    fn announce(&self, cause: &Cause<'_>, before: Option<Arc<Runtime>>, commit: Commit) {
        self.seen(cause.game, commit.next.as_ref());
        self.news.record(cause.game, commit.next.as_deref());
        if !commit.messages.is_empty() {
            self.outbox.notify_one();
            self.news.outbox();
        }
        let mut closed = vec![];
        for entry in commit.audit {
            let outcome = match entry.mark {
                AuditMark::Opened { .. } => continue,
                AuditMark::Closed(outcome) | AuditMark::Instant { outcome, .. } => outcome,
            };
            let settled = Settled { outcome: outcome.clone(), record: commit.next.clone() };
            self.settlements.settle(entry.operation, &settled);
            closed.push((entry.operation, outcome));
        }
        let (event, took) = (name_of(cause.event), cause.took);
        self.telemetry.metrics().stepped(cause.event, took);
        let status = commit.next.as_ref().map(|rt| rt.status());
        tracing::info!(game_id = %cause.game, event, status = ?status, "committed");
        // Nobody watching is fine.
        let _ = self.changes.send(Change { event, took, before, after: commit.next, closed });
    }
}
