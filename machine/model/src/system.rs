//! The whole: processes, store, network, engine, Runtime Manager, streams and clock.
//!
//! ```text
//!   clients, timers, replies, reports ──▶ process: load, decide ──▶ commit ──▶ calls ──▶ …
//!                                              ▲                      │
//!                                              └────── conflict ──────┘
//! ```
//!
//! A process is what the driver of the service is: it loads, asks the production `step`, commits
//! with a compare-and-set, starts again where it lost, repeats under its name where the answer was
//! lost, and makes the calls after that. What it holds is gone when it dies.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::act::{answer, fate_of};
use crate::action::{Action, Answering, Fate};
use crate::bag::Bag;
use crate::canonical::{self, Form};
use crate::catalog::{Catalog, Invalid};
use crate::configs::Config;
use crate::decide::Decider;
use crate::event::{Ev, Request};
use crate::properties;
use crate::record::Rec;
use crate::state::{Engine, Ghost, Gm, HealthStream, MAX_REPORTS, Outbox, State};
use crate::variants::Variant;
use stateright::{Model, Property};

/// A world, right or wrong.
#[derive(Debug)]
pub struct System {
    /// How it is set up.
    pub config: Config,
    /// What is done wrong in it.
    pub variant: Option<Variant>,
    pub(crate) decider: Decider,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl System {
    /// The world as it is.
    pub fn right(config: Config) -> Result<Self, Invalid> {
        Self::new(config, None)
    }

    /// A world in which one rule is done wrong.
    pub fn wrong(variant: Variant) -> Result<Self, Invalid> {
        Self::new(variant.config(), Some(variant))
    }

    fn new(config: Config, variant: Option<Variant>) -> Result<Self, Invalid> {
        let catalog = Catalog::new(config.claimed_guard, config.max_tries)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Self { config, variant, decider: Decider { catalog, variant, id } })
    }

    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    /// Whether the engine must never run away from the record.
    pub fn expects_guard(&self) -> bool {
        self.config.claimed_guard || self.is(Variant::NoGuard)
    }

    pub(crate) fn keeps_everything(&self) -> bool {
        self.variant.is_some_and(Variant::keeps_everything)
    }

    fn beginning(&self) -> State {
        let gm = |number: u8| Gm { up: number < self.config.gms, task: None, todo: [None; 2] };
        State {
            record: None,
            mapped: false,
            lives: 0,
            gms: [gm(0), gm(1)],
            late: None,
            calls: Bag::EMPTY,
            replies: Bag::EMPTY,
            engine: Engine { up: true, gone: false, initialised: false, turn: 0, container: 1 },
            health: HealthStream { reports: [None; MAX_REPORTS], read: 0, saved: 0 },
            outbox: Outbox::EMPTY,
            left: self.config.bounds(),
            ghost: Ghost::default(),
        }
    }

    /// The game is registered and the engine initialised, with nothing going wrong.
    fn begun(&self) -> State {
        let mut s = self.beginning();
        s.lives = 1;
        self.begin(&mut s, 0, Ev::Register(1), Fate::Answered);
        self.settle(&mut s);
        self.arrive(&mut s, 0, Answering::Honestly);
        self.settle(&mut s);
        if let Some(reply) = s.replies.take(0) {
            self.begin(&mut s, 0, answer(reply), Fate::Answered);
        }
        self.settle(&mut s);
        s
    }

    /// Brings a state into its canonical form.
    fn settle(&self, s: &mut State) {
        if let Some(variant) = self.variant {
            s.ghost.broken = s.ghost.broken.only(variant.breaks());
        }
        if self.keeps_everything() {
            return;
        }
        let Config { honest_guard, last_turn, gms, .. } = self.config;
        canonical::settle(s, Form { honest_guard, last_turn, gms: gms.into() });
    }

    /// The state after an action.
    pub(crate) fn after(&self, s: &State, action: Action) -> Option<State> {
        let mut next = *s;
        let changed = self.act(&mut next, action);
        self.settle(&mut next);
        (changed && next != *s).then_some(next)
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![if self.config.begun { self.begun() } else { self.beginning() }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        self.possible(s, actions);
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        self.after(s, action)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn format_step(&self, s: &State, action: Action) -> Option<String> {
        self.after(s, action).map(|next| format!("{next:?}"))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.variant)
    }
}

/// For tests of the fold.
impl System {
    /// A record, unfolded and folded again.
    pub fn fold_again(&self, rec: &Rec) -> Rec {
        let catalog = self.catalog();
        catalog.fold(&catalog.unfold(rec), catalog.now())
    }

    /// The two directions of the fold.
    pub fn catalog(&self) -> &Catalog {
        &self.decider.catalog
    }

    /// The canonical form that a record has in a state like this one.
    pub fn canonical(&self, like: &State, record: Option<Rec>) -> Option<Rec> {
        let mut s = State { record, ..*like };
        self.settle(&mut s);
        s.record
    }

    /// The event that an action brings to a process, where its commit is made and answered at once.
    pub fn event_of(&self, s: &State, action: Action) -> Option<(u8, Ev)> {
        if fate_of(action) != Some(Fate::Answered) {
            return None;
        }
        match action {
            Action::Ask(gm, request, _) => {
                let ev = match request {
                    Request::Register => Ev::Register(s.lives + 1),
                    Request::Force => Ev::Force,
                    Request::Stop => Ev::Stop,
                    Request::Patch => Ev::Patch,
                    Request::Reconcile => Ev::Reconcile,
                };
                Some((gm, ev))
            }
            Action::Strike(gm, timer, _) => Some((gm, Ev::Strike(timer))),
            Action::Hear { reply, .. } => s.replies.get(reply).map(|r| (r.to, answer(r))),
            Action::HearHealth(gm, _) => self.next_report(s).map(|r| (gm, Ev::Health(r))),
            Action::TakeUp(gm, _) => {
                s.gms[usize::from(gm)].todo[0].map(|ticket| (gm, Ev::Abandoned(ticket)))
            }
            Action::Commit(..)
            | Action::Repeat(_)
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
}
