//! `running`: commands are accepted, and the clock is ticking.

use super::admin::{self, Drain};
use super::draft::Draft;
use super::{Context, Verdict, health};
use crate::audit::OperationKind;
use crate::event::Event;
use crate::record::{Life, Pending, Runtime, Trigger, TurnClock, TurnStage};
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(
    rt: &Runtime,
    clock: TurnClock,
    pending: Option<&Pending>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Tick => tick(rt, clock, pending, cx),
        Event::Force => force(rt, clock, pending, cx),
        Event::Stop { reason } => admin::stop(rt, pending, reason, Drain::AtOnce, cx),
        Event::Patch { version, image_ref, turn_guard } => {
            admin::patch(rt, pending, (version, image_ref, *turn_guard), cx)
        }
        Event::Reconcile => {
            admin::nothing_pending(pending)?;
            Ok(Verdict::Unchanged)
        }
        Event::Health(report) => health::container_report(rt, pending, report, cx),
        Event::SummaryDue => health::summary_due(rt, cx),
        Event::StopDone(ticket, result) => admin::stop_done(rt, *ticket, result, cx),
        Event::PatchDone(ticket, result) => admin::patch_done(rt, *ticket, result, cx),
        Event::Abandoned(ticket) => admin::abandoned(rt, *ticket, cx),
        Event::PendingLeaseExpired => admin::lease_expired(rt, pending, cx),
        Event::WorkLeaseExpired | Event::RetryDue => Err(Rejection::Ignored(Ignored::Status)),
        Event::InitDone(..) | Event::TurnDone(..) | Event::ProbeDone(..) => Err(Rejection::Stale),
    }
}

/// However late the tick comes, it starts one turn: missed ticks are not made up for.
///
/// INVARIANT `no_tick_while_pending`.
fn tick(
    rt: &Runtime,
    clock: TurnClock,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if pending.is_some() {
        return Err(Rejection::Ignored(Ignored::Pending));
    }
    if clock.next_generation_at > cx.now {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    // A forced turn that failed still owes a skip: this turn stands in for it, and the regular one
    // after this is the one replaced.
    let due_at = clock.next_generation_at;
    let skip = clock.skip.map(|_| rt.schedule.next(cx.now.max(due_at)));
    let clock = TurnClock { skip, ..clock };
    Ok(begin_turn(rt, clock, Trigger::Tick { due_at }, OperationKind::Tick, cx))
}

fn force(
    rt: &Runtime,
    clock: TurnClock,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    admin::nothing_pending(pending)?;
    // The next regular turn is the one replaced, be it due already or, after an outage, tried before.
    let skip = clock.skip.or(Some(clock.next_generation_at));
    let clock = TurnClock { skip, ..clock };
    Ok(begin_turn(rt, clock, Trigger::Force, OperationKind::Force, cx))
}

fn begin_turn(
    rt: &Runtime,
    clock: TurnClock,
    trigger: Trigger,
    kind: OperationKind,
    cx: &Context<'_>,
) -> Verdict {
    let mut d = Draft::of(rt, cx);
    if trigger == Trigger::Force {
        d.next.tries = 0;
    }
    let tick = match trigger {
        Trigger::Tick { due_at } => Some(due_at),
        Trigger::Force => clock.skip,
    };
    let operation = d.open_turn(kind, tick);
    let work = d.generate(operation);
    let stage = TurnStage::Turn;
    d.next.life = Life::Generating { clock, work, trigger, stage, pending: None };
    d.commit()
}
