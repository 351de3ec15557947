//! The store that fails on demand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind, Runtime, Status,
    StreamId, Timestamp,
};

use super::{Call, Decide, Fate, Lost, Post, carry};
use crate::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineVersionRow,
    LogCommit, OperationRow, OutboxRow, Presence, Roll, Store, StoreError, Term, VersionCommit,
    VersionCommitted,
};

/// A [`Store`] whose calls fail as a function decides.
pub struct UnreliableStore {
    inner: Arc<dyn Store>,
    decide: Arc<dyn Decide>,
    post: Post,
}

impl UnreliableStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, decide: impl Decide) -> Self {
        Self { inner, decide: Arc::new(decide), post: Post::default() }
    }

    /// Lets all late requests arrive; returns how many there were.
    pub async fn deliver_late(&self) -> usize {
        self.post.deliver().await
    }

    /// What becomes of the next call, once those it does not overtake have arrived.
    async fn next(&self, call: Call<'_>) -> Fate {
        self.post.tick().await;
        self.decide.fate(call)
    }

    async fn read(&self, name: &'static str) -> Result<(), StoreError> {
        match self.next(Call::Read(name)).await {
            Fate::Pass => Ok(()),
            Fate::Refused => Err(lost(Lost::Refused)),
            Fate::RequestLost | Fate::ReplyLost | Fate::Late { .. } => Err(lost(Lost::Unknown)),
        }
    }

    async fn write<T, F>(&self, name: &'static str, request: F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let fate = self.next(Call::Write(name)).await;
        carry(&self.post, fate, request).await.map_err(lost)?
    }
}

fn unconfirmed(how: Lost) -> CommitError {
    match how {
        Lost::Refused => CommitError::Determinate(lost(how)),
        Lost::Unknown => CommitError::Indeterminate(lost(how)),
    }
}

fn lost(lost: Lost) -> StoreError {
    StoreError(lost.message())
}

#[async_trait]
impl Store for UnreliableStore {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        self.read("load").await?;
        self.inner.load(game).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let fate = self.next(Call::Commit(commit)).await;
        let (inner, commit) = (Arc::clone(&self.inner), commit.clone());
        let request = async move { inner.commit(&commit).await };
        carry(&self.post, fate, request).await.map_err(unconfirmed)?
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        let fate = self.next(Call::Log(commit)).await;
        let (inner, commit) = (Arc::clone(&self.inner), commit.clone());
        let request = async move { inner.log(&commit).await };
        carry(&self.post, fate, request).await.map_err(unconfirmed)?
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        self.read("claim").await?;
        self.inner.claim(key).await
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        self.read("list").await?;
        self.inner.list(status, after, limit).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.read("due").await?;
        self.inner.due(until, limit).await
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        self.read("leased_to").await?;
        self.inner.leased_to(owner, limit).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        self.read("operation").await?;
        self.inner.operation(id).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.read("operations").await?;
        self.inner.operations(game, before, limit).await
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.read("open_operations").await?;
        self.inner.open_operations(kind, before, limit).await
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        let (inner, attendance) = (Arc::clone(&self.inner), attendance.clone());
        let request = async move { inner.attend(&attendance, ttl).await };
        self.write("attend", request).await
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        let (inner, presence) = (Arc::clone(&self.inner), presence.clone());
        let request = async move { inner.leave(&presence).await };
        self.write("leave", request).await
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let request = async move { inner.outbox_assign(term, channel, floor, now, limit).await };
        self.write("outbox_assign", request).await
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let request = async move { inner.outbox_unassign(term, channel).await };
        self.write("outbox_unassign", request).await
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        let (inner, seqs) = (Arc::clone(&self.inner), seqs.to_vec());
        let request = async move { inner.outbox_published(&seqs, at).await };
        self.write("outbox_published", request).await
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.read("outbox_published_after").await?;
        self.inner.outbox_published_after(channel, after, limit).await
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        self.read("outbox_newest").await?;
        self.inner.outbox_newest(channel).await
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        let inner = Arc::clone(&self.inner);
        let request = async move { inner.outbox_replay(channel, after).await };
        self.write("outbox_replay", request).await
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.read("outbox_backlog").await?;
        self.inner.outbox_backlog().await
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        let inner = Arc::clone(&self.inner);
        let request = async move { inner.outbox_prune(published_before).await };
        self.write("outbox_prune", request).await
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        let fate = self.next(Call::ChangeVersion(commit)).await;
        let (inner, commit) = (Arc::clone(&self.inner), commit.clone());
        let request = async move { inner.change_version(&commit).await };
        carry(&self.post, fate, request).await.map_err(unconfirmed)?
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        self.read("version").await?;
        self.inner.version(version).await
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        self.read("versions").await?;
        self.inner.versions(after, limit).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read("ready").await?;
        self.inner.ready().await
    }
}
