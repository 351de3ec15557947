//! Games as they really go: every record and every commit here comes out of [`machine::step()`].

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use machine::{
    ContainerId, Context, EngineFailure, EngineFault, EnginePlayer, EngineState, Event, GameId,
    HealthReport, Incarnation, InstanceId, Member, OperationId, Policy, Registration, Resolution,
    Roster, RtmFailure, Runtime, Schedule, Step, StreamId, Summary, Ticket, Timestamp, Verdict,
    step,
};

use super::{Rng, StoreFactory};
use crate::ports::{
    Claim, ClaimKey, Commit, CommitId, Expected, Fingerprint, NewVersion, Origin, Source, Store,
    VersionChange, VersionCommit, VersionCommitted, VersionOptions,
};

/// When everything here begins: 2030-01-01. Instants are whole milliseconds.
pub const START: Timestamp = match DateTime::from_timestamp_millis(1_893_456_000_000) {
    Some(start) => start,
    None => DateTime::UNIX_EPOCH,
};

/// What the games here run, and what they are patched to.
const VERSIONS: [&str; 2] = ["1.4.2", "1.4.3"];

/// A store that knows the versions of the games here.
pub(super) async fn fresh(factory: &mut dyn StoreFactory) -> Arc<dyn Store> {
    let store = factory.empty().await;
    register_versions(&*store).await;
    store
}

/// Registers the versions that the games here run and are patched to; may be repeated.
pub async fn register_versions(store: &dyn Store) {
    for (n, new) in (1..).zip(versions()) {
        // Random names are drawn from the whole range: these cannot be met there.
        let id = CommitId(uuid::Uuid::from_u128(n));
        let commit =
            VersionCommit { id, change: VersionChange::Create(new), claim: None, at: START };
        let answer = store.change_version(&commit).await.expect("an answer");
        assert!(matches!(answer, VersionCommitted::Applied(Some(_))), "{answer:?}");
    }
}

pub(super) fn versions() -> Vec<NewVersion> {
    VERSIONS.iter().map(|text| new_version(text)).collect()
}

pub(super) fn new_version(text: &str) -> NewVersion {
    NewVersion {
        version: text.parse().expect("a version"),
        image_ref: format!("galaxy/engine:{text}").parse().expect("an image"),
        options: VersionOptions::default(),
    }
}

/// A change of a version, under a name of its own.
pub(super) fn change(change: VersionChange, at: Timestamp, rng: &mut Rng) -> VersionCommit {
    VersionCommit { id: CommitId(rng.uuid()), change, claim: None, at }
}

/// A claim of some caller, for a request that asks for something of its own.
pub(super) fn claim(caller: Source, key: &str, rng: &mut Rng) -> Claim {
    let mut fingerprint = [0_u8; 32];
    fingerprint.fill_with(|| rng.bits().to_be_bytes()[0]);
    let key = ClaimKey { caller, key: key.parse().expect("a key") };
    Claim { key, fingerprint: Fingerprint(fingerprint) }
}

const RACES: [&str; 3] = ["Terrans", "Ünï çødé", "O'Hara 3"];

/// One game, played by hand.
#[derive(Clone, Debug)]
pub struct Game {
    /// The key.
    pub id: GameId,
    /// The record as this hand believes it to be.
    pub record: Option<Arc<Runtime>>,
    /// The present.
    pub now: Timestamp,
    /// Whose leases are taken.
    pub instance: InstanceId,
}

impl Game {
    /// A game that nobody has heard of yet.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.parse().expect("a game id"),
            record: None,
            now: START,
            instance: "gm-1".parse().expect("an instance id"),
        }
    }

    /// What an event comes to, ready to be committed; `None` where it changes nothing.
    pub fn decide(&self, event: &Event, rng: &mut Rng) -> Option<Commit> {
        let policy = Policy::default();
        let operation = OperationId(rng.uuid());
        let cx = Context { now: self.now, instance: &self.instance, operation, policy: &policy };
        match step(self.record.as_deref(), event, &cx) {
            Ok(Verdict::Commit(step)) => {
                Some(commit(&self.id, self.record.as_deref(), *step, self.now, rng))
            }
            Ok(Verdict::Unchanged) | Err(_) => None,
        }
    }

    /// The same, for events that must change something.
    pub fn must(&self, event: &Event, rng: &mut Rng) -> Commit {
        let commit = self.decide(event, rng);
        commit.unwrap_or_else(|| panic!("{event:?} was refused by {:?}", self.record))
    }

    /// Believes that a commit was applied.
    pub fn applied(&mut self, commit: &Commit) {
        self.record.clone_from(&commit.next);
    }

    /// A registration.
    pub fn registration(&self, rng: &mut Rng) -> Event {
        let member = |(n, race): (usize, &&str)| Member {
            user_id: format!("user-{n}").parse().expect("a user id"),
            race_name: race.parse().expect("a race name"),
            engine_player_id: None,
        };
        let members = RACES.iter().enumerate().map(member).collect();
        Event::Register(Box::new(Registration {
            game_id: self.id.clone(),
            incarnation: Incarnation(rng.uuid()),
            endpoint: "http://engine-1:8080".parse().expect("an endpoint"),
            version: "1.4.2".parse().expect("a version"),
            image_ref: "galaxy/engine:1.4.2".parse().expect("an image"),
            turn_guard: rng.percent(80),
            roster: Roster::new(members).expect("a roster"),
            schedule: Schedule::parse("0 18 * * *", Resolution::Seconds).expect("a schedule"),
        }))
    }

    /// The ticket of the question to the engine, where one is asked.
    pub fn work_ticket(&self) -> Option<Ticket> {
        let rt = self.record.as_ref()?;
        Some(Ticket { incarnation: rt.incarnation, attempt: rt.work()?.attempt })
    }

    /// What an engine at some turn says of itself.
    pub fn engine_at(turn: u32, finished: bool) -> EngineState {
        let player = |(n, race): (usize, &&str)| EnginePlayer {
            id: format!("p{n}").parse().expect("a player id"),
            race_name: (*race).into(),
            planets: turn + 1,
            population: u64::from(turn) * 1_000,
        };
        EngineState { turn, finished, players: RACES.iter().enumerate().map(player).collect() }
    }

    /// The successful answer to an init.
    pub fn init_done(&self) -> Event {
        let ticket = self.work_ticket().expect("an init is under way");
        Event::InitDone(ticket, Ok(Self::engine_at(0, false)))
    }

    /// The successful answer to a turn.
    pub fn turn_done(&self) -> Event {
        let turn = self.record.as_ref().expect("a record").current_turn;
        let ticket = self.work_ticket().expect("a turn is under way");
        Event::TurnDone(ticket, Ok(Self::engine_at(turn + 1, false)))
    }
}

/// The commit that a decision asks for.
pub fn commit(
    game: &GameId,
    current: Option<&Runtime>,
    step: Step,
    at: Timestamp,
    rng: &mut Rng,
) -> Commit {
    Commit {
        id: CommitId(rng.uuid()),
        game_id: game.clone(),
        expected: current.map(Expected::from),
        next: step.next.map(Arc::new),
        messages: step.messages,
        audit: step.audit,
        origin: origin(rng),
        claim: None,
        at,
    }
}

pub(super) fn origin(rng: &mut Rng) -> Origin {
    let sources = [Source::Gateway, Source::Lobby, Source::Admin];
    match rng.pick(&sources) {
        Some(source) if rng.percent(50) => {
            let request_id = rng.percent(50).then(|| format!("request-{}", rng.below(1_000)));
            Origin { source: *source, request_id }
        }
        Some(_) | None => Origin::SELF,
    }
}

/// What might happen next to a game: in no way every time accepted, but often enough that every
/// status is reached.
pub fn likely_event(game: &Game, rng: &mut Rng) -> Event {
    let Some(rt) = game.record.as_deref() else {
        return game.registration(rng);
    };
    let ticket = |attempt| Ticket { incarnation: rt.incarnation, attempt };
    let pending = ticket(rt.attempt);
    if let Some(work) = rt.work().filter(|_| rng.percent(60)) {
        let answer = engine_answer(rt, rng);
        let ticket = ticket(work.attempt);
        return match rng.below(2) {
            0 if rt.started_at.is_none() => Event::InitDone(ticket, answer),
            0 => Event::TurnDone(ticket, answer),
            _ => Event::ProbeDone(ticket, answer),
        };
    }
    match rng.below(20) {
        0..=4 => Event::Tick,
        5 | 6 => Event::Force,
        7 => Event::Stop { reason: "the players left".parse().expect("a reason") },
        8 => Event::Patch {
            version: "1.4.3".parse().expect("a version"),
            image_ref: "galaxy/engine:1.4.3".parse().expect("an image"),
            turn_guard: rng.below(2) == 0,
        },
        9 => Event::Reconcile,
        10 | 11 => Event::Health(report(rt, game.now, rng)),
        12 => Event::SummaryDue,
        13 => Event::RetryDue,
        14 => Event::WorkLeaseExpired,
        15 => Event::PendingLeaseExpired,
        16 => Event::StopDone(pending, Ok(())),
        17 => Event::StopDone(pending, Err(refusal())),
        18 => Event::PatchDone(pending, Ok(container())),
        _ => Event::PatchDone(pending, Err(refusal())),
    }
}

/// How far time goes on before the next event: mostly little, sometimes to the next turn.
pub(super) fn pause(rng: &mut Rng) -> TimeDelta {
    let ms = match rng.below(4) {
        0 => 0,
        1 => rng.below(1_000),
        2 => rng.below(100_000),
        _ => rng.below(86_400_000),
    };
    TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(0))
}

fn engine_answer(rt: &Runtime, rng: &mut Rng) -> Result<EngineState, EngineFailure> {
    let fresh = rt.started_at.is_none();
    match rng.below(10) {
        0 => {
            let kinds = [
                EngineFault::Validation,
                EngineFault::Unreachable,
                EngineFault::ProtocolViolation,
                EngineFault::TurnConflict,
                EngineFault::AlreadyInitialised,
            ];
            let kind = rng.pick(&kinds).copied().unwrap_or(EngineFault::Unreachable);
            Err(EngineFailure { kind, message: "it did not work".into() })
        }
        1 => Ok(Game::engine_at(rt.current_turn, false)),
        2 if !fresh => Ok(Game::engine_at(rt.current_turn + 1, rng.percent(20))),
        _ if fresh => Ok(Game::engine_at(0, false)),
        _ => Ok(Game::engine_at(rt.current_turn + 1, false)),
    }
}

fn report(rt: &Runtime, now: Timestamp, rng: &mut Rng) -> HealthReport {
    let summaries = [
        Summary::Healthy,
        Summary::ProbeFailed,
        Summary::InspectUnhealthy,
        Summary::Exited,
        Summary::Disappeared,
    ];
    HealthReport {
        id: StreamId { ms: u64::try_from(now.timestamp_millis()).unwrap_or(0), seq: rng.below(3) },
        container_id: rt.engine.container_id.clone().unwrap_or_else(container),
        summary: rng.pick(&summaries).copied().unwrap_or_default(),
        consecutive_failures: 5,
    }
}

fn container() -> ContainerId {
    "container-1".parse().expect("a container id")
}

fn refusal() -> RtmFailure {
    RtmFailure { refused: true, message: "no".into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use machine::{Status, check_commit};

    use super::*;

    #[test]
    fn the_sample_reaches_every_status_and_breaks_no_rule() {
        let mut seen = BTreeSet::new();
        let mut rolled_back = false;
        for seed in 0..60 {
            let mut rng = Rng::new(seed);
            let mut game = Game::new("game-1");
            for _ in 0..200 {
                game.now += pause(&mut rng);
                let event = likely_event(&game, &mut rng);
                if let Some(commit) = game.decide(&event, &mut rng) {
                    check_commit(game.record.as_deref(), commit.next.as_deref()).unwrap();
                    rolled_back |= commit.next.is_none();
                    game.applied(&commit);
                    seen.extend(game.record.as_ref().map(|rt| rt.status()));
                }
            }
        }
        assert_eq!(seen, Status::ALL.into_iter().collect());
        assert!(rolled_back);
    }
}
