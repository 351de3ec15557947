//! The plans of the outbox.

use std::ops::Bound;

use machine::{Channel, StreamId, Timestamp};

use super::change::Change;
use super::error::WriteError;
use super::tables::Tables;
use super::{Planned, unix_ms};
use crate::ports::{Backlog, OutboxRow};

/// INVARIANT: ids grow with `seq` and are never given twice on a channel, not even those that were
/// taken back: an append under such an id may be under way still.
pub(super) fn assign(
    tables: &Tables,
    channel: Channel,
    floor: StreamId,
    now: Timestamp,
    limit: usize,
) -> Result<Planned<Vec<OutboxRow>>, WriteError> {
    let present = StreamId { ms: unix_ms(now), seq: 0 };
    let mut highest = tables.assigned.get(&channel).copied().unwrap_or_default().max(floor);
    let mut changes = vec![];
    let mut rows: Vec<OutboxRow> = unpublished(tables, channel).take(limit).cloned().collect();
    for row in rows.iter_mut().filter(|row| row.stream_id.is_none()) {
        let next = highest.successor();
        if next <= highest {
            return Err(WriteError::Refused("the stream ids are used up".into()));
        }
        highest = next.max(present);
        row.stream_id = Some(highest);
        changes.push(Change::Outbox(row.seq, Some(Box::new(row.clone()))));
    }
    if !changes.is_empty() {
        changes.push(Change::Assigned(channel, highest));
    }
    Ok(Planned { changes, answer: rows })
}

pub(super) fn unassign(tables: &Tables, channel: Channel) -> Planned<()> {
    let assigned = unpublished(tables, channel).filter(|row| row.stream_id.is_some());
    let changes = assigned.map(|row| {
        let row = OutboxRow { stream_id: None, ..row.clone() };
        Change::Outbox(row.seq, Some(Box::new(row)))
    });
    Planned { changes: changes.collect(), answer: () }
}

/// The first mark stays; messages that are not there any more need none.
pub(super) fn published(tables: &Tables, seqs: &[u64], at: Timestamp) -> Planned<()> {
    let waiting = seqs
        .iter()
        .filter_map(|seq| tables.outbox.get(seq))
        .filter(|row| row.published_at.is_none() && row.stream_id.is_some());
    let changes = waiting.map(|row| {
        let row = OutboxRow { published_at: Some(at), ..row.clone() };
        Change::Outbox(row.seq, Some(Box::new(row)))
    });
    Planned { changes: changes.collect(), answer: () }
}

pub(super) fn published_after(
    tables: &Tables,
    channel: Channel,
    after: StreamId,
    limit: usize,
) -> Vec<OutboxRow> {
    let above = (Bound::Excluded((channel, after)), Bound::Unbounded);
    tables
        .published
        .range(above)
        .take_while(|((of, _), _)| *of == channel)
        .filter_map(|(_, seq)| tables.outbox.get(seq))
        .take(limit)
        .cloned()
        .collect()
}

pub(super) fn newest(tables: &Tables, channel: Channel) -> StreamId {
    let all = (channel, StreamId::ZERO)..=(channel, StreamId { ms: u64::MAX, seq: u64::MAX });
    tables.published.range(all).next_back().map_or(StreamId::ZERO, |((_, id), _)| *id)
}

/// Up to `limit` published messages go back into the queue, of those under ids above `after` and up
/// to `upto`: what is published meanwhile under a new id is not taken back again. SUBTLE: the ids
/// they were published under are not given again, since entries under them may still be read; and
/// those that wait lose theirs, or the ids would not grow with the places any more.
pub(super) fn replay(
    tables: &Tables,
    channel: Channel,
    after: StreamId,
    upto: StreamId,
    limit: usize,
) -> Planned<usize> {
    let again = |row: OutboxRow| OutboxRow { stream_id: None, published_at: None, ..row };
    let mut rows = published_after(tables, channel, after, limit);
    rows.retain(|row| row.stream_id.is_some_and(|id| id <= upto));
    let count = rows.len();
    let mut changes: Vec<Change> =
        rows.into_iter().map(|row| Change::Outbox(row.seq, Some(Box::new(again(row))))).collect();
    changes.extend(unassign(tables, channel).changes);
    Planned { changes, answer: count }
}

pub(super) fn backlog(tables: &Tables) -> Backlog {
    // The oldest of each channel is its first: what is replayed keeps its place.
    let firsts = Channel::ALL.into_iter().filter_map(|c| unpublished(tables, c).next());
    Backlog {
        waiting: u64::try_from(tables.unpublished.len()).unwrap_or(u64::MAX),
        oldest: firsts.map(|row| row.at).min(),
    }
}

/// Up to `limit` messages published before an instant go.
pub(super) fn prune(tables: &Tables, before: Timestamp, limit: usize) -> Vec<Change> {
    let aged = tables.published_by_age.range(..(before, 0));
    aged.take(limit).map(|(_, seq)| Change::Outbox(*seq, None)).collect()
}

fn unpublished(tables: &Tables, channel: Channel) -> impl Iterator<Item = &OutboxRow> {
    let all = (channel, 0)..=(channel, u64::MAX);
    tables.unpublished.range(all).filter_map(|(_, seq)| tables.outbox.get(seq))
}
