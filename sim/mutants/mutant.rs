//! Which mutant is on. Of the copy of the sources that `gm-sim mutants` builds, never of these.

use std::sync::OnceLock;

/// Whether it is this one.
pub fn is(name: &str) -> bool {
    static ON: OnceLock<Option<String>> = OnceLock::new();
    ON.get_or_init(|| std::env::var("GM_SIM_MUTANT").ok()).as_deref() == Some(name)
}
