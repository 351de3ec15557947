//! Who may say what came of a question to an engine.

use machine::{AuditMark, Runtime};
use service::ports::Commit;

/// Whether a commit ends a question with an answer, though it is another instance that asks: one that
/// was given up, and whose answer came all the same.
///
/// Whoever takes a question away from somebody else leaves a mark of why, but for whoever takes an
/// abandoned registration back; where something is pending at Runtime Manager, its end may end the
/// question too.
pub(super) fn is_passed(
    commit: &Commit,
    author: &str,
    before: Option<&Runtime>,
    after: Option<&Runtime>,
) -> bool {
    let Some(work) = before.filter(|rt| rt.pending().is_none()).and_then(Runtime::work) else {
        return false;
    };
    let Some(after) = after else { return false };
    let goes_on = after.work().is_some_and(|next| next.attempt == work.attempt);
    let is_answer = commit.audit.iter().all(|entry| matches!(entry.mark, AuditMark::Closed(_)));
    !goes_on && is_answer && work.lease.owner.as_str() != author
}
