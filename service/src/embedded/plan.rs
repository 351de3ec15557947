//! What a commit changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use machine::{
    AuditEntry, AuditMark, GameId, OperationId, Outcome, RaceName, Runtime, Status, Timestamp,
    check_commit,
};

use super::change::{Change, Counter};
use super::error::WriteError;
use super::tables::{Tables, versions_named};
use super::{
    CLOSED_OPERATIONS_KEPT_DAYS, COMMIT_IDS_KEPT_HOURS, MAX_CLAIMS, MAX_CLOSED_OPERATIONS,
    MAX_COMMIT_IDS, MAX_DROPPED_PER_COMMIT, MAX_PAYLOAD_BYTES, Planned,
};
use crate::ports::{
    CLAIMS_KEPT_HOURS, Claim, ClaimAnswer, ClaimRow, Commit, Committed, EngineVersionRow, Expected,
    LogCommit, OperationRow, OperationState, Origin, OutboxRow, VersionChange, VersionCommit,
    VersionCommitted, VersionStatus,
};

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
    if is_claimed(tables, commit.claim.as_ref()) {
        return Ok(Planned::nothing(Committed::Conflict));
    }
    check_commit(current.map(|rt| &**rt), commit.next.as_deref())
        .map_err(|violation| refuse(violation.to_string()))?;
    if commit.next.as_ref().is_some_and(|next| next.game_id != commit.game_id) {
        return Err(refuse("the record is of another game"));
    }
    if !references_resolve(tables, current.map(|rt| &**rt), commit.next.as_deref()) {
        return Ok(Planned::nothing(Committed::UnknownVersion));
    }
    let mut changes = vec![
        Change::Record(commit.game_id.clone(), commit.next.clone()),
        Change::CommitId(commit.id, Some(commit.at)),
    ];
    let marks = Marks {
        game: &commit.game_id,
        audit: &commit.audit,
        status: commit.next.as_ref().map(|rt| rt.status()),
        race: None,
        origin: &commit.origin,
        at: commit.at,
    };
    operations(tables, &marks, &mut changes)?;
    let claim = commit.claim.as_ref();
    claims(tables, &commit.audit, claim, commit.next.as_ref(), commit.at, &mut changes)?;
    messages(tables, commit, &mut changes)?;
    forget(tables, commit.at, &mut changes);
    Ok(Planned { changes, answer: Committed::Applied })
}

/// One mark in the operation log, and nothing else.
pub(super) fn log(tables: &Tables, log: &LogCommit) -> Result<Planned<Committed>, WriteError> {
    if tables.commit_ids.contains_key(&log.id) {
        return Ok(Planned::nothing(Committed::Applied));
    }
    if is_claimed(tables, log.claim.as_ref()) {
        return Ok(Planned::nothing(Committed::Conflict));
    }
    if let AuditMark::Closed(_) = log.audit.mark {
        let open = tables.operations.get(&log.audit.operation);
        let open = open.filter(|row| row.state == OperationState::Open);
        if open.is_none_or(|row| row.game_id != log.game_id) {
            return Ok(Planned::nothing(Committed::Conflict));
        }
    }
    let mut changes = vec![Change::CommitId(log.id, Some(log.at))];
    let audit = std::slice::from_ref(&log.audit);
    let marks = Marks {
        game: &log.game_id,
        audit,
        // The record stays as it is: the marks are all that comes of this.
        status: tables.records.get(&log.game_id).map(|rt| rt.status()),
        race: log.race.as_ref(),
        origin: &log.origin,
        at: log.at,
    };
    operations(tables, &marks, &mut changes)?;
    claims(tables, audit, log.claim.as_ref(), None, log.at, &mut changes)?;
    forget(tables, log.at, &mut changes);
    Ok(Planned { changes, answer: Committed::Applied })
}

/// A change of the registry of versions.
pub(super) fn change_version(
    tables: &Tables,
    commit: &VersionCommit,
) -> Result<Planned<VersionCommitted>, WriteError> {
    let version = commit.change.version();
    let known = tables.versions.get(version);
    let applied = |row: Option<EngineVersionRow>| VersionCommitted::Applied(row.map(Box::new));
    if tables.commit_ids.contains_key(&commit.id) {
        return Ok(Planned::nothing(applied(known.cloned())));
    }
    if is_claimed(tables, commit.claim.as_ref()) {
        return Ok(Planned::nothing(VersionCommitted::Claimed));
    }
    let next = match (&commit.change, known) {
        (VersionChange::Create(_), Some(_)) => {
            return Ok(Planned::nothing(VersionCommitted::Exists));
        }
        (VersionChange::Create(new), None) => Some(EngineVersionRow {
            version: new.version.clone(),
            image_ref: new.image_ref.clone(),
            options: new.options,
            status: VersionStatus::Active,
            created_at: commit.at,
            updated_at: commit.at,
        }),
        (
            VersionChange::Update { .. } | VersionChange::Deprecate(_) | VersionChange::Delete(_),
            None,
        ) => return Ok(Planned::nothing(VersionCommitted::NotFound)),
        (VersionChange::Update { version: _, image_ref, options }, Some(row)) => {
            Some(EngineVersionRow {
                image_ref: image_ref.clone().unwrap_or_else(|| row.image_ref.clone()),
                options: options.unwrap_or(row.options),
                updated_at: commit.at,
                ..row.clone()
            })
        }
        (VersionChange::Deprecate(_), Some(row)) => Some(match row.status {
            VersionStatus::Deprecated => row.clone(),
            VersionStatus::Active => EngineVersionRow {
                status: VersionStatus::Deprecated,
                updated_at: commit.at,
                ..row.clone()
            },
        }),
        (VersionChange::Delete(_), Some(_)) if tables.references.contains_key(version) => {
            return Ok(Planned::nothing(VersionCommitted::InUse));
        }
        (VersionChange::Delete(_), Some(_)) => None,
    };
    let row = next.clone().map(Box::new);
    let mut changes = vec![
        Change::Version(version.clone(), row.clone()),
        Change::CommitId(commit.id, Some(commit.at)),
    ];
    if let Some(claim) = &commit.claim {
        changes.push(set_claim(claim, ClaimAnswer::Version(row), commit.at));
    }
    forget(tables, commit.at, &mut changes);
    Ok(Planned { changes, answer: applied(next) })
}

fn is_claimed(tables: &Tables, claim: Option<&Claim>) -> bool {
    claim.is_some_and(|claim| tables.claims.contains_key(&claim.key))
}

/// INVARIANT `every_reference_resolves`: what is named anew is there; what was named before cannot
/// have gone.
fn references_resolve(tables: &Tables, before: Option<&Runtime>, next: Option<&Runtime>) -> bool {
    let is_old = |version| before.is_some_and(|rt| versions_named(rt).any(|old| old == version));
    next.is_none_or(|next| {
        versions_named(next).all(|v| is_old(v) || tables.versions.contains_key(v))
    })
}

/// A claim goes to the operation opened, a record to the claims of the operations that succeeded.
fn claims(
    tables: &Tables,
    audit: &[AuditEntry],
    claim: Option<&Claim>,
    record: Option<&Arc<Runtime>>,
    at: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<(), WriteError> {
    let succeeded = |operation: OperationId| {
        let closed = AuditMark::Closed(Outcome::Succeeded);
        audit.iter().any(|entry| entry.operation == operation && entry.mark == closed)
    };
    if let Some(claim) = claim {
        let opens = |entry: &&AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
        let opened = audit.iter().find(opens);
        let operation = opened.ok_or_else(|| refuse("a claim for no operation"))?.operation;
        let record = record.filter(|_| succeeded(operation)).cloned();
        changes.push(set_claim(claim, ClaimAnswer::Operation { operation, record }, at));
    }
    let Some(record) = record else { return Ok(()) };
    for entry in audit.iter().filter(|entry| succeeded(entry.operation)) {
        let operation = entry.operation;
        let key = tables.claims_by_operation.get(&operation);
        if let Some(row) = key.and_then(|key| tables.claims.get(key)) {
            let answer = ClaimAnswer::Operation { operation, record: Some(Arc::clone(record)) };
            changes.push(set_claim(&row.claim, answer, row.at));
        }
    }
    Ok(())
}

fn set_claim(claim: &Claim, answer: ClaimAnswer, at: Timestamp) -> Change {
    let row = ClaimRow { claim: claim.clone(), answer, at };
    Change::Claim(claim.key.clone(), Some(Box::new(row)))
}

fn refuse(why: impl Into<String>) -> WriteError {
    WriteError::Refused(why.into())
}

/// Draws the next number.
fn draw(last: &mut u64) -> Result<u64, WriteError> {
    *last = last.checked_add(1).ok_or_else(|| refuse("the numbers are used up"))?;
    Ok(*last)
}

/// What goes to the operation log at once.
struct Marks<'a> {
    game: &'a GameId,
    audit: &'a [AuditEntry],
    /// The status of the game once they are made.
    status: Option<Status>,
    /// Whom the operations opened are about.
    race: Option<&'a RaceName>,
    origin: &'a Origin,
    at: Timestamp,
}

/// INVARIANT: an operation is opened once and closed once, whatever the caller believes.
fn operations(
    tables: &Tables,
    marks: &Marks<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), WriteError> {
    if marks.audit.is_empty() {
        return Err(refuse("a commit without an audit mark"));
    }
    let mut last = tables.counter(Counter::Operations);
    let before = last;
    let status = marks.status;
    let mut touched: BTreeMap<OperationId, OperationRow> = BTreeMap::new();
    for entry in marks.audit {
        let id = entry.operation;
        let known = touched.get(&id).or_else(|| tables.operations.get(&id));
        let row = match (&entry.mark, known) {
            (AuditMark::Opened { .. } | AuditMark::Instant { .. }, Some(_)) => {
                return Err(refuse(format!("operation {id} was opened before")));
            }
            (AuditMark::Opened { kind, turn, tick }, None) => OperationRow {
                operation: id,
                game_id: marks.game.clone(),
                seq: draw(&mut last)?,
                kind: *kind,
                turn: *turn,
                tick: *tick,
                status,
                race: marks.race.cloned(),
                origin: marks.origin.clone(),
                state: OperationState::Open,
                started_at: marks.at,
                finished_at: None,
            },
            (AuditMark::Instant { kind, outcome }, None) => OperationRow {
                operation: id,
                game_id: marks.game.clone(),
                seq: draw(&mut last)?,
                kind: *kind,
                turn: None,
                tick: None,
                status,
                race: marks.race.cloned(),
                origin: marks.origin.clone(),
                state: OperationState::Closed(outcome.clone()),
                started_at: marks.at,
                finished_at: Some(marks.at),
            },
            (AuditMark::Closed(outcome), Some(row)) => {
                if row.state != OperationState::Open || row.game_id != *marks.game {
                    return Err(refuse(format!("operation {id} is not open in this game")));
                }
                OperationRow {
                    state: OperationState::Closed(outcome.clone()),
                    finished_at: Some(marks.at),
                    status,
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
            at: commit.at,
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

/// Forgets what is too old to be asked for.
fn forget(tables: &Tables, now: Timestamp, changes: &mut Vec<Change>) {
    forget_commit_ids(tables, now, changes);
    forget_operations(tables, now, changes);
    forget_claims(tables, now, changes);
}

fn forget_claims(tables: &Tables, now: Timestamp, changes: &mut Vec<Change>) {
    let oldest = before(now, TimeDelta::hours(CLAIMS_KEPT_HOURS));
    let surplus = tables.claims.len().saturating_sub(MAX_CLAIMS);
    let aged = tables.claims_by_age.iter().take(MAX_DROPPED_PER_COMMIT).enumerate();
    let dropped = aged.take_while(|(place, (at, _))| *at < oldest || *place < surplus);
    changes.extend(dropped.map(|(_, (_, key))| Change::Claim(key.clone(), None)));
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
