//! Records in every state that matters. All of them stand at 12:30 in the same game: turn 4 is the
//! last one generated, the next is due at 13:00, and questions under way have leases to 12:31.

use machine::record::{
    Engine, Health, InitStage, Lease, Pending, PendingKind, PendingState, Repair, Trigger,
    TurnClock, TurnStage, Work,
};
use machine::{
    EngineState, Failure, FailureCode, Incarnation, Life, Member, PlayerStats, Policy, Resolution,
    Roster, Runtime, Schedule, StreamId, Summary, Timestamp,
};
use uuid::Uuid;

use super::{at, events, instance, op, parse};

/// The turn on record.
pub(crate) const TURN: u32 = 4;
/// The attempt number of the question to the engine.
pub(crate) const WORK: u64 = 5;
/// The attempt number of the question to Runtime Manager.
pub(crate) const RTM: u64 = 6;
/// The last attempt number drawn; one was fenced off since.
pub(crate) const LAST: u64 = 7;

pub(crate) fn incarnation(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

pub(crate) fn roster() -> Roster {
    let member = |user: &str, race: &str| Member {
        user_id: parse(user),
        race_name: parse(race),
        engine_player_id: None,
    };
    Roster::new(vec![member("alice", "Terrans"), member("bob", "Martians")]).expect("a roster")
}

fn stats_of(roster: &Roster, state: &EngineState) -> Vec<PlayerStats> {
    roster
        .members()
        .iter()
        .zip(&state.players)
        .map(|(member, player)| PlayerStats {
            user_id: member.user_id.clone(),
            planets: player.planets,
            population: player.population,
        })
        .collect()
}

fn runtime(life: Life) -> Runtime {
    let begun = !matches!(life, Life::Starting { .. });
    let turn = if begun { TURN } else { 0 };
    let stats = if begun { stats_of(&roster(), &events::standing(turn)) } else { vec![] };
    let heard = Health {
        summary: Summary::Healthy,
        cursor: Some(StreamId { ms: 100, seq: 0 }),
        published: begun.then_some(Summary::Healthy),
        publish_at: None,
    };
    Runtime {
        game_id: parse("game-1"),
        revision: 20,
        incarnation: incarnation(1),
        attempt: LAST,
        life,
        engine: Engine {
            endpoint: parse("http://engine-1:8080"),
            version: parse("1.4.2"),
            image_ref: parse("registry/engine:1.4.2"),
            container_id: Some(parse("c1")),
            turn_guard: true,
        },
        roster: roster(),
        schedule: Schedule::parse("0 * * * *", Resolution::Minutes).expect("a schedule"),
        current_turn: turn,
        health: heard,
        tries: 0,
        player_turn_stats: stats,
        last_failure: None,
        failure_announced_for: None,
        created_at: at("08:00"),
        started_at: begun.then(|| at("08:01")),
        updated_at: at("12:30"),
    }
}

fn lease(until: &str) -> Lease {
    Lease { owner: instance(), expires_at: at(until) }
}

/// The question to the engine: attempt 5 of operation 1, leased to 12:31.
fn work() -> Work {
    Work { attempt: WORK, operation: op(1), lease: lease("12:31") }
}

fn due(next: &str) -> TurnClock {
    TurnClock { next_generation_at: at(next), skip: None }
}

pub(crate) fn starting() -> Runtime {
    runtime(Life::Starting { work: work(), stage: InitStage::Call, pending: None })
}

pub(crate) fn verifying() -> Runtime {
    runtime(Life::Starting { work: work(), stage: InitStage::Verify, pending: None })
}

pub(crate) fn running() -> Runtime {
    runtime(Life::Running { clock: due("13:00"), pending: None })
}

/// The turn that was due at 12:00 is under way.
pub(crate) fn generating(stage: TurnStage) -> Runtime {
    let trigger = Trigger::Tick { due_at: at("12:00") };
    let clock = due("12:00");
    runtime(Life::Generating { clock, work: work(), trigger, stage, pending: None })
}

/// A forced turn that replaces the one of 13:00 is under way.
pub(crate) fn forced(stage: TurnStage) -> Runtime {
    let clock = TurnClock { next_generation_at: at("13:00"), skip: Some(at("13:00")) };
    let trigger = Trigger::Force;
    runtime(Life::Generating { clock, work: work(), trigger, stage, pending: None })
}

pub(crate) fn turn() -> Runtime {
    generating(TurnStage::Turn)
}

pub(crate) fn recovering() -> Runtime {
    generating(TurnStage::ProbeAfterFence)
}

pub(crate) fn force_probing() -> Runtime {
    forced(TurnStage::ProbeThenTurn)
}

fn waiting() -> Repair {
    Repair { probe: None, retry_at: Some(at("12:31")) }
}

fn asking() -> Repair {
    Repair { probe: Some(work()), retry_at: None }
}

/// The turn of 12:00 failed; Game Master looks again at 12:31.
pub(crate) fn failed() -> Runtime {
    runtime(Life::Failed { clock: due("12:00"), repair: waiting(), pending: None })
}

/// Game Master is looking.
pub(crate) fn failed_probing() -> Runtime {
    runtime(Life::Failed { clock: due("12:00"), repair: asking(), pending: None })
}

/// Game Master has looked often enough, or was refused.
pub(crate) fn failed_for_good() -> Runtime {
    let repair = Repair::default();
    let clock = due("12:00");
    runtime(Life::Failed { clock, repair, pending: None }).tries(Policy::default().max_tries)
}

/// The container went down between turns; Game Master looks again at 12:31.
pub(crate) fn unreachable() -> Runtime {
    let life = Life::Unreachable { clock: due("13:00"), repair: waiting(), pending: None };
    runtime(life).summary(Summary::Exited)
}

pub(crate) fn unreachable_probing() -> Runtime {
    let life = Life::Unreachable { clock: due("13:00"), repair: asking(), pending: None };
    runtime(life).summary(Summary::Exited)
}

pub(crate) fn stopped() -> Runtime {
    runtime(Life::Stopped { at: at("12:15") })
}

pub(crate) fn finished() -> Runtime {
    runtime(Life::Finished { at: at("12:15") })
}

/// The variations of a state.
pub(crate) trait But: Sized {
    fn change(self, f: impl FnOnce(&mut Runtime)) -> Self;

    /// Runtime Manager was asked to stop: attempt 6 of operation 2, leased to 12:32.
    fn stopping(self) -> Self {
        self.with_pending(stop(), PendingState::Asked { attempt: RTM, lease: lease("12:32") })
    }

    /// Runtime Manager was asked to patch: attempt 6 of operation 2, leased to 12:32.
    fn patching(self) -> Self {
        let what = PendingKind::Patch {
            version: parse("1.4.3"),
            image_ref: parse("registry/engine:1.4.3"),
            turn_guard: true,
        };
        self.with_pending(what, PendingState::Asked { attempt: RTM, lease: lease("12:32") })
    }

    /// A stop waits for the turn until 12:31:15.
    fn draining(self) -> Self {
        self.with_pending(stop(), PendingState::Draining { until: at("12:31:15") })
    }

    fn with_pending(self, what: PendingKind, state: PendingState) -> Self {
        let value = Some(Pending { what, operation: op(2), state });
        self.change(|rt| match &mut rt.life {
            Life::Starting { pending, .. }
            | Life::Running { pending, .. }
            | Life::Generating { pending, .. }
            | Life::Failed { pending, .. }
            | Life::Unreachable { pending, .. } => *pending = value,
            Life::Stopped { .. } | Life::Finished { .. } => panic!("nothing can be pending"),
        })
    }

    fn unguarded(self) -> Self {
        self.change(|rt| rt.engine.turn_guard = false)
    }

    fn tries(self, tries: u32) -> Self {
        self.change(|rt| rt.tries = tries)
    }

    fn announced(self, turn: u32) -> Self {
        self.change(|rt| rt.failure_announced_for = Some(turn))
    }

    /// With a failure on record.
    fn ailing(self) -> Self {
        let failure = Failure::new(FailureCode::EngineUnreachable, "it was silent");
        self.change(|rt| rt.last_failure = Some(failure))
    }

    /// Heard and published.
    fn summary(self, summary: Summary) -> Self {
        self.change(|rt| {
            rt.health.summary = summary;
            rt.health.published = Some(summary);
        })
    }

    /// Heard within a debounce window that ends at `until`, and not published.
    fn unpublished(self, summary: Summary, until: &str) -> Self {
        self.change(|rt| {
            rt.health.summary = summary;
            rt.health.publish_at = Some(at(until));
        })
    }

    fn container(self, id: Option<&str>) -> Self {
        self.change(|rt| rt.engine.container_id = id.map(parse))
    }

    fn next(self, next: &str) -> Self {
        self.on_clock(|clock| clock.next_generation_at = at(next))
    }

    /// A forced turn replaces this one, and is owed.
    fn owing(self, skip: &str) -> Self {
        let skip: Timestamp = at(skip);
        self.on_clock(|clock| clock.skip = Some(skip))
    }

    fn on_clock(self, f: impl FnOnce(&mut TurnClock)) -> Self {
        self.change(|rt| match &mut rt.life {
            Life::Running { clock, .. }
            | Life::Generating { clock, .. }
            | Life::Failed { clock, .. }
            | Life::Unreachable { clock, .. } => f(clock),
            Life::Starting { .. } | Life::Stopped { .. } | Life::Finished { .. } => {
                panic!("no clock runs")
            }
        })
    }
}

impl But for Runtime {
    fn change(mut self, f: impl FnOnce(&mut Runtime)) -> Self {
        f(&mut self);
        self
    }
}

fn stop() -> PendingKind {
    PendingKind::Stop { reason: parse("maintenance") }
}
