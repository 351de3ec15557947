//! The streams in Redis: for neighbours that are processes of their own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use net::{Net, RedisFailure, RedisLimits, RedisLink, RedisUrl};

use crate::bus::{Bus, BusEntry, BusError, EntryId, MEMORY_BUS_MAX_ENTRIES};

/// A [`Bus`] over Redis, which is connected to when it is first used.
///
/// A stream that somebody appends to is kept to about as many entries as one in memory is. An entry
/// of another producer without the field `payload` is read as one with an empty message.
#[derive(Clone, Debug)]
pub struct RedisBus {
    link: RedisLink,
    key_prefix: String,
}

impl RedisBus {
    /// The streams of the Redis at `url` whose names begin with `key_prefix`.
    pub fn new(
        net: Arc<dyn Net>,
        url: RedisUrl,
        limits: RedisLimits,
        key_prefix: &str,
    ) -> Arc<Self> {
        let link = RedisLink::new(net, url, limits);
        Arc::new(Self { link, key_prefix: key_prefix.to_owned() })
    }

    fn key(&self, stream: &str) -> String {
        format!("{}{stream}", self.key_prefix)
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn append(&self, stream: &str, payload: Bytes) -> Result<String, BusError> {
        let keep = Some(MEMORY_BUS_MAX_ENTRIES);
        Ok(self.link.xadd(&self.key(stream), keep, "*", &payload).await?)
    }

    async fn read(
        &self,
        stream: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<BusEntry>, BusError> {
        // Redis also takes `$`, and a number alone.
        let after: EntryId = after.parse()?;
        let read = self.link.xread(&self.key(stream), &after.to_string(), max, wait).await?;
        let entry = |entry: net::RedisEntry| BusEntry {
            id: entry.id,
            payload: entry.payload.unwrap_or_default().into(),
        };
        Ok(read.into_iter().map(entry).collect())
    }
}

impl From<RedisFailure> for BusError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}
