//! The store as one instance asks it: the adapter itself, whose calls are points of contact.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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

use crate::board::{Board, lock};
use crate::oracle::Oracle;
use crate::plan::{Moment, Sabotage};

/// What is sabotaged happens to every so many of the calls.
pub(crate) const SABOTAGED: u64 = 6;

/// See the module.
pub(crate) struct TouchedStore {
    inner: Arc<dyn Store>,
    board: Arc<Board>,
    oracle: Arc<Oracle>,
    gm: usize,
    sabotage: Option<Sabotage>,
    commits: AtomicU64,
    loads: AtomicU64,
    /// What was loaded first of each game, where the past is shown.
    past: Mutex<BTreeMap<GameId, Arc<Runtime>>>,
}

impl TouchedStore {
    /// The store of one process; a restart makes another one.
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        (board, oracle): (Arc<Board>, Arc<Oracle>),
        gm: usize,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let (commits, loads, past) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Self { inner, board, oracle, gm, sabotage, commits, loads, past }
    }

    /// Every so many looks at a record show what was loaded before.
    fn past(&self, loaded: Arc<Runtime>) -> Arc<Runtime> {
        let mut past = lock(&self.past);
        let first = past.entry(loaded.game_id.clone()).or_insert_with(|| Arc::clone(&loaded));
        let is_its_turn = self.loads.fetch_add(1, Ordering::Relaxed) % SABOTAGED == SABOTAGED - 1;
        if is_its_turn { Arc::clone(first) } else { loaded }
    }

    async fn touched<T>(&self, name: &str, call: impl Future<Output = T> + Send) -> T {
        let point = format!("store.{name}");
        self.board.touch(self.gm, &point, Moment::Before).await;
        let number = self.board.recorder.asks_store(self.gm, name);
        let answer = call.await;
        self.board.recorder.store_answered(number);
        self.board.touch(self.gm, &point, Moment::After).await;
        answer
    }
}

#[async_trait]
impl Store for TouchedStore {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        let loaded = self.touched("load", self.inner.load(game)).await?;
        if self.sabotage == Some(Sabotage::ShowThePast) {
            return Ok(loaded.map(|record| self.past(record)));
        }
        Ok(loaded)
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        self.oracle.asks_for(commit, self.gm);
        let is_its_turn = self.commits.fetch_add(1, Ordering::Relaxed) % SABOTAGED == SABOTAGED - 1;
        if is_its_turn && self.sabotage == Some(Sabotage::SwallowCommits) {
            return Ok(Committed::Applied);
        }
        if self.sabotage == Some(Sabotage::ForgetKeys) {
            let commit = Commit { claim: None, ..commit.clone() };
            return self.touched("commit", self.inner.commit(&commit)).await;
        }
        self.touched("commit", self.inner.commit(commit)).await
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        self.touched("log", self.inner.log(commit)).await
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        self.touched("claim", self.inner.claim(key)).await
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        self.touched("list", self.inner.list(status, after, limit)).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.touched("due", self.inner.due(until, limit)).await
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        self.touched("leased_to", self.inner.leased_to(owner, limit)).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        self.touched("operation", self.inner.operation(id)).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.touched("operations", self.inner.operations(game, before, limit)).await
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        self.touched("open_operations", self.inner.open_operations(kind, before, limit)).await
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        self.touched("attend", self.inner.attend(attendance, ttl)).await
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        self.touched("leave", self.inner.leave(presence)).await
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        self.touched("outbox_assign", self.inner.outbox_assign(term, channel, floor, now, limit))
            .await
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        self.touched("outbox_unassign", self.inner.outbox_unassign(term, channel)).await
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        self.touched("outbox_published", self.inner.outbox_published(seqs, at)).await
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.touched(
            "outbox_published_after",
            self.inner.outbox_published_after(channel, after, limit),
        )
        .await
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        self.touched("outbox_newest", self.inner.outbox_newest(channel)).await
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        self.touched("outbox_replay", self.inner.outbox_replay(channel, after)).await
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.touched("outbox_backlog", self.inner.outbox_backlog()).await
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        self.touched("outbox_prune", self.inner.outbox_prune(published_before)).await
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        self.touched("change_version", self.inner.change_version(commit)).await
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        self.touched("version", self.inner.version(version)).await
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        self.touched("versions", self.inner.versions(after, limit)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.touched("ready", self.inner.ready()).await
    }
}
