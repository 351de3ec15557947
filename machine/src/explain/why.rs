//! The reason for the present status.

use super::history::History;
use super::ticks::{Ledger, ON_TIME_WITHIN};
use super::words::{self, capital, human, stamp};
use super::{LogLine, next};
use crate::audit::OperationKind;
use crate::failure::Failure;
use crate::policy::Policy;
use crate::record::{
    InitStage, Life, Pending, PendingKind, PendingState, Repair, Runtime, Status, Summary, Trigger,
    TurnClock, TurnStage,
};
use crate::schedule::HORIZON;
use crate::time::Timestamp;

/// One sentence or two; three where an operation is under way too.
pub(super) fn why(
    rt: &Runtime,
    history: &History<'_>,
    ledger: &Ledger<'_>,
    now: Timestamp,
    policy: &Policy,
) -> String {
    let why = Why { rt, history, ledger, now, policy };
    let (mut sentences, pending) = match &rt.life {
        Life::Starting { stage, pending, .. } => (why.starting(*stage), pending.as_ref()),
        Life::Running { clock, pending } => (why.running(*clock, pending.as_ref()), None),
        Life::Generating { clock, trigger, stage, pending, .. } => {
            (why.generating(*clock, *trigger, *stage), pending.as_ref())
        }
        Life::Failed { repair, pending, .. } => {
            (why.failed(repair, pending.as_ref()), pending.as_ref())
        }
        Life::Unreachable { repair, pending, .. } => {
            (why.unreachable(repair, pending.as_ref()), pending.as_ref())
        }
        Life::Stopped { at } => (why.stopped(*at), None),
        Life::Finished { at } => {
            let over =
                format!("The game was over with turn {} at {}.", rt.current_turn, stamp(*at));
            (vec![over], None)
        }
    };
    sentences.extend(pending.map(|pending| why.under_way(pending)));
    sentences.join(" ")
}

struct Why<'a> {
    rt: &'a Runtime,
    history: &'a History<'a>,
    ledger: &'a Ledger<'a>,
    now: Timestamp,
    policy: &'a Policy,
}

impl Why<'_> {
    fn starting(&self, stage: InitStage) -> Vec<String> {
        let since = stamp(self.rt.created_at);
        vec![match stage {
            InitStage::Call => format!(
                "The engine was asked at {since} to begin the game and has not answered yet."
            ),
            InitStage::Verify => format!(
                "The registration of {since} found an engine that was initialised before; it is \
                 being asked whether its game has just begun."
            ),
        }]
    }

    fn running(&self, clock: TurnClock, pending: Option<&Pending>) -> Vec<String> {
        let number = next::turn(self.rt);
        let due = clock.next_generation_at;
        if let Some(pending) = pending {
            let mut sentences = vec![self.under_way(pending)];
            sentences.push(match (&pending.what, due <= self.now) {
                (PendingKind::Stop { .. }, _) => "No turn begins meanwhile.".to_owned(),
                (PendingKind::Patch { .. }, true) => {
                    format!("{}, due at {}, waits for its end.", capital(&number), stamp(due))
                }
                (PendingKind::Patch { .. }, false) => {
                    format!("No turn begins meanwhile; {number} is due at {}.", stamp(due))
                }
            });
            return sentences;
        }
        let since = self.history.running_since();
        let running = since.map_or("is running".to_owned(), |since| {
            format!("has been running since {}", stamp(since))
        });
        if due >= HORIZON {
            return vec![format!(
                "The game {running}, and its schedule has no further occurrence."
            )];
        }
        let mut sentences = vec![if due > self.now {
            format!("The game {running}; {number} is due at {}.", stamp(due))
        } else if self.now - due <= ON_TIME_WITHIN {
            format!("The game {running}; {number} is due and about to begin.")
        } else {
            format!(
                "The game {running}; {number} was due at {}, {} ago, and begins as soon as \
                 Game Master gets to it.",
                stamp(due),
                human(self.now - due)
            )
        }];
        let nearest = self.rt.schedule.next(self.now);
        if clock.skip.is_some() {
            sentences.push(
                "A forced turn failed: the regular turn that stands in for it is followed by one \
                 that is left out."
                    .to_owned(),
            );
        } else if nearest < due {
            let force = self.ledger.replaced(nearest).and_then(|replaced| replaced.force);
            let forced = force.map_or("A forced turn".to_owned(), |line| {
                format!("The turn forced at {}", stamp(line.started_at))
            });
            sentences
                .push(format!("{forced} took the place of the one due at {}.", stamp(nearest)));
        }
        sentences
    }

    fn generating(&self, clock: TurnClock, trigger: Trigger, stage: TurnStage) -> Vec<String> {
        let number = capital(&next::turn(self.rt));
        let mut turns = self.history.turns().rev();
        let line = turns.next().filter(|(_, line)| line.outcome.is_none());
        let begun = line.map(|(_, line)| line.started_at);
        let since = begun.map_or(String::new(), |at| format!(", begun at {}", stamp(at)));
        let mut sentences = vec![match trigger {
            Trigger::Tick { due_at } => {
                let late = begun.map(|at| at - due_at).filter(|late| *late > ON_TIME_WITHIN);
                let late = late.map_or(String::new(), |late| format!(", {} late", human(late)));
                format!("{number}, due at {}, is being generated{since}{late}.", stamp(due_at))
            }
            Trigger::Force => {
                let place = clock.skip.map_or(String::new(), |replaced| {
                    format!("; it takes the place of the one due at {}", stamp(replaced))
                });
                format!("{number}, forced by an operator, is being generated{since}{place}.")
            }
        }];
        match stage {
            TurnStage::Turn => {}
            TurnStage::ProbeThenTurn => sentences.push(
                "The engine is first asked where it stands, because this turn failed before."
                    .to_owned(),
            ),
            TurnStage::ProbeAfterFence => sentences.push(
                "The request for it was interrupted, and the engine is being asked whether it has \
                 the turn."
                    .to_owned(),
            ),
        }
        sentences
    }

    fn failed(&self, repair: &Repair, pending: Option<&Pending>) -> Vec<String> {
        let number = self.rt.current_turn.checked_add(1);
        let of_this_turn = |line: &&LogLine| line.is_turn() && line.turn == number;
        let lines = || self.history.lines.iter().rev().copied();
        let line = lines().find(of_this_turn).and_then(|line| Some((line.failure()?, line)));
        let (at, what) = match line {
            Some((failure, line)) => (line.ended_at(), Some(failure)),
            None => (self.history.since(Status::GenerationFailed), self.rt.last_failure.as_ref()),
        };
        let at = at.map_or(String::new(), |at| format!(" at {}", stamp(at)));
        let with = what.map_or(String::new(), |what| format!(" with {}", words::failure(what)));
        let mut sentences = vec![format!("{} failed{at}{with}.", capital(&words::turn(number)))];
        let looked = lines().find(|line| line.is_look() || line.is_turn());
        let latest = looked.and_then(LogLine::failure);
        sentences.extend(match (&repair.probe, repair.retry_at, pending) {
            (Some(_), _, _) => Some(self.being_asked()),
            (None, Some(at), None) => Some(format!(
                "Game Master asks the engine where it stands at {} ({}).",
                stamp(at),
                next::try_of(self.rt, self.policy)
            )),
            (None, _, Some(_)) => None,
            (None, None, None) => Some(self.waits_for_an_operator(what, latest)),
        });
        sentences
    }

    fn being_asked(&self) -> String {
        let open = |line: &&&LogLine| line.is_look() && line.outcome.is_none();
        let line = self.history.lines.iter().rev().find(open);
        match line {
            Some(line) if line.kind == OperationKind::Reconcile => format!(
                "An operator had the engine asked where it stands at {}; it has not answered yet.",
                stamp(line.started_at)
            ),
            Some(line) => {
                format!(
                    "The engine was asked where it stands at {} and has not answered yet.",
                    stamp(line.started_at)
                )
            }
            None => "The engine is being asked where it stands.".to_owned(),
        }
    }

    fn waits_for_an_operator(&self, first: Option<&Failure>, latest: Option<&Failure>) -> String {
        match latest.or(first).or(self.rt.last_failure.as_ref()) {
            Some(why) if !why.code.may_pass() => format!(
                "The game waits for an operator: {} does not pass by itself.",
                if first == Some(why) { why.code.as_str().to_owned() } else { words::failure(why) }
            ),
            Some(_) | None => {
                let times =
                    if self.rt.tries == 1 { "once" } else { &format!("{} times", self.rt.tries) };
                format!(
                    "The game waits for an operator: Game Master has asked the engine {times} by \
                     itself, and asks no more."
                )
            }
        }
    }

    fn unreachable(&self, repair: &Repair, pending: Option<&Pending>) -> Vec<String> {
        let since = self.history.since(Status::EngineUnreachable);
        let at = since.map_or(String::new(), |at| format!(" at {}", stamp(at)));
        let mut sentences = vec![match self.rt.health.summary {
            Summary::Exited => format!("The engine's container exited{at}."),
            Summary::Oom => format!("The engine's container was killed for want of memory{at}."),
            Summary::Disappeared => format!("The engine's container disappeared{at}."),
            Summary::Unknown
            | Summary::Healthy
            | Summary::ProbeFailed
            | Summary::InspectUnhealthy => {
                let health = self.rt.health.summary.as_str();
                let unreachable = since.map_or("is unreachable".to_owned(), |since| {
                    format!("has been unreachable since {}", stamp(since))
                });
                format!("The engine {unreachable}; its container is now reported as {health}.")
            }
        }];
        sentences.extend(match (&repair.probe, repair.retry_at, pending) {
            (Some(_), _, _) => Some(self.being_asked()),
            (None, Some(at), None) => Some(format!(
                "Game Master asks it where it stands at {} (try {}), and again until it answers.",
                stamp(at),
                self.rt.tries.saturating_add(1)
            )),
            (None, Some(_) | None, Some(_)) | (None, None, None) => None,
        });
        sentences
    }

    fn stopped(&self, at: Timestamp) -> Vec<String> {
        let stop = |line: &&&LogLine| line.kind == OperationKind::Stop && line.succeeded();
        let asked = self.history.lines.iter().rev().find(stop);
        let asked = asked.map_or(String::new(), |line| {
            format!(", as was asked for at {}", stamp(line.started_at))
        });
        let turn = self.rt.current_turn;
        vec![format!("The game was stopped at {} after turn {turn}{asked}.", stamp(at))]
    }

    /// What Runtime Manager is to do.
    fn under_way(&self, pending: &Pending) -> String {
        let asked = self.history.pending().map(|line| stamp(line.started_at));
        let what = capital(&words::pending(pending));
        match &pending.state {
            PendingState::Draining { until } => {
                let asked = asked.map_or(String::new(), |at| format!(", asked for at {at},"));
                format!("{what}{asked} waits for the turn, until {} at most.", stamp(*until))
            }
            PendingState::Asked { .. } => match asked {
                Some(at) => format!("{what} has been under way at Runtime Manager since {at}."),
                None => format!("{what} is under way at Runtime Manager."),
            },
        }
    }
}
