//! Everything that takes part, each in a process of its own, and how it is connected.
//!
//! ```text
//!  players ─▶ gateway ─┐                 ┌─▶ proxy ─▶ PostgreSQL (fsync)
//!                      ├─▶ front ─▶ gm-n ┼─▶ proxy ─▶ Redis (everysec)
//!              Lobby ──┘                 └─▶ proxy ─▶ engines, many in a process
//!  Runtime Manager ─▶ an engine process for each guest
//! ```
//!
//! Each Game Master has proxies of its own, so that one can be cut off while the others go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use peers::lobby::game::{Container, Game, LobbyState, Member, MemberStatus, Phase};
use peers::lobby::view::RuntimeView;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::part::{Part, Recipe};
use super::{Options, SoakError};
use crate::harness::{Client, PortBlock, neighbour_program, program, until};
use crate::proxy::FaultProxy;
use crate::redis_server::{Durability as Appending, RedisServer};
use crate::servers::{Durability, PostgresServer};

use super::front::Front;

/// Who plays in every game, by which race, under which token at the gateway.
pub(super) const PLAYERS: [(&str, &str, &str); 2] =
    [("ada", "Andorians", "token-of-ada"), ("bob", "Betans", "token-of-bob")];
/// The version that every engine is.
pub(super) const VERSION: &str = "1.0.0";
/// When the turns of guests are due: each second.
pub(super) const EACH_SECOND: &str = "* * * * * *";
/// How many engines are in one process, and so are killed at a time.
const ENGINES_IN_A_PROCESS: usize = 50;
/// One of so many games is reached through a proxy.
const LINKED: usize = 4;
/// The turn at which a guest is over.
pub(super) const GUEST_TURNS: u32 = 12;
/// Games that are registered at a time.
const REGISTRATIONS: usize = 8;

/// A game that is played all the time.
pub(super) struct Table {
    pub(super) id: String,
    /// When its turns are due.
    schedule: String,
    /// The engine itself.
    pub(super) engine: SocketAddr,
    /// Where Game Master is told that it is.
    endpoint: SocketAddr,
}

/// A Game Master, and what is between it and its servers.
pub(super) struct Master {
    pub(super) part: Mutex<Part>,
    pub(super) address: SocketAddr,
    pub(super) postgres: FaultProxy,
    pub(super) redis: FaultProxy,
}

/// See the module.
pub(super) struct Stage {
    pub(super) postgres: PostgresServer,
    pub(super) database: String,
    pub(super) redis: Mutex<RedisServer>,
    pub(super) redis_url: String,
    pub(super) masters: Vec<Master>,
    pub(super) engines: Vec<Mutex<Part>>,
    pub(super) engine_links: Vec<FaultProxy>,
    pub(super) lobby: Mutex<Part>,
    pub(super) rtm: Mutex<Part>,
    pub(super) notification: Mutex<Part>,
    pub(super) gateway: Mutex<Part>,
    pub(super) tables: Vec<Table>,
    pub(super) gateway_address: SocketAddr,
    pub(super) lobby_address: SocketAddr,
    /// Where Runtime Manager's engines keep their games.
    pub(super) guests: PathBuf,
    front: Front,
    _ports: Vec<PortBlock>,
}

/// Addresses of one block, one after the other.
struct Addresses {
    next: SocketAddr,
}

impl Addresses {
    fn of(block: &PortBlock) -> Self {
        Self { next: block.first() }
    }

    fn take(&mut self) -> SocketAddr {
        let taken = self.next;
        self.next.set_port(taken.port() + 1);
        taken
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

impl Stage {
    /// Starts everything, and registers the games.
    pub(super) async fn start(options: &Options) -> Result<Self, SoakError> {
        let directory = &options.directory;
        let states = directory.join("states");
        for folder in ["", "engines", "guests"] {
            std::fs::create_dir_all(states.join(folder))?;
        }
        let postgres = PostgresServer::start(Durability::Full).await;
        let (database, postgres_url) = postgres.database().await;
        let postgres_address = address_in(&postgres_url)?;
        let redis = RedisServer::start(Appending::EverySecond).await;
        let redis_address = redis.address();
        let block = PortBlock::take();
        let mut addresses = Addresses::of(&block);
        let guest_block = PortBlock::take();
        let mut ports = vec![block, guest_block];

        let lobby_address = addresses.take();
        let rtm_address = addresses.take();
        let gateway_address = addresses.take();
        let notification_address = addresses.take();
        let mut masters = vec![];
        for number in 1..=options.instances {
            let address = addresses.take();
            let links = (FaultProxy::start(postgres_address), FaultProxy::start(redis_address));
            let variables = vec![
                (
                    "GAMEMASTER_POSTGRES_URL",
                    postgres_url
                        .replace(&postgres_address.to_string(), &links.0.address().to_string()),
                ),
                ("GAMEMASTER_REDIS_URL", format!("redis://{}", links.1.address())),
            ];
            let recipe = master(number, address, (lobby_address, rtm_address), variables);
            masters.push(Master {
                part: Mutex::new(Part::new(recipe, directory)),
                address,
                postgres: links.0,
                redis: links.1,
            });
        }
        let front = Front::start(masters.iter().map(|master| master.address).collect()).await?;

        let mut engines = vec![];
        let mut engine_links = vec![];
        let mut tables: Vec<Table> = vec![];
        while tables.len() < options.games {
            let block = PortBlock::take();
            let mut addresses = Addresses::of(&block);
            let many = ENGINES_IN_A_PROCESS.min(options.games - tables.len());
            let first = addresses.next.port();
            for _ in 0..many {
                let engine = addresses.take();
                let mut endpoint = engine;
                if tables.len().is_multiple_of(LINKED) {
                    let link = FaultProxy::start(engine);
                    endpoint = link.address();
                    engine_links.push(link);
                }
                let number = tables.len();
                let (every, offset) = (options.turn_every, number % options.turn_every);
                // Apart from each other, so that the turns of all are spread evenly.
                let schedule = format!("{offset}-59/{every} * * * * *");
                tables.push(Table { id: format!("g{number}"), schedule, engine, endpoint });
            }
            ports.push(block);
            let last = addresses.next.port() - 1;
            let number = engines.len() + 1;
            let recipe = Recipe {
                name: format!("engines-{number}"),
                program: neighbour_program(),
                args: words(&format!(
                    "engine --ports {first}..{last} --state-dir {} --seed {} --planets 6 \
                     --turn-limit 10000 --kept-turns 16 --turn-latency-ms {}",
                    states.join("engines").display(),
                    options.seed.wrapping_add(number as u64 * 1000),
                    options.turn_latency.as_millis(),
                )),
                variables: vec![],
            };
            engines.push(Mutex::new(Part::new(recipe, directory)));
        }

        let gm = url(front.address());
        let redis_url = redis.url();
        let neighbour = |name: &str, args: String, variables| {
            let program = neighbour_program();
            let args = words(&format!("--log info {name} {args}"));
            let recipe = Recipe { name: name.to_owned(), program, args, variables };
            Mutex::new(Part::new(recipe, directory))
        };
        let lobby_state = states.join("lobby.json");
        std::fs::write(&lobby_state, serde_json::to_vec(&seated(&tables))?)?;
        let lobby = neighbour(
            "lobby",
            format!(
                "--listen {lobby_address} --state-file {} --redis-url {redis_url} --gm-url {gm} \
                 --rtm-url {} --call-timeout-ms 4000 --resume-ms 500 --job-result-timeout-ms 4000 \
                 --redis-retry-ms 500",
                lobby_state.display(),
                url(rtm_address),
            ),
            vec![],
        );
        let guest_ports = ports.get(1).map_or(0, |block| block.first().port());
        let guests = states.join("guests");
        let rtm = neighbour(
            "rtm",
            format!(
                "--listen {rtm_address} --state-file {} --redis-url {redis_url} \
                 --redis-retry-ms 500 --engine-state-dir {} --engine-ports {guest_ports}..{} \
                 --keep-finished-state --planets 6 --turn-limit {GUEST_TURNS} --probe-ms 500 \
                 --restart-delay-ms 200",
                states.join("rtm.json").display(),
                guests.display(),
                guest_ports + 200,
            ),
            vec![],
        );
        // In memory: what it forgets with its process it reads again, and knows by the key.
        let notification = neighbour(
            "notification",
            format!("--listen {notification_address} --redis-url {redis_url} --redis-retry-ms 500"),
            vec![],
        );
        let players: Vec<String> =
            PLAYERS.iter().map(|(user, _, token)| format!("{user}={token}")).collect();
        let gateway = neighbour(
            "gateway",
            format!("--listen {gateway_address} --gm-url {gm} --call-timeout-ms 4000"),
            vec![("NEIGHBOUR_PLAYERS", players.join(","))],
        );
        let stage = Self {
            postgres,
            database,
            redis: Mutex::new(redis),
            redis_url,
            masters,
            engines,
            engine_links,
            lobby,
            rtm,
            notification,
            gateway,
            tables,
            gateway_address,
            lobby_address,
            guests,
            front,
            _ports: ports,
        };
        for part in stage.parts() {
            part.lock().await.start()?;
        }
        stage.is_ready().await;
        stage.register().await?;
        Ok(stage)
    }

    /// Every process that is a [`Part`].
    pub(super) fn parts(&self) -> impl Iterator<Item = &Mutex<Part>> {
        let masters = self.masters.iter().map(|master| &master.part);
        let neighbours = [&self.lobby, &self.rtm, &self.notification, &self.gateway];
        self.engines.iter().chain(masters).chain(neighbours)
    }

    /// One address for all Game Masters.
    pub(super) fn front(&self) -> SocketAddr {
        self.front.address()
    }

    /// Ends every fault of a connection.
    pub(super) fn calm(&self) {
        for master in &self.masters {
            master.postgres.calm();
            master.redis.calm();
        }
        for link in &self.engine_links {
            link.calm();
        }
    }

    async fn is_ready(&self) {
        for master in &self.masters {
            let client = Client::new(master.address);
            until("Game Master to be ready", || client.get("/readyz")).await;
        }
        for table in &self.tables {
            let client = Client::new(table.engine);
            until("an engine to answer", || client.get("/healthz")).await;
        }
        for address in [self.lobby_address, self.gateway_address] {
            let client = Client::new(address);
            until("a neighbour to answer", || client.get("/healthz")).await;
        }
    }

    async fn register(&self) -> Result<(), SoakError> {
        let gm = Client::new(self.front());
        let version =
            json!({ "version": VERSION, "image_ref": "galaxy/engine:1.0.0", "options": {} });
        created(&gm, "/api/v1/internal/engine-versions", &version).await?;
        let queue = self.tables.iter().map(|table| (table.id.clone(), registration(table)));
        let queue: Vec<(String, serde_json::Value)> = queue.collect();
        let queue = Arc::new(std::sync::Mutex::new(queue));
        let mut tasks = JoinSet::new();
        for _ in 0..REGISTRATIONS {
            let (gm, queue) = (gm.clone(), Arc::clone(&queue));
            tasks.spawn(async move {
                let next = || queue.lock().ok().and_then(|mut queue| queue.pop());
                while let Some((id, registration)) = next() {
                    let path = format!("/api/v1/internal/games/{id}/register-runtime");
                    created(&gm, &path, &registration).await?;
                }
                Ok::<_, SoakError>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

fn registration(table: &Table) -> serde_json::Value {
    let members: Vec<_> = PLAYERS
        .iter()
        .map(|(user, race, _)| json!({ "user_id": user, "race_name": race }))
        .collect();
    json!({
        "engine_endpoint": url(table.endpoint),
        "target_engine_version": VERSION,
        "turn_schedule": table.schedule,
        "members": members,
    })
}

async fn created(gm: &Client, path: &str, body: &serde_json::Value) -> Result<(), SoakError> {
    let answer = gm.call(Method::POST, path, &[], Some(body)).await;
    match answer {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((status, body)) => Err(SoakError::Setup(format!("{path}: {status} {body}"))),
        Err(error) => Err(SoakError::Setup(format!("{path}: {error}"))),
    }
}

fn address_in(url: &str) -> Result<SocketAddr, SoakError> {
    let rest = url.split_once('@').map_or(url, |(_, rest)| rest);
    let address = rest.split('/').next().unwrap_or(rest);
    address.parse().map_err(|_| SoakError::Setup("the server has no address".to_owned()))
}

fn master(
    number: usize,
    address: SocketAddr,
    (lobby, rtm): (SocketAddr, SocketAddr),
    variables: Vec<(&'static str, String)>,
) -> Recipe {
    // The leases are these plus 15 seconds: a process that is stopped for long outlives them.
    let args = format!(
        "serve --listen {address} --instance gm-{number} --lobby-url {} --rtm-url {} \
         --engine-networks 127.0.0.0/8 --resolution seconds --turn-timeout-seconds 5 \
         --admin-timeout-seconds 5 --player-timeout-seconds 3 --lobby-timeout-seconds 3 \
         --rtm-timeout-seconds 5 --connect-timeout-ms 1000",
        url(lobby),
        url(rtm),
    );
    Recipe { name: format!("gm-{number}"), program: program(), args: words(&args), variables }
}

/// Lobby as it stands once these games run: how they came to be is not what is tried here, the
/// guests do that.
fn seated(tables: &[Table]) -> LobbyState {
    let members: Vec<Member> = PLAYERS
        .iter()
        .map(|(user, race, _)| Member {
            user_id: (*user).to_owned(),
            race_name: (*race).to_owned(),
            status: MemberStatus::Active,
        })
        .collect();
    let game = |table: &Table| Game {
        game_id: table.id.clone(),
        engine_version: VERSION.to_owned(),
        turn_schedule: table.schedule.clone(),
        members: members.clone(),
        phase: Phase::Running {
            container: Container {
                job_id: format!("job-of-{}", table.id),
                container_id: format!("container-of-{}", table.id),
                engine_endpoint: url(table.endpoint),
            },
        },
        pauses: 0,
        untold_pause: None,
        view: RuntimeView::default(),
        created_at_ms: 0,
    };
    let games = tables.iter().map(|table| (table.id.clone(), game(table))).collect();
    LobbyState { games, ..LobbyState::default() }
}

/// How long a Game Master may take to end in order: its own bound, and some.
pub(super) const TERMINATION: Duration = Duration::from_secs(30);
