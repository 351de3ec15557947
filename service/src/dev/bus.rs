//! The neighbours' streams are Game Master's own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use machine::StreamId;
use peers::bus::{Bus, BusEntry, BusError};

use crate::ports::{AppendAt, Appended, StreamError, Streams};

/// An adapter from the one view of the streams to the other.
pub(super) struct StreamBus(pub(super) Arc<dyn Streams>);

fn unavailable(error: StreamError) -> BusError {
    BusError::Unavailable(error.to_string())
}

#[async_trait]
impl Bus for StreamBus {
    async fn append(&self, stream: &str, payload: Bytes) -> Result<String, BusError> {
        match self.0.append(stream, AppendAt::Next, &payload).await.map_err(unavailable)? {
            Appended::Added(id) => Ok(id.to_string()),
            Appended::NotAbove => Err(BusError::Unavailable("no id is left".into())),
        }
    }

    async fn read(
        &self,
        stream: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<BusEntry>, BusError> {
        let after: StreamId = after.parse().map_err(|_| BusError::InvalidId(after.to_owned()))?;
        let entries = self.0.read(stream, after, max, wait).await.map_err(unavailable)?;
        let entry = |e: crate::ports::Entry| BusEntry {
            id: e.id.to_string(),
            payload: Bytes::from(e.payload),
        };
        Ok(entries.into_iter().map(entry).collect())
    }
}
