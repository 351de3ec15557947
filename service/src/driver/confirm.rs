//! Making sure of a commit whose answer was lost.

use std::fmt::Display;
use std::time::Duration;

use crate::ports::{CommitError, StoreError};

/// How often a commit whose answer was lost is repeated within one call.
const MAX_REPEATS: u32 = 5;
/// The pause before the first such repeat; doubled each time.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// Makes a commit; where the answer was lost, finds out by repeating it under its name. `doubt` is
/// called once what happened is not known, before each repeat.
///
/// The answer `Indeterminate` means that no repeat was answered either.
pub(crate) async fn confirmed<T, Made>(
    about: &(dyn Display + Sync),
    doubt: impl Fn(),
    mut make: impl FnMut() -> Made,
) -> Result<T, CommitError>
where
    Made: Future<Output = Result<T, CommitError>>,
{
    let mut pause = REPEAT_PAUSE;
    let mut unknown = false;
    for _ in 0..MAX_REPEATS {
        match make().await {
            Ok(committed) => return Ok(committed),
            // SUBTLE: that a repeat did not happen says nothing of the first try.
            Err(CommitError::Determinate(error)) if !unknown => {
                return Err(CommitError::Determinate(error));
            }
            Err(CommitError::Determinate(error) | CommitError::Indeterminate(error)) => {
                tracing::warn!(%about, %error, "repeating a commit");
                doubt();
                unknown = true;
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(CommitError::Indeterminate(StoreError("no answer to any repeat of a commit".into())))
}
