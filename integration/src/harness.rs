//! Running the real thing: processes started, asked over HTTP, killed, and audited afterwards.

mod client;
mod process;

pub use client::Client;
pub use process::{PortBlock, Process, neighbour_program, program};
pub use service::audit::{Audit, audit_streams, everything};

use std::time::Duration;

use tokio::time::Instant;

/// How long a condition is waited for that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` gives something.
///
/// # Panics
/// Where it does not within [`PATIENCE`]: that is what the test is there to notice.
#[expect(clippy::panic, reason = "a failed expectation of a test")]
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        if Instant::now() > deadline {
            panic!("waited {PATIENCE:?} in vain for {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
}
