//! Configuration: what a deployment sets, from the environment or as flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use machine::{InstanceId, Policy, Resolution};

use crate::clients::{EngineLimits, EngineNetworks};
use crate::http::HttpSettings;
use crate::workers::Start;

/// A setting that makes no sense, by the name of its variable. Never carries the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct BadSetting {
    /// The variable.
    pub variable: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What the composition root is told.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the setting of the same name, documented there")]
pub struct Settings {
    pub listen: SocketAddr,
    pub http: HttpSettings,
    pub instance: InstanceId,
    pub lobby_url: String,
    pub rtm_url: String,
    pub engine_networks: EngineNetworks,
    pub engine_limits: EngineLimits,
    pub peer_timeout: Duration,
    pub connect_timeout: Duration,
    pub max_response_bytes: usize,
    pub policy: Policy,
    pub schedule_resolution: Resolution,
    pub concurrent_turns: usize,
    pub membership_ttl: Duration,
    pub membership_capacity: usize,
    pub board_ttl: Duration,
    pub board_capacity: usize,
    pub health_label: String,
    pub health_start: Start,
    pub keep_published: TimeDelta,
    pub shutdown_timeout: Duration,
    pub operation_timeout: Duration,
}

/// How long the board believes a record without having committed or read it again.
const BOARD_TTL: Duration = Duration::from_secs(2);
/// How many records the board holds.
const BOARD_CAPACITY: usize = 100_000;

/// The prefix of every variable.
pub const PREFIX: &str = "GAMEMASTER_";

/// Settings of `gamemaster serve`. Each is a flag and an environment variable.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where the REST API listens. An address other than loopback is refused until callers can be
    /// told apart by token.
    #[arg(long, env = "GAMEMASTER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// The name of this process in leases. Unique among processes that run at the same time and the
    /// same after a restart: a process takes up at once what its predecessor left behind.
    #[arg(long, env = "GAMEMASTER_INSTANCE", default_value = "gm-1", value_parser = instance)]
    pub instance: InstanceId,

    /// The file of the embedded store; in memory where it is not set.
    #[arg(long, env = "GAMEMASTER_STORE_FILE", value_name = "FILE")]
    pub store_file: Option<PathBuf>,

    /// Lobby's internal REST API.
    #[arg(long, env = "GAMEMASTER_LOBBY_URL", value_name = "URL", value_parser = base_url)]
    pub lobby_url: String,

    /// Runtime Manager's internal REST API.
    #[arg(long, env = "GAMEMASTER_RTM_URL", value_name = "URL", value_parser = base_url)]
    pub rtm_url: String,

    /// The networks engines may be in, as CIDR, separated by commas; nothing else is ever called.
    #[arg(
        long,
        env = "GAMEMASTER_ENGINE_NETWORKS",
        value_name = "CIDR,…",
        value_delimiter = ',',
        required = true
    )]
    pub engine_networks: Vec<IpNet>,

    /// The time a turn may take, in seconds.
    #[arg(long, env = "GAMEMASTER_ENGINE_CLIENT_TURN_TIMEOUT_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub turn_timeout_seconds: u32,

    /// The time an init or a status question to an engine may take, in seconds.
    #[arg(long, env = "GAMEMASTER_ENGINE_CLIENT_ADMIN_TIMEOUT_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub admin_timeout_seconds: u32,

    /// The time a player's call to an engine may take, in seconds.
    #[arg(long, env = "GAMEMASTER_ENGINE_CLIENT_PLAYER_TIMEOUT_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub player_timeout_seconds: u32,

    /// The largest answer of an engine that is read, in bytes.
    #[arg(long, env = "GAMEMASTER_ENGINE_CLIENT_MAX_RESPONSE_BYTES", default_value_t = 4 << 20,
          value_parser = clap::value_parser!(u64).range(1024..=1 << 28))]
    pub max_response_bytes: u64,

    /// The time a call to Lobby or Runtime Manager may take, in seconds.
    #[arg(long, env = "GAMEMASTER_PEER_TIMEOUT_SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub peer_timeout_seconds: u32,

    /// Which schedules are accepted: `seconds` also takes six fields, the first one seconds; meant
    /// for development and tests.
    #[arg(long, env = "GAMEMASTER_SCHEDULER_RESOLUTION", default_value = "minutes")]
    pub resolution: ResolutionArg,

    /// How many turns are generated at the same time.
    #[arg(long, env = "GAMEMASTER_SCHEDULER_CONCURRENT_TURNS", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrent_turns: u32,

    /// How long a stop waits for a running turn, in seconds.
    #[arg(long, env = "GAMEMASTER_LIFECYCLE_DRAIN_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub drain_seconds: u32,

    /// How many failed probes in a row make an engine unwell.
    #[arg(long, env = "GAMEMASTER_LIFECYCLE_PROBE_FAILED_THRESHOLD", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub probe_failed_threshold: u32,

    /// At most one snapshot in this many seconds for a change of the health summary alone.
    #[arg(long, env = "GAMEMASTER_LIFECYCLE_HEALTH_DEBOUNCE_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub health_debounce_seconds: u32,

    /// How long Lobby's answer about the members of a game is believed, in seconds.
    #[arg(long, env = "GAMEMASTER_MEMBERSHIP_CACHE_TTL_SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub membership_ttl_seconds: u32,

    /// Of how many games the members are kept.
    #[arg(long, env = "GAMEMASTER_MEMBERSHIP_CACHE_GAMES", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub membership_games: u32,

    /// The name the offset in `runtime:health_events` is kept under.
    #[arg(long, env = "GAMEMASTER_STREAMS_HEALTH_CONSUMER", default_value = "gamemaster")]
    pub health_consumer: String,

    /// Where health events are read from where no usable offset was saved.
    #[arg(long, env = "GAMEMASTER_STREAMS_HEALTH_START", default_value = "beginning")]
    pub health_start: StartArg,

    /// How long published messages are kept for a stream that loses its tail, in hours.
    #[arg(long, env = "GAMEMASTER_STREAMS_KEEP_PUBLISHED_HOURS", default_value_t = 24,
          value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub keep_published_hours: u32,

    /// How long running turns may take to end after SIGTERM, in seconds.
    #[arg(long, env = "GAMEMASTER_SHUTDOWN_TIMEOUT_SECONDS", default_value_t = 25,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub shutdown_timeout_seconds: u32,
}

/// See [`Resolution`].
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the values of the flag")]
pub enum ResolutionArg {
    Minutes,
    Seconds,
}

/// See [`Start`].
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the values of the flag")]
pub enum StartArg {
    Beginning,
    End,
}

fn instance(text: &str) -> Result<InstanceId, String> {
    text.parse().map_err(|e: machine::InvalidValue| e.to_string())
}

/// `http://host:port`, a trailing slash dropped.
fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let endpoint: machine::EngineEndpoint =
        text.parse().map_err(|_| "must be http://host:port".to_owned())?;
    Ok(endpoint.as_str().to_owned())
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(u64::from(n))
}

/// The margin by which a lease outlasts the call it covers: what it takes to commit the outcome.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(15);

fn lease(call: Duration) -> TimeDelta {
    TimeDelta::from_std(call).map_or(TimeDelta::MAX, |call| call + LEASE_MARGIN)
}

impl ServeArgs {
    /// Checks the settings against each other.
    pub fn settings(&self) -> Result<Settings, BadSetting> {
        let bad = |variable: &str, problem: &str| BadSetting {
            variable: format!("{PREFIX}{variable}"),
            problem: problem.into(),
        };
        if !self.listen.ip().is_loopback() {
            return Err(bad("LISTEN", "must be a loopback address: callers have no tokens yet"));
        }
        let engine_limits = EngineLimits {
            admin: seconds(self.admin_timeout_seconds),
            turn: seconds(self.turn_timeout_seconds),
            player: seconds(self.player_timeout_seconds),
        };
        let peer_timeout = seconds(self.peer_timeout_seconds);
        let drain = TimeDelta::seconds(i64::from(self.drain_seconds));
        let policy = Policy {
            probe_lease: lease(engine_limits.admin),
            turn_lease: lease(engine_limits.turn),
            rtm_lease: lease(peer_timeout),
            drain,
            health_debounce: TimeDelta::seconds(i64::from(self.health_debounce_seconds)),
            probe_failed_threshold: self.probe_failed_threshold,
            ..Policy::default()
        };
        // The longest an operation takes: a stop that drains a turn and then asks RTM.
        let operation_timeout = engine_limits.turn
            + engine_limits.admin
            + peer_timeout
            + seconds(self.drain_seconds)
            + Duration::from_secs(10);
        Ok(Settings {
            listen: self.listen,
            http: HttpSettings::default(),
            instance: self.instance.clone(),
            lobby_url: self.lobby_url.clone(),
            rtm_url: self.rtm_url.clone(),
            engine_networks: EngineNetworks::new(self.engine_networks.clone()),
            engine_limits,
            peer_timeout,
            connect_timeout: Duration::from_secs(2),
            max_response_bytes: usize::try_from(self.max_response_bytes).unwrap_or(usize::MAX),
            policy,
            schedule_resolution: match self.resolution {
                ResolutionArg::Minutes => Resolution::Minutes,
                ResolutionArg::Seconds => Resolution::Seconds,
            },
            concurrent_turns: self.concurrent_turns as usize,
            membership_ttl: seconds(self.membership_ttl_seconds),
            membership_capacity: self.membership_games as usize,
            board_ttl: BOARD_TTL,
            board_capacity: BOARD_CAPACITY,
            health_label: self.health_consumer.clone(),
            health_start: match self.health_start {
                StartArg::Beginning => Start::Beginning,
                StartArg::End => Start::End,
            },
            keep_published: TimeDelta::hours(i64::from(self.keep_published_hours)),
            shutdown_timeout: seconds(self.shutdown_timeout_seconds),
            operation_timeout,
        })
    }
}

/// Refuses variables with our prefix that nobody reads: a misspelt setting must not be ignored.
pub fn refuse_unknown_variables(
    command: &clap::Command,
    present: impl IntoIterator<Item = String>,
) -> Result<(), BadSetting> {
    fn known(command: &clap::Command, name: &str) -> bool {
        command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| env == name))
            || command.get_subcommands().any(|sub| known(sub, name))
    }
    let stranger =
        present.into_iter().find(|name| name.starts_with(PREFIX) && !known(command, name));
    stranger.map_or(Ok(()), |variable| {
        Err(BadSetting { variable, problem: "is not a setting of this program".into() })
    })
}

impl Settings {
    /// Settings for development and tests: schedules with seconds, and waits as short as people who
    /// watch want them. Everything else is as in production.
    pub fn development(
        listen: SocketAddr,
        lobby_url: String,
        rtm_url: String,
        engine_networks: Vec<IpNet>,
    ) -> Self {
        Self {
            listen,
            http: HttpSettings::default(),
            instance: development_instance(),
            lobby_url,
            rtm_url,
            engine_networks: EngineNetworks::new(engine_networks),
            engine_limits: EngineLimits {
                admin: Duration::from_secs(5),
                turn: Duration::from_secs(60),
                player: Duration::from_secs(5),
            },
            peer_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            max_response_bytes: 4 << 20,
            policy: Policy {
                probe_lease: TimeDelta::seconds(10),
                turn_lease: TimeDelta::seconds(65),
                rtm_lease: TimeDelta::seconds(15),
                drain: TimeDelta::seconds(10),
                health_debounce: TimeDelta::seconds(5),
                retry_base: TimeDelta::seconds(1),
                retry_cap: TimeDelta::seconds(15),
                ..Policy::default()
            },
            schedule_resolution: Resolution::Seconds,
            concurrent_turns: 64,
            membership_ttl: Duration::from_secs(30),
            membership_capacity: 10_000,
            board_ttl: BOARD_TTL,
            board_capacity: BOARD_CAPACITY,
            health_label: "gamemaster".into(),
            health_start: Start::Beginning,
            keep_published: TimeDelta::hours(24),
            shutdown_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(90),
        }
    }
}

/// One process at a time has the store file of a development command open, so that whatever is
/// leased to this name at its start is known to be abandoned.
fn development_instance() -> InstanceId {
    const NAME: &str = "dev";
    #[expect(clippy::expect_used, reason = "a literal that is a valid name")]
    NAME.parse().expect("a valid name")
}
