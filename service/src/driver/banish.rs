//! Taking a race out of a game: the operation that changes no record.
//!
//! Audited before and after the call, as everything else. What a process that died left open is
//! asked again: an engine that has banished a race says so however often it is asked.

use std::sync::Arc;

use machine::{
    AuditEntry, AuditMark, BanishCall, GameId, OperationId, OperationKind, Outcome, RaceName,
};

use super::confirm::confirmed;
use super::{Driver, MAX_CONFLICTS, MAX_RECORD_TRIES, REPEAT_PAUSE, Undecided};
use crate::error::ServiceError;
use crate::http::Asked;
use crate::ports::{CommitError, CommitId, Committed, LogCommit, OperationRow, Origin};
use crate::settle::Settled;

impl Driver {
    /// Has the engine banish a race, and answers when it has.
    ///
    /// Dropping the returned future abandons the wait, never the operation.
    pub async fn banish(
        self: &Arc<Self>,
        game: GameId,
        race: RaceName,
        asked: Asked,
    ) -> Result<(), ServiceError> {
        let driver = Arc::clone(self);
        let about = game.clone();
        let work = async move {
            let operation = OperationId(driver.parts.entropy.uuid());
            match driver.open_banish(&game, &race, operation, &asked).await {
                Ok(call) => driver.carry_banish_out(&game, operation, &call).await,
                Err(Undecided::Claimed(row)) => {
                    let Some(claim) = &asked.claim else { return Err(ServiceError::InternalError) };
                    driver.answer_again(&game, claim, &row).await.map(drop)
                }
                Err(refused) => Err(refused.into()),
            }
        };
        let work = self.telemetry.operation("banish", &about, work);
        self.parts.tasks.spawn(work).await.map_err(|_| self.panicked())?
    }

    /// Takes up a banish that was left open: asks the engine again, if the game still has one.
    pub async fn settle_banish(self: &Arc<Self>, row: OperationRow) -> Result<(), ServiceError> {
        let Some(race) = row.race else {
            tracing::error!(operation = %row.operation, "a banish of nobody");
            return Err(ServiceError::InternalError);
        };
        let current = self.parts.store.load(&row.game_id).await?;
        match machine::banish(current.as_deref(), &race) {
            Ok(call) => {
                let carried = self.carry_banish_out(&row.game_id, row.operation, &call);
                match self.telemetry.operation("banish", &row.game_id, carried).await {
                    // It is in the log; nobody waits for it here.
                    Ok(()) | Err(_) => Ok(()),
                }
            }
            Err(rejection) => {
                let why = format!("Game Master was interrupted, and meanwhile: {rejection}");
                let failure = machine::Failure::new(machine::FailureCode::Conflict, why);
                self.close(&row.game_id, row.operation, &Outcome::Failed(failure)).await
            }
        }
    }

    async fn open_banish(
        &self,
        game: &GameId,
        race: &RaceName,
        operation: OperationId,
        asked: &Asked,
    ) -> Result<BanishCall, Undecided> {
        for _ in 0..MAX_CONFLICTS {
            self.unclaimed(asked.claim.as_ref()).await?;
            let current = self.load(game).await?;
            let call = machine::banish(current.as_deref(), race).map_err(Undecided::Refused)?;
            let kind = OperationKind::Banish;
            let mark = AuditMark::Opened { kind, turn: None, tick: None };
            let commit = LogCommit {
                race: Some(call.race.clone()),
                origin: asked.origin.clone(),
                claim: asked.claim.clone(),
                ..self.log_commit(game, AuditEntry { operation, mark })
            };
            match self.log(&commit).await {
                Ok(Committed::Applied) => return Ok(call),
                // Somebody claimed the name first.
                Ok(Committed::Conflict | Committed::UnknownVersion) => {}
                Err(error) => return Err(Undecided::Failed(error.into())),
            }
        }
        Err(Undecided::Failed(ServiceError::ServiceUnavailable(
            "the name of the request changes hands faster than this could be decided".into(),
        )))
    }

    async fn carry_banish_out(
        &self,
        game: &GameId,
        operation: OperationId,
        call: &BanishCall,
    ) -> Result<(), ServiceError> {
        let answer = self.parts.effects.engine.banish(call).await;
        let outcome = match &answer {
            Ok(()) => Outcome::Succeeded,
            Err(failure) => Outcome::Failed(failure.to_failure()),
        };
        self.close(game, operation, &outcome).await?;
        answer.map_err(|failure| failure.to_failure().into())
    }

    /// Closes an operation that touches no record. Where the store stays silent it is left open,
    /// and found by the next look for such.
    async fn close(
        &self,
        game: &GameId,
        operation: OperationId,
        outcome: &Outcome,
    ) -> Result<(), ServiceError> {
        let mark = AuditMark::Closed(outcome.clone());
        let commit = self.log_commit(game, AuditEntry { operation, mark });
        let mut pause = REPEAT_PAUSE;
        for _ in 0..MAX_RECORD_TRIES {
            match self.log(&commit).await {
                // A conflict: another instance has closed it, with the same question's answer.
                Ok(Committed::Applied | Committed::Conflict | Committed::UnknownVersion) => {
                    let settled = Settled { outcome: outcome.clone(), record: None };
                    self.settlements.settle(operation, &settled);
                    return Ok(());
                }
                Err(error) => tracing::warn!(game_id = %game, %error, "not yet recorded"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let message = "the engine was asked, but what came of it could not be recorded; ask again";
        Err(ServiceError::OutcomeUnknown(message.into()))
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        let confirmed = confirmed(&commit.game_id, || {}, || self.parts.store.log(commit));
        self.telemetry.commit(confirmed).await
    }

    fn log_commit(&self, game: &GameId, audit: AuditEntry) -> LogCommit {
        LogCommit {
            id: CommitId(self.parts.entropy.uuid()),
            game_id: game.clone(),
            audit,
            race: None,
            origin: Origin::SELF,
            claim: None,
            at: self.parts.clock.now(),
        }
    }
}
