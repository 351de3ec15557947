//! The server: what it keeps, whom it lets in, and what strikes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::{Runtime, Timestamp};
use net::{BoxedStream, Listener, Net};
use service::conformance::Rng;
use service::ports::{Clock, OperationRow, VersionStatus};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::commit::Answer;
use super::document::Asked;
use super::faults::{Conduct, Held, Refuses, Strike};
use super::locks::{Lock, Locks, TransactionId};
use super::refusal::Refusal;
use super::session::{self, Blows};
use super::tables::{Message, Tables};
use super::wire;

/// How many connections are heard out at all, to be told that there are too many.
const MAX_HEARD: usize = 1_000;
/// How many notifications may wait for one connection.
const MAX_LETTERS: usize = 10_000;
/// How many strikes may wait for a server that runs.
const MAX_STRIKES: usize = 1_000;

type Observer = Arc<dyn Fn(&Asked, Answer) + Send + Sync>;

/// A database: what stays when its server does not. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// SUBTLE: not a `watch`, which wakes those who wait by lot, and not by ours.
    pub(super) blow: Notify,
    struck: Notify,
    clock: Arc<dyn Clock>,
}

pub(super) struct State {
    pub(super) tables: Tables,
    pub(super) conduct: Conduct,
    pub(super) rng: Rng,
    pub(super) locks: Locks,
    pub(super) observer: Option<Observer>,
    pub(super) answers_to_lose: u32,
    pub(super) blows: Blows,
    transactions: TransactionId,
    connections: usize,
    connected: i32,
    /// How many crashes it recovers from.
    recovering: usize,
    strikes: VecDeque<Strike>,
    counts: BTreeMap<&'static str, u64>,
    /// The connections that listen, by their numbers.
    listeners: BTreeMap<i32, mpsc::Sender<Letter>>,
}

/// A notification, and who sent it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: i32,
    pub(super) text: String,
}

impl State {
    /// Sends notifications to all who listen, of those that are the same one; all or none.
    pub(super) fn deliver(&mut self, from: i32, letters: &[String]) -> Result<(), Refusal> {
        if self.listeners.values().any(|listener| listener.capacity() < letters.len()) {
            return Err(Refusal::new("54000", "too many notifications in the NOTIFY queue"));
        }
        let mut sent = BTreeSet::new();
        for text in letters.iter().filter(|text| sent.insert(text.as_str())) {
            for listener in self.listeners.values() {
                // One that is on its way out hears nothing more.
                let _ = listener.try_send(Letter { from, text: text.clone() });
            }
        }
        Ok(())
    }

    pub(super) fn begin(&mut self) -> TransactionId {
        self.transactions += 1;
        self.transactions
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes a connection one that listens.
    pub(super) fn listen(&self, number: i32) -> mpsc::Receiver<Letter> {
        let (letters, heard) = mpsc::channel(MAX_LETTERS);
        self.state().listeners.insert(number, letters);
        heard
    }

    fn strike_all(&self, blow: impl FnOnce(&mut Blows)) {
        blow(&mut self.state().blows);
        self.blow.notify_waiters();
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// A migrated database with nothing in it; what happens by lot is drawn from the seed, and the
    /// clock is the one of its machine.
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            tables: Tables::migrated(),
            conduct: Conduct::default(),
            rng: Rng::new(seed),
            locks: Locks::default(),
            observer: None,
            answers_to_lose: 0,
            blows: Blows::default(),
            transactions: 0,
            connections: 0,
            connected: 0,
            recovering: 0,
            strikes: VecDeque::new(),
            counts: BTreeMap::new(),
            listeners: BTreeMap::new(),
        };
        let shared =
            Shared { state: Mutex::new(state), blow: Notify::new(), struck: Notify::new(), clock };
        Self { shared: Arc::new(shared) }
    }

    /// Listens. To be run by [`Server::run`]; one server of a database at a time.
    pub async fn bind(&self, net: &dyn Net, address: SocketAddr) -> io::Result<Server> {
        Ok(Server { shared: Arc::clone(&self.shared), listener: net.bind(address).await? })
    }

    /// How it behaves from now on.
    pub fn conduct(&self, conduct: Conduct) {
        self.shared.state().conduct = conduct;
    }

    /// What happens to it now.
    pub fn strike(&self, strike: Strike) {
        let mut state = self.shared.state();
        if state.strikes.len() < MAX_STRIKES {
            state.strikes.push_back(strike);
        }
        drop(state);
        self.shared.struck.notify_one();
    }

    /// How often each fault has struck, by a name or by SQLSTATE.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.shared.state().counts.clone()
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Tells of every commit that came through, in order, with its answer; of members of batches
    /// that were rolled back it does not.
    pub fn observe(&self, observer: impl Fn(&Asked, Answer) + Send + Sync + 'static) {
        self.shared.state().observer = Some(Arc::new(observer));
    }

    /// The records, in the order of their keys: read past the server, as a disk would show them.
    pub fn records(&self) -> Vec<Arc<Runtime>> {
        let state = self.shared.state();
        state.tables.records().values().map(|row| Arc::clone(&row.runtime)).collect()
    }

    /// The operation log, in the order of its places.
    pub fn operations(&self) -> Vec<OperationRow> {
        let state = self.shared.state();
        let mut rows: Vec<OperationRow> = state.tables.operations().values().cloned().collect();
        rows.sort_by_key(|row| row.seq);
        rows
    }

    /// How a version stands, where it is registered.
    pub fn version(&self, version: &str) -> Option<VersionStatus> {
        self.shared.state().tables.versions().get(version).map(|row| row.status)
    }

    /// The outbox, in the order in which it was committed.
    pub fn messages(&self) -> Vec<Message> {
        self.shared.state().tables.outbox().values().cloned().collect()
    }
}

/// A server of a database. Dropped, it is gone as by a loss of power: what was not committed is
/// not.
pub struct Server {
    shared: Arc<Shared>,
    listener: Box<dyn Listener>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped, or cannot listen any more.
    pub async fn run(mut self) -> io::Result<()> {
        {
            let mut state = self.shared.state();
            state.strikes.clear();
            state.recovering = 0;
        }
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shared.struck.notified() => self.be_struck(&mut tasks),
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    if tasks.len() < MAX_HEARD {
                        tasks.spawn(connection(Arc::clone(&self.shared), stream));
                    }
                }
            }
        }
    }

    fn be_struck(&self, tasks: &mut JoinSet<()>) {
        loop {
            let mut state = self.shared.state();
            let Some(strike) = state.strikes.pop_front() else { return };
            match strike {
                Strike::Crash { down_ms } => {
                    state.count("crash");
                    state.recovering += 1;
                    drop(state);
                    self.shared.strike_all(|blows| blows.crashes += 1);
                    let shared = Arc::clone(&self.shared);
                    tasks.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(down_ms)).await;
                        let mut state = shared.state();
                        state.recovering = state.recovering.saturating_sub(1);
                    });
                }
                Strike::Terminate => {
                    state.count("terminate");
                    drop(state);
                    self.shared.strike_all(|blows| blows.terminations += 1);
                }
                Strike::LoseAnswers { count } => {
                    state.answers_to_lose = state.answers_to_lose.saturating_add(count);
                }
                Strike::Hold { what, for_ms } => {
                    drop(state);
                    let lock = match what {
                        Held::Record(game) => Lock::Record(game),
                        Held::Channel(channel) => Lock::Channel(channel),
                        Held::Tables => Lock::Tables,
                    };
                    let shared = Arc::clone(&self.shared);
                    let length = Duration::from_millis(for_ms);
                    tasks.spawn(async move { session::hold(&shared, lock, length).await });
                }
            }
        }
    }
}

/// A connection that counts, as long as it lasts.
struct Admitted<'a>(&'a Shared, i32);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.connections -= 1;
        state.listeners.remove(&self.1);
    }
}

async fn connection(shared: Arc<Shared>, stream: BoxedStream) {
    let (refuses, number) = {
        let mut state = shared.state();
        let full = state.connections >= state.conduct.max_connections;
        let refuses = if state.recovering > 0 {
            Some(Refuses::StartingUp)
        } else {
            state.conduct.refuses.or(full.then_some(Refuses::TooManyConnections))
        };
        match refuses {
            Some(Refuses::StartingUp) => state.count("57P03"),
            Some(Refuses::TooManyConnections) => state.count("53300"),
            None => {}
        }
        state.connections += 1;
        state.connected = state.connected.wrapping_add(1);
        (refuses, state.connected)
    };
    let _admitted = Admitted(&shared, number);
    // What ends a connection is no news to the server.
    let _ = wire::serve(&shared, stream, refuses, number).await;
}
