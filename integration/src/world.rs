//! A whole world for a test: Game Master on a real database and Redis, its neighbours, every one of
//! them a process of its own that can be killed, hung and started again.
//!
//! ```no_run
//! # async fn scenario() {
//! use integration::world::{GamePlan, Setup, World};
//!
//! let world = World::start(Setup::new()).await;
//! world.play(&GamePlan::new("aurora").every(1)).await;
//! world.gm().until_turn("aurora", 3).await;
//! world.end().await;
//! # }
//! ```
//!
//! [`World::end`] holds what must hold of every scenario (see [`World::audit`]) and ends all
//! processes in order. A world that is dropped because a test panics tells what every process
//! wrote.

mod ask;
mod audit;
mod game_master;
mod ledger;
mod neighbours;
mod parts;
mod processes;
mod rest;
mod setup;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex as StdMutex;

use serde_json::{Value, json};
use service::ports::{AppendAt, Streams as _};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub use self::ask::{Answer, Ask};
pub use self::game_master::{GameMaster, Runtime, image_ref};
pub use self::neighbours::{Engine, GamePlan, Lobby, Notification, Player, Rtm};
pub use self::setup::{Part, Route, Setup};
use crate::harness::{PortBlock, Process};
use crate::redis_server::{self, RedisServer};
use crate::servers::PostgresServer;

/// Lines of a process that a failed test is told.
const TOLD_LINES: usize = 400;

/// The database server.
enum Server {
    Shared(&'static PostgresServer),
    Own(Box<PostgresServer>),
}

/// A database of this world.
struct Database {
    name: String,
    url: String,
}

/// See the module.
pub struct World {
    setup: Setup,
    ports: PortBlock,
    dir: TempDir,
    server: Server,
    database: Database,
    postgres_address: Option<SocketAddr>,
    redis: Option<Mutex<RedisServer>>,
    redis_url: String,
    redis_address: Option<SocketAddr>,
    redis_prefix: String,
    ways: StdMutex<BTreeMap<(Part, Part), SocketAddr>>,
    processes: Mutex<BTreeMap<Part, Process>>,
    /// What those wrote that are gone.
    past: StdMutex<Vec<(Part, Vec<String>)>>,
    is_over: bool,
}

impl World {
    /// Starts all of it, and returns once every part answers and the versions are registered.
    ///
    /// # Panics
    /// Where a part does not come up.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn start(setup: Setup) -> Self {
        let own = setup.own_servers;
        let server = async {
            match own {
                Some((durability, _)) => {
                    Server::Own(Box::new(PostgresServer::start(durability).await))
                }
                None => Server::Shared(PostgresServer::shared().await),
            }
        };
        let redis = async {
            match own {
                Some((_, durability)) => {
                    let server = RedisServer::start(durability).await;
                    (server.url(), Some(server))
                }
                None => redis_server::any().await,
            }
        };
        let (server, (redis_url, redis)) = tokio::join!(server, redis);
        let (name, url) = server.get().database().await;
        let mut world = Self {
            ports: PortBlock::take(),
            dir: TempDir::new().expect("a directory"),
            postgres_address: address_in(&url),
            server,
            database: Database { name, url },
            redis_address: address_in(&redis_url),
            redis_url,
            redis: redis.map(Mutex::new),
            redis_prefix: redis_server::own_prefix(),
            ways: StdMutex::default(),
            processes: Mutex::default(),
            past: StdMutex::default(),
            is_over: false,
            setup,
        };
        world.bring_up().await;
        world
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    async fn bring_up(&mut self) {
        for name in ["engines", "other-engines"] {
            std::fs::create_dir(self.dir.path().join(name)).expect("a directory");
        }
        let parts = self.parts();
        for part in &parts {
            self.spawn(*part).await;
        }
        for part in parts {
            self.until_ready(part).await;
        }
        for version in self.setup.versions.clone() {
            self.gm().add_version(&version).await.done();
        }
    }

    /// The processes that every world has.
    fn parts(&self) -> Vec<Part> {
        let masters = (1..=self.setup.game_masters).map(Part::GameMaster);
        let others = [Part::Lobby, Part::Rtm, Part::Gateway, Part::Notification];
        masters.chain(others).collect()
    }

    /// The database server.
    pub fn postgres(&self) -> &PostgresServer {
        self.server.get()
    }

    /// The database: its name, and the URL of the service's role, with nothing in between.
    pub fn database(&self) -> (&str, &str) {
        (&self.database.name, &self.database.url)
    }

    /// The Redis server.
    ///
    /// # Panics
    /// Where somebody else runs it.
    #[expect(clippy::expect_used, reason = "a mistake in a test")]
    pub async fn redis(&self) -> MutexGuard<'_, RedisServer> {
        self.redis.as_ref().expect("a server of our own").lock().await
    }

    /// What the names of all streams begin with.
    pub fn redis_prefix(&self) -> &str {
        &self.redis_prefix
    }

    /// The first Game Master.
    pub fn gm(&self) -> GameMaster {
        self.gm_at(1)
    }

    /// The Game Master of this number.
    pub fn gm_at(&self, number: u8) -> GameMaster {
        let part = Part::GameMaster(number);
        let ask = |who: &str, token: &str| {
            Ask::new(format!("{part} ({who})"), self.address(part), Some(token.to_owned()))
        };
        GameMaster {
            admin: ask("admin", parts::ADMIN_TOKEN),
            lobby: ask("lobby", parts::LOBBY_TOKEN),
        }
    }

    /// Lobby.
    pub fn lobby(&self) -> Lobby {
        Lobby(self.ask(Part::Lobby))
    }

    /// Runtime Manager.
    pub fn rtm(&self) -> Rtm {
        Rtm(self.ask(Part::Rtm))
    }

    /// The notification service.
    pub fn notification(&self) -> Notification {
        Notification(self.ask(Part::Notification))
    }

    /// The gateway itself, for `/_log` and `/_misbehave`.
    pub fn gateway(&self) -> Ask {
        self.ask(Part::Gateway)
    }

    /// One of the players.
    pub fn player(&self, user: &str) -> Player {
        let token = Some(parts::player_token(user));
        Player(Ask::new(user, self.address(Part::Gateway), token))
    }

    fn ask(&self, part: Part) -> Ask {
        Ask::new(part.to_string(), self.address(part), None)
    }

    /// The engine that Runtime Manager has for a game; waits until it is up.
    #[expect(clippy::expect_used, reason = "Runtime Manager's answers are well-formed")]
    pub async fn engine(&self, game: &str) -> Engine {
        let seen = self.rtm().until(game, "an engine", |seen| seen["is_up"] == true).await;
        let port = seen["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.expect("an engine that is up has a port");
        let address = SocketAddr::new(self.ports.first().ip(), port);
        let endpoint = seen["endpoint"].as_str().expect("an endpoint").to_owned();
        Engine { ask: Ask::new(format!("engine of {game}"), address, None), endpoint }
    }

    /// Where the engine that Runtime Manager started for a game keeps it.
    pub fn engine_state_file(&self, game: &str) -> PathBuf {
        self.dir.path().join("engines").join(format!("{game}.json"))
    }

    /// An engine that Runtime Manager knows nothing of, the `n`th of a few in one process.
    ///
    /// # Panics
    /// Where there are not so many.
    pub async fn other_engine(&self, n: u16) -> Engine {
        let place = parts::OTHER_ENGINES.start() + n;
        assert!(parts::OTHER_ENGINES.contains(&place), "there are not so many");
        if !self.processes.lock().await.contains_key(&Part::Engines) {
            self.start_part(Part::Engines).await;
        }
        let address = self.port(place);
        let ask = Ask::new(format!("other engine {n}"), address, None);
        Engine { ask, endpoint: format!("http://{address}") }
    }

    /// Has Runtime Manager start an engine for a game that Lobby knows nothing of, by asking for it
    /// as Lobby does.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn start_engine(&self, game: &str, version: &str) -> Engine {
        let job = json!({
            "job_id": format!("job-of-{game}"),
            "game_id": game,
            "image_ref": image_ref(version),
            "requested_at_ms": 0,
        });
        let payload = job.to_string();
        let streams = self.streams();
        let appended = streams.append("runtime:start_jobs", AppendAt::Next, payload.as_bytes());
        appended.await.expect("Redis takes it");
        self.engine(game).await
    }

    /// Creates a game at Lobby, starts it, and waits until Game Master runs it.
    pub async fn play(&self, plan: &GamePlan) -> Runtime {
        self.lobby().create_game(plan).await;
        self.lobby().start(&plan.id).await.done();
        self.lobby().until_status(&plan.id, "running").await;
        self.gm().until(&plan.id, "registered", |runtime| runtime.status() != "starting").await
    }

    /// What all processes wrote so far, those that are gone included.
    pub async fn output(&self) -> Vec<(Part, Vec<String>)> {
        let past = self.past.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let processes = self.processes.lock().await;
        let present = processes.iter().map(|(part, process)| (*part, process.output()));
        past.into_iter().chain(present).collect()
    }

    /// Holds what must hold of every scenario, and ends all processes in order.
    pub async fn end(mut self) {
        self.audit().await;
        // Whoever asks before whoever answers.
        let order = [Part::Gateway, Part::Lobby, Part::Notification]
            .into_iter()
            .chain((1..=self.setup.game_masters).map(Part::GameMaster))
            .chain([Part::Rtm, Part::Engines]);
        for part in order {
            if self.processes.lock().await.contains_key(&part) {
                self.stop(part).await;
            }
        }
        self.is_over = true;
    }

    fn tell(&self) {
        let past = self.past.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let present = self.processes.try_lock();
        let present = present.iter().flat_map(|processes| processes.iter());
        let present = present.map(|(part, process)| (*part, process.output()));
        for (part, lines) in past.into_iter().chain(present) {
            eprintln!("\n---- {part}, the last of {} lines", lines.len());
            for line in lines.iter().rev().take(TOLD_LINES).rev() {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        } else {
            assert!(self.is_over, "a world goes without `end`, and so without its audit");
        }
    }
}

impl Server {
    fn get(&self) -> &PostgresServer {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

/// The address in a URL, where there is one and no name.
fn address_in(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    host.rsplit('@').next()?.parse().ok()
}

/// A JSON value that is an object without members: behave.
fn nothing() -> Value {
    json!({})
}
