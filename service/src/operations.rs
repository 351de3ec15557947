//! What callers ask for, in terms of events: everything between the HTTP layer and the driver.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machine::{
    EngineVersion, Event, GameId, Incarnation, Life, Registration, Runtime, Schedule, Status,
    UserId,
};

use crate::app::App;
use crate::error::ServiceError;
use crate::http::{Api, PlayerRequest, Readiness, RegisterRequest};
use crate::ports::{EngineVersionRow, MembershipStatus, NewVersion, Origin, PlayerCall};

#[async_trait]
impl Api for App {
    async fn register(
        &self,
        game: GameId,
        request: RegisterRequest,
        origin: Origin,
    ) -> Result<Arc<Runtime>, ServiceError> {
        let schedule = Schedule::parse(&request.turn_schedule, self.settings.schedule_resolution)
            .map_err(|e| ServiceError::InvalidRequest(format!("turn_schedule: {e}")))?;
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
        self.present(self.driver.perform(game, event, origin).await?)
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
        origin: Origin,
    ) -> Result<Arc<Runtime>, ServiceError> {
        self.present(self.driver.perform(game, Event::Force, origin).await?)
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
            Err(failure) => Err(failure.to_failure().into()),
        }
    }

    async fn invalidate_memberships(&self, game: GameId) -> Result<(), ServiceError> {
        self.memberships.invalidate(&game);
        Ok(())
    }

    async fn create_version(&self, new: NewVersion) -> Result<EngineVersionRow, ServiceError> {
        // On the tracker, as everything that changes something: a caller that hangs up does not
        // leave it half done.
        let store = Arc::clone(&self.store);
        let now = self.clock.now();
        let version = new.version.clone();
        let created = self.tasks.spawn(async move { store.create_version(&new, now).await });
        if created.await.map_err(|_| ServiceError::InternalError)?? {
            self.version(&version).await
        } else {
            Err(ServiceError::Conflict("this engine version is registered already".into()))
        }
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
            outbox_backlog: backlog.unwrap_or(0),
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
