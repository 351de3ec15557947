//! A store whose every call takes a moment, as one across a network does: between a load and a
//! commit others have their turn. And one that can be taken away.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind, Runtime, Status,
    StreamId, Timestamp,
};
use service::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineVersionRow,
    LogCommit, OperationRow, OutboxRow, Presence, Roll, Store, StoreError, Term, VersionCommit,
    VersionCommitted,
};

/// See the module.
pub(crate) struct SlowStore {
    inner: Arc<dyn Store>,
    takes: Duration,
    down: AtomicBool,
    calls: AtomicU64,
    answers_take: Mutex<VecDeque<Duration>>,
}

impl SlowStore {
    pub(crate) fn new(inner: Arc<dyn Store>, takes: Duration) -> Self {
        Self {
            inner,
            takes,
            down: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            answers_take: Mutex::default(),
        }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// How much longer the answers to the next changes take.
    pub(crate) fn delay_answers(&self, by: impl IntoIterator<Item = Duration>) {
        self.answers_take.lock().expect("not poisoned").extend(by);
    }

    /// How many calls there were so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn way(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.takes).await;
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError("down".into()));
        }
        Ok(())
    }

    async fn way_back(&self) {
        let longer = self.answers_take.lock().expect("not poisoned").pop_front();
        tokio::time::sleep(self.takes + longer.unwrap_or_default()).await;
    }
}

#[async_trait]
impl Store for SlowStore {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        self.way().await?;
        let loaded = self.inner.load(game).await;
        tokio::time::sleep(self.takes).await;
        loaded
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        self.way().await.map_err(CommitError::Determinate)?;
        let committed = self.inner.commit(commit).await;
        self.way_back().await;
        committed
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        self.way().await.map_err(CommitError::Determinate)?;
        let committed = self.inner.log(commit).await;
        self.way_back().await;
        committed
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        self.way().await?;
        let found = self.inner.claim(key).await;
        tokio::time::sleep(self.takes).await;
        found
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        self.way().await?;
        self.inner.list(status, after, limit).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.way().await?;
        let due = self.inner.due(until, limit).await;
        tokio::time::sleep(self.takes).await;
        due
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        self.way().await?;
        self.inner.leased_to(owner, limit).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        self.way().await?;
        self.inner.operation(id).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.way().await?;
        self.inner.operations(game, before, limit).await
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.way().await?;
        self.inner.open_operations(kind, before, limit).await
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        self.way().await?;
        self.inner.attend(attendance, ttl).await
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        self.way().await?;
        self.inner.leave(presence).await
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        self.way().await?;
        self.inner.outbox_assign(term, channel, floor, now, limit).await
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        self.way().await?;
        self.inner.outbox_unassign(term, channel).await
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        self.way().await?;
        self.inner.outbox_published(seqs, at).await
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.way().await?;
        self.inner.outbox_published_after(channel, after, limit).await
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        self.way().await?;
        self.inner.outbox_newest(channel).await
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        self.way().await?;
        self.inner.outbox_replay(channel, after).await
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.way().await?;
        self.inner.outbox_backlog().await
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        self.way().await?;
        self.inner.outbox_prune(published_before).await
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        self.way().await.map_err(CommitError::Determinate)?;
        let committed = self.inner.change_version(commit).await;
        self.way_back().await;
        committed
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        self.way().await?;
        self.inner.version(version).await
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        self.way().await?;
        self.inner.versions(after, limit).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.way().await?;
        self.inner.ready().await
    }
}
