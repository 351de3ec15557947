//! Who may say what came of a question to an engine.

use machine::{AuditMark, Runtime};
use service::ports::Commit;

/// Whether a commit ends a question with an answer, though it is another instance that asks: one that
/// was given up, and whose answer came all the same.
///
/// Whoever takes a question away from somebody else leaves a mark of why, but for whoever takes an
/// abandoned registration back; where something is pending at Runtime Manager, its end may end the
/// question too.
pub(super) fn is_foreign_answer(
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

#[cfg(test)]
mod tests {
    use machine::Event;
    use service::conformance::{Game, Rng};

    use super::*;

    #[test]
    fn an_answer_counts_from_whoever_asks_and_whoever_takes_over_says_so() {
        let (mut game, mut rng) = (Game::new("game-1"), Rng::new(1));
        let mut passed = |game: &mut Game, event: &Event| {
            let commit = game.must(event, &mut rng);
            let before = game.record.clone();
            game.applied(&commit);
            let by = |author| {
                is_foreign_answer(&commit, author, before.as_deref(), commit.next.as_deref())
            };
            (by("gm-1"), by("gm-2"))
        };
        let register = game.registration(&mut Rng::new(2));
        assert_eq!(passed(&mut game, &register), (false, false), "nobody asked yet");
        let init_done = game.init_done();
        assert_eq!(passed(&mut game, &init_done), (false, true), "gm-1 asked");
        assert_eq!(passed(&mut game, &Event::Force), (false, false), "a question begins");
        game.now += chrono::TimeDelta::minutes(10);
        let expired = passed(&mut game, &Event::WorkLeaseExpired);
        assert_eq!(expired, (false, false), "anybody may take it over, and leaves a mark");
    }
}
