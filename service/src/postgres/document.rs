//! A commit as the functions of the schema take it: one JSON object.

use machine::{AuditEntry, AuditMark, OperationId, OperationKind, Outcome, RaceName, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::MAX_PAYLOAD_BYTES;
use super::record::{Columns, instant};
use super::semver::sort_key;
use crate::ports::{
    Claim, Commit, Expected, LogCommit, Origin, VersionChange, VersionCommit, VersionOptions,
};

/// What cannot be kept, in words.
type Refusal = String;

#[derive(Serialize)]
struct Member<'a> {
    id: Uuid,
    log: bool,
    game_id: &'a str,
    expected: Option<Comparison<'a>>,
    next: Option<Columns>,
    messages: Vec<Payload>,
    audit: Vec<Mark<'a>>,
    race: Option<&'a RaceName>,
    source: &'static str,
    request_id: Option<&'a str>,
    claim: Option<Taken<'a>>,
    #[serde(with = "instant")]
    at: Timestamp,
}

#[derive(Serialize)]
struct Comparison<'a> {
    incarnation: Uuid,
    status: &'a str,
    revision: u64,
}

#[derive(Serialize)]
struct Payload {
    channel: &'static str,
    payload: String,
}

#[derive(Serialize)]
struct Mark<'a> {
    operation: OperationId,
    mark: &'static str,
    kind: Option<OperationKind>,
    turn: Option<u32>,
    #[serde(with = "instant::option")]
    tick: Option<Timestamp>,
    outcome: Option<&'static str>,
    error_code: Option<&'static str>,
    error_message: Option<&'a str>,
}

#[derive(Serialize)]
struct Taken<'a> {
    caller: &'static str,
    key: &'a str,
    fingerprint: String,
}

#[derive(Serialize)]
struct Version<'a> {
    id: Uuid,
    change: &'static str,
    version: String,
    sort_key: String,
    image_ref: Option<&'a str>,
    options: Option<VersionOptions>,
    claim: Option<Taken<'a>>,
    #[serde(with = "instant")]
    at: Timestamp,
}

/// A commit of a record.
pub(super) fn commit(commit: &Commit) -> Result<Box<RawValue>, Refusal> {
    write(&Member {
        id: commit.id.0,
        log: false,
        game_id: commit.game_id.as_str(),
        expected: commit.expected.as_ref().map(|Expected { incarnation, status, revision }| {
            Comparison { incarnation: incarnation.0, status: status.as_str(), revision: *revision }
        }),
        next: commit.next.as_deref().map(Columns::from),
        messages: payloads(commit)?,
        audit: commit.audit.iter().map(mark).collect(),
        race: None,
        source: commit.origin.source.as_str(),
        request_id: request_id(&commit.origin),
        claim: commit.claim.as_ref().map(taken),
        at: commit.at,
    })
}

/// A commit of the operation log alone.
pub(super) fn log(commit: &LogCommit) -> Result<Box<RawValue>, Refusal> {
    write(&Member {
        id: commit.id.0,
        log: true,
        game_id: commit.game_id.as_str(),
        expected: None,
        next: None,
        messages: vec![],
        audit: vec![mark(&commit.audit)],
        race: commit.race.as_ref(),
        source: commit.origin.source.as_str(),
        request_id: request_id(&commit.origin),
        claim: commit.claim.as_ref().map(taken),
        at: commit.at,
    })
}

/// A change of the registry of versions.
pub(super) fn version(commit: &VersionCommit) -> Result<Box<RawValue>, Refusal> {
    let (change, image_ref, options) = match &commit.change {
        VersionChange::Create(new) => ("create", Some(&new.image_ref), Some(new.options)),
        VersionChange::Update { version: _, image_ref, options } => {
            ("update", image_ref.as_ref(), *options)
        }
        VersionChange::Deprecate(_) => ("deprecate", None, None),
        VersionChange::Delete(_) => ("delete", None, None),
    };
    let version = commit.change.version();
    write(&Version {
        id: commit.id.0,
        change,
        version: version.to_string(),
        sort_key: sort_key(version),
        image_ref: image_ref.map(machine::ImageRef::as_str),
        options,
        claim: commit.claim.as_ref().map(taken),
        at: commit.at,
    })
}

fn write<T: Serialize>(document: &T) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(document).map_err(|e| format!("it cannot be kept: {e}"))
}

fn payloads(commit: &Commit) -> Result<Vec<Payload>, Refusal> {
    let payload = |message: &machine::Message| {
        let payload = serde_json::to_string(message)
            .map_err(|e| format!("a message cannot be written: {e}"))?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(format!("a message of {} bytes is too long", payload.len()));
        }
        Ok(Payload { channel: message.channel().as_str(), payload })
    };
    commit.messages.iter().map(payload).collect()
}

fn request_id(origin: &Origin) -> Option<&str> {
    origin.request_id.as_deref()
}

fn taken(claim: &Claim) -> Taken<'_> {
    let hex = claim.fingerprint.0.iter().map(|byte| format!("{byte:02x}"));
    Taken {
        caller: claim.key.caller.as_str(),
        key: claim.key.key.as_str(),
        fingerprint: hex.collect(),
    }
}

fn mark(entry: &AuditEntry) -> Mark<'_> {
    let bare = Mark {
        operation: entry.operation,
        mark: "opened",
        kind: None,
        turn: None,
        tick: None,
        outcome: None,
        error_code: None,
        error_message: None,
    };
    match &entry.mark {
        AuditMark::Opened { kind, turn, tick } => {
            Mark { kind: Some(*kind), turn: *turn, tick: *tick, ..bare }
        }
        AuditMark::Closed(outcome) => Mark { mark: "closed", ..ended(outcome, bare) },
        AuditMark::Instant { kind, outcome } => {
            Mark { mark: "instant", kind: Some(*kind), ..ended(outcome, bare) }
        }
    }
}

fn ended<'a>(outcome: &'a Outcome, bare: Mark<'a>) -> Mark<'a> {
    match outcome {
        Outcome::Succeeded => Mark { outcome: Some("succeeded"), ..bare },
        Outcome::Superseded => Mark { outcome: Some("superseded"), ..bare },
        Outcome::Failed(failure) => Mark {
            outcome: Some("failed"),
            error_code: Some(failure.code.as_str()),
            error_message: Some(&failure.message),
            ..bare
        },
    }
}
