//! The rules done wrong, one at a time: a proof that nobody can break proves nothing.
//!
//! Each variant wraps the production `step`, or the protocol around it, in the model alone: it alters
//! what is passed to `step`, what comes back, or how the store compares. None is a switch in
//! production code.

use machine::record::{PlayerStats, TurnClock};
use machine::{Call, Event, Life, Runtime, Step, Ticket};

use crate::configs;
use crate::configs::Config;
use crate::rule::Rule;

/// One rule done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is told in `about`")]
pub enum Variant {
    StatusOnlyCas,
    CasWithoutIncarnation,
    BlindWriteOfFinished,
    BlindWriteOfStopped,
    StatusOnlyCasTurn,
    TickOutOfUnreachable,
    GuardOff,
    NoGuard,
    AdoptUnchecked,
    NoFencing,
    IncarnationIgnored,
    AbandonAnything,
    RepeatUnderAnotherName,
    PublishBeforeCommit,
    MarkBeforeAppend,
    AppendAnywhere,
    NoTailCheck,
    TailLossUnnoticed,
    SkipConsumedEarly,
    SkipForgotten,
    TickIgnoresPending,
    StopWithoutDrain,
    CallBeforeCommit,
    UnknownTakenForDone,
    RollbackKeepsMappings,
    CursorIgnored,
    ContainerIgnored,
    AdoptedTurnForgetsClock,
    StandingUnchecked,
    LeasesNeverSwept,
    RetryForgotten,
}

impl Variant {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 31] = [
        Self::StatusOnlyCas,
        Self::CasWithoutIncarnation,
        Self::StatusOnlyCasTurn,
        Self::BlindWriteOfFinished,
        Self::BlindWriteOfStopped,
        Self::TickOutOfUnreachable,
        Self::GuardOff,
        Self::NoGuard,
        Self::AdoptUnchecked,
        Self::NoFencing,
        Self::IncarnationIgnored,
        Self::AbandonAnything,
        Self::RepeatUnderAnotherName,
        Self::PublishBeforeCommit,
        Self::MarkBeforeAppend,
        Self::AppendAnywhere,
        Self::NoTailCheck,
        Self::TailLossUnnoticed,
        Self::SkipConsumedEarly,
        Self::SkipForgotten,
        Self::TickIgnoresPending,
        Self::StopWithoutDrain,
        Self::CallBeforeCommit,
        Self::UnknownTakenForDone,
        Self::RollbackKeepsMappings,
        Self::CursorIgnored,
        Self::ContainerIgnored,
        Self::AdoptedTurnForgetsClock,
        Self::StandingUnchecked,
        Self::LeasesNeverSwept,
        Self::RetryForgotten,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StatusOnlyCas => "status_only_cas",
            Self::CasWithoutIncarnation => "cas_without_incarnation",
            Self::BlindWriteOfFinished => "blind_write_of_finished",
            Self::BlindWriteOfStopped => "blind_write_of_stopped",
            Self::StatusOnlyCasTurn => "status_only_cas_loses_a_turn",
            Self::TickOutOfUnreachable => "tick_out_of_unreachable",
            Self::GuardOff => "guard_off",
            Self::NoGuard => "no_guard",
            Self::AdoptUnchecked => "adopt_unchecked",
            Self::NoFencing => "no_fencing",
            Self::IncarnationIgnored => "incarnation_ignored",
            Self::AbandonAnything => "abandon_anything",
            Self::RepeatUnderAnotherName => "repeat_under_another_name",
            Self::PublishBeforeCommit => "publish_before_commit",
            Self::MarkBeforeAppend => "mark_before_append",
            Self::AppendAnywhere => "append_anywhere",
            Self::NoTailCheck => "no_tail_check",
            Self::TailLossUnnoticed => "tail_loss_unnoticed",
            Self::SkipConsumedEarly => "skip_consumed_early",
            Self::SkipForgotten => "skip_forgotten",
            Self::TickIgnoresPending => "tick_ignores_pending",
            Self::StopWithoutDrain => "stop_without_drain",
            Self::CallBeforeCommit => "call_before_commit",
            Self::UnknownTakenForDone => "unknown_taken_for_done",
            Self::RollbackKeepsMappings => "rollback_keeps_mappings",
            Self::CursorIgnored => "cursor_ignored",
            Self::ContainerIgnored => "container_ignored",
            Self::AdoptedTurnForgetsClock => "adopted_turn_forgets_clock",
            Self::StandingUnchecked => "standing_unchecked",
            Self::LeasesNeverSwept => "leases_never_swept",
            Self::RetryForgotten => "retry_forgotten",
        }
    }

    /// What is done wrong.
    pub const fn about(self) -> &'static str {
        match self {
            Self::StatusOnlyCas | Self::StatusOnlyCasTurn => {
                "the compare-and-set compares the status alone"
            }
            Self::CasWithoutIncarnation => {
                "status and revision are compared, the incarnation is not"
            }
            Self::BlindWriteOfFinished | Self::BlindWriteOfStopped => "nothing is compared at all",
            Self::TickOutOfUnreachable => "the clock starts a turn of an unreachable engine",
            Self::GuardOff => "an engine said to honour expected_turn does not",
            Self::NoGuard => "the documented case: an engine without a guard, forced or retried",
            Self::AdoptUnchecked => "whatever turn the engine tells is taken for the next one",
            Self::NoFencing => "a reply's ticket is not compared",
            Self::IncarnationIgnored => "replies are matched by attempt alone",
            Self::AbandonAnything => "a restarted process fences off whatever is under way now",
            Self::RepeatUnderAnotherName => "a commit whose answer was lost is repeated as another",
            Self::PublishBeforeCommit => "messages go to the stream before the commit",
            Self::MarkBeforeAppend => "the relay marks a message before it appends it",
            Self::AppendAnywhere => "the relay appends without an id of its own",
            Self::NoTailCheck => "the relay never looks whether the stream lost its tail",
            Self::TailLossUnnoticed => "the stream loses its tail and no connection breaks",
            Self::SkipConsumedEarly => "the owed skip is gone once the forced turn failed",
            Self::SkipForgotten => "an adopted turn does not consume the skip",
            Self::TickIgnoresPending => "a tick does not look at what is pending",
            Self::StopWithoutDrain => "a stop does not wait for the turn",
            Self::CallBeforeCommit => "calls are made before the commit",
            Self::UnknownTakenForDone => "a commit whose answer was lost is taken for done",
            Self::RollbackKeepsMappings => "a rolled-back registration leaves its mappings",
            Self::CursorIgnored => "the health cursor is not compared",
            Self::ContainerIgnored => "the container of a health event is not compared",
            Self::AdoptedTurnForgetsClock => "an adopted turn leaves the clock unset",
            Self::StandingUnchecked => "the engine's races are not matched against the roster",
            Self::LeasesNeverSwept => "nobody looks for leases that ran out",
            Self::RetryForgotten => "an unwell engine is never asked again unbidden",
        }
    }

    /// The rule that it breaks.
    pub const fn breaks(self) -> Rule {
        match self {
            Self::StatusOnlyCas | Self::CasWithoutIncarnation => Rule::RevisionGrowsByOne,
            Self::BlindWriteOfFinished => Rule::FinishedIsFinal,
            Self::BlindWriteOfStopped => Rule::StoppedIsFinal,
            Self::StatusOnlyCasTurn => Rule::NoTurnTwice,
            Self::TickOutOfUnreachable => Rule::OnlyListedTransitions,
            Self::GuardOff | Self::NoGuard | Self::AdoptUnchecked => Rule::NoTurnGeneratedTwice,
            Self::NoFencing | Self::IncarnationIgnored | Self::AbandonAnything => {
                Rule::FencedReplyChangesNothing
            }
            Self::RepeatUnderAnotherName => Rule::GameFinishedIsLast,
            Self::PublishBeforeCommit
            | Self::MarkBeforeAppend
            | Self::AppendAnywhere
            | Self::TailLossUnnoticed => Rule::MessagesFollowCommits,
            Self::SkipConsumedEarly | Self::SkipForgotten => Rule::ForceSkipsExactlyOneTick,
            Self::TickIgnoresPending => Rule::NoTickWhilePending,
            Self::StopWithoutDrain => Rule::StopDrains,
            Self::CallBeforeCommit | Self::UnknownTakenForDone => Rule::WriteAhead,
            Self::RollbackKeepsMappings => Rule::NoOrphans,
            Self::CursorIgnored => Rule::HealthEventsOnceInOrder,
            Self::ContainerIgnored => Rule::HealthOfThisContainer,
            Self::AdoptedTurnForgetsClock => Rule::RunningRecordHasNextTick,
            Self::StandingUnchecked => Rule::EveryReferenceResolves,
            Self::NoTailCheck | Self::LeasesNeverSwept | Self::RetryForgotten => {
                Rule::EverythingResolves
            }
        }
    }

    /// The world it is tried in.
    pub fn config(self) -> Config {
        match self {
            Self::StatusOnlyCas | Self::StatusOnlyCasTurn => configs::race(),
            Self::BlindWriteOfFinished | Self::BlindWriteOfStopped => configs::race_admin(),
            Self::CasWithoutIncarnation => configs::race_rebirth(),
            Self::TickOutOfUnreachable
            | Self::CursorIgnored
            | Self::ContainerIgnored
            | Self::RetryForgotten => configs::health(),
            Self::GuardOff => Config { honest_guard: false, ..configs::turns() },
            Self::NoGuard => {
                Config { claimed_guard: false, honest_guard: false, ..configs::turns() }
            }
            Self::IncarnationIgnored => configs::rebirth(),
            Self::RepeatUnderAnotherName => Config { last_turn: 1, ..configs::turns() },
            Self::AbandonAnything
            | Self::NoFencing
            | Self::SkipConsumedEarly
            | Self::SkipForgotten
            | Self::CallBeforeCommit
            | Self::UnknownTakenForDone
            | Self::AdoptedTurnForgetsClock
            | Self::LeasesNeverSwept
            | Self::AdoptUnchecked => configs::turns(),
            Self::PublishBeforeCommit => configs::race_relay(),
            Self::MarkBeforeAppend
            | Self::AppendAnywhere
            | Self::NoTailCheck
            | Self::TailLossUnnoticed => configs::relay(),
            Self::TickIgnoresPending | Self::StopWithoutDrain => configs::admin(),
            Self::RollbackKeepsMappings => configs::rebirth(),
            Self::StandingUnchecked => configs::lies(),
        }
    }

    /// Whether what no longer counts must be kept apart all the same, since it might count here.
    pub fn keeps_everything(self) -> bool {
        match self {
            Self::StatusOnlyCas
            | Self::StatusOnlyCasTurn
            | Self::CasWithoutIncarnation
            | Self::BlindWriteOfFinished
            | Self::BlindWriteOfStopped
            | Self::NoFencing
            | Self::IncarnationIgnored
            | Self::RepeatUnderAnotherName
            | Self::CallBeforeCommit
            | Self::UnknownTakenForDone
            | Self::AbandonAnything => true,
            Self::TickOutOfUnreachable
            | Self::GuardOff
            | Self::NoGuard
            | Self::AdoptUnchecked
            | Self::PublishBeforeCommit
            | Self::MarkBeforeAppend
            | Self::AppendAnywhere
            | Self::NoTailCheck
            | Self::TailLossUnnoticed
            | Self::SkipConsumedEarly
            | Self::SkipForgotten
            | Self::TickIgnoresPending
            | Self::StopWithoutDrain
            | Self::RollbackKeepsMappings
            | Self::CursorIgnored
            | Self::ContainerIgnored
            | Self::AdoptedTurnForgetsClock
            | Self::StandingUnchecked
            | Self::LeasesNeverSwept
            | Self::RetryForgotten => false,
        }
    }

    /// Alters what `step` is given.
    pub(crate) fn alter_input(self, rt: &mut Runtime, event: &mut Event) {
        match self {
            Self::NoFencing => {
                if let Some(live) = live_ticket(rt, event)
                    && let Some(ticket) = ticket_of(event)
                {
                    *ticket = live;
                }
            }
            Self::IncarnationIgnored => {
                if let Some(ticket) = ticket_of(event) {
                    ticket.incarnation = rt.incarnation;
                }
            }
            Self::AbandonAnything => {
                if let Event::Abandoned(ticket) = event
                    && let Some(work) = rt.work()
                {
                    *ticket = Ticket { incarnation: rt.incarnation, attempt: work.attempt };
                }
            }
            Self::CursorIgnored => {
                if matches!(event, Event::Health(_)) {
                    rt.health.cursor = None;
                }
            }
            Self::ContainerIgnored => {
                if let (Event::Health(report), Some(known)) = (event, &rt.engine.container_id) {
                    report.container_id = known.clone();
                }
            }
            Self::TickIgnoresPending => {
                if let (Event::Tick, Life::Running { pending, .. }) = (event, &mut rt.life) {
                    *pending = None;
                }
            }
            Self::TickOutOfUnreachable => {
                if let (Event::Tick, Life::Unreachable { clock, .. }) = (event, &rt.life) {
                    rt.life = Life::Running { clock: *clock, pending: None };
                }
            }
            Self::AdoptUnchecked => {
                if let Event::ProbeDone(_, Ok(state)) | Event::TurnDone(_, Ok(state)) = event {
                    state.turn = rt.current_turn + 1;
                }
            }
            Self::StatusOnlyCas
            | Self::StatusOnlyCasTurn
            | Self::CasWithoutIncarnation
            | Self::BlindWriteOfFinished
            | Self::BlindWriteOfStopped
            | Self::GuardOff
            | Self::NoGuard
            | Self::RepeatUnderAnotherName
            | Self::PublishBeforeCommit
            | Self::MarkBeforeAppend
            | Self::AppendAnywhere
            | Self::NoTailCheck
            | Self::TailLossUnnoticed
            | Self::SkipConsumedEarly
            | Self::SkipForgotten
            | Self::StopWithoutDrain
            | Self::CallBeforeCommit
            | Self::UnknownTakenForDone
            | Self::RollbackKeepsMappings
            | Self::AdoptedTurnForgetsClock
            | Self::StandingUnchecked
            | Self::LeasesNeverSwept
            | Self::RetryForgotten => {}
        }
    }

    /// Alters what `step` says. `never` is an instant that never comes.
    pub(crate) fn alter_output(
        self,
        before: Option<&Runtime>,
        event: &Event,
        step: &mut Step,
        never: machine::Timestamp,
    ) {
        let Some(next) = &mut step.next else { return };
        let adopted = matches!(event, Event::ProbeDone(..))
            && before.is_some_and(|rt| rt.current_turn < next.current_turn);
        match (self, &mut next.life) {
            (Self::SkipConsumedEarly, Life::Failed { clock, .. }) => clock.skip = None,
            (Self::SkipForgotten, Life::Running { clock, .. }) if adopted => {
                if let Some(owed) = before.and_then(Runtime::clock) {
                    *clock = TurnClock { next_generation_at: owed.next_generation_at, skip: None };
                }
            }
            (Self::AdoptedTurnForgetsClock, Life::Running { clock, .. }) if adopted => {
                clock.next_generation_at = never;
            }
            (Self::StandingUnchecked, _) => {
                if let Event::TurnDone(_, Ok(state)) | Event::ProbeDone(_, Ok(state)) = event
                    && state.players.iter().any(|p| next.roster.by_race(&p.race_name).is_none())
                    && let Ok(user_id) = "mallory".parse()
                {
                    next.player_turn_stats =
                        vec![PlayerStats { user_id, planets: 1, population: 1 }];
                }
            }
            (Self::RetryForgotten, Life::Failed { repair, .. }) => repair.retry_at = None,
            (Self::RetryForgotten, Life::Unreachable { repair, .. }) => repair.retry_at = None,
            // Everything else is done elsewhere, or does not concern this step.
            (_, _) => {}
        }
    }
}

/// The ticket that a reply to the question under way would carry.
fn live_ticket(rt: &Runtime, event: &Event) -> Option<Ticket> {
    let attempt = match event {
        Event::StopDone(..) | Event::PatchDone(..) => match &rt.pending()?.state {
            machine::record::PendingState::Asked { attempt, .. } => *attempt,
            machine::record::PendingState::Draining { .. } => return None,
        },
        Event::InitDone(..) | Event::TurnDone(..) | Event::ProbeDone(..) => rt.work()?.attempt,
        Event::Register(_)
        | Event::Tick
        | Event::Force
        | Event::Stop { .. }
        | Event::Patch { .. }
        | Event::Reconcile
        | Event::Health(_)
        | Event::WorkLeaseExpired
        | Event::PendingLeaseExpired
        | Event::Abandoned(_)
        | Event::RetryDue
        | Event::SummaryDue => return None,
    };
    Some(Ticket { incarnation: rt.incarnation, attempt })
}

fn ticket_of(event: &mut Event) -> Option<&mut Ticket> {
    match event {
        Event::InitDone(ticket, _)
        | Event::TurnDone(ticket, _)
        | Event::ProbeDone(ticket, _)
        | Event::StopDone(ticket, _)
        | Event::PatchDone(ticket, _) => Some(ticket),
        Event::Register(_)
        | Event::Tick
        | Event::Force
        | Event::Stop { .. }
        | Event::Patch { .. }
        | Event::Reconcile
        | Event::Health(_)
        | Event::WorkLeaseExpired
        | Event::PendingLeaseExpired
        | Event::Abandoned(_)
        | Event::RetryDue
        | Event::SummaryDue => None,
    }
}

/// Whether a call takes the container down.
pub(crate) fn is_stop(call: &Call) -> bool {
    matches!(call, Call::Stop { .. })
}
