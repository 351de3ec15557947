//! What an operation can answer instead of what was asked for. `http::reply` gives each its status.

use machine::{Failure, FailureCode, Rejection};

use crate::ports::{CommitError, LobbyError, StoreError};

/// A refusal or a failure, in the words of the contract. The texts go to callers: they name what
/// was wrong and hold no secret and no detail of the inside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is the contract's error code of the same name")]
pub enum ServiceError {
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("no runtime is registered for this game")]
    RuntimeNotFound,
    #[error("no such engine version is registered")]
    EngineVersionNotFound,
    #[error("nobody plays that race in this game")]
    RaceNotFound,
    #[error("{0}")]
    Conflict(String),
    #[error("a runtime record names this engine version")]
    EngineVersionInUse,
    #[error("{0}")]
    RuntimeNotRunning(String),
    #[error("{0}")]
    SemverPatchOnly(String),
    #[error("{0}")]
    EngineValidationError(String),
    #[error("{0}")]
    EngineUnreachable(String),
    #[error("{0}")]
    EngineProtocolViolation(String),
    #[error("{0}")]
    OutcomeUnknown(String),
    #[error("{0}")]
    ServiceUnavailable(String),
    #[error("an internal error occurred")]
    InternalError,
}

impl From<Rejection> for ServiceError {
    fn from(rejection: Rejection) -> Self {
        match &rejection {
            Rejection::NotFound => Self::RuntimeNotFound,
            Rejection::NotRunning(_) => Self::RuntimeNotRunning(rejection.to_string()),
            Rejection::Conflict(_) => Self::Conflict(rejection.to_string()),
            Rejection::SemverPatchOnly { .. } => Self::SemverPatchOnly(rejection.to_string()),
            Rejection::RaceNotFound => Self::RaceNotFound,
            // Answers to outcomes and timers, which no caller sends.
            Rejection::Stale | Rejection::Ignored(_) => Self::InternalError,
        }
    }
}

impl From<Failure> for ServiceError {
    fn from(failure: Failure) -> Self {
        let message = failure.message;
        match failure.code {
            FailureCode::EngineValidationError => Self::EngineValidationError(message),
            FailureCode::EngineUnreachable => Self::EngineUnreachable(message),
            FailureCode::EngineProtocolViolation => Self::EngineProtocolViolation(message),
            FailureCode::GenerationInterrupted
            | FailureCode::StartInterrupted
            | FailureCode::RtmUnavailable
            | FailureCode::RtmRefused => Self::ServiceUnavailable(message),
            FailureCode::Conflict => Self::Conflict(message),
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store failed a request");
        Self::ServiceUnavailable("the store cannot be reached".into())
    }
}

impl From<CommitError> for ServiceError {
    fn from(error: CommitError) -> Self {
        tracing::warn!(%error, "a commit was not confirmed");
        match error {
            CommitError::Determinate(_) => {
                Self::ServiceUnavailable("the store cannot be reached".into())
            }
            CommitError::Indeterminate(_) => {
                Self::OutcomeUnknown("the change may or may not have been made; ask again".into())
            }
        }
    }
}

impl From<LobbyError> for ServiceError {
    fn from(error: LobbyError) -> Self {
        tracing::warn!(%error, "Lobby failed a request");
        Self::ServiceUnavailable("Lobby cannot be reached".into())
    }
}
