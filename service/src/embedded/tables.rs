//! What is kept, and the indexes over it. The only way to change any of it is `apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::record::{PendingKind, PendingState};
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, Runtime, StreamId, Timestamp,
};

use super::change::{Change, Counter};
use crate::ports::{
    ClaimAnswer, ClaimKey, ClaimRow, CommitId, EngineVersionRow, OperationRow, OperationState,
    OutboxRow,
};

#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) records: BTreeMap<GameId, Arc<Runtime>>,
    /// The first timer of every record that has one.
    pub(super) timers: BTreeSet<(Timestamp, GameId)>,
    /// Who holds a lease on which record.
    pub(super) leases: BTreeSet<(InstanceId, GameId)>,
    pub(super) commit_ids: BTreeMap<CommitId, Timestamp>,
    pub(super) commit_ids_by_age: BTreeSet<(Timestamp, CommitId)>,
    pub(super) operations: BTreeMap<OperationId, OperationRow>,
    pub(super) operations_by_game: BTreeMap<GameId, BTreeMap<u64, OperationId>>,
    pub(super) closed_by_age: BTreeSet<(Timestamp, u64, OperationId)>,
    pub(super) open_by_age: BTreeSet<(Timestamp, u64, OperationId)>,
    pub(super) claims: BTreeMap<ClaimKey, ClaimRow>,
    pub(super) claims_by_age: BTreeSet<(Timestamp, ClaimKey)>,
    pub(super) claims_by_operation: BTreeMap<OperationId, ClaimKey>,
    pub(super) outbox: BTreeMap<u64, OutboxRow>,
    pub(super) unpublished: BTreeSet<(Channel, u64)>,
    pub(super) published: BTreeMap<(Channel, StreamId), u64>,
    pub(super) published_by_age: BTreeSet<(Timestamp, u64)>,
    pub(super) assigned: BTreeMap<Channel, StreamId>,
    pub(super) versions: BTreeMap<EngineVersion, EngineVersionRow>,
    /// How many records name a version.
    pub(super) references: BTreeMap<EngineVersion, usize>,
    pub(super) counters: BTreeMap<Counter, u64>,
    pub(super) streams: BTreeMap<Arc<str>, Stream>,
    pub(super) offsets: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
pub(super) struct Stream {
    /// Stays when the entries go.
    pub(super) newest: StreamId,
    pub(super) entries: BTreeMap<StreamId, Arc<[u8]>>,
}

impl Tables {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Record(game, next) => self.set_record(game, next),
            Change::CommitId(id, at) => self.set_commit_id(id, at),
            Change::Operation(id, row) => self.set_operation(id, row.map(|row| *row)),
            Change::Outbox(seq, row) => self.set_outbox(seq, row.map(|row| *row)),
            Change::Assigned(channel, id) => {
                self.assigned.insert(channel, id);
            }
            Change::Version(version, Some(row)) => {
                self.versions.insert(version, *row);
            }
            Change::Version(version, None) => {
                self.versions.remove(&version);
            }
            Change::Claim(key, row) => self.set_claim(key, row.map(|row| *row)),
            Change::Counter(counter, n) => {
                self.counters.insert(counter, n);
            }
            Change::Entry(stream, id, Some(payload)) => {
                self.streams.entry(stream).or_default().entries.insert(id, payload);
            }
            Change::Entry(stream, id, None) => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.entries.remove(&id);
                }
            }
            Change::Newest(stream, id) => {
                self.streams.entry(stream).or_default().newest = id;
            }
            Change::Offset(consumer, text) => {
                self.offsets.insert(consumer, text);
            }
        }
    }

    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    fn set_record(&mut self, game: GameId, next: Option<Arc<Runtime>>) {
        let before = match &next {
            Some(rt) => self.records.insert(game.clone(), Arc::clone(rt)),
            None => self.records.remove(&game),
        };
        if let Some(before) = before {
            for version in versions_named(&before) {
                self.dereference(version);
            }
            if let Some((at, _)) = before.next_timer() {
                self.timers.remove(&(at, game.clone()));
            }
            for owner in lease_owners(&before) {
                self.leases.remove(&(owner.clone(), game.clone()));
            }
        }
        if let Some(next) = next {
            for version in versions_named(&next) {
                *self.references.entry(version.clone()).or_default() += 1;
            }
            for owner in lease_owners(&next) {
                self.leases.insert((owner.clone(), game.clone()));
            }
            if let Some((at, _)) = next.next_timer() {
                self.timers.insert((at, game));
            }
        }
    }

    fn dereference(&mut self, version: &EngineVersion) {
        if let Some(count) = self.references.get_mut(version) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.references.remove(version);
            }
        }
    }

    fn set_claim(&mut self, key: ClaimKey, row: Option<ClaimRow>) {
        if let Some(before) = self.claims.remove(&key) {
            self.claims_by_age.remove(&(before.at, key.clone()));
            if let ClaimAnswer::Operation { operation, record: _ } = before.answer {
                self.claims_by_operation.remove(&operation);
            }
        }
        if let Some(row) = row {
            self.claims_by_age.insert((row.at, key.clone()));
            if let ClaimAnswer::Operation { operation, record: _ } = &row.answer {
                self.claims_by_operation.insert(*operation, key.clone());
            }
            self.claims.insert(key, row);
        }
    }

    fn set_commit_id(&mut self, id: CommitId, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.commit_ids.insert(id, at),
            None => self.commit_ids.remove(&id),
        };
        if let Some(before) = before {
            self.commit_ids_by_age.remove(&(before, id));
        }
        if let Some(at) = at {
            self.commit_ids_by_age.insert((at, id));
        }
    }

    fn set_operation(&mut self, id: OperationId, row: Option<OperationRow>) {
        if let Some(before) = self.operations.remove(&id) {
            if let Some(at) = closed_at(&before) {
                self.closed_by_age.remove(&(at, before.seq, id));
            }
            self.open_by_age.remove(&(before.started_at, before.seq, id));
            if let Some(places) = self.operations_by_game.get_mut(&before.game_id) {
                places.remove(&before.seq);
                if places.is_empty() {
                    self.operations_by_game.remove(&before.game_id);
                }
            }
        }
        if let Some(row) = row {
            match closed_at(&row) {
                Some(at) => self.closed_by_age.insert((at, row.seq, id)),
                None => self.open_by_age.insert((row.started_at, row.seq, id)),
            };
            self.operations_by_game.entry(row.game_id.clone()).or_default().insert(row.seq, id);
            self.operations.insert(id, row);
        }
    }

    fn set_outbox(&mut self, seq: u64, row: Option<OutboxRow>) {
        if let Some(before) = self.outbox.remove(&seq) {
            self.unpublished.remove(&(before.channel, seq));
            if let Some(at) = before.published_at {
                self.published_by_age.remove(&(at, seq));
                if let Some(id) = before.stream_id {
                    self.published.remove(&(before.channel, id));
                }
            }
        }
        if let Some(row) = row {
            match row.published_at {
                None => {
                    self.unpublished.insert((row.channel, seq));
                }
                Some(at) => {
                    self.published_by_age.insert((at, seq));
                    if let Some(id) = row.stream_id {
                        self.published.insert((row.channel, id), seq);
                    }
                }
            }
            self.outbox.insert(seq, row);
        }
    }
}

fn closed_at(row: &OperationRow) -> Option<Timestamp> {
    match row.state {
        OperationState::Open => None,
        // A closed one that does not say when is as old as it can be.
        OperationState::Closed(_) => Some(row.finished_at.unwrap_or(row.started_at)),
    }
}

/// The version an engine runs, and the one it is being patched to.
pub(super) fn versions_named(rt: &Runtime) -> impl Iterator<Item = &EngineVersion> {
    let patched_to = rt.pending().and_then(|pending| match &pending.what {
        PendingKind::Patch { version, image_ref: _, turn_guard: _ } => Some(version),
        PendingKind::Stop { reason: _ } => None,
    });
    std::iter::once(&rt.engine.version).chain(patched_to)
}

fn lease_owners(rt: &Runtime) -> impl Iterator<Item = &InstanceId> {
    let work = rt.work().map(|work| &work.lease.owner);
    let pending = rt.pending().and_then(|pending| match &pending.state {
        PendingState::Asked { lease, .. } => Some(&lease.owner),
        PendingState::Draining { .. } => None,
    });
    work.into_iter().chain(pending)
}
