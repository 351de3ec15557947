//! Whether what is promised was kept: held against what the engines generated and what the streams
//! tell, not against what Game Master says of itself.

use std::collections::BTreeSet;
use std::path::Path;

use machine::{Runtime, Status};

use crate::audit::{Audit, audit_streams};
use crate::dev::DevError;
use crate::embedded::Embedded;
use crate::ports::Store as _;

/// What there is to judge of one game.
#[derive(Clone, Debug)]
struct Evidence {
    game: String,
    status: Status,
    /// The last turn recorded.
    turn: u32,
    /// The turns that its engine generated, in order.
    engine: Vec<u32>,
    /// What the streams tell.
    told: Audit,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The games looked at.
    pub(super) games: usize,
    /// Their turns.
    pub(super) turns: u64,
    /// Messages that are still to be published.
    pub(super) waiting: u64,
    /// What is lost, doubled or out of order, in words; nothing where all is well.
    pub(super) wrong: Vec<String>,
}

/// Judges once everything has ended. `engines` is where the engines keep their games.
pub(super) async fn judge(
    embedded: &Embedded,
    engines: &Path,
    most_games: usize,
) -> Result<Verdict, DevError> {
    let mut verdict =
        Verdict { waiting: embedded.outbox_backlog().await?.waiting, ..Verdict::default() };
    let told = match audit_streams(embedded).await {
        Ok(Ok(told)) => told,
        Ok(Err(wrong)) => {
            verdict.wrong = wrong;
            return Ok(verdict);
        }
        Err(error) => {
            verdict.wrong.push(error.to_string());
            return Ok(verdict);
        }
    };
    for record in embedded.list(None, None, most_games).await? {
        let game = record.game_id.to_string();
        let told = told.get(&game).cloned().unwrap_or_default();
        match evidence(&record, engines, told) {
            Ok(evidence) => {
                verdict.games += 1;
                verdict.turns += u64::from(evidence.turn);
                verdict.wrong.extend(complaints(&evidence, verdict.waiting > 0));
            }
            Err(error) => verdict.wrong.push(format!("{game}: its engine's game: {error}")),
        }
    }
    Ok(verdict)
}

fn evidence(record: &Runtime, engines: &Path, told: Audit) -> std::io::Result<Evidence> {
    let game = record.game_id.to_string();
    let generated = peers::engine::generated_turns(&engines.join(format!("{game}.json")))?;
    let engine = generated.iter().map(|generated| generated.turn).collect();
    Ok(Evidence { game, status: record.status(), turn: record.current_turn, engine, told })
}

/// What is wrong with one game. Where messages wait, the streams may be behind.
fn complaints(evidence: &Evidence, behind: bool) -> Vec<String> {
    let Evidence { game, status, turn, engine, told } = evidence;
    let (turn, finished) = (*turn, *status == Status::Finished);
    let mut wrong = vec![];
    let generated = u32::try_from(engine.len()).unwrap_or(u32::MAX);
    if !engine.iter().copied().eq(1..=generated) {
        wrong.push(format!("{game}: its engine generated {engine:?}, not each turn once"));
    }
    // Ended in the middle of a turn, the engine may be ahead by it: it is adopted at the next start.
    let ahead = generated.checked_sub(turn);
    if !(ahead == Some(0) || ahead == Some(1) && !status.is_final()) {
        wrong.push(format!("{game}: turn {turn} is recorded, its engine is at {generated}"));
    }
    if *status == Status::Starting {
        // Nothing is told of a game that is not registered yet.
        return wrong;
    }
    let every: Vec<u32> = (0..=turn).collect();
    let complete = told.turns == every || behind && every.starts_with(&told.turns);
    if !complete {
        wrong.push(format!("{game}: Lobby was told of turns {:?} of {turn}", told.turns));
    }
    let end_may_wait = behind && !told.finished;
    if told.finished != finished && !end_may_wait {
        wrong.push(format!("{game}: its end was told: {}, came: {finished}", told.finished));
    }
    let last = if finished { turn.saturating_sub(1) } else { turn };
    let due: BTreeSet<u32> = (1..=last).collect();
    let notified = told.notified == due || behind && told.notified.is_subset(&due);
    if !notified {
        wrong.push(format!("{game}: players were told of turns {:?} of {turn}", told.notified));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(turn: u32) -> Evidence {
        Evidence {
            game: "aurora".into(),
            status: Status::Finished,
            turn,
            engine: (1..=turn).collect(),
            told: Audit {
                turns: (0..=turn).collect(),
                finished: true,
                notified: (1..turn).collect(),
            },
        }
    }

    fn running(turn: u32) -> Evidence {
        let told =
            Audit { turns: (0..=turn).collect(), finished: false, notified: (1..=turn).collect() };
        Evidence { status: Status::Running, told, ..finished(turn) }
    }

    fn broken(mut evidence: Evidence, how: impl FnOnce(&mut Evidence)) -> usize {
        how(&mut evidence);
        complaints(&evidence, false).len()
    }

    #[test]
    fn a_game_that_is_told_as_it_was_played_is_well() {
        for evidence in [finished(5), finished(1), running(0), running(5)] {
            assert_eq!(complaints(&evidence, false), Vec::<String>::new(), "{evidence:?}");
        }
    }

    #[test]
    fn what_is_lost_or_doubled_is_seen() {
        assert_eq!(broken(finished(5), |e| e.engine = vec![1, 2, 2, 4, 5]), 1);
        assert_eq!(broken(finished(5), |e| e.engine.push(6)), 1);
        assert_eq!(broken(finished(5), |e| e.engine.truncate(4)), 1);
        assert_eq!(broken(running(5), |e| e.engine.extend([6, 7])), 1);
        assert_eq!(broken(running(5), |e| e.engine.push(6)), 0, "to be adopted");
        assert_eq!(broken(finished(5), |e| e.told.turns.truncate(5)), 1);
        assert_eq!(broken(finished(5), |e| e.told.finished = false), 1);
        assert_eq!(broken(running(5), |e| e.told.finished = true), 1);
        assert_eq!(broken(finished(5), |e| e.told.notified.clear()), 1);
        assert_eq!(broken(running(5), |e| _ = e.told.notified.remove(&3)), 1);
        assert_eq!(broken(running(5), |e| _ = e.told.notified.insert(6)), 1);
    }

    #[test]
    fn streams_that_are_behind_may_lack_the_end_and_nothing_else() {
        let mut evidence = running(5);
        evidence.told.turns.truncate(3);
        evidence.told.notified.remove(&5);
        assert_eq!(complaints(&evidence, true), Vec::<String>::new());
        assert_eq!(complaints(&evidence, false).len(), 2);
        evidence.told.turns = vec![0, 2];
        assert_eq!(complaints(&evidence, true).len(), 1);
    }
}
