//! Which failures say that nothing happened, and which say nothing.

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::ports::{CommitError, StoreError};

/// Why a store cannot be opened. Never carries the URL, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be read.
    #[error("the URL of PostgreSQL must be postgresql://user:password@host:port/database")]
    BadUrl,
    /// The URL asks for what is not there.
    #[error("the URL of PostgreSQL asks for {0}")]
    Unsupported(&'static str),
    /// The pool cannot be made.
    #[error("the pool of connections cannot be made: {0}")]
    Pool(String),
}

/// What became of a statement that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not happen and will not.
    Refused(String),
    /// It did not happen, because of somebody else's transaction: it may well the next time.
    Again(String),
    /// It may have happened, or may yet.
    Unknown(String),
}

impl Fault {
    /// No connection was to be had.
    pub(super) fn no_connection(error: &PoolError) -> Self {
        let text = match error {
            PoolError::Timeout(TimeoutType::Wait) => "all connections are in use".into(),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                "PostgreSQL cannot be reached in time".into()
            }
            PoolError::Backend(error) => format!("PostgreSQL cannot be reached: {}", told(error)),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                "the pool is closed".into()
            }
        };
        Self::Refused(text)
    }

    /// The statement was not sent yet.
    pub(super) fn before_sending(error: &Error) -> Self {
        Self::Refused(told(error))
    }

    /// The statement was sent. SUBTLE: an error that the server sends in answer to a statement says
    /// that its transaction was rolled back; one by which it ends the connection may come after a
    /// commit. What is no answer of the server, or not a known one, leaves the doubt.
    pub(super) fn after_sending(error: &Error) -> Self {
        let text = told(error);
        match error.as_db_error() {
            Some(db) if !leaves_a_doubt(db) => match db.code().code() {
                "40001" | "40P01" => Self::Again(text),
                _ => Self::Refused(text),
            },
            Some(_) | None => Self::Unknown(text),
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Refused(text) | Self::Again(text) | Self::Unknown(text) => text,
        }
    }
}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(text) | Fault::Again(text) => Self::Determinate(StoreError(text)),
            Fault::Unknown(text) => Self::Indeterminate(StoreError(text)),
        }
    }
}

fn leaves_a_doubt(db: &DbError) -> bool {
    let ends_the_connection =
        db.parsed_severity().is_none_or(|s| matches!(s, Severity::Fatal | Severity::Panic));
    let code = db.code().code();
    // Class 08: the connection; 40003: the statement's completion is unknown.
    ends_the_connection || code.starts_with("08") || code == "40003"
}

/// Whether a connection is of no use after this: it ended, it leads to a server that does not write
/// (25006, after a failover), or the server has lost the statements prepared on it (26000, 0A000).
pub(super) fn spoils(error: &Error) -> bool {
    error.as_db_error().is_none_or(|db| {
        leaves_a_doubt(db) || matches!(db.code().code(), "25006" | "26000" | "0A000")
    })
}

/// In words, fit for a log: of what the server says, only the message and its code. Details quote
/// the data.
pub(super) fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let message: String = db.message().escape_debug().take(MAX_TOLD_CHARS).collect();
            format!("{message} ({})", db.code().code())
        }
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default()).chars().take(MAX_TOLD_CHARS).collect()
        }
    }
}

const MAX_TOLD_CHARS: usize = 300;
