//! The plain model of a store: lists, searched from end to end.

use std::sync::Arc;

use chrono::TimeDelta;
use machine::record::PendingKind;
use machine::{
    AuditEntry, AuditMark, Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind,
    Outcome, RaceName, Runtime, Status, StreamId, Timestamp, check_commit,
};

use crate::ports::{
    Backlog, CLAIMS_KEPT_HOURS, Claim, ClaimAnswer, ClaimKey, ClaimRow, Commit, CommitId,
    Committed, Due, EngineVersionRow, LogCommit, NewVersion, OperationRow, OperationState, Origin,
    OutboxRow, VersionChange, VersionCommit, VersionCommitted, VersionStatus,
};

/// What a change is answered; `None`: it is refused.
pub(super) type Answer = Option<Committed>;

#[derive(Default)]
pub(super) struct Model {
    records: Vec<Arc<Runtime>>,
    commits: Vec<CommitId>,
    /// In the order they were opened; the places are the store's to choose.
    operations: Vec<OperationRow>,
    /// In the order they were committed.
    outbox: Vec<Sent>,
    /// The highest id ever seen on each channel.
    highest: [StreamId; 2],
    versions: Vec<EngineVersionRow>,
    claims: Vec<ClaimRow>,
}

/// A message, and its place once the store has shown it.
struct Sent {
    row: OutboxRow,
    shown: bool,
}

/// What goes to the log at once.
struct Log<'a> {
    game: &'a GameId,
    audit: &'a [AuditEntry],
    race: Option<&'a RaceName>,
    origin: &'a Origin,
    claim: Option<&'a Claim>,
    status: Option<Status>,
    at: Timestamp,
}

/// The versions that a record names.
fn named(rt: &Runtime) -> Vec<EngineVersion> {
    let mut named = vec![rt.engine.version.clone()];
    if let Some(pending) = rt.pending()
        && let PendingKind::Patch { version, image_ref: _, turn_guard: _ } = &pending.what
    {
        named.push(version.clone());
    }
    named
}

pub(super) fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}

fn index(channel: Channel) -> usize {
    match channel {
        Channel::LobbyEvents => 0,
        Channel::NotificationIntents => 1,
    }
}

impl Model {
    pub(super) fn record(&self, game: &GameId) -> Option<Arc<Runtime>> {
        self.records.iter().find(|rt| rt.game_id == *game).cloned()
    }

    /// The answers that are right: several where several things stand against it.
    pub(super) fn commit(&mut self, commit: &Commit) -> Vec<Answer> {
        if self.commits.contains(&commit.id) {
            return vec![Some(Committed::Applied)];
        }
        let current = self.record(&commit.game_id);
        let expected = match (&current, commit.expected) {
            (None, None) => true,
            (Some(rt), Some(e)) => {
                rt.incarnation == e.incarnation
                    && rt.status() == e.status
                    && rt.revision == e.revision
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !expected {
            return vec![Some(Committed::Conflict)];
        }
        let status = commit.next.as_ref().map(|rt| rt.status());
        let log = Log {
            game: &commit.game_id,
            audit: &commit.audit,
            race: None,
            origin: &commit.origin,
            claim: commit.claim.as_ref(),
            status,
            at: commit.at,
        };
        let operations = self.audited(&log);
        let keeps = check_commit(current.as_deref(), commit.next.as_deref()).is_ok();
        let mut against = vec![];
        if !keeps || operations.is_none() {
            against.push(None);
        }
        let named = |rt: &Runtime| named(rt);
        let old = current.as_deref().map(named).unwrap_or_default();
        let next = commit.next.as_deref().map(named).unwrap_or_default();
        if self.is_claimed(commit.claim.as_ref()) {
            against.push(Some(Committed::Conflict));
        } else if !next.iter().all(|v| old.contains(v) || self.version(v).is_some()) {
            against.push(Some(Committed::UnknownVersion));
        }
        let Some(operations) = operations.filter(|_| against.is_empty()) else {
            return against;
        };
        self.operations = operations;
        self.commits.push(commit.id);
        self.claim_operation(&log);
        for entry in &commit.audit {
            for row in &mut self.claims {
                let ClaimAnswer::Operation { operation, record } = &mut row.answer else {
                    continue;
                };
                let succeeded = entry.mark == AuditMark::Closed(Outcome::Succeeded);
                if *operation == entry.operation && succeeded {
                    record.clone_from(&commit.next);
                }
            }
        }
        self.records.retain(|rt| rt.game_id != commit.game_id);
        self.records.extend(commit.next.clone());
        self.outbox.extend(commit.messages.iter().map(|message| Sent {
            row: OutboxRow {
                seq: 0,
                channel: message.channel(),
                game_id: commit.game_id.clone(),
                payload: serde_json::to_string(message).expect("JSON"),
                at: commit.at,
                stream_id: None,
                published_at: None,
            },
            shown: false,
        }));
        vec![Some(Committed::Applied)]
    }

    /// The same, for a change of the log alone.
    pub(super) fn log(&mut self, commit: &LogCommit) -> Vec<Answer> {
        if self.commits.contains(&commit.id) {
            return vec![Some(Committed::Applied)];
        }
        let log = Log {
            game: &commit.game_id,
            audit: std::slice::from_ref(&commit.audit),
            race: commit.race.as_ref(),
            origin: &commit.origin,
            claim: commit.claim.as_ref(),
            status: self.record(&commit.game_id).map(|rt| rt.status()),
            at: commit.at,
        };
        let closes = matches!(commit.audit.mark, AuditMark::Closed(_));
        let open = self.operations.iter().any(|row| {
            row.operation == commit.audit.operation
                && row.game_id == commit.game_id
                && row.state == OperationState::Open
        });
        let mut against = vec![];
        if self.is_claimed(commit.claim.as_ref()) || closes && !open {
            against.push(Some(Committed::Conflict));
        }
        let operations = self.audited(&log);
        if commit.claim.is_some() && closes || !closes && operations.is_none() {
            against.push(None);
        }
        let Some(operations) = operations.filter(|_| against.is_empty()) else {
            return against;
        };
        self.operations = operations;
        self.commits.push(commit.id);
        self.claim_operation(&log);
        vec![Some(Committed::Applied)]
    }

    fn is_claimed(&self, claim: Option<&Claim>) -> bool {
        claim.is_some_and(|claim| self.claims.iter().any(|row| row.claim.key == claim.key))
    }

    fn claim_operation(&mut self, log: &Log<'_>) {
        let Some(claim) = log.claim else { return };
        let opens = |entry: &&AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
        let operation = log.audit.iter().find(opens).expect("it opens one").operation;
        let answer = ClaimAnswer::Operation { operation, record: None };
        self.claims.push(ClaimRow { claim: claim.clone(), answer, at: log.at });
    }

    /// Claims that must be there still.
    pub(super) fn young_claims(&self, now: Timestamp) -> Vec<ClaimRow> {
        let since = now - TimeDelta::hours(CLAIMS_KEPT_HOURS);
        self.claims.iter().filter(|row| row.at >= since).cloned().collect()
    }

    /// Whether it is known what a change under this name and claim is answered: not where it hangs
    /// on a claim that is so old that it may be forgotten.
    pub(super) fn is_settled(&self, id: CommitId, claim: Option<&Claim>, now: Timestamp) -> bool {
        let young = self.young_claims(now);
        let is_young = |claim: &Claim| young.iter().any(|row| row.claim.key == claim.key);
        let is_old = claim.is_some_and(|c| self.is_claimed(Some(c)) && !is_young(c));
        self.commits.contains(&id) || !is_old
    }

    /// A claim that is old may be forgotten; any other is as it was made and answered.
    pub(super) fn compare_claims(
        &self,
        found: &[(ClaimKey, Option<ClaimRow>)],
        now: Timestamp,
        place: &str,
    ) {
        let young = self.young_claims(now);
        for (key, found) in found {
            let known = self.claims.iter().find(|row| row.claim.key == *key);
            let must = young.iter().any(|row| row.claim.key == *key);
            assert!(found.is_some() || !must, "{place}: {key:?} was forgotten");
            if found.is_some() {
                assert_eq!(found.as_ref(), known, "{place}");
            }
        }
    }

    pub(super) fn claim_keys(&self) -> Vec<ClaimKey> {
        self.claims.iter().map(|row| row.claim.key.clone()).collect()
    }

    /// Operations that are open, of a kind that no record remembers.
    pub(super) fn open_operations(&self, kind: OperationKind) -> Vec<OperationRow> {
        let open = self.operations.iter().filter(|row| row.state == OperationState::Open);
        open.filter(|row| row.kind == kind).cloned().collect()
    }

    /// The oldest first; those of one instant in any order.
    pub(super) fn compare_open(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
        found: &[OperationRow],
        place: &str,
    ) {
        let mut wanted = self.open_operations(kind);
        wanted.retain(|row| row.started_at < before);
        let mut instants: Vec<Timestamp> = wanted.iter().map(|row| row.started_at).collect();
        instants.sort();
        instants.truncate(limit);
        let told: Vec<Timestamp> = found.iter().map(|row| row.started_at).collect();
        assert_eq!(told, instants, "{place}: {kind:?} before {before}");
        for (n, row) in found.iter().enumerate() {
            let bare = OperationRow { seq: 0, ..row.clone() };
            assert!(wanted.contains(&bare), "{place}: {row:?}");
            let twice = found.iter().skip(n + 1).any(|other| other.operation == row.operation);
            assert!(!twice, "{place}: {row:?} comes twice");
        }
    }

    /// The operations after the marks, where all of them are in order, and so is the claim.
    fn audited(&self, log: &Log<'_>) -> Option<Vec<OperationRow>> {
        let mut rows = self.operations.clone();
        let opens = |entry: &AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
        if log.audit.is_empty() || log.claim.is_some() && !log.audit.iter().any(opens) {
            return None;
        }
        for entry in log.audit {
            let known = rows.iter().position(|row| row.operation == entry.operation);
            let (kind, (turn, tick), state, finished_at) = match (&entry.mark, known) {
                (AuditMark::Opened { kind, turn, tick }, None) => {
                    (*kind, (*turn, *tick), OperationState::Open, None)
                }
                (AuditMark::Instant { kind, outcome }, None) => {
                    (*kind, (None, None), OperationState::Closed(outcome.clone()), Some(log.at))
                }
                (AuditMark::Closed(outcome), Some(place)) => {
                    let row = rows.get_mut(place)?;
                    if row.state != OperationState::Open || row.game_id != *log.game {
                        return None;
                    }
                    row.state = OperationState::Closed(outcome.clone());
                    row.finished_at = Some(log.at);
                    row.status = log.status;
                    continue;
                }
                (AuditMark::Opened { .. } | AuditMark::Instant { .. }, Some(_))
                | (AuditMark::Closed(_), None) => return None,
            };
            rows.push(OperationRow {
                operation: entry.operation,
                game_id: log.game.clone(),
                seq: 0,
                kind,
                turn,
                tick,
                status: log.status,
                race: log.race.cloned(),
                origin: log.origin.clone(),
                state,
                started_at: log.at,
                finished_at,
            });
        }
        Some(rows)
    }

    pub(super) fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Vec<Arc<Runtime>> {
        let mut all = self.records.clone();
        all.sort_by(|a, b| a.game_id.as_str().as_bytes().cmp(b.game_id.as_str().as_bytes()));
        all.retain(|rt| status.is_none_or(|status| rt.status() == status));
        all.retain(|rt| after.is_none_or(|after| rt.game_id.as_str() > after.as_str()));
        all.truncate(limit);
        all
    }

    /// The earliest first; those of one instant in any order.
    pub(super) fn compare_due(&self, until: Timestamp, limit: usize, found: &[Due], place: &str) {
        let first_of = |rt: &Runtime| rt.timers().map(|(at, _)| at).min();
        let mut instants: Vec<Timestamp> =
            self.records.iter().filter_map(|rt| first_of(rt)).filter(|at| *at <= until).collect();
        instants.sort();
        instants.truncate(limit);
        assert_eq!(found.iter().map(|due| due.at).collect::<Vec<_>>(), instants, "{place}");
        for (n, due) in found.iter().enumerate() {
            let record = self.record(&due.game_id);
            let at = record.and_then(|rt| first_of(&rt));
            assert_eq!(at, Some(due.at), "{place}: {due:?}");
            let twice = found.iter().skip(n + 1).any(|other| other.game_id == due.game_id);
            assert!(!twice, "{place}: {due:?} comes twice");
        }
    }

    /// Any of them, each once.
    pub(super) fn compare_leases(
        &self,
        owner: &InstanceId,
        limit: usize,
        found: &[GameId],
        place: &str,
    ) {
        let holds = |rt: &Runtime| {
            let pending = rt.pending().is_some_and(|pending| match &pending.state {
                machine::record::PendingState::Asked { lease, .. } => lease.owner == *owner,
                machine::record::PendingState::Draining { .. } => false,
            });
            pending || rt.work().is_some_and(|work| work.lease.owner == *owner)
        };
        let held: Vec<&GameId> =
            self.records.iter().filter(|rt| holds(rt)).map(|rt| &rt.game_id).collect();
        assert_eq!(found.len(), held.len().min(limit), "{place}: {found:?} of {held:?}");
        for (n, game) in found.iter().enumerate() {
            assert!(held.contains(&game), "{place}: {game} is not leased to {owner}");
            assert!(!found.iter().skip(n + 1).any(|other| other == game), "{place}: {game} twice");
        }
    }

    /// All operations of a game, the newest first; places fall.
    pub(super) fn compare_operations(&self, game: &GameId, found: &[OperationRow], place: &str) {
        let of_game = self.operations.iter().rev().filter(|row| row.game_id == *game);
        let wanted: Vec<OperationRow> = of_game.cloned().collect();
        let bare = |row: &OperationRow| OperationRow { seq: 0, ..row.clone() };
        assert_eq!(found.iter().map(bare).collect::<Vec<_>>(), wanted, "{place}");
        let falls =
            found.iter().zip(found.iter().skip(1)).all(|(newer, older)| newer.seq > older.seq);
        assert!(falls, "{place}: the places do not fall");
        let unique =
            |id: &OperationId| found.iter().filter(|row| row.operation == *id).count() == 1;
        assert!(found.iter().all(|row| unique(&row.operation)), "{place}");
    }

    /// Checks what an assignment answered against everything the trait says of it, and learns it.
    pub(super) fn assigned(
        &mut self,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
        rows: &[OutboxRow],
        place: &str,
    ) {
        let waiting = self
            .outbox
            .iter_mut()
            .filter(|sent| sent.row.channel == channel && sent.row.published_at.is_none());
        let waiting: Vec<&mut Sent> = waiting.take(limit).collect();
        assert_eq!(rows.len(), waiting.len(), "{place}: the oldest unpublished ones");
        let highest = self.highest.get_mut(index(channel)).expect("two channels");
        let present = StreamId { ms: unix_ms(now), seq: 0 };
        let mut last = None;
        for (sent, row) in waiting.into_iter().zip(rows) {
            let id = row.stream_id.unwrap_or_else(|| panic!("{place}: {row:?} has no id"));
            if sent.row.stream_id.is_none() {
                let base = (*highest).max(floor);
                assert!(id > base, "{place}: {id} is not above {base}");
                if present > base {
                    assert_eq!(id, present, "{place}: the present is above all");
                }
                *highest = id;
            }
            if !sent.shown {
                sent.row.seq = row.seq;
                sent.shown = true;
            }
            sent.row.stream_id = sent.row.stream_id.or(row.stream_id);
            assert_eq!(&sent.row, row, "{place}");
            assert!(last < Some((row.seq, id)), "{place}: places grow");
            assert!(last.is_none_or(|(_, before)| before < id), "{place}: ids grow with them");
            last = Some((row.seq, id));
        }
    }

    pub(super) fn unassign(&mut self, channel: Channel) {
        for sent in &mut self.outbox {
            if sent.row.channel == channel && sent.row.published_at.is_none() {
                sent.row.stream_id = None;
            }
        }
    }

    /// The places of the messages that the store has shown.
    pub(super) fn known_seqs(&self) -> Vec<u64> {
        self.outbox.iter().filter(|sent| sent.shown).map(|sent| sent.row.seq).collect()
    }

    pub(super) fn publish(&mut self, seqs: &[u64], at: Timestamp) {
        for sent in &mut self.outbox {
            let waits = sent.row.published_at.is_none() && sent.row.stream_id.is_some();
            if sent.shown && seqs.contains(&sent.row.seq) && waits {
                sent.row.published_at = Some(at);
            }
        }
    }

    pub(super) fn published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Vec<OutboxRow> {
        let published = self.outbox.iter().map(|sent| &sent.row).filter(|row| {
            row.channel == channel && row.published_at.is_some() && row.stream_id > Some(after)
        });
        let mut rows: Vec<OutboxRow> = published.cloned().collect();
        rows.sort_by_key(|row| row.stream_id);
        rows.truncate(limit);
        rows
    }

    pub(super) fn newest(&self, channel: Channel) -> StreamId {
        let rows = self.published_after(channel, StreamId::ZERO, usize::MAX);
        rows.last().and_then(|row| row.stream_id).unwrap_or(StreamId::ZERO)
    }

    pub(super) fn backlog(&self) -> Backlog {
        let waiting = self.outbox.iter().filter(|sent| sent.row.published_at.is_none());
        let ats: Vec<Timestamp> = waiting.map(|sent| sent.row.at).collect();
        let oldest = ats.iter().min().copied();
        Backlog { waiting: u64::try_from(ats.len()).expect("few"), oldest }
    }

    pub(super) fn replay(&mut self, channel: Channel, after: StreamId) -> u64 {
        let mut count = 0;
        for sent in self.outbox.iter_mut().filter(|sent| sent.row.channel == channel) {
            if sent.row.published_at.is_some() && sent.row.stream_id > Some(after) {
                sent.row.published_at = None;
                count += 1;
            }
            if sent.row.published_at.is_none() {
                sent.row.stream_id = None;
            }
        }
        count
    }

    pub(super) fn prune(&mut self, before: Timestamp) -> u64 {
        let count = self.outbox.len();
        self.outbox.retain(|sent| sent.row.published_at.is_none_or(|at| at >= before));
        u64::try_from(count - self.outbox.len()).expect("few")
    }

    pub(super) fn create_version(&mut self, new: &NewVersion, at: Timestamp) {
        self.versions.push(EngineVersionRow {
            version: new.version.clone(),
            image_ref: new.image_ref.clone(),
            options: new.options,
            status: VersionStatus::Active,
            created_at: at,
            updated_at: at,
        });
    }

    pub(super) fn version(&self, version: &EngineVersion) -> Option<EngineVersionRow> {
        self.versions.iter().find(|row| row.version == *version).cloned()
    }

    pub(super) fn change_version(&mut self, commit: &VersionCommit) -> VersionCommitted {
        let it = commit.change.version().clone();
        let known = self.version(&it);
        if self.commits.contains(&commit.id) {
            return VersionCommitted::Applied(known.map(Box::new));
        }
        if self.is_claimed(commit.claim.as_ref()) {
            return VersionCommitted::Claimed;
        }
        match (&commit.change, known) {
            (VersionChange::Create(_), Some(_)) => return VersionCommitted::Exists,
            (VersionChange::Create(new), None) => self.create_version(new, commit.at),
            (
                VersionChange::Update { .. }
                | VersionChange::Deprecate(_)
                | VersionChange::Delete(_),
                None,
            ) => return VersionCommitted::NotFound,
            (VersionChange::Delete(_), Some(_)) => {
                if self.records.iter().any(|rt| named(rt).contains(&it)) {
                    return VersionCommitted::InUse;
                }
                self.versions.retain(|row| row.version != it);
            }
            (VersionChange::Update { version: _, image_ref, options }, Some(_)) => {
                for row in self.versions.iter_mut().filter(|row| row.version == it) {
                    row.image_ref = image_ref.clone().unwrap_or(row.image_ref.clone());
                    row.options = options.unwrap_or(row.options);
                    row.updated_at = commit.at;
                }
            }
            (VersionChange::Deprecate(_), Some(_)) => {
                let active = |row: &&mut EngineVersionRow| {
                    row.version == it && row.status == VersionStatus::Active
                };
                for row in self.versions.iter_mut().filter(active) {
                    row.status = VersionStatus::Deprecated;
                    row.updated_at = commit.at;
                }
            }
        }
        self.commits.push(commit.id);
        let row = self.version(&it).map(Box::new);
        if let Some(claim) = &commit.claim {
            let answer = ClaimAnswer::Version(row.clone());
            self.claims.push(ClaimRow { claim: claim.clone(), answer, at: commit.at });
        }
        VersionCommitted::Applied(row)
    }

    pub(super) fn versions(&self) -> Vec<EngineVersionRow> {
        let mut rows = self.versions.clone();
        rows.sort_by(|a, b| a.version.cmp(&b.version));
        rows
    }
}
