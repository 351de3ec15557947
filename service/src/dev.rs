//! `gamemaster dev`: Game Master and its neighbours in one command, playing.
//!
//! Game Master, Lobby, Runtime Manager, the gateway's players and the notification service run in
//! this process and talk over HTTP and streams as they do anywhere; each engine is a process of its
//! own, which ends with this one.

mod bus;
mod faults;
mod games;
mod narrator;
mod tally;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use machine::Status;
use net::{ClientLimits, HttpClient, TokioNet};
use peers::bus::FollowLimits;
use peers::env::Env;
use peers::lobby::{Lobby, LobbyConfig, LobbyHandle};
use peers::notification::Notification;
use peers::rtm::{ProcessLauncher, Rtm, RtmConfig, RtmHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::bus::StreamBus;
use self::faults::{Faults, Levers, Lossy};
use self::games::DemoGame;
use self::narrator::Narrator;
use crate::app::{self, Seams};
use crate::config::Settings;
use crate::embedded::Embedded;
use crate::ports::{Clock, Entropy, Store, Streams, SystemClock, SystemEntropy};

/// How many ports above Game Master's the engines begin.
const ENGINE_PORT_OFFSET: u16 = 20;
/// How many ports there are for engines.
const ENGINE_PORTS: u16 = 200;
/// The most demo games, and how many games that are over are looked up at the start.
const MOST_GAMES: usize = 100;
/// Seeds are drawn below this: short enough to be typed again.
const MOST_DRAWN_SEED: u64 = 100_000;
/// How long the neighbours may take to end.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What `gamemaster dev` is told.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Where Game Master listens; Lobby takes the next port, Runtime Manager the one after it.
    /// Port 0 takes any free ones. Loopback only.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Keep everything in this file (and in a folder of the same name with `.d` behind it), and go
    /// on from there when started again. Without it everything is in memory.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// How many demo games play.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub games: u16,

    /// A turn every so many seconds in every game; else every 5, 10 or 15.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u8).range(1..=30))]
    pub turn_every: Option<u8>,

    /// The games are finished at this turn at the latest.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub turn_limit: u32,

    /// How long the engines take for a turn, in milliseconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub turn_latency_ms: u64,

    /// End once all demo games are finished.
    #[arg(long)]
    pub exit_when_finished: bool,

    /// Have the neighbours misbehave: engines that are slow, refuse, fail, hang, talk garbage or end,
    /// an absent Lobby or Runtime Manager, a store and streams that lose answers. The same SEED
    /// gives the same plan of troubles; without one it is drawn. Ends with a summary, and with
    /// status 1 where anything was lost or doubled.
    #[arg(long, value_name = "SEED", num_args = 0..=1)]
    pub faults: Option<Option<u64>>,

    /// A trouble every so many seconds, more or less.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "faults",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub faults_every: u32,

    /// The program that runs as the engine, given `engine` and its flags; this one where not set.
    #[arg(long, hide = true, value_name = "PROGRAM")]
    pub engine_program: Option<PathBuf>,
}

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum DevError {
    #[error("--listen must be a loopback address")]
    NotLoopback,
    #[error("cannot make the folder {path}: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("cannot make a temporary folder: {0}")]
    Temporary(std::io::Error),
    #[error("cannot find this program: {0}")]
    Program(std::io::Error),
    #[error("cannot find a free port: {0}")]
    Port(std::io::Error),
    #[error("{0}")]
    Store(#[from] crate::embedded::OpenError),
    #[error("{0}")]
    Read(#[from] crate::ports::StoreError),
    #[error("Game Master: {0}")]
    GameMaster(#[from] app::StartError),
    #[error("Game Master: {0}")]
    Fell(#[from] app::RunError),
    #[error("Game Master ended by a panic")]
    Ended,
    #[error("Lobby: {0}")]
    Lobby(#[from] peers::lobby::LobbyError),
    #[error("Runtime Manager: {0}")]
    Rtm(#[from] peers::rtm::RtmError),
    #[error("notification: {0}")]
    Notification(#[from] peers::state_file::StateError),
    #[error("{0}")]
    Setup(#[from] games::SetupError),
    #[error("what is promised was not kept ({wrong}, see above); try again with --faults {seed}")]
    Broken { wrong: usize, seed: u64 },
}

/// Where everything listens and is kept.
struct Layout {
    gm: SocketAddr,
    lobby: SocketAddr,
    rtm: SocketAddr,
    folder: Option<PathBuf>,
    /// Where the engines keep their games, as a container keeps its files when its process is
    /// started again.
    engines: PathBuf,
    /// That place, where nothing is to be kept: gone when this is dropped.
    _passing: Option<tempfile::TempDir>,
}

impl Layout {
    fn of(args: &DevArgs) -> Result<Self, DevError> {
        if !args.listen.ip().is_loopback() {
            return Err(DevError::NotLoopback);
        }
        let folder = args.data.as_deref().map(folder_beside).transpose()?;
        let (engines, passing) = match &folder {
            Some(folder) => (folder.join("engines"), None),
            None => {
                let temporary = tempfile::tempdir().map_err(DevError::Temporary)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let next = |n: u16| match args.listen.port().checked_add(n) {
            Some(port) if args.listen.port() > 0 => Ok(SocketAddr::new(args.listen.ip(), port)),
            _ => free_address(args.listen).map_err(DevError::Port),
        };
        Ok(Self {
            gm: next(0)?,
            lobby: next(1)?,
            rtm: next(2)?,
            folder,
            engines,
            _passing: passing,
        })
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }
}

fn folder_beside(data: &Path) -> Result<PathBuf, DevError> {
    let mut name = data.as_os_str().to_owned();
    name.push(".d");
    let path = PathBuf::from(name);
    // One level at a time: a folder that is not there is more likely misspelt than wanted.
    for folder in [path.clone(), path.join("engines")] {
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(DevError::Folder { path: folder, error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(path)
}

fn free_address(listen: SocketAddr) -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(SocketAddr::new(listen.ip(), 0))?.local_addr()
}

/// Runs the demo until told to stop, or until all games are finished where that was asked for.
pub async fn run(args: DevArgs, stop: CancellationToken) -> Result<(), DevError> {
    let layout = Layout::of(&args)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let embedded = Arc::new(match &args.data {
        Some(path) => Embedded::open(path, Arc::clone(&clock))?,
        None => Embedded::in_memory(Arc::clone(&clock)),
    });
    let lossy = args.faults.map(|_| Lossy::over(&embedded));
    let (store, streams): (Arc<dyn Store>, Arc<dyn Streams>) = match &lossy {
        Some(lossy) => (lossy.store.clone(), lossy.streams.clone()),
        None => (embedded.clone(), embedded.clone()),
    };
    let seams = Seams {
        net: Arc::new(TokioNet),
        store,
        streams: Arc::clone(&streams),
        feed: Arc::new(embedded.feed()),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let narrator = Narrator::new(Arc::clone(&clock));
    for status in [Status::Finished, Status::Stopped] {
        for runtime in embedded.list(Some(status), None, MOST_GAMES).await? {
            narrator.was_over(runtime.game_id.clone());
        }
    }
    let neighbours = CancellationToken::new();
    let tasks = TaskTracker::new();
    let bus = Arc::new(StreamBus(streams));
    let env = env(&clock, &entropy);
    let (rtm, lobby) =
        start_neighbours(&args, &layout, &bus, &env, &narrator, (&tasks, &neighbours)).await?;

    let bound = app::bind(settings(&layout, &args), seams, stop.clone()).await?;
    let watching = narrator.clone().watch(bound.app().driver.changes());
    tasks.spawn(neighbours.clone().run_until_cancelled_owned(watching));
    let gm = tokio::spawn(bound.run());
    narrator.say_where(layout.gm, layout.lobby, layout.rtm);

    let demo: Vec<DemoGame> = games::demo(args.games, args.turn_every);
    let client = HttpClient::new(Arc::new(TokioNet), ClientLimits::default(), None);
    let faults = lossy.map(|lossy| {
        let (client, gm, embedded) = (client.clone(), layout.gm, Arc::clone(&embedded));
        let levers = Levers { client, gm, rtm, lobby, lossy, embedded };
        let drawn = || entropy.uuid().as_u64_pair().1 % MOST_DRAWN_SEED;
        let seed = args.faults.flatten().unwrap_or_else(drawn);
        narrator.say(&format!("troubles every {} s or so, from seed {seed}", args.faults_every));
        Faults::new(levers, narrator.clone(), seed, &demo)
    });
    games::set_up(&client, layout.gm, layout.lobby, &demo).await?;
    games::play(&client, layout.gm, &demo, &narrator, (&tasks, &neighbours));
    let troubles = faults.clone().map(|faults| {
        let periods = demo.iter().map(|game| Duration::from_secs(game.period.into())).collect();
        let every = Duration::from_secs(args.faults_every.into());
        tokio::spawn(faults.conduct(periods, every, stop.clone()))
    });
    if args.exit_when_finished {
        let (narrator, stop, count) = (narrator.clone(), stop.clone(), demo.len());
        tasks.spawn(async move {
            narrator.until_finished(count).await;
            stop.cancel();
        });
    }

    stop.cancelled().await;
    narrator.say("stopping");
    if let Some(troubles) = troubles {
        // A panic in it has been told; what it began has ended with its levers' owner.
        let _ = troubles.await;
    }
    // Game Master first: what it still does needs the neighbours.
    let ended = gm.await;
    let behind = match &faults {
        Some(faults) => faults.lobby_is_behind().await?,
        None => vec![],
    };
    neighbours.cancel();
    tasks.close();
    if tokio::time::timeout(STOP_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("a neighbour did not end in time");
    }
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(panicked)) => return Err(panicked.into()),
        Err(_) => return Err(DevError::Ended),
    }
    match faults {
        Some(faults) => faults.conclude(&layout.engines, behind).await,
        None => Ok(()),
    }
}

fn env(clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Env {
    let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
    Env::new(
        move || clock.now().timestamp_millis().unsigned_abs(),
        move || entropy.uuid().simple().to_string(),
    )
}

async fn start_neighbours(
    args: &DevArgs,
    layout: &Layout,
    bus: &Arc<StreamBus>,
    env: &Env,
    narrator: &Narrator,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<(RtmHandle, LobbyHandle), DevError> {
    let program = match &args.engine_program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(DevError::Program)?,
    };
    let launcher = Arc::new(ProcessLauncher::new(program, vec!["engine".into()]));
    let mut config = RtmConfig::new(layout.rtm);
    config.state_file = layout.file("rtm.json");
    config.engine_state_dir = Some(layout.engines.clone());
    config.engine_ports = engine_ports(layout.gm);
    config.engine.turn_limit = Some(args.turn_limit);
    config.engine.turn_latency = Duration::from_millis(args.turn_latency_ms);
    // Kept, so that anybody can see afterwards what the engine played.
    config.keeps_finished_state = true;
    let net = Arc::new(TokioNet);
    let observer = narrator.clone().of_rtm();
    let rtm = Rtm::bind(config, net.clone(), bus.clone(), env.clone(), launcher, observer).await?;
    let rtm_handle = rtm.handle();
    tasks.spawn(rtm.run(stop.clone()));

    let mut config = LobbyConfig::new(layout.lobby, format!("http://{}", layout.gm));
    config.rtm_url = Some(format!("http://{}", layout.rtm));
    config.state_file = layout.file("lobby.json");
    let observer = narrator.clone().of_lobby();
    let lobby = Lobby::bind(config, net, bus.clone(), env.clone(), observer).await?;
    let lobby_handle = lobby.handle();
    tasks.spawn(lobby.run(stop.clone()));

    let state_file = layout.file("notification.json");
    let observer = narrator.clone().of_notification();
    let notification = Notification::open(state_file, env.clone(), observer).await?;
    let (bus, stop) = (Arc::clone(bus), stop.clone());
    tasks.spawn(async move { notification.run(bus, FollowLimits::default(), stop).await });
    Ok((rtm_handle, lobby_handle))
}

/// A range of their own, so that an engine gets its port back when all is started again.
fn engine_ports(gm: SocketAddr) -> Option<std::ops::RangeInclusive<u16>> {
    let first = gm.port().checked_add(ENGINE_PORT_OFFSET)?;
    let last = first.checked_add(ENGINE_PORTS - 1)?;
    Some(first..=last)
}

fn settings(layout: &Layout, args: &DevArgs) -> Settings {
    let loopback = ["127.0.0.0/8", "::1/128"];
    let mut settings = Settings::development(
        layout.gm,
        format!("http://{}", layout.lobby),
        format!("http://{}", layout.rtm),
        loopback.iter().filter_map(|network| network.parse().ok()).collect(),
    );
    if args.faults.is_some() {
        faults::hurry(&mut settings, Duration::from_millis(args.turn_latency_ms));
    }
    settings
}
