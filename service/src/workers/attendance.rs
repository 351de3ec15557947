//! Attendance: says again and again that this process is there, and is told who else is and what this
//! one leads. Ends last: whoever drains still leads what it must bring to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::jitter::jittered;
use crate::driver::Driver;
use crate::fleet::Fleet;
use crate::ports::{Attendance as Said, Presence, Role, Roll, Store, StoreError};

/// How many calls the store is given before it takes a process for gone. Between two calls there is
/// four fifths of that share, and up to half as long again: the share itself, on the whole.
const CALLS: u32 = 3;
/// The pause after a call that failed, and up to half as long again.
const RETRY: Duration = Duration::from_millis(300);
/// How long the store may take to say that it knows of the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone)]
pub struct Attendance {
    /// Counts.
    pub driver: Arc<Driver>,
    /// Who attends.
    pub store: Arc<dyn Store>,
    /// Who is told.
    pub fleet: Arc<Fleet>,
    /// Who says so.
    pub presence: Presence,
    /// How long the store is to believe it.
    pub ttl: Duration,
    /// Cancelled when this process begins to end: here, where a later life has its name.
    pub stopping: CancellationToken,
}

impl Attendance {
    /// Says once that this process is there: before the workers begin, which would otherwise take
    /// themselves for alone.
    pub async fn begin(&self) {
        if let Err(error) = self.attend().await {
            tracing::warn!(%error, "not on the roll yet");
        }
    }

    /// Runs until told to stop; then gives up what this process has.
    pub async fn run(self, stop: CancellationToken) {
        let mut drains = self.stopping.is_cancelled();
        loop {
            let said = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                said = self.attend() => said,
            };
            let pause = match said {
                Ok(true) => self.ttl * 4 / (5 * CALLS),
                // It has nothing to give up.
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "attendance is not confirmed");
                    RETRY
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.stopping.cancelled(), if !drains => drains = true,
                () = tokio::time::sleep(jittered(pause, self.driver.entropy())) => {}
            }
        }
        self.fleet.told(&Roll::default(), Instant::now(), Duration::ZERO);
        let left = tokio::time::timeout(LEAVE_TIMEOUT, self.store.leave(&self.presence)).await;
        match left {
            Ok(Ok(())) => tracing::info!("left; others may lead at once"),
            Ok(Err(error)) => tracing::warn!(%error, "others lead once the term is over"),
            Err(_) => tracing::warn!("others lead once the term is over"),
        }
    }

    /// Whether this process may stay.
    async fn attend(&self) -> Result<bool, StoreError> {
        let is_draining = self.stopping.is_cancelled();
        // What is in the outbox is brought to its end, by the last of several too, which may not have
        // led before; nothing else is begun.
        let wants = if is_draining { vec![Role::OutboxRelay] } else { Role::ALL.to_vec() };
        let said = Said { presence: self.presence.clone(), is_draining, wants };
        let asked_at = Instant::now();
        let asked = self.store.attend(&said, self.ttl);
        // An answer that takes longer says nothing any more.
        let Ok(roll) = tokio::time::timeout(self.ttl, asked).await else {
            return Err(StoreError("no answer in time".into()));
        };
        let roll = roll?;
        self.driver.telemetry().metrics().alive(roll.alive.len());
        self.fleet.told(&roll, asked_at, self.ttl);
        if roll.displaced {
            tracing::error!(
                instance = %self.presence.instance,
                "another process runs under this one's name; this one ends. Names must be unique: \
                 set GAMEMASTER_INSTANCE"
            );
            self.stopping.cancel();
        }
        Ok(!roll.displaced)
    }
}
