//! The plans of the streams and the offsets.

use std::ops::Bound;
use std::sync::Arc;

use machine::{StreamId, Timestamp};

use super::change::Change;
use super::error::WriteError;
use super::tables::Tables;
use super::{MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, MAX_STREAM_ENTRIES, Planned, unix_ms};
use crate::ports::{AppendAt, AppendedAll, Entry, Stopped};

/// All in one write.
pub(super) fn append_all(
    tables: &Tables,
    name: &Arc<str>,
    onto: StreamId,
    entries: &[(AppendAt, Arc<[u8]>)],
    now: Timestamp,
) -> Planned<AppendedAll> {
    let stream = tables.streams.get(name);
    let mut newest = stream.map_or(StreamId::ZERO, |stream| stream.newest);
    if newest < onto {
        let stopped = Some(Stopped::Short(newest));
        return Planned::nothing(AppendedAll { added: vec![], stopped });
    }
    let there = stream.map_or(0, |stream| stream.entries.len());
    let mut changes = vec![];
    let mut added = Vec::with_capacity(entries.len());
    let mut stopped = None;
    for (at, payload) in entries {
        match next_id(name, newest, *at, payload, now) {
            Ok(Some(id)) => {
                changes.push(Change::Entry(Arc::clone(name), id, Some(Arc::clone(payload))));
                newest = id;
                added.push(id);
            }
            Ok(None) => stopped = Some(Stopped::NotAbove),
            Err(error) => stopped = Some(Stopped::Failed(error.into())),
        }
        if stopped.is_some() {
            break;
        }
    }
    if !added.is_empty() {
        changes.push(Change::Newest(Arc::clone(name), newest));
    }
    let excess = (there + added.len()).saturating_sub(MAX_STREAM_ENTRIES);
    let oldest = stream.into_iter().flat_map(|stream| stream.entries.keys()).take(excess);
    changes.extend(oldest.map(|id| Change::Entry(Arc::clone(name), *id, None)));
    Planned { changes, answer: AppendedAll { added, stopped } }
}

/// The id that an entry gets; none where the one that it asks for is not above the newest.
fn next_id(
    name: &str,
    newest: StreamId,
    at: AppendAt,
    payload: &[u8],
    now: Timestamp,
) -> Result<Option<StreamId>, WriteError> {
    bounded(name)?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WriteError::Refused(format!("{} bytes are too many", payload.len())));
    }
    match at {
        AppendAt::Exactly(id) => Ok(Some(id).filter(|id| *id > newest)),
        AppendAt::Next => {
            let id = newest.successor().max(StreamId { ms: unix_ms(now), seq: 0 });
            if id <= newest {
                return Err(WriteError::Refused("the stream's ids are used up".into()));
            }
            Ok(Some(id))
        }
    }
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
