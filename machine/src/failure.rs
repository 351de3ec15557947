//! What can go wrong with an operation, as the record, the operation log and the callers see it.

use serde::{Deserialize, Serialize};

/// Longest failure message kept, in bytes: it comes from neighbours and lands in logs and records.
pub const MAX_FAILURE_MESSAGE_BYTES: usize = 512;

/// A failed operation: a code for programs, a message for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub code: FailureCode,
    /// In words; bounded, without control characters.
    pub message: String,
}

impl Failure {
    /// A failure whose message is cut to [`MAX_FAILURE_MESSAGE_BYTES`], control characters and line
    /// breaks replaced by blanks.
    pub fn new(code: FailureCode, message: impl AsRef<str>) -> Self {
        let mut kept = String::new();
        for c in message.as_ref().chars() {
            if kept.len() + c.len_utf8() > MAX_FAILURE_MESSAGE_BYTES {
                break;
            }
            kept.push(if c.is_control() { ' ' } else { c });
        }
        Self { code, message: kept }
    }
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The engine answered and refused (4xx).
    EngineValidationError,
    /// The engine did not answer, or with 5xx.
    EngineUnreachable,
    /// The engine's answer is unreadable or impossible.
    EngineProtocolViolation,
    /// The generation was abandoned half-way and the engine had not generated the turn.
    GenerationInterrupted,
    /// The registration was abandoned half-way; register again.
    StartInterrupted,
    /// Runtime Manager did not answer, or with 5xx.
    RtmUnavailable,
    /// Runtime Manager answered and refused.
    RtmRefused,
    /// Something else won: the game finished, was stopped or was rolled back meanwhile.
    Conflict,
}

impl FailureCode {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EngineValidationError => "engine_validation_error",
            Self::EngineUnreachable => "engine_unreachable",
            Self::EngineProtocolViolation => "engine_protocol_violation",
            Self::GenerationInterrupted => "generation_interrupted",
            Self::StartInterrupted => "start_interrupted",
            Self::RtmUnavailable => "rtm_unavailable",
            Self::RtmRefused => "rtm_refused",
            Self::Conflict => "conflict",
        }
    }

    /// Whether it may pass by itself, so that Game Master asks the engine again unbidden. An engine
    /// that answers and refuses is never asked again without an operator.
    pub fn may_pass(self) -> bool {
        match self {
            Self::EngineUnreachable | Self::GenerationInterrupted => true,
            Self::EngineValidationError
            | Self::EngineProtocolViolation
            | Self::StartInterrupted
            | Self::RtmUnavailable
            | Self::RtmRefused
            | Self::Conflict => false,
        }
    }
}

/// Why a call to the engine gave no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFailure {
    /// What kind.
    pub kind: EngineFault,
    /// In words, for the record and the caller.
    pub message: String,
}

/// The ways a call to an engine fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineFault {
    /// It answered 4xx.
    Validation,
    /// It did not answer in time, could not be reached, or answered 5xx.
    Unreachable,
    /// It answered what cannot be read.
    ProtocolViolation,
    /// Its guard refused: it is not at the expected turn.
    TurnConflict,
    /// It refused an init because it was initialised before.
    AlreadyInitialised,
}

impl EngineFailure {
    /// As the record keeps it.
    pub fn to_failure(&self) -> Failure {
        let code = match self.kind {
            EngineFault::Validation => FailureCode::EngineValidationError,
            EngineFault::Unreachable => FailureCode::EngineUnreachable,
            // The last two are answers only to the one question they belong to; as the answer to
            // any other they make no sense.
            EngineFault::ProtocolViolation
            | EngineFault::TurnConflict
            | EngineFault::AlreadyInitialised => FailureCode::EngineProtocolViolation,
        };
        Failure::new(code, &self.message)
    }
}

/// Why a call to Runtime Manager failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmFailure {
    /// Whether it answered and refused, as opposed to not answering.
    pub refused: bool,
    /// In words.
    pub message: String,
}

impl RtmFailure {
    /// As the record keeps it.
    pub fn to_failure(&self) -> Failure {
        let code = if self.refused { FailureCode::RtmRefused } else { FailureCode::RtmUnavailable };
        Failure::new(code, &self.message)
    }
}
