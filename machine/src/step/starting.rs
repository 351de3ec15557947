//! `starting`: the engine is being initialised. Ends in `running`, or as if it had never been.

use super::admin::{self, Drain};
use super::draft::Draft;
use super::health::{self, Voice};
use super::{Context, Verdict, turn};
use crate::audit::{OperationKind, Outcome};
use crate::event::{EngineState, Event};
use crate::failure::{EngineFailure, EngineFault, Failure, FailureCode};
use crate::ids::Ticket;
use crate::record::{
    InitStage, Life, Member, Pending, PlayerStats, Roster, Runtime, Status, TurnClock,
};
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(
    rt: &Runtime,
    stage: InitStage,
    pending: Option<&Pending>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::InitDone(ticket, result) => match stage {
            InitStage::Call => initialised(rt, pending, *ticket, result, cx),
            InitStage::Verify => Err(Rejection::Stale),
        },
        Event::ProbeDone(ticket, result) => match stage {
            InitStage::Call => Err(Rejection::Stale),
            InitStage::Verify => verified(rt, pending, *ticket, result, cx),
        },
        Event::TurnDone(..) => Err(Rejection::Stale),
        Event::Force | Event::Patch { .. } => Err(Rejection::NotRunning(Status::Starting)),
        Event::Reconcile => Err(Rejection::Conflict(Conflict::Starting)),
        Event::Stop { reason } => admin::stop(rt, pending, reason, Drain::AtOnce, cx),
        Event::StopDone(ticket, result) => admin::stop_done(rt, *ticket, result, cx),
        Event::PatchDone(..) => Err(Rejection::Stale),
        Event::Health(report) => health::summary_only(rt, report, Voice::Silent, cx),
        Event::WorkLeaseExpired => lease_expired(rt, pending, cx),
        Event::Abandoned(ticket) if rt.work_matches(*ticket) => Ok(abandoned(rt, pending, cx)),
        Event::Abandoned(ticket) => admin::abandoned(rt, *ticket, cx),
        Event::PendingLeaseExpired => admin::lease_expired(rt, pending, cx),
        Event::Tick | Event::RetryDue | Event::SummaryDue => {
            Err(Rejection::Ignored(Ignored::Status))
        }
    }
}

fn initialised(
    rt: &Runtime,
    pending: Option<&Pending>,
    ticket: Ticket,
    result: &Result<EngineState, EngineFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let Some(work) = rt.work().filter(|_| rt.work_matches(ticket)) else {
        return Err(Rejection::Stale);
    };
    let mut d = Draft::of(rt, cx);
    match result {
        Ok(state) => match fresh_game(&rt.roster, state) {
            Ok(stats) => Ok(begin(d, pending, state, stats)),
            Err(problem) => {
                let failure = Failure::new(FailureCode::EngineProtocolViolation, problem);
                Ok(roll_back(d, pending, failure))
            }
        },
        // Perhaps by a registration that was rolled back: where the game has not begun and has the
        // same races, that is as good.
        Err(failure) if failure.kind == EngineFault::AlreadyInitialised => {
            let work = d.probe(work.operation);
            let pending = pending.cloned();
            d.note(OperationKind::Recovery, Outcome::Succeeded);
            d.next.life = Life::Starting { work, stage: InitStage::Verify, pending };
            Ok(d.commit())
        }
        Err(failure) => Ok(roll_back(d, pending, failure.to_failure())),
    }
}

fn verified(
    rt: &Runtime,
    pending: Option<&Pending>,
    ticket: Ticket,
    result: &Result<EngineState, EngineFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if !rt.work_matches(ticket) {
        return Err(Rejection::Stale);
    }
    let d = Draft::of(rt, cx);
    match result {
        Ok(state) => match fresh_game(&rt.roster, state) {
            Ok(stats) => Ok(begin(d, pending, state, stats)),
            Err(problem) => {
                let message = format!("the engine was initialised before: {problem}");
                let failure = Failure::new(FailureCode::EngineValidationError, message);
                Ok(roll_back(d, pending, failure))
            }
        },
        Err(failure) => Ok(roll_back(d, pending, failure.to_failure())),
    }
}

/// A game that has just begun: turn 0, not over, exactly the members' races.
fn fresh_game(roster: &Roster, state: &EngineState) -> Result<Vec<PlayerStats>, String> {
    if state.turn != 0 {
        return Err(format!("it is at turn {}, not at 0", state.turn));
    }
    if state.finished {
        return Err("its game is over".into());
    }
    let stats = turn::standings(roster, state)?;
    if state.players.len() == roster.members().len() {
        Ok(stats)
    } else {
        Err(format!("it has {} of {} races", state.players.len(), roster.members().len()))
    }
}

fn begin(
    mut d: Draft<'_>,
    pending: Option<&Pending>,
    state: &EngineState,
    stats: Vec<PlayerStats>,
) -> Verdict {
    d.next.roster = name_players(&d.next.roster, state);
    d.next.player_turn_stats = stats;
    d.next.started_at = Some(d.cx.now);
    if let Some(work) = d.next.work() {
        let operation = work.operation;
        d.close(operation, Outcome::Succeeded);
    }
    let next_generation_at = d.next.schedule.next(d.cx.now);
    let clock = TurnClock { next_generation_at, skip: None };
    d.next.life = Life::Running { clock, pending: pending.cloned() };
    d.snapshot();
    d.commit()
}

/// The roster with the engine's own names of the players.
fn name_players(roster: &Roster, state: &EngineState) -> Roster {
    let named = |member: &Member| {
        let known = state.players.iter().find(|p| p.race_name == member.race_name.as_str());
        Member { engine_player_id: known.map(|p| p.id.clone()), ..member.clone() }
    };
    let members = roster.members().iter().map(named).collect();
    // The users and races are those of a valid roster, so that this is one too.
    Roster::new(members).unwrap_or_else(|_| roster.clone())
}

fn roll_back(mut d: Draft<'_>, pending: Option<&Pending>, failure: Failure) -> Verdict {
    if let Some(work) = d.next.work() {
        let operation = work.operation;
        d.close(operation, Outcome::Failed(failure));
    }
    if let Some(pending) = pending {
        let message = "the registration was rolled back";
        let failure = Failure::new(FailureCode::Conflict, message);
        d.close(pending.operation, Outcome::Failed(failure));
    }
    d.delete()
}

/// INVARIANT `no_orphans`: no record stays `starting` for ever.
fn lease_expired(
    rt: &Runtime,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if rt.work().is_none_or(|work| work.lease.expires_at > cx.now) {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    Ok(abandoned(rt, pending, cx))
}

fn abandoned(rt: &Runtime, pending: Option<&Pending>, cx: &Context<'_>) -> Verdict {
    let message = "the initialisation was abandoned; register again";
    let failure = Failure::new(FailureCode::StartInterrupted, message);
    roll_back(Draft::of(rt, cx), pending, failure)
}
