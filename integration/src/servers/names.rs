//! Names of what tests leave on servers that others use too: from each it can be told which process
//! made it, so that what the dead have left can be removed, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

/// Names of this process, apart from each other.
static USED: AtomicU64 = AtomicU64::new(0);

/// A name that nobody else uses: letters, digits and `_`, at most 60 of them.
pub(crate) fn fresh() -> String {
    let n = USED.fetch_add(1, Ordering::Relaxed);
    // The start of a process tells it from an earlier one of the same number.
    let started = std::fs::metadata("/proc/self").and_then(|data| data.modified()).ok();
    let started = started.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{}{}_{:x}_{n}", prefix(), std::process::id(), started.as_millis())
}

/// What the names of all processes begin with that run where this one does.
pub(crate) fn prefix() -> String {
    // Numbers of processes mean something within one boot and one container.
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let place = Sha256::new().chain_update(boot).chain_update(space.as_os_str().as_encoded_bytes());
    let place: String = place.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("gm_test_{place}_")
}

/// Whether a name was made here, by a process that is gone.
pub(crate) fn is_left_behind(name: &str) -> bool {
    let process = name.strip_prefix(&prefix()).and_then(|rest| rest.split('_').next());
    let process = process.and_then(|number| number.parse::<u32>().ok());
    process.is_some_and(|number| !std::path::Path::new(&format!("/proc/{number}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_of_this_place_made_is_left_behind() {
        let (one, two) = (fresh(), fresh());
        assert_ne!(one, two);
        assert!(one.len() <= 60 && one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert!(!is_left_behind(&one), "we live");
        // The system's limit is far below it.
        assert!(is_left_behind(&format!("{}4294967295_0_0", prefix())));
        assert!(!is_left_behind("gm_test_00000000_4294967295_0_0"), "made elsewhere");
        for other in ["postgres", "gm_test_", &prefix(), &format!("{}x_1", prefix())] {
            assert!(!is_left_behind(other), "{other}");
        }
    }
}
