//! Worlds with proxies in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use integration::harness::until;
use integration::proxy::{FaultProxy, Strikes, Way};
use integration::world::{Answer, GamePlan, Part, Setup, World};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The games that most scenarios play.
pub(crate) const GAMES: [&str; 3] = ["aurora", "borealis", "corona"];
/// Within this time after the last fault every game goes on, on a loaded machine.
pub(crate) const RECOVERY: Duration = Duration::from_secs(45);
/// Where the engines' proxies listen: the engines' own ports, one address further.
const ENGINES: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Engines that have a proxy.
const PROXIED_ENGINES: u16 = 8;

type Shared<K> = Arc<Mutex<BTreeMap<K, Arc<FaultProxy>>>>;

/// The proxies between Game Masters and whatever they call; and those before Game Master.
#[derive(Clone, Default)]
pub(crate) struct Proxies {
    between: Shared<(Part, Part)>,
    /// By their ports.
    engines: Shared<u16>,
}

impl Proxies {
    /// Puts them into a world.
    pub(crate) fn into(self, setup: Setup) -> Setup {
        setup.route(move |from, to, address| self.route(from, to, address))
    }

    fn route(&self, from: Part, to: Part, address: SocketAddr) -> SocketAddr {
        let is_gms = matches!(from, Part::GameMaster(_));
        if to == Part::Engine {
            let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            for port in address.port()..address.port() + PROXIED_ENGINES {
                let listen = SocketAddr::new(ENGINES, port);
                let upstream = SocketAddr::new(address.ip(), port);
                engines
                    .entry(port)
                    .or_insert_with(|| Arc::new(FaultProxy::start_at(listen, upstream)));
            }
            return SocketAddr::new(ENGINES, address.port());
        }
        if !is_gms && !matches!(to, Part::GameMaster(_)) {
            return address;
        }
        let proxy = Arc::new(FaultProxy::start(address));
        let at = proxy.address();
        let mut between = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        between.insert((from, to), proxy);
        at
    }

    /// The proxy on the way of the first Game Master.
    pub(crate) fn to(&self, to: Part) -> Arc<FaultProxy> {
        self.between(Part::GameMaster(1), to)
    }

    pub(crate) fn between(&self, from: Part, to: Part) -> Arc<FaultProxy> {
        let between = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(between.get(&(from, to)).expect("a way"))
    }

    /// The proxy on the way to the engine of a game.
    pub(crate) async fn to_engine(&self, world: &World, game: &str) -> Arc<FaultProxy> {
        let seen = world.rtm().until(game, "an engine", |seen| seen["is_up"] == true).await;
        let port = seen["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(engines.get(&port.expect("a port")).expect("few enough engines"))
    }
}

/// Silence one way, or both.
pub(crate) const HOLES: [Option<Way>; 3] = [None, Some(Way::ToServer), Some(Way::ToClient)];

pub(crate) fn hole(proxy: &FaultProxy, way: Option<Way>) -> Strikes {
    way.map_or_else(|| proxy.hole_both(), |way| proxy.hole(way))
}

/// A world with proxies in which games of one-second turns are played.
pub(crate) async fn playing(setup: Setup, games: &[&str]) -> (World, Proxies) {
    let proxies = Proxies::default();
    let world = World::start(proxies.clone().into(setup)).await;
    for game in games {
        world.play(&GamePlan::new(game).every(1)).await;
    }
    for game in games {
        world.gm().until_turn(game, 1).await;
    }
    (world, proxies)
}

/// Waits until each game has gained so many turns, whatever is in its way; as the database has it.
pub(crate) async fn gain(world: &World, games: &[&str], turns: u32) {
    let store = world.store();
    let turn = async |game: &str| {
        let game = game.parse().expect("an id");
        store.load(&game).await.ok().flatten().map(|record| record.current_turn)
    };
    let mut before = vec![];
    for game in games {
        before.push(until(&format!("{game} to be read"), async || turn(game).await).await);
    }
    for (game, before) in games.iter().zip(before) {
        let what = format!("{game} to be at turn {}", before + turns);
        until(&what, async || (turn(game).await? >= before + turns).then_some(())).await;
    }
}

/// Each game goes on once all is well again, within a bound.
pub(crate) async fn go_on(world: &World, games: &[&str]) {
    let begun = Instant::now();
    for game in games {
        world.gm().until_status(game, "running").await;
    }
    gain(world, games, 1).await;
    assert!(begun.elapsed() < RECOVERY, "it took {:?}", begun.elapsed());
}

/// Whether the first Game Master says that it is `ready`, `degraded` or `unavailable`, and with
/// which status.
pub(crate) async fn readiness(world: &World) -> (u16, String) {
    let asked = world.gm().admin().clone();
    let answer = asked.try_call(http::Method::GET, "/readyz", &[], None).await;
    let Ok(Answer { status, body, .. }) = answer else { return (0, String::new()) };
    (status.as_u16(), body["status"].as_str().unwrap_or_default().to_owned())
}

pub(crate) async fn until_readiness(world: &World, status: u16, text: &str) {
    until(&format!("readiness {status} {text}"), async || {
        (readiness(world).await == (status, text.to_owned())).then_some(())
    })
    .await;
}

/// A gauge or counter of the first Game Master without labels.
pub(crate) async fn metric(world: &World, name: &str) -> Option<f64> {
    let text = world.gm().admin().text("/metrics").await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.parse().ok()
}

/// The pool is whole again: nobody holds a connection, nobody waits for one, and no transaction was
/// left open.
pub(crate) async fn until_pool_is_back(world: &World) {
    let (database, _) = world.database();
    let admin = world.postgres().admin("postgres").await.expect("the server answers");
    until("the pool to be back and nothing left open", async || {
        let left = "SELECT FROM pg_stat_activity \
                    WHERE datname = $1 AND state LIKE 'idle in transaction%'";
        let left = admin.query(left, &[&database]).await.expect("the activity");
        let waiting = metric(world, "gamemaster_postgres_pool_waiting").await?;
        let in_use = metric(world, "gamemaster_postgres_pool_connections_in_use").await?;
        // A batch may be on its way: a game goes on, and so does the relay.
        (left.is_empty() && waiting == 0.0 && in_use <= 3.0).then_some(())
    })
    .await;
}

/// Changes versions without end, and remembers what it was told of each change.
pub(crate) struct Registrar {
    stop: CancellationToken,
    told: tokio::task::JoinHandle<Vec<(String, Told)>>,
}

/// What became of a change, as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// It did not happen.
    NotDone,
    /// It may have happened.
    Unknown,
}

impl Registrar {
    pub(crate) fn start(world: &World) -> Self {
        let (gm, stop) = (world.gm(), CancellationToken::new());
        let stopping = stop.clone();
        let told = tokio::spawn(async move {
            let mut told = vec![];
            for n in 0.. {
                if stopping.is_cancelled() {
                    break;
                }
                let version = format!("7.0.{n}");
                let answer = gm.add_version(&version).await;
                let result = match (answer.status.as_u16(), answer.code()) {
                    (201, _) => Told::Done,
                    (503, Some("service_unavailable")) => Told::NotDone,
                    (503, Some("outcome_unknown")) => Told::Unknown,
                    _ => panic!("{answer:?}"),
                };
                told.push((version, result));
                // One a turn or so is enough, and one at a time.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            told
        });
        Self { stop, told }
    }

    /// What it was told is what happened. Answers how often it was told each.
    pub(crate) async fn check(self, world: &World) -> [usize; 3] {
        self.stop.cancel();
        let told = self.told.await.expect("the registrar ends");
        let admin = world.postgres().admin(world.database().0).await.expect("the database");
        let rows = admin.query("SELECT version FROM gamemaster.engine_versions", &[]).await;
        let there: Vec<String> = rows.expect("versions").iter().map(|row| row.get(0)).collect();
        for (version, told) in &told {
            let is_there = there.contains(version);
            let is_true = match told {
                Told::Done => is_there,
                Told::NotDone => !is_there,
                Told::Unknown => true,
            };
            assert!(is_true, "{version}: told {told:?}, and there: {is_there}");
        }
        [Told::Done, Told::NotDone, Told::Unknown]
            .map(|kind| told.iter().filter(|(_, told)| *told == kind).count())
    }
}
