//! The plans of the streams and the offsets.

use std::ops::Bound;
use std::sync::Arc;

use machine::{StreamId, Timestamp};

use super::change::Change;
use super::error::WriteError;
use super::tables::Tables;
use super::{MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, MAX_STREAM_ENTRIES, Planned, unix_ms};
use crate::ports::{AppendAt, Appended, Entry};

pub(super) fn append(
    tables: &Tables,
    name: &Arc<str>,
    at: AppendAt,
    payload: &Arc<[u8]>,
    now: Timestamp,
) -> Result<Planned<Appended>, WriteError> {
    bounded(name)?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WriteError::Refused(format!("{} bytes are too many", payload.len())));
    }
    let stream = tables.streams.get(name);
    let newest = stream.map_or(StreamId::ZERO, |stream| stream.newest);
    let id = match at {
        AppendAt::Exactly(id) => id,
        AppendAt::Next => newest.successor().max(StreamId { ms: unix_ms(now), seq: 0 }),
    };
    if id <= newest {
        return match at {
            AppendAt::Exactly(_) => Ok(Planned::nothing(Appended::NotAbove)),
            AppendAt::Next => Err(WriteError::Refused("the stream's ids are used up".into())),
        };
    }
    let mut changes = vec![
        Change::Entry(Arc::clone(name), id, Some(Arc::clone(payload))),
        Change::Newest(Arc::clone(name), id),
    ];
    let full = stream.filter(|stream| stream.entries.len() >= MAX_STREAM_ENTRIES);
    if let Some((oldest, _)) = full.and_then(|stream| stream.entries.first_key_value()) {
        changes.push(Change::Entry(Arc::clone(name), *oldest, None));
    }
    Ok(Planned { changes, answer: Appended::Added(id) })
}

pub(super) fn read(tables: &Tables, name: &str, after: StreamId, max: usize) -> Vec<Entry> {
    let above = (Bound::Excluded(after), Bound::Unbounded);
    let entries = tables.streams.get(name).into_iter().flat_map(|s| s.entries.range(above));
    entries.take(max).map(|(id, payload)| Entry { id: *id, payload: payload.to_vec() }).collect()
}

/// Up to `limit` entries below an id go.
pub(super) fn trim(tables: &Tables, name: &Arc<str>, below: StreamId, limit: usize) -> Vec<Change> {
    let entries = tables.streams.get(name).into_iter().flat_map(|s| s.entries.range(..below));
    entries.take(limit).map(|(id, _)| Change::Entry(Arc::clone(name), *id, None)).collect()
}

pub(super) fn save_offset(consumer: &str, text: String) -> Result<Planned<()>, WriteError> {
    bounded(consumer)?;
    bounded(&text)?;
    Ok(Planned { changes: vec![Change::Offset(consumer.into(), text)], answer: () })
}

fn bounded(name: &str) -> Result<(), WriteError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(WriteError::Refused(format!("a name of {} bytes is too long", name.len())));
    }
    Ok(())
}
