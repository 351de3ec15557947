//! Requests that their caller named: carried out once, however often they come.

use std::sync::Arc;

use machine::{GameId, OperationId, Outcome, Runtime};

use super::{Driver, Undecided};
use crate::error::ServiceError;
use crate::ports::{Claim, ClaimAnswer, ClaimRow, OperationState};
use crate::settle::Settled;

impl Driver {
    /// Ends a decision where the name of the request was claimed before.
    pub(super) async fn unclaimed(&self, claim: Option<&Claim>) -> Result<(), Undecided> {
        let Some(claim) = claim else { return Ok(()) };
        match self.parts.store.claim(&claim.key).await {
            Ok(None) => Ok(()),
            Ok(Some(row)) => Err(Undecided::Claimed(Box::new(row))),
            Err(error) => Err(Undecided::Failed(error.into())),
        }
    }

    /// The answer to a request whose name was claimed before; `None`: nobody used the name. For
    /// requests that are prepared with what may have changed since the first of the name.
    pub async fn repeated(
        &self,
        game: &GameId,
        claim: Option<&Claim>,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        let Some(claim) = claim else { return Ok(None) };
        match self.parts.store.claim(&claim.key).await? {
            Some(row) => self.answer_again(game, claim, &row).await,
            None => Ok(None),
        }
    }

    /// What the first request under a name led to: waits for it where it is under way.
    pub(super) async fn answer_again(
        &self,
        game: &GameId,
        claim: &Claim,
        row: &ClaimRow,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        let ClaimAnswer::Operation { operation, record } = same_request(claim, row)? else {
            return Err(other_request());
        };
        if let Some(record) = record {
            return Ok(Some(Arc::clone(record)));
        }
        let settled = self.settled_before_or_soon(*operation).await?;
        self.conclude(game, Some(claim), settled).await
    }

    /// SUBTLE: the wait begins before the look, or an operation that is closed between the two
    /// would be waited for until the next look.
    pub(super) async fn settled_before_or_soon(
        &self,
        operation: OperationId,
    ) -> Result<Settled, ServiceError> {
        let waiter = self.settlements.wait_for(operation);
        match self.parts.store.operation(operation).await? {
            Some(row) => match row.state {
                OperationState::Closed(outcome) => Ok(Settled { outcome, record: None }),
                OperationState::Open => self.outcome(operation, waiter).await,
            },
            // Operations are kept for longer than claims, but for a bound.
            None => Err(ServiceError::OutcomeUnknown(
                "the first request under this Idempotency-Key is not in the log any more".into(),
            )),
        }
    }

    /// The answer to an operation that is over.
    pub(super) async fn conclude(
        &self,
        game: &GameId,
        claim: Option<&Claim>,
        settled: Settled,
    ) -> Result<Option<Arc<Runtime>>, ServiceError> {
        match settled.outcome {
            Outcome::Succeeded => {}
            Outcome::Failed(failure) => return Err(failure.into()),
            Outcome::Superseded => {
                return Err(ServiceError::Conflict(
                    "a later operation took this one's place".into(),
                ));
            }
        }
        if let Some(record) = settled.record {
            return Ok(Some(record));
        }
        // Another instance closed it; with a name, the record it left is kept.
        if let Some(claim) = claim
            && let Ok(Some(row)) = self.parts.store.claim(&claim.key).await
            && let ClaimAnswer::Operation { operation: _, record: Some(record) } = row.answer
        {
            return Ok(Some(record));
        }
        self.after(game).await
    }
}

/// The answer kept under a name, where it was given to the same request.
pub(crate) fn same_request<'r>(
    claim: &Claim,
    row: &'r ClaimRow,
) -> Result<&'r ClaimAnswer, ServiceError> {
    if row.claim.fingerprint == claim.fingerprint { Ok(&row.answer) } else { Err(other_request()) }
}

pub(crate) fn other_request() -> ServiceError {
    ServiceError::Conflict("this Idempotency-Key was used for another request".into())
}
