//! What GM and its neighbours have in common when they use streams.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{RedisFailure, RedisLink};

/// The field with the message.
const FIELD: &str = "payload";
/// The longest wait that Redis is asked for. Whoever wants to wait longer asks again: a connection
/// that died without a word is found out by an answer that does not come.
const MAX_BLOCK: Duration = Duration::from_secs(60);
/// The largest message that is sent.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisEntry {
    /// Its id, as Redis writes it.
    pub id: String,
    /// The content of its field `payload`; nothing where others wrote an entry without one.
    pub payload: Option<Vec<u8>>,
}

impl RedisLink {
    /// Appends an entry with the one field `payload`, under the given id or `*`; the id it has.
    /// Where `keep` is given, old entries go until about as many are left.
    pub async fn xadd(
        &self,
        key: &str,
        keep: Option<usize>,
        id: &str,
        payload: &[u8],
    ) -> Result<String, RedisFailure> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            let why = format!("a message of {} bytes is too long", payload.len());
            return Err(RedisFailure::NotSent(why));
        }
        let mut request = Cmd::new();
        request.arg("XADD").arg(key);
        if let Some(keep) = keep {
            request.arg("MAXLEN").arg("~").arg(keep);
        }
        request.arg(id).arg(FIELD).arg(payload);
        let Value::BulkString(id) = self.ask(&request).await? else {
            return Err(senseless("XADD"));
        };
        String::from_utf8(id).map_err(|_| senseless("XADD"))
    }

    /// Up to `max` entries above `after`; waits up to `wait` for the first, or less. One alone
    /// where they are too long together.
    pub async fn xread(
        &self,
        key: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<RedisEntry>, RedisFailure> {
        // SUBTLE: to Redis a count of zero is no limit, and a wait of zero has no end.
        if max == 0 {
            return Ok(vec![]);
        }
        match self.xread_together(key, after, max, wait).await {
            // Or whoever asks for so many each time would never get past them.
            Err(RedisFailure::TooLong) => self.xread_together(key, after, 1, wait).await,
            read => read,
        }
    }

    async fn xread_together(
        &self,
        key: &str,
        after: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<RedisEntry>, RedisFailure> {
        let mut request = Cmd::new();
        request.arg("XREAD").arg("COUNT").arg(max);
        let wait = wait.min(MAX_BLOCK);
        if !wait.is_zero() {
            let ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            request.arg("BLOCK").arg(ms);
        }
        request.arg("STREAMS").arg(key).arg(after);
        let answer = self.ask_waiting(&request, wait).await?;
        if answer == Value::Nil {
            return Ok(vec![]);
        }
        // One stream was asked for, and is named beside its entries.
        let stream = list(answer).and_then(|streams| streams.into_iter().next());
        let entries = stream.and_then(list).and_then(|pair| pair.into_iter().nth(1));
        redis_entries(entries.ok_or_else(|| senseless("XREAD"))?)
    }
}

/// The entries in an answer to XRANGE, or for one stream to XREAD.
pub fn redis_entries(answer: Value) -> Result<Vec<RedisEntry>, RedisFailure> {
    let entries = list(answer).ok_or_else(|| senseless("a read"))?;
    let entries = entries.into_iter().map(entry);
    entries.collect::<Option<_>>().ok_or_else(|| senseless("a read"))
}

fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

fn entry(value: Value) -> Option<RedisEntry> {
    let pair = <[Value; 2]>::try_from(list(value)?);
    let Ok([Value::BulkString(id), Value::Array(fields)]) = pair else {
        return None;
    };
    let mut fields = fields.into_iter();
    let mut payload = None;
    while let (Some(name), Some(content)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(content)) = (name, content)
            && name == FIELD.as_bytes()
        {
            payload = Some(content);
            break;
        }
    }
    Some(RedisEntry { id: String::from_utf8(id).ok()?, payload })
}

/// Without the answer, which is not ours to repeat.
fn senseless(request: &str) -> RedisFailure {
    RedisFailure::Unknown(format!("what {request} was answered with makes no sense"))
}
