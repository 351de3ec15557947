//! What follows from a commit: its effects, their outcomes, and the end that somebody waits for.

use std::sync::Arc;
use std::time::Duration;

use machine::{Event, GameId, OperationId};

use super::{Cause, Driver, LOOK_PERIOD, MAX_RECORD_TRIES, REPEAT_PAUSE, Undecided, name_of};
use crate::error::ServiceError;
use crate::ports::{OperationState, Origin};
use crate::settle::Settled;
use crate::telemetry::carried;
use crate::telemetry::labels::Place;
use crate::turns::Turn;

impl Driver {
    /// Carries out what follows from a commit, and what follows from that, in a task of its own.
    pub(super) fn follow(
        self: &Arc<Self>,
        game: GameId,
        effects: Vec<machine::Effect>,
        permit: Option<Turn>,
    ) {
        if effects.is_empty() {
            return;
        }
        let driver = Arc::clone(self);
        self.parts.tasks.spawn(carried(async move {
            let _permit = permit;
            let _watch = driver.telemetry.metrics().watch(Place::Operation);
            let mut todo = std::collections::VecDeque::from(effects);
            while let Some(effect) = todo.pop_front() {
                let began = tokio::time::Instant::now();
                let in_flight = driver.telemetry.metrics().begin((&effect.call).into());
                let outcome = driver.parts.effects.carry_out(&effect).await;
                drop(in_flight);
                let more = driver.record(&game, &outcome, began.elapsed()).await;
                todo.extend(more);
            }
        }));
    }

    /// Records an outcome. Where the store stays silent, the lease of the question runs out and
    /// somebody asks the engine: nothing is lost, it only takes longer.
    async fn record(&self, game: &GameId, outcome: &Event, took: Duration) -> Vec<machine::Effect> {
        let operation = OperationId(self.parts.entropy.uuid());
        let origin = &Origin::SELF;
        let cause =
            Cause { game, event: outcome, operation, origin, claim: None, took: Some(took) };
        let mut pause = REPEAT_PAUSE;
        for _ in 0..MAX_RECORD_TRIES {
            match self.decide(&cause).await {
                Ok(decided) => return decided.effects,
                Err(Undecided::Refused(why)) => {
                    tracing::info!(game_id = %game, event = name_of(outcome), %why, "outcome put aside");
                    return vec![];
                }
                Err(failed @ (Undecided::Failed(_) | Undecided::Claimed(_))) => {
                    let error = ServiceError::from(failed);
                    tracing::warn!(game_id = %game, event = name_of(outcome), %error, "not yet recorded");
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        // A store that is away for long is no bug of this process: the lease is there for it.
        tracing::warn!(game_id = %game, event = name_of(outcome), "left to recovery");
        vec![]
    }

    /// Waits for the end of an operation, whichever instance brings it about.
    pub(super) async fn outcome(
        &self,
        operation: OperationId,
        mut waiter: crate::settle::Waiter<'_>,
    ) -> Result<Settled, ServiceError> {
        let ended = async {
            loop {
                if let Ok(settled) = tokio::time::timeout(LOOK_PERIOD, waiter.settled()).await {
                    return settled;
                }
                if let Ok(Some(row)) = self.parts.store.operation(operation).await
                    && let OperationState::Closed(outcome) = row.state
                {
                    return Settled { outcome, record: None };
                }
            }
        };
        // Around the looks too: a store that hangs does not keep the caller beyond the time.
        tokio::time::timeout(self.parts.operation_timeout, ended).await.map_err(|_| {
            ServiceError::OutcomeUnknown("the operation is still under way; ask again".into())
        })
    }
}
