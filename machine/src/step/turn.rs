//! How a turn begins and how it ends, whoever asked for it and however the answer came.

use super::Verdict;
use super::admin;
use super::draft::Draft;
use crate::audit::Outcome;
use crate::event::EngineState;
use crate::failure::{Failure, FailureCode};
use crate::ids::OperationId;
use crate::message::NotificationType;
use crate::record::{Life, Member, Pending, PlayerStats, Repair, Roster, Trigger, TurnClock};
use crate::time::Timestamp;

/// The players' standing as the engine tells it, in the roster's order; a race the engine no longer
/// lists has nothing left.
///
/// An engine that names a race nobody plays here, or one twice, is not telling of this game.
pub(super) fn standings(roster: &Roster, state: &EngineState) -> Result<Vec<PlayerStats>, String> {
    let mut seen = std::collections::BTreeMap::new();
    for player in &state.players {
        if roster.by_race(&player.race_name).is_none() {
            return Err(format!("the engine tells of race {:?} of no member", player.race_name));
        }
        if seen.insert(player.race_name.as_str(), player).is_some() {
            return Err(format!("the engine tells of race {:?} twice", player.race_name));
        }
    }
    let standing = |member: &Member| {
        let player = seen.get(member.race_name.as_str());
        PlayerStats {
            user_id: member.user_id.clone(),
            planets: player.map_or(0, |p| p.planets),
            population: player.map_or(0, |p| p.population),
        }
    };
    Ok(roster.members().iter().map(standing).collect())
}

/// The engine is at a turn that the record does not lead to.
pub(super) fn impossible_turn(current: u32, told: u32) -> Failure {
    Failure::new(
        FailureCode::EngineProtocolViolation,
        format!("the engine is at turn {told}, the record at {current}"),
    )
}

impl TurnClock {
    /// The clock once a turn is complete.
    ///
    /// INVARIANT `force_skips_exactly_one_tick`: a forced turn replaces the one regular turn named
    /// in `skip`. SUBTLE: "the occurrence after the next one, from now" would skip a second one
    /// where the forced turn took so long that the replaced one passed meanwhile.
    ///
    /// INVARIANT `no_instant_twice`: no instant has two regular turns. SUBTLE: by the clock of whoever
    /// records the turn it may not be due yet: clocks are set back, and another process may have begun
    /// it. `due_at` is the instant of the regular turn that is complete. Of a turn that had failed, and
    /// that the engine is found to have all the same, it is not known any more: such a one may be due
    /// again where the clock was set back over it.
    fn after_turn(
        self,
        schedule: &crate::schedule::Schedule,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let after = now.max(self.skip.unwrap_or(now)).max(due_at.unwrap_or(now));
        // A turn that was generated unasked and adopted before the next one is due must not bring
        // back one that an earlier forced turn replaced: the clock never goes back.
        let next_generation_at = schedule.next(after).max(self.next_generation_at);
        Self { next_generation_at, skip: None }
    }
}

/// A complete turn `c + 1`: answered, or found to have been generated.
pub(super) fn complete(
    mut d: Draft<'_>,
    clock: TurnClock,
    operation: Option<OperationId>,
    pending: Option<&Pending>,
    state: &EngineState,
    stats: Vec<PlayerStats>,
) -> Verdict {
    let due_at = d.next.trigger().and_then(Trigger::due_at);
    // INVARIANT `no_turn_twice`: the only place where the turn grows, and it grows by one.
    d.next.current_turn += 1;
    d.next.player_turn_stats = stats;
    d.next.last_failure = None;
    d.next.tries = 0;
    if let Some(operation) = operation {
        d.close(operation, Outcome::Succeeded);
    }
    if state.finished {
        return finish(d, pending);
    }
    let clock = clock.after_turn(&d.next.schedule, due_at, d.cx.now);
    let pending = admin::release(&mut d, pending);
    d.next.life = Life::Running { clock, pending };
    d.snapshot();
    let turn = d.next.current_turn;
    d.intend(NotificationType::TurnReady, turn, None);
    d.commit()
}

/// The end of the game wins over whatever is pending.
pub(super) fn finish(mut d: Draft<'_>, pending: Option<&Pending>) -> Verdict {
    if let Some(pending) = pending {
        let message = "the game finished first";
        d.close(pending.operation, Outcome::Failed(Failure::new(FailureCode::Conflict, message)));
        d.fence();
    }
    d.next.life = Life::Finished { at: d.cx.now };
    d.game_finished();
    let turn = d.next.current_turn;
    d.intend(NotificationType::Finished, turn, None);
    d.commit()
}

/// A generation that failed; also where an unwell engine turns out to be wrong rather than silent.
pub(super) fn fail(
    mut d: Draft<'_>,
    clock: TurnClock,
    operation: Option<OperationId>,
    pending: Option<&Pending>,
    failure: Failure,
) -> Verdict {
    if let Some(operation) = operation {
        d.close(operation, Outcome::Failed(failure.clone()));
    }
    let again = failure.code.may_pass() && d.next.tries < d.cx.policy.max_tries;
    let retry_at = again.then(|| d.cx.now + d.cx.policy.retry_delay(d.next.tries));
    let changes_status = !matches!(d.next.life, Life::Failed { .. });
    let pending = admin::release(&mut d, pending);
    d.next.life = Life::Failed { clock, repair: Repair { probe: None, retry_at }, pending };
    d.next.last_failure = Some(failure.clone());
    if changes_status {
        d.snapshot();
    }
    let turn = d.next.current_turn.saturating_add(1);
    if d.next.failure_announced_for != Some(turn) {
        d.next.failure_announced_for = Some(turn);
        d.intend(NotificationType::GenerationFailed, turn, Some(&failure));
    }
    d.commit()
}
