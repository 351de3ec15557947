//! How the embedded store fails.

use std::path::PathBuf;

use crate::ports::{CommitError, StoreError, StreamError};

/// Why a file cannot be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody has it open.
    #[error("{path}: the store is open already, in another process or in this one")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is another kind of file, or a damaged one.
    #[error("{path}: this is not a store of Game Master, or it is damaged: {reason}")]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// It was written by another version of Game Master.
    #[error("{path}: the store has format {found}, this version reads format {expected}")]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What is understood.
        expected: &'static str,
    },
    /// A row says what no row can say.
    #[error("{path}: the row {key:?} of {table} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The row's key.
        key: String,
        /// In words.
        reason: String,
    },
    /// The file cannot be read or written at all.
    #[error("{path}: the store cannot be opened: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
}

/// Why a write was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteError {
    /// It did not happen and will not.
    Refused(String),
    /// It may have happened, or may yet.
    Unknown(String),
}

impl WriteError {
    fn into_text(self) -> String {
        match self {
            Self::Refused(text) | Self::Unknown(text) => text,
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        Self(error.into_text())
    }
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        Self(error.into_text())
    }
}

impl From<WriteError> for CommitError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(text) => Self::Determinate(StoreError(text)),
            WriteError::Unknown(text) => Self::Indeterminate(StoreError(text)),
        }
    }
}
