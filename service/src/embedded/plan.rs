//! What a commit changes.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use machine::{AuditMark, OperationId, Timestamp, check_commit};

use super::change::{Change, Counter};
use super::error::WriteError;
use super::tables::Tables;
use super::{
    CLOSED_OPERATIONS_KEPT_DAYS, COMMIT_IDS_KEPT_HOURS, MAX_CLOSED_OPERATIONS, MAX_COMMIT_IDS,
    MAX_DROPPED_PER_COMMIT, MAX_PAYLOAD_BYTES, Planned,
};
use crate::ports::{Commit, Committed, Expected, OperationRow, OperationState, OutboxRow};

/// Compares, checks, and lists everything that the commit sets.
pub(super) fn commit(tables: &Tables, commit: &Commit) -> Result<Planned<Committed>, WriteError> {
    // SUBTLE: before the comparison. A repeat finds its own doing there, or what came after it.
    if tables.commit_ids.contains_key(&commit.id) {
        return Ok(Planned::nothing(Committed::Applied));
    }
    let current = tables.records.get(&commit.game_id);
    if current.map(|rt| Expected::from(&**rt)) != commit.expected {
        return Ok(Planned::nothing(Committed::Conflict));
    }
    check_commit(current.map(|rt| &**rt), commit.next.as_deref())
        .map_err(|violation| refuse(violation.to_string()))?;
    if commit.next.as_ref().is_some_and(|next| next.game_id != commit.game_id) {
        return Err(refuse("the record is of another game"));
    }
    let mut changes = vec![
        Change::Record(commit.game_id.clone(), commit.next.clone()),
        Change::CommitId(commit.id, Some(commit.at)),
    ];
    operations(tables, commit, &mut changes)?;
    messages(tables, commit, &mut changes)?;
    forget_commit_ids(tables, commit.at, &mut changes);
    forget_operations(tables, commit.at, &mut changes);
    Ok(Planned { changes, answer: Committed::Applied })
}

fn refuse(why: impl Into<String>) -> WriteError {
    WriteError::Refused(why.into())
}

/// Draws the next number.
fn draw(last: &mut u64) -> Result<u64, WriteError> {
    *last = last.checked_add(1).ok_or_else(|| refuse("the numbers are used up"))?;
    Ok(*last)
}

/// INVARIANT: an operation is opened once and closed once, whatever the caller believes.
fn operations(
    tables: &Tables,
    commit: &Commit,
    changes: &mut Vec<Change>,
) -> Result<(), WriteError> {
    if commit.audit.is_empty() {
        return Err(refuse("a commit without an audit mark"));
    }
    let mut last = tables.counter(Counter::Operations);
    let before = last;
    let mut touched: BTreeMap<OperationId, OperationRow> = BTreeMap::new();
    for entry in &commit.audit {
        let id = entry.operation;
        let known = touched.get(&id).or_else(|| tables.operations.get(&id));
        let row = match (&entry.mark, known) {
            (AuditMark::Opened { .. } | AuditMark::Instant { .. }, Some(_)) => {
                return Err(refuse(format!("operation {id} was opened before")));
            }
            (AuditMark::Opened { kind, turn }, None) => OperationRow {
                operation: id,
                game_id: commit.game_id.clone(),
                seq: draw(&mut last)?,
                kind: *kind,
                turn: *turn,
                origin: commit.origin.clone(),
                state: OperationState::Open,
                started_at: commit.at,
                finished_at: None,
            },
            (AuditMark::Instant { kind, outcome }, None) => OperationRow {
                operation: id,
                game_id: commit.game_id.clone(),
                seq: draw(&mut last)?,
                kind: *kind,
                turn: None,
                origin: commit.origin.clone(),
                state: OperationState::Closed(outcome.clone()),
                started_at: commit.at,
                finished_at: Some(commit.at),
            },
            (AuditMark::Closed(outcome), Some(row)) => {
                if row.state != OperationState::Open || row.game_id != commit.game_id {
                    return Err(refuse(format!("operation {id} is not open in this game")));
                }
                OperationRow {
                    state: OperationState::Closed(outcome.clone()),
                    finished_at: Some(commit.at),
                    ..row.clone()
                }
            }
            (AuditMark::Closed(_), None) => {
                return Err(refuse(format!("operation {id} was never opened")));
            }
        };
        touched.insert(id, row);
    }
    changes.extend(touched.into_iter().map(|(id, row)| Change::Operation(id, Some(Box::new(row)))));
    if last != before {
        changes.push(Change::Counter(Counter::Operations, last));
    }
    Ok(())
}

fn messages(tables: &Tables, commit: &Commit, changes: &mut Vec<Change>) -> Result<(), WriteError> {
    let mut last = tables.counter(Counter::Outbox);
    for message in &commit.messages {
        let payload = serde_json::to_string(message)
            .map_err(|e| refuse(format!("a message cannot be written: {e}")))?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(refuse(format!("a message of {} bytes is too long", payload.len())));
        }
        let row = OutboxRow {
            seq: draw(&mut last)?,
            channel: message.channel(),
            game_id: commit.game_id.clone(),
            payload,
            stream_id: None,
            published_at: None,
        };
        changes.push(Change::Outbox(row.seq, Some(Box::new(row))));
    }
    if !commit.messages.is_empty() {
        changes.push(Change::Counter(Counter::Outbox, last));
    }
    Ok(())
}

fn forget_commit_ids(tables: &Tables, now: Timestamp, changes: &mut Vec<Change>) {
    let oldest = before(now, TimeDelta::hours(COMMIT_IDS_KEPT_HOURS));
    let surplus = tables.commit_ids.len().saturating_sub(MAX_COMMIT_IDS);
    let aged = tables.commit_ids_by_age.iter().take(MAX_DROPPED_PER_COMMIT).enumerate();
    let dropped = aged.take_while(|(place, (at, _))| *at < oldest || *place < surplus);
    changes.extend(dropped.map(|(_, (_, id))| Change::CommitId(*id, None)));
}

fn forget_operations(tables: &Tables, now: Timestamp, changes: &mut Vec<Change>) {
    let oldest = before(now, TimeDelta::days(CLOSED_OPERATIONS_KEPT_DAYS));
    let surplus = tables.closed_by_age.len().saturating_sub(MAX_CLOSED_OPERATIONS);
    let aged = tables.closed_by_age.iter().take(MAX_DROPPED_PER_COMMIT).enumerate();
    let dropped = aged.take_while(|(place, (at, ..))| *at < oldest || *place < surplus);
    changes.extend(dropped.map(|(_, (_, _, id))| Change::Operation(*id, None)));
}

fn before(now: Timestamp, delta: TimeDelta) -> Timestamp {
    now.checked_sub_signed(delta).unwrap_or(Timestamp::MIN_UTC)
}
