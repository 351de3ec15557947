//! What was heard of the container.

use serde::{Deserialize, Serialize};

use crate::ids::StreamId;
use crate::time::Timestamp;

/// The summary of an engine's health.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// Nothing was heard of this container yet.
    #[default]
    Unknown,
    /// It answers its probes.
    Healthy,
    /// It missed too many probes in a row.
    ProbeFailed,
    /// The container runtime calls it unhealthy.
    InspectUnhealthy,
    /// Its process ended.
    Exited,
    /// It was killed for want of memory.
    Oom,
    /// The container is no longer there.
    Disappeared,
}

impl Summary {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::ProbeFailed => "probe_failed",
            Self::InspectUnhealthy => "inspect_unhealthy",
            Self::Exited => "exited",
            Self::Oom => "oom",
            Self::Disappeared => "disappeared",
        }
    }

    /// Whether it says that the container no longer runs.
    pub fn means_down(self) -> bool {
        match self {
            Self::Exited | Self::Oom | Self::Disappeared => true,
            Self::Unknown | Self::Healthy | Self::ProbeFailed | Self::InspectUnhealthy => false,
        }
    }
}

/// What was heard of the container, and what of it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The latest summary.
    pub summary: Summary,
    /// The stream id of the last event applied.
    pub cursor: Option<StreamId>,
    /// The summary last published.
    pub published: Option<Summary>,
    /// Until when no further change of the summary alone is published.
    pub publish_at: Option<Timestamp>,
}
