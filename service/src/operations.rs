//! What callers ask for, in terms of events: everything between the HTTP layer and the driver.

mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machine::explain::LogLine;
use machine::schedule::FAR_FUTURE;
use machine::{
    EngineVersion, Event, GameId, Incarnation, Life, RaceName, Registration, Runtime, Schedule,
    Status, StopReason, Timestamp, UserId,
};

use crate::app::App;
use crate::error::ServiceError;
use crate::http::{
    Api, Asked, Explained, PlayerRequest, Readiness, RegisterRequest, VersionUpdate,
};
use crate::ports::{
    EngineVersionRow, MembershipStatus, NewVersion, News, OperationRow, OperationState, PlayerCall,
    PlayerCallError, VersionChange,
};

/// How much of a game's log an explanation looks at: enough for the last hundred ticks of a game in
/// trouble, where each has a failure, a retry and news of its container.
const EXPLAINED_OPERATIONS: usize = 500;

#[async_trait]
impl Api for App {
    async fn register(
        &self,
        game: GameId,
        request: RegisterRequest,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        if let Some(record) = self.driver.repeated(&game, asked.claim.as_ref()).await? {
            return Ok(record);
        }
        let schedule = self.schedule("turn_schedule", &request.turn_schedule)?;
        self.check_engine_address(&request).await?;
        // A deprecated version is good for a game whose start is under way; Lobby is told of the
        // deprecation when it asks for the image.
        let version = self.version(&request.target_engine_version).await?;
        let registration = Registration {
            game_id: game.clone(),
            incarnation: Incarnation(self.entropy.uuid()),
            endpoint: request.engine_endpoint,
            version: version.version,
            image_ref: version.image_ref,
            turn_guard: version.options.turn_guard,
            roster: request.members,
            schedule,
        };
        let event = Event::Register(Box::new(registration));
        self.present(self.driver.perform(game, event, asked).await?)
    }

    async fn runtime(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, ServiceError> {
        Ok(self.store.load(game).await?)
    }

    async fn runtimes(
        &self,
        status: Option<Status>,
        after: Option<GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, ServiceError> {
        Ok(self.store.list(status, after.as_ref(), limit).await?)
    }

    async fn force_next_turn(
        &self,
        game: GameId,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        self.present(self.driver.perform(game, Event::Force, asked).await?)
    }

    async fn stop(
        &self,
        game: GameId,
        reason: StopReason,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        self.present(self.driver.perform(game, Event::Stop { reason }, asked).await?)
    }

    async fn patch(
        &self,
        game: GameId,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<Arc<Runtime>, ServiceError> {
        if let Some(record) = self.driver.repeated(&game, asked.claim.as_ref()).await? {
            return Ok(record);
        }
        // A deprecated version is good to go back to.
        let row = self.version(&version).await?;
        let EngineVersionRow { version, image_ref, options, .. } = row;
        let event = Event::Patch { version, image_ref, turn_guard: options.turn_guard };
        self.present(self.driver.perform(game, event, asked).await?)
    }

    async fn reconcile(&self, game: GameId, asked: Asked) -> Result<Arc<Runtime>, ServiceError> {
        self.present(self.driver.perform(game, Event::Reconcile, asked).await?)
    }

    async fn banish(&self, game: GameId, race: RaceName, asked: Asked) -> Result<(), ServiceError> {
        self.driver.banish(game, race, asked).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, ServiceError> {
        let rows = self.store.operations(game, before, limit).await?;
        // The log outlives the record, and a new record has a log.
        if rows.is_empty() && before.is_none() && self.store.load(game).await?.is_none() {
            return Err(ServiceError::RuntimeNotFound);
        }
        Ok(rows)
    }

    async fn explain(&self, game: &GameId) -> Result<Explained, ServiceError> {
        let log = self.store.operations(game, None, EXPLAINED_OPERATIONS).await?;
        let runtime = self.store.load(game).await?.ok_or(ServiceError::RuntimeNotFound)?;
        let log: Vec<LogLine> = log.into_iter().map(log_line).collect();
        let (now, policy) = (self.clock.now(), &self.settings.policy);
        let explanation = machine::explain::explain(&runtime, &log, now, policy);
        Ok(Explained { runtime, explanation })
    }

    async fn preview(&self, schedule: &str, count: usize) -> Result<Vec<Timestamp>, ServiceError> {
        let schedule = self.schedule("expression", schedule)?;
        let mut at = self.clock.now();
        let occurrences = std::iter::from_fn(|| {
            at = schedule.next(at);
            (at < FAR_FUTURE).then_some(at)
        });
        Ok(occurrences.take(count).collect())
    }

    /// Nothing here asks the store where the board knows the game, nor Lobby where the cache does.
    async fn player(
        &self,
        game: &GameId,
        user: &UserId,
        request: PlayerRequest,
    ) -> Result<Bytes, ServiceError> {
        let runtime = self.accepting(game, &request).await?;
        let Some(race) = runtime.roster.race_of(user).cloned() else {
            return Err(ServiceError::Forbidden("the user has no race in this game".into()));
        };
        match self.memberships.status(game, user).await? {
            Some(MembershipStatus::Active) => {}
            Some(MembershipStatus::Removed | MembershipStatus::Blocked) | None => {
                return Err(ServiceError::Forbidden(
                    "the user is not an active member of this game".into(),
                ));
            }
        }
        // Lobby may have taken its time: a turn that began meanwhile is the cutoff all the same.
        let runtime = self.accepting(game, &request).await?;
        let call = match request {
            PlayerRequest::Commands(commands) => {
                PlayerCall::Command(player_body(race.as_str(), commands.as_json())?)
            }
            PlayerRequest::Orders(orders) => {
                PlayerCall::Order(player_body(race.as_str(), orders.as_json())?)
            }
            PlayerRequest::Report { turn } => PlayerCall::Report { race, turn },
        };
        match self.engine.player(&runtime.engine.endpoint, call).await {
            Ok(reply) => Ok(reply.0),
            Err(PlayerCallError::Failed(failure)) => Err(failure.to_failure().into()),
            Err(PlayerCallError::OutcomeUnknown(why)) => Err(ServiceError::OutcomeUnknown(why)),
        }
    }

    async fn invalidate_memberships(&self, game: GameId) -> Result<(), ServiceError> {
        self.memberships.invalidate(&game);
        // On every instance: whoever asked tries again where the others could not be told.
        let told = self.feed.publish(&[News::Members(game)]).await;
        told.map_err(|error| ServiceError::ServiceUnavailable(error.to_string()))
    }

    async fn create_version(
        &self,
        new: NewVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        self.change_version(VersionChange::Create(new), asked).await.and_then(there)
    }

    async fn update_version(
        &self,
        version: EngineVersion,
        update: VersionUpdate,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        let VersionUpdate { image_ref, options } = update;
        let change = VersionChange::Update { version, image_ref, options };
        self.change_version(change, asked).await.and_then(there)
    }

    async fn deprecate_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<EngineVersionRow, ServiceError> {
        self.change_version(VersionChange::Deprecate(version), asked).await.and_then(there)
    }

    async fn delete_version(
        &self,
        version: EngineVersion,
        asked: Asked,
    ) -> Result<(), ServiceError> {
        self.change_version(VersionChange::Delete(version), asked).await.map(drop)
    }

    async fn version(&self, version: &EngineVersion) -> Result<EngineVersionRow, ServiceError> {
        self.store.version(version).await?.ok_or(ServiceError::EngineVersionNotFound)
    }

    async fn versions(
        &self,
        after: Option<EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, ServiceError> {
        Ok(self.store.versions(after.as_ref(), limit).await?)
    }

    async fn readiness(&self) -> Readiness {
        let backlog = self.store.outbox_backlog().await;
        let stream = machine::Channel::LobbyEvents.as_str();
        Readiness {
            store: self.store.ready().await.is_ok() && backlog.is_ok(),
            streams: self.streams.newest(stream).await.is_ok(),
            outbox_backlog: backlog.map_or(0, |backlog| backlog.waiting),
            draining: self.stopping.is_cancelled(),
        }
    }
}

impl App {
    /// The record, where it is one that accepts this request now.
    async fn accepting(
        &self,
        game: &GameId,
        request: &PlayerRequest,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let runtime = match self.board.get(game) {
            Some(runtime) => runtime,
            None => {
                let runtime = self.store.load(game).await?;
                self.board.note(game, runtime.as_ref());
                runtime.ok_or(ServiceError::RuntimeNotFound)?
            }
        };
        if accepts(&runtime.life, request) {
            return Ok(runtime);
        }
        let message = format!("the runtime is {}", runtime.status());
        Err(ServiceError::RuntimeNotRunning(message))
    }

    /// A schedule that is allowed here, or what is wrong with the field that holds it.
    fn schedule(&self, field: &str, text: &str) -> Result<Schedule, ServiceError> {
        let bad = |e| ServiceError::InvalidRequest(format!("{field}: {e}"));
        let schedule = Schedule::parse(text, self.settings.schedule_resolution).map_err(bad)?;
        schedule.check_interval(self.settings.min_interval).map_err(bad)?;
        Ok(schedule)
    }

    /// The record that a successful operation leaves; gone only where somebody else removed it.
    fn present(&self, record: Option<Arc<Runtime>>) -> Result<Arc<Runtime>, ServiceError> {
        record.ok_or(ServiceError::RuntimeNotFound)
    }

    /// The engine must be in an allowed network. A name that does not resolve now is found
    /// unreachable by the init call; each later call checks the addresses again.
    async fn check_engine_address(&self, request: &RegisterRequest) -> Result<(), ServiceError> {
        let endpoint = &request.engine_endpoint;
        let resolved = self.net.resolve(endpoint.host(), endpoint.port());
        let resolved = tokio::time::timeout(self.settings.connect_timeout, resolved).await;
        let addresses = resolved.ok().and_then(Result::ok).unwrap_or_default();
        let allowed = &self.settings.engine_networks;
        if addresses.iter().all(|address| allowed.contains(address.ip())) {
            return Ok(());
        }
        Err(ServiceError::InvalidRequest(
            "engine_endpoint is not in a network that engines may be in".into(),
        ))
    }
}

/// A version that was changed, and not removed, is there.
fn there(row: Option<EngineVersionRow>) -> Result<EngineVersionRow, ServiceError> {
    row.ok_or(ServiceError::EngineVersionNotFound)
}

fn log_line(row: OperationRow) -> LogLine {
    LogLine {
        kind: row.kind,
        turn: row.turn,
        tick: row.tick,
        outcome: match row.state {
            OperationState::Open => None,
            OperationState::Closed(outcome) => Some(outcome),
        },
        status: row.status,
        started_at: row.started_at,
        finished_at: row.finished_at,
    }
}

/// Commands and orders are accepted exactly as long as the status reads `running`: the commit that
/// begins a turn is the cutoff. A report changes nothing and is given while an engine may be there;
/// after the end of a game Runtime Manager takes it down.
fn accepts(life: &Life, request: &PlayerRequest) -> bool {
    match (life, request) {
        (Life::Running { .. }, _) => true,
        (Life::Generating { .. } | Life::Failed { .. }, PlayerRequest::Report { .. }) => true,
        (
            Life::Generating { .. } | Life::Failed { .. },
            PlayerRequest::Commands(_) | PlayerRequest::Orders(_),
        )
        | (
            Life::Starting { .. }
            | Life::Unreachable { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. },
            _,
        ) => false,
    }
}

/// The engine's body: the elements as they came, byte for byte, under the race that this service
/// knows the player by.
fn player_body(race: &str, elements: &[u8]) -> Result<Bytes, ServiceError> {
    let actor = serde_json::to_string(race).map_err(|_| ServiceError::InternalError)?;
    let mut body = Vec::with_capacity(elements.len() + actor.len() + 20);
    body.extend_from_slice(b"{\"actor\":");
    body.extend_from_slice(actor.as_bytes());
    body.extend_from_slice(b",\"cmd\":");
    body.extend_from_slice(elements);
    body.push(b'}');
    Ok(body.into())
}
