//! Plans in files.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sim::plan::Plan;

use super::child::Lives;

/// A plan that is kept, and what is known of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// Why it is kept.
    #[serde(default)]
    pub(super) note: String,
    /// The promise that it breaks; none: everything holds.
    #[serde(default)]
    pub(super) breaks: Option<String>,
    /// The build that wrote it down; none: it is meant for every build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) build: Option<String>,
    /// The plan.
    pub(super) plan: Plan,
}

impl Kept {
    /// A plan of this build, of which nothing else is known.
    pub(super) fn of(plan: Plan, lives: &Lives) -> io::Result<Self> {
        Ok(Self { note: String::new(), breaks: None, build: Some(lives.build()?), plan })
    }
}

pub(super) fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(kept)?;
    text.push('\n');
    std::fs::write(path, text)
}

pub(super) fn read(path: &Path) -> io::Result<Kept> {
    let told =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let kept: Kept = serde_json::from_str(&text).map_err(|error| told(&error))?;
    kept.plan.check().map_err(|mistake| told(&mistake))?;
    Ok(kept)
}
