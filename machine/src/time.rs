//! Instants. The machine never reads a clock: every instant is an argument.

/// A UTC instant; millisecond precision by convention (the clock at the edge truncates).
pub type Timestamp = chrono::DateTime<chrono::Utc>;
