//! The embedded store: [`Store`] and [`Streams`] over one set of ordered tables in memory, durable
//! in one file where a path is given. For `gamemaster dev`, the simulation and the tests.
//!
//! ```text
//!   caller ──▶ writer lock ──▶ plan ──▶ journal ──▶ apply ──▶ wake the readers
//!                              (pure)   (one file   (memory)
//!                                       transaction)
//! ```
//!
//! Every write goes this way. The plan reads the tables and answers with a list of changes; the
//! journal makes all of them durable or none; only then do the tables take them, so that no reader
//! sees what a crash could take back. Opening a file replays its rows through the same `apply`.
//!
//! In memory, nothing waits and nothing blocks: a call is over when it is first polled, which is
//! what the simulation relies on. With a file, whatever comes while a write is under way goes into
//! the next transaction together, on a thread of its own from the plans to the answers; the plans
//! read a second copy of the tables, which is ahead of what is durable. SUBTLE: were a write to
//! await in between, a caller that is dropped (its client hung up) would leave a journalled change
//! that the tables never took.
//!
//! Who attends and who leads is kept in memory only: no other process can have the file, and so it is
//! of one process and its tests.
//!
//! Where to read on: `plan` (what a commit changes), `outbox`, `queues` (the other plans), `tables`
//! (what is kept, and its indexes), `group` (who writes together), `journal` (the file), `desk`
//! (who attends), `store` and `streams` (the traits).

mod change;
mod desk;
mod error;
mod feed;
mod group;
mod journal;
mod outbox;
mod plan;
mod queues;
mod store;
mod streams;
mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use machine::Timestamp;
use tokio::sync::{broadcast, watch};

use self::change::Change;
use self::desk::Desk;
pub use self::error::OpenError;
use self::error::WriteError;
pub use self::feed::EmbeddedFeed;
use self::group::{Group, Member};
use self::journal::Journal;
use self::tables::Tables;
use crate::ports::{Clock, Role, StreamError, Term};

/// How long a commit is found again under its name: those decided less than this before the newest
/// are kept, up to [`MAX_COMMIT_IDS`]. Nobody repeats a commit for longer than minutes.
pub const COMMIT_IDS_KEPT_HOURS: i64 = 24;
/// The most names of commits kept.
pub const MAX_COMMIT_IDS: usize = 250_000;
/// How many callers' names for requests are kept within their time.
pub const MAX_CLAIMS: usize = 100_000;
/// How long a closed operation is kept, in days. An open one is never dropped.
pub const CLOSED_OPERATIONS_KEPT_DAYS: i64 = 90;
/// The most closed operations kept.
pub const MAX_CLOSED_OPERATIONS: usize = 500_000;
/// The most rows of one kind that one commit drops besides what it is for: more than it can add, so
/// that the tables shrink to their bounds, and few enough not to be felt.
pub const MAX_DROPPED_PER_COMMIT: usize = 16;
/// The longest payload of a message or a stream entry.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// The most entries of one stream; appending to a full one drops the oldest.
pub const MAX_STREAM_ENTRIES: usize = 1_000_000;
/// The longest name of a stream or of a consumer.
pub const MAX_NAME_BYTES: usize = 256;
/// The most rows that one durable write of a trim or a prune drops; longer ones take several.
pub const MAX_ROWS_PER_SWEEP: usize = 1_000;
/// How long a write waits for the file before its caller is told that the outcome is unknown.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most writes that are queued for the file and written to it at a time, and so the most in one
/// transaction; more wait without a place.
pub const MAX_WRITES_AT_ONCE: usize = 256;

/// The embedded store. A clone is another handle to the same tables; the file is closed with the
/// last one.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    tables: RwLock<Tables>,
    /// Shared with the plans that only a leader may carry out.
    desk: Arc<Mutex<Desk>>,
    /// Between the Game Masters over this store, and how many there were.
    letters: broadcast::Sender<feed::Letter>,
    feeds: AtomicU64,
    /// Whoever holds it writes; `None` in memory.
    writer: Mutex<Option<File>>,
    /// Whether writes go to a file, and so in groups.
    in_file: bool,
    group: Group,
    /// Ticks with every entry appended.
    appended: watch::Sender<u64>,
    /// Why nothing is answered any more.
    broken: OnceLock<String>,
    /// Whether the file refused the last write: what is read is true still, but the store is not
    /// ready.
    stalled: AtomicBool,
}

struct File {
    journal: Journal,
    /// The tables with what the group under way has changed so far: what its next plan reads.
    ahead: Tables,
}

impl Embedded {
    /// An empty store that is gone with its last handle.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::over(Tables::default(), None, clock)
    }

    /// Opens the store in a file, or begins a new one where there is none. Checks the whole file
    /// and reads it into memory; blocks meanwhile, and is meant for the start of a process.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (journal, tables) = Journal::open(path.as_ref())?;
        Ok(Self::over(tables, Some(journal), clock))
    }

    fn over(tables: Tables, journal: Option<Journal>, clock: Arc<dyn Clock>) -> Self {
        let file = journal.map(|journal| File { journal, ahead: tables.clone() });
        Self {
            inner: Arc::new(Inner {
                clock,
                tables: RwLock::new(tables),
                desk: Arc::default(),
                letters: broadcast::Sender::new(feed::MAX_WAITING),
                feeds: AtomicU64::new(0),
                in_file: file.is_some(),
                writer: Mutex::new(file),
                group: Group::new(),
                appended: watch::Sender::new(0),
                broken: OnceLock::new(),
                stalled: AtomicBool::new(false),
            }),
        }
    }

    /// A feed for one more Game Master over this store.
    pub fn feed(&self) -> EmbeddedFeed {
        let origin = self.inner.feeds.fetch_add(1, Ordering::Relaxed);
        EmbeddedFeed::new(origin, self.inner.letters.clone())
    }

    /// Saves any text as the offset of a consumer: how an operator moves one, and how tests make a
    /// malformed one.
    pub async fn save_offset_text(&self, consumer: &str, text: &str) -> Result<(), StreamError> {
        let (consumer, text) = (consumer.to_owned(), text.to_owned());
        self.change(move |_| queues::save_offset(&consumer, text)).await.map_err(StreamError::from)
    }

    /// Looks at the tables.
    fn look<T>(&self, look: impl FnOnce(&Tables) -> T) -> Result<T, WriteError> {
        self.inner.intact()?;
        let tables =
            self.inner.tables.read().map_err(|_| self.inner.give_up("a write panicked"))?;
        Ok(look(&tables))
    }

    /// Carries out a plan: all of its changes, durably, or none.
    async fn change<T, P>(&self, plan: P) -> Result<T, WriteError>
    where
        T: Send + 'static,
        P: FnOnce(&Tables) -> Result<Planned<T>, WriteError> + Send + 'static,
    {
        if self.inner.in_file {
            group::write(&self.inner, plan).await
        } else {
            self.inner.write(plan)
        }
    }

    /// The same within a term of the relay: `None`, and nothing happens, in another.
    async fn change_within<T, P>(&self, term: Term, plan: P) -> Result<Option<T>, WriteError>
    where
        T: Send + 'static,
        P: FnOnce(&Tables) -> Result<Planned<T>, WriteError> + Send + 'static,
    {
        let desk = Arc::clone(&self.inner.desk);
        // A plan is made by whoever writes: all of them come one after the other.
        self.change(move |tables| {
            let current = desk.lock().unwrap_or_else(PoisonError::into_inner);
            if current.term(Role::OutboxRelay) != term {
                return Ok(Planned::nothing(None));
            }
            let Planned { changes, answer } = plan(tables)?;
            Ok(Planned { changes, answer: Some(answer) })
        })
        .await
    }

    /// Repeats a plan that takes a bounded number of rows until it finds fewer; returns how many.
    async fn sweep<P>(&self, plan: P) -> Result<u64, WriteError>
    where
        P: Fn(&Tables, usize) -> Planned<usize> + Clone + Send + 'static,
    {
        let mut swept: u64 = 0;
        loop {
            let plan = plan.clone();
            let count = self.change(move |tables| Ok(plan(tables, MAX_ROWS_PER_SWEEP))).await?;
            swept = swept.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            if count < MAX_ROWS_PER_SWEEP {
                return Ok(swept);
            }
        }
    }
}

/// What a plan comes to.
struct Planned<T> {
    /// All of them, in this order, or none.
    changes: Vec<Change>,
    /// What the caller is told once they are durable.
    answer: T,
}

impl Planned<usize> {
    /// The answer is how many.
    fn all(changes: Vec<Change>) -> Self {
        let answer = changes.len();
        Self { changes, answer }
    }
}

impl<T> Planned<T> {
    fn nothing(answer: T) -> Self {
        Self { changes: vec![], answer }
    }
}

impl Inner {
    /// One write in memory.
    fn write<T>(
        &self,
        plan: impl FnOnce(&Tables) -> Result<Planned<T>, WriteError>,
    ) -> Result<T, WriteError> {
        let _writer = self.writer.lock().map_err(|_| self.give_up("a write panicked"))?;
        self.intact()?;
        let Planned { changes, answer } = {
            let tables = self.tables.read().map_err(|_| self.give_up("a write panicked"))?;
            plan(&tables)?
        };
        self.apply(changes)?;
        Ok(answer)
    }

    /// One transaction in the file. Answers what becomes of each member, or of all of them.
    fn write_group(
        &self,
        members: &mut [Box<dyn Member>],
    ) -> Result<Vec<Result<(), WriteError>>, WriteError> {
        let mut writer = self.writer.lock().map_err(|_| self.give_up("a write panicked"))?;
        self.intact()?;
        let Some(File { journal, ahead }) = writer.as_mut() else {
            return Err(WriteError::Refused("there is no file".into()));
        };
        let (mut rows, mut changes) = (vec![], vec![]);
        let mut fates = Vec::with_capacity(members.len());
        for member in members {
            let planned = member.plan(ahead).and_then(|planned| {
                let encoded = Journal::encode(&planned)?;
                Ok((planned, encoded))
            });
            fates.push(planned.map(|(planned, encoded)| {
                planned.iter().for_each(|change| ahead.apply(change.clone()));
                changes.extend(planned);
                rows.extend(encoded);
            }));
        }
        if !rows.is_empty() {
            let written = journal.append(&rows);
            self.stalled.store(written.is_err(), Ordering::Relaxed);
            written.or_else(|error| self.take_back(error, ahead))?;
        }
        self.apply(changes)?;
        Ok(fates)
    }

    /// INVARIANT: what is in memory is what is durable. Where it is in doubt what is, only reading
    /// the file again tells.
    fn take_back(&self, error: WriteError, ahead: &mut Tables) -> Result<(), WriteError> {
        if let WriteError::Unknown(problem) = &error {
            let _ = self.give_up(problem);
        } else {
            let tables = self.tables.read().map_err(|_| self.give_up("a write panicked"))?;
            *ahead = tables.clone();
        }
        Err(error)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        if changes.is_empty() {
            return Ok(());
        }
        let appends = changes.iter().any(Change::appends);
        let mut tables = self.tables.write().map_err(|_| self.give_up("a write panicked"))?;
        for change in changes {
            tables.apply(change);
        }
        drop(tables);
        if appends {
            self.appended.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intact(&self) -> Result<(), WriteError> {
        self.broken.get().map_or(Ok(()), |why| Err(WriteError::Refused(broken(why))))
    }

    fn ready(&self) -> Result<(), WriteError> {
        self.intact()?;
        if self.stalled.load(Ordering::Relaxed) {
            return Err(WriteError::Refused("the file refused the last write".into()));
        }
        Ok(())
    }

    /// Answers nothing from now on.
    fn give_up(&self, problem: &str) -> WriteError {
        let why = self.broken.get_or_init(|| problem.to_owned());
        self.appended.send_modify(|count| *count = count.wrapping_add(1));
        WriteError::Refused(broken(why))
    }
}

fn broken(why: &str) -> String {
    format!("the embedded store gave up and must be opened again: {why}")
}

/// Unix milliseconds; what lies before 1970 counts as 1970, since no stream id lies before it.
fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}
