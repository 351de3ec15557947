//! `generation_in_progress`: the engine was asked for a turn, or is being asked whether it has it.

use super::admin::{self, Drain};
use super::draft::Draft;
use super::{Context, Verdict, health, turn};
use crate::audit::{OperationKind, Outcome};
use crate::event::{EngineState, Event};
use crate::failure::{EngineFailure, EngineFault, Failure, FailureCode};
use crate::ids::Ticket;
use crate::record::{Life, Pending, Runtime, Trigger, TurnClock, TurnStage, Work};
use crate::rejection::{Conflict, Ignored, Rejection};

/// The turn under way.
pub(super) struct Turn<'a> {
    pub(super) clock: TurnClock,
    pub(super) work: &'a Work,
    pub(super) stage: TurnStage,
    pub(super) trigger: Trigger,
}

pub(super) fn step(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Force | Event::Patch { .. } | Event::Reconcile => {
            admin::nothing_pending(pending)?;
            Err(Rejection::Conflict(Conflict::Generating))
        }
        Event::Stop { reason } => admin::stop(rt, pending, reason, Drain::WaitForTurn, cx),
        Event::TurnDone(ticket, result) => match turn.stage {
            TurnStage::Turn => turn_done(rt, turn, pending, *ticket, result, cx),
            TurnStage::ProbeThenTurn | TurnStage::ProbeAfterFence => Err(Rejection::Stale),
        },
        Event::ProbeDone(ticket, result) => match turn.stage {
            TurnStage::Turn => Err(Rejection::Stale),
            TurnStage::ProbeThenTurn | TurnStage::ProbeAfterFence => {
                probe_done(rt, turn, pending, *ticket, result, cx)
            }
        },
        Event::InitDone(..) => Err(Rejection::Stale),
        Event::WorkLeaseExpired => lease_expired(rt, turn, pending, cx),
        Event::Abandoned(ticket) if rt.work_matches(*ticket) => {
            Ok(abandoned(rt, turn, pending, cx))
        }
        Event::Abandoned(ticket) => admin::abandoned(rt, *ticket, cx),
        Event::Health(report) => health::container_report(rt, pending, report, cx),
        Event::SummaryDue => health::summary_due(rt, cx),
        Event::StopDone(ticket, result) => admin::stop_done(rt, *ticket, result, cx),
        Event::PatchDone(ticket, result) => admin::patch_done(rt, *ticket, result, cx),
        Event::PendingLeaseExpired => admin::lease_expired(rt, pending, cx),
        Event::Tick | Event::RetryDue => Err(Rejection::Ignored(Ignored::Status)),
    }
}

/// INVARIANT `fenced_reply_changes_nothing`: status alone would not do. A turn abandoned, recovered
/// and begun again is in the same status, and the first one's late answer must not end the second.
fn turn_done(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    ticket: Ticket,
    result: &Result<EngineState, EngineFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if !rt.work_matches(ticket) {
        return Err(Rejection::Stale);
    }
    match result {
        Ok(state) => Ok(match reached(rt, state) {
            Ok(Reached::Next(stats)) => {
                let operation = Some(turn.work.operation);
                turn::complete(Draft::of(rt, cx), turn.clock, operation, pending, state, stats)
            }
            Ok(Reached::Same(_)) => {
                fail(rt, turn, pending, turn::impossible_turn(rt.current_turn, state.turn), cx)
            }
            Err(failure) => fail(rt, turn, pending, failure, cx),
        }),
        // The engine is not where the record says: perhaps it has generated the turn for a request
        // that was given up. It says itself.
        Err(failure) if failure.kind == EngineFault::TurnConflict => {
            // An engine whose guard refuses the very turn that its status calls for would be asked
            // in turns for ever, without a pause.
            if rt.tries >= cx.policy.max_tries {
                let message = "the engine refuses the turn that its own status calls for";
                let failure = Failure::new(FailureCode::EngineProtocolViolation, message);
                return Ok(fail(rt, turn, pending, failure, cx));
            }
            let mut d = Draft::of(rt, cx);
            d.next.tries = d.next.tries.saturating_add(1);
            d.note(OperationKind::Recovery, Outcome::Succeeded);
            Ok(ask_where_it_stands(d, turn, pending))
        }
        Err(failure) => Ok(fail(rt, turn, pending, failure.to_failure(), cx)),
    }
}

fn probe_done(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    ticket: Ticket,
    result: &Result<EngineState, EngineFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if !rt.work_matches(ticket) {
        return Err(Rejection::Stale);
    }
    let state = match result {
        Ok(state) => state,
        Err(failure) => return Ok(fail(rt, turn, pending, failure.to_failure(), cx)),
    };
    let mut d = Draft::of(rt, cx);
    Ok(match reached(rt, state) {
        // Adopted, never generated twice.
        Ok(Reached::Next(stats)) => {
            turn::complete(d, turn.clock, Some(turn.work.operation), pending, state, stats)
        }
        Ok(Reached::Same(stats)) if state.finished => {
            d.close(turn.work.operation, Outcome::Succeeded);
            d.next.player_turn_stats = stats;
            turn::finish(d, pending)
        }
        Ok(Reached::Same(_)) if pending.is_none() && may_ask_again(rt, turn.stage) => {
            d.note(OperationKind::Recovery, Outcome::Succeeded);
            let work = d.generate(turn.work.operation);
            let (clock, trigger, stage) = (turn.clock, turn.trigger, TurnStage::Turn);
            d.next.life = Life::Generating { clock, work, trigger, stage, pending: None };
            d.commit()
        }
        Ok(Reached::Same(_)) => {
            let message = "the generation was abandoned and the engine has not generated the turn";
            let failure = Failure::new(FailureCode::GenerationInterrupted, message);
            fail(rt, turn, pending, failure, cx)
        }
        Err(failure) => fail(rt, turn, pending, failure, cx),
    })
}

/// Without a guard the abandoned request may still be on its way, and a second one would generate
/// two turns. An operator who forces a failed game takes that upon himself.
fn may_ask_again(rt: &Runtime, stage: TurnStage) -> bool {
    match stage {
        TurnStage::ProbeThenTurn => true,
        TurnStage::ProbeAfterFence | TurnStage::Turn => rt.engine.turn_guard,
    }
}

/// Where the engine stands, seen from the record.
enum Reached {
    /// At the turn that was asked for.
    Next(Vec<crate::record::PlayerStats>),
    /// At the turn before.
    Same(Vec<crate::record::PlayerStats>),
}

fn reached(rt: &Runtime, state: &EngineState) -> Result<Reached, Failure> {
    let stats = turn::standings(&rt.roster, state)
        .map_err(|problem| Failure::new(FailureCode::EngineProtocolViolation, problem))?;
    if Some(state.turn) == rt.current_turn.checked_add(1) {
        Ok(Reached::Next(stats))
    } else if state.turn == rt.current_turn {
        Ok(Reached::Same(stats))
    } else {
        Err(turn::impossible_turn(rt.current_turn, state.turn))
    }
}

fn lease_expired(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if turn.work.lease.expires_at > cx.now {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    Ok(abandoned(rt, turn, pending, cx))
}

/// Whoever asked is gone: fence it off, and find the truth by asking.
fn abandoned(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Verdict {
    let mut d = Draft::of(rt, cx);
    d.note(OperationKind::Recovery, Outcome::Succeeded);
    ask_where_it_stands(d, turn, pending)
}

fn ask_where_it_stands(mut d: Draft<'_>, turn: &Turn<'_>, pending: Option<&Pending>) -> Verdict {
    let work = d.probe(turn.work.operation);
    let stage = TurnStage::ProbeAfterFence;
    let (clock, trigger, pending) = (turn.clock, turn.trigger, pending.cloned());
    d.next.life = Life::Generating { clock, work, trigger, stage, pending };
    d.commit()
}

fn fail(
    rt: &Runtime,
    turn: &Turn<'_>,
    pending: Option<&Pending>,
    failure: Failure,
    cx: &Context<'_>,
) -> Verdict {
    let operation = Some(turn.work.operation);
    turn::fail(Draft::of(rt, cx), turn.clock, operation, pending, failure)
}
