//! One decision: the production `step`, its commit checked by the production invariants, folded.
//!
//! `step` is pure, so that a situation that was met before need not be decided again: what was
//! decided is remembered, thread by thread.

use std::cell::RefCell;
use std::hash::BuildHasherDefault;

use chrono::TimeDelta;
use machine::record::{PendingKind, PendingState, TurnStage};
use machine::{
    Context, Event, Life, LobbyEvent, Message, Runtime, Status, Step, Timer, Verdict, check_commit,
};

use crate::catalog::{Catalog, FRESH};
use crate::event::{Ev, Kind, Tk};
use crate::record::{NEVER, Rec};
use crate::rule::{Broken, Rule};
use crate::state::Call;
use crate::variants::{self, Variant};

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is nothing to commit: the event was refused, or is satisfied as things are.
    Nothing,
    /// This is to be committed.
    Commit(Commit),
}

/// What is to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The record from now on.
    pub next: Option<Rec>,
    /// What follows from it.
    pub calls: [Option<Call>; 2],
    /// How many messages go to Lobby.
    pub messages: u8,
    /// Whether one of them is the end of the game.
    pub the_end: bool,
    /// What it breaks, if it is committed on the record that it was decided on.
    pub broken: Broken,
}

/// The decider of one model.
#[derive(Debug)]
pub struct Decider {
    /// The fold.
    pub catalog: Catalog,
    /// What is done wrong.
    pub variant: Option<Variant>,
    /// Tells the memories of different models apart.
    pub id: u64,
}

/// Timers that are set, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers(u8);

impl Timers {
    /// Whether this one is.
    pub fn has(self, timer: Timer) -> bool {
        self.0 & (1 << timer as u8) != 0
    }
}

type Key = (Option<Rec>, Ev, u8);

#[expect(clippy::disallowed_types, reason = "asked by key alone, never walked through")]
type Memory = std::collections::HashMap<Key, Decision, BuildHasherDefault<crate::mix::Mix>>;

#[expect(clippy::disallowed_types, reason = "asked by key alone, never walked through")]
type TimerMemory = std::collections::HashMap<Rec, Timers, BuildHasherDefault<crate::mix::Mix>>;

thread_local! {
    static MEMORY: RefCell<(u64, Memory)> = RefCell::default();
    static TIMERS: RefCell<(u64, TimerMemory)> = RefCell::default();
}

impl Decider {
    /// Decides, as process `gm`.
    pub fn decide(&self, before: Option<&Rec>, ev: Ev, gm: u8) -> Decision {
        let key = (before.copied(), ev, gm);
        MEMORY.with_borrow_mut(|(id, memory)| {
            if *id != self.id {
                *id = self.id;
                memory.clear();
            }
            *memory.entry(key).or_insert_with(|| self.decide_anew(before, ev, gm))
        })
    }

    /// The timers that are set, by the production rules.
    pub fn timers(&self, rec: &Rec) -> Timers {
        TIMERS.with_borrow_mut(|(id, memory)| {
            if *id != self.id {
                *id = self.id;
                memory.clear();
            }
            *memory.entry(*rec).or_insert_with(|| {
                let rt = self.catalog.unfold(rec);
                let bits = rt.timers().map(|(_, timer)| 1 << timer as u8);
                Timers(bits.fold(0, |all, bit| all | bit))
            })
        })
    }

    fn decide_anew(&self, before: Option<&Rec>, ev: Ev, gm: u8) -> Decision {
        let catalog = &self.catalog;
        let now = match ev {
            Ev::Strike(Timer::Tick) => catalog.now(),
            Ev::Strike(Timer::WorkLease | Timer::PendingLease | Timer::Retry) => {
                catalog.lease_end()
            }
            Ev::Strike(Timer::Summary) => catalog.window_end(),
            Ev::Register(_)
            | Ev::Force
            | Ev::Stop
            | Ev::Patch
            | Ev::Reconcile
            | Ev::Health(_)
            | Ev::Abandoned(_)
            | Ev::Answer(..) => catalog.now(),
        };
        let cx = Context {
            now,
            instance: catalog.instance(gm),
            operation: FRESH,
            policy: catalog.policy(),
        };
        let event = ev.unfold(before, catalog);
        let real = before.map(|rec| catalog.unfold(rec));
        let mut given = (real.clone(), event.clone());
        if let (Some(variant), Some(rt)) = (self.variant, &mut given.0) {
            variant.alter_input(rt, &mut given.1);
        }
        let Ok(Verdict::Commit(mut step)) = machine::step(given.0.as_ref(), &given.1, &cx) else {
            return Decision::Nothing;
        };
        if let Some(variant) = self.variant {
            let never = catalog.now() + TimeDelta::hours(NEVER.into());
            variant.alter_output(real.as_ref(), &event, &mut step, never);
            if variant == Variant::StopWithoutDrain {
                self.drain_not(&mut step, &cx);
            }
        }
        let broken = judge(real.as_ref(), &event, &step);
        Decision::Commit(self.fold(&step, now, gm, broken))
    }

    /// The drain deadline is held to have passed at once.
    fn drain_not(&self, step: &mut Step, cx: &Context<'_>) {
        let next = step.next.clone();
        let Some(pending) = next.as_ref().and_then(Runtime::pending) else { return };
        if !matches!(pending.state, PendingState::Draining { .. }) {
            return;
        }
        let later = Context { now: self.catalog.lease_end(), ..cx.clone() };
        let told = machine::step(next.as_ref(), &Event::PendingLeaseExpired, &later);
        if let Ok(Verdict::Commit(more)) = told {
            step.next = more.next.map(|rt| Runtime { revision: rt.revision - 1, ..rt });
            step.effects.extend(more.effects);
        }
    }

    fn fold(&self, step: &Step, now: machine::Timestamp, gm: u8, broken: Broken) -> Commit {
        let next = step.next.as_ref().map(|rt| self.catalog.fold(rt, now));
        let mut calls = [None; 2];
        for (slot, effect) in calls.iter_mut().zip(&step.effects) {
            let kind = match &effect.call {
                machine::Call::Init { .. } => Kind::Init,
                machine::Call::Turn { expected_turn, .. } => {
                    Kind::Turn(u8::try_from(*expected_turn).unwrap_or(u8::MAX))
                }
                machine::Call::Probe { .. } => Kind::Probe,
                machine::Call::Stop { .. } => Kind::Stop,
                machine::Call::Patch { .. } => Kind::Patch,
            };
            let incarnation = next.map_or(0, |rec| rec.incarnation);
            let attempt = u8::try_from(effect.ticket.attempt).unwrap_or(u8::MAX);
            *slot = Some(Call { ticket: Tk::Live { incarnation, attempt }, kind, from: Some(gm) });
        }
        let lobby = |message: &&Message| match message {
            Message::Lobby(_) => true,
            Message::Intent(_) => false,
        };
        let messages = step.messages.iter().filter(lobby).count();
        let the_end = step
            .messages
            .iter()
            .any(|m| matches!(m, Message::Lobby(LobbyEvent::GameFinished { .. })));
        let messages = u8::try_from(messages).unwrap_or(u8::MAX);
        Commit { next, calls, messages, the_end, broken }
    }
}

/// What a commit breaks, seen from the record that it was decided on. The rules that need a memory
/// are kept by the observer; see [`crate::observe`].
fn judge(before: Option<&Runtime>, event: &Event, step: &Step) -> Broken {
    let mut broken = Broken::default();
    let next = step.next.as_ref();
    if let Err(violation) = check_commit(before, next) {
        // A rule of the machine that the model has no name for would be a hole in the report.
        let known = Rule::ALL.into_iter().find(|rule| rule.name() == violation.rule);
        broken.note(known.unwrap_or(Rule::NeverStuck), true);
    }
    let pending = before.is_some_and(|rt| rt.pending().is_some());
    let asks_turn = step.effects.iter().any(|e| matches!(e.call, machine::Call::Turn { .. }));
    broken.note(Rule::NoTickWhilePending, pending && asks_turn);
    if let Some(ticket) = carried(event) {
        let counts = before.is_some_and(|rt| rt.work_matches(ticket) || rt.pending_matches(ticket));
        broken.note(Rule::FencedReplyChangesNothing, !counts);
    }
    if let (Event::Health(report), Some(rt)) = (event, before) {
        let known = rt.engine.container_id.as_ref();
        let other = known.is_some_and(|known| *known != report.container_id);
        broken.note(Rule::HealthOfThisContainer, other);
        let again = rt.health.cursor.is_some_and(|cursor| report.id <= cursor);
        broken.note(Rule::HealthEventsOnceInOrder, again);
    }
    if let (Event::Stop { .. }, Some(rt)) = (event, before) {
        let at_once = step.effects.iter().any(|e| variants::is_stop(&e.call));
        let generating = rt.status() == Status::GenerationInProgress;
        broken.note(Rule::StopDrains, generating && at_once);
    }
    if let Some(next) = next {
        judge_next(before, next, step, &mut broken);
    }
    broken
}

fn judge_next(before: Option<&Runtime>, next: &Runtime, step: &Step, broken: &mut Broken) {
    let far = next.updated_at + TimeDelta::hours(i64::from(NEVER) - 1);
    let lost = match &next.life {
        Life::Running { pending: None, .. } => {
            !next.timers().any(|(at, timer)| timer == Timer::Tick && at < far)
        }
        Life::Running { clock, pending: Some(_) } => clock.next_generation_at >= far,
        Life::Starting { .. }
        | Life::Generating { .. }
        | Life::Failed { .. }
        | Life::Unreachable { .. }
        | Life::Stopped { .. }
        | Life::Finished { .. } => false,
    };
    broken.note(Rule::RunningRecordHasNextTick, lost);
    for effect in &step.effects {
        let waited_for = match &effect.call {
            machine::Call::Init { .. }
            | machine::Call::Turn { .. }
            | machine::Call::Probe { .. } => next.work_matches(effect.ticket),
            machine::Call::Stop { .. } | machine::Call::Patch { .. } => {
                next.pending_matches(effect.ticket)
            }
        };
        broken.note(Rule::OneQuestionCounts, !waited_for);
    }
    // A change of status is told, once, and by its right name.
    let changed = before.map(Runtime::status) != Some(next.status());
    let quiet = matches!(next.status(), Status::Starting | Status::GenerationInProgress);
    let told = step.messages.iter().filter(|m| matches!(m, Message::Lobby(_))).count();
    broken.note(Rule::MessagesFollowCommits, told > 1 || (changed && !quiet && told == 0));
    let ends = next.status() == Status::Finished;
    let the_end = |m: &Message| matches!(m, Message::Lobby(LobbyEvent::GameFinished { .. }));
    broken.note(Rule::GameFinishedIsLast, step.messages.iter().any(the_end) != ends);
    // A patch or a stop that was not asked for by anybody would be a question without an asker.
    let drains = next.pending().is_some_and(|p| {
        matches!((&p.what, &p.state), (PendingKind::Patch { .. }, PendingState::Draining { .. }))
    });
    broken.note(Rule::StopDrains, drains);
    let turn = matches!(next.life, Life::Generating { stage: TurnStage::Turn, .. });
    let asks = step.effects.iter().any(|e| matches!(e.call, machine::Call::Turn { .. }));
    broken.note(Rule::OneQuestionCounts, asks && !turn);
}

fn carried(event: &Event) -> Option<machine::Ticket> {
    match event {
        Event::InitDone(ticket, _)
        | Event::TurnDone(ticket, _)
        | Event::ProbeDone(ticket, _)
        | Event::StopDone(ticket, _)
        | Event::PatchDone(ticket, _)
        | Event::Abandoned(ticket) => Some(*ticket),
        Event::Register(_)
        | Event::Tick
        | Event::Force
        | Event::Stop { .. }
        | Event::Patch { .. }
        | Event::Reconcile
        | Event::Health(_)
        | Event::WorkLeaseExpired
        | Event::PendingLeaseExpired
        | Event::RetryDue
        | Event::SummaryDue => None,
    }
}
