//! One connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerError, Value,
};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::capped::Capped;
use super::{RedisFailure, RedisLimits, RedisUrl};
use crate::seam::{BoxedStream, Net};

/// How many addresses of a host are tried.
const MAX_ADDRESSES_DIALLED: usize = 4;
/// How much of what others wrote is repeated in an error.
const MAX_DETAIL_CHARS: usize = 200;

/// Closed when dropped, whatever is under way on it.
pub(super) struct Connection {
    requests: MultiplexedConnection,
    driver: AbortOnDropHandle<()>,
    /// More than a bounded number of bytes came.
    exceeded: Arc<AtomicBool>,
}

impl Connection {
    /// Connects, and has made sure that Redis answers. The error is a text for people.
    pub(super) async fn open(
        net: &dyn Net,
        url: &RedisUrl,
        limits: &RedisLimits,
    ) -> Result<Self, String> {
        let within = limits.connect_timeout.as_millis();
        let late = move |_| format!("{url} did not answer within {within} ms");
        timeout(limits.connect_timeout, Self::open_unbounded(net, url, limits))
            .await
            .map_err(late)?
            .map_err(|error| format!("{url}: {error}"))
    }

    async fn open_unbounded(
        net: &dyn Net,
        url: &RedisUrl,
        limits: &RedisLimits,
    ) -> Result<Self, String> {
        let dialled = dial(net, url, limits.connect_timeout).await;
        let stream = dialled.map_err(|error| error.to_string())?;
        let stream = Capped::new(stream, limits.max_answer_bytes);
        let exceeded = stream.exceeded();
        let mut info =
            RedisConnectionInfo::default().set_db(url.db().into()).set_skip_set_lib_name();
        if let Some(user) = url.user() {
            info = info.set_username(user);
        }
        if let Some(password) = url.password() {
            info = info.set_password(password.expose_secret());
        }
        // Every wait is bounded by the caller, who then closes the connection.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (requests, driver) = made.map_err(|error| without_secrets(&error))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        let connection = Self { requests, driver, exceeded };
        // A hung server is connected to by its system, and one that loads its data takes a
        // password: only an answer shows that there is somebody.
        match connection.ask_unbounded(&redis::cmd("PING")).await {
            Ok(_) => Ok(connection),
            Err(RedisFailure::Refused { code, detail }) => Err(format!("{code} {detail}")),
            Err(RedisFailure::NotSent(why) | RedisFailure::Unknown(why)) => Err(why),
            Err(error @ RedisFailure::TooLong) => Err(error.to_string()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    pub(super) async fn ask(&self, request: &Cmd, within: Duration) -> Result<Value, RedisFailure> {
        let answer = timeout(within, self.ask_unbounded(request)).await;
        answer.unwrap_or_else(|_| {
            Err(RedisFailure::Unknown(format!("none within {} ms", within.as_millis())))
        })
    }

    async fn ask_unbounded(&self, request: &Cmd) -> Result<Value, RedisFailure> {
        match self.requests.clone().send_packed_command(request).await {
            Ok(Value::ServerError(error)) => Err(refusal(&error)),
            Ok(value) => Ok(value),
            Err(_) if self.exceeded.load(Ordering::Relaxed) => Err(RedisFailure::TooLong),
            Err(error) => Err(RedisFailure::Unknown(escaped(&error.to_string()))),
        }
    }
}

fn refusal(error: &ServerError) -> RedisFailure {
    RedisFailure::Refused {
        code: escaped(error.code()),
        detail: escaped(error.details().unwrap_or_default()),
    }
}

/// SUBTLE: a server that does not know AUTH, because it was renamed, repeats the password in its
/// answer. So of an answer to it no more than the first word is given on.
fn without_secrets(error: &RedisError) -> String {
    if error.kind() == ErrorKind::Io {
        return escaped(&error.to_string());
    }
    match error.code() {
        Some(code) => format!("refused at once: {}", escaped(code)),
        None => "user, password or database are refused".into(),
    }
}

/// What others wrote, fit for a log.
pub(super) fn escaped(text: &str) -> String {
    text.chars().take(MAX_DETAIL_CHARS).flat_map(char::escape_debug).collect()
}

/// Tries the addresses in turn, each with an even share of the time that is left.
async fn dial(net: &dyn Net, url: &RedisUrl, within: Duration) -> io::Result<BoxedStream> {
    let deadline = Instant::now().checked_add(within);
    let (host, port) = (url.host(), url.port());
    let mut addresses = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => net.resolve(host, port).await?,
    };
    addresses.truncate(MAX_ADDRESSES_DIALLED);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (n, address) in addresses.iter().enumerate() {
        let attempt = net.connect(*address);
        let outcome = match deadline {
            None => attempt.await,
            Some(deadline) => {
                let now = Instant::now();
                let left = u32::try_from(addresses.len() - n).unwrap_or(1);
                let share = deadline.saturating_duration_since(now) / left;
                timeout_at(now + share, attempt)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        match outcome {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
