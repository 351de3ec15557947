//! The real record of a folded one, and back.

use chrono::TimeDelta;
use machine::record::{
    Engine, Health, InitStage, Lease, Pending, PendingKind, PendingState, Repair, Trigger,
    TurnClock, TurnStage, Work,
};
use machine::{
    ContainerId, EngineEndpoint, EngineVersion, GameId, ImageRef, Incarnation, InstanceId,
    InvalidValue, Life, Member, OperationId, Policy, Registration, Resolution, Roster, Runtime,
    Schedule, StopReason, StreamId, Timestamp,
};
use uuid::Uuid;

use crate::record::{Admin, Heard, NEVER, Phase, Question, Rec, Stage};

/// A revision from which on they are no longer told apart.
const LAST_REVISION: u8 = 9;

/// The values that do not change, and the two directions of the fold.
#[derive(Clone, Debug)]
pub struct Catalog {
    game: GameId,
    endpoint: EngineEndpoint,
    versions: [EngineVersion; 2],
    images: [ImageRef; 2],
    containers: [ContainerId; 3],
    instances: [InstanceId; 2],
    roster: Roster,
    schedule: Schedule,
    reason: StopReason,
    noon: Timestamp,
    guard: bool,
    policy: Policy,
}

impl Catalog {
    /// The values of a world whose engine versions are said to honour `expected_turn` or not.
    pub fn new(guard: bool, max_tries: u8) -> Result<Self, Invalid> {
        let lease = TimeDelta::minutes(1);
        let member = |user: &str, race: &str| {
            Ok::<_, Invalid>(Member {
                user_id: user.parse()?,
                race_name: race.parse()?,
                engine_player_id: None,
            })
        };
        let noon = Timestamp::from_timestamp(NOON_SECONDS, 0).ok_or(Invalid)?;
        Ok(Self {
            game: "game-1".parse()?,
            endpoint: "http://engine-1:8080".parse()?,
            versions: ["1.4.2".parse()?, "1.4.3".parse()?],
            images: ["registry/engine:1.4.2".parse()?, "registry/engine:1.4.3".parse()?],
            containers: ["c1".parse()?, "c2".parse()?, "c3".parse()?],
            instances: ["gm-1".parse()?, "gm-2".parse()?],
            roster: Roster::new(vec![member("alice", "Terrans")?]).map_err(|_| Invalid)?,
            schedule: Schedule::parse("0 * * * *", Resolution::Minutes).map_err(|_| Invalid)?,
            reason: "maintenance".parse()?,
            noon,
            guard,
            // All of it below half an hour, so that nothing but the clock crosses an hour.
            policy: Policy {
                probe_lease: lease,
                turn_lease: lease,
                rtm_lease: lease,
                drain: lease,
                health_debounce: TimeDelta::minutes(2),
                probe_failed_threshold: 1,
                retry_base: lease,
                retry_cap: lease,
                max_tries: max_tries.into(),
            },
        })
    }

    /// The same values in the hour of another instant.
    #[must_use]
    pub fn in_the_hour_of(&self, now: Timestamp) -> Self {
        let into_the_hour = now.timestamp().rem_euclid(3600);
        let noon = now
            - TimeDelta::seconds(into_the_hour)
            - TimeDelta::milliseconds(i64::from(now.timestamp_subsec_millis()));
        Self { noon, ..self.clone() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The present: half past twelve.
    pub fn now(&self) -> Timestamp {
        self.noon + TimeDelta::minutes(30)
    }

    /// When leases, drain deadlines and retries have run out, and the debounce window has not.
    pub fn lease_end(&self) -> Timestamp {
        self.now() + TimeDelta::minutes(1)
    }

    /// When the debounce window has ended too, and no hour has passed.
    pub fn window_end(&self) -> Timestamp {
        self.now() + TimeDelta::minutes(2)
    }

    /// A process's name.
    pub fn instance(&self, gm: u8) -> &InstanceId {
        let [first, second] = &self.instances;
        if gm == 0 { first } else { second }
    }

    /// A container's name.
    pub fn container(&self, number: u8) -> &ContainerId {
        let [first, second, third] = &self.containers;
        match number {
            0 | 1 => first,
            2 => second,
            _ => third,
        }
    }

    /// The name of a life.
    pub fn incarnation(number: u8) -> Incarnation {
        Incarnation(Uuid::from_u128(number.into()))
    }

    /// Why a game is stopped.
    pub fn reason(&self) -> &StopReason {
        &self.reason
    }

    /// What a patch leads to.
    pub fn patch(&self) -> (EngineVersion, ImageRef, bool) {
        let [_, version] = &self.versions;
        let [_, image] = &self.images;
        (version.clone(), image.clone(), self.guard)
    }

    /// What Lobby hands over.
    pub fn registration(&self, incarnation: u8) -> Registration {
        let [version, _] = &self.versions;
        let [image, _] = &self.images;
        Registration {
            game_id: self.game.clone(),
            incarnation: Self::incarnation(incarnation),
            endpoint: self.endpoint.clone(),
            version: version.clone(),
            image_ref: image.clone(),
            turn_guard: self.guard,
            roster: self.roster.clone(),
            schedule: self.schedule.clone(),
        }
    }

    fn at(&self, hours: u8) -> Timestamp {
        self.noon + TimeDelta::hours(hours.into())
    }

    fn hours(&self, at: Timestamp) -> u8 {
        let hours = (at - self.noon).num_hours().clamp(0, NEVER.into());
        u8::try_from(hours).unwrap_or(NEVER)
    }

    fn lease(&self, question: Question) -> Lease {
        let expires_at = self.lease_end();
        Lease { owner: self.instance(question.owner).clone(), expires_at }
    }

    /// The real record.
    pub fn unfold(&self, rec: &Rec) -> Runtime {
        let clock =
            TurnClock { next_generation_at: self.at(rec.next), skip: rec.skip.map(|h| self.at(h)) };
        let work = rec.work.map(|question| Work {
            attempt: question.attempt.into(),
            operation: WORK,
            lease: self.lease(question),
        });
        // A question that is not there where one must be would be a fault of the fold; its number
        // is one that nothing carries.
        let question = || {
            let nobody = Question { attempt: 0, owner: 0 };
            work.clone().unwrap_or_else(|| Work {
                attempt: 0,
                operation: WORK,
                lease: self.lease(nobody),
            })
        };
        let pending = self.pending(rec);
        let retry_at = rec.retry.then(|| self.lease_end());
        let repair = Repair { probe: work.clone(), retry_at };
        let life = match rec.phase {
            Phase::Starting { verify } => {
                let stage = if verify { InitStage::Verify } else { InitStage::Call };
                Life::Starting { work: question(), stage, pending }
            }
            Phase::Running => Life::Running { clock, pending },
            Phase::Generating { stage, forced } => {
                let stage = match stage {
                    Stage::Turn => TurnStage::Turn,
                    Stage::ProbeThenTurn => TurnStage::ProbeThenTurn,
                    Stage::ProbeAfterFence => TurnStage::ProbeAfterFence,
                };
                let trigger =
                    if forced { Trigger::Force } else { Trigger::Tick { due_at: self.noon } };
                Life::Generating { clock, work: question(), trigger, stage, pending }
            }
            Phase::Failed => Life::Failed { clock, repair, pending },
            Phase::Unreachable => Life::Unreachable { clock, repair, pending },
            Phase::Stopped => Life::Stopped { at: self.noon },
            Phase::Finished => Life::Finished { at: self.noon },
        };
        let [original, patched] = &self.versions;
        let [image, patched_image] = &self.images;
        let Heard { summary, cursor, published, window } = rec.health;
        Runtime {
            game_id: self.game.clone(),
            revision: rec.revision.into(),
            incarnation: Self::incarnation(rec.incarnation),
            attempt: rec.attempt.into(),
            life,
            engine: Engine {
                endpoint: self.endpoint.clone(),
                version: if rec.patched { patched } else { original }.clone(),
                image_ref: if rec.patched { patched_image } else { image }.clone(),
                container_id: (rec.container > 0).then(|| self.container(rec.container).clone()),
                turn_guard: self.guard,
            },
            roster: self.roster.clone(),
            schedule: self.schedule.clone(),
            current_turn: rec.turn.into(),
            health: Health {
                summary,
                cursor: (cursor > 0).then(|| stream_id(cursor)),
                published,
                publish_at: window.then(|| self.window_end()),
            },
            tries: rec.tries.into(),
            player_turn_stats: vec![],
            last_failure: None,
            failure_announced_for: rec.announced.then(|| u32::from(rec.turn) + 1),
            created_at: self.noon,
            started_at: rec.begun.then_some(self.noon),
            updated_at: self.noon,
        }
    }

    fn pending(&self, rec: &Rec) -> Option<Pending> {
        let asked = |question: Question| PendingState::Asked {
            attempt: question.attempt.into(),
            lease: self.lease(question),
        };
        let stop = || PendingKind::Stop { reason: self.reason.clone() };
        let (what, state) = match rec.pending {
            Admin::None => return None,
            Admin::Draining => (stop(), PendingState::Draining { until: self.lease_end() }),
            Admin::Stop(question) => (stop(), asked(question)),
            Admin::Patch(question) => {
                let (version, image_ref, turn_guard) = self.patch();
                (PendingKind::Patch { version, image_ref, turn_guard }, asked(question))
            }
        };
        Some(Pending { what, operation: PENDING, state })
    }

    /// The folded record, at the instant `now` of the decision that made it.
    pub fn fold(&self, rt: &Runtime, now: Timestamp) -> Rec {
        let Runtime {
            game_id: _,
            revision,
            incarnation: Incarnation(incarnation),
            attempt,
            life,
            engine: Engine { endpoint: _, version, image_ref: _, container_id, turn_guard: _ },
            roster: _,
            schedule: _,
            current_turn,
            health: Health { summary, cursor, published, publish_at },
            tries,
            player_turn_stats: _,
            last_failure: _,
            failure_announced_for,
            created_at: _,
            started_at,
            updated_at: _,
        } = rt;
        let no_clock = TurnClock { next_generation_at: self.noon, skip: None };
        let (phase, clock, work, retry, pending) = match life {
            Life::Starting { work, stage, pending } => {
                let verify = match stage {
                    InitStage::Call => false,
                    InitStage::Verify => true,
                };
                (Phase::Starting { verify }, no_clock, Some(work), false, pending.as_ref())
            }
            Life::Running { clock, pending } => {
                (Phase::Running, *clock, None, false, pending.as_ref())
            }
            Life::Generating { clock, work, trigger, stage, pending } => {
                let stage = match stage {
                    TurnStage::Turn => Stage::Turn,
                    TurnStage::ProbeThenTurn => Stage::ProbeThenTurn,
                    TurnStage::ProbeAfterFence => Stage::ProbeAfterFence,
                };
                let forced = match trigger {
                    Trigger::Tick { due_at: _ } => false,
                    Trigger::Force => true,
                };
                let phase = Phase::Generating { stage, forced };
                (phase, *clock, Some(work), false, pending.as_ref())
            }
            Life::Failed { clock, repair: Repair { probe, retry_at }, pending } => {
                (Phase::Failed, *clock, probe.as_ref(), retry_at.is_some(), pending.as_ref())
            }
            Life::Unreachable { clock, repair: Repair { probe, retry_at }, pending } => {
                (Phase::Unreachable, *clock, probe.as_ref(), retry_at.is_some(), pending.as_ref())
            }
            Life::Stopped { at: _ } => (Phase::Stopped, no_clock, None, false, None),
            Life::Finished { at: _ } => (Phase::Finished, no_clock, None, false, None),
        };
        let TurnClock { next_generation_at, skip } = clock;
        let tries = (*tries).min(self.policy.max_tries);
        Rec {
            phase,
            incarnation: small(incarnation.as_u128()),
            revision: small(*revision).min(LAST_REVISION),
            attempt: small(*attempt),
            work: work.map(|work| self.question(work.attempt, &work.lease)),
            pending: pending.map_or(Admin::None, |pending| self.admin(pending)),
            next: self.hours(next_generation_at),
            skip: skip.map(|at| self.hours(at)),
            retry,
            container: container_id.as_ref().map_or(0, |id| self.number(id)),
            patched: self.versions.last() == Some(version),
            turn: small(*current_turn),
            tries: small(tries),
            announced: failure_announced_for.is_some_and(|turn| turn > *current_turn),
            begun: started_at.is_some(),
            health: Heard {
                summary: *summary,
                cursor: cursor.map_or(0, |id| small(id.ms)),
                published: *published,
                window: publish_at.is_some_and(|at| at > now),
            },
        }
    }

    fn number(&self, id: &ContainerId) -> u8 {
        (1..).zip(&self.containers).find(|(_, known)| *known == id).map_or(0, |(number, _)| number)
    }

    fn admin(&self, Pending { what, operation: _, state }: &Pending) -> Admin {
        match (what, state) {
            (_, PendingState::Draining { until: _ }) => Admin::Draining,
            (PendingKind::Stop { .. }, PendingState::Asked { attempt, lease }) => {
                Admin::Stop(self.question(*attempt, lease))
            }
            (PendingKind::Patch { .. }, PendingState::Asked { attempt, lease }) => {
                Admin::Patch(self.question(*attempt, lease))
            }
        }
    }

    fn question(&self, attempt: u64, Lease { owner, expires_at: _ }: &Lease) -> Question {
        let owner = u8::from(*owner != *self.instance(0));
        Question { attempt: small(attempt), owner }
    }
}

/// A constant of the model that is not a valid value: a typing error in this file.
#[derive(Clone, Copy, Debug)]
pub struct Invalid;

impl From<InvalidValue> for Invalid {
    fn from(_: InvalidValue) -> Self {
        Self
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a constant of the model is not valid")
    }
}

impl std::error::Error for Invalid {}

/// 1 March 2026, 12:00 UTC.
const NOON_SECONDS: i64 = 1_772_366_400;
/// The operation of the question to the engine, and of the one to Runtime Manager.
const WORK: OperationId = OperationId(Uuid::from_u128(1));
const PENDING: OperationId = OperationId(Uuid::from_u128(2));
/// The operation that a decision opens.
pub const FRESH: OperationId = OperationId(Uuid::from_u128(3));

/// The id of the report with a number.
pub fn stream_id(number: u8) -> StreamId {
    StreamId { ms: number.into(), seq: 0 }
}

fn small<T: TryInto<u8>>(number: T) -> u8 {
    number.try_into().unwrap_or(u8::MAX)
}
