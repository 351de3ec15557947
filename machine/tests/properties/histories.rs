//! Random histories.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use machine::invariants::is_listed;
use machine::{EngineFault, Event, Runtime, Status, Summary};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::world::{Lie, RtmMood, World};

/// How many histories each property looks at, unless `PROPTEST_CASES` says otherwise.
pub(crate) const CASES: u32 = 120;
/// The length of a history before the faults stop.
const ACTIONS: std::ops::Range<usize> = 1..200;
/// The turn that ends the game: about half of the histories get there.
const LAST_TURN: std::ops::Range<u32> = 1..7;
/// From the end of the faults to rest, at most: some capped retries and leases, and two turns.
const REST_WITHIN: TimeDelta = TimeDelta::hours(3);
/// The same, in events.
const REST_WITHIN_EVENTS: usize = 400;

#[derive(Clone, Debug)]
enum Action {
    Register,
    Force,
    Stop,
    Patch(u8),
    ForbiddenPatch,
    Reconcile,
    Wait(u32),
    SetBack(u32),
    Strike,
    Untimely(Event),
    Arrive(usize),
    ArriveTwice(usize),
    GiveUp(usize),
    Crash(usize),
    Restart(usize),
    Lose(usize),
    Hear(usize),
    HearTwice(usize),
    LoseReply(usize),
    EngineUp(bool),
    Lie(Lie),
    Rtm(RtmMood),
    Report(Summary, u32, u32),
    ReportAgain(usize),
}

fn untimely() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        Event::Tick,
        Event::WorkLeaseExpired,
        Event::PendingLeaseExpired,
        Event::RetryDue,
        Event::SummaryDue,
    ])
}

fn summary() -> impl Strategy<Value = Summary> {
    prop::sample::select(vec![
        Summary::Healthy,
        Summary::Healthy,
        Summary::ProbeFailed,
        Summary::InspectUnhealthy,
        Summary::Exited,
        Summary::Oom,
        Summary::Disappeared,
    ])
}

fn lie() -> impl Strategy<Value = Lie> {
    let fault = prop::sample::select(vec![
        EngineFault::Validation,
        EngineFault::Unreachable,
        EngineFault::ProtocolViolation,
        EngineFault::TurnConflict,
        EngineFault::AlreadyInitialised,
    ]);
    prop_oneof![
        (0..13_u32).prop_map(Lie::Turn),
        Just(Lie::OtherGame),
        Just(Lie::Over),
        fault.prop_map(Lie::Fault),
    ]
}

fn mood() -> impl Strategy<Value = RtmMood> {
    prop::sample::select(vec![
        RtmMood::Obliging,
        RtmMood::Obliging,
        RtmMood::Refusing,
        RtmMood::DoesInSilence,
        RtmMood::Dead,
    ])
}

fn action_or_lie() -> impl Strategy<Value = Action> {
    prop_oneof![30 => action(), 1 => lie().prop_map(Action::Lie)]
}

/// Clocks are set back. Nothing is forced: which turn is then replaced depends on the clock.
fn unforced_or_set_back() -> impl Strategy<Value = Action> {
    let unforced = action().prop_filter("forced", |action| !matches!(action, Action::Force));
    prop_oneof![30 => unforced, 2 => (0..4000_u32).prop_map(Action::SetBack)]
}

/// Mostly progress, so that histories go far.
fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => Just(Action::Register),
        8 => Just(Action::Force),
        4 => Just(Action::Stop),
        4 => (0..9_u8).prop_map(Action::Patch),
        1 => Just(Action::ForbiddenPatch),
        4 => Just(Action::Reconcile),
        6 => (0..4000_u32).prop_map(Action::Wait),
        6 => (0..20_u32).prop_map(Action::Wait),
        24 => Just(Action::Strike),
        4 => untimely().prop_map(Action::Untimely),
        36 => any::<usize>().prop_map(Action::Arrive),
        4 => any::<usize>().prop_map(Action::ArriveTwice),
        10 => any::<usize>().prop_map(Action::GiveUp),
        6 => any::<usize>().prop_map(Action::Crash),
        4 => any::<usize>().prop_map(Action::Restart),
        3 => any::<usize>().prop_map(Action::Lose),
        36 => any::<usize>().prop_map(Action::Hear),
        6 => any::<usize>().prop_map(Action::HearTwice),
        4 => any::<usize>().prop_map(Action::LoseReply),
        5 => Just(Action::EngineUp(false)),
        6 => Just(Action::EngineUp(true)),
        2 => mood().prop_map(Action::Rtm),
        14 => (summary(), 0..2_u32, 0..6_u32).prop_map(|(s, c, n)| Action::Report(s, c, n)),
        3 => any::<usize>().prop_map(Action::ReportAgain),
    ]
}

/// Where the game is over, the history goes on with another one.
fn register(world: &mut World) {
    if world.status().is_some_and(Status::is_final) {
        let seen = std::mem::take(&mut world.seen);
        *world = World::new(world.guard, world.engine.last_turn);
        world.seen = seen;
    }
    world.register();
}

fn act(world: &mut World, action: Action) {
    match action {
        Action::Register => register(world),
        Action::Force => drop(world.give(&Event::Force)),
        Action::Stop => world.stop(),
        Action::Patch(number) => world.patch(number),
        Action::ForbiddenPatch => {
            assert!(world.give(&crate::common::events::patch("1.5.0")).is_err());
        }
        Action::Reconcile => drop(world.give(&Event::Reconcile)),
        Action::Wait(seconds) => world.wait(seconds),
        Action::SetBack(seconds) => world.set_back(seconds),
        Action::Strike => world.strike(),
        Action::Untimely(event) => drop(world.give(&event)),
        Action::Arrive(which) => world.arrive(which),
        Action::ArriveTwice(which) => world.arrive_twice(which),
        Action::GiveUp(which) => world.give_up(which),
        Action::Crash(which) => world.crash(which),
        Action::Restart(which) => world.restart(which),
        Action::Lose(which) => world.lose(which),
        Action::Hear(which) => world.hear(which),
        Action::HearTwice(which) => world.hear_twice(which),
        Action::LoseReply(which) => world.lose_reply(which),
        Action::EngineUp(up) => world.engine.up = up,
        Action::Lie(lie) => world.engine.lie = Some(lie),
        Action::Rtm(mood) => world.rtm = mood,
        Action::Report(summary, ago, failures) => world.report(summary, ago, failures),
        Action::ReportAgain(which) => world.report_again(which),
    }
}

/// Nothing is left to wait for but the next regular turn, or an operator.
fn at_rest(world: &World) -> bool {
    let Some(rt) = &world.rt else { return true };
    match rt.status() {
        Status::Running => {
            rt.pending().is_none()
                && rt
                    .next_timer()
                    .is_some_and(|(at, timer)| timer == machine::Timer::Tick && at > world.now)
        }
        Status::Stopped | Status::Finished => true,
        Status::GenerationFailed => rt.next_timer().is_none() && waits_for_an_operator(rt, world),
        Status::Starting | Status::GenerationInProgress | Status::EngineUnreachable => false,
    }
}

fn waits_for_an_operator(rt: &Runtime, world: &World) -> bool {
    let refused = rt.last_failure.as_ref().is_some_and(|failure| !failure.code.may_pass());
    assert!(refused || rt.tries >= world.policy.max_tries, "given up too early: {rt:?}");
    true
}

/// One thing that has to happen, happens.
fn go_on(world: &mut World) {
    if !world.replies.is_empty() {
        world.hear(0);
    } else if !world.calls.is_empty() {
        world.arrive(0);
    } else {
        world.strike();
    }
}

/// The faults stop: everything comes to rest, and a running game gets its next turn.
fn comes_to_rest(world: &mut World) {
    world.engine.lie = None;
    world.rtm = RtmMood::Obliging;
    // Leases were taken by the clock as it was before it was set back.
    let since = world.now.max(world.latest);
    settle(world);
    assert!(world.now - since <= REST_WITHIN, "rest took {}", world.now - since);
    let truthful = !world.lied && world.guard;
    if truthful && world.status() == Some(Status::Running) {
        let turn = world.turn();
        go_on(world);
        settle(world);
        assert_eq!(world.turn(), turn + 1, "a due running game gets its turn");
    }
}

fn settle(world: &mut World) {
    for _ in 0..REST_WITHIN_EVENTS {
        if at_rest(world) && world.replies.is_empty() && world.calls.is_empty() {
            return;
        }
        // An earlier call to Runtime Manager may arrive even now, and take the container down.
        world.engine.up = true;
        go_on(world);
    }
    panic!("no rest: {:?}", world.rt);
}

fn history(guard: bool, last_turn: u32, actions: Vec<Action>) -> World {
    let mut world = World::new(guard, last_turn);
    world.register();
    for action in actions {
        act(&mut world, action);
    }
    comes_to_rest(&mut world);
    world
}

fn config() -> Config {
    let default = Config { failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        default
    } else {
        Config { cases: CASES, ..default }
    }
}

proptest! {
    #![proptest_config(config())]

    /// Everything in [`crate::ledger`], and `no_turn_generated_twice`.
    #[test]
    fn holds_with_a_guard(
        last_turn in LAST_TURN,
        actions in prop::collection::vec(action(), ACTIONS),
    ) {
        history(true, last_turn, actions);
    }

    /// Everything in [`crate::ledger`]: the record stays whole even where the engine does not.
    #[test]
    fn holds_without_a_guard(
        last_turn in LAST_TURN,
        actions in prop::collection::vec(action(), ACTIONS),
    ) {
        history(false, last_turn, actions);
    }

    /// Everything in [`crate::ledger`]: above all no instant has two regular turns.
    #[test]
    fn holds_with_clocks_that_are_set_back(
        guard in any::<bool>(),
        last_turn in LAST_TURN,
        actions in prop::collection::vec(unforced_or_set_back(), ACTIONS),
    ) {
        history(guard, last_turn, actions);
    }

    /// Everything in [`crate::ledger`]: an engine's word is data, not truth.
    #[test]
    fn holds_with_a_liar(
        guard in any::<bool>(),
        last_turn in LAST_TURN,
        actions in prop::collection::vec(action_or_lie(), ACTIONS),
    ) {
        history(guard, last_turn, actions);
    }
}

/// A bound; some hundred histories have seen everything.
const ENOUGH: u32 = 3000;

/// The histories are no idle ones: between them they make every change of status that is listed.
#[test]
fn every_listed_transition_is_made() {
    let every = || std::iter::once(None).chain(Status::ALL.into_iter().map(Some));
    let mut unseen: BTreeSet<_> = every()
        .flat_map(|from| every().map(move |to| (from, to)))
        .filter(|(from, to)| from != to && is_listed(*from, *to))
        .collect();
    let mut runner = TestRunner::deterministic();
    let histories = (LAST_TURN, prop::collection::vec(action_or_lie(), ACTIONS));
    for case in 0..ENOUGH {
        let (last_turn, actions) = histories.new_tree(&mut runner).expect("a history").current();
        let seen = history(case % 2 == 0, last_turn, actions).seen;
        unseen.retain(|change| !seen.contains(change));
        if unseen.is_empty() {
            return;
        }
    }
    panic!("never made: {unseen:?}");
}
