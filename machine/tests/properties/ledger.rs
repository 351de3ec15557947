//! What an observer of the commits writes down, and holds against the next ones. It knows the
//! rules, not how the machine keeps them.

use std::collections::BTreeSet;

use machine::record::{PendingKind, Trigger, TurnStage};
use machine::{
    AuditMark, Call, Event, Life, LobbyEvent, Message, NotificationType, OperationId, Rejection,
    Runtime, Status, Step, Summary, Ticket, Timestamp, Verdict, check_commit,
};

use crate::common::with_context;
use crate::world::World;

/// The notes on one incarnation of the game.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Operations opened and not closed, and all that were ever named.
    open: BTreeSet<OperationId>,
    named: BTreeSet<OperationId>,
    /// Tickets whose answer counts, and those whose answer can no longer count.
    issued: BTreeSet<Ticket>,
    dead: BTreeSet<Ticket>,
    /// The last summary told, and when one was last told for its own sake.
    told: Option<Summary>,
    told_alone_at: Option<Timestamp>,
    game_finished: u32,
    /// The turns whose failure was announced, and the idempotency keys used.
    announced: BTreeSet<u32>,
    keys: BTreeSet<String>,
    turns: BTreeSet<u32>,
    /// Since when a forced turn owes a skip: the earliest instant it may replace.
    owed_since: Option<Timestamp>,
    /// The regular instant whose turn was asked for last; those whose turn was generated; and
    /// those that forced turns replaced.
    ticking: Option<Timestamp>,
    ticked: BTreeSet<Timestamp>,
    pub(crate) replaced: BTreeSet<Timestamp>,
    /// How far the clock ever was: what it was set back over is not ahead.
    latest: Option<Timestamp>,
}

fn ticket_of(event: &Event) -> Option<Ticket> {
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

impl Ledger {
    /// Holds one answer of the machine against everything seen before.
    pub(crate) fn observe(
        &mut self,
        before: Option<&Runtime>,
        event: &Event,
        reply: &Result<Verdict, Rejection>,
        world: &World,
    ) {
        let ticket = ticket_of(event);
        if let Some(ticket) = ticket
            && self.dead.contains(&ticket)
        {
            assert_eq!(reply, &Err(Rejection::Stale), "fenced_reply_changes_nothing");
        }
        let Ok(Verdict::Commit(step)) = reply else { return };
        let next = step.next.as_ref();
        check_commit(before, next).expect("every commit keeps the invariants");
        if before.is_none() {
            let dead = std::mem::take(&mut self.dead);
            *self = Self { dead, ..Self::default() };
        }
        if let Some(ticket) = ticket {
            assert!(self.issued.remove(&ticket), "an answer to no question counted");
            self.dead.insert(ticket);
        }
        self.latest = self.latest.max(Some(world.now));
        self.questions(before, step);
        self.operations(step);
        self.messages(before, step, world.now);
        if let Some(next) = next {
            self.turn_clock(before, next, world.now);
            round_trip(next);
            timers(next, world);
        }
        finals(before, step);
    }

    /// A question carries the ticket that the record waits for; one that the record no longer waits
    /// for is dead for ever; and with a stop pending no turn is asked for.
    fn questions(&mut self, before: Option<&Runtime>, step: &Step) {
        let Some(next) = &step.next else {
            self.dead.append(&mut self.issued);
            assert!(step.effects.is_empty(), "a rolled-back registration asks nobody");
            return;
        };
        let mut engine_questions = 0;
        for effect in &step.effects {
            let fresh = self.issued.insert(effect.ticket) && !self.dead.contains(&effect.ticket);
            assert!(fresh, "a ticket is handed out twice");
            let waited_for = match &effect.call {
                Call::Init { .. } | Call::Turn { .. } | Call::Probe { .. } => {
                    engine_questions += 1;
                    next.work_matches(effect.ticket)
                }
                Call::Stop { .. } | Call::Patch { .. } => next.pending_matches(effect.ticket),
            };
            assert!(waited_for, "nobody waits for the answer to {effect:?}");
            if let Call::Turn { expected_turn, .. } = effect.call {
                assert_eq!(expected_turn, next.current_turn);
                let idle = |rt: &Runtime| rt.pending().is_none();
                assert!(idle(next) && before.is_some_and(idle), "no_tick_while_pending");
            }
        }
        assert!(engine_questions <= 1, "one question to the engine at a time");
        for ticket in std::mem::take(&mut self.issued) {
            let waited_for = next.work_matches(ticket) || next.pending_matches(ticket);
            if waited_for { &mut self.issued } else { &mut self.dead }.insert(ticket);
        }
    }

    /// Opened once, closed once; what is open is exactly what the record says is under way.
    fn operations(&mut self, step: &Step) {
        assert!(!step.audit.is_empty(), "every commit leaves a mark");
        for entry in &step.audit {
            let operation = entry.operation;
            match &entry.mark {
                AuditMark::Opened { .. } => {
                    assert!(self.named.insert(operation), "{operation} is opened twice");
                    self.open.insert(operation);
                }
                AuditMark::Closed(_) => {
                    assert!(self.open.remove(&operation), "{operation} is closed, not being open");
                }
                AuditMark::Instant { .. } => {
                    assert!(self.named.insert(operation), "{operation} is noted, being known");
                }
            }
        }
        let next = step.next.as_ref();
        let mut under_way = BTreeSet::new();
        under_way.extend(next.and_then(Runtime::work).map(|work| work.operation));
        under_way.extend(next.and_then(Runtime::pending).map(|pending| pending.operation));
        assert_eq!(self.open, under_way, "the open operations are those under way");
    }

    fn messages(&mut self, before: Option<&Runtime>, step: &Step, now: Timestamp) {
        let Some(next) = &step.next else {
            assert!(step.messages.is_empty(), "nobody hears of a rolled-back registration");
            return;
        };
        let was = before.map(Runtime::status);
        let is = next.status();
        let changed = was != Some(is);
        let lobby: Vec<&LobbyEvent> = step
            .messages
            .iter()
            .filter_map(|message| match message {
                Message::Lobby(event) => Some(event),
                Message::Intent(_) => None,
            })
            .collect();
        let speaks = changed && !matches!(is, Status::Starting | Status::GenerationInProgress);
        assert!(lobby.len() <= 1, "one message for one commit");
        assert!(!speaks || lobby.len() == 1, "{was:?} -> {is} is published");
        for event in lobby {
            assert_eq!(self.game_finished, 0, "game_finished is the last message of a game");
            assert!(is != Status::Starting, "nothing is told while the engine is initialised");
            match event {
                LobbyEvent::GameFinished { final_turn_number, player_turn_stats, .. } => {
                    assert_eq!((is, *final_turn_number), (Status::Finished, next.current_turn));
                    assert_eq!(player_turn_stats, &next.player_turn_stats);
                    self.game_finished += 1;
                }
                LobbyEvent::RuntimeSnapshotUpdate {
                    current_turn,
                    runtime_status,
                    engine_health_summary,
                    player_turn_stats,
                    ..
                } => {
                    let told = (*current_turn, *runtime_status, *engine_health_summary);
                    assert_eq!(told, (next.current_turn, is, next.health.summary));
                    assert_eq!(player_turn_stats, &next.player_turn_stats);
                    if !changed {
                        self.told_alone(next.health.summary, now);
                    }
                    self.told = Some(next.health.summary);
                }
            }
        }
        assert_eq!(self.game_finished > 0, is == Status::Finished, "exactly one, at the end");
        self.intents(step, next);
    }

    /// A summary told for its own sake is news, and comes once per debounce window.
    fn told_alone(&mut self, summary: Summary, now: Timestamp) {
        assert!(self.told != Some(summary), "{summary:?} was told before");
        let window = machine::Policy::default().health_debounce;
        let quiet = self.told_alone_at.is_none_or(|at| at + window <= now);
        assert!(quiet, "a summary was told within the debounce window");
        self.told_alone_at = Some(now);
    }

    fn intents(&mut self, step: &Step, next: &Runtime) {
        for message in &step.messages {
            let Message::Intent(intent) = message else { continue };
            assert!(self.keys.insert(intent.idempotency_key.clone()), "a key is used twice");
            let turn = intent.payload.turn;
            match intent.notification_type {
                NotificationType::TurnReady => {
                    assert_eq!((turn, next.status()), (next.current_turn, Status::Running));
                    assert!(self.turns.contains(&(turn - 1)) || turn == 1);
                    assert!(self.turns.insert(turn), "no_turn_twice");
                }
                NotificationType::Finished => assert_eq!(next.status(), Status::Finished),
                NotificationType::GenerationFailed => {
                    assert_eq!(
                        (turn, next.status()),
                        (next.current_turn + 1, Status::GenerationFailed)
                    );
                    assert!(self.announced.insert(turn), "announced once per turn");
                }
            }
        }
        if next.status() == Status::GenerationFailed {
            let turn = next.current_turn + 1;
            assert!(self.announced.contains(&turn), "a failure that nobody was told of");
        }
    }

    /// `force_skips_exactly_one_tick`: every forced turn (or series of them until one succeeds)
    /// replaces exactly one regular instant, which never starts a turn; no other instant ahead of
    /// a completed turn is left out.
    fn turn_clock(&mut self, before: Option<&Runtime>, next: &Runtime, now: Timestamp) {
        let Some(before) = before else { return };
        if let Life::Generating { trigger, stage, .. } = &next.life
            && before.status() != Status::GenerationInProgress
        {
            match trigger {
                Trigger::Tick { due_at } => {
                    assert!(*due_at <= now, "a tick before its time");
                    assert!(!self.replaced.contains(due_at), "a replaced turn was generated");
                    self.ticking = Some(*due_at);
                }
                Trigger::Force => {
                    self.ticking = None;
                    let due = before.clock().expect("a clock runs").next_generation_at;
                    let untried = before.status() == Status::Running;
                    let from = if untried { now.min(due) } else { now };
                    self.owed_since.get_or_insert(from);
                }
            }
            assert_eq!(*stage == TurnStage::Turn, before.status() == Status::Running);
        }
        if next.current_turn != before.current_turn && next.status() == Status::Running {
            self.turn_completed(before.status(), next, now);
        }
        if let Some(clock) = next.clock() {
            assert_eq!(clock.skip.is_some(), self.owed_since.is_some(), "a skip is owed or not");
        }
    }

    fn turn_completed(&mut self, was: Status, next: &Runtime, now: Timestamp) {
        let clock = next.clock().expect("a clock runs");
        let due_at = self.ticking.take();
        if was == Status::GenerationInProgress {
            let is_new = due_at.is_none_or(|due_at| self.ticked.insert(due_at));
            assert!(is_new, "no_instant_twice");
        } else {
            // Of a turn that failed, and that the engine had all the same, the record does not say
            // which one it was: by a clock that was set back it may be due again.
            self.ticked.extend(due_at.filter(|due_at| *due_at <= now));
        }
        let ahead = |after: Timestamp, until: Timestamp| {
            next.schedule.occurrences(after).take_while(|at| *at < until).collect::<Vec<_>>()
        };
        let mut left_out = ahead(self.latest.unwrap_or(now), clock.next_generation_at);
        // By an earlier forced turn, in its turn.
        left_out.retain(|at| !self.replaced.contains(at));
        let Some(since) = self.owed_since.take() else {
            assert!(left_out.is_empty(), "regular turns were skipped: {left_out:?}");
            return;
        };
        let just_before = since - chrono::TimeDelta::milliseconds(1);
        let just_after = now + chrono::TimeDelta::milliseconds(1);
        let passed = ahead(just_before, just_after);
        let passed = passed.into_iter().filter(|at| !self.ticked.contains(at)).collect::<Vec<_>>();
        match left_out[..] {
            [] => assert!(!passed.is_empty(), "a forced turn replaced nothing"),
            [replaced] => {
                assert!(!self.ticked.contains(&replaced));
                assert!(self.replaced.insert(replaced));
            }
            _ => panic!("a forced turn skipped {left_out:?}"),
        }
    }
}

/// What stores and wires do to a record loses nothing.
fn round_trip(rt: &Runtime) {
    let flat = machine::flat::FlatRuntime::from(rt);
    let back = Runtime::try_from(flat).expect("its own columns");
    assert_eq!(&back, rt, "columns and back");
    // The text is made of the columns, and slow to make: a part of the records will do.
    if rt.revision.is_multiple_of(8) {
        let text = serde_json::to_string(rt).expect("a record is written");
        let read: Runtime = serde_json::from_str(&text).expect("a record is read");
        assert_eq!(&read, rt, "text and back");
    }
}

/// A timer that is set is an event that counts from its instant on, and not before.
fn timers(rt: &Runtime, world: &World) {
    let accepted = |event: &Event, now: Timestamp| {
        with_context(now, world.fresh_operation(), &world.policy, |cx| {
            matches!(machine::step(Some(rt), event, cx), Ok(Verdict::Commit(_)))
        })
    };
    for (at, timer) in rt.timers() {
        let event = timer.event();
        assert!(accepted(&event, at.max(world.now)), "{timer:?} is due and comes to nothing");
        let early = at - chrono::TimeDelta::milliseconds(1);
        assert!(!accepted(&event, early), "{timer:?} counts before its time");
    }
    assert_eq!(rt.next_timer(), rt.timers().min(), "the first timer is the first");
    let stuck = rt.next_timer().is_none() && !rt.status().is_final();
    assert!(!stuck || rt.status() == Status::GenerationFailed, "nothing wakes {:?}", rt.life);
}

/// `finished_is_final`, `stopped_is_final`.
fn finals(before: Option<&Runtime>, step: &Step) {
    let Some(before) = before.filter(|rt| rt.status().is_final()) else { return };
    assert_eq!(before.status(), Status::Stopped, "a finished record changed");
    let next = step.next.as_ref().expect("a stopped record stays");
    let mut same = before.clone();
    same.revision = next.revision;
    same.updated_at = next.updated_at;
    same.health.clone_from(&next.health);
    assert_eq!(&same, next, "a stopped record changed in more than its health");
    assert!(step.effects.is_empty() && step.messages.is_empty());
}

/// Whether a stop is under way.
pub(crate) fn stop_pending(rt: &Runtime) -> bool {
    rt.pending().is_some_and(|p| matches!(p.what, PendingKind::Stop { .. }))
}
