//! `gamemaster.commit_all` and what it is made of: a transcript of the functions of the schema, to
//! be read beside `migrations/V1__init.sql`.
//!
//! It is not the embedded store's plan over again: that one knows no batch that fails as a whole, no
//! claim that lies past its day and is not forgotten yet, and no look that comes before a wait.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use machine::record::PendingKind;
use machine::{
    AuditEntry, AuditMark, GameId, OperationId, Outcome, RaceName, Runtime, Status, Timestamp,
};
use serde_json::Value;
use service::ports::{
    Claim, Commit, CommitId, Expected, LogCommit, OperationRow, OperationState, Origin,
};

use super::document::{Asked, Member};
use super::refusal::Refusal;
use super::tables::{ClaimName, ClaimRow, Message, RecordRow, Tables, Transaction};

/// How a member of a batch ended, as the function says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, now or before under the same name.
    Applied,
    /// Something else is there, or the claim is taken.
    Conflict,
    /// It names a version that is not there.
    UnknownVersion,
}

impl Answer {
    /// The word of the function.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Conflict => "conflict",
            Self::UnknownVersion => "unknown_version",
        }
    }
}

/// Which claims a transaction found taken when it looked, and which it took itself.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Found taken before the wait for their rows.
    pub(super) taken: BTreeSet<CommitId>,
    own: BTreeSet<ClaimName>,
}

impl Looks {
    /// What the look at a claim says to a member: what was there when it looked, or what the members
    /// before it have done. Not what others did while it waited.
    fn say_taken(&self, id: CommitId, claim: Option<&Claim>) -> bool {
        claim.is_some_and(|claim| self.taken.contains(&id) || self.own.contains(&name_of(claim)))
    }
}

pub(super) fn commit_all(
    tx: &mut Transaction<'_>,
    members: &[Asked],
    looks: &mut Looks,
) -> Result<Vec<Answer>, Refusal> {
    let mut answers = vec![];
    // What applies and is not told yet, with the status that each leaves.
    let mut untold: Vec<Tidings<'_>> = vec![];
    for member in members {
        let game = member.what.game();
        if untold.iter().any(|tidings| tidings.game == game) {
            write_tidings(tx, &std::mem::take(&mut untold))?;
        }
        let (answer, tidings) = match &member.what {
            Member::Record(commit) => commit_record(tx, member, commit, looks)?,
            Member::Log(commit) => commit_log(tx, commit, looks)?,
        };
        answers.push(answer);
        untold.extend(tidings);
    }
    write_tidings(tx, &untold)?;
    Ok(answers)
}

fn commit_record<'a>(
    tx: &mut Transaction<'_>,
    asked: &'a Asked,
    commit: &'a Commit,
    looks: &mut Looks,
) -> Result<(Answer, Option<Tidings<'a>>), Refusal> {
    if tx.commit_ids().contains_key(&commit.id) {
        return Ok((Answer::Applied, None));
    }
    let before = tx.records().get(&commit.game_id).map(|row| row.runtime.clone());
    if before.as_deref().map(Expected::from) != commit.expected
        || looks.say_taken(commit.id, commit.claim.as_ref())
    {
        return Ok((Answer::Conflict, None));
    }
    let next = commit.next.as_deref();
    let is_known = |version: &String| tx.versions().contains_key(version);
    if !named_anew(before.as_deref(), next).iter().all(is_known) {
        let taken = commit.claim.as_ref().is_some_and(|claim| is_claimed(tx, claim, commit.at));
        let answer = if taken { Answer::Conflict } else { Answer::UnknownVersion };
        return Ok((answer, None));
    }
    tx.set_commit_id(commit.id, Some(commit.at));
    let columns = asked.next.as_ref();
    let row = commit
        .next
        .as_ref()
        .zip(columns)
        .map(|(runtime, columns)| RecordRow { runtime: runtime.clone(), columns: columns.clone() });
    tx.set_record(&commit.game_id, row);
    settle_claim(tx, &commit.audit, commit.claim.as_ref(), commit.at, looks)?;
    let tidings = Tidings {
        game: &commit.game_id,
        audit: &commit.audit,
        status: next.map(Runtime::status),
        race: None,
        origin: &commit.origin,
        record: columns,
        messages: commit.messages.iter().zip(&asked.payloads).collect(),
        at: commit.at,
    };
    Ok((Answer::Applied, Some(tidings)))
}

fn commit_log<'a>(
    tx: &mut Transaction<'_>,
    commit: &'a LogCommit,
    looks: &mut Looks,
) -> Result<(Answer, Option<Tidings<'a>>), Refusal> {
    if tx.commit_ids().contains_key(&commit.id) {
        return Ok((Answer::Applied, None));
    }
    let audit = std::slice::from_ref(&commit.audit);
    let closes = matches!(commit.audit.mark, AuditMark::Closed(_));
    if (closes && open(tx, commit.audit.operation, &commit.game_id).is_none())
        || looks.say_taken(commit.id, commit.claim.as_ref())
    {
        return Ok((Answer::Conflict, None));
    }
    tx.set_commit_id(commit.id, Some(commit.at));
    settle_claim(tx, audit, commit.claim.as_ref(), commit.at, looks)?;
    let tidings = Tidings {
        game: &commit.game_id,
        audit,
        status: tx.records().get(&commit.game_id).map(|row| row.runtime.status()),
        race: commit.race.as_ref(),
        origin: &commit.origin,
        record: None,
        messages: vec![],
        at: commit.at,
    };
    Ok((Answer::Applied, Some(tidings)))
}

/// The versions that a record names and did not name before: the ones looked for, and held against
/// deletion.
pub(super) fn named_anew(before: Option<&Runtime>, next: Option<&Runtime>) -> Vec<String> {
    let old = before.map(versions_named).unwrap_or_default();
    let mut named = next.map(versions_named).unwrap_or_default();
    named.retain(|version| !old.contains(version));
    named
}

pub(super) fn versions_named(rt: &Runtime) -> Vec<String> {
    let patched_to = rt.pending().and_then(|pending| match &pending.what {
        PendingKind::Patch { version, image_ref: _, turn_guard: _ } => Some(version.to_string()),
        PendingKind::Stop { reason: _ } => None,
    });
    std::iter::once(rt.engine.version.to_string()).chain(patched_to).collect()
}

pub(super) fn name_of(claim: &Claim) -> ClaimName {
    (claim.key.caller.as_str(), claim.key.key.as_str().to_owned())
}

/// Whether a name is taken, as `gamemaster.is_claimed` says it.
pub(super) fn is_claimed(tables: &Tables, claim: &Claim, at: Timestamp) -> bool {
    let row = tables.claims().get(&name_of(claim));
    row.is_some_and(|row| row.at >= at - TimeDelta::hours(24))
}

/// `gamemaster.take_claim`: false where somebody has the name.
pub(super) fn take_claim(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    operation: Option<OperationId>,
    version: Option<Value>,
    at: Timestamp,
) -> bool {
    let name = name_of(claim);
    let there = tx.claims().get(&name);
    if there.is_some_and(|row| row.at >= at - TimeDelta::hours(24)) {
        return false;
    }
    let row = ClaimRow {
        fingerprint: claim.fingerprint.0,
        operation: operation.map(|id| id.0),
        record: None,
        version,
        at,
    };
    tx.set_claim(&name, Some(row));
    true
}

fn open<'a>(tables: &'a Tables, id: OperationId, game: &GameId) -> Option<&'a OperationRow> {
    let row = tables.operations().get(&id)?;
    (row.state == OperationState::Open && row.game_id == *game).then_some(row)
}

/// What a commit that applies tells besides its record.
struct Tidings<'a> {
    game: &'a GameId,
    audit: &'a [AuditEntry],
    status: Option<Status>,
    race: Option<&'a RaceName>,
    origin: &'a Origin,
    record: Option<&'a Value>,
    messages: Vec<(&'a machine::Message, &'a String)>,
    at: Timestamp,
}

impl Tidings<'_> {
    fn opened(&self, entry: &AuditEntry, seq: u64) -> Option<OperationRow> {
        let (kind, turn, tick, state, finished_at) = match &entry.mark {
            AuditMark::Opened { kind, turn, tick } => {
                (*kind, *turn, *tick, OperationState::Open, None)
            }
            AuditMark::Instant { kind, outcome } => {
                (*kind, None, None, OperationState::Closed(outcome.clone()), Some(self.at))
            }
            AuditMark::Closed(_) => return None,
        };
        Some(OperationRow {
            operation: entry.operation,
            game_id: self.game.clone(),
            seq,
            kind,
            turn,
            tick,
            status: self.status,
            race: self.race.cloned(),
            origin: self.origin.clone(),
            state,
            started_at: self.at,
            finished_at,
        })
    }
}

/// `gamemaster.write_tidings`: table by table, as there.
fn write_tidings(tx: &mut Transaction<'_>, all: &[Tidings<'_>]) -> Result<(), Refusal> {
    let mut marked = 0;
    for (tidings, entry) in marks(all).filter(|(_, entry)| outcome(entry).is_none()) {
        // Drawn whether the row comes to anything or not.
        let seq = tx.next_operation();
        let is_fresh = !tx.operations().contains_key(&entry.operation);
        if let Some(row) = tidings.opened(entry, seq).filter(|_| is_fresh) {
            tx.set_operation(entry.operation, Some(row));
            marked += 1;
        }
    }
    for (tidings, entry) in marks(all) {
        let Some(outcome) = outcome(entry) else { continue };
        let Some(row) = open(tx, entry.operation, tidings.game).cloned() else { continue };
        let row = OperationRow {
            state: OperationState::Closed(outcome.clone()),
            status: tidings.status,
            finished_at: Some(tidings.at),
            ..row
        };
        tx.set_operation(entry.operation, Some(row));
        marked += 1;
    }
    if marked != marks(all).count() {
        let why = "an operation was opened before, or is not open in this game";
        return Err(Refusal::for_good(why));
    }
    if all.iter().any(|tidings| tidings.audit.is_empty()) {
        return Err(Refusal::for_good("a commit without an audit mark"));
    }
    for (tidings, entry) in marks(all) {
        let closes = outcome(entry) == Some(&Outcome::Succeeded);
        let Some(record) = tidings.record.filter(|_| closes) else { continue };
        let of = |(_, row): &(&ClaimName, &ClaimRow)| row.operation == Some(entry.operation.0);
        let found = tx.claims().iter().find(of).map(|(name, row)| (name.clone(), row.clone()));
        if let Some((name, row)) = found {
            tx.set_claim(&name, Some(ClaimRow { record: Some(record.clone()), ..row }));
        }
    }
    for tidings in all {
        for (message, payload) in &tidings.messages {
            let id = tx.next_message();
            let row = Message {
                place: None,
                channel: message.channel(),
                game_id: tidings.game.clone(),
                payload: (*payload).clone(),
                committed_at: tidings.at,
                stream_id: None,
                published_at: None,
            };
            tx.set_message(id, Some(row));
        }
    }
    Ok(())
}

fn marks<'a>(all: &'a [Tidings<'_>]) -> impl Iterator<Item = (&'a Tidings<'a>, &'a AuditEntry)> {
    all.iter().flat_map(|tidings| tidings.audit.iter().map(move |entry| (tidings, entry)))
}

/// How a mark says that an operation ended that was opened before.
fn outcome(entry: &AuditEntry) -> Option<&Outcome> {
    match &entry.mark {
        AuditMark::Closed(outcome) => Some(outcome),
        AuditMark::Opened { .. } | AuditMark::Instant { .. } => None,
    }
}

fn settle_claim(
    tx: &mut Transaction<'_>,
    audit: &[AuditEntry],
    claim: Option<&Claim>,
    at: Timestamp,
    looks: &mut Looks,
) -> Result<(), Refusal> {
    let Some(claim) = claim else { return Ok(()) };
    let opens = |entry: &&AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
    let opened = audit.iter().find(opens);
    let opened = opened.ok_or_else(|| Refusal::for_good("a claim for no operation"))?;
    if !take_claim(tx, claim, Some(opened.operation), None, at) {
        return Err(Refusal::claim_taken_meanwhile());
    }
    looks.own.insert(name_of(claim));
    Ok(())
}
