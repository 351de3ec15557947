//! No record: only a registration makes one.

use super::draft::Draft;
use super::{Context, Verdict};
use crate::audit::OperationKind;
use crate::effect::Call;
use crate::event::{Event, Registration};
use crate::record::{Engine, Health, InitStage, Lease, Life, Runtime, Work};
use crate::rejection::{Ignored, Rejection};

pub(super) fn step(event: &Event, cx: &Context<'_>) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(registration) => Ok(register(registration, cx)),
        Event::Force | Event::Stop { .. } | Event::Patch { .. } | Event::Reconcile => {
            Err(Rejection::NotFound)
        }
        Event::Tick
        | Event::Health(_)
        | Event::WorkLeaseExpired
        | Event::PendingLeaseExpired
        | Event::RetryDue
        | Event::SummaryDue => Err(Rejection::Ignored(Ignored::Absent)),
        Event::Abandoned(_)
        | Event::InitDone(..)
        | Event::TurnDone(..)
        | Event::ProbeDone(..)
        | Event::StopDone(..)
        | Event::PatchDone(..) => Err(Rejection::Stale),
    }
}

fn register(r: &Registration, cx: &Context<'_>) -> Verdict {
    let lease = Lease { owner: cx.instance.clone(), expires_at: cx.now };
    let record = Runtime {
        game_id: r.game_id.clone(),
        revision: 0,
        incarnation: r.incarnation,
        attempt: 0,
        life: Life::Starting {
            work: Work { attempt: 0, operation: cx.operation, lease },
            stage: InitStage::Call,
            pending: None,
        },
        engine: Engine {
            endpoint: r.endpoint.clone(),
            version: r.version.clone(),
            image_ref: r.image_ref.clone(),
            container_id: None,
            turn_guard: r.turn_guard,
        },
        roster: r.roster.clone(),
        schedule: r.schedule.clone(),
        current_turn: 0,
        health: Health::default(),
        tries: 0,
        player_turn_stats: vec![],
        last_failure: None,
        failure_announced_for: None,
        created_at: cx.now,
        started_at: None,
        updated_at: cx.now,
    };
    let mut d = Draft::new(record, cx);
    let operation = d.open(OperationKind::Register);
    let call = Call::Init { endpoint: r.endpoint.clone(), races: r.roster.races() };
    let work = d.work(operation, call, cx.policy.probe_lease);
    d.next.life = Life::Starting { work, stage: InitStage::Call, pending: None };
    d.commit()
}
