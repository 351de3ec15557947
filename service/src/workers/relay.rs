//! The outbox relay: what was committed reaches its stream, in order, once under its id.
//!
//! ```text
//!   outbox row ─▶ id assigned (store) ─▶ append under that id ─▶ marked published (store)
//! ```
//!
//! A lost answer is followed by the same append under the same id, which the stream refuses if the
//! first one got there. A stream whose newest entry is older than what the store knows as published
//! has lost its tail, and is given the missing entries again under their ids.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Channel, StreamId};
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::ports::{AppendAt, Appended, Clock, OutboxRow, Store, StoreError, StreamError, Streams};

/// How many messages are handled at a time.
const BATCH: usize = 100;
/// How many batches of one channel follow each other before the other one has its turn.
const MAX_BATCHES: usize = 100;
/// How often the outbox is looked into unasked: commits of other instances ring no bell here.
const IDLE: Duration = Duration::from_secs(1);
/// How often a stream is checked for a lost tail while nothing goes wrong.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
/// The pause after a failure; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// How often published messages are pruned.
const PRUNE_PERIOD: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Clone)]
pub struct Relay {
    /// Rings when there is something to publish.
    pub driver: Arc<Driver>,
    /// Where the outbox is.
    pub store: Arc<dyn Store>,
    /// Where the messages go.
    pub streams: Arc<dyn Streams>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How long a published message is kept, to be given again to a stream that lost it.
    pub keep_published: TimeDelta,
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl Relay {
    /// Runs until told to stop, and then until the outbox is empty or a try fails.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE;
        let mut check_at = tokio::time::Instant::now();
        let mut prune_at = tokio::time::Instant::now() + PRUNE_PERIOD;
        loop {
            let last = stop.is_cancelled();
            let now = tokio::time::Instant::now();
            match self.round(now >= check_at, now >= prune_at).await {
                Ok(()) => {
                    pause = PAUSE;
                    check_at = if now >= check_at { now + CHECK_PERIOD } else { check_at };
                    prune_at = if now >= prune_at { now + PRUNE_PERIOD } else { prune_at };
                }
                Err(error) => {
                    tracing::warn!(%error, "the outbox waits");
                    // Whatever was wrong may have cost the stream its tail.
                    check_at = now;
                    if !last {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            () = tokio::time::sleep(pause) => {}
                        }
                        pause = (pause * 2).min(PAUSE_CAP);
                        continue;
                    }
                }
            }
            if last {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.driver.outbox().notified() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    async fn round(&self, check: bool, prune: bool) -> Result<(), RelayError> {
        if check {
            self.measure().await?;
            self.restore_tail().await?;
        }
        for channel in Channel::ALL {
            for _ in 0..MAX_BATCHES {
                if self.publish(channel).await? < BATCH {
                    break;
                }
            }
        }
        if prune {
            let before = self.clock.now() - self.keep_published;
            self.store.outbox_prune(before).await?;
        }
        Ok(())
    }

    async fn measure(&self) -> Result<(), RelayError> {
        let backlog = self.store.outbox_backlog().await?;
        let age = backlog.oldest.and_then(|at| (self.clock.now() - at).to_std().ok());
        self.driver.telemetry().metrics().outbox(backlog.waiting, age.unwrap_or_default());
        Ok(())
    }

    /// Publishes a batch; answers how many there were.
    async fn publish(&self, channel: Channel) -> Result<usize, RelayError> {
        let now = self.clock.now();
        let floor = self.store.outbox_newest(channel).await?;
        let rows = self.store.outbox_assign(channel, floor, now, BATCH).await?;
        // SUBTLE: an entry above a lost tail would make the stream look complete for ever, so that
        // the tail is looked at before each batch and not only now and then.
        if channel == Channel::LobbyEvents && !rows.is_empty() {
            self.restore_tail().await?;
        }
        let mut published = Vec::with_capacity(rows.len());
        for row in &rows {
            let appended = match (channel, row.stream_id) {
                (Channel::LobbyEvents, Some(id)) => self.append(channel, row, id).await,
                // Others write there too: an id of our own would be refused, or refuse theirs. At
                // least once, and the idempotency key is the guard.
                (Channel::NotificationIntents, _) | (Channel::LobbyEvents, None) => self
                    .streams
                    .append(channel.as_str(), AppendAt::Next, row.payload.as_bytes())
                    .await
                    .map(|_| true)
                    .map_err(RelayError::from),
            };
            if let Ok(true) = appended {
                self.driver.telemetry().metrics().published(channel.into(), 1, row.stream_id);
            }
            match appended {
                Ok(true) => published.push(row.seq),
                // New ids are assigned in the next round; order is kept by going no further.
                Ok(false) => break,
                Err(error) => {
                    self.mark(&published).await?;
                    return Err(error);
                }
            }
        }
        let all = published.len() == rows.len();
        self.mark(&published).await?;
        Ok(if all { rows.len() } else { BATCH })
    }

    /// Appends under the assigned id; `false` where the id is of no use any more.
    async fn append(
        &self,
        channel: Channel,
        row: &OutboxRow,
        id: StreamId,
    ) -> Result<bool, RelayError> {
        let stream = channel.as_str();
        let payload = row.payload.as_bytes();
        if let Appended::Added(_) =
            self.streams.append(stream, AppendAt::Exactly(id), payload).await?
        {
            return Ok(true);
        }
        // Refused: either it is there already, by a try whose answer was lost,
        if self.streams.entry(stream, id).await?.is_some_and(|e| e.payload == payload) {
            return Ok(true);
        }
        // or the stream's newest id is from the future: go on above it.
        let newest = self.streams.newest(stream).await?;
        tracing::warn!(stream, %newest, assigned = %id, "ids are assigned anew above the newest");
        self.store.outbox_unassign(channel).await?;
        self.store.outbox_assign(channel, newest, self.clock.now(), BATCH).await?;
        Ok(false)
    }

    async fn mark(&self, published: &[u64]) -> Result<(), RelayError> {
        if published.is_empty() {
            return Ok(());
        }
        Ok(self.store.outbox_published(published, self.clock.now()).await?)
    }

    /// Gives a stream that lost its tail the missing entries again, same ids, same order.
    async fn restore_tail(&self) -> Result<(), RelayError> {
        let channel = Channel::LobbyEvents;
        let stream = channel.as_str();
        let known = self.store.outbox_newest(channel).await?;
        let mut newest = self.streams.newest(stream).await?;
        if newest >= known {
            return Ok(());
        }
        tracing::warn!(stream, %newest, %known, "the stream lost its tail; publishing it again");
        loop {
            let rows = self.store.outbox_published_after(channel, newest, BATCH).await?;
            for row in &rows {
                if let Some(id) = row.stream_id {
                    self.append(channel, row, id).await?;
                    newest = id;
                }
            }
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }
}
