//! The health consumer: what Runtime Manager says of containers, applied in order, then the offset
//! saved. A crash in between re-delivers, which the record's cursor makes a no-op.
//!
//! Nothing blocks it for ever: what cannot be read, is about an unknown game, or is refused again
//! and again by a store that answers, is counted and passed over. Events that the stream lost
//! before they were read are a gap: counted, and gone on behind.
//!
//! Of several processes one consumes at a time. SUBTLE: one that was frozen may save its offset after
//! its successor has saved a later one. It saves only what it has applied, so that the offset goes
//! back and never ahead: what is read again is a no-op. A reader believes its own offset, and reads
//! the saved one only when it begins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use machine::{ContainerId, Event, GameId, HealthReport, StreamId, Summary};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Told};
use crate::ports::{Entry, StreamError, Streams};
use crate::telemetry::labels::{HealthKind, HealthOutcome, Label as _, Stream};

/// The stream's name in the contract.
const STREAM: &str = "runtime:health_events";
/// How many entries are read at a time.
const BATCH: usize = 100;
/// How long one read waits for news.
const WAIT: Duration = Duration::from_secs(2);
/// The pause after a failure; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// Of how many unknown games or undecodable kinds it is remembered that they were logged.
const MAX_LOGGED: usize = 1000;

/// How often an event is tried at least that a store which answers refuses.
const MAX_REFUSALS: u32 = 5;
/// And for how long: what looks like a refusal may be a store that cannot write for a while.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);

/// Where to begin where no usable offset was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest entry there is.
    Beginning,
    /// With what comes next.
    End,
}

/// See the module.
#[derive(Clone)]
pub struct HealthConsumer {
    /// Decides and commits.
    pub driver: Arc<Driver>,
    /// Where the entries come from and the offset is kept.
    pub streams: Arc<dyn Streams>,
    /// The name the offset is kept under.
    pub label: String,
    /// Where to begin where no usable offset was saved.
    pub start: Start,
}

/// What the reader knows; read again where it falls.
#[derive(Default)]
struct Reader {
    /// Up to where everything was dealt with.
    offset: Option<StreamId>,
    /// Whether events between the offset and the oldest entry may have been lost unseen: not while
    /// the reader keeps up with the stream.
    behind: bool,
    /// The reasons and games that were logged.
    logged: BTreeSet<(HealthOutcome, String)>,
    /// The event that is refused, since when, and how often.
    refused: Option<(StreamId, tokio::time::Instant, u32)>,
}

#[derive(Deserialize)]
struct Payload {
    game_id: GameId,
    container_id: ContainerId,
    event_type: EventType,
    #[serde(default)]
    details: Details,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventType {
    Healthy,
    ProbeFailed,
    InspectUnhealthy,
    ContainerExited,
    ContainerOom,
    ContainerDisappeared,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    consecutive_failures: u32,
}

impl Reader {
    /// Logs that an event was passed over, once for each reason and game.
    fn passed_over(&mut self, why: HealthOutcome, about: String, entry: &Entry) {
        if self.logged.len() < MAX_LOGGED && self.logged.insert((why, about.clone())) {
            let (reason, id) = (why.text(), entry.id);
            // Runtime Manager tells of a container before Lobby registers its game: at each start.
            if why == HealthOutcome::UnknownGame {
                tracing::info!(%id, why = reason, about, "a health event is passed over");
            } else {
                tracing::warn!(%id, why = reason, about, "a health event is passed over");
            }
        }
    }
}

impl HealthConsumer {
    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE;
        let mut reader = Reader { behind: true, ..Reader::default() };
        while !stop.is_cancelled() {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round(&mut reader) => round,
            };
            match round {
                Ok(()) => pause = PAUSE,
                Err(error) => {
                    reader.behind = true;
                    tracing::warn!(error, "health events wait");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(PAUSE_CAP);
                }
            }
        }
    }

    async fn round(&self, reader: &mut Reader) -> Result<(), String> {
        let from = match reader.offset {
            Some(known) => known,
            None => self.first_offset().await.map_err(|e| e.to_string())?,
        };
        reader.offset = Some(from);
        let read = self.streams.read(STREAM, from, BATCH, WAIT).await;
        let entries = read.map_err(|e| e.to_string())?;
        if let Err(error) = self.look_for_a_gap(reader, from, &entries).await {
            return Err(error.to_string());
        }
        let metrics = self.driver.telemetry().metrics();
        // After the loss of the stream's end that is behind where it was before.
        let mut done = reader.offset.unwrap_or(from);
        let mut failed = None;
        for entry in &entries {
            match self.apply(entry, reader).await {
                Ok(()) => done = entry.id,
                // Not applied, so not passed over: it comes again.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        metrics.offset(Stream::Health, done);
        if done > from {
            reader.offset = Some(done);
            self.streams.save_offset(&self.label, done).await.map_err(|e| e.to_string())?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Notices what the stream lost: its end, or, while the reader was behind, its beginning.
    async fn look_for_a_gap(
        &self,
        reader: &mut Reader,
        from: StreamId,
        entries: &[Entry],
    ) -> Result<(), StreamError> {
        if entries.is_empty() {
            let newest = self.streams.newest(STREAM).await?;
            if newest < from {
                // What comes next may have any id above the newest there is now.
                self.gap(from, newest, "the stream lost its end");
                self.streams.save_offset(&self.label, newest).await?;
                reader.offset = Some(newest);
            }
            reader.behind = false;
            return Ok(());
        }
        let was_behind = std::mem::replace(&mut reader.behind, entries.len() >= BATCH);
        // SUBTLE: no later than the entry that was read last can have been lost while that one is
        // there. Where it is not, those behind it may be gone too; nobody can tell.
        if was_behind && from > StreamId::ZERO && self.streams.entry(STREAM, from).await?.is_none()
        {
            let oldest = entries.first().map_or(from, |entry| entry.id);
            self.gap(from, oldest, "the stream was trimmed beyond what was read");
        }
        Ok(())
    }

    fn gap(&self, offset: StreamId, goes_on_at: StreamId, why: &'static str) {
        self.driver.telemetry().metrics().health_gap();
        tracing::warn!(
            label = self.label, %offset, %goes_on_at, why, "health events may have been lost"
        );
    }

    fn count(&self, kind: HealthKind, outcome: HealthOutcome) {
        self.driver.telemetry().metrics().health(kind, outcome);
    }

    async fn first_offset(&self) -> Result<StreamId, StreamError> {
        let saved = self.streams.offset(&self.label).await?;
        if let Some(offset) = saved.as_deref().and_then(|text| text.parse().ok()) {
            return Ok(offset);
        }
        let begin = match self.start {
            Start::Beginning => StreamId::ZERO,
            Start::End => self.streams.newest(STREAM).await?,
        };
        let why = if saved.is_some() { "the saved offset is malformed" } else { "none is saved" };
        tracing::info!(label = self.label, from = %begin, why, "health events from the start");
        // Saved before anything is read: the next life goes on here, and not at an end that may
        // have moved meanwhile.
        if let Err(error) = self.streams.save_offset(&self.label, begin).await {
            tracing::warn!(label = self.label, %error, "where it began is not saved");
        }
        Ok(begin)
    }

    async fn apply(&self, entry: &Entry, reader: &mut Reader) -> Result<(), String> {
        let payload = match serde_json::from_slice::<Payload>(&entry.payload) {
            Ok(payload) => payload,
            Err(error) => {
                self.count(HealthKind::None, HealthOutcome::Unreadable);
                // Not what the parser says, which may quote what it read.
                let kind = format!("{:?}", error.classify());
                reader.passed_over(HealthOutcome::Unreadable, kind, entry);
                return Ok(());
            }
        };
        let summary = match payload.event_type {
            EventType::Healthy => Summary::Healthy,
            EventType::ProbeFailed => Summary::ProbeFailed,
            EventType::InspectUnhealthy => Summary::InspectUnhealthy,
            EventType::ContainerExited => Summary::Exited,
            EventType::ContainerOom => Summary::Oom,
            EventType::ContainerDisappeared => Summary::Disappeared,
        };
        let report = HealthReport {
            id: entry.id,
            container_id: payload.container_id,
            summary,
            consecutive_failures: payload.details.consecutive_failures,
        };
        let (game, kind) = (payload.game_id, HealthKind::from(summary));
        match self.driver.tell(game.clone(), Event::Health(report)).await {
            Ok(Told::Taken) => self.count(kind, HealthOutcome::Applied),
            Ok(Told::NothingToDo) => self.count(kind, HealthOutcome::Refused),
            Ok(Told::NoSuchGame) => {
                self.count(kind, HealthOutcome::UnknownGame);
                reader.passed_over(HealthOutcome::UnknownGame, game.to_string(), entry);
            }
            Err(error) if self.is_refused_for_good(reader, entry, &game).await => {
                self.count(kind, HealthOutcome::GivenUp);
                tracing::error!(id = %entry.id, %game, %error, "a health event is given up");
            }
            Err(error) => {
                self.count(kind, HealthOutcome::Failed);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    /// Whether an event that just failed has been refused often and long enough by a store that
    /// answers. One that does not answer is waited for.
    async fn is_refused_for_good(&self, reader: &mut Reader, entry: &Entry, game: &GameId) -> bool {
        if !self.driver.can_load(game).await {
            reader.refused = None;
            return false;
        }
        let now = tokio::time::Instant::now();
        let (since, times) = match reader.refused {
            Some((id, since, times)) if id == entry.id => (since, times + 1),
            Some(_) | None => (now, 1),
        };
        reader.refused = Some((entry.id, since, times));
        times >= MAX_REFUSALS && since.elapsed() >= REFUSAL_PATIENCE
    }
}
