//! What the adapter's documents say: the way back from JSON to what was to be committed.
//!
//! Production has only the way there. This one is strict where PostgreSQL is not: a key that the
//! schema does not know would be passed over there, and is an error here.

use std::fmt::Display;
use std::sync::Arc;

use machine::{
    AuditEntry, AuditMark, EngineVersion, Failure, FailureCode, GameId, ImageRef, Incarnation,
    OperationId, OperationKind, Outcome, RaceName, Status, Timestamp,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service::ports::{
    Claim, ClaimKey, Commit, CommitId, Expected, Fingerprint, LogCommit, NewVersion, Origin,
    Source, VersionChange, VersionCommit, VersionOptions,
};
use service::postgres::decode_record;
use uuid::Uuid;

use super::refusal::Refusal;

/// One member of a batch: what is asked, and the texts of it that are stored as they are.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is to be committed.
    pub what: Member,
    /// The columns of the record and its roster, as they were sent.
    pub(super) next: Option<Value>,
    /// The payloads of the messages, as they were sent.
    pub(super) payloads: Vec<String>,
}

/// What a member of a batch asks for.
#[derive(Clone, Debug)]
pub enum Member {
    /// A record is compared and set.
    Record(Box<Commit>),
    /// The operation log alone changes.
    Log(Box<LogCommit>),
}

impl Member {
    pub(super) fn game(&self) -> &GameId {
        match self {
            Self::Record(commit) => &commit.game_id,
            Self::Log(commit) => &commit.game_id,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: Uuid,
    log: bool,
    game_id: GameId,
    expected: Option<Comparison>,
    next: Option<Value>,
    messages: Vec<Payload>,
    audit: Vec<Mark>,
    race: Option<RaceName>,
    source: Source,
    request_id: Option<String>,
    claim: Option<Taken>,
    at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Comparison {
    incarnation: Uuid,
    status: Status,
    revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    channel: String,
    payload: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    operation: OperationId,
    mark: String,
    kind: Option<OperationKind>,
    turn: Option<u32>,
    tick: Option<String>,
    outcome: Option<String>,
    error_code: Option<FailureCode>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    caller: Source,
    key: String,
    fingerprint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionDocument {
    id: Uuid,
    change: String,
    version: EngineVersion,
    sort_key: String,
    image_ref: Option<ImageRef>,
    options: Option<VersionOptions>,
    claim: Option<Taken>,
    at: String,
}

/// A batch, in its order.
pub(super) fn batch(text: &str) -> Result<Vec<Asked>, Refusal> {
    let documents: Vec<Document> = json(text)?;
    documents.into_iter().map(asked).collect()
}

/// A change of the registry, and the version's place in the order of versions.
pub(super) fn version(text: &str) -> Result<(VersionCommit, String), Refusal> {
    let document: VersionDocument = json(text)?;
    let VersionDocument { id, change, version, sort_key, image_ref, options, claim, at } = document;
    let whole = || Some((image_ref.clone()?, options?));
    let change = match (change.as_str(), whole()) {
        ("create", Some((image_ref, options))) => {
            VersionChange::Create(NewVersion { version, image_ref, options })
        }
        ("update", _) => VersionChange::Update { version, image_ref, options },
        ("deprecate", _) => VersionChange::Deprecate(version),
        ("delete", _) => VersionChange::Delete(version),
        _ => return Err(unreadable(format!("the change {change:?} is none, or not whole"))),
    };
    let claim = claim.map(taken).transpose()?;
    Ok((VersionCommit { id: CommitId(id), change, claim, at: instant(&at)? }, sort_key))
}

fn asked(document: Document) -> Result<Asked, Refusal> {
    let Document {
        id,
        log,
        game_id,
        expected,
        next,
        messages,
        audit,
        race,
        source,
        request_id,
        claim,
        at,
    } = document;
    let id = CommitId(id);
    let origin = Origin { source, request_id };
    let claim = claim.map(taken).transpose()?;
    let at = instant(&at)?;
    let audit: Vec<AuditEntry> = audit.into_iter().map(entry).collect::<Result<_, _>>()?;
    if log {
        let [audit] = <[AuditEntry; 1]>::try_from(audit)
            .map_err(|_| unreadable("the log takes one mark at a time"))?;
        if expected.is_some() || next.is_some() || !messages.is_empty() {
            return Err(unreadable("a change of the log touches nothing else"));
        }
        let commit = LogCommit { id, game_id, audit, race, origin, claim, at };
        return Ok(Asked { what: Member::Log(Box::new(commit)), next: None, payloads: vec![] });
    }
    if race.is_some() {
        return Err(unreadable("a commit of a record is about no race"));
    }
    let mut typed = vec![];
    let mut payloads = vec![];
    for Payload { channel, payload } in messages {
        let message: machine::Message = json(&payload)?;
        if message.channel().as_str() != channel {
            return Err(unreadable("a message goes to another channel than its own"));
        }
        typed.push(message);
        payloads.push(payload);
    }
    let expected = expected.map(|Comparison { incarnation, status, revision }| Expected {
        incarnation: Incarnation(incarnation),
        status,
        revision,
    });
    let record = next.as_ref().map(|next| {
        let runtime = decode_record(&next.to_string()).map_err(unreadable)?;
        runtime.check().map_err(|violation| Refusal::check_violation(&violation.to_string()))?;
        Ok(Arc::clone(&runtime))
    });
    let commit = Commit {
        id,
        game_id,
        expected,
        next: record.transpose()?,
        messages: typed,
        audit,
        origin,
        claim,
        at,
    };
    Ok(Asked { what: Member::Record(Box::new(commit)), next, payloads })
}

fn entry(mark: Mark) -> Result<AuditEntry, Refusal> {
    let Mark { operation, mark, kind, turn, tick, outcome, error_code, error_message } = mark;
    let tick = tick.as_deref().map(instant).transpose()?;
    let outcome = match (outcome.as_deref(), error_code, error_message) {
        (None, None, None) => None,
        (Some("succeeded"), None, None) => Some(Outcome::Succeeded),
        (Some("superseded"), None, None) => Some(Outcome::Superseded),
        (Some("failed"), Some(code), Some(message)) => {
            Some(Outcome::Failed(Failure { code, message }))
        }
        _ => return Err(unreadable("an outcome that is none")),
    };
    let mark = match (mark.as_str(), kind, outcome) {
        ("opened", Some(kind), None) => AuditMark::Opened { kind, turn, tick },
        ("closed", None, Some(outcome)) => AuditMark::Closed(outcome),
        ("instant", Some(kind), Some(outcome)) => AuditMark::Instant { kind, outcome },
        _ => return Err(unreadable("a mark that is none")),
    };
    Ok(AuditEntry { operation, mark })
}

fn taken(claim: Taken) -> Result<Claim, Refusal> {
    let Taken { caller, key, fingerprint } = claim;
    let mut bytes = [0; 32];
    let digits = fingerprint.as_bytes().chunks_exact(2);
    if fingerprint.len() != 64 || !fingerprint.is_ascii() {
        return Err(unreadable("a fingerprint of another length"));
    }
    for (byte, pair) in bytes.iter_mut().zip(digits) {
        let pair = std::str::from_utf8(pair).map_err(unreadable)?;
        *byte = u8::from_str_radix(pair, 16).map_err(unreadable)?;
    }
    let key = ClaimKey { caller, key: key.parse().map_err(unreadable)? };
    Ok(Claim { key, fingerprint: Fingerprint(bytes) })
}

/// An instant as `::timestamptz` takes it from the adapter: beyond the year 9999 without the sign
/// that the parser here asks for.
pub(super) fn instant(text: &str) -> Result<Timestamp, Refusal> {
    let long = text.find('-').is_some_and(|digits| digits > 4);
    let signed = if long { format!("+{text}") } else { text.to_owned() };
    signed.parse().map_err(|_| {
        Refusal::new("22007", "invalid input syntax for type timestamp with time zone")
    })
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(unreadable)
}

/// What PostgreSQL would take for something else, or refuse at one place or another.
fn unreadable(why: impl Display) -> Refusal {
    Refusal::new("22023", format!("the document is not one of the adapter's: {why}"))
}
