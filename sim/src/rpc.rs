//! The store as a host of its own, and the adapter that asks it over the simulated network.
//!
//! ```text
//!   RemoteStore ──number──▶ connection ──number──▶ StoreHost ──▶ work on the embedded store
//!        │ work, by its number (in memory)             ▲
//!        └─────────────── desk ────────────────────────┘
//! ```
//!
//! Only the number of a call goes over the wire, there and back; the call itself lies on a desk that
//! both sides share, as does its answer. So the network decides what arrives and when, as for any
//! database, and a method of the port costs one line here and no encoding.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind, Runtime, Status,
    StreamId, Timestamp,
};
use net::{BoxedStream, Net};
use service::embedded::Embedded;
use service::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineVersionRow,
    LogCommit, OperationRow, OutboxRow, Presence, Roll, Store, StoreError, Term, VersionCommit,
    VersionCommitted,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::board::{Board, lock, take_one};
use crate::oracle::Oracle;

/// Connections of one instance.
const MAX_CONNECTIONS: usize = 16;

type Answer = Box<dyn Any + Send>;
type Work =
    Box<dyn FnOnce(Arc<Embedded>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + 'static>;
type Slot = Arc<Mutex<Option<Answer>>>;

/// A call on its way.
struct Call {
    work: Work,
    slot: Slot,
    name: &'static str,
    kind: Kind,
}

/// What the oracle must know of a call.
enum Kind {
    Read,
    Write,
    Commit(Box<Commit>),
}

/// Where calls lie while their numbers travel.
#[derive(Default)]
pub struct Desk {
    calls: Mutex<BTreeMap<u64, Call>>,
    drawn: AtomicU64,
}

/// How long the adapter waits.
#[derive(Clone, Copy, Debug)]
pub struct StoreTimeouts {
    /// For a connection, or for a place in the pool.
    pub connect: Duration,
    /// For an answer.
    pub answer: Duration,
}

/// The store, as one instance of Game Master asks it.
pub struct RemoteStore {
    net: Arc<dyn Net>,
    desk: Arc<Desk>,
    timeouts: StoreTimeouts,
    idle: Mutex<Vec<BoxedStream>>,
    places: Semaphore,
}

/// Why there is no answer.
enum Lost {
    /// Nothing was sent.
    NotSent(String),
    /// It may have been carried out, or may yet be.
    Unknown(String),
}

impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        let (Lost::NotSent(why) | Lost::Unknown(why)) = lost;
        Self(why)
    }
}

impl From<Lost> for CommitError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent(why) => Self::Determinate(StoreError(why)),
            Lost::Unknown(why) => Self::Indeterminate(StoreError(why)),
        }
    }
}

impl RemoteStore {
    /// The adapter of one process; a restart makes another one.
    pub fn new(net: Arc<dyn Net>, desk: Arc<Desk>, timeouts: StoreTimeouts) -> Self {
        let places = Semaphore::new(MAX_CONNECTIONS);
        Self { net, desk, timeouts, idle: Mutex::default(), places }
    }

    /// One call: everything that the port asks for comes through here.
    async fn call<T, E, F, Fut>(&self, name: &'static str, kind: Kind, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Lost> + Send + 'static,
        F: FnOnce(Arc<Embedded>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let slot = Slot::default();
        let work: Work = Box::new(move |store| {
            let answer = work(store);
            Box::pin(async move { Box::new(answer.await) as Answer })
        });
        let call = Call { work, slot: Arc::clone(&slot), name, kind };
        self.exchange(call).await?;
        let answer = lock(&slot).take().and_then(|answer| answer.downcast().ok());
        let answer: Box<Result<T, E>> =
            answer.ok_or_else(|| Lost::Unknown("an answer without content".into()))?;
        *answer
    }

    async fn exchange(&self, call: Call) -> Result<(), Lost> {
        let StoreTimeouts { connect, answer } = self.timeouts;
        let _place = match timeout(connect, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(Lost::NotSent("no connection is free".into())),
        };
        let idle = lock(&self.idle).pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => self.connect(connect).await?,
        };
        let number = self.desk.drawn.fetch_add(1, Ordering::Relaxed);
        lock(&self.desk.calls).insert(number, call);
        match timeout(answer, ask(&mut stream, number)).await {
            Ok(Ok(())) => {
                lock(&self.idle).push(stream);
                Ok(())
            }
            Ok(Err(error)) => Err(Lost::Unknown(format!("the store hung up: {error}"))),
            Err(_) => Err(Lost::Unknown("the store did not answer in time".into())),
        }
    }

    async fn connect(&self, within: Duration) -> Result<BoxedStream, Lost> {
        let failed = |why: String| Lost::NotSent(format!("no connection to the store: {why}"));
        let addresses = self.net.resolve(crate::world::STORE, crate::world::STORE_PORT).await;
        let addresses = addresses.map_err(|error| failed(error.to_string()))?;
        let address = addresses.first().ok_or_else(|| failed("it has no address".into()))?;
        match timeout(within, self.net.connect(*address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("none in time".into())),
        }
    }

    async fn read<T, F, Fut>(&self, name: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Embedded>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.call(name, Kind::Read, work).await
    }

    async fn write<T, E, F, Fut>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Lost> + Send + 'static,
        F: FnOnce(Arc<Embedded>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.call(name, Kind::Write, work).await
    }
}

async fn ask(stream: &mut BoxedStream, number: u64) -> io::Result<()> {
    stream.write_u64(number).await?;
    stream.flush().await?;
    let answered = stream.read_u64().await?;
    if answered == number { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[async_trait]
impl Store for RemoteStore {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        let game = game.clone();
        self.read("load", |s| async move { s.load(&game).await }).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let (told, commit) = (Kind::Commit(Box::new(commit.clone())), commit.clone());
        self.call("commit", told, |s| async move { s.commit(&commit).await }).await
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        let commit = commit.clone();
        self.write("log", |s| async move { s.log(&commit).await }).await
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        let key = key.clone();
        self.read("claim", |s| async move { s.claim(&key).await }).await
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        let after = after.cloned();
        self.read("list", move |s| async move { s.list(status, after.as_ref(), limit).await }).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.read("due", move |s| async move { s.due(until, limit).await }).await
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        let owner = owner.clone();
        self.read("leased_to", move |s| async move { s.leased_to(&owner, limit).await }).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        self.read("operation", move |s| async move { s.operation(id).await }).await
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let game = game.clone();
        let work = move |s: Arc<Embedded>| async move { s.operations(&game, before, limit).await };
        self.read("operations", work).await
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let work =
            move |s: Arc<Embedded>| async move { s.open_operations(kind, before, limit).await };
        self.read("open_operations", work).await
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        let attendance = attendance.clone();
        self.write("attend", move |s| async move { s.attend(&attendance, ttl).await }).await
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        let presence = presence.clone();
        self.write("leave", |s| async move { s.leave(&presence).await }).await
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        let work = move |s: Arc<Embedded>| async move {
            s.outbox_assign(term, channel, floor, now, limit).await
        };
        self.write("outbox_assign", work).await
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        let work = move |s: Arc<Embedded>| async move { s.outbox_unassign(term, channel).await };
        self.write("outbox_unassign", work).await
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        let seqs = seqs.to_vec();
        self.write("outbox_published", move |s| async move { s.outbox_published(&seqs, at).await })
            .await
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let work = move |s: Arc<Embedded>| async move {
            s.outbox_published_after(channel, after, limit).await
        };
        self.read("outbox_published_after", work).await
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        self.read("outbox_newest", move |s| async move { s.outbox_newest(channel).await }).await
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        self.write("outbox_replay", move |s| async move { s.outbox_replay(channel, after).await })
            .await
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.read("outbox_backlog", |s| async move { s.outbox_backlog().await }).await
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        let work = move |s: Arc<Embedded>| async move { s.outbox_prune(published_before).await };
        self.write("outbox_prune", work).await
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        let commit = commit.clone();
        self.write("change_version", |s| async move { s.change_version(&commit).await }).await
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        let version = version.clone();
        self.read("version", |s| async move { s.version(&version).await }).await
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        let after = after.cloned();
        self.read("versions", move |s| async move { s.versions(after.as_ref(), limit).await }).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read("ready", |s| async move { s.ready().await }).await
    }
}

/// The other end: a host that carries the calls out. What it has carried out is durable; a crash
/// loses what it had not begun, and the answers on their way.
#[derive(Clone)]
pub struct StoreHost {
    /// Where it listens.
    pub net: Arc<dyn Net>,
    /// What it keeps, beyond any crash.
    pub store: Arc<Embedded>,
    /// Where the calls lie.
    pub desk: Arc<Desk>,
    /// What it is told to do wrong.
    pub board: Arc<Board>,
    /// Who looks on.
    pub oracle: Arc<Oracle>,
}

impl StoreHost {
    /// Serves until it crashes.
    pub async fn run(self) -> io::Result<()> {
        let mut listener = self.net.bind(crate::world::any(crate::world::STORE_PORT)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let host = self.clone();
            tokio::spawn(async move { host.serve(stream).await });
        }
    }

    /// Until either side ends the connection.
    async fn serve(self, mut stream: BoxedStream) -> io::Result<()> {
        loop {
            let number = stream.read_u64().await?;
            let delay = self.board.store.delay_ms.load(Ordering::Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            let call = lock(&self.desk.calls).remove(&number);
            let Some(call) = call else { return Err(io::ErrorKind::InvalidData.into()) };
            let changes = !matches!(call.kind, Kind::Read);
            if changes && take_one(&self.board.store.requests_lost) {
                self.oracle.chronicle.note(None, &format!("store: {} lost on its way", call.name));
                return Ok(());
            }
            let name = call.name;
            self.carry_out(call).await;
            if changes && take_one(&self.board.store.answers_lost) {
                self.oracle.chronicle.note(None, &format!("store: {name} done, answer lost"));
                return Ok(());
            }
            stream.write_u64(number).await?;
            stream.flush().await?;
        }
    }

    async fn carry_out(&self, call: Call) {
        let Call { work, slot, name: _, kind } = call;
        let before = match &kind {
            Kind::Commit(commit) => self.store.load(&commit.game_id).await.ok().flatten(),
            Kind::Read | Kind::Write => None,
        };
        // In memory a call is over when it is first polled, so that nothing comes in between.
        let answer = work(Arc::clone(&self.store)).await;
        if let Kind::Commit(commit) = &kind {
            let after = self.store.load(&commit.game_id).await.ok().flatten();
            self.oracle.committed(commit, before, after);
        }
        *lock(&slot) = Some(answer);
    }
}
