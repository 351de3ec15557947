//! An application every operation of which has the same bug.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machine::{EngineVersion, GameId, RaceName, Runtime, Status, StopReason, Timestamp, UserId};
use service::error::ServiceError;
use service::http::{
    Api, Asked, Explained, PlayerRequest, Readiness, RegisterRequest, VersionUpdate,
};
use service::ports::{EngineVersionRow, NewVersion, OperationRow};

/// See the module.
pub(crate) struct Broken;

type Never<T> = Result<T, ServiceError>;

const BUG: &str = "secret detail of a bug";

#[async_trait]
#[rustfmt::skip]
impl Api for Broken {
    async fn register(&self, _: GameId, _: RegisterRequest, _: Asked) -> Never<Arc<Runtime>> { panic!("{BUG}") }
    async fn runtime(&self, _: &GameId) -> Never<Option<Arc<Runtime>>> { panic!("{BUG}") }
    async fn runtimes(&self, _: Option<Status>, _: Option<GameId>, _: usize) -> Never<Vec<Arc<Runtime>>> { panic!("{BUG}") }
    async fn force_next_turn(&self, _: GameId, _: Asked) -> Never<Arc<Runtime>> { panic!("{BUG}") }
    async fn stop(&self, _: GameId, _: StopReason, _: Asked) -> Never<Arc<Runtime>> { panic!("{BUG}") }
    async fn patch(&self, _: GameId, _: EngineVersion, _: Asked) -> Never<Arc<Runtime>> { panic!("{BUG}") }
    async fn reconcile(&self, _: GameId, _: Asked) -> Never<Arc<Runtime>> { panic!("{BUG}") }
    async fn banish(&self, _: GameId, _: RaceName, _: Asked) -> Never<()> { panic!("{BUG}") }
    async fn operations(&self, _: &GameId, _: Option<u64>, _: usize) -> Never<Vec<OperationRow>> { panic!("{BUG}") }
    async fn explain(&self, _: &GameId) -> Never<Explained> { panic!("{BUG}") }
    async fn preview(&self, _: &str, _: usize) -> Never<Vec<Timestamp>> { panic!("{BUG}") }
    async fn player(&self, _: &GameId, _: &UserId, _: PlayerRequest) -> Never<Bytes> { panic!("{BUG}") }
    async fn invalidate_memberships(&self, _: GameId) -> Never<()> { panic!("{BUG}") }
    async fn create_version(&self, _: NewVersion, _: Asked) -> Never<EngineVersionRow> { panic!("{BUG}") }
    async fn update_version(&self, _: EngineVersion, _: VersionUpdate, _: Asked) -> Never<EngineVersionRow> { panic!("{BUG}") }
    async fn deprecate_version(&self, _: EngineVersion, _: Asked) -> Never<EngineVersionRow> { panic!("{BUG}") }
    async fn delete_version(&self, _: EngineVersion, _: Asked) -> Never<()> { panic!("{BUG}") }
    async fn version(&self, _: &EngineVersion) -> Never<EngineVersionRow> { panic!("{BUG}") }
    async fn versions(&self, _: Option<EngineVersion>, _: usize) -> Never<Vec<EngineVersionRow>> { panic!("{BUG}") }
    async fn readiness(&self) -> Readiness { panic!("{BUG}") }
}

/// What must not be told to anybody.
pub(crate) fn tells_no_detail(body: &[u8]) -> bool {
    !String::from_utf8_lossy(body).contains(BUG)
}
