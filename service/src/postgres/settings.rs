//! What a deployment sets.

use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::connect;
use super::error::OpenError;
use crate::config::secret;

/// The database, as flags and environment variables, to be flattened into a command's own.
#[derive(Args, Clone, Debug)]
pub struct PostgresArgs {
    /// The database, as `postgresql://user:password@host:port/database`; several hosts, separated by
    /// commas, are tried in order for one that writes. Set it in the environment: arguments can be
    /// read by every user of the machine.
    #[arg(long, env = "GAMEMASTER_POSTGRES_URL", value_name = "URL", hide_env_values = true,
          value_parser = secret)]
    pub postgres_url: Option<SecretString>,

    /// The most connections to the database.
    #[arg(long, env = "GAMEMASTER_POSTGRES_POOL_SIZE", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(2..=500))]
    pub postgres_pool_size: u16,

    /// How many batches of commits are under way at a time; each takes a connection meanwhile.
    #[arg(long, env = "GAMEMASTER_POSTGRES_COMMIT_LANES", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub postgres_commit_lanes: u16,

    /// How many commits share a round trip and an fsync, at the most.
    #[arg(long, env = "GAMEMASTER_POSTGRES_COMMIT_BATCH", default_value_t = 128,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub postgres_commit_batch: u16,

    /// How long a request waits for a free connection, in milliseconds.
    #[arg(long, env = "GAMEMASTER_POSTGRES_WAIT_TIMEOUT_MILLISECONDS", default_value_t = 3_000,
          value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub postgres_wait_timeout_milliseconds: u32,

    /// How long opening a connection may take, in milliseconds.
    #[arg(long, env = "GAMEMASTER_POSTGRES_CONNECT_TIMEOUT_MILLISECONDS", default_value_t = 3_000,
          value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub postgres_connect_timeout_milliseconds: u32,

    /// How long the server works on one statement, in milliseconds.
    #[arg(long, env = "GAMEMASTER_POSTGRES_STATEMENT_TIMEOUT_MILLISECONDS", default_value_t = 5_000,
          value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub postgres_statement_timeout_milliseconds: u32,

    /// How long a statement waits for a row that another one holds, in milliseconds.
    #[arg(long, env = "GAMEMASTER_POSTGRES_LOCK_TIMEOUT_MILLISECONDS", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub postgres_lock_timeout_milliseconds: u32,
}

/// What the store is told.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the setting of the same name, documented there")]
pub struct PostgresSettings {
    pub url: SecretString,
    pub pool_size: usize,
    pub commit_lanes: usize,
    pub commit_batch: usize,
    pub wait_timeout: Duration,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
}

impl PostgresSettings {
    /// Whether the URL makes sense, before anything is connected.
    pub fn check(&self) -> Result<(), OpenError> {
        connect::config(&self.url, self.connect_timeout).map(drop)
    }

    /// The defaults of the flags.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            pool_size: 16,
            commit_lanes: 2,
            commit_batch: 128,
            wait_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
        }
    }
}

impl PostgresArgs {
    /// The settings; `None` where no database is named.
    pub fn settings(&self) -> Option<PostgresSettings> {
        let ms = |n: u32| Duration::from_millis(u64::from(n));
        // At least one connection is left to those who read.
        let lanes = self.postgres_commit_lanes.min(self.postgres_pool_size.saturating_sub(1));
        Some(PostgresSettings {
            url: self.postgres_url.clone()?,
            pool_size: usize::from(self.postgres_pool_size),
            commit_lanes: usize::from(lanes),
            commit_batch: usize::from(self.postgres_commit_batch),
            wait_timeout: ms(self.postgres_wait_timeout_milliseconds),
            connect_timeout: ms(self.postgres_connect_timeout_milliseconds),
            statement_timeout: ms(self.postgres_statement_timeout_milliseconds),
            lock_timeout: ms(self.postgres_lock_timeout_milliseconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        postgres: PostgresArgs,
    }

    fn parse(args: &[&str]) -> PostgresArgs {
        let args = std::iter::once("gamemaster").chain(args.iter().copied());
        Command::try_parse_from(args).expect("settings").postgres
    }

    #[test]
    fn the_defaults_are_those_of_the_flags_and_the_url_is_not_shown() {
        assert!(parse(&[]).settings().is_none());
        let args = parse(&["--postgres-url", "postgresql://gm:hush@db/gm"]);
        let settings = args.settings().expect("a database");
        let wanted = PostgresSettings::new("postgresql://gm:hush@db/gm".into());
        assert_eq!(format!("{settings:?}"), format!("{wanted:?}"));
        assert!(!format!("{args:?}{settings:?}").contains("hush"));
    }

    #[test]
    fn lanes_leave_a_connection_to_readers() {
        let args = ["--postgres-url", "x", "--postgres-pool-size", "2"];
        assert_eq!(parse(&args).settings().expect("a database").commit_lanes, 1);
    }
}
