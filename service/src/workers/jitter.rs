//! Waits that are not the same for everybody.

use std::time::Duration;

use crate::ports::Entropy;

/// Between the whole and one and a half times as long.
pub(super) fn jittered(pause: Duration, entropy: &dyn Entropy) -> Duration {
    /// Of the identifier's last bits, which are random in every version there is.
    const STEPS: u128 = 1024;
    let step = u32::try_from(entropy.uuid().as_u128() % STEPS).unwrap_or(0);
    pause + pause * step / (2 * 1024)
}
