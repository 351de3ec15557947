//! A process and an event: load, decide, commit; again where somebody else was faster; the calls only
//! after that. What the driver of the service does.

use crate::action::Fate;
use crate::decide::{Commit, Decision};
use crate::event::Ev;
use crate::observe;
use crate::record::Rec;
use crate::rule::Rule;
use crate::state::{Call, PHANTOM, Seen, State, Task, TaskStage};
use crate::system::System;
use crate::variants::Variant;

impl System {
    /// A process loads and decides, and commits unless that comes later. `false`: nothing came of
    /// the event.
    pub(crate) fn begin(&self, s: &mut State, gm: u8, ev: Ev, fate: Fate) -> bool {
        let decision = self.decider.decide(s.record.as_ref(), ev, gm);
        let Decision::Commit(commit) = decision else { return false };
        let seen = if s.record.is_some() { Seen::Current } else { Seen::Absent };
        let task = Task { ev, seen, stage: TaskStage::Decided };
        s.gms[usize::from(gm)].task = Some(task);
        if self.is(Variant::PublishBeforeCommit) && self.config.relay {
            for _ in 0..commit.messages {
                self.append(s, PHANTOM);
            }
        }
        if self.is(Variant::CallBeforeCommit) {
            self.send(s, commit.calls);
        }
        match fate {
            Fate::Later => {}
            Fate::Answered | Fate::DoneUnanswered | Fate::NotDone => self.commit(s, gm, fate),
        }
        true
    }

    /// A process commits what it decided.
    pub(crate) fn commit(&self, s: &mut State, gm: u8, fate: Fate) {
        let Some(task) = s.gms[usize::from(gm)].task else { return };
        s.gms[usize::from(gm)].task = None;
        match fate {
            Fate::Later => s.gms[usize::from(gm)].task = Some(task),
            Fate::Answered => match self.apply(s, gm, task.ev, task.seen) {
                Some(calls) => {
                    if !self.is(Variant::CallBeforeCommit) {
                        self.send(s, calls);
                    }
                    self.ends(s, task.ev);
                }
                // Lost: load again, decide anew. A lease that somebody renewed has not run out.
                None => {
                    let renewed = self.strikes_early(s, task.ev);
                    if renewed || !self.begin(s, gm, task.ev, Fate::Later) {
                        self.ends(s, task.ev);
                    }
                }
            },
            Fate::DoneUnanswered => {
                s.gms[usize::from(gm)].task = Some(task);
                let applied = self.apply(s, gm, task.ev, task.seen);
                let stage = applied.map_or(TaskStage::Unknown, TaskStage::Done);
                if let Some(task) = &mut s.gms[usize::from(gm)].task {
                    task.stage = stage;
                }
            }
            Fate::NotDone if self.is(Variant::UnknownTakenForDone) => {
                let decision = self.decider.decide(s.record.as_ref(), task.ev, gm);
                if let Decision::Commit(commit) = decision {
                    self.send(s, commit.calls);
                }
            }
            Fate::NotDone => {
                let task = Task { stage: TaskStage::Unknown, ..task };
                s.gms[usize::from(gm)].task = Some(task);
            }
        }
    }

    /// The store compares and sets. The calls to make, or nothing where something else is there.
    pub(crate) fn apply(
        &self,
        s: &mut State,
        gm: u8,
        ev: Ev,
        seen: Seen,
    ) -> Option<[Option<Call>; 2]> {
        if !self.holds(s, seen) {
            return None;
        }
        let there = s.record;
        let seen_rec = match seen {
            Seen::Absent => None,
            Seen::Current => there,
            Seen::Old(rec) => Some(rec),
            Seen::Outdated => return None,
        };
        let Decision::Commit(commit) = self.decider.decide(seen_rec.as_ref(), ev, gm) else {
            return None;
        };
        observe::commit(&mut s.ghost, there.as_ref(), seen_rec.as_ref(), ev, &commit);
        self.publish(s, &commit);
        s.record = commit.next;
        s.mapped = match commit.next {
            Some(_) => true,
            None => self.is(Variant::RollbackKeepsMappings),
        };
        self.age(s, there);
        Some(commit.calls)
    }

    pub(crate) fn holds(&self, s: &State, seen: Seen) -> bool {
        match seen {
            Seen::Absent => s.record.is_none(),
            Seen::Current => true,
            Seen::Outdated => false,
            Seen::Old(old) => s.record.is_some_and(|there| match self.variant {
                Some(Variant::StatusOnlyCas | Variant::StatusOnlyCasTurn) => {
                    there.status() == old.status()
                }
                Some(Variant::CasWithoutIncarnation) => {
                    (there.status(), there.revision) == (old.status(), old.revision)
                        && there.incarnation != old.incarnation
                }
                Some(Variant::BlindWriteOfFinished | Variant::BlindWriteOfStopped) => true,
                Some(_) | None => false,
            }),
        }
    }

    /// Whoever saw what was there until now has seen something outdated.
    pub(crate) fn age(&self, s: &mut State, was: Option<Rec>) {
        let keep = self.keeps_everything();
        let aged = |seen: &mut Seen| {
            if *seen == Seen::Current {
                *seen = match was {
                    Some(rec) if keep => Seen::Old(rec),
                    Some(_) | None => Seen::Outdated,
                };
            }
        };
        for gm in &mut s.gms {
            if let Some(task) = &mut gm.task {
                aged(&mut task.seen);
            }
        }
        if let Some(late) = &mut s.late {
            aged(&mut late.seen);
        }
    }

    pub(crate) fn publish(&self, s: &mut State, commit: &Commit) {
        if !self.config.relay {
            return;
        }
        for _ in 0..commit.messages {
            s.outbox.rows += 1;
            s.ghost.broken.note(
                Rule::ModelIsLargeEnough,
                usize::from(s.outbox.rows) > crate::state::MAX_MESSAGES,
            );
            if self.is(Variant::PublishBeforeCommit)
                && let Some(slot) = s.outbox.stream.iter_mut().find(|slot| **slot == PHANTOM)
            {
                *slot = s.outbox.rows;
                s.outbox.mark(s.outbox.rows);
            }
        }
    }

    pub(crate) fn send(&self, s: &mut State, calls: [Option<Call>; 2]) {
        for call in calls.into_iter().flatten() {
            let room = s.calls.add(call);
            s.ghost.broken.note(Rule::ModelIsLargeEnough, !room);
        }
    }

    /// An event is done with.
    pub(crate) fn ends(&self, s: &mut State, ev: Ev) {
        if let Ev::Health(report) = ev {
            s.health.read = s.health.read.max(report.number);
        }
    }

    pub(crate) fn repeat(&self, s: &mut State, gm: u8) {
        let Some(task) = s.gms[usize::from(gm)].task else { return };
        match task.stage {
            TaskStage::Decided => {}
            TaskStage::Unknown => self.commit(s, gm, Fate::Answered),
            TaskStage::Done(calls) => {
                s.gms[usize::from(gm)].task = None;
                if self.is(Variant::RepeatUnderAnotherName) {
                    self.write_again(s, gm, task);
                }
                if !self.is(Variant::CallBeforeCommit) {
                    self.send(s, calls);
                }
                self.ends(s, task.ev);
            }
        }
    }

    /// The store does not know the name: it writes the messages once more.
    pub(crate) fn write_again(&self, s: &mut State, gm: u8, task: Task) {
        let before = match task.seen {
            Seen::Old(rec) => Some(rec),
            Seen::Absent | Seen::Current | Seen::Outdated => None,
        };
        if let Decision::Commit(commit) = self.decider.decide(before.as_ref(), task.ev, gm) {
            observe::messages(&mut s.ghost, &commit);
            self.publish(s, &commit);
        }
    }
}
