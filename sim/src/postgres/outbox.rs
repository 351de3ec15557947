//! The functions of the outbox, transcribed, and what forgets.

use chrono::TimeDelta;
use machine::{Channel, StreamId, Timestamp};
use service::ports::OperationState;

use super::refusal::Refusal;
use super::tables::{Message, Tables, Transaction};

/// How many rows one call takes back or forgets.
const PAGE: usize = 1_000;

/// `ORDER BY place, id`: what has no place comes last.
fn in_order(tables: &Tables, channel: Channel) -> Vec<(u64, Message)> {
    let of_channel = tables.unpublished().filter(|(_, row)| row.channel == channel);
    let mut rows: Vec<(u64, Message)> = of_channel.map(|(id, row)| (id, row.clone())).collect();
    rows.sort_by_key(|(id, row)| (row.place.unwrap_or(u64::MAX), *id));
    rows
}

/// `gamemaster.outbox_assign`.
pub(super) fn assign(
    tx: &mut Transaction<'_>,
    channel: Channel,
    floor: StreamId,
    present_ms: u64,
    limit: usize,
) -> Result<Vec<Message>, Refusal> {
    let mut highest = number(tx.highest(channel).max(floor));
    let present = number(StreamId { ms: present_ms, seq: 0 });
    let first = in_order(tx, channel).into_iter().take(limit);
    let newest = first.filter(|(_, row)| row.place.is_none()).map(|(id, _)| id).max();
    if let Some(newest) = newest {
        let waits = |(id, row): &(u64, &Message)| row.place.is_none() && *id <= newest;
        let placeless: Vec<u64> = tx.unpublished().filter(waits).map(|(id, _)| id).collect();
        for id in placeless {
            let Some(row) = tx.outbox().get(&id).cloned() else { continue };
            let place = Some(tx.next_place());
            tx.set_message(id, Some(Message { place, ..row }));
        }
    }
    let mut answer = vec![];
    let placed = in_order(tx, channel).into_iter().filter(|(_, row)| row.place.is_some());
    for (id, mut row) in placed.take(limit) {
        if row.stream_id.is_none() {
            let above = highest.checked_add(1);
            let above = above.ok_or_else(|| Refusal::check_violation("outbox_stream_ms_check"))?;
            highest = above.max(present);
            let given = StreamId { ms: high(highest), seq: low(highest) };
            row.stream_id = Some(given);
            tx.set_message(id, Some(row.clone()));
            tx.set_highest(channel, given);
        }
        answer.push(row);
    }
    Ok(answer)
}

/// `gamemaster.outbox_unassign`.
pub(super) fn unassign(tx: &mut Transaction<'_>, channel: Channel) {
    for (id, row) in in_order(tx, channel) {
        if row.stream_id.is_some() {
            tx.set_message(id, Some(Message { stream_id: None, ..row }));
        }
    }
}

/// How many rows were marked: those of the places named that were not before.
pub(super) fn published(tx: &mut Transaction<'_>, places: &[u64], at: Timestamp) {
    for place in places {
        let found = tx.at_place(*place).map(|(id, row)| (id, row.clone()));
        let is_out =
            |(_, row): &(u64, Message)| row.published_at.is_none() && row.stream_id.is_some();
        let Some((id, row)) = found.filter(is_out) else { continue };
        tx.set_message(id, Some(Message { published_at: Some(at), ..row }));
    }
}

/// What was published under an id above one, in the order of the ids.
pub(super) fn published_after(
    tables: &Tables,
    channel: Channel,
    after: StreamId,
) -> Vec<(u64, &Message)> {
    let published = |(_, row): &(&u64, &Message)| {
        row.channel == channel
            && row.published_at.is_some()
            && row.stream_id.is_some_and(|id| id > after)
    };
    let found = tables.outbox().iter().filter(published);
    let mut rows: Vec<(u64, &Message)> = found.map(|(id, row)| (*id, row)).collect();
    rows.sort_by_key(|(_, row)| row.stream_id);
    rows
}

/// `gamemaster.outbox_replay`.
pub(super) fn replay(
    tx: &mut Transaction<'_>,
    channel: Channel,
    after: StreamId,
    upto: StreamId,
) -> u64 {
    unassign(tx, channel);
    let found = published_after(tx, channel, after).into_iter();
    let within = found.take_while(|(_, row)| row.stream_id.is_some_and(|id| id <= upto));
    let rows: Vec<(u64, Message)> = within.take(PAGE).map(|(id, row)| (id, row.clone())).collect();
    let count = rows.len();
    for (id, row) in rows {
        tx.set_message(id, Some(Message { stream_id: None, published_at: None, ..row }));
    }
    amount(count)
}

/// `gamemaster.outbox_prune`.
pub(super) fn prune(tx: &mut Transaction<'_>, before: Timestamp) -> u64 {
    let old = |(_, row): &(&u64, &Message)| row.published_at.is_some_and(|at| at < before);
    let ids: Vec<u64> = tx.outbox().iter().filter(old).map(|(id, _)| *id).take(PAGE).collect();
    ids.iter().for_each(|id| tx.set_message(*id, None));
    amount(ids.len())
}

/// `gamemaster.forget`.
pub(super) fn forget(tx: &mut Transaction<'_>) -> u64 {
    let Some(newest) = tx.commit_ids().values().max().copied() else { return 0 };
    let yesterday = newest - TimeDelta::hours(24);
    let season = newest - TimeDelta::days(90);
    let old = tx.commit_ids().iter().filter(|(_, at)| **at < yesterday);
    let names: Vec<_> = old.map(|(id, _)| *id).take(PAGE).collect();
    names.iter().for_each(|id| tx.set_commit_id(*id, None));
    let old = tx.claims().iter().filter(|(_, row)| row.at < yesterday);
    let claims: Vec<_> = old.map(|(name, _)| name.clone()).take(PAGE).collect();
    claims.iter().for_each(|name| tx.set_claim(name, None));
    let old = tx.operations().values().filter(|row| {
        row.state != OperationState::Open && row.finished_at.is_some_and(|at| at < season)
    });
    let operations: Vec<_> = old.map(|row| row.operation).take(PAGE).collect();
    operations.iter().for_each(|id| tx.set_operation(*id, None));
    amount(names.len() + claims.len() + operations.len())
}

/// A stream id as one number: the one after it is one more, carry and all.
fn number(id: StreamId) -> u128 {
    u128::from(id.ms) << 64 | u128::from(id.seq)
}

fn high(number: u128) -> u64 {
    u64::try_from(number >> 64).unwrap_or(u64::MAX)
}

fn low(number: u128) -> u64 {
    u64::try_from(number & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

pub(super) fn amount(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
