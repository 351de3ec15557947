//! What several of the programs are told, and the seams they run on.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use net::{ClientLimits, HttpClient, RedisLimits, TokioNet};
use peers::{
    backoff::Backoff,
    bus::{Bus, FollowLimits},
    env::Env,
    redis_bus::RedisBus,
};

use crate::Failure;

/// Where it listens and what it keeps.
#[derive(Args)]
pub(crate) struct Place {
    /// Address to listen on; port 0 lets the system choose, and the log says which.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// File that keeps its state across restarts; in memory where not set.
    #[arg(long, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,
}

/// The streams.
#[derive(Args)]
pub(crate) struct Streams {
    /// Redis: redis://[[user]:password@]host:port[/db].
    #[arg(long, env = "NEIGHBOUR_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) redis_url: String,
    /// What the names of all streams begin with; the same as Game Master's.
    #[arg(long, env = "NEIGHBOUR_REDIS_KEY_PREFIX", default_value = "", value_name = "PREFIX")]
    pub(crate) redis_key_prefix: String,
    /// The longest pause between two tries while Redis is out of reach, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub(crate) redis_retry_ms: u64,
}

impl Streams {
    pub(crate) fn bus(&self) -> Result<Arc<dyn Bus>, Failure> {
        // Parsed here and not by clap, whose message would show a password.
        let url = self.redis_url.parse().map_err(|error| format!("--redis-url: {error}"))?;
        let net = Arc::new(TokioNet);
        Ok(RedisBus::new(net, url, RedisLimits::default(), &self.redis_key_prefix))
    }

    pub(crate) fn follow(&self) -> FollowLimits {
        let cap = Duration::from_millis(self.redis_retry_ms);
        let first = Backoff::default().first.min(cap);
        FollowLimits { backoff: Backoff { first, cap }, ..FollowLimits::default() }
    }
}

/// The machine's clock, and random identifiers.
#[expect(clippy::disallowed_methods, reason = "this is where a process takes them from")]
pub(crate) fn env() -> Env {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Env::new(
        move || u64::try_from(since().as_millis()).unwrap_or(u64::MAX),
        || uuid::Uuid::new_v4().simple().to_string(),
    )
}

/// A client for calls that take up to `timeout`.
pub(crate) fn client(timeout: Duration) -> HttpClient {
    let limits = ClientLimits { total_timeout: timeout, ..ClientLimits::default() };
    HttpClient::new(Arc::new(TokioNet), limits, None)
}

pub(crate) fn milliseconds(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn listening(address: SocketAddr) {
    tracing::info!(%address, "listening");
}
