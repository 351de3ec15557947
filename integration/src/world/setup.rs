//! What a world is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{redis_server, servers};

/// A part of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The Game Master of this number; the first one is 1, and its instance `gm-1`.
    GameMaster(u8),
    /// Lobby.
    Lobby,
    /// Runtime Manager.
    Rtm,
    /// The gateway.
    Gateway,
    /// The notification service.
    Notification,
    /// The process with the engines that Runtime Manager did not start.
    Engines,
    /// A game's engine. Runs below Runtime Manager: it can be routed to, and not be started here.
    Engine,
    /// The database. A server, for [`Setup::route`].
    Postgres,
    /// The streams. A server, for [`Setup::route`].
    Redis,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GameMaster(number) => write!(f, "gm-{number}"),
            Self::Lobby => f.write_str("lobby"),
            Self::Rtm => f.write_str("rtm"),
            Self::Gateway => f.write_str("gateway"),
            Self::Notification => f.write_str("notification"),
            Self::Engines => f.write_str("engines"),
            Self::Engine => f.write_str("engine"),
            Self::Postgres => f.write_str("postgres"),
            Self::Redis => f.write_str("redis"),
        }
    }
}

/// Where `from` finds `to`, which listens at the address: that address, or a proxy's.
///
/// Called once for each pair, before any process of the world is started. Engines are one address
/// for all: the answer's IP is the host under which their ports are made known, so that a proxy of
/// theirs listens on another address of loopback, as 127.0.0.2, under the same port numbers.
pub type Route = Arc<dyn Fn(Part, Part, SocketAddr) -> SocketAddr + Send + Sync>;

/// What a world is made of: with [`Setup::new`] one Game Master, all neighbours, and short waits.
#[derive(Clone)]
pub struct Setup {
    /// How many Game Masters there are, 1 to 8.
    pub game_masters: u8,
    /// Variables of every Game Master, without `GAMEMASTER_`.
    pub gm: BTreeMap<String, String>,
    /// More flags of Lobby.
    pub lobby: Vec<String>,
    /// More flags of Runtime Manager.
    pub rtm: Vec<String>,
    /// Who may play; the token of each is made from the name.
    pub players: Vec<String>,
    /// Engine versions that are registered once Game Master is ready.
    pub versions: Vec<String>,
    /// Servers that nobody else uses, and so may be troubled.
    pub own_servers: Option<(servers::Durability, redis_server::Durability)>,
    /// See [`Route`].
    pub route: Route,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One Game Master and all neighbours, impatient.
    pub fn new() -> Self {
        let gm = [
            ("ENGINE_NETWORKS", "127.0.0.0/8"),
            ("SCHEDULER_RESOLUTION", "seconds"),
            ("ENGINE_CLIENT_CONNECT_TIMEOUT_MS", "900"),
            ("ENGINE_CLIENT_ADMIN_TIMEOUT_SECONDS", "3"),
            ("ENGINE_CLIENT_PLAYER_TIMEOUT_SECONDS", "3"),
            ("ENGINE_CLIENT_TURN_TIMEOUT_SECONDS", "5"),
            ("RTM_TIMEOUT_SECONDS", "10"),
            ("LOBBY_TIMEOUT_SECONDS", "3"),
            ("LIFECYCLE_DRAIN_SECONDS", "10"),
            ("LIFECYCLE_HEALTH_DEBOUNCE_SECONDS", "1"),
        ];
        let own = |text: &str| text.to_owned();
        Self {
            game_masters: 1,
            gm: gm.into_iter().map(|(name, value)| (own(name), own(value))).collect(),
            lobby: ["--retry-ms", "50", "--resume-ms", "200"].map(own).into(),
            rtm: [
                "--probe-ms=200",
                "--healthy-repeat-ms=1000",
                "--restart-delay-ms=200",
                "--keep-finished-state",
            ]
            .map(own)
            .into(),
            players: ["alice", "bob", "carol", "dave"].map(own).into(),
            versions: ["1.4.2", "1.4.3"].map(own).into(),
            own_servers: None,
            route: Arc::new(|_, _, address| address),
        }
    }

    /// Sets a variable of every Game Master, given without `GAMEMASTER_`.
    #[must_use]
    pub fn gm(mut self, name: &str, value: &str) -> Self {
        self.gm.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds flags of Runtime Manager.
    #[must_use]
    pub fn rtm(mut self, flags: &[&str]) -> Self {
        self.rtm.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Takes away a flag without a value of Runtime Manager.
    #[must_use]
    pub fn rtm_without(mut self, flag: &str) -> Self {
        self.rtm.retain(|given| given != flag);
        self
    }

    /// Adds flags of Lobby.
    #[must_use]
    pub fn lobby(mut self, flags: &[&str]) -> Self {
        self.lobby.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Has so many Game Masters.
    #[must_use]
    pub fn game_masters(mut self, count: u8) -> Self {
        self.game_masters = count;
        self
    }

    /// Has servers that nobody else uses.
    #[must_use]
    pub fn own_servers(
        mut self,
        postgres: servers::Durability,
        redis: redis_server::Durability,
    ) -> Self {
        self.own_servers = Some((postgres, redis));
        self
    }

    /// Puts something between the parts.
    #[must_use]
    pub fn route(
        mut self,
        route: impl Fn(Part, Part, SocketAddr) -> SocketAddr + Send + Sync + 'static,
    ) -> Self {
        self.route = Arc::new(route);
        self
    }
}
