//! What an observer of the commits writes down and holds against the next ones: the rules that no
//! single commit can show. It knows what must hold, not how the machine keeps it.

use crate::decide::Commit;
use crate::event::Ev;
use crate::record::{Phase, Rec};
use crate::rule::Rule;
use crate::state::{Ghost, Owed};

/// A commit that was decided on `seen` replaces `there`.
pub fn commit(ghost: &mut Ghost, there: Option<&Rec>, seen: Option<&Rec>, ev: Ev, commit: &Commit) {
    ghost.broken.add(commit.broken);
    if there != seen {
        replaced_another(ghost, there, commit.next.as_ref());
    }
    messages(ghost, commit);
    if let Ev::Health(report) = ev {
        ghost.broken.note(Rule::HealthEventsOnceInOrder, report.number <= ghost.health);
        ghost.health = ghost.health.max(report.number);
    }
    match (there, &commit.next) {
        (Some(before), Some(next)) => turn_clock(ghost, before, next),
        (None, _) | (_, None) => {
            let Ghost { broken, lied, .. } = *ghost;
            *ghost = Ghost { broken, lied, ..Ghost::default() };
        }
    }
}

/// The compare-and-set let something pass that was decided on another record.
fn replaced_another(ghost: &mut Ghost, there: Option<&Rec>, next: Option<&Rec>) {
    ghost.broken.note(Rule::RevisionGrowsByOne, true);
    let Some(there) = there else { return };
    ghost.broken.note(Rule::FinishedIsFinal, there.phase == Phase::Finished);
    let stopped = there.phase == Phase::Stopped;
    let stays = next.is_some_and(|next| next.phase == there.phase && next.turn == there.turn);
    ghost.broken.note(Rule::StoppedIsFinal, stopped && !stays);
    if let Some(next) = next
        && next.incarnation == there.incarnation
    {
        let grown = next.turn.checked_sub(there.turn);
        ghost.broken.note(Rule::NoTurnTwice, !matches!(grown, Some(0 | 1)));
    }
}

/// The messages of a commit, or those of a repeat that the store took for another commit.
pub fn messages(ghost: &mut Ghost, commit: &Commit) {
    ghost.broken.note(Rule::GameFinishedIsLast, ghost.told_the_end && commit.messages > 0);
    ghost.told_the_end |= commit.the_end;
}

/// `force_skips_exactly_one_tick`: a forced turn, or a series of them until one succeeds, replaces
/// exactly one regular turn: one that passed meanwhile, or else the next one ahead. No other is
/// left out.
fn turn_clock(ghost: &mut Ghost, before: &Rec, next: &Rec) {
    let generating = |rec: &Rec| matches!(rec.phase, Phase::Generating { .. });
    if !generating(before) && generating(next) {
        if matches!(next.phase, Phase::Generating { forced: true, .. }) {
            if ghost.owed == Owed::Nothing {
                // A regular turn that is due and was not tried yet is one that may be replaced.
                let due = before.phase == Phase::Running && before.next == 0;
                ghost.owed = if due { Owed::Passed } else { Owed::Ahead };
            }
        } else if ghost.owed == Owed::Passed {
            // The regular turn that passed is generated now.
            ghost.owed = Owed::Ahead;
        }
    }
    if next.turn == before.turn || next.phase != Phase::Running {
        return;
    }
    let ahead = 1..next.next.min(8);
    let left_out: u8 = ahead.fold(0, |all, hour| all | 1 << (hour - 1)) & !ghost.replaced;
    let wrong = match ghost.owed {
        Owed::Nothing => left_out != 0,
        Owed::Ahead => left_out.count_ones() != 1,
        Owed::Passed => left_out.count_ones() > 1,
    };
    ghost.broken.note(Rule::ForceSkipsExactlyOneTick, wrong);
    ghost.replaced |= left_out;
    ghost.owed = Owed::Nothing;
}

/// An hour passes.
pub fn hour(ghost: &mut Ghost) {
    ghost.replaced >>= 1;
    if ghost.owed == Owed::Ahead {
        ghost.owed = Owed::Passed;
    }
}
