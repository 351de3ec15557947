//! Events, short enough to stand in a table. Outcomes answer the question that the records of
//! [`super::records`] are asking, unless said otherwise.

use machine::{
    EngineFailure, EngineFault, EnginePlayer, EngineState, Event, HealthReport, Registration,
    Resolution, RtmFailure, Schedule, StreamId, Summary, Ticket,
};

use super::parse;
use super::records::{RTM, WORK, incarnation, roster};

pub(crate) fn registration() -> Registration {
    Registration {
        game_id: parse("game-1"),
        incarnation: incarnation(1),
        endpoint: parse("http://engine-1:8080"),
        version: parse("1.4.2"),
        image_ref: parse("registry/engine:1.4.2"),
        turn_guard: true,
        roster: roster(),
        schedule: Schedule::parse("0 * * * *", Resolution::Minutes).expect("a schedule"),
    }
}

pub(crate) fn register() -> Event {
    Event::Register(Box::new(registration()))
}

pub(crate) fn stop() -> Event {
    Event::Stop { reason: parse("maintenance") }
}

pub(crate) fn patch(version: &str) -> Event {
    let image_ref = parse(&format!("registry/engine:{version}"));
    Event::Patch { version: parse(version), image_ref, turn_guard: true }
}

/// The next entry of the health stream, about the container on record; `probe_failed` for the third
/// time in a row.
pub(crate) fn health(summary: Summary) -> Event {
    Event::Health(report(summary))
}

pub(crate) fn report(summary: Summary) -> HealthReport {
    HealthReport {
        id: StreamId { ms: 101, seq: 0 },
        container_id: parse("c1"),
        summary,
        consecutive_failures: 3,
    }
}

pub(crate) fn ticket(attempt: u64) -> Ticket {
    Ticket { incarnation: incarnation(1), attempt }
}

/// What an honest engine says at this turn.
pub(crate) fn standing(turn: u32) -> EngineState {
    let player = |id: &str, race: &str, planets| EnginePlayer {
        id: parse(id),
        race_name: race.into(),
        planets,
        population: u64::from(turn) * 100,
    };
    let players = vec![player("p-1", "Terrans", 3), player("p-2", "Martians", 2)];
    EngineState { turn, finished: false, players }
}

/// The same, with the game over.
pub(crate) fn over(turn: u32) -> EngineState {
    EngineState { finished: true, ..standing(turn) }
}

/// The same, telling of a race that nobody plays here.
pub(crate) fn of_another_game(turn: u32) -> EngineState {
    let mut state = standing(turn);
    state.players[1].race_name = "Venusians".into();
    state
}

pub(crate) fn fault(kind: EngineFault) -> EngineFailure {
    EngineFailure { kind, message: "so it said".into() }
}

pub(crate) type Answer = Result<EngineState, EngineFailure>;

pub(crate) fn init_done(answer: Answer) -> Event {
    Event::InitDone(ticket(WORK), answer)
}

pub(crate) fn turn_done(answer: Answer) -> Event {
    Event::TurnDone(ticket(WORK), answer)
}

pub(crate) fn probe_done(answer: Answer) -> Event {
    Event::ProbeDone(ticket(WORK), answer)
}

pub(crate) fn no(kind: EngineFault) -> Answer {
    Err(fault(kind))
}

pub(crate) fn stop_done() -> Event {
    Event::StopDone(ticket(RTM), Ok(()))
}

pub(crate) fn stop_failed(refused: bool) -> Event {
    Event::StopDone(ticket(RTM), Err(RtmFailure { refused, message: "so it said".into() }))
}

pub(crate) fn patch_done(container: &str) -> Event {
    Event::PatchDone(ticket(RTM), Ok(parse(container)))
}

pub(crate) fn patch_failed(refused: bool) -> Event {
    Event::PatchDone(ticket(RTM), Err(RtmFailure { refused, message: "so it said".into() }))
}

/// The process that asked this question is gone.
pub(crate) fn abandoned(attempt: u64) -> Event {
    Event::Abandoned(ticket(attempt))
}

/// One event of each kind: the outcomes as good as they can be.
pub(crate) fn one_of_each() -> Vec<Event> {
    let mut events = vec![
        register(),
        Event::Tick,
        Event::Force,
        stop(),
        patch("1.4.3"),
        Event::Reconcile,
        health(Summary::Exited),
        Event::WorkLeaseExpired,
        Event::PendingLeaseExpired,
        Event::RetryDue,
        Event::SummaryDue,
        init_done(Ok(standing(0))),
        turn_done(Ok(standing(5))),
        probe_done(Ok(standing(5))),
        stop_done(),
        patch_done("c2"),
        abandoned(WORK),
    ];
    events.sort_by_key(number);
    assert!(events.iter().enumerate().all(|(at, event)| number(event) == at), "one of each");
    events
}

/// The place of an event in the table. A new kind of event must be thought about: here, and then in
/// every table.
pub(crate) fn number(event: &Event) -> usize {
    match event {
        Event::Register(_) => 0,
        Event::Tick => 1,
        Event::Force => 2,
        Event::Stop { .. } => 3,
        Event::Patch { .. } => 4,
        Event::Reconcile => 5,
        Event::Health(_) => 6,
        Event::WorkLeaseExpired => 7,
        Event::PendingLeaseExpired => 8,
        Event::RetryDue => 9,
        Event::SummaryDue => 10,
        Event::InitDone(..) => 11,
        Event::TurnDone(..) => 12,
        Event::ProbeDone(..) => 13,
        Event::StopDone(..) => 14,
        Event::PatchDone(..) => 15,
        Event::Abandoned(_) => 16,
    }
}
