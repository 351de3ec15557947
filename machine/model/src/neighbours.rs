//! The engine and Runtime Manager: how they take a call.

use machine::Summary;

use crate::action::Answering;
use crate::event::{Fault, Kind, Report, Said};
use crate::rule::Rule;
use crate::state::{Engine, Reply, State};
use crate::system::System;

impl System {
    pub(crate) fn arrive(&self, s: &mut State, at: usize, answering: Answering) {
        let Some(call) = s.calls.take(at) else { return };
        let said = match call.kind {
            Kind::Init => self.init(s),
            Kind::Turn(expected) => self.generate(s, expected),
            Kind::Probe => self.where_it_stands(s),
            Kind::Stop => self.take_down(s, answering),
            Kind::Patch => self.replace(s, answering),
        };
        let said = lie(said, answering);
        s.ghost.lied |=
            matches!(answering, Answering::Ahead | Answering::Over | Answering::Stranger);
        if let Some(to) = call.from {
            let kind = match call.kind {
                Kind::Turn(_) => Kind::Turn(0),
                Kind::Init | Kind::Probe | Kind::Stop | Kind::Patch => call.kind,
            };
            let room = s.replies.add(Reply { ticket: call.ticket, kind, said, to });
            s.ghost.broken.note(Rule::ModelIsLargeEnough, !room);
        }
    }

    pub(crate) fn init(&self, s: &mut State) -> Said {
        match (s.engine.up, s.engine.initialised) {
            (false, _) => Said::No(Fault::Unreachable),
            (true, true) => Said::No(Fault::AlreadyInitialised),
            (true, false) => {
                s.engine.initialised = true;
                self.where_it_stands(s)
            }
        }
    }

    pub(crate) fn generate(&self, s: &mut State, expected: u8) -> Said {
        let Said::At { turn, over, .. } = self.where_it_stands(s) else {
            return self.where_it_stands(s);
        };
        if over {
            return Said::No(Fault::Validation);
        }
        if self.config.honest_guard && turn != expected {
            return Said::No(Fault::TurnConflict);
        }
        s.engine.turn += 1;
        self.where_it_stands(s)
    }

    pub(crate) fn where_it_stands(&self, s: &State) -> Said {
        let Engine { up, initialised, turn, .. } = s.engine;
        match (up, initialised) {
            (false, _) => Said::No(Fault::Unreachable),
            (true, false) => Said::No(Fault::Validation),
            (true, true) => Said::At { turn, over: turn >= self.config.last_turn, stranger: false },
        }
    }

    pub(crate) fn take_down(&self, s: &mut State, answering: Answering) -> Said {
        if answering == Answering::Refusing {
            return Said::NotDone { refused: true };
        }
        if !s.engine.gone {
            s.engine.gone = true;
            if s.engine.up {
                self.report(s, Summary::Exited);
            }
            s.engine.up = false;
        }
        if answering == Answering::InSilence {
            return Said::NotDone { refused: false };
        }
        Said::Done(s.engine.container)
    }

    /// Idempotent: a container of that image is left as it is.
    pub(crate) fn replace(&self, s: &mut State, answering: Answering) -> Said {
        if answering == Answering::Refusing || s.engine.gone {
            return Said::NotDone { refused: true };
        }
        if s.engine.container == 1 {
            if s.engine.up {
                self.report(s, Summary::Exited);
            }
            s.engine.container = 2;
            s.engine.up = true;
            self.report(s, Summary::Healthy);
        }
        if answering == Answering::InSilence {
            return Said::NotDone { refused: false };
        }
        Said::Done(s.engine.container)
    }

    pub(crate) fn report(&self, s: &mut State, summary: Summary) {
        if !self.config.health {
            return;
        }
        let container = s.engine.container;
        let free = (1..).zip(&mut s.health.reports).find(|(_, slot)| slot.is_none());
        match free {
            Some((number, slot)) => *slot = Some(Report { number, container, summary }),
            None => s.ghost.broken.note(Rule::ModelIsLargeEnough, true),
        }
    }

    pub(crate) fn append(&self, s: &mut State, entry: u8) {
        let room = s.outbox.append(entry);
        s.ghost.broken.note(Rule::ModelIsLargeEnough, !room);
    }
}

/// What a caller makes of silence.
pub(crate) fn no_answer(kind: Kind) -> Said {
    match kind {
        Kind::Init | Kind::Turn(_) | Kind::Probe => Said::No(Fault::Unreachable),
        Kind::Stop | Kind::Patch => Said::NotDone { refused: false },
    }
}

fn lie(said: Said, answering: Answering) -> Said {
    let Said::At { turn, over, stranger } = said else { return said };
    match answering {
        Answering::Ahead => Said::At { turn: turn + 1, over, stranger },
        Answering::Over => Said::At { turn, over: true, stranger },
        Answering::Stranger => Said::At { turn, over, stranger: true },
        Answering::Honestly | Answering::Refusing | Answering::InSilence => said,
    }
}
