//! An application that answers what it is told to, and remembers what it was asked.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use machine::explain::{ExplainedStep, ExplainedTick, Explanation, TickOutcome};
use machine::record::{
    Engine, Health, InitStage, Lease, Life, Pending, PendingKind, PendingState, PlayerStats,
    Repair, TurnClock, Work,
};
use machine::{
    EngineVersion, Failure, FailureCode, GameId, ImageRef, Incarnation, Member, OperationId,
    OperationKind, Outcome, RaceName, Resolution, Roster, Runtime, Schedule, Status, StopReason,
    Summary, Timestamp, UserId,
};
use service::error::ServiceError;
use service::http::{
    Api, Asked, Explained, PlayerRequest, Readiness, RegisterRequest, VersionUpdate,
};
use service::ports::{
    Claim, EngineVersionRow, NewVersion, OperationRow, OperationState, Origin, Source,
    VersionOptions, VersionStatus,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

pub(crate) struct Fake {
    pub(crate) runtimes: Vec<Arc<Runtime>>,
    pub(crate) versions: Vec<EngineVersionRow>,
    /// The log of any game, the newest first.
    pub(crate) operations: Vec<OperationRow>,
    /// Of any game.
    pub(crate) explanation: Explanation,
    /// How many any schedule has.
    pub(crate) occurrences: usize,
    /// What is answered instead, once.
    pub(crate) refusal: Mutex<Option<ServiceError>>,
    pub(crate) readiness: Mutex<Readiness>,
    /// What was asked, as text.
    pub(crate) asked: Mutex<Vec<String>>,
    /// What names the changes had, one for each.
    pub(crate) claims: Mutex<Vec<Option<Claim>>>,
    /// Calls of players take one permit each: none left, and they wait.
    pub(crate) permits: Semaphore,
    /// Calls of players that have begun.
    pub(crate) begun: Semaphore,
    pub(crate) panics: Mutex<bool>,
    /// What the engine answers to a player.
    pub(crate) engine_answer: Bytes,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            runtimes: vec![running(), starting(), finished()],
            versions: ["1.4.2", "1.5.0-rc.1", "1.10.0"].map(version_row).to_vec(),
            operations: operations(),
            explanation: explanation(),
            occurrences: usize::MAX,
            refusal: Mutex::new(None),
            readiness: Mutex::new(Readiness {
                store: true,
                streams: true,
                outbox_backlog: 0,
                draining: false,
            }),
            asked: Mutex::default(),
            claims: Mutex::default(),
            permits: Semaphore::new(1000),
            begun: Semaphore::new(0),
            panics: Mutex::new(false),
            engine_answer: Bytes::from_static(br#" {"b": 1.0e2,"a":[ ]} "#),
        }
    }

    fn note(&self, what: String) -> Result<(), ServiceError> {
        lock(&self.asked).push(what);
        assert!(!*lock(&self.panics), "the fake panics as it was told");
        match lock(&self.refusal).take() {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}

impl Fake {
    /// Who asks; the name they gave the request is kept for the test.
    fn asker(&self, asked: Asked) -> Origin {
        lock(&self.claims).push(asked.claim);
        asked.origin
    }

    fn changed(&self, game: &GameId, what: String) -> Result<Arc<Runtime>, ServiceError> {
        self.note(what)?;
        let found = self.runtimes.iter().find(|rt| rt.game_id == *game).cloned();
        found.ok_or(ServiceError::RuntimeNotFound)
    }

    fn found(
        &self,
        version: &EngineVersion,
        what: String,
    ) -> Result<EngineVersionRow, ServiceError> {
        self.note(what)?;
        let found = self.versions.iter().find(|row| row.version == *version).cloned();
        found.ok_or(ServiceError::EngineVersionNotFound)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Api for Fake {
    async fn register(
        &self,
        game: GameId,
        request: RegisterRequest,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let origin = self.asker(asked);
        let RegisterRequest { engine_endpoint, members, target_engine_version, turn_schedule } =
            request;
        let members = members.members().len();
        self.note(format!(
            "register {game} {engine_endpoint} {members} {target_engine_version} \
             {turn_schedule:?} {origin:?}"
        ))?;
        Ok(Arc::new(Runtime { game_id: game, ..(*running()).clone() }))
    }

    async fn runtime(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, ServiceError> {
        self.note(format!("runtime {game}"))?;
        Ok(self.runtimes.iter().find(|rt| rt.game_id == *game).cloned())
    }

    async fn runtimes(
        &self,
        status: Option<Status>,
        after: Option<GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, ServiceError> {
        self.note(format!("runtimes {status:?} {after:?} {limit}"))?;
        let wanted = |rt: &&Arc<Runtime>| {
            status.is_none_or(|status| rt.status() == status)
                && after.as_ref().is_none_or(|after| rt.game_id > *after)
        };
        Ok(self.runtimes.iter().filter(wanted).take(limit).cloned().collect())
    }

    async fn force_next_turn(
        &self,
        game: GameId,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let origin = self.asker(asked);
        self.changed(&game, format!("force {game} {origin:?}"))
    }

    async fn stop(
        &self,
        game: GameId,
        reason: StopReason,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let source = self.asker(asked).source;
        self.changed(&game, format!("stop {game} {:?} {source:?}", reason.as_str()))
    }

    async fn patch(
        &self,
        game: GameId,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let source = self.asker(asked).source;
        self.changed(&game, format!("patch {game} {version} {source:?}"))
    }

    async fn reconcile(&self, game: GameId, asked: Asked) -> Result<Arc<Runtime>, ServiceError> {
        let source = self.asker(asked).source;
        self.changed(&game, format!("reconcile {game} {source:?}"))
    }

    async fn banish(&self, game: GameId, race: RaceName, asked: Asked) -> Result<(), ServiceError> {
        let source = self.asker(asked).source;
        self.changed(&game, format!("banish {game} {:?} {source:?}", race.as_str())).map(drop)
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, ServiceError> {
        self.note(format!("operations {game} {before:?} {limit}"))?;
        let is_below = |row: &&OperationRow| before.is_none_or(|before| row.seq < before);
        Ok(self.operations.iter().filter(is_below).take(limit).cloned().collect())
    }

    async fn explain(&self, game: &GameId) -> Result<Explained, ServiceError> {
        let runtime = self.changed(game, format!("explain {game}"))?;
        Ok(Explained { runtime, explanation: self.explanation.clone() })
    }

    async fn preview(&self, schedule: &str, count: usize) -> Result<Vec<Timestamp>, ServiceError> {
        self.note(format!("preview {schedule:?} {count}"))?;
        let first = at("2026-03-02T18:00:00Z");
        let days = (0..).map(|day| first + TimeDelta::days(day));
        Ok(days.take(count.min(self.occurrences)).collect())
    }

    async fn player(
        &self,
        game: &GameId,
        user: &UserId,
        request: PlayerRequest,
    ) -> Result<Bytes, ServiceError> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let request = match request {
            PlayerRequest::Commands(list) => format!("commands {}", text(list.as_json())),
            PlayerRequest::Orders(list) => format!("orders {}", text(list.as_json())),
            PlayerRequest::Report { turn } => format!("report {turn}"),
        };
        self.note(format!("{game} {user} {request}"))?;
        self.begun.add_permits(1);
        let permit = self.permits.acquire().await.expect("never closed");
        permit.forget();
        Ok(self.engine_answer.clone())
    }

    async fn invalidate_memberships(&self, game: GameId) -> Result<(), ServiceError> {
        self.note(format!("invalidate {game}"))
    }

    async fn create_version(
        &self,
        new: NewVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        self.asker(asked);
        self.note(format!("create {} {} {}", new.version, new.image_ref, new.options.turn_guard))?;
        if self.versions.iter().any(|row| row.version == new.version) {
            return Err(ServiceError::Conflict("it exists".into()));
        }
        let NewVersion { version, image_ref, options } = new;
        Ok(EngineVersionRow { version, image_ref, options, ..version_row("0.0.0") })
    }

    async fn update_version(
        &self,
        version: EngineVersion,
        update: VersionUpdate,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        let source = self.asker(asked).source;
        let VersionUpdate { image_ref, options } = update;
        let (image, guard) =
            (image_ref.as_ref().map(ImageRef::as_str), options.map(|o| o.turn_guard));
        let mut row =
            self.found(&version, format!("update {version} {image:?} {guard:?} {source:?}"))?;
        row.image_ref = image_ref.unwrap_or(row.image_ref);
        row.options = options.unwrap_or(row.options);
        Ok(row)
    }

    async fn deprecate_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        let source = self.asker(asked).source;
        let row = self.found(&version, format!("deprecate {version} {source:?}"))?;
        Ok(EngineVersionRow { status: VersionStatus::Deprecated, ..row })
    }

    async fn delete_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<(), ServiceError> {
        let source = self.asker(asked).source;
        self.found(&version, format!("delete {version} {source:?}")).map(drop)
    }

    async fn version(&self, version: &EngineVersion) -> Result<EngineVersionRow, ServiceError> {
        self.found(version, format!("version {version}"))
    }

    async fn versions(
        &self,
        after: Option<EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, ServiceError> {
        self.note(format!("versions {after:?} {limit}"))?;
        let is_above =
            |row: &&EngineVersionRow| after.as_ref().is_none_or(|after| row.version > *after);
        Ok(self.versions.iter().filter(is_above).take(limit).cloned().collect())
    }

    async fn readiness(&self) -> Readiness {
        *lock(&self.readiness)
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("RFC 3339")
}

fn base(game: &str, life: Life) -> Arc<Runtime> {
    let member = |user: &str, race: &str| Member {
        user_id: user.parse().expect("valid"),
        race_name: race.parse().expect("valid"),
        engine_player_id: None,
    };
    Arc::new(Runtime {
        game_id: game.parse().expect("valid"),
        revision: 31,
        incarnation: Incarnation(Uuid::nil()),
        attempt: 7,
        life,
        engine: Engine {
            endpoint: "http://engine-aurora-7.games:8080".parse().expect("valid"),
            version: "1.4.2".parse().expect("valid"),
            image_ref: "registry.example/galaxy/engine:1.4.2".parse().expect("valid"),
            container_id: Some("9f2c4d1be07a".parse().expect("valid")),
            turn_guard: true,
        },
        roster: Roster::new(vec![member("u1", "Terrans")]).expect("valid"),
        schedule: Schedule::parse("0 18 * * *", Resolution::Minutes).expect("valid"),
        current_turn: 14,
        health: Health { summary: Summary::Healthy, ..Health::default() },
        tries: 0,
        player_turn_stats: vec![PlayerStats {
            user_id: "u1".parse().expect("valid"),
            planets: 12,
            population: 48_200,
        }],
        last_failure: None,
        failure_announced_for: None,
        created_at: at("2026-02-15T09:30:00Z"),
        started_at: Some(at("2026-02-15T09:30:01.204Z")),
        updated_at: at("2026-03-01T18:00:00.871Z"),
    })
}

/// A game between two turns, a forced one owed and a stop waiting.
pub(crate) fn running() -> Arc<Runtime> {
    let clock = TurnClock {
        next_generation_at: at("2026-03-02T18:00:00Z"),
        skip: Some(at("2026-03-02T18:00:00Z")),
    };
    let pending = Pending {
        what: PendingKind::Stop { reason: "abandoned".parse().expect("valid") },
        operation: OperationId(Uuid::nil()),
        state: PendingState::Draining { until: at("2026-03-02T18:01:00Z") },
    };
    base("aurora-7", Life::Running { clock, pending: Some(pending) })
}

/// A game that is being initialised.
fn starting() -> Arc<Runtime> {
    let lease =
        Lease { owner: "gm-1".parse().expect("valid"), expires_at: at("2026-03-02T18:00:00Z") };
    let work = Work { attempt: 7, operation: OperationId(Uuid::nil()), lease };
    let life = Life::Starting { work, stage: InitStage::Call, pending: None };
    base("borealis", life)
}

/// A game that was played to its end.
fn finished() -> Arc<Runtime> {
    base("cygnus", Life::Finished { at: at("2026-03-01T18:00:00.871Z") })
}

/// A game whose last turn failed.
pub(crate) fn failed() -> Arc<Runtime> {
    let clock = TurnClock { next_generation_at: at("2026-03-02T18:00:00Z"), skip: None };
    let repair = Repair { probe: None, retry_at: Some(at("2026-03-02T18:01:30.5Z")) };
    let failure = Failure::new(FailureCode::EngineUnreachable, "no answer");
    Arc::new(Runtime {
        last_failure: Some(failure),
        tries: 2,
        ..(*base("dorado", Life::Failed { clock, repair, pending: None })).clone()
    })
}

pub(crate) fn version_row(version: &str) -> EngineVersionRow {
    EngineVersionRow {
        version: version.parse().expect("valid"),
        image_ref: format!("registry.example/galaxy/engine:{version}").parse().expect("valid"),
        options: VersionOptions { turn_guard: true },
        status: VersionStatus::Active,
        created_at: at("2026-01-10T12:00:00Z"),
        updated_at: at("2026-01-10T12:00:00Z"),
    }
}

/// One operation of each outcome and of each source.
fn operations() -> Vec<OperationRow> {
    let refused = Failure::new(FailureCode::EngineUnreachable, "no answer within 30 s");
    let closed = OperationState::Closed;
    let states = [
        (OperationKind::Stop, Source::Admin, OperationState::Open),
        (OperationKind::Tick, Source::GameMaster, closed(Outcome::Failed(refused))),
        (OperationKind::Patch, Source::Lobby, closed(Outcome::Superseded)),
        (OperationKind::HealthPublish, Source::Gateway, closed(Outcome::Succeeded)),
    ];
    let seqs = [90, 17, 9, 2];
    let rows = states.into_iter().zip(seqs).map(|((kind, source, state), seq)| OperationRow {
        operation: OperationId(Uuid::from_u128(u128::from(seq))),
        game_id: "aurora-7".parse().expect("valid"),
        seq,
        kind,
        turn: None,
        tick: None,
        status: Some(Status::Running),
        race: None,
        origin: Origin {
            source,
            request_id: (source == Source::Admin).then(|| "req-7f31".to_owned()),
        },
        finished_at: (state != OperationState::Open).then(|| at("2026-03-01T18:00:30.011Z")),
        state,
        started_at: at("2026-03-01T18:00:00.004Z"),
    });
    rows.collect()
}

fn explanation() -> Explanation {
    let outcomes = [
        TickOutcome::Failed,
        TickOutcome::Fired,
        TickOutcome::Missed,
        TickOutcome::Forced,
        TickOutcome::Held,
    ];
    let tick = |outcome| ExplainedTick {
        due_at: at("2026-03-01T18:00:00Z"),
        outcome,
        turn: (outcome != TickOutcome::Missed).then_some(15),
        detail: "as told".into(),
    };
    Explanation {
        why: "Turn 15 failed.".into(),
        last_ticks: outcomes.map(tick).to_vec(),
        next: vec![
            ExplainedStep { what: "asks again".into(), at: Some(at("2026-03-01T18:01:30Z")) },
            ExplainedStep { what: "anybody may help".into(), at: None },
        ],
    }
}
