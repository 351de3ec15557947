//! The outbox relay: what was committed reaches its stream, in order, once under its id.
//!
//! ```text
//!   outbox rows ─▶ ids assigned (store) ─▶ appended under those ids ─▶ marked published (store)
//! ```
//!
//! A lost answer is followed by the same appends under the same ids, which the stream refuses if
//! the first ones got there. A stream whose newest entry is older than what the store knows as
//! published has lost its tail, and is given the missing entries again under their ids.
//!
//! What went out long ago is trimmed off the stream that has no other writer. The other one,
//! `notification:intents`, is not: how long its entries must stay is for those to say who read it,
//! and those who write to it as well would lose theirs.
//!
//! Of several processes one relays at a time, in a term. SUBTLE: for a moment two may, one of them
//! frozen and about to go on. The store assigns and takes back ids only in the current term, so that
//! the late one can reorder nothing. What it had on its way to the stream is under the very ids that
//! its successor finds assigned: whichever comes second is refused, finds the entry there, and marks
//! it. Marks and prunes name what they are about, and may come twice. What is left: an intent that
//! both send is there twice, under one idempotency key; and an entry on its way to a stream that
//! loses its tail at that very moment may come before those that are given again, which are then
//! refused.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Channel, StreamId};
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::ports::{
    AppendAt, AppendedAll, Clock, NewEntry, OutboxRow, Stopped, Store, StoreError, StreamError,
    Streams, Term,
};

/// How many messages are handled at a time. To the store most of a small batch is the two commits.
const BATCH: usize = 500;
/// How many of them are appended at a time: the streams serve others as well, and an answer that is
/// lost doubles no more intents than these.
const MAX_TOGETHER: usize = 100;
/// How long those may be together; one that is longer goes alone.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How many batches of one channel follow each other before the other one has its turn.
const MAX_BATCHES: usize = 100;
/// How often the outbox is looked into unasked: what other instances commit rings no bell here while
/// they are not heard of.
const IDLE: Duration = Duration::from_secs(1);
/// How often a stream is checked for a lost tail while nothing goes wrong.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
/// The pause after a failure; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// Intents that went out so long before the newest entry that a stream still has may be gone with its
/// tail: ids are given before the append, which may have been tried more than once.
const LOST_TOGETHER: TimeDelta = TimeDelta::seconds(60);
/// Intents older than this are not told again, whatever was lost: they were read long ago, and whoever
/// de-duplicates them need not remember them for ever.
const INTENTS_AGAIN: TimeDelta = TimeDelta::minutes(10);
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
    /// In which term this process leads: the store assigns nothing in another.
    pub term: Term,
    /// How old an entry of the stream for Lobby may become; nothing: it is never trimmed.
    pub trim_after: Option<TimeDelta>,
}

/// Why messages wait, or nothing is trimmed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of the streams.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Another process leads by now.
    #[error("another process leads by now")]
    Replaced,
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
            let mut held = self.published(channel).await?;
            for _ in 0..MAX_BATCHES {
                if self.publish(channel, &mut held).await? < BATCH {
                    break;
                }
            }
        }
        if prune {
            self.forget().await;
        }
        Ok(())
    }

    async fn measure(&self) -> Result<(), RelayError> {
        let backlog = self.store.outbox_backlog().await?;
        let age = backlog.oldest.and_then(|at| (self.clock.now() - at).to_std().ok());
        self.driver.telemetry().metrics().outbox(backlog.waiting, age.unwrap_or_default());
        Ok(())
    }

    /// What the stream must hold, whatever else it holds: the newest id marked as published.
    async fn published(&self, channel: Channel) -> Result<StreamId, StoreError> {
        match channel {
            Channel::LobbyEvents => self.store.outbox_newest(channel).await,
            // The ids there are not the store's.
            Channel::NotificationIntents => Ok(StreamId::ZERO),
        }
    }

    /// Publishes a batch; answers how many there were. `held` is what the stream is known to hold.
    async fn publish(&self, channel: Channel, held: &mut StreamId) -> Result<usize, RelayError> {
        let now = self.clock.now();
        let rows = self.store.outbox_assign(self.term, channel, *held, now, BATCH).await?;
        let rows = rows.ok_or(RelayError::Replaced)?;
        let mut out = 0;
        let end = self.put(channel, &rows, &mut out, held).await;
        // Before all else: what is there must neither lose its id nor be missed in a lost tail.
        let seqs: Vec<u64> = rows.iter().take(out).map(|row| row.seq).collect();
        if !seqs.is_empty() {
            self.store.outbox_published(&seqs, self.clock.now()).await?;
        }
        match end? {
            None => return Ok(rows.len()),
            Some(Stopped::Failed(error)) => return Err(error.into()),
            Some(Stopped::Short(_)) => {
                self.restore_tail().await?;
                *held = self.published(channel).await?;
            }
            // The stream's newest id is from the future: go on above it. Order is kept by going no
            // further with these.
            Some(Stopped::NotAbove) => self.assign_anew(channel).await?,
        }
        Ok(BATCH)
    }

    /// Puts messages into their stream, and tells why it went no further. Counts in `out` how many
    /// of the first are there.
    async fn put(
        &self,
        channel: Channel,
        rows: &[OutboxRow],
        out: &mut usize,
        held: &mut StreamId,
    ) -> Result<Option<Stopped>, RelayError> {
        let metrics = self.driver.telemetry().metrics();
        while let Some(left) = rows.get(*out..).filter(|left| !left.is_empty()) {
            // SUBTLE: an entry above a lost tail would make the stream look complete for ever, so
            // that the streams look at the tail whenever something is put above it.
            let AppendedAll { added, stopped } = self.append(channel, *held, left).await;
            *out += added.len();
            metrics.published(channel.into(), added.len(), added.last().copied());
            if channel == Channel::LobbyEvents {
                *held = added.last().copied().unwrap_or(*held).max(*held);
            }
            match stopped {
                None => {}
                Some(Stopped::NotAbove) => {
                    let rest = rows.get(*out..).unwrap_or_default();
                    // Put there by a try whose answer was lost.
                    let there = self.already_there(channel, rest).await?;
                    if there == 0 {
                        return Ok(stopped);
                    }
                    *out += there;
                    let newest = rest.get(there - 1).and_then(|row| row.stream_id);
                    metrics.published(channel.into(), there, newest);
                }
                Some(Stopped::Failed(_) | Stopped::Short(_)) => return Ok(stopped),
            }
        }
        Ok(None)
    }

    /// Appends the first of some messages, as many as go together.
    async fn append(&self, channel: Channel, onto: StreamId, rows: &[OutboxRow]) -> AppendedAll {
        let mut bytes = 0;
        let together = rows.iter().enumerate().take_while(|(n, row)| {
            bytes += row.payload.len();
            *n == 0 || (*n < MAX_TOGETHER && bytes <= MAX_BYTES)
        });
        let entries: Vec<NewEntry<'_>> = together
            .map(|(_, row)| {
                let at = match (channel, row.stream_id) {
                    (Channel::LobbyEvents, Some(id)) => AppendAt::Exactly(id),
                    // Others write there too: an id of our own would be refused, or refuse theirs.
                    // At least once, and the idempotency key is the guard.
                    (Channel::NotificationIntents, _) | (Channel::LobbyEvents, None) => {
                        AppendAt::Next
                    }
                };
                NewEntry { at, payload: row.payload.as_bytes() }
            })
            .collect();
        self.streams.append_all(channel.as_str(), onto, &entries).await
    }

    /// How many of the first messages are in the stream under their ids.
    async fn already_there(
        &self,
        channel: Channel,
        rows: &[OutboxRow],
    ) -> Result<usize, RelayError> {
        let Some(first) = rows.first().and_then(|row| row.stream_id) else { return Ok(0) };
        let (stream, before) = (channel.as_str(), first.predecessor());
        let entries = self.streams.read(stream, before, rows.len(), Duration::ZERO).await?;
        let pairs = rows.iter().zip(&entries);
        Ok(pairs
            .take_while(|(row, entry)| {
                row.stream_id == Some(entry.id) && row.payload.as_bytes() == entry.payload
            })
            .count())
    }

    async fn assign_anew(&self, channel: Channel) -> Result<(), RelayError> {
        let stream = channel.as_str();
        let newest = self.streams.newest(stream).await?;
        tracing::warn!(stream, %newest, "ids are assigned anew above the newest");
        let taken_back = self.store.outbox_unassign(self.term, channel).await?;
        taken_back.ok_or(RelayError::Replaced)?;
        let now = self.clock.now();
        let rows = self.store.outbox_assign(self.term, channel, newest, now, BATCH).await?;
        rows.map(drop).ok_or(RelayError::Replaced)
    }

    /// Gives a stream that lost its tail the missing entries again, same ids, same order.
    async fn restore_tail(&self) -> Result<(), RelayError> {
        let channel = Channel::LobbyEvents;
        let stream = channel.as_str();
        let known = self.published(channel).await?;
        let mut newest = self.streams.newest(stream).await?;
        if newest >= known {
            return Ok(());
        }
        tracing::warn!(stream, %newest, %known, "the stream lost its tail; publishing it again");
        self.tell_intents_again(newest).await?;
        let mut again: usize = 0;
        while newest < known {
            let rows = self.store.outbox_published_after(channel, newest, BATCH).await?;
            if rows.is_empty() {
                break;
            }
            let AppendedAll { added, stopped } = self.append(channel, newest, &rows).await;
            again = again.saturating_add(added.len());
            newest = added.last().copied().unwrap_or(newest);
            match stopped {
                None => {}
                Some(Stopped::Failed(error)) => return Err(error.into()),
                // Somebody else wrote to it. What is not there below that one cannot be any more.
                Some(Stopped::NotAbove) => newest = self.streams.newest(stream).await?.max(newest),
                Some(Stopped::Short(newest)) => {
                    let why = format!("{stream} lost its tail once more, down to {newest}");
                    return Err(StreamError(why).into());
                }
            }
        }
        self.driver.telemetry().metrics().offset(channel.into(), newest);
        tracing::info!(stream, %newest, again, "the stream has its tail again");
        Ok(())
    }

    /// What players are to be told was in the same Redis. Nobody can see in that stream what is missing,
    /// since others write there: those that may be gone go out once more, and their keys are the guard.
    ///
    /// SUBTLE: before the tail is restored, which is what tells of the loss. Those that wait already are
    /// left as they are, so that a loss which is met again and again tells of each but once.
    async fn tell_intents_again(&self, newest: StreamId) -> Result<(), RelayError> {
        let ms = |delta: TimeDelta| u64::try_from(delta.num_milliseconds()).unwrap_or(0);
        let recent = self.clock.now() - INTENTS_AGAIN;
        let recent = u64::try_from(recent.timestamp_millis()).unwrap_or(0);
        let since = newest.ms.saturating_sub(ms(LOST_TOGETHER)).max(recent);
        let after = StreamId { ms: since, seq: 0 };
        let again = self.store.outbox_replay(Channel::NotificationIntents, after).await?;
        if again > 0 {
            tracing::info!(again, "intents that may be gone with it are sent once more");
        }
        Ok(())
    }

    /// Forgets what nobody may ask for any more. Messages do not wait for this.
    async fn forget(&self) {
        let before = self.clock.now() - self.keep_published;
        if let Err(error) = self.store.outbox_prune(before).await {
            tracing::warn!(%error, "published messages are kept for now");
        }
        if let Err(error) = self.trim().await {
            tracing::warn!(%error, "the stream is not trimmed for now");
        }
    }

    /// Drops what has been in the stream for long, by the time part of its id. Done now and then
    /// while the relay runs.
    ///
    /// INVARIANT: nothing that may have to be given to the stream again lies below what is trimmed:
    /// it would come back after a loss. Nor does what has just gone out under an old id, before
    /// anybody could read it. What still waits has its id from this round, if any.
    pub async fn trim(&self) -> Result<(), RelayError> {
        let Some(age) = self.trim_after else { return Ok(()) };
        let channel = Channel::LobbyEvents;
        let aged = u64::try_from((self.clock.now() - age).timestamp_millis()).unwrap_or(0);
        let kept = self.store.outbox_published_after(channel, StreamId::ZERO, 1).await?;
        let oldest = kept.iter().filter_map(|row| row.stream_id);
        let below = oldest.fold(StreamId { ms: aged, seq: 0 }, StreamId::min);
        Ok(self.streams.trim(channel.as_str(), below).await?)
    }
}
