//! The one function that decides.
//!
//! ```text
//!              Register                         InitDone
//!   (absent) ───────────▶ starting ────────────────────────────▶ running ◀───────────┐
//!       ▲                    │ InitDone err, lease expired          │  ▲             │
//!       └────────────────────┘ (rolled back)             Tick, Force│  │TurnDone,    │ProbeDone
//!                                                                   ▼  │adopted      │(t = c)
//!                                            ┌───────── generation_in_progress       │
//!                                            │ err,          │  ▲                    │
//!                                            │ interrupted   │  │ Force              │
//!                         finished ◀─────────┼───────────────┘  │                    │
//!                         (final)            ▼                  │                    │
//!                                     generation_failed ────────┴────────────────────┤
//!                                            │ container down                        │
//!                                            ▼                                       │
//!    stopped ◀── StopDone, from any ── engine_unreachable ───────────────────────────┘
//!    (final)
//! ```
//!
//! One file for each column of the transition table; what several columns share stands in `turn`
//! (how a turn ends), `repair` (how an unwell engine is asked), `admin` (what is pending at Runtime
//! Manager) and `health`.

mod absent;
mod admin;
mod draft;
mod failed;
mod finished;
mod generating;
mod health;
mod repair;
mod running;
mod starting;
mod stopped;
mod turn;
mod unreachable;

use crate::audit::AuditEntry;
use crate::effect::Effect;
use crate::event::Event;
use crate::ids::{InstanceId, OperationId};
use crate::message::Message;
use crate::policy::Policy;
use crate::record::{Life, Runtime};
use crate::rejection::Rejection;
use crate::time::Timestamp;

/// What the decision may depend on besides the record and the event: all of it an argument.
///
/// SUBTLE: taken anew each time a lost compare-and-set makes the caller ask again; a decision made
/// with an old `now` against a newer record could see a lease as alive that has run out.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The present.
    pub now: Timestamp,
    /// The process that decides: the owner of the leases it takes.
    pub instance: &'a InstanceId,
    /// A fresh identifier, used where the decision opens an operation.
    pub operation: OperationId,
    /// The numbers.
    pub policy: &'a Policy,
}

/// What is to be committed, all of it or nothing, and then done.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The record from now on; `None`: it is deleted, its registration rolled back.
    pub next: Option<Runtime>,
    /// Calls to make after the commit.
    pub effects: Vec<Effect>,
    /// Stream messages, committed with the record, in this order.
    pub messages: Vec<Message>,
    /// Operation-log marks, committed with the record. Never empty.
    pub audit: Vec<AuditEntry>,
}

/// The answer to an event that was not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Commit this.
    Commit(Box<Step>),
    /// The request is satisfied as things are; there is nothing to commit.
    Unchanged,
}

/// Decides what an event does to a record.
///
/// Pure: the same arguments give the same answer. Commits nothing and calls nobody; the caller
/// commits the step against the revision it loaded and carries out the effects afterwards.
pub fn step(
    current: Option<&Runtime>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let Some(rt) = current else {
        return absent::step(event, cx);
    };
    match &rt.life {
        Life::Starting { stage, pending, .. } => {
            starting::step(rt, *stage, pending.as_ref(), event, cx)
        }
        Life::Running { clock, pending } => running::step(rt, *clock, pending.as_ref(), event, cx),
        Life::Generating { clock, work, stage, trigger, pending } => {
            let turn = generating::Turn { clock: *clock, work, stage: *stage, trigger: *trigger };
            generating::step(rt, &turn, pending.as_ref(), event, cx)
        }
        Life::Failed { clock, repair, pending } => {
            failed::step(rt, *clock, repair, pending.as_ref(), event, cx)
        }
        Life::Unreachable { clock, repair, pending } => {
            unreachable::step(rt, *clock, repair, pending.as_ref(), event, cx)
        }
        Life::Stopped { .. } => stopped::step(rt, event, cx),
        Life::Finished { .. } => finished::step(event),
    }
}
