//! The tables, row by row, and how a transaction that fails leaves none of them changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::{Channel, GameId, OperationId, Runtime, StreamId, Timestamp};
use serde_json::Value;
use service::ports::{CommitId, OperationRow, Role, VersionStatus};
use uuid::Uuid;

/// `runtime_records` and `player_mappings`: the record as the rules know it, and the columns as
/// they were sent.
#[derive(Clone, Debug)]
pub(super) struct RecordRow {
    pub(super) runtime: Arc<Runtime>,
    /// With the roster among them.
    pub(super) columns: Value,
}

/// A row of `outbox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The order of publication; drawn before a stream id is first assigned.
    pub place: Option<u64>,
    /// Where it goes.
    pub channel: Channel,
    /// The game it tells of.
    pub game_id: GameId,
    /// The message, as it goes out.
    pub payload: String,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// The id it is, or will be, published under.
    pub stream_id: Option<StreamId>,
    /// When it was found published.
    pub published_at: Option<Timestamp>,
}

/// `engine_versions`; the key is the text.
#[derive(Clone, Debug)]
pub(super) struct VersionRow {
    pub(super) sort_key: String,
    pub(super) image_ref: String,
    pub(super) options: Value,
    pub(super) status: VersionStatus,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

/// `claims`: caller and key.
pub(super) type ClaimName = (&'static str, String);

/// `claims`.
#[derive(Clone, Debug)]
pub(super) struct ClaimRow {
    pub(super) fingerprint: [u8; 32],
    pub(super) operation: Option<Uuid>,
    pub(super) record: Option<Value>,
    pub(super) version: Option<Value>,
    pub(super) at: Timestamp,
}

/// `attendance`.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) boot: Uuid,
    pub(super) former: Vec<Uuid>,
    pub(super) is_draining: bool,
    pub(super) expires_at: Timestamp,
}

/// `roles`.
#[derive(Clone, Debug, Default)]
pub(super) struct Lead {
    pub(super) term: i64,
    /// The name, the life, and until when.
    pub(super) holder: Option<(String, Uuid, Timestamp)>,
}

impl Lead {
    pub(super) fn is_held_by(&self, life: Uuid) -> bool {
        self.holder.as_ref().is_some_and(|(_, boot, _)| *boot == life)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    records: BTreeMap<GameId, RecordRow>,
    operations: BTreeMap<OperationId, OperationRow>,
    outbox: BTreeMap<u64, Message>,
    /// The index of what waits, which is asked for all the time.
    unpublished: BTreeSet<u64>,
    places: BTreeMap<u64, u64>,
    highest: BTreeMap<Channel, StreamId>,
    versions: BTreeMap<String, VersionRow>,
    commit_ids: BTreeMap<CommitId, Timestamp>,
    claims: BTreeMap<ClaimName, ClaimRow>,
    attendance: BTreeMap<String, Seat>,
    roles: BTreeMap<&'static str, Lead>,
    /// What the sequences gave last: never taken back.
    last_operation: u64,
    last_message: u64,
    last_place: u64,
}

impl Tables {
    /// With the rows that the migration leaves.
    pub(super) fn migrated() -> Self {
        let roles = Role::ALL.into_iter().map(|role| (role.as_str(), Lead::default()));
        Self { roles: roles.collect(), ..Self::default() }
    }

    pub(super) fn attendance(&self) -> &BTreeMap<String, Seat> {
        &self.attendance
    }

    pub(super) fn roles(&self) -> &BTreeMap<&'static str, Lead> {
        &self.roles
    }

    pub(super) fn records(&self) -> &BTreeMap<GameId, RecordRow> {
        &self.records
    }

    pub(super) fn operations(&self) -> &BTreeMap<OperationId, OperationRow> {
        &self.operations
    }

    pub(super) fn outbox(&self) -> &BTreeMap<u64, Message> {
        &self.outbox
    }

    /// What waits to be published, by its `id`.
    pub(super) fn unpublished(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.unpublished.iter().filter_map(|id| Some((*id, self.outbox.get(id)?)))
    }

    pub(super) fn at_place(&self, place: u64) -> Option<(u64, &Message)> {
        let id = self.places.get(&place)?;
        Some((*id, self.outbox.get(id)?))
    }

    pub(super) fn highest(&self, channel: Channel) -> StreamId {
        self.highest.get(&channel).copied().unwrap_or(StreamId::ZERO)
    }

    pub(super) fn versions(&self) -> &BTreeMap<String, VersionRow> {
        &self.versions
    }

    pub(super) fn commit_ids(&self) -> &BTreeMap<CommitId, Timestamp> {
        &self.commit_ids
    }

    pub(super) fn claims(&self) -> &BTreeMap<ClaimName, ClaimRow> {
        &self.claims
    }

    fn set_message(&mut self, id: u64, row: Option<Message>) -> Option<Message> {
        let before = match row {
            Some(row) => {
                if row.published_at.is_none() {
                    self.unpublished.insert(id);
                } else {
                    self.unpublished.remove(&id);
                }
                if let Some(place) = row.place {
                    self.places.insert(place, id);
                }
                self.outbox.insert(id, row)
            }
            None => {
                self.unpublished.remove(&id);
                self.outbox.remove(&id)
            }
        };
        if let Some(place) = before.as_ref().and_then(|row| row.place)
            && self.outbox.get(&id).and_then(|row| row.place) != Some(place)
        {
            self.places.remove(&place);
        }
        before
    }
}

/// A row as it was.
enum Before {
    Record(GameId, Option<RecordRow>),
    Operation(OperationId, Option<OperationRow>),
    Message(u64, Option<Message>),
    Highest(Channel, StreamId),
    Version(String, Option<VersionRow>),
    CommitId(CommitId, Option<Timestamp>),
    Claim(ClaimName, Option<ClaimRow>),
    Seat(String, Option<Seat>),
    Role(&'static str, Option<Lead>),
}

/// Changes that are kept together or not at all.
pub(super) struct Transaction<'a> {
    tables: &'a mut Tables,
    before: Vec<Before>,
}

impl std::ops::Deref for Transaction<'_> {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        self.tables
    }
}

fn set<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, row: Option<V>) -> Option<V> {
    match row {
        Some(row) => table.insert(key, row),
        None => table.remove(&key),
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(tables: &'a mut Tables) -> Self {
        Self { tables, before: vec![] }
    }

    /// Takes everything back; but for the sequences, as in PostgreSQL.
    pub(super) fn roll_back(self) {
        let Self { tables, before } = self;
        for row in before.into_iter().rev() {
            match row {
                Before::Record(key, row) => drop(set(&mut tables.records, key, row)),
                Before::Operation(key, row) => drop(set(&mut tables.operations, key, row)),
                Before::Message(key, row) => drop(tables.set_message(key, row)),
                Before::Highest(channel, id) => drop(tables.highest.insert(channel, id)),
                Before::Version(key, row) => drop(set(&mut tables.versions, key, row)),
                Before::CommitId(key, row) => drop(set(&mut tables.commit_ids, key, row)),
                Before::Claim(key, row) => drop(set(&mut tables.claims, key, row)),
                Before::Seat(key, row) => drop(set(&mut tables.attendance, key, row)),
                Before::Role(key, row) => drop(set(&mut tables.roles, key, row)),
            }
        }
    }

    pub(super) fn set_record(&mut self, key: &GameId, row: Option<RecordRow>) {
        let before = set(&mut self.tables.records, key.clone(), row);
        self.before.push(Before::Record(key.clone(), before));
    }

    pub(super) fn set_operation(&mut self, key: OperationId, row: Option<OperationRow>) {
        let before = set(&mut self.tables.operations, key, row);
        self.before.push(Before::Operation(key, before));
    }

    pub(super) fn set_message(&mut self, id: u64, row: Option<Message>) {
        let before = self.tables.set_message(id, row);
        self.before.push(Before::Message(id, before));
    }

    pub(super) fn set_highest(&mut self, channel: Channel, id: StreamId) {
        let before = self.tables.highest(channel);
        self.tables.highest.insert(channel, id);
        self.before.push(Before::Highest(channel, before));
    }

    pub(super) fn set_version(&mut self, key: &str, row: Option<VersionRow>) {
        let before = set(&mut self.tables.versions, key.to_owned(), row);
        self.before.push(Before::Version(key.to_owned(), before));
    }

    pub(super) fn set_commit_id(&mut self, key: CommitId, at: Option<Timestamp>) {
        let before = set(&mut self.tables.commit_ids, key, at);
        self.before.push(Before::CommitId(key, before));
    }

    pub(super) fn set_claim(&mut self, key: &ClaimName, row: Option<ClaimRow>) {
        let before = set(&mut self.tables.claims, key.clone(), row);
        self.before.push(Before::Claim(key.clone(), before));
    }

    pub(super) fn set_seat(&mut self, name: &str, row: Option<Seat>) {
        let before = set(&mut self.tables.attendance, name.to_owned(), row);
        self.before.push(Before::Seat(name.to_owned(), before));
    }

    pub(super) fn set_role(&mut self, role: &'static str, row: Lead) {
        let before = self.tables.roles.insert(role, row);
        self.before.push(Before::Role(role, before));
    }

    pub(super) fn next_operation(&mut self) -> u64 {
        next(&mut self.tables.last_operation)
    }

    pub(super) fn next_message(&mut self) -> u64 {
        next(&mut self.tables.last_message)
    }

    pub(super) fn next_place(&mut self) -> u64 {
        next(&mut self.tables.last_place)
    }
}

fn next(last: &mut u64) -> u64 {
    *last += 1;
    *last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(place: Option<u64>, published_at: Option<Timestamp>) -> Message {
        Message {
            place,
            channel: Channel::LobbyEvents,
            game_id: "game-1".parse().expect("a game"),
            payload: "{}".into(),
            committed_at: Timestamp::UNIX_EPOCH,
            stream_id: None,
            published_at,
        }
    }

    #[test]
    fn what_is_rolled_back_was_never_there_and_numbers_are_used_up() {
        let mut tables = Tables::default();
        let mut tx = Transaction::begin(&mut tables);
        let id = tx.next_message();
        tx.set_message(id, Some(message(None, None)));
        drop(tx);
        let mut tx = Transaction::begin(&mut tables);
        let place = tx.next_place();
        tx.set_message(id, Some(message(Some(place), None)));
        tx.set_message(id, Some(message(Some(place), Some(Timestamp::UNIX_EPOCH))));
        let other = tx.next_message();
        tx.set_message(other, Some(message(None, None)));
        tx.set_message(id, None);
        tx.set_highest(Channel::LobbyEvents, StreamId { ms: 1, seq: 1 });
        tx.set_commit_id(CommitId(Uuid::from_u128(1)), Some(Timestamp::UNIX_EPOCH));
        tx.roll_back();
        assert_eq!(tables.outbox().len(), 1);
        let waiting: Vec<u64> = tables.unpublished().map(|(id, _)| id).collect();
        assert_eq!(waiting, [id]);
        assert!(tables.at_place(place).is_none(), "its place went with it");
        assert_eq!(tables.highest(Channel::LobbyEvents), StreamId::ZERO);
        assert!(tables.commit_ids().is_empty());
        assert!(Transaction::begin(&mut tables).next_message() > other);
    }
}
