//! What the store holds, read past every server, as a disk would show it.

use std::sync::Arc;

use machine::{GameId, OperationKind, Timestamp};
use service::embedded::Embedded;
use service::ports::{OperationRow, OperationState, Store as _, VersionStatus};

use crate::postgres::Database;

/// How many operations are looked at together.
const A_LOOK: usize = 100;

/// Every kind that may be opened in one commit and closed in another.
const OPERATIONS: [OperationKind; 9] = [
    OperationKind::Register,
    OperationKind::Tick,
    OperationKind::Force,
    OperationKind::Stop,
    OperationKind::Patch,
    OperationKind::Reconcile,
    OperationKind::Banish,
    OperationKind::Retry,
    OperationKind::Recovery,
];

/// The store of a life.
#[derive(Clone)]
pub enum Books {
    /// The embedded one, on a host of its own.
    Embedded(Arc<Embedded>),
    /// A simulated PostgreSQL.
    Postgres(Database),
}

impl Books {
    /// Whether an operation of a game was opened by a request of this name: one that changes nothing
    /// opens none, and keeps no key.
    pub async fn has_operation_of(&self, game: &str, request_id: &str) -> bool {
        let Ok(game) = game.parse::<GameId>() else { return false };
        let is_its = |row: &OperationRow| row.origin.request_id.as_deref() == Some(request_id);
        let store = match self {
            Self::Embedded(store) => store,
            Self::Postgres(database) => {
                let rows = database.operations();
                return rows.iter().any(|row| row.game_id == game && is_its(row));
            }
        };
        let mut before = None;
        loop {
            let rows = store.operations(&game, before, A_LOOK).await.unwrap_or_default();
            if rows.iter().any(is_its) {
                return true;
            }
            let Some(last) = rows.last() else { return false };
            before = Some(last.seq);
        }
    }

    /// Operations that were opened before an instant and are open still; some of them, where there
    /// are many.
    pub async fn open_operations(&self, before: Timestamp) -> Vec<OperationRow> {
        let mut open = vec![];
        match self {
            Self::Embedded(store) => {
                for kind in OPERATIONS {
                    let rows = store.open_operations(kind, before, A_LOOK).await;
                    open.extend(rows.unwrap_or_default());
                }
            }
            Self::Postgres(database) => {
                let is_open = |row: &OperationRow| {
                    row.state == OperationState::Open && row.started_at < before
                };
                open.extend(database.operations().into_iter().filter(is_open).take(A_LOOK));
            }
        }
        open
    }

    /// How a version stands, where it is registered.
    pub async fn version(&self, version: &str) -> Option<VersionStatus> {
        match self {
            Self::Embedded(store) => {
                let row = store.version(&version.parse().ok()?).await.ok().flatten();
                row.map(|row| row.status)
            }
            Self::Postgres(database) => database.version(version),
        }
    }
}
