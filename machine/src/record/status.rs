//! The status of a runtime, as the world sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// See [`crate::record::Life::Starting`].
    Starting,
    /// See [`crate::record::Life::Running`].
    Running,
    /// See [`crate::record::Life::Generating`].
    GenerationInProgress,
    /// See [`crate::record::Life::Failed`].
    GenerationFailed,
    /// See [`crate::record::Life::Stopped`].
    Stopped,
    /// See [`crate::record::Life::Unreachable`].
    EngineUnreachable,
    /// See [`crate::record::Life::Finished`].
    Finished,
}

impl Status {
    /// All seven, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::GenerationInProgress,
        Self::GenerationFailed,
        Self::Stopped,
        Self::EngineUnreachable,
        Self::Finished,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::GenerationInProgress => "generation_in_progress",
            Self::GenerationFailed => "generation_failed",
            Self::Stopped => "stopped",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Finished => "finished",
        }
    }

    /// Whether nothing can ever change the status again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Finished)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
