//! A game played event by event, with its log.

use machine::explain::{Explanation, explain};
use machine::{
    EngineFailure, EngineFault, Event, Policy, Resolution, RtmFailure, Runtime, Schedule, Summary,
    Ticket, Timestamp, Verdict,
};

use crate::common::events::{patch, registration, standing, stop};
use crate::common::journal::Journal;
use crate::common::{at, op, parse, with_context};

pub(crate) struct Story {
    pub(crate) rt: Option<Runtime>,
    pub(crate) journal: Journal,
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
    operations: u128,
    reports: u64,
}

impl Story {
    /// Registered at 11:59:58 and running since 11:59:59.
    pub(crate) fn begun(schedule: &str) -> Self {
        let mut story = Self::registered(schedule);
        story.answer("11:59:59", Ok(0));
        story
    }

    /// Registered at 11:59:58.
    pub(crate) fn registered(schedule: &str) -> Self {
        let schedule = Schedule::parse(schedule, Resolution::Seconds).expect("a schedule");
        let mut story = Self {
            rt: None,
            journal: Journal::default(),
            policy: Policy::default(),
            now: at("11:59:58"),
            operations: 0,
            reports: 0,
        };
        let registration = machine::Registration { schedule, ..registration() };
        story.give("11:59:58", &Event::Register(Box::new(registration)));
        story
    }

    /// Something happens, and counts.
    #[track_caller]
    pub(crate) fn give(&mut self, when: &str, event: &Event) {
        self.now = at(when);
        self.operations += 1;
        let operation = op(self.operations);
        let reply = with_context(self.now, operation, &self.policy, |cx| {
            machine::step(self.rt.as_ref(), event, cx)
        });
        let Ok(Verdict::Commit(step)) = reply else { panic!("{event:?}: {reply:?}") };
        self.journal.write(&step, self.now);
        self.rt.clone_from(&step.next);
    }

    pub(crate) fn rt(&self) -> &Runtime {
        self.rt.as_ref().expect("a record")
    }

    fn ticket(&self, attempt: u64) -> Ticket {
        Ticket { incarnation: self.rt().incarnation, attempt }
    }

    /// The engine answers what it was asked: it is at this turn, or it is not well.
    #[track_caller]
    pub(crate) fn answer(&mut self, when: &str, answer: Result<u32, EngineFailure>) {
        self.answer_with(when, answer.map(standing));
    }

    #[track_caller]
    pub(crate) fn answer_with(
        &mut self,
        when: &str,
        answer: Result<machine::EngineState, EngineFailure>,
    ) {
        use machine::Life;
        use machine::record::{InitStage, TurnStage};
        let ticket = self.ticket(self.rt().work().expect("a question").attempt);
        let event = match self.rt().life {
            Life::Starting { stage: InitStage::Call, .. } => Event::InitDone(ticket, answer),
            Life::Generating { stage: TurnStage::Turn, .. } => Event::TurnDone(ticket, answer),
            Life::Starting { stage: InitStage::Verify, .. }
            | Life::Generating {
                stage: TurnStage::ProbeThenTurn | TurnStage::ProbeAfterFence,
                ..
            }
            | Life::Running { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => Event::ProbeDone(ticket, answer),
        };
        self.give(when, &event);
    }

    /// A regular turn: begun, and generated.
    #[track_caller]
    pub(crate) fn tick(&mut self, begun: &str, done: &str) {
        self.give(begun, &Event::Tick);
        let turn = self.rt().current_turn + 1;
        self.answer(done, Ok(turn));
    }

    pub(crate) fn health(&mut self, when: &str, summary: Summary) {
        self.reports += 1;
        let id = machine::StreamId { ms: self.reports, seq: 0 };
        let container_id = parse("c1");
        let report = machine::HealthReport { id, container_id, summary, consecutive_failures: 3 };
        self.give(when, &Event::Health(report));
    }

    pub(crate) fn patch(&mut self, when: &str) {
        self.give(when, &patch("1.4.3"));
    }

    pub(crate) fn stop(&mut self, when: &str) {
        self.give(when, &stop());
    }

    /// Runtime Manager answers what it was asked.
    pub(crate) fn rtm(&mut self, when: &str, done: bool) {
        use machine::record::{PendingKind, PendingState};
        let pending = self.rt().pending().expect("an operation");
        let PendingState::Asked { attempt, .. } = pending.state else { panic!("it was not asked") };
        let ticket = self.ticket(attempt);
        let answer = if done {
            Ok(())
        } else {
            Err(RtmFailure { refused: true, message: "not now".into() })
        };
        let event = match pending.what {
            PendingKind::Stop { .. } => Event::StopDone(ticket, answer),
            PendingKind::Patch { .. } => Event::PatchDone(ticket, answer.map(|()| parse("c1"))),
        };
        self.give(when, &event);
    }

    pub(crate) fn explain(&self, now: Timestamp) -> Explanation {
        explain(self.rt(), &self.journal.newest(usize::MAX), now, &self.policy)
    }

    /// Asserts all of the explanation at an instant.
    #[track_caller]
    pub(crate) fn explains(&self, now: &str, expected: &str) {
        self.explains_from(usize::MAX, now, expected);
    }

    /// The same with the newest lines of the log alone.
    #[track_caller]
    pub(crate) fn explains_from(&self, lines: usize, now: &str, expected: &str) {
        let log = self.journal.newest(lines);
        let actual = show(&explain(self.rt(), &log, at(now), &self.policy));
        let expected: Vec<&str> = expected.lines().map(str::trim).collect();
        let expected = expected.join("\n");
        assert!(actual == expected, "--- expected\n{expected}\n--- explained\n{actual}\n---");
    }
}

pub(crate) fn silent() -> EngineFailure {
    EngineFailure { kind: EngineFault::Unreachable, message: "no answer within 30 s".into() }
}

pub(crate) fn refuses() -> EngineFailure {
    EngineFailure { kind: EngineFault::Validation, message: "no such order".into() }
}

/// The answer as text. The day all stories play on is left out.
pub(crate) fn show(explanation: &Explanation) -> String {
    let Explanation { why, last_ticks, next } = explanation;
    let mut lines = vec![why.clone()];
    for tick in last_ticks {
        let due = tick.due_at.format("%Y-%m-%dT%H:%M:%SZ");
        let turn = tick.turn.map_or("-".into(), |turn| turn.to_string());
        lines.push(format!("[{due} {} {turn}] {}", tick.outcome.as_str(), tick.detail));
    }
    for step in next {
        let at = step.at.map_or("-".into(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        lines.push(format!("({at}) {}", step.what));
    }
    lines.join("\n").replace("2026-03-01T", "")
}
