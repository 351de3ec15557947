//! `generation_failed`: the game waits for an administrator, or for the engine to be itself again.

use super::admin::{self, Drain};
use super::draft::Draft;
use super::{Context, Verdict, health, repair};
use crate::audit::{OperationKind, Outcome};
use crate::event::Event;
use crate::record::{Life, Pending, Repair, Runtime, Trigger, TurnClock, TurnStage};
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(
    rt: &Runtime,
    clock: TurnClock,
    repair: &Repair,
    pending: Option<&Pending>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Force => force(rt, clock, repair, pending, cx),
        Event::Stop { reason } => admin::stop(rt, pending, reason, Drain::AtOnce, cx),
        Event::Patch { version, image_ref, turn_guard } => {
            admin::patch(rt, pending, (version, image_ref, *turn_guard), cx)
        }
        Event::Reconcile => repair::reconcile(rt, repair, pending, cx),
        Event::ProbeDone(ticket, result) => {
            repair::answered(rt, clock, pending, *ticket, result, cx)
        }
        Event::WorkLeaseExpired => repair::lease_expired(rt, repair, cx),
        Event::Abandoned(ticket) => repair::abandoned(rt, repair, *ticket, cx),
        Event::RetryDue => repair::retry_due(rt, repair, pending, cx),
        Event::Health(report) => health::container_report(rt, pending, report, cx),
        Event::SummaryDue => health::summary_due(rt, cx),
        Event::StopDone(ticket, result) => admin::stop_done(rt, *ticket, result, cx),
        Event::PatchDone(ticket, result) => admin::patch_done(rt, *ticket, result, cx),
        Event::PendingLeaseExpired => admin::lease_expired(rt, pending, cx),
        Event::Tick => Err(Rejection::Ignored(Ignored::Status)),
        Event::InitDone(..) | Event::TurnDone(..) => Err(Rejection::Stale),
    }
}

/// The engine is asked where it stands first: it may have the turn.
fn force(
    rt: &Runtime,
    clock: TurnClock,
    repair: &Repair,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    admin::nothing_pending(pending)?;
    let mut d = Draft::of(rt, cx);
    d.abandon(repair.probe.as_ref(), Outcome::Superseded);
    d.next.tries = 0;
    // Owed already, or ahead, or (where the turn that failed was the regular one) the one after it.
    let ahead = (clock.next_generation_at > cx.now).then_some(clock.next_generation_at);
    let skip = clock.skip.or(ahead).or_else(|| Some(rt.schedule.next(cx.now)));
    let operation = d.open_turn(OperationKind::Force, skip);
    let work = d.probe(operation);
    let clock = TurnClock { skip, ..clock };
    let (trigger, stage) = (Trigger::Force, TurnStage::ProbeThenTurn);
    d.next.life = Life::Generating { clock, work, trigger, stage, pending: None };
    Ok(d.commit())
}
