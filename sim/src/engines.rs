//! The engines: one host with many ports, where Runtime Manager's launcher starts and ends them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use net::{Net, ServerLimits};
use peers::engine::store::MemoryDisk;
use peers::engine::{EngineOptions, EngineServer, Misbehaviour, Operation, Seen, Watcher};
use peers::rtm::launcher::{
    EngineLauncher, EngineSpec, Exit, ExitKind, LaunchError, RunningEngine,
};
use serde::Deserialize;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::board::lock;
use crate::plan::GamePlan;

/// Engine versions from here on ignore the turn that is expected of them.
pub const FIRST_UNGUARDED_MAJOR: &str = "2.";

/// All engines there are or were, with what outlives their processes.
pub struct Engines {
    games: BTreeMap<String, Kept>,
    orders: Mutex<VecDeque<Order>>,
    ordered: Notify,
    is_unguarded: bool,
    commands: Mutex<Commands>,
    hanging: Mutex<Vec<Hanging>>,
    hung: AtomicU64,
}

/// A call that an engine will not answer, or whose answer takes its time to arrive.
struct Hanging {
    game: String,
    /// When somebody first looked, in simulated milliseconds.
    since_ms: Option<i64>,
    /// Alive for as long as the caller waits.
    waiting: Weak<()>,
}

/// What engines were told to do by players.
#[derive(Default)]
struct Commands {
    /// The traces they belong to: one for each call of a player.
    seen: BTreeSet<String>,
    /// Games whose engine was told something twice, since somebody last asked.
    repeated: Vec<String>,
}

/// What is kept of one game.
struct Kept {
    plan: GamePlan,
    seed: u64,
    disk: MemoryDisk,
    misbehaviour: Misbehaviour,
}

/// To the engines' host: start one.
struct Order {
    game: String,
    listen: SocketAddr,
    options: EngineOptions,
    started: oneshot::Sender<Result<Started, String>>,
}

/// An engine that was started, as its launcher holds it. Dropping it ends it.
struct Started {
    stop: CancellationToken,
    kill: CancellationToken,
    /// Closed when the engine has ended, or its host.
    ended: watch::Receiver<()>,
}

/// What an engine's file says of its turns.
#[derive(Debug, Deserialize)]
struct Saved {
    log: Vec<Turn>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    turn: u32,
}

impl Engines {
    /// Engines for these games, none of them started.
    ///
    /// `is_unguarded` lets every engine ignore the turn that is expected of it, whatever it says.
    pub fn new(games: &[GamePlan], seed: u64, is_unguarded: bool) -> Arc<Self> {
        let kept = games.iter().zip(1..).map(|(plan, number)| {
            let kept = Kept {
                plan: plan.clone(),
                seed: seed.wrapping_add(number),
                disk: MemoryDisk::default(),
                misbehaviour: Misbehaviour::default(),
            };
            (plan.id.clone(), kept)
        });
        Arc::new(Self {
            games: kept.collect(),
            orders: Mutex::default(),
            ordered: Notify::new(),
            is_unguarded,
            commands: Mutex::default(),
            hanging: Mutex::default(),
            hung: AtomicU64::new(0),
        })
    }

    /// The lever of a game's engine.
    pub fn misbehaviour(&self, game: &str) -> Option<&Misbehaviour> {
        self.games.get(game).map(|kept| &kept.misbehaviour)
    }

    /// Every engine behaves from now on.
    pub fn all_behave(&self) {
        self.games.values().for_each(|kept| kept.misbehaviour.clear());
    }

    /// A game's file is lost.
    pub fn erase(&self, game: &str) {
        if let Some(kept) = self.games.get(game) {
            kept.disk.erase();
        }
    }

    /// The turns that a game's engine has generated; `None` where there is no file.
    pub fn turns(&self, game: &str) -> Option<Vec<u32>> {
        let bytes = self.games.get(game)?.disk.contents()?;
        let saved: Saved = serde_json::from_slice(&bytes).ok()?;
        Some(saved.log.into_iter().map(|generated| generated.turn).collect())
    }

    /// The games whose engines were told to do the same thing twice by one call of a player, since
    /// the last time that was asked; and how many of such calls there were.
    pub fn told_twice(&self) -> (Vec<String>, usize) {
        let mut commands = lock(&self.commands);
        (std::mem::take(&mut commands.repeated), commands.seen.len())
    }

    /// The games whose engines have a caller who has waited for longer than that for an answer that
    /// never comes, or comes by and by; looked at now.
    pub fn waited_for(&self, now_ms: i64, most_ms: i64) -> Vec<String> {
        let mut hanging = lock(&self.hanging);
        hanging.retain(|call| call.waiting.strong_count() > 0);
        let waits_long =
            |call: &mut Hanging| now_ms - *call.since_ms.get_or_insert(now_ms) > most_ms;
        let long =
            hanging.iter_mut().filter_map(|call| waits_long(call).then(|| call.game.clone()));
        long.collect()
    }

    /// The games whose engine somebody waits for that does not answer.
    pub fn still_waited_for(&self) -> Vec<String> {
        let hanging = lock(&self.hanging);
        let waited_for = hanging.iter().filter(|call| call.waiting.strong_count() > 0);
        waited_for.map(|call| call.game.clone()).collect()
    }

    /// How many calls engines did not answer.
    pub fn hung(&self) -> u64 {
        self.hung.load(Ordering::Relaxed)
    }

    fn sees(&self, game: &str, seen: &Seen) {
        match seen {
            Seen::Called { operation: Operation::Command | Operation::Order, traceparent } => {
                let trace = traceparent.as_deref().and_then(|parent| parent.split('-').nth(1));
                let Some(trace) = trace else { return };
                let mut commands = lock(&self.commands);
                if !commands.seen.insert(trace.to_owned()) {
                    commands.repeated.push(game.to_owned());
                }
            }
            Seen::Called { .. } => {}
            Seen::Hangs { operation: _, waiting } => {
                self.hung.fetch_add(1, Ordering::Relaxed);
                let (game, waiting) = (game.to_owned(), waiting.clone());
                lock(&self.hanging).push(Hanging { game, since_ms: None, waiting });
            }
        }
    }

    /// Whether the engine of a game was told to look at the turn that is expected of it.
    pub fn is_guarded(&self, game: &str) -> bool {
        let version = self.games.get(game).map(|kept| kept.plan.version.as_str());
        !self.is_unguarded
            && version.is_some_and(|version| !version.starts_with(FIRST_UNGUARDED_MAJOR))
    }

    /// The host: starts what is ordered until it crashes.
    pub async fn run(self: Arc<Self>, net: Arc<dyn Net>) {
        loop {
            let ordered = self.ordered.notified();
            tokio::pin!(ordered);
            ordered.as_mut().enable();
            // Not held while the engine starts.
            let order = lock(&self.orders).pop_front();
            match order {
                Some(order) => start(&net, order).await,
                None => ordered.await,
            }
        }
    }
}

async fn start(net: &Arc<dyn Net>, order: Order) {
    let Order { game, listen, options, started } = order;
    if started.is_closed() {
        return;
    }
    let server = match EngineServer::bind(&**net, listen, options).await {
        Ok(server) => server,
        Err(error) => {
            let _ = started.send(Err(format!("{game}: {error}")));
            return;
        }
    };
    let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
    let (alive, ended) = watch::channel(());
    let (stopping, killing) = (stop.clone(), kill.clone());
    tokio::spawn(async move {
        let _alive = alive;
        let serving = server.serve(stopping);
        killing.run_until_cancelled(serving).await;
    });
    // What nobody takes ends at once.
    let _ = started.send(Ok(Started { stop, kill, ended }));
}

/// Runtime Manager's way to the engines' host.
pub struct SimLauncher {
    /// The engines.
    pub engines: Arc<Engines>,
    /// The bounds of the engines' servers.
    pub limits: ServerLimits,
}

#[async_trait]
impl EngineLauncher for SimLauncher {
    async fn start(&self, spec: EngineSpec) -> Result<Box<dyn RunningEngine>, LaunchError> {
        let unknown = || LaunchError::Config(format!("{} is in no plan", spec.game_id));
        let kept = self.engines.games.get(&spec.game_id).ok_or_else(unknown)?;
        if spec.is_fresh {
            kept.disk.erase();
        }
        let mut options = EngineOptions::default();
        options.game.seed = kept.seed;
        options.game.turn_limit = kept.plan.turn_limit;
        options.turn_latency = std::time::Duration::from_millis(kept.plan.turn_ms);
        options.honours_expected_turn = self.engines.is_guarded(&spec.game_id);
        options.server = self.limits.clone();
        options.memory_disk = Some(kept.disk.clone());
        options.misbehaviour = kept.misbehaviour.clone();
        let (engines, game) = (Arc::clone(&self.engines), spec.game_id.clone());
        options.watcher = Watcher::new(Arc::new(move |seen| engines.sees(&game, seen)));
        let (started, answer) = oneshot::channel();
        let order = Order { game: spec.game_id, listen: spec.listen, options, started };
        lock(&self.engines.orders).push_back(order);
        self.engines.ordered.notify_one();
        match answer.await {
            Ok(Ok(started)) => Ok(Box::new(SimEngine(started))),
            Ok(Err(why)) => Err(LaunchError::Start(why)),
            Err(_) => Err(LaunchError::Start("the engines' host went down".into())),
        }
    }

    fn forget(&self, _game_id: &str) {
        // The file stays: the oracle compares it with the record to the end.
    }
}

struct SimEngine(Started);

#[async_trait]
impl RunningEngine for SimEngine {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn exited(&mut self) -> Exit {
        while self.0.ended.changed().await.is_ok() {}
        Exit { kind: ExitKind::Exited, code: None, signal: None }
    }

    async fn stop(&mut self) {
        self.0.stop.cancel();
        self.exited().await;
    }

    async fn kill(&mut self) {
        self.0.kill.cancel();
        self.exited().await;
    }
}

/// SUBTLE: also where it is dropped on its way to a Runtime Manager that ends in that moment: an engine
/// that nobody holds would keep its port for ever.
impl Drop for Started {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}
