//! The health consumer: what Runtime Manager says of containers, applied in order, then the offset
//! saved. A crash in between re-delivers, which the record's cursor makes a no-op.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use machine::{ContainerId, Event, GameId, HealthReport, StreamId, Summary};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::ports::{Entry, StreamError, Streams};

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

/// Where to begin where no usable offset was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest entry there is.
    Beginning,
    /// With what comes next.
    End,
}

/// See the module.
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

impl HealthConsumer {
    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE;
        let mut offset = None;
        let mut logged = BTreeSet::new();
        while !stop.is_cancelled() {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round(&mut offset, &mut logged) => round,
            };
            match round {
                Ok(()) => pause = PAUSE,
                Err(error) => {
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

    async fn round(
        &self,
        offset: &mut Option<StreamId>,
        logged: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let from = match *offset {
            Some(known) => known,
            None => self.first_offset().await.map_err(|e| e.to_string())?,
        };
        *offset = Some(from);
        let read = self.streams.read(STREAM, from, BATCH, WAIT).await;
        let entries = read.map_err(|e| e.to_string())?;
        let mut done = from;
        let mut failed = None;
        for entry in &entries {
            match self.apply(entry, logged).await {
                Ok(()) => done = entry.id,
                // Not applied, so not passed over: it comes again.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        *offset = Some(done);
        if done > from {
            self.streams.save_offset(&self.label, done).await.map_err(|e| e.to_string())?;
        }
        failed.map_or(Ok(()), Err)
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

    async fn apply(&self, entry: &Entry, logged: &mut BTreeSet<String>) -> Result<(), String> {
        let payload = match serde_json::from_slice::<Payload>(&entry.payload) {
            Ok(payload) => payload,
            Err(error) => {
                let kind = format!("{:?}", error.classify());
                if logged.len() < MAX_LOGGED && logged.insert(kind) {
                    tracing::warn!(id = %entry.id, %error, "a health event cannot be read");
                }
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
        let told = self.driver.tell(payload.game_id, Event::Health(report)).await;
        told.map_err(|error| error.to_string())
    }
}
