//! One game, its engine and its Runtime Manager, and everything that can go wrong between them.

use std::cell::Cell;
use std::collections::BTreeSet;

use chrono::TimeDelta;
use machine::{
    Call, ContainerId, Effect, EngineFailure, EngineFault, EngineState, Event, HealthReport,
    OperationId, Policy, Rejection, RtmFailure, Runtime, Status, StreamId, Summary, Ticket,
    Timestamp, Verdict,
};

use crate::common::events::{
    fault, no, of_another_game, over, patch, registration, standing, stop,
};
use crate::common::journal::Journal;
use crate::common::records::incarnation;
use crate::common::{at, op, parse, with_context};
use crate::explained::explained;
use crate::ledger::{Ledger, stop_pending};

/// What an engine says instead of the truth, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// Another turn.
    Turn(u32),
    OtherGame,
    Over,
    Fault(EngineFault),
}

/// How Runtime Manager takes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RtmMood {
    Obliging,
    Refusing,
    /// Does it, and does not answer.
    DoesInSilence,
    /// Does not do it, and does not answer.
    Dead,
}

pub(crate) struct Engine {
    pub(crate) up: bool,
    pub(crate) initialised: bool,
    pub(crate) turn: u32,
    /// The turn that ends the game.
    pub(crate) last_turn: u32,
    pub(crate) lie: Option<Lie>,
}

/// A call that was sent and has not arrived.
pub(crate) struct Sent {
    pub(crate) effect: Effect,
    /// Whether anybody still listens for the answer.
    pub(crate) heard: bool,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    /// How far the clock was when it was last set back.
    pub(crate) latest: Timestamp,
    pub(crate) rt: Option<Runtime>,
    pub(crate) policy: Policy,
    pub(crate) guard: bool,
    pub(crate) engine: Engine,
    pub(crate) rtm: RtmMood,
    pub(crate) container: u32,
    pub(crate) calls: Vec<Sent>,
    pub(crate) replies: Vec<Event>,
    /// Whether the engine ever lied.
    pub(crate) lied: bool,
    pub(crate) ledger: Ledger,
    pub(crate) journal: Journal,
    pub(crate) health: Vec<HealthReport>,
    /// The changes of status so far.
    pub(crate) seen: BTreeSet<(Option<Status>, Option<Status>)>,
    operations: Cell<u128>,
    incarnations: u128,
    streamed: u64,
}

impl World {
    pub(crate) fn new(guard: bool, last_turn: u32) -> Self {
        Self {
            now: at("12:30"),
            latest: at("12:30"),
            rt: None,
            policy: Policy::default(),
            guard,
            engine: Engine { up: true, initialised: false, turn: 0, last_turn, lie: None },
            rtm: RtmMood::Obliging,
            container: 1,
            calls: vec![],
            replies: vec![],
            lied: false,
            ledger: Ledger::default(),
            journal: Journal::default(),
            health: vec![],
            seen: BTreeSet::new(),
            operations: Cell::new(0),
            incarnations: 0,
            streamed: 0,
        }
    }

    /// The world right after an undisturbed registration.
    pub(crate) fn begun(guard: bool, last_turn: u32) -> Self {
        let mut world = Self::new(guard, last_turn);
        world.register();
        world.arrive(0);
        world.hear(0);
        assert_eq!(world.status(), Some(Status::Running));
        world
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.rt.as_ref().map(Runtime::status)
    }

    pub(crate) fn turn(&self) -> u32 {
        self.rt.as_ref().map_or(0, |rt| rt.current_turn)
    }

    pub(crate) fn fresh_operation(&self) -> OperationId {
        self.operations.set(self.operations.get() + 1);
        op(self.operations.get())
    }

    /// Lets an event happen, commits what follows, and sends the calls.
    pub(crate) fn give(&mut self, event: &Event) -> Result<Verdict, Rejection> {
        let operation = self.fresh_operation();
        let before = self.rt.clone();
        let reply = with_context(self.now, operation, &self.policy, |cx| {
            machine::step(before.as_ref(), event, cx)
        });
        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.observe(before.as_ref(), event, &reply, self);
        self.ledger = ledger;
        if let Ok(Verdict::Commit(step)) = &reply {
            self.seen.insert((self.status(), step.next.as_ref().map(Runtime::status)));
            self.rt.clone_from(&step.next);
            self.journal.write(step, self.now);
            self.is_explained();
            let sent = step.effects.iter().map(|e| Sent { effect: e.clone(), heard: true });
            self.calls.extend(sent);
        }
        self.engine_is_where_it_may_be();
        reply
    }

    /// The whole log explains the record, and so does its newest part.
    fn is_explained(&self) {
        let Some(rt) = &self.rt else { return };
        let log = self.journal.newest(usize::MAX);
        explained(rt, &log, &self.ledger, self.now, &self.policy);
        let part = (rt.revision % 7) as usize;
        explained(rt, &log[..part.min(log.len())], &Ledger::default(), self.now, &self.policy);
    }

    /// `no_turn_generated_twice`, where the guard is honoured and nobody lies.
    fn engine_is_where_it_may_be(&self) {
        if !self.guard || self.lied || self.rt.is_none() {
            return;
        }
        let ahead = self.engine.turn.checked_sub(self.turn());
        assert!(matches!(ahead, Some(0 | 1)), "no_turn_generated_twice: {ahead:?} ahead");
    }

    pub(crate) fn register(&mut self) {
        self.incarnations += 1;
        let mut registration = registration();
        registration.incarnation = incarnation(self.incarnations);
        registration.turn_guard = self.guard;
        let _ = self.give(&Event::Register(Box::new(registration)));
    }

    pub(crate) fn stop(&mut self) {
        let reply = self.give(&stop());
        assert!(
            reply.is_err()
                || self
                    .rt
                    .as_ref()
                    .is_none_or(|rt| { rt.status() == Status::Stopped || stop_pending(rt) })
        );
    }

    pub(crate) fn patch(&mut self, patch_number: u8) {
        let _ = self.give(&patch(&format!("1.4.{patch_number}")));
    }

    pub(crate) fn wait(&mut self, seconds: u32) {
        self.now += TimeDelta::seconds(seconds.into());
    }

    /// The clock is set back, or the next event comes to an instance whose clock is behind.
    pub(crate) fn set_back(&mut self, seconds: u32) {
        self.latest = self.latest.max(self.now);
        self.now -= TimeDelta::seconds(seconds.into());
    }

    /// Time passes until the first timer strikes.
    pub(crate) fn strike(&mut self) {
        if let Some((at, timer)) = self.rt.as_ref().and_then(Runtime::next_timer) {
            self.now = self.now.max(at);
            let reply = self.give(&timer.event());
            assert!(matches!(reply, Ok(Verdict::Commit(_))), "{timer:?}: {reply:?}");
        }
    }

    /// A call arrives, and is answered.
    pub(crate) fn arrive(&mut self, which: usize) {
        if self.calls.is_empty() {
            return;
        }
        let Sent { effect, heard } = self.calls.remove(which % self.calls.len());
        let reply = self.answer(&effect);
        if heard {
            self.replies.push(reply);
        }
    }

    /// A call is made twice.
    pub(crate) fn arrive_twice(&mut self, which: usize) {
        if self.calls.is_empty() {
            return;
        }
        let Sent { effect, heard } = self.calls.remove(which % self.calls.len());
        for _ in 0..2 {
            let reply = self.answer(&effect);
            if heard {
                self.replies.push(reply);
            }
        }
    }

    /// The caller gives up; the call is still on its way.
    pub(crate) fn give_up(&mut self, which: usize) {
        if self.calls.is_empty() {
            return;
        }
        let which = which % self.calls.len();
        if std::mem::take(&mut self.calls[which].heard) {
            let effect = &self.calls[which].effect;
            self.replies.push(failed(effect));
        }
    }

    /// The caller crashes; the call is still on its way.
    pub(crate) fn crash(&mut self, which: usize) {
        if !self.calls.is_empty() {
            let which = which % self.calls.len();
            self.calls[which].heard = false;
        }
    }

    /// The caller is gone, and its successor says so at once.
    pub(crate) fn restart(&mut self, which: usize) {
        if !self.calls.is_empty() {
            let which = which % self.calls.len();
            self.calls[which].heard = false;
            let _ = self.give(&Event::Abandoned(self.calls[which].effect.ticket));
        }
    }

    /// A call is never made.
    pub(crate) fn lose(&mut self, which: usize) {
        if !self.calls.is_empty() {
            self.calls.remove(which % self.calls.len());
        }
    }

    pub(crate) fn hear(&mut self, which: usize) {
        if !self.replies.is_empty() {
            let reply = self.replies.remove(which % self.replies.len());
            let _ = self.give(&reply);
        }
    }

    /// The same answer once more, later.
    pub(crate) fn hear_twice(&mut self, which: usize) {
        if !self.replies.is_empty() {
            let reply = self.replies[which % self.replies.len()].clone();
            let _ = self.give(&reply);
        }
    }

    pub(crate) fn lose_reply(&mut self, which: usize) {
        if !self.replies.is_empty() {
            self.replies.remove(which % self.replies.len());
        }
    }

    /// Runtime Manager reports the container of today, or an earlier one.
    pub(crate) fn report(
        &mut self,
        summary: Summary,
        containers_ago: u32,
        consecutive_failures: u32,
    ) {
        self.streamed += 1;
        let report = HealthReport {
            id: StreamId { ms: self.streamed, seq: 0 },
            container_id: container(self.container.saturating_sub(containers_ago)),
            summary,
            consecutive_failures,
        };
        if self.give(&Event::Health(report.clone())).is_ok() {
            self.health.push(report);
        }
    }

    /// A report that was applied comes again.
    pub(crate) fn report_again(&mut self, which: usize) {
        if self.health.is_empty() {
            return;
        }
        let report = self.health[which % self.health.len()].clone();
        let cursor = self.rt.as_ref().and_then(|rt| rt.health.cursor);
        let reply = self.give(&Event::Health(report.clone()));
        if cursor.is_some_and(|cursor| report.id <= cursor) {
            assert!(reply.is_err(), "health_events_once_in_order");
        }
    }

    fn answer(&mut self, effect: &Effect) -> Event {
        let ticket = effect.ticket;
        match &effect.call {
            Call::Init { .. } => {
                let answer = self.init();
                Event::InitDone(ticket, self.told(answer))
            }
            Call::Turn { expected_turn, .. } => {
                let answer = self.generate(*expected_turn);
                Event::TurnDone(ticket, self.told(answer))
            }
            Call::Probe { .. } => {
                let answer = self.where_it_stands();
                Event::ProbeDone(ticket, self.told(answer))
            }
            Call::Stop { .. } => Event::StopDone(ticket, self.rtm(|world| world.engine.up = false)),
            Call::Patch { .. } => {
                let done = self.rtm(|world| {
                    world.container += 1;
                    world.engine.up = true;
                });
                Event::PatchDone(ticket, done.map(|()| container(self.container)))
            }
        }
    }

    /// What the caller gets to see of an answer.
    fn told(
        &mut self,
        truth: Result<EngineState, EngineFailure>,
    ) -> Result<EngineState, EngineFailure> {
        let Some(lie) = self.engine.lie.take() else { return truth };
        self.lied = true;
        match lie {
            Lie::Turn(turn) => Ok(standing(turn)),
            Lie::OtherGame => Ok(of_another_game(self.engine.turn)),
            Lie::Over => Ok(over(self.engine.turn)),
            Lie::Fault(kind) => no(kind),
        }
    }

    fn init(&mut self) -> Result<EngineState, EngineFailure> {
        match (self.engine.up, self.engine.initialised) {
            (false, _) => no(EngineFault::Unreachable),
            (true, true) => no(EngineFault::AlreadyInitialised),
            (true, false) => {
                self.engine.initialised = true;
                self.where_it_stands()
            }
        }
    }

    fn generate(&mut self, expected_turn: u32) -> Result<EngineState, EngineFailure> {
        let state = self.where_it_stands()?;
        if self.guard && state.turn != expected_turn {
            return no(EngineFault::TurnConflict);
        }
        if state.finished {
            return no(EngineFault::Validation);
        }
        self.engine.turn += 1;
        self.where_it_stands()
    }

    fn where_it_stands(&self) -> Result<EngineState, EngineFailure> {
        let Engine { up, initialised, turn, last_turn, lie: _ } = self.engine;
        if !up {
            return no(EngineFault::Unreachable);
        }
        if !initialised {
            return no(EngineFault::Validation);
        }
        Ok(if turn >= last_turn { over(turn) } else { standing(turn) })
    }

    fn rtm(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), RtmFailure> {
        let failure = |refused| Err(RtmFailure { refused, message: "so it said".into() });
        match self.rtm {
            RtmMood::Obliging => {
                work(self);
                Ok(())
            }
            RtmMood::Refusing => failure(true),
            RtmMood::DoesInSilence => {
                work(self);
                failure(false)
            }
            RtmMood::Dead => failure(false),
        }
    }
}

fn container(number: u32) -> ContainerId {
    parse(&format!("c{number}"))
}

/// What a caller that gave up makes of it.
fn failed(effect: &Effect) -> Event {
    let ticket: Ticket = effect.ticket;
    let unreachable = || Err(fault(EngineFault::Unreachable));
    let unavailable = RtmFailure { refused: false, message: "no answer in time".into() };
    match effect.call {
        Call::Init { .. } => Event::InitDone(ticket, unreachable()),
        Call::Turn { .. } => Event::TurnDone(ticket, unreachable()),
        Call::Probe { .. } => Event::ProbeDone(ticket, unreachable()),
        Call::Stop { .. } => Event::StopDone(ticket, Err(unavailable)),
        Call::Patch { .. } => Event::PatchDone(ticket, Err(unavailable)),
    }
}
