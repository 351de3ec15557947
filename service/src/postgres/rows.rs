//! Rows as the ports know them.

use machine::{Channel, Failure, GameId, OperationId, Outcome, RaceName, StreamId};
use serde::de::value::{Error as Unreadable, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;

use super::record;
use crate::ports::{
    Claim, ClaimAnswer, ClaimKey, ClaimRow, Due, EngineVersionRow, Fingerprint, OperationRow,
    OperationState, Origin, OutboxRow, Role, Roll, StoreError, Term,
};

type Read<T> = Result<T, StoreError>;

/// The columns of an operation, in the order in which [`operation`] reads them.
pub(super) const OPERATION: &str = "operation, game_id, seq, kind, turn, tick, status, race, \
     source, request_id, outcome, error_code, error_message, started_at, finished_at";

/// The columns of a message, in the order in which [`outbox`] reads them.
pub(super) const OUTBOX: &str = "place, channel, game_id, payload, committed_at, \
     stream_ms::text, stream_seq::text, published_at";

/// The columns of a claim, in the order in which [`claim`] reads them.
pub(super) const CLAIM: &str = "fingerprint, operation, record::text, version::text, at";

fn wrong(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError(format!("a row cannot be read: {what}: {why}"))
}

pub(super) fn column<T: FromSqlOwned>(row: &Row, n: usize) -> Read<T> {
    row.try_get(n).map_err(|e| wrong("a column", e))
}

/// A word of one of our enumerations.
fn word<T: DeserializeOwned>(text: &str) -> Read<T> {
    let text: StrDeserializer<'_, Unreadable> = text.into_deserializer();
    T::deserialize(text).map_err(|e| wrong("a word", e))
}

fn words<T: DeserializeOwned>(text: Option<String>) -> Read<Option<T>> {
    text.map(|text| word(&text)).transpose()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Read<T> {
    text.parse().map_err(|e| wrong("a text", e))
}

fn whole<T: TryFrom<i64>>(n: i64) -> Read<T> {
    T::try_from(n).map_err(|_| wrong("a number", "out of range"))
}

pub(super) fn game_id(row: &Row, n: usize) -> Read<GameId> {
    parsed(&column::<String>(row, n)?)
}

pub(super) fn record(row: &Row, n: usize) -> Read<std::sync::Arc<machine::Runtime>> {
    record::decode(&column::<String>(row, n)?).map_err(|e| StoreError(e.to_string()))
}

pub(super) fn due(row: &Row) -> Read<Due> {
    Ok(Due { at: column(row, 0)?, game_id: game_id(row, 1)? })
}

pub(super) fn operation(row: &Row) -> Read<OperationRow> {
    let state = match column::<Option<String>>(row, 10)?.as_deref() {
        None => OperationState::Open,
        Some("succeeded") => OperationState::Closed(Outcome::Succeeded),
        Some("superseded") => OperationState::Closed(Outcome::Superseded),
        Some("failed") => OperationState::Closed(Outcome::Failed(Failure {
            code: word(&column::<String>(row, 11)?)?,
            message: column(row, 12)?,
        })),
        Some(other) => return Err(wrong("an outcome", other.escape_debug())),
    };
    let race = column::<Option<String>>(row, 7)?;
    Ok(OperationRow {
        operation: OperationId(column(row, 0)?),
        game_id: game_id(row, 1)?,
        seq: whole(column(row, 2)?)?,
        kind: word(&column::<String>(row, 3)?)?,
        turn: column::<Option<i64>>(row, 4)?.map(whole).transpose()?,
        tick: column(row, 5)?,
        status: words(column(row, 6)?)?,
        race: race.map(|text| parsed::<RaceName>(&text)).transpose()?,
        origin: Origin { source: word(&column::<String>(row, 8)?)?, request_id: column(row, 9)? },
        state,
        started_at: column(row, 13)?,
        finished_at: column(row, 14)?,
    })
}

pub(super) fn stream_id(row: &Row, ms: usize, seq: usize) -> Read<Option<StreamId>> {
    let part = |n| column::<Option<String>>(row, n)?.map(|text| parsed(&text)).transpose();
    Ok(part(ms)?.zip(part(seq)?).map(|(ms, seq)| StreamId { ms, seq }))
}

pub(super) fn outbox(row: &Row) -> Read<OutboxRow> {
    let name = column::<String>(row, 1)?;
    let channel = Channel::ALL.into_iter().find(|channel| channel.as_str() == name);
    Ok(OutboxRow {
        seq: whole(column(row, 0)?)?,
        channel: channel.ok_or_else(|| wrong("a channel", name.escape_debug()))?,
        game_id: game_id(row, 2)?,
        payload: column(row, 3)?,
        at: column(row, 4)?,
        stream_id: stream_id(row, 5, 6)?,
        published_at: column(row, 7)?,
    })
}

pub(super) fn roll(row: &Row) -> Read<Roll> {
    let alive: Vec<String> = column(row, 0)?;
    let (held, counts): (Vec<String>, Vec<i64>) = (column(row, 1)?, column(row, 2)?);
    let terms = held.iter().zip(counts).map(|(name, count)| {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == name);
        let role = role.ok_or_else(|| wrong("a role", name.escape_debug()))?;
        Ok((role, Term(whole(count)?)))
    });
    Ok(Roll {
        terms: terms.collect::<Read<_>>()?,
        alive: alive.iter().map(|name| parsed(name)).collect::<Read<_>>()?,
        displaced: column(row, 3)?,
    })
}

pub(super) fn version(document: &str) -> Read<EngineVersionRow> {
    serde_json::from_str(document).map_err(|e| wrong("a version", e))
}

pub(super) fn claim(key: &ClaimKey, row: &Row) -> Read<ClaimRow> {
    let fingerprint: Vec<u8> = column(row, 0)?;
    let fingerprint =
        <[u8; 32]>::try_from(fingerprint.as_slice()).map_err(|e| wrong("a fingerprint", e))?;
    let snapshot: Option<String> = column(row, 2)?;
    let of_version: Option<String> = column(row, 3)?;
    let answer = match column::<Option<uuid::Uuid>>(row, 1)? {
        Some(operation) => {
            let record = snapshot.map(|document| record::decode(&document)).transpose();
            ClaimAnswer::Operation {
                operation: OperationId(operation),
                record: record.map_err(|e| StoreError(e.to_string()))?,
            }
        }
        None => {
            let row = of_version.map(|document| version(&document)).transpose()?;
            ClaimAnswer::Version(row.map(Box::new))
        }
    };
    let claim = Claim { key: key.clone(), fingerprint: Fingerprint(fingerprint) };
    Ok(ClaimRow { claim, answer, at: column(row, 4)? })
}
