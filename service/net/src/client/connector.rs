//! From an authority to a connection: resolve, check every address, dial.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use tokio::time::{Instant, timeout, timeout_at};

use super::{AddressGuard, NotSent};
use crate::seam::{BoxedStream, Net};

pub(super) const DEFAULT_PORT: u16 = 80;

/// How many addresses of a host are tried: a long list must not spread the time so thin that none
/// of them can answer.
const MAX_ADDRESSES_DIALLED: usize = 4;

pub(super) struct Connector {
    pub(super) net: Arc<dyn Net>,
    pub(super) guard: Option<Arc<dyn AddressGuard>>,
    pub(super) connect_timeout: Duration,
}

impl Connector {
    pub(super) async fn connect(&self, authority: &Authority) -> Result<BoxedStream, NotSent> {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
        let deadline = Instant::now().checked_add(self.connect_timeout);
        let attempt = async {
            let addresses = self.resolve(host, port).await?;
            self.check(host, &addresses)?;
            self.dial(&addresses, deadline).await
        };
        let outcome = timeout(self.connect_timeout, attempt).await;
        outcome.unwrap_or(Err(NotSent::ConnectTimedOut))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NotSent> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let addresses = self.net.resolve(host, port).await;
        addresses.map_err(|error| NotSent::Unresolved(Arc::new(error)))
    }

    /// SUBTLE: one forbidden address refuses the host. Skipping it and dialling the others would
    /// let a name with one harmless address pass as a harmless name.
    fn check(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), NotSent> {
        let Some(guard) = &self.guard else { return Ok(()) };
        match addresses.iter().find(|address| !guard.allows(host, **address)) {
            Some(forbidden) => Err(NotSent::Forbidden(*forbidden)),
            None => Ok(()),
        }
    }

    /// Tries the addresses in turn, each with an even share of the time that is left: one that does
    /// not answer must not use up the time of those behind it.
    /// No `deadline` means that it is too far away to be written down.
    async fn dial(
        &self,
        addresses: &[SocketAddr],
        deadline: Option<Instant>,
    ) -> Result<BoxedStream, NotSent> {
        let dialled = addresses.get(..MAX_ADDRESSES_DIALLED).unwrap_or(addresses);
        let mut last = NotSent::NoAddress;
        for (index, address) in dialled.iter().enumerate() {
            let attempt = self.net.connect(*address);
            let outcome = match deadline {
                Some(deadline) => timeout_at(share(deadline, dialled.len() - index), attempt).await,
                None => Ok(attempt.await),
            };
            last = match outcome {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    NotSent::ConnectTimedOut
                }
                Ok(Err(error)) => NotSent::ConnectFailed(Arc::new(error)),
                Err(_elapsed) => NotSent::ConnectTimedOut,
            };
        }
        Err(last)
    }
}

/// When the first of `waiting` attempts must be done, so that each gets as long as the others.
fn share(deadline: Instant, waiting: usize) -> Instant {
    let now = Instant::now();
    let parts = u32::try_from(waiting).unwrap_or(u32::MAX).max(1);
    now + deadline.saturating_duration_since(now) / parts
}
