//! The plain model of a store: lists, searched from end to end.

use std::sync::Arc;

use machine::{
    AuditMark, Channel, GameId, InstanceId, OperationId, Runtime, Status, StreamId, Timestamp,
    check_commit,
};

use crate::ports::{
    Commit, CommitId, Committed, Due, EngineVersionRow, NewVersion, OperationRow, OperationState,
    OutboxRow, VersionStatus,
};

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
}

/// A message, and its place once the store has shown it.
struct Sent {
    row: OutboxRow,
    shown: bool,
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

    /// `None`: refused.
    pub(super) fn commit(&mut self, commit: &Commit) -> Option<Committed> {
        if self.commits.contains(&commit.id) {
            return Some(Committed::Applied);
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
            return Some(Committed::Conflict);
        }
        check_commit(current.as_deref(), commit.next.as_deref()).ok()?;
        let operations = self.audited(commit)?;
        self.operations = operations;
        self.commits.push(commit.id);
        self.records.retain(|rt| rt.game_id != commit.game_id);
        self.records.extend(commit.next.clone());
        self.outbox.extend(commit.messages.iter().map(|message| Sent {
            row: OutboxRow {
                seq: 0,
                channel: message.channel(),
                game_id: commit.game_id.clone(),
                payload: serde_json::to_string(message).expect("JSON"),
                stream_id: None,
                published_at: None,
            },
            shown: false,
        }));
        Some(Committed::Applied)
    }

    /// The operations after the commit's marks, where all of them are in order.
    fn audited(&self, commit: &Commit) -> Option<Vec<OperationRow>> {
        let mut rows = self.operations.clone();
        if commit.audit.is_empty() {
            return None;
        }
        for entry in &commit.audit {
            let known = rows.iter().position(|row| row.operation == entry.operation);
            let (kind, turn, state, finished_at) = match (&entry.mark, known) {
                (AuditMark::Opened { kind, turn }, None) => {
                    (*kind, *turn, OperationState::Open, None)
                }
                (AuditMark::Instant { kind, outcome }, None) => {
                    (*kind, None, OperationState::Closed(outcome.clone()), Some(commit.at))
                }
                (AuditMark::Closed(outcome), Some(place)) => {
                    let row = rows.get_mut(place)?;
                    if row.state != OperationState::Open {
                        return None;
                    }
                    row.state = OperationState::Closed(outcome.clone());
                    row.finished_at = Some(commit.at);
                    continue;
                }
                (AuditMark::Opened { .. } | AuditMark::Instant { .. }, Some(_))
                | (AuditMark::Closed(_), None) => return None,
            };
            rows.push(OperationRow {
                operation: entry.operation,
                game_id: commit.game_id.clone(),
                seq: 0,
                kind,
                turn,
                origin: commit.origin.clone(),
                state,
                started_at: commit.at,
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
            if sent.shown && seqs.contains(&sent.row.seq) && sent.row.published_at.is_none() {
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

    pub(super) fn backlog(&self) -> u64 {
        let waiting = self.outbox.iter().filter(|sent| sent.row.published_at.is_none());
        u64::try_from(waiting.count()).expect("few")
    }

    pub(super) fn prune(&mut self, before: Timestamp) -> u64 {
        let count = self.outbox.len();
        self.outbox.retain(|sent| sent.row.published_at.is_none_or(|at| at >= before));
        u64::try_from(count - self.outbox.len()).expect("few")
    }

    pub(super) fn create_version(&mut self, new: &NewVersion, at: Timestamp) -> bool {
        if self.versions.iter().any(|row| row.version == new.version) {
            return false;
        }
        self.versions.push(EngineVersionRow {
            version: new.version.clone(),
            image_ref: new.image_ref.clone(),
            options: new.options,
            status: VersionStatus::Active,
            created_at: at,
            updated_at: at,
        });
        true
    }

    pub(super) fn versions(&self) -> Vec<EngineVersionRow> {
        let mut rows = self.versions.clone();
        rows.sort_by(|a, b| a.version.cmp(&b.version));
        rows
    }
}
