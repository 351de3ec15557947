//! What a write changes: the rows of the tables, and how each is written to the file.
//!
//! Keys are texts and values JSON, so that a file can be read by eye; the payload of a stream entry
//! is whatever bytes it is. The order of the keys in the file means nothing: all rows are read into
//! ordered tables.

use std::sync::Arc;

use machine::{Channel, EngineVersion, GameId, OperationId, Runtime, StreamId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::{
    ClaimAnswer, ClaimKey, ClaimRow, CommitId, EngineVersionRow, OperationRow, OutboxRow,
};

/// One row set, or dropped (`None`).
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A record.
    Record(GameId, Option<Arc<Runtime>>),
    /// The name of a commit and when it was decided.
    CommitId(CommitId, Option<Timestamp>),
    /// An operation.
    Operation(OperationId, Option<Box<OperationRow>>),
    /// A message on its way.
    Outbox(u64, Option<Box<OutboxRow>>),
    /// The highest stream id ever assigned on a channel.
    Assigned(Channel, StreamId),
    /// A version.
    Version(EngineVersion, Option<Box<EngineVersionRow>>),
    /// A caller's name for a request.
    Claim(ClaimKey, Option<Box<ClaimRow>>),
    /// The last number drawn.
    Counter(Counter, u64),
    /// An entry of a stream.
    Entry(Arc<str>, StreamId, Option<Arc<[u8]>>),
    /// The newest id of a stream.
    Newest(Arc<str>, StreamId),
    /// The offset of a consumer.
    Offset(String, String),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counter {
    /// Places in the operation log.
    Operations,
    /// Places in the outbox.
    Outbox,
}

impl Counter {
    const ALL: [Self; 2] = [Self::Operations, Self::Outbox];

    fn as_str(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Outbox => "outbox",
        }
    }
}

/// The tables of the file, one for each kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Records,
    CommitIds,
    Operations,
    Outbox,
    Assigned,
    Versions,
    Claims,
    Counters,
    Entries,
    Newest,
    Offsets,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Records,
        Self::CommitIds,
        Self::Operations,
        Self::Outbox,
        Self::Assigned,
        Self::Versions,
        Self::Claims,
        Self::Counters,
        Self::Entries,
        Self::Newest,
        Self::Offsets,
    ];

    /// The table's name in the file.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Records => "runtime_records",
            Self::CommitIds => "commit_ids",
            Self::Operations => "operation_log",
            Self::Outbox => "outbox",
            Self::Assigned => "outbox_assigned",
            Self::Versions => "engine_versions",
            Self::Claims => "claims",
            Self::Counters => "counters",
            Self::Entries => "stream_entries",
            Self::Newest => "stream_newest",
            Self::Offsets => "consumer_offsets",
        }
    }
}

/// A change as the file takes it.
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// `None`: the row goes.
    pub(super) value: Option<Vec<u8>>,
}

impl Change {
    /// Whether readers of streams may be waiting for it.
    pub(super) fn appends(&self) -> bool {
        matches!(self, Self::Entry(_, _, Some(_)))
    }

    /// The row it writes.
    pub(super) fn encode(&self) -> Result<Row, serde_json::Error> {
        let (kind, key, value) = match self {
            Self::Record(game, rt) => (Kind::Records, game.to_string(), optional(rt.as_deref())?),
            Self::CommitId(id, at) => (Kind::CommitIds, id.0.to_string(), optional(at.as_ref())?),
            Self::Operation(id, row) => {
                (Kind::Operations, id.to_string(), optional(row.as_deref())?)
            }
            Self::Outbox(seq, row) => {
                (Kind::Outbox, format!("{seq:020}"), optional(row.as_deref())?)
            }
            Self::Assigned(channel, id) => (Kind::Assigned, channel.as_str().into(), some(id)?),
            Self::Version(version, row) => {
                (Kind::Versions, version.to_string(), optional(row.as_deref())?)
            }
            Self::Claim(key, row) => (Kind::Claims, claim_key(key), optional(row.as_deref())?),
            Self::Counter(counter, n) => (Kind::Counters, counter.as_str().into(), some(n)?),
            Self::Entry(stream, id, payload) => {
                let value = payload.as_deref().map(<[u8]>::to_vec);
                (Kind::Entries, entry_key(*id, stream), value)
            }
            Self::Newest(stream, id) => (Kind::Newest, stream.to_string(), some(id)?),
            Self::Offset(consumer, text) => (Kind::Offsets, consumer.clone(), some(text)?),
        };
        Ok(Row { kind, key, value })
    }

    /// The change that wrote a row of the file, or why nothing can have written it.
    pub(super) fn decode(kind: Kind, key: &str, value: &[u8]) -> Result<Self, String> {
        let change = match kind {
            Kind::Records => {
                let rt: Runtime = read(value)?;
                rt.check().map_err(|violation| violation.to_string())?;
                same(key, rt.game_id.as_str())?;
                Self::Record(rt.game_id.clone(), Some(Arc::new(rt)))
            }
            Kind::CommitIds => Self::CommitId(CommitId(name(key)?), Some(read(value)?)),
            Kind::Operations => {
                let row: OperationRow = read(value)?;
                same(key, &row.operation.to_string())?;
                Self::Operation(row.operation, Some(Box::new(row)))
            }
            Kind::Outbox => {
                let row: OutboxRow = read(value)?;
                same(key, &format!("{:020}", row.seq))?;
                Self::Outbox(row.seq, Some(Box::new(row)))
            }
            Kind::Assigned => {
                let channel = Channel::ALL.into_iter().find(|c| c.as_str() == key);
                Self::Assigned(channel.ok_or("an unknown channel")?, read(value)?)
            }
            Kind::Versions => {
                let row: EngineVersionRow = read(value)?;
                same(key, &row.version.to_string())?;
                Self::Version(row.version.clone(), Some(Box::new(row)))
            }
            Kind::Claims => {
                let row: ClaimRow = read(value)?;
                same(key, &claim_key(&row.claim.key))?;
                if let ClaimAnswer::Operation { operation: _, record: Some(rt) } = &row.answer {
                    rt.check().map_err(|violation| violation.to_string())?;
                }
                Self::Claim(row.claim.key.clone(), Some(Box::new(row)))
            }
            Kind::Counters => {
                let counter = Counter::ALL.into_iter().find(|c| c.as_str() == key);
                Self::Counter(counter.ok_or("an unknown counter")?, read(value)?)
            }
            Kind::Entries => {
                let (id, stream) = key.split_once(' ').ok_or("a key that is none")?;
                let id: StreamId = id.parse().map_err(|e| format!("{e}"))?;
                Self::Entry(stream.into(), id, Some(value.into()))
            }
            Kind::Newest => Self::Newest(key.into(), read(value)?),
            Kind::Offsets => Self::Offset(key.into(), read(value)?),
        };
        Ok(change)
    }
}

/// A caller's name holds no blank.
fn claim_key(key: &ClaimKey) -> String {
    format!("{} {}", key.caller.as_str(), key.key.as_str())
}

/// The id comes first, so that the entries of a time lie side by side in the file; padded, so that
/// they lie in order.
fn entry_key(id: StreamId, stream: &str) -> String {
    format!("{:020}-{:020} {stream}", id.ms, id.seq)
}

fn some<T: Serialize>(value: &T) -> Result<Option<Vec<u8>>, serde_json::Error> {
    serde_json::to_vec(value).map(Some)
}

fn optional<T: Serialize>(value: Option<&T>) -> Result<Option<Vec<u8>>, serde_json::Error> {
    value.map(serde_json::to_vec).transpose()
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|e| e.to_string())
}

fn name(key: &str) -> Result<uuid::Uuid, String> {
    key.parse().map_err(|e| format!("a key that is no identifier: {e}"))
}

fn same(key: &str, told: &str) -> Result<(), String> {
    if key == told { Ok(()) } else { Err(format!("the row is of {told}")) }
}
