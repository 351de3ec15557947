//! Equal situations are equal states: what cannot make a difference any more is let go of.
//!
//! Attempt numbers are compared for equality and drawn upwards, so that a renaming which keeps their
//! order changes nothing: the numbers of the present life become 1 (whatever no longer counts), 2
//! and 3 (what does), and the last one drawn lies at or above them.

use crate::event::{Kind, Said, Tk, forget};
use crate::record::{Admin, Phase, Question, Rec};
use crate::state::{Call, Engine, Item, Reply, Seen, State, Task, TaskStage};

/// What the canonical form depends on besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Whether the engine refuses another turn than the expected one.
    pub honest_guard: bool,
    /// The turn that ends the game.
    pub last_turn: u8,
    /// How many processes there are.
    pub gms: usize,
}

/// The canonical form of a state.
pub fn settle(s: &mut State, form: Form) {
    let names = Names::of(s.record.as_ref());
    if let Some(rec) = &mut s.record {
        names.record(rec);
        let restarts = s.left.has(Item::Crash) || s.gms.iter().take(form.gms).any(|gm| !gm.up);
        if !restarts {
            // Only a process that starts asks whose a lease was.
            disown(rec);
        }
    }
    let engine = s.engine;
    s.calls.change(|call| {
        // Nobody waits for the answer: it need not carry anything.
        let ticket = call.from.map_or(Tk::Dead, |_| names.ticket(call.ticket));
        let call = Call { ticket, ..call };
        matters(&call, &engine, form).then_some(call)
    });
    s.replies.change(|reply| {
        let ticket = names.ticket(reply.ticket);
        let (kind, said) = forget(ticket, reply.kind, reply.said);
        Some(Reply { ticket, kind, said, ..reply })
    });
    forget_repeats(s, form);
    for gm in &mut s.gms {
        if let Some(task) = &mut gm.task {
            names.task(task);
        }
        for ticket in &mut gm.todo {
            *ticket = ticket
                .map(|ticket| names.ticket(ticket))
                .filter(|ticket| matches!(ticket, Tk::Live { .. }));
        }
        if gm.todo[0].is_none() {
            gm.todo.swap(0, 1);
        }
    }
    if let Some(late) = &mut s.late {
        match late.seen {
            // It can never apply.
            Seen::Outdated => s.late = None,
            Seen::Absent | Seen::Current | Seen::Old(_) => {
                late.ev =
                    late.ev.ticket().map_or(late.ev, |t| late.ev.with_ticket(names.ticket(t)));
            }
        }
    }
    if !s.left.has(Item::Crash) && !s.left.has(Item::Replay) {
        s.health.saved = s.health.read;
    }
}

/// Of questions and answers that no longer count, one of each kind is enough: the first shows
/// whatever the second could.
fn forget_repeats(s: &mut State, form: Form) {
    // Asking an engine where it stands changes nothing there: such a question is as good as answered.
    for at in (0..s.calls.len()).rev() {
        let dead = s.calls.get(at).filter(|call| {
            call.kind == Kind::Probe && matches!(call.ticket, Tk::Dead | Tk::Foreign)
        });
        if let Some(Call { ticket, kind, from: Some(to) }) = dead {
            let reply = Reply { ticket, kind, said: Said::Tempting, to };
            if s.replies.iter().any(|known| known == reply) || s.replies.add(reply) {
                let _ = s.calls.take(at);
            }
        }
    }
    s.replies.settle();
    s.replies.merge(|reply| !matches!(reply.ticket, Tk::Live { .. }));
    if form.honest_guard {
        // The first of two such turns has the engine refuse the second one; the others may be asked
        // twice of themselves.
        s.calls.merge(|call| !matches!(call.ticket, Tk::Live { .. }));
    }
}

fn disown(rec: &mut Rec) {
    let nobody = |question: Question| Question { owner: 0, ..question };
    rec.work = rec.work.map(nobody);
    rec.pending = match rec.pending {
        Admin::None => Admin::None,
        Admin::Draining => Admin::Draining,
        Admin::Stop(question) => Admin::Stop(nobody(question)),
        Admin::Patch(question) => Admin::Patch(nobody(question)),
    };
}

/// Whether a call can still change anything.
fn matters(call: &Call, engine: &Engine, form: Form) -> bool {
    if call.from.is_some() {
        return true;
    }
    match call.kind {
        Kind::Probe => false,
        Kind::Init => !engine.initialised,
        Kind::Turn(expected) => {
            let refused = form.honest_guard && expected < engine.turn;
            !refused && engine.turn < form.last_turn
        }
        Kind::Stop | Kind::Patch => !engine.gone,
    }
}

/// The renaming of attempts of the present life.
struct Names {
    life: Option<u8>,
    /// The old numbers of 2 and 3.
    live: [Option<u8>; 2],
    last: u8,
}

impl Names {
    fn of(record: Option<&Rec>) -> Self {
        let Some(rec) = record else { return Self { life: None, live: [None; 2], last: 0 } };
        let mut live = [rec.work.map(|q| q.attempt), rec.asked().map(|q| q.attempt)];
        if live[0].is_none() || live[1].is_some_and(|second| live[0] > Some(second)) {
            live.swap(0, 1);
        }
        let newest = live[1].max(live[0]);
        let count = live.iter().flatten().fold(0, |count, _| count + 1);
        let spare = u8::from(newest != Some(rec.attempt));
        Self { life: Some(rec.incarnation), live, last: 1 + count + spare }
    }

    fn attempt(&self, old: u8) -> Option<u8> {
        (2..).zip(self.live).find(|(_, live)| *live == Some(old)).map(|(new, _)| new)
    }

    fn ticket(&self, ticket: Tk) -> Tk {
        match ticket {
            Tk::Dead if self.life.is_none() => Tk::Foreign,
            Tk::Dead => Tk::Dead,
            Tk::Foreign => Tk::Foreign,
            Tk::Live { incarnation, attempt } if Some(incarnation) == self.life => {
                let attempt = self.attempt(attempt);
                attempt.map_or(Tk::Dead, |attempt| Tk::Live { incarnation, attempt })
            }
            Tk::Live { .. } => Tk::Foreign,
        }
    }

    fn question(&self, question: Question) -> Question {
        let attempt = self.attempt(question.attempt).unwrap_or(question.attempt);
        Question { attempt, ..question }
    }

    fn record(&self, rec: &mut Rec) {
        rec.attempt = self.last;
        rec.work = rec.work.map(|question| self.question(question));
        rec.pending = match rec.pending {
            Admin::None => Admin::None,
            Admin::Draining => Admin::Draining,
            Admin::Stop(question) => Admin::Stop(self.question(question)),
            Admin::Patch(question) => Admin::Patch(self.question(question)),
        };
        // Past the beginning no record of another life can be taken for this one, and only "the one
        // I saw" matters of a revision.
        if !matches!(rec.phase, Phase::Starting { .. }) {
            rec.revision = 9;
        }
    }

    fn task(&self, task: &mut Task) {
        if let Some(ticket) = task.ev.ticket() {
            task.ev = task.ev.with_ticket(self.ticket(ticket));
        }
        if let TaskStage::Done(calls) = &mut task.stage {
            for call in calls.iter_mut().flatten() {
                call.ticket = self.ticket(call.ticket);
            }
        }
    }
}
