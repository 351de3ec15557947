//! Where Redis is and how long it may take, from the environment or as flags.

use std::time::Duration;

use clap::Args;
use net::{RedisLimits, RedisUrl};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{BadSetting, secret};

const URL: &str = "GAMEMASTER_REDIS_URL";
const KEY_PREFIX: &str = "GAMEMASTER_REDIS_KEY_PREFIX";
/// The longest prefix of keys that is taken.
const MAX_KEY_PREFIX_BYTES: usize = 64;

/// Settings of the streams in Redis. Each is a flag and an environment variable.
#[derive(Args, Clone, Debug)]
pub struct RedisArgs {
    /// Redis, 6.2 or newer, for streams and offsets: redis://[[user]:password@]host:port[/db].
    /// Better given as the variable where there is a password: flags can be read by everybody on
    /// the machine. TLS is not spoken.
    #[arg(long, env = URL, hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub redis_url: Option<SecretString>,

    /// The time a connection to Redis may take, in seconds.
    #[arg(long, env = "GAMEMASTER_REDIS_CONNECT_TIMEOUT_SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=60))]
    pub redis_connect_timeout_seconds: u32,

    /// The time an answer of Redis may take, in seconds; for a read that waits for news, on top of
    /// its wait.
    #[arg(long, env = "GAMEMASTER_REDIS_RESPONSE_TIMEOUT_SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=60))]
    pub redis_response_timeout_seconds: u32,

    /// What the names of all streams and offsets begin with, for deployments that share a Redis.
    /// Lobby, Runtime Manager and the notification service must use the same.
    #[arg(long, env = KEY_PREFIX, default_value = "", value_name = "PREFIX")]
    pub redis_key_prefix: String,
}

/// What [`RedisStreams`](super::RedisStreams) is told.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// How long it may take.
    pub limits: RedisLimits,
    /// What all keys begin with.
    pub key_prefix: String,
}

impl RedisArgs {
    /// Checks the settings; nothing where there is no URL.
    pub fn settings(&self) -> Result<Option<RedisSettings>, BadSetting> {
        let bad =
            |variable: &str, problem: String| BadSetting { variable: variable.into(), problem };
        let prefix = &self.redis_key_prefix;
        if prefix.len() > MAX_KEY_PREFIX_BYTES || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            let problem = format!("must be up to {MAX_KEY_PREFIX_BYTES} visible ASCII characters");
            return Err(bad(KEY_PREFIX, problem));
        }
        let Some(url) = &self.redis_url else { return Ok(None) };
        let url: RedisUrl =
            url.expose_secret().parse().map_err(|error| bad(URL, format!("is wrong: {error}")))?;
        let limits = RedisLimits {
            connect_timeout: seconds(self.redis_connect_timeout_seconds),
            response_timeout: seconds(self.redis_response_timeout_seconds),
            ..RedisLimits::default()
        };
        Ok(Some(RedisSettings { url, limits, key_prefix: prefix.clone() }))
    }
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(u64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches as _};

    fn args(flags: &[&str]) -> RedisArgs {
        let command = RedisArgs::augment_args(Command::new("gamemaster"));
        let matches = command.get_matches_from([&["gamemaster"], flags].concat());
        RedisArgs::from_arg_matches(&matches).expect("arguments")
    }

    #[test]
    fn without_a_url_there_is_no_redis() {
        assert!(args(&[]).settings().expect("settings").is_none());
    }

    #[test]
    fn reads_a_url_and_times() {
        let args = args(&[
            "--redis-url=redis://:geheim@redis:6379/3",
            "--redis-connect-timeout-seconds=5",
            "--redis-response-timeout-seconds=7",
            "--redis-key-prefix=blue:",
        ]);
        let settings = args.settings().expect("settings").expect("a URL");
        assert_eq!(settings.url.to_string(), "redis://redis:6379/3");
        assert_eq!(settings.limits.connect_timeout, Duration::from_secs(5));
        assert_eq!(settings.limits.response_timeout, Duration::from_secs(7));
        assert_eq!(settings.key_prefix, "blue:");
        assert!(!format!("{args:?} {settings:?}").contains("geheim"));
    }

    #[test]
    fn a_bad_setting_is_named_and_not_repeated() {
        let error = args(&["--redis-url=redis://:geheim@redis"]).settings().expect_err("no port");
        assert_eq!(error.variable, "GAMEMASTER_REDIS_URL");
        assert!(!error.to_string().contains("geheim"), "{error}");
        let error = args(&["--redis-key-prefix=a b"]).settings().expect_err("a blank");
        assert_eq!(error.variable, "GAMEMASTER_REDIS_KEY_PREFIX");
    }

    #[test]
    fn the_help_never_shows_the_url() {
        let mut command = RedisArgs::augment_args(Command::new("gamemaster"));
        let url = command.get_arguments().find(|arg| arg.get_id() == "redis_url");
        assert!(url.expect("the flag").is_hide_env_values_set());
        assert!(command.render_long_help().to_string().contains("GAMEMASTER_REDIS_URL"));
    }
}
