//! Configuration: what a deployment sets, from the environment or as flags.

mod usage;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use machine::{InstanceId, Policy, Resolution};
use net::ServerLimits;
use secrecy::{ExposeSecret as _, SecretString};

use crate::clients::{EngineLimits, EngineNetworks};
use crate::fleet::TERM_TTL;
use crate::http::{HttpSettings, Tokens};
use crate::postgres::PostgresArgs;
use crate::redis_streams::RedisArgs;
use crate::telemetry::{TelemetryArgs, TelemetrySettings};
use crate::workers::Start;

pub use self::usage::refusals;

/// A setting that makes no sense, by the name of its variable. Never carries the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
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
    pub lobby_timeout: Duration,
    pub rtm_timeout: Duration,
    pub connect_timeout: Duration,
    pub max_response_bytes: usize,
    pub policy: Policy,
    pub schedule_resolution: Resolution,
    /// Schedules with occurrences closer to each other than this are refused; zero: none is.
    pub min_interval: TimeDelta,
    pub concurrent_turns: usize,
    /// How long the store believes that this process is there while it says nothing.
    pub term_ttl: Duration,
    pub membership_ttl: Duration,
    pub membership_capacity: usize,
    pub board_ttl: Duration,
    pub board_capacity: usize,
    pub health_label: String,
    pub health_start: Start,
    pub keep_published: TimeDelta,
    /// Nothing: the stream is never trimmed.
    pub trim_after: Option<TimeDelta>,
    pub shutdown_timeout: Duration,
    pub operation_timeout: Duration,
    pub telemetry: TelemetrySettings,
}

/// How long the board believes a record without having committed or read it again.
const BOARD_TTL: Duration = Duration::from_secs(2);
/// How many records the board holds.
const BOARD_CAPACITY: usize = 100_000;

/// The variable with the callers' tokens.
const API_TOKENS: &str = "GAMEMASTER_API_TOKENS";

/// The prefix of every variable.
pub const PREFIX: &str = "GAMEMASTER_";

/// Settings of `gamemaster serve`. Each is a flag and an environment variable.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where the REST API listens. An address other than loopback needs --api-tokens.
    #[arg(long, env = "GAMEMASTER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// The callers' bearer tokens: gateway=…,lobby=…,admin=…, each of 16 to 256 visible ASCII
    /// characters without a comma. A caller may have several, while one is exchanged for another.
    /// Better given as the variable: flags can be read by everybody on the machine.
    #[arg(long, env = API_TOKENS, hide_env_values = true, value_name = "CALLER=TOKEN,…",
          value_parser = secret)]
    pub api_tokens: Option<SecretString>,
    /// How many connections are served at a time. Beyond it the one that has waited the longest
    /// without a request is closed; where all have one, the answer is 503. Held to what the system
    /// lets the process open.
    #[arg(long, env = "GAMEMASTER_LISTENER_MAX_CONNECTIONS", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// How many requests are in flight at a time; beyond it 503 at once.
    #[arg(long, env = "GAMEMASTER_LISTENER_MAX_IN_FLIGHT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// How many of them are about one game, and never more than are left for all others.
    #[arg(long, env = "GAMEMASTER_LISTENER_MAX_IN_FLIGHT_PER_GAME", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight_per_game: u32,

    /// The largest request body, in bytes; beyond it 413.
    #[arg(long, env = "GAMEMASTER_LISTENER_MAX_BODY_BYTES", default_value_t = 1 << 20,
          value_parser = clap::value_parser!(u64).range(1024..=1 << 26))]
    pub max_body_bytes: u64,

    /// The time a request's headers may take to arrive, in seconds.
    #[arg(long, env = "GAMEMASTER_LISTENER_HEADER_TIMEOUT_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub header_timeout_seconds: u32,

    /// The time a request's body may take to arrive, in seconds; beyond it 408.
    #[arg(long, env = "GAMEMASTER_LISTENER_BODY_TIMEOUT_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub body_timeout_seconds: u32,

    /// How long a connection may stay open between two requests, in seconds.
    #[arg(long, env = "GAMEMASTER_LISTENER_IDLE_TIMEOUT_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub idle_timeout_seconds: u32,

    /// The name of this process in leases. Unique among processes that run at the same time and the
    /// same after a restart: a process takes up at once what its predecessor left behind.
    #[arg(long, env = "GAMEMASTER_INSTANCE", default_value = "gm-1", value_parser = instance)]
    pub instance: InstanceId,

    /// The file of the embedded store; in memory where neither it nor a database is set.
    #[arg(long, env = "GAMEMASTER_STORE_FILE", value_name = "FILE")]
    pub store_file: Option<PathBuf>,

    /// The database instead.
    #[command(flatten)]
    pub postgres: PostgresArgs,

    /// The streams of the neighbours.
    #[command(flatten)]
    pub redis: RedisArgs,

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

    /// The time in which an engine, Lobby or Runtime Manager must take a connection, in
    /// milliseconds.
    #[arg(long, env = "GAMEMASTER_ENGINE_CLIENT_CONNECT_TIMEOUT_MS", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub connect_timeout_ms: u32,

    /// The time a call to Lobby may take, in seconds.
    #[arg(long, env = "GAMEMASTER_LOBBY_TIMEOUT_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub lobby_timeout_seconds: u32,

    /// The time a call to Runtime Manager may take, in seconds.
    #[arg(long, env = "GAMEMASTER_RTM_TIMEOUT_SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub rtm_timeout_seconds: u32,

    /// Which schedules are accepted: `seconds` also takes six fields, the first one seconds; meant
    /// for development and tests.
    #[arg(long, env = "GAMEMASTER_SCHEDULER_RESOLUTION", default_value = "minutes")]
    pub resolution: ResolutionArg,

    /// Schedules that fire more often than every so many seconds are refused. 0 refuses none.
    #[arg(long, env = "GAMEMASTER_SCHEDULER_MIN_INTERVAL_SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=31_536_000))]
    pub min_interval_seconds: u32,

    /// How many turns are begun at the same time. One that takes long makes room for others, of
    /// which there are at most 16 times as many.
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
    #[arg(long, env = "GAMEMASTER_STREAMS_HEALTH_CONSUMER", default_value = "gamemaster",
          value_parser = consumer)]
    pub health_consumer: String,

    /// Where health events are read from where no usable offset was saved.
    #[arg(long, env = "GAMEMASTER_STREAMS_HEALTH_START", default_value = "beginning")]
    pub health_start: StartArg,

    /// How long published messages are kept for a stream that loses its tail, in hours.
    #[arg(long, env = "GAMEMASTER_STREAMS_KEEP_PUBLISHED_HOURS", default_value_t = 24,
          value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub keep_published_hours: u32,

    /// Entries of `gm:lobby_events` older than this are trimmed off, in days, save those that the
    /// stream would be given again. 0: never.
    #[arg(long, env = "GAMEMASTER_STREAMS_TRIM_AFTER_DAYS", default_value_t = 14,
          value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub trim_after_days: u32,

    /// How long the process may take to end after SIGTERM, in seconds: running turns are waited for.
    #[arg(long, env = "GAMEMASTER_SHUTDOWN_TIMEOUT_SECONDS", default_value_t = 25,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub shutdown_timeout_seconds: u32,

    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
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

/// A secret from a flag or a variable, taken as it is and judged later: the parser of the command line
/// repeats what it refuses.
pub fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

fn instance(text: &str) -> Result<InstanceId, String> {
    text.parse().map_err(|e: machine::InvalidValue| e.to_string())
}

/// A name that can be part of a key.
fn consumer(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 letters, digits, '-', '_', '.' or ':'".to_owned())
}

/// `http://host:port`, a trailing slash dropped.
fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let endpoint: machine::EngineEndpoint =
        text.parse().map_err(|_| "must be http://host:port".to_owned())?;
    Ok(endpoint.as_str().to_owned())
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
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
        let tokens = self.api_tokens.as_ref().map(|text| text.expose_secret().parse::<Tokens>());
        let tokens = tokens.transpose().map_err(|error| BadSetting {
            variable: API_TOKENS.into(),
            problem: error.to_string(),
        })?;
        if tokens.is_none() && !self.listen.ip().is_loopback() {
            let problem = format!("must be a loopback address where {API_TOKENS} is not set");
            return Err(bad("LISTEN", &problem));
        }
        let engine_limits = EngineLimits {
            admin: seconds(self.admin_timeout_seconds),
            turn: seconds(self.turn_timeout_seconds),
            player: seconds(self.player_timeout_seconds),
        };
        if self.max_in_flight_per_game > self.max_in_flight {
            let problem = "must not be above GAMEMASTER_LISTENER_MAX_IN_FLIGHT";
            return Err(bad("LISTENER_MAX_IN_FLIGHT_PER_GAME", problem));
        }
        let connect_timeout = Duration::from_millis(u64::from(self.connect_timeout_ms));
        if connect_timeout >= seconds(self.player_timeout_seconds.min(self.admin_timeout_seconds)) {
            let problem = "must be shorter than each of the calls it is part of";
            return Err(bad("ENGINE_CLIENT_CONNECT_TIMEOUT_MS", problem));
        }
        let rtm_timeout = seconds(self.rtm_timeout_seconds);
        let drain = TimeDelta::seconds(i64::from(self.drain_seconds));
        let policy = Policy {
            probe_lease: lease(engine_limits.admin),
            turn_lease: lease(engine_limits.turn),
            rtm_lease: lease(rtm_timeout),
            drain,
            health_debounce: TimeDelta::seconds(i64::from(self.health_debounce_seconds)),
            probe_failed_threshold: self.probe_failed_threshold,
            ..Policy::default()
        };
        // The longest an operation takes: a stop that drains a turn and then asks RTM.
        let operation_timeout = engine_limits.turn
            + engine_limits.admin
            + rtm_timeout
            + seconds(self.drain_seconds)
            + Duration::from_secs(10);
        let redis = self.redis.settings()?;
        if let Some(postgres) = self.postgres.settings() {
            postgres.check().map_err(|error| bad("POSTGRES_URL", &error.to_string()))?;
            if redis.is_none() {
                let problem = "must be set where GAMEMASTER_POSTGRES_URL is: streams in memory \
                               would be lost with the process";
                return Err(bad("REDIS_URL", problem));
            }
            if self.store_file.is_some() {
                return Err(bad("STORE_FILE", "makes no sense beside GAMEMASTER_POSTGRES_URL"));
            }
        }
        Ok(Settings {
            listen: self.listen,
            http: HttpSettings { tokens, ..self.http() },
            instance: self.instance.clone(),
            lobby_url: self.lobby_url.clone(),
            rtm_url: self.rtm_url.clone(),
            engine_networks: EngineNetworks::new(self.engine_networks.clone()),
            engine_limits,
            lobby_timeout: seconds(self.lobby_timeout_seconds),
            rtm_timeout,
            connect_timeout,
            max_response_bytes: bytes(self.max_response_bytes),
            min_interval: TimeDelta::seconds(i64::from(self.min_interval_seconds)),
            policy,
            schedule_resolution: match self.resolution {
                ResolutionArg::Minutes => Resolution::Minutes,
                ResolutionArg::Seconds => Resolution::Seconds,
            },
            concurrent_turns: self.concurrent_turns as usize,
            term_ttl: TERM_TTL,
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
            trim_after: Some(TimeDelta::days(i64::from(self.trim_after_days)))
                .filter(|age| !age.is_zero()),
            shutdown_timeout: seconds(self.shutdown_timeout_seconds),
            operation_timeout,
            telemetry: self.telemetry.settings(),
        })
    }
}

impl ServeArgs {
    fn http(&self) -> HttpSettings {
        HttpSettings {
            server: ServerLimits {
                max_connections: self.max_connections as usize,
                header_timeout: seconds(self.header_timeout_seconds),
                idle_timeout: seconds(self.idle_timeout_seconds),
                // What bounds the end of the process bounds that of its connections.
                drain: seconds(self.shutdown_timeout_seconds),
                ..ServerLimits::default()
            },
            max_body_bytes: bytes(self.max_body_bytes),
            body_timeout: seconds(self.body_timeout_seconds),
            max_in_flight: self.max_in_flight as usize,
            max_in_flight_per_game: self.max_in_flight_per_game as usize,
            ..HttpSettings::default()
        }
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
            lobby_timeout: Duration::from_secs(10),
            rtm_timeout: Duration::from_secs(10),
            min_interval: TimeDelta::zero(),
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
            term_ttl: TERM_TTL,
            membership_ttl: Duration::from_secs(30),
            membership_capacity: 10_000,
            board_ttl: BOARD_TTL,
            board_capacity: BOARD_CAPACITY,
            health_label: "gamemaster".into(),
            health_start: Start::Beginning,
            keep_published: TimeDelta::hours(24),
            trim_after: Some(TimeDelta::days(14)),
            shutdown_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(90),
            telemetry: TelemetrySettings::default(),
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Serve {
        #[command(flatten)]
        args: ServeArgs,
    }

    const TOKENS: &str =
        "gateway=gateway-hunter2-1,lobby=lobby-hunter2-001,admin=admin-hunter2-001";

    fn args(more: &[&str]) -> ServeArgs {
        let needed = [
            "gamemaster",
            "--lobby-url=http://lobby:80",
            "--rtm-url=http://rtm:80",
            "--engine-networks=10.0.0.0/8",
        ];
        let all = needed.iter().chain(more);
        Serve::try_parse_from(all).map(|serve| serve.args).expect("taken at first")
    }

    #[test]
    fn without_tokens_only_this_machine_is_served() {
        let settings = args(&[]).settings().expect("loopback");
        assert!(settings.http.tokens.is_none());
        assert!(args(&["--listen=[::1]:80"]).settings().is_ok());
        for open in ["--listen=0.0.0.0:80", "--listen=10.0.0.1:80", "--listen=[::]:80"] {
            let refused = args(&[open]).settings().expect_err(open);
            assert_eq!(refused.variable, "GAMEMASTER_LISTEN");
            assert!(refused.problem.contains(API_TOKENS), "{refused}");
            let tokens = format!("--api-tokens={TOKENS}");
            assert!(args(&[open, &tokens]).settings().expect("tokens").http.tokens.is_some());
        }
    }

    #[test]
    fn bad_settings_are_named_and_secrets_never_shown() {
        for bad in ["", "hunter2", "admin=hunter2", &TOKENS.replace("lobby=", "hunter2=")] {
            let args = args(&[&format!("--api-tokens={bad}")]);
            let refused = args.settings().expect_err(bad);
            assert_eq!(refused.variable, API_TOKENS);
            for shown in [refused.to_string(), format!("{refused:?}"), format!("{args:?}")] {
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
        let args = args(&[&format!("--api-tokens={TOKENS}")]);
        let settings = args.settings().expect("good");
        for shown in [format!("{args:?}"), format!("{settings:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let serve = <Serve as clap::CommandFactory>::command();
        let known = [API_TOKENS, "GAMEMASTER_LISTEN", "PATH"].map(str::to_owned);
        assert_eq!(refuse_unknown_variables(&serve, known), Ok(()));
        let unknown = refuse_unknown_variables(&serve, ["GAMEMASTER_API_TOKEN".to_owned()]);
        assert_eq!(unknown.expect_err("misspelt").variable, "GAMEMASTER_API_TOKEN");
        let tokens = serve.get_arguments().find(|arg| arg.get_id() == "api_tokens");
        assert!(tokens.expect("the flag").is_hide_env_values_set());
        assert!(API_TOKENS.starts_with(PREFIX));
    }
}
