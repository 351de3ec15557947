//! The cluster: which hosts there are, and what runs on them.
//!
//! ```text
//!   gateway ─┐                       ┌─ store
//!   lobby ───┼──▶ gm-0 … gm-2 ───────┼─ redis ◀── rtm, lobby, notification
//!   admin ───┘        │              └─ rtm ──▶ engines
//!                     └────────────────────────▶ engines
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use net::{Net, RedisLimits, ServerLimits};
use peers::backoff::Backoff;
use peers::bus::{Bus, FollowLimits};
use peers::env::{Env, Observer, unobserved};
use peers::front::FrontPlan;
use peers::lobby::flow::FlowTiming;
use peers::lobby::{self, Lobby, LobbyConfig, LobbyHandle};
use peers::notification::Notification;
use peers::redis_bus::RedisBus;
use peers::rtm::{Rtm, RtmConfig, RtmHandle};
use peers::state_file::StateFile;
use service::config::Settings;
use service::embedded::Embedded;
use service::ports::{Clock, Entropy as _};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::board::{Board, lock};
use crate::books::Books;
use crate::chronicle::Chronicle;
use crate::engines::{Engines, SimLauncher};
use crate::instance::Instance;
use crate::net::SimNet;
use crate::oracle::{Bounds, Oracle};
use crate::pace::{Pace, believed_ms, settings, whole_ms};
use crate::plan::{Plan, Profile, Sabotage, StoreKind};
use crate::postgres::{Answer, Database, Member};
use crate::redis::{Keys, RedisHost};
use crate::rpc::{Desk, StoreHost, StoreTimeouts};
use crate::seams::{EPOCH_SECONDS, SimClock, SimEntropy};
use crate::{people, workload};

/// The store's host.
pub const STORE: &str = "store";
/// Its port.
pub const STORE_PORT: u16 = 5432;
/// The host of Redis.
pub const REDIS: &str = "redis";
/// Its port.
pub const REDIS_PORT: u16 = 6379;
/// The host of all engines.
pub const ENGINES: &str = "engines";
/// Runtime Manager's host.
pub const RTM: &str = "rtm";
/// Lobby's host.
pub const LOBBY: &str = "lobby";
/// Where players come from.
pub const GATEWAY: &str = "gateway";
/// Where administrators come from.
pub const ADMIN: &str = "admin";
/// The host that reads the intents.
pub const NOTIFICATION: &str = "notification";
/// Where everybody listens who speaks HTTP.
pub const PORT: u16 = 8080;

/// The instance that Lobby works with.
pub const TOLD_BY_LOBBY: usize = 0;

/// The name of an instance's host.
pub fn gm_host(gm: usize) -> String {
    format!("gm-{gm}")
}

/// Every interface.
pub fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// One simulated cluster.
pub struct World {
    /// The simulation itself.
    pub sim: Sim<'static>,
    /// What the faults reach in with.
    pub board: Arc<Board>,
    /// Who looks on.
    pub oracle: Arc<Oracle>,
    /// The engines.
    pub engines: Arc<Engines>,
    /// What the store holds.
    pub books: Books,
    /// What Redis holds.
    pub keys: Arc<Mutex<Keys>>,
    /// Runtime Manager's levers, once it is up.
    pub rtm: Arc<Mutex<Option<RtmHandle>>>,
    /// Lobby's, likewise.
    pub lobby: Arc<Mutex<Option<LobbyHandle>>>,
    /// What the people did.
    pub deeds: Arc<workload::Deeds>,
}

impl World {
    /// Sets up all hosts of a plan.
    pub fn new(plan: &Plan, chronicle: Arc<Chronicle>) -> Self {
        let pace = Pace::of(plan.profile);
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS))
            // The run ends by the plan's own bounds.
            .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
            .tick_duration(pace.tick)
            .min_message_latency(pace.tick.min(Duration::from_millis(1)))
            .max_message_latency(pace.latency)
            .tcp_capacity(1024)
            .build();
        let board = Arc::new(Board::seen_by(Arc::clone(&chronicle.recorder)));
        let is_unguarded = plan.sabotage == Some(Sabotage::Unguarded);
        let engines = Engines::new(&plan.games, plan.seed, is_unguarded);
        let published = settings(pace, 0);
        let bounds = Bounds {
            believed_ms: published.as_ref().map_or(0, believed_ms),
            others_are_told: plan.store == StoreKind::Embedded,
        };
        let reached = plan.engines_act_at_once();
        let oracle = Oracle::new(chronicle, Arc::clone(&engines), reached, bounds);
        let clock: Arc<dyn Clock> = Arc::new(SimClock::default());
        let books = match plan.store {
            StoreKind::Embedded => Books::Embedded(Arc::new(Embedded::in_memory(clock))),
            StoreKind::Postgres => Books::Postgres(watched(plan.seed, clock, &oracle)),
        };
        let desk = Arc::new(Desk::default());
        let (rtm, lobby) = (Arc::default(), Arc::default());
        let board_ms = published.map_or(0, |settings| whole_ms(settings.board_ttl));
        let deeds =
            workload::Deeds::new(plan.clone(), Arc::clone(&oracle), books.clone(), board_ms);
        let Plan { seed, profile, sabotage, .. } = *plan;
        let parts = Parts { seed, pace, profile, sabotage, board, oracle };
        match &books {
            Books::Embedded(store) => parts.add_store(&mut sim, store, &desk),
            Books::Postgres(database) => parts.add_database(&mut sim, database),
        }
        let keys = parts.add_redis(&mut sim);
        parts.add_engines(&mut sim, &engines);
        parts.add_rtm(&mut sim, &engines, &rtm);
        parts.add_lobby(&mut sim, &lobby);
        parts.add_notification(&mut sim);
        for gm in 0..plan.gms {
            parts.add_gm(&mut sim, gm, &books, &desk);
        }
        people::add_people(&mut sim, &deeds, &parts.board);
        let Parts { board, oracle, .. } = parts;
        Self { sim, board, oracle, engines, books, keys, rtm, lobby, deeds }
    }

    /// Every host there is.
    pub fn hosts(plan: &Plan) -> Vec<String> {
        let others = [STORE, REDIS, ENGINES, RTM, LOBBY, NOTIFICATION, GATEWAY, ADMIN];
        let gms = (0..plan.gms).map(gm_host);
        gms.chain(others.map(str::to_owned)).collect()
    }
}

struct Parts {
    seed: u64,
    pace: Pace,
    profile: Profile,
    sabotage: Option<Sabotage>,
    board: Arc<Board>,
    oracle: Arc<Oracle>,
}

impl Parts {
    fn net(&self, host: &str) -> Arc<SimNet> {
        Arc::new(SimNet::new(host, Arc::clone(&self.board)))
    }

    /// Time and identifiers of a neighbour.
    fn env(&self, number: u64) -> Env {
        let entropy = SimEntropy::new(self.seed ^ (number << 56));
        let clock = SimClock::default();
        let now_ms = move || u64::try_from(clock.unix_ms()).unwrap_or_default();
        Env::new(now_ms, move || entropy.uuid().to_string())
    }

    fn redis_limits(&self) -> RedisLimits {
        RedisLimits {
            connect_timeout: self.pace.connect,
            response_timeout: self.pace.answer,
            ..RedisLimits::default()
        }
    }

    /// The streams, as each process of a host connects to them anew.
    fn bus(&self, host: &str) -> impl Fn() -> Option<Arc<dyn Bus>> + 'static {
        let (net, limits) = (self.net(host), self.redis_limits());
        move || {
            let url = format!("redis://{REDIS}:{REDIS_PORT}").parse().ok()?;
            let net: Arc<dyn Net> = net.clone();
            Some(RedisBus::new(net, url, limits, ""))
        }
    }

    /// The usual bounds, but for what the pace makes slower. The header would tell the real date.
    fn server(&self) -> ServerLimits {
        let usual = ServerLimits::default();
        let Pace { answer, .. } = self.pace;
        ServerLimits {
            auto_date_header: false,
            header_timeout: usual.header_timeout.max(answer),
            idle_timeout: usual.idle_timeout.max(answer),
            write_timeout: usual.write_timeout.max(answer),
            ..usual
        }
    }

    fn follow(&self) -> FollowLimits {
        let cap = self.pace.call.min(Duration::from_secs(10));
        let backoff = Backoff { first: self.pace.latency.max(Duration::from_millis(200)), cap };
        let usual = FollowLimits::default();
        FollowLimits { backoff, wait: usual.wait.max(self.pace.answer / 2), ..usual }
    }

    fn add_store(&self, sim: &mut Sim<'static>, store: &Arc<Embedded>, desk: &Arc<Desk>) {
        let host = StoreHost {
            net: self.net(STORE),
            store: Arc::clone(store),
            desk: Arc::clone(desk),
            board: Arc::clone(&self.board),
            oracle: Arc::clone(&self.oracle),
        };
        sim.host(STORE, move || {
            let host = host.clone();
            async move { Ok(host.run().await?) }
        });
    }

    fn add_database(&self, sim: &mut Sim<'static>, database: &Database) {
        let (net, database) = (self.net(STORE), database.clone());
        sim.host(STORE, move || {
            let (net, database) = (Arc::clone(&net), database.clone());
            async move { Ok(database.bind(&*net, any(STORE_PORT)).await?.run().await?) }
        });
    }

    fn add_redis(&self, sim: &mut Sim<'static>) -> Arc<Mutex<Keys>> {
        let host = RedisHost {
            net: self.net(REDIS),
            keys: Arc::default(),
            board: Arc::clone(&self.board),
            oracle: Arc::clone(&self.oracle),
        };
        let keys = Arc::clone(&host.keys);
        sim.host(REDIS, move || {
            let host = host.clone();
            async move { Ok(host.run().await?) }
        });
        keys
    }

    fn add_engines(&self, sim: &mut Sim<'static>, engines: &Arc<Engines>) {
        let (net, engines) = (self.net(ENGINES), Arc::clone(engines));
        sim.host(ENGINES, move || {
            let (net, engines) = (Arc::clone(&net), Arc::clone(&engines));
            async move {
                engines.run(net).await;
                Ok(())
            }
        });
    }

    fn add_rtm(
        &self,
        sim: &mut Sim<'static>,
        engines: &Arc<Engines>,
        handle: &Arc<Mutex<Option<RtmHandle>>>,
    ) {
        let mut config = RtmConfig::new(any(PORT));
        config.engine_bind_ip = any(0).ip();
        config.engine_host = ENGINES.to_owned();
        config.engine_ports = Some(20_000..=29_999);
        config.follow = self.follow();
        config.server = self.server();
        config.timing.probe_timeout = self.pace.connect.max(config.timing.probe_timeout);
        config.timing.probe_period = config.timing.probe_period.max(self.pace.answer);
        config.timing.start_timeout = config.timing.start_timeout.max(self.pace.call);
        config.timing.operation_timeout = config.timing.operation_timeout.max(self.pace.call);
        if self.profile == Profile::Calendar {
            config.timing.probe_period = Duration::from_secs(600);
            config.timing.healthy_repeat = Duration::from_secs(3_600);
        }
        let launcher =
            Arc::new(SimLauncher { engines: Arc::clone(engines), limits: self.server() });
        let (net, bus, env) = (self.net(RTM), self.bus(RTM), self.env(1));
        let (handle, state) = (Arc::clone(handle), StateFile::in_memory());
        sim.host(RTM, move || {
            let (config, net, env) = (config.clone(), Arc::clone(&net), env.clone());
            let (launcher, handle) = (Arc::clone(&launcher), Arc::clone(&handle));
            let (bus, state) = (bus(), state.clone());
            async move {
                let (bus, seen) = (bus.ok_or("no bus")?, unobserved());
                let rtm = Rtm::bind_over(state, config, net, bus, env, launcher, seen).await?;
                *lock(&handle) = Some(rtm.handle());
                rtm.run(CancellationToken::new()).await;
                Ok(())
            }
        });
    }

    fn add_lobby(&self, sim: &mut Sim<'static>, handle: &Arc<Mutex<Option<LobbyHandle>>>) {
        let mut config =
            LobbyConfig::new(any(PORT), format!("http://{}:{PORT}", gm_host(TOLD_BY_LOBBY)));
        config.rtm_url = Some(format!("http://{RTM}:{PORT}"));
        config.follow = self.follow();
        config.server = self.server();
        config.connect_timeout = self.pace.connect;
        config.call_timeout = self.pace.call * 2;
        config.flow = FlowTiming {
            backoff: self.follow().backoff,
            resume: self.follow().backoff,
            job_result_timeout: self.pace.call * 4,
            register_tries: 3,
        };
        let (net, bus, env) = (self.net(LOBBY), self.bus(LOBBY), self.env(2));
        let (state, oracle) = (StateFile::in_memory(), Arc::clone(&self.oracle));
        let (handle, board) = (Arc::clone(handle), Arc::clone(&self.board));
        sim.host(LOBBY, move || {
            let (config, net, env) = (config.clone(), Arc::clone(&net), env.clone());
            let (bus, state, oracle) = (bus(), state.clone(), Arc::clone(&oracle));
            let (handle, board) = (Arc::clone(&handle), Arc::clone(&board));
            async move {
                let bus = bus.ok_or("no bus")?;
                let seen: Observer<lobby::Event> = Arc::new(move |event| {
                    if let lobby::Event::InvalidationFailed { game_id, .. } = event {
                        oracle.not_told(game_id);
                    }
                });
                let lobby = Lobby::bind_over(state, config, net, bus, env, seen).await?;
                let latency_after_ms = board.lobby_slow_ms.load(Ordering::Relaxed);
                lobby.handle().front().set(FrontPlan { latency_after_ms, ..FrontPlan::default() });
                *lock(&handle) = Some(lobby.handle());
                lobby.run(CancellationToken::new()).await;
                Ok(())
            }
        });
    }

    fn add_notification(&self, sim: &mut Sim<'static>) {
        let (bus, follow) = (self.bus(NOTIFICATION), self.follow());
        let service = Notification::in_memory(self.env(3), unobserved());
        sim.host(NOTIFICATION, move || {
            let (bus, service) = (bus(), service.clone());
            async move {
                let bus = bus.ok_or("no bus")?;
                service.run(bus, follow, CancellationToken::new()).await;
                Ok(())
            }
        });
    }

    fn settings(&self, gm: usize) -> Option<Settings> {
        let mut settings = settings(self.pace, gm)?;
        settings.http.server = self.server();
        if self.sabotage == Some(Sabotage::BelieveForEver) {
            settings.membership_ttl = Duration::from_secs(86_400);
        }
        Some(settings)
    }

    fn add_gm(&self, sim: &mut Sim<'static>, gm: usize, books: &Books, desk: &Arc<Desk>) {
        let host = gm_host(gm);
        let instance = Instance {
            gm,
            net: Arc::new(SimNet::of_gm(&host, Arc::clone(&self.board), gm)),
            settings: self.settings(gm),
            limits: self.redis_limits(),
            timeouts: StoreTimeouts { connect: self.pace.connect, answer: self.pace.answer },
            // A restart must not draw the same identifiers again.
            entropy: Arc::new(SimEntropy::new(self.seed ^ ((gm as u64 + 16) << 56))),
            sabotage: self.sabotage,
            clock: Arc::new(SimClock::skewed(self.board.skew(gm))),
            books: books.clone(),
            desk: Arc::clone(desk),
            board: Arc::clone(&self.board),
            oracle: Arc::clone(&self.oracle),
        };
        sim.host(host, move || {
            let instance = instance.clone();
            async move { instance.run().await }
        });
    }
}

/// A database whose commits are told to the oracle.
fn watched(seed: u64, clock: Arc<dyn Clock>, oracle: &Arc<Oracle>) -> Database {
    let (database, oracle) = (Database::new(seed, clock), Arc::clone(oracle));
    database.observe(move |asked, answer| match &asked.what {
        Member::Record(commit) => oracle.answered_commit(commit, answer == Answer::Applied),
        Member::Log(_) => {}
    });
    database
}
