//! What is checked in every state, and what must be seen in some.

use machine::{Summary, Timer};
use stateright::Property;

use crate::event::{Ev, Kind, Said, Tk};
use crate::record::{Admin, Phase, Stage};
use crate::resolve;
use crate::rule::Rule;
use crate::state::{Owed, PHANTOM, Relay, Seen, State};
use crate::system::System;
use crate::variants::Variant;

/// The properties of a world: all of them where it is right, the one it breaks where it is wrong.
pub fn all(variant: Option<Variant>) -> Vec<Property<System>> {
    match variant {
        None => {
            let rules = Rule::ALL.into_iter().map(rule);
            rules.chain(sightings()).collect()
        }
        Some(variant) => vec![rule(variant.breaks())],
    }
}

macro_rules! noted {
    ($rule:ident) => {
        Property::always(Rule::$rule.name(), |_, s: &State| !s.ghost.broken.has(Rule::$rule))
    };
}

fn rule(rule: Rule) -> Property<System> {
    match rule {
        Rule::RevisionGrowsByOne => noted!(RevisionGrowsByOne),
        Rule::OnlyListedTransitions => noted!(OnlyListedTransitions),
        Rule::NoTurnTwice => noted!(NoTurnTwice),
        Rule::NoTurnGeneratedTwice => Property::always(rule.name(), engine_is_where_it_may_be),
        Rule::FencedReplyChangesNothing => noted!(FencedReplyChangesNothing),
        Rule::FinishedIsFinal => noted!(FinishedIsFinal),
        Rule::StoppedIsFinal => noted!(StoppedIsFinal),
        Rule::GameFinishedIsLast => noted!(GameFinishedIsLast),
        Rule::MessagesFollowCommits => Property::always(rule.name(), |_, s: &State| {
            !s.ghost.broken.has(Rule::MessagesFollowCommits) && stream_is_the_commit_order(s)
        }),
        Rule::ForceSkipsExactlyOneTick => noted!(ForceSkipsExactlyOneTick),
        Rule::NoTickWhilePending => noted!(NoTickWhilePending),
        Rule::StopDrains => noted!(StopDrains),
        Rule::OneQuestionCounts => Property::always(rule.name(), |_, s: &State| {
            !s.ghost.broken.has(Rule::OneQuestionCounts) && one_question_counts(s)
        }),
        Rule::NoOrphans => {
            Property::always(rule.name(), |_, s: &State| s.mapped == s.record.is_some())
        }
        Rule::HealthEventsOnceInOrder => noted!(HealthEventsOnceInOrder),
        Rule::HealthOfThisContainer => noted!(HealthOfThisContainer),
        Rule::RunningRecordHasNextTick => noted!(RunningRecordHasNextTick),
        Rule::EveryReferenceResolves => noted!(EveryReferenceResolves),
        Rule::WriteAhead => Property::always(rule.name(), calls_were_committed),
        Rule::NeverStuck => noted!(NeverStuck),
        Rule::EverythingResolves => Property::always(rule.name(), resolve::everything),
        Rule::ModelIsLargeEnough => noted!(ModelIsLargeEnough),
    }
}

fn engine_is_where_it_may_be(system: &System, s: &State) -> bool {
    let Some(rec) = s.record.filter(|rec| rec.begun) else { return true };
    if !system.expects_guard() || s.ghost.lied {
        return true;
    }
    matches!(s.engine.turn.checked_sub(rec.turn), Some(0 | 1))
}

/// The stream holds messages 1, 2, 3, … up to some message, each once; it may lack the end.
fn stream_is_the_commit_order(s: &State) -> bool {
    s.outbox.entries().all(|entry| entry != PHANTOM && entry <= s.outbox.rows)
        && s.outbox.entries().zip(1..).all(|(entry, place)| entry == place)
}

/// Of the calls that can change the engine's turn, at most one has an answer that would count.
fn one_question_counts(s: &State) -> bool {
    let counts = |kind: Kind, ticket: Tk| {
        let changes = matches!(kind, Kind::Init | Kind::Turn(_));
        changes && s.record.is_some_and(|rec| waits_for(&rec, ticket))
    };
    s.calls.iter().filter(|call| counts(call.kind, call.ticket)).count() <= 1
}

fn waits_for(rec: &crate::record::Rec, ticket: Tk) -> bool {
    rec.work.is_some_and(|work| {
        ticket == Tk::Live { incarnation: rec.incarnation, attempt: work.attempt }
    })
}

/// A call carries a number that the record had drawn when it was made.
fn calls_were_committed(_: &System, s: &State) -> bool {
    s.calls.iter().all(|call| match (call.ticket, s.record) {
        (Tk::Live { incarnation, attempt }, Some(rec)) => {
            incarnation < rec.incarnation
                || incarnation == rec.incarnation && attempt <= rec.attempt
        }
        (Tk::Live { incarnation, .. }, None) => incarnation < s.lives,
        (Tk::Dead | Tk::Foreign, _) => true,
    })
}

/// The interesting places; a world in which none of them is reached proves little.
pub fn sightings() -> Vec<Property<System>> {
    vec![
        Property::sometimes("a lost compare-and-set", |_, s: &State| {
            s.gms.iter().filter_map(|gm| gm.task).any(|task| task.seen == Seen::Outdated)
        }),
        Property::sometimes("a fenced late reply", |_, s: &State| {
            s.replies.iter().any(|reply| reply.ticket == Tk::Dead)
        }),
        Property::sometimes("a reply to an earlier life", |_, s: &State| {
            s.record.is_some() && s.replies.iter().any(|reply| reply.ticket == Tk::Foreign)
        }),
        Property::sometimes("a turn that will be adopted", will_be_adopted),
        Property::sometimes("a forced turn interrupted and asked after", |_, s: &State| {
            s.record.is_some_and(|rec| {
                rec.phase == Phase::Generating { stage: Stage::ProbeAfterFence, forced: true }
            })
        }),
        Property::sometimes("a skip owed past its own hour", |_, s: &State| {
            s.ghost.owed == Owed::Passed
        }),
        Property::sometimes("a stop that drains", |_, s: &State| {
            s.record.is_some_and(|rec| rec.pending == Admin::Draining)
        }),
        Property::sometimes("a patch that overlaps an exit event", |_, s: &State| {
            s.record.is_some_and(|rec| {
                matches!(rec.pending, Admin::Patch(_)) && rec.health.summary == Summary::Exited
            })
        }),
        Property::sometimes("a report of a container that was replaced", |_, s: &State| {
            let next = s.health.reports.get(usize::from(s.health.read)).copied().flatten();
            let known = s.record.map_or(0, |rec| rec.container);
            next.is_some_and(|report| known > 0 && report.container != known)
        }),
        Property::sometimes("two processes race for one lease", |_, s: &State| {
            let lease = Ev::Strike(Timer::WorkLease);
            s.gms.iter().all(|gm| gm.task.is_some_and(|task| task.ev == lease))
        }),
        Property::sometimes("a commit that arrives after its process died", |_, s: &State| {
            s.late.is_some_and(|late| late.seen == Seen::Current)
        }),
        Property::sometimes("an append repeated after a lost answer", |_, s: &State| {
            let next = s.outbox.next();
            s.outbox.relay == Relay::Idle
                && next.is_some_and(|row| s.outbox.entries().any(|entry| entry == row))
        }),
        Property::sometimes("a stream that lost its tail", |_, s: &State| {
            s.outbox.check && s.outbox.is_marked(s.outbox.newest() + 1)
        }),
        Property::sometimes("a finished game", |_, s: &State| {
            s.record.is_some_and(|rec| rec.phase == Phase::Finished)
        }),
        Property::sometimes("a stopped game", |_, s: &State| {
            s.record.is_some_and(|rec| rec.phase == Phase::Stopped)
        }),
        Property::sometimes("a game that failed for good", |_, s: &State| {
            s.record.is_some_and(|rec| {
                rec.phase == Phase::Failed && rec.work.is_none() && !rec.retry && !rec.is_pending()
            })
        }),
    ]
}

fn will_be_adopted(_: &System, s: &State) -> bool {
    let Some(rec) = s.record else { return false };
    s.replies.iter().any(|reply| {
        let next = matches!(reply.said, Said::At { turn, .. } if turn == rec.turn + 1);
        reply.kind == Kind::Probe && next && waits_for(&rec, reply.ticket)
    })
}
