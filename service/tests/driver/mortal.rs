//! Neighbours as a process sees them that dies at a given point: from there on it is answered
//! nothing, and asks nothing either.
//!
//! Every call to the store, an engine or Runtime Manager is two points: before the request goes out,
//! and before its answer comes in. Between two of them a process does nothing that anybody could
//! see, so that these are all the ways to die there are.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    BanishCall, Channel, ContainerId, EngineEndpoint, EngineFailure, EngineState, EngineVersion,
    GameId, ImageRef, InstanceId, OperationId, OperationKind, RaceName, RtmFailure, Runtime,
    Status, StopReason, StreamId, Timestamp,
};
use service::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineApi,
    EngineReply, EngineVersionRow, LogCommit, OperationRow, OutboxRow, PlayerCall, PlayerCallError,
    Presence, Roll, RtmApi, Store, StoreError, Term, VersionCommit, VersionCommitted,
};

/// The life of one process.
#[derive(Clone)]
pub(crate) struct Life {
    passed: Arc<AtomicUsize>,
    dies_at: usize,
}

impl Life {
    pub(crate) fn until(dies_at: usize) -> Self {
        Self { passed: Arc::default(), dies_at }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.passed.load(Ordering::Relaxed) > self.dies_at
    }

    /// Never comes back once the process is dead.
    async fn point(&self) {
        if self.passed.fetch_add(1, Ordering::Relaxed) >= self.dies_at {
            pending::<()>().await;
        }
    }
}

/// A neighbour, seen by a mortal.
pub(crate) struct Mortal<T: ?Sized> {
    pub(crate) life: Life,
    pub(crate) inner: Arc<T>,
}

impl<T: ?Sized> Mortal<T> {
    pub(crate) fn new(life: &Life, inner: Arc<T>) -> Self {
        Self { life: life.clone(), inner }
    }

    async fn across<A>(&self, call: impl Future<Output = A>) -> A {
        self.life.point().await;
        let answer = call.await;
        self.life.point().await;
        answer
    }
}

#[async_trait]
impl Store for Mortal<dyn Store> {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        self.across(self.inner.load(game)).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        self.across(self.inner.commit(commit)).await
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        self.across(self.inner.log(commit)).await
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        self.across(self.inner.claim(key)).await
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        self.across(self.inner.list(status, after, limit)).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.across(self.inner.due(until, limit)).await
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        self.across(self.inner.leased_to(owner, limit)).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        self.across(self.inner.operation(id)).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.across(self.inner.operations(game, before, limit)).await
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.across(self.inner.open_operations(kind, before, limit)).await
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        self.across(self.inner.attend(attendance, ttl)).await
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        self.across(self.inner.leave(presence)).await
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        self.across(self.inner.outbox_assign(term, channel, floor, now, limit)).await
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        self.across(self.inner.outbox_unassign(term, channel)).await
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        self.across(self.inner.outbox_published(seqs, at)).await
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.across(self.inner.outbox_published_after(channel, after, limit)).await
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        self.across(self.inner.outbox_newest(channel)).await
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        self.across(self.inner.outbox_replay(channel, after)).await
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.across(self.inner.outbox_backlog()).await
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        self.across(self.inner.outbox_prune(published_before)).await
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        self.across(self.inner.change_version(commit)).await
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        self.across(self.inner.version(version)).await
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        self.across(self.inner.versions(after, limit)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.across(self.inner.ready()).await
    }
}

#[async_trait]
impl EngineApi for Mortal<dyn EngineApi> {
    async fn init(
        &self,
        engine: &EngineEndpoint,
        races: &[RaceName],
    ) -> Result<EngineState, EngineFailure> {
        self.across(self.inner.init(engine, races)).await
    }

    async fn turn(
        &self,
        engine: &EngineEndpoint,
        expected_turn: u32,
    ) -> Result<EngineState, EngineFailure> {
        self.across(self.inner.turn(engine, expected_turn)).await
    }

    async fn status(&self, engine: &EngineEndpoint) -> Result<EngineState, EngineFailure> {
        self.across(self.inner.status(engine)).await
    }

    async fn banish(&self, call: &BanishCall) -> Result<(), EngineFailure> {
        self.across(self.inner.banish(call)).await
    }

    async fn player(
        &self,
        engine: &EngineEndpoint,
        call: PlayerCall,
    ) -> Result<EngineReply, PlayerCallError> {
        self.across(self.inner.player(engine, call)).await
    }
}

#[async_trait]
impl RtmApi for Mortal<dyn RtmApi> {
    async fn stop(&self, game: &GameId, reason: &StopReason) -> Result<(), RtmFailure> {
        self.across(self.inner.stop(game, reason)).await
    }

    async fn patch(&self, game: &GameId, image_ref: &ImageRef) -> Result<ContainerId, RtmFailure> {
        self.across(self.inner.patch(game, image_ref)).await
    }
}
