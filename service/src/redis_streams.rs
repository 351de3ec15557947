//! [`Streams`] over Redis, 6.2 or newer.
//!
//! | port | Redis |
//! | --- | --- |
//! | `append` | `XADD stream id payload …`; "equal or smaller" is [`Appended::NotAbove`] |
//! | `append_all` | `EVAL` of [`APPEND_ALL`], which repeats `XADD` for as long as Redis takes it |
//! | `read` | `XREAD COUNT BLOCK`, on a connection to itself |
//! | `entry` | `XRANGE id id` |
//! | `newest` | `last-generated-id` of `XINFO STREAM`: it outlives the entry |
//! | `trim` | `XTRIM MINID ~`, again until nothing goes |
//! | `offset`, `save_offset` | `GET`, `SET` of `gamemaster:offset:<consumer>` |
//!
//! Connections, time-outs and what a failure means are [`RedisLink`]'s. Nothing is repeated in
//! here: an append whose answer was lost is repeated by the relay, under the same id, which Redis
//! refuses if the first one got there.

mod append_all;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::StreamId;
use net::{Net, RedisEntry, RedisFailure, RedisLink, redis_entries};
use redis::{Cmd, Value};

pub use self::append_all::APPEND_ALL;
pub use self::settings::{RedisArgs, RedisSettings};
use crate::ports::{AppendAt, Appended, AppendedAll, Entry, NewEntry, StreamError, Streams};

/// What the key of a consumer's offset begins with.
const OFFSET: &str = "gamemaster:offset:";
/// How many times a trim asks Redis, which drops some 10,000 entries each time. What is left goes
/// with the next trim.
const MAX_TRIMS: usize = 100;
/// How Redis says that an id is not above the newest: the start of its words after `ERR`. There is
/// no code to tell it by.
const NOT_ABOVE: [&str; 3] = [
    "The ID specified in XADD is equal or smaller",
    // Of 0-0, whatever the stream holds.
    "The ID specified in XADD must be greater than 0-0",
    // Of every id, where the newest is the last one there is.
    "The stream has exhausted the last possible ID",
];
/// The same for a key that is not there.
const NO_SUCH_KEY: &str = "no such key";

/// See the module.
#[derive(Debug)]
pub struct RedisStreams {
    link: RedisLink,
    key_prefix: String,
}

impl RedisStreams {
    /// Streams in the Redis of the settings, which is connected to when it is first used.
    pub fn new(net: Arc<dyn Net>, settings: RedisSettings) -> Self {
        let RedisSettings { url, limits, key_prefix } = settings;
        Self { link: RedisLink::new(net, url, limits), key_prefix }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.key_prefix)
    }

    fn offset_key(&self, consumer: &str) -> String {
        format!("{}{OFFSET}{consumer}", self.key_prefix)
    }
}

#[async_trait]
impl Streams for RedisStreams {
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError> {
        match (at, self.link.xadd(&self.key(stream), None, &place(at), payload).await) {
            (_, Ok(id)) => Ok(Appended::Added(parsed(&id)?)),
            (AppendAt::Exactly(_), Err(failure)) if says_one_of(&failure, &NOT_ABOVE) => {
                Ok(Appended::NotAbove)
            }
            (AppendAt::Exactly(_) | AppendAt::Next, Err(failure)) => Err(failure.into()),
        }
    }

    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll {
        append_all::ask(&self.link, &self.key(stream), onto, entries).await
    }

    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        let entries = self.link.xread(&self.key(stream), &after.to_string(), max, wait).await?;
        entries.into_iter().map(entry).collect()
    }

    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError> {
        let (key, id) = (self.key(stream), id.to_string());
        let request = Cmd::new().arg("XRANGE").arg(key).arg(&id).arg(&id).take();
        let mut entries = redis_entries(self.link.ask(&request).await?)?;
        entries.pop().map(entry).transpose()
    }

    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError> {
        let request = Cmd::new().arg("XINFO").arg("STREAM").arg(self.key(stream)).take();
        match self.link.ask(&request).await {
            Ok(info) => match last_generated_id(&info) {
                Some(id) => parsed(id),
                None => Err(StreamError("XINFO STREAM does not tell the last id".into())),
            },
            Err(failure) if says_one_of(&failure, &[NO_SUCH_KEY]) => Ok(StreamId::ZERO),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError> {
        let (key, below) = (self.key(stream), below.to_string());
        let request = Cmd::new().arg("XTRIM").arg(key).arg("MINID").arg("~").arg(below).take();
        for _ in 0..MAX_TRIMS {
            if self.link.ask(&request).await? == Value::Int(0) {
                break;
            }
        }
        Ok(())
    }

    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError> {
        let request = Cmd::new().arg("GET").arg(self.offset_key(consumer)).take();
        let answer = self.link.ask(&request).await?;
        if answer == Value::Nil {
            return Ok(None);
        }
        let Value::BulkString(text) = answer else {
            return Err(StreamError("GET was answered with something else than a text".into()));
        };
        // What is no text is malformed, and stays so.
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError> {
        let (key, offset) = (self.offset_key(consumer), offset.to_string());
        self.link.ask(&Cmd::new().arg("SET").arg(key).arg(offset).take()).await?;
        Ok(())
    }
}

impl From<RedisFailure> for StreamError {
    fn from(failure: RedisFailure) -> Self {
        Self(failure.to_string())
    }
}

/// How Redis is told where.
fn place(at: AppendAt) -> String {
    match at {
        AppendAt::Exactly(id) => id.to_string(),
        AppendAt::Next => "*".into(),
    }
}

fn says_one_of(failure: &RedisFailure, starts: &[&str]) -> bool {
    match failure {
        RedisFailure::Refused { code, detail } => {
            code == "ERR" && starts.iter().any(|start| detail.starts_with(start))
        }
        RedisFailure::NotSent(_) | RedisFailure::Unknown(_) | RedisFailure::TooLong => false,
    }
}

fn entry(RedisEntry { id, payload }: RedisEntry) -> Result<Entry, StreamError> {
    Ok(Entry { id: parsed(&id)?, payload: payload.unwrap_or_default() })
}

fn parsed(id: &str) -> Result<StreamId, StreamError> {
    id.parse().map_err(|_| StreamError("Redis gave an entry an id that is none".into()))
}

fn last_generated_id(info: &Value) -> Option<&str> {
    let Value::Array(pairs) = info else { return None };
    pairs.chunks_exact(2).find_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(id)] if name == b"last-generated-id" => {
            std::str::from_utf8(id).ok()
        }
        _ => None,
    })
}
