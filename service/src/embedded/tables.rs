//! What is kept, and the indexes over it. The only way to change any of it is `apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::record::PendingState;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, Runtime, StreamId, Timestamp,
};

use super::change::{Change, Counter};
use crate::ports::{CommitId, EngineVersionRow, OperationRow, OperationState, OutboxRow};

#[derive(Default)]
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
    pub(super) outbox: BTreeMap<u64, OutboxRow>,
    pub(super) unpublished: BTreeSet<(Channel, u64)>,
    pub(super) published: BTreeMap<(Channel, StreamId), u64>,
    pub(super) published_by_age: BTreeSet<(Timestamp, u64)>,
    pub(super) assigned: BTreeMap<Channel, StreamId>,
    pub(super) versions: BTreeMap<EngineVersion, EngineVersionRow>,
    pub(super) counters: BTreeMap<Counter, u64>,
    pub(super) streams: BTreeMap<Arc<str>, Stream>,
    pub(super) offsets: BTreeMap<String, String>,
}

#[derive(Default)]
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
            Change::Version(row) => {
                self.versions.insert(row.version.clone(), *row);
            }
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
            if let Some((at, _)) = before.next_timer() {
                self.timers.remove(&(at, game.clone()));
            }
            for owner in lease_owners(&before) {
                self.leases.remove(&(owner.clone(), game.clone()));
            }
        }
        if let Some(next) = next {
            for owner in lease_owners(&next) {
                self.leases.insert((owner.clone(), game.clone()));
            }
            if let Some((at, _)) = next.next_timer() {
                self.timers.insert((at, game));
            }
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
            if let Some(places) = self.operations_by_game.get_mut(&before.game_id) {
                places.remove(&before.seq);
                if places.is_empty() {
                    self.operations_by_game.remove(&before.game_id);
                }
            }
        }
        if let Some(row) = row {
            if let Some(at) = closed_at(&row) {
                self.closed_by_age.insert((at, row.seq, id));
            }
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

fn lease_owners(rt: &Runtime) -> impl Iterator<Item = &InstanceId> {
    let work = rt.work().map(|work| &work.lease.owner);
    let pending = rt.pending().and_then(|pending| match &pending.state {
        PendingState::Asked { lease, .. } => Some(&lease.owner),
        PendingState::Draining { .. } => None,
    });
    work.into_iter().chain(pending)
}
