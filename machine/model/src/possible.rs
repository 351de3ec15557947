//! What can happen next, in a fixed order.

use machine::Timer;

use crate::action::{Action, Answering, AppendFate, Fate};
use crate::event::{Ev, Kind, Report, Request, Tk};
use crate::neighbours::no_answer;
use crate::record::{Phase, Rec};
use crate::state::{Gm, Item, Relay, State, Task, TaskStage};
use crate::system::System;
use crate::variants::Variant;

impl System {
    /// Everything that can happen, in a fixed order.
    pub(crate) fn possible(&self, s: &State, actions: &mut Vec<Action>) {
        if !s.ghost.broken.is_empty() {
            return;
        }
        for gm in 0..self.config.gms {
            self.process_actions(s, gm, actions);
        }
        self.world_actions(s, actions);
        self.relay_actions(s, actions);
    }

    /// What becomes of a commit that is made at once.
    pub(crate) fn fates(&self, s: &State) -> impl Iterator<Item = Fate> + use<> {
        let racing = self.config.racing;
        let losses = !racing && s.left.has(Item::CommitLoss);
        [
            (Fate::Later, racing),
            (Fate::Answered, !racing),
            (Fate::DoneUnanswered, losses),
            (Fate::NotDone, losses),
        ]
        .into_iter()
        .filter_map(|(fate, possible)| possible.then_some(fate))
    }

    pub(crate) fn process_actions(&self, s: &State, gm: u8, actions: &mut Vec<Action>) {
        let Gm { up, task, todo } = s.gms[usize::from(gm)];
        if !up {
            actions.push(Action::Restart(gm));
            return;
        }
        if s.left.has(Item::Crash) {
            actions.push(Action::Crash(gm));
        }
        match task.map(|task| task.stage) {
            Some(TaskStage::Decided) => {
                actions.push(Action::Commit(gm, Fate::Answered));
                if s.left.has(Item::CommitLoss) {
                    actions.push(Action::Commit(gm, Fate::DoneUnanswered));
                    actions.push(Action::Commit(gm, Fate::NotDone));
                }
                return;
            }
            Some(TaskStage::Unknown) => {
                actions.push(Action::Repeat(gm));
                actions.push(Action::FirstTryArrives(gm));
                return;
            }
            Some(TaskStage::Done(_)) => {
                actions.push(Action::Repeat(gm));
                return;
            }
            None => {}
        }
        for fate in self.fates(s) {
            if todo[0].is_some() {
                actions.push(Action::TakeUp(gm, fate));
            }
            self.requests(s, gm, fate, actions);
            self.strikes(s, gm, fate, actions);
            if self.next_report(s).is_some() {
                actions.push(Action::HearHealth(gm, fate));
            }
            for (at, reply) in s.replies.iter().enumerate() {
                if reply.to == gm {
                    actions.push(Action::Hear { reply: at, again: false, fate });
                    if s.left.has(Item::Duplicate) {
                        actions.push(Action::Hear { reply: at, again: true, fate });
                    }
                }
            }
        }
    }

    pub(crate) fn requests(&self, s: &State, gm: u8, fate: Fate, actions: &mut Vec<Action>) {
        let register = s.left.has(Item::Register) && s.record.is_none();
        let asked = |item| s.left.has(item) && s.record.is_some();
        for (request, possible) in [
            (Request::Register, register),
            (Request::Force, asked(Item::Force)),
            (Request::Stop, asked(Item::Stop)),
            (Request::Patch, asked(Item::Patch)),
            (Request::Reconcile, asked(Item::Reconcile)),
        ] {
            if possible {
                actions.push(Action::Ask(gm, request, fate));
            }
        }
    }

    pub(crate) fn strikes(&self, s: &State, gm: u8, fate: Fate, actions: &mut Vec<Action>) {
        let Some(rec) = &s.record else { return };
        let timers = self.decider.timers(rec);
        let may_expire = |asked: Option<crate::record::Question>| {
            let early = asked.is_some_and(|question| self.is_at_work(s, rec, question.attempt));
            !early || s.left.has(Item::Expiry)
        };
        let work_lease = timers.has(Timer::WorkLease)
            && may_expire(rec.work)
            && !self.is(Variant::LeasesNeverSwept);
        let tick = timers.has(Timer::Tick)
            || self.is(Variant::TickOutOfUnreachable) && rec.phase == Phase::Unreachable
            || self.is(Variant::TickIgnoresPending) && rec.phase == Phase::Running;
        for (timer, possible) in [
            (Timer::Tick, tick && rec.next == 0),
            (Timer::WorkLease, work_lease),
            (Timer::PendingLease, timers.has(Timer::PendingLease) && may_expire(rec.asked())),
            (Timer::Retry, timers.has(Timer::Retry)),
            (Timer::Summary, timers.has(Timer::Summary)),
        ] {
            if possible {
                actions.push(Action::Strike(gm, timer, fate));
            }
        }
    }

    /// Whether somebody still works on the question with this number, so that its lease would run
    /// out for nothing.
    pub(crate) fn is_at_work(&self, s: &State, rec: &Rec, attempt: u8) -> bool {
        let ticket = Tk::Live { incarnation: rec.incarnation, attempt };
        let answers = |task: &Task| {
            let sends = match task.stage {
                TaskStage::Done(calls) => calls.iter().flatten().any(|c| c.ticket == ticket),
                TaskStage::Decided | TaskStage::Unknown => false,
            };
            sends || task.ev.ticket() == Some(ticket)
        };
        s.calls.iter().any(|call| call.ticket == ticket && call.from.is_some())
            || s.replies.iter().any(|reply| reply.ticket == ticket)
            || s.gms.iter().any(|gm| gm.task.as_ref().is_some_and(answers))
    }

    pub(crate) fn next_report(&self, s: &State) -> Option<Report> {
        // One at a time, in order.
        let busy = s.gms.iter().filter_map(|gm| gm.task).any(|t| matches!(t.ev, Ev::Health(_)));
        let next = s.health.reports.get(usize::from(s.health.read)).copied().flatten();
        next.filter(|_| !busy)
    }

    pub(crate) fn world_actions(&self, s: &State, actions: &mut Vec<Action>) {
        for (at, call) in s.calls.iter().enumerate() {
            actions.push(Action::Arrive(at, Answering::Honestly));
            let heard = call.from.is_some();
            match call.kind {
                Kind::Turn(_) | Kind::Probe if heard && s.left.has(Item::Lie) && s.engine.up => {
                    let lies = [Answering::Ahead, Answering::Over, Answering::Stranger];
                    actions.extend(lies.map(|answering| Action::Arrive(at, answering)));
                }
                Kind::Stop | Kind::Patch if s.left.has(Item::RtmFault) => {
                    actions.push(Action::Arrive(at, Answering::Refusing));
                    actions.push(Action::Arrive(at, Answering::InSilence));
                }
                Kind::Init | Kind::Turn(_) | Kind::Probe | Kind::Stop | Kind::Patch => {}
            }
            if heard && s.left.has(Item::Loss) {
                actions.push(Action::GiveUp(at));
            }
        }
        for (at, reply) in s.replies.iter().enumerate() {
            if s.left.has(Item::Loss) && reply.said != no_answer(reply.kind) {
                actions.push(Action::LoseReply(at));
            }
        }
        if s.late.is_some() {
            actions.push(Action::LateCommitArrives);
        }
        if s.left.has(Item::Down) && s.engine.up {
            actions.push(Action::EngineDown);
        }
        if !s.engine.up && !s.engine.gone {
            actions.push(Action::EngineUp);
        }
        let ahead =
            |rec: &Rec| rec.has_clock() && (rec.next > 0 || rec.skip.is_some_and(|h| h > 0));
        if s.record.is_some_and(|rec| ahead(&rec)) {
            actions.push(Action::HourPasses);
        }
        if s.record.is_some_and(|rec| rec.health.window) {
            actions.push(Action::WindowEnds);
        }
        if s.health.saved < s.health.read {
            actions.push(Action::SaveOffset);
        }
        if s.left.has(Item::Replay) && s.health.read > 0 {
            actions.push(Action::ReplayHealth);
        }
    }

    pub(crate) fn relay_actions(&self, s: &State, actions: &mut Vec<Action>) {
        let outbox = &s.outbox;
        if !self.config.relay || s.gms.iter().all(|gm| !gm.up) {
            return;
        }
        let entries = outbox.entries().count();
        if s.left.has(Item::TailLoss) {
            for lost in 1..=2.min(entries) {
                actions.push(Action::LoseTail(u8::try_from(lost).unwrap_or(1)));
            }
        }
        match outbox.relay {
            Relay::Appended(_) => actions.push(Action::Mark),
            Relay::Marked(_) => actions.push(Action::Append(AppendFate::Answered)),
            Relay::Idle if outbox.check && !self.is(Variant::NoTailCheck) => {
                actions.push(Action::CheckTail);
            }
            Relay::Idle if outbox.next().is_some() => {
                if self.is(Variant::MarkBeforeAppend) {
                    actions.push(Action::Mark);
                    return;
                }
                actions.push(Action::Append(AppendFate::Answered));
                if s.left.has(Item::AppendLoss) {
                    actions.push(Action::Append(AppendFate::DoneUnanswered));
                    actions.push(Action::Append(AppendFate::NotDone));
                }
            }
            Relay::Idle => {}
        }
    }
}
