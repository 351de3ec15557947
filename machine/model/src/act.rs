//! What an action does.

use machine::{Summary, Timer};

use crate::action::{Action, Answering, Fate};
use crate::event::{Ev, Kind, Request, Tk};
use crate::neighbours::no_answer;
use crate::observe;
use crate::rule::Rule;
use crate::state::{Call, Item, Late, Relay, Reply, Seen, State, Task, TaskStage};
use crate::system::System;

impl System {
    pub(crate) fn ask(&self, s: &mut State, gm: u8, request: Request, fate: Fate) -> bool {
        let (ev, item) = match request {
            Request::Register => {
                s.lives += 1;
                (Ev::Register(s.lives), Item::Register)
            }
            Request::Force => (Ev::Force, Item::Force),
            Request::Stop => (Ev::Stop, Item::Stop),
            Request::Patch => (Ev::Patch, Item::Patch),
            Request::Reconcile => (Ev::Reconcile, Item::Reconcile),
        };
        s.left.spend(item);
        self.begin(s, gm, ev, fate)
    }

    pub(crate) fn strike(&self, s: &mut State, gm: u8, timer: Timer, fate: Fate) -> bool {
        if self.strikes_early(s, Ev::Strike(timer)) {
            s.left.spend(Item::Expiry);
        }
        self.begin(s, gm, Ev::Strike(timer), fate)
    }

    /// Whether this is the lease of a question that somebody still works on.
    pub(crate) fn strikes_early(&self, s: &State, ev: Ev) -> bool {
        let asked = match ev {
            Ev::Strike(Timer::WorkLease) => s.record.and_then(|rec| rec.work),
            Ev::Strike(Timer::PendingLease) => s.record.and_then(|rec| rec.asked()),
            Ev::Strike(Timer::Tick | Timer::Retry | Timer::Summary)
            | Ev::Register(_)
            | Ev::Force
            | Ev::Stop
            | Ev::Patch
            | Ev::Reconcile
            | Ev::Health(_)
            | Ev::Abandoned(_)
            | Ev::Answer(..) => None,
        };
        let question = s.record.zip(asked);
        question.is_some_and(|(rec, question)| self.is_at_work(s, &rec, question.attempt))
    }

    /// Carries an action out; `false` where it changes nothing.
    pub(crate) fn act(&self, s: &mut State, action: Action) -> bool {
        if let Some(Fate::DoneUnanswered | Fate::NotDone) = fate_of(action) {
            s.left.spend(Item::CommitLoss);
        }
        match action {
            Action::Ask(gm, request, fate) => return self.ask(s, gm, request, fate),
            Action::Strike(gm, timer, fate) => return self.strike(s, gm, timer, fate),
            Action::Hear { reply, again, fate } => {
                let Some(heard) = s.replies.take(reply) else { return false };
                if again {
                    s.left.spend(Item::Duplicate);
                    let room = s.replies.add(heard);
                    s.ghost.broken.note(Rule::ModelIsLargeEnough, !room);
                }
                let begun = self.begin(s, heard.to, answer(heard), fate);
                // Nothing came of it, whatever the fate: one such state is enough.
                return begun || first(fate);
            }
            Action::HearHealth(gm, fate) => {
                let Some(report) = self.next_report(s) else { return false };
                if !self.begin(s, gm, Ev::Health(report), fate) {
                    self.ends(s, Ev::Health(report));
                    return first(fate);
                }
            }
            Action::TakeUp(gm, fate) => {
                let todo = &mut s.gms[usize::from(gm)].todo;
                let Some(ticket) = todo[0].take() else { return false };
                todo.swap(0, 1);
                return self.begin(s, gm, Ev::Abandoned(ticket), fate) || first(fate);
            }
            Action::Commit(gm, fate) => self.commit(s, gm, fate),
            Action::Repeat(gm) => self.repeat(s, gm),
            Action::FirstTryArrives(gm) => {
                let Some(task) = s.gms[usize::from(gm)].task else { return false };
                let Some(calls) = self.apply(s, gm, task.ev, task.seen) else { return false };
                if let Some(task) = &mut s.gms[usize::from(gm)].task {
                    task.stage = TaskStage::Done(calls);
                }
            }
            Action::LateCommitArrives => {
                let Some(Late { gm, ev, seen }) = s.late.take() else { return false };
                // Its process is gone: nobody makes the calls.
                let _ = self.apply(s, gm, ev, seen);
            }
            Action::Arrive(at, answering) => {
                match answering {
                    Answering::Honestly => {}
                    Answering::Ahead | Answering::Over | Answering::Stranger => {
                        s.left.spend(Item::Lie);
                    }
                    Answering::Refusing | Answering::InSilence => s.left.spend(Item::RtmFault),
                }
                self.arrive(s, at, answering);
            }
            Action::GiveUp(at) => {
                s.left.spend(Item::Loss);
                let Some(call) = s.calls.take(at) else { return false };
                let Some(to) = call.from else { return false };
                let room = s.calls.add(Call { from: None, ..call });
                let said = no_answer(call.kind);
                let kind = match call.kind {
                    Kind::Turn(_) => Kind::Turn(0),
                    Kind::Init | Kind::Probe | Kind::Stop | Kind::Patch => call.kind,
                };
                let reply = Reply { ticket: call.ticket, kind, said, to };
                let all = s.replies.add(reply) && room;
                s.ghost.broken.note(Rule::ModelIsLargeEnough, !all);
            }
            Action::LoseReply(at) => {
                s.left.spend(Item::Loss);
                let Some(reply) = s.replies.take(at) else { return false };
                let said = no_answer(reply.kind);
                let room = s.replies.add(Reply { said, ..reply });
                s.ghost.broken.note(Rule::ModelIsLargeEnough, !room);
            }
            Action::Crash(gm) => {
                s.left.spend(Item::Crash);
                self.crash(s, gm);
            }
            Action::Restart(gm) => self.restart(s, gm),
            Action::EngineDown => {
                s.left.spend(Item::Down);
                s.engine.up = false;
                self.report(s, Summary::Exited);
            }
            Action::EngineUp => {
                s.engine.up = true;
                self.report(s, Summary::Healthy);
            }
            Action::HourPasses => self.hour_passes(s),
            Action::WindowEnds => {
                if let Some(rec) = &mut s.record {
                    rec.health.window = false;
                }
            }
            Action::SaveOffset => s.health.saved = s.health.read,
            Action::ReplayHealth => {
                s.left.spend(Item::Replay);
                (s.health.read, s.health.saved) = (0, 0);
            }
            Action::Append(fate) => self.relay_appends(s, fate),
            Action::Mark => self.relay_marks(s),
            Action::CheckTail => self.relay_checks(s),
            Action::LoseTail(lost) => {
                s.left.spend(Item::TailLoss);
                self.lose_tail(s, lost);
            }
        }
        true
    }

    pub(crate) fn crash(&self, s: &mut State, gm: u8) {
        let process = &mut s.gms[usize::from(gm)];
        let task = process.task.take();
        process.up = false;
        process.todo = [None; 2];
        if let Some(Task { ev, seen, stage: TaskStage::Decided | TaskStage::Unknown }) = task {
            s.late = s.late.or(Some(Late { gm, ev, seen }));
        }
        s.calls.change(|call| {
            let from = call.from.filter(|from| *from != gm);
            Some(Call { from, ..call })
        });
        s.replies.change(|reply| (reply.to != gm).then_some(reply));
        s.health.read = s.health.saved;
        // A relay that takes over looks for a lost tail first.
        s.outbox.relay = Relay::Idle;
        s.outbox.check = self.config.relay;
    }

    /// What is leased to this name was left behind by its predecessor.
    pub(crate) fn restart(&self, s: &mut State, gm: u8) {
        s.gms[usize::from(gm)].up = true;
        let Some(rec) = &s.record else { return };
        let mine = [rec.work, rec.asked()].map(|question| {
            question.filter(|question| question.owner == gm).map(|question| Tk::Live {
                incarnation: rec.incarnation,
                attempt: question.attempt,
            })
        });
        s.gms[usize::from(gm)].todo = mine;
    }

    pub(crate) fn hour_passes(&self, s: &mut State) {
        if let Some(rec) = &mut s.record {
            rec.next = rec.next.saturating_sub(1);
            rec.skip = rec.skip.map(|hours| hours.saturating_sub(1));
        }
        let hours_pass = |seen: &mut Seen| {
            if let Seen::Old(rec) = seen {
                rec.next = rec.next.saturating_sub(1);
                rec.skip = rec.skip.map(|hours| hours.saturating_sub(1));
            }
        };
        for task in s.gms.iter_mut().filter_map(|gm| gm.task.as_mut()) {
            hours_pass(&mut task.seen);
        }
        observe::hour(&mut s.ghost);
    }
}

fn first(fate: Fate) -> bool {
    match fate {
        Fate::Later | Fate::Answered => true,
        Fate::DoneUnanswered | Fate::NotDone => false,
    }
}

/// What becomes of the commit that an action makes.
pub fn fate_of(action: Action) -> Option<Fate> {
    match action {
        Action::Ask(_, _, fate)
        | Action::Strike(_, _, fate)
        | Action::Hear { fate, .. }
        | Action::HearHealth(_, fate)
        | Action::TakeUp(_, fate)
        | Action::Commit(_, fate) => Some(fate),
        Action::Repeat(_)
        | Action::FirstTryArrives(_)
        | Action::LateCommitArrives
        | Action::Arrive(..)
        | Action::GiveUp(_)
        | Action::LoseReply(_)
        | Action::Crash(_)
        | Action::Restart(_)
        | Action::EngineDown
        | Action::EngineUp
        | Action::HourPasses
        | Action::WindowEnds
        | Action::SaveOffset
        | Action::ReplayHealth
        | Action::Append(_)
        | Action::Mark
        | Action::CheckTail
        | Action::LoseTail(_) => None,
    }
}

pub(crate) fn answer(reply: Reply) -> Ev {
    Ev::Answer(reply.ticket, reply.kind, reply.said)
}
