//! Values on their way: parameters as the driver sends them, columns as it reads them.

use bytes::{BufMut, BytesMut};
use machine::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use uuid::Uuid;

use super::refusal::Refusal;

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Int4(i32),
    Int8(i64),
    Bool(bool),
    Uuid(Uuid),
    At(Timestamp),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    Int8s(Vec<i64>),
    /// What a function gives that gives nothing.
    Void,
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A document, as text.
    pub(super) fn json(document: &Json) -> Self {
        Self::Text(document.to_string())
    }

    pub(super) fn count(count: u64) -> Self {
        Self::Int8(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// `None` is NULL.
    pub(super) fn or_null<T>(value: Option<T>, kind: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, kind)
    }

    /// Writes the value with its length before it, in the binary format.
    pub(super) fn write(&self, out: &mut BytesMut) -> Result<(), Refusal> {
        let mut data = BytesMut::new();
        let written = match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Void => Ok(IsNull::No),
            Self::Text(text) => text.to_sql(&Type::TEXT, &mut data),
            Self::Int4(n) => n.to_sql(&Type::INT4, &mut data),
            Self::Int8(n) => n.to_sql(&Type::INT8, &mut data),
            Self::Bool(yes) => yes.to_sql(&Type::BOOL, &mut data),
            Self::Uuid(id) => id.to_sql(&Type::UUID, &mut data),
            Self::At(at) => at.to_sql(&Type::TIMESTAMPTZ, &mut data),
            Self::Bytes(bytes) => bytes.to_sql(&Type::BYTEA, &mut data),
            Self::Texts(texts) => texts.to_sql(&Type::TEXT_ARRAY, &mut data),
            Self::Int8s(numbers) => numbers.to_sql(&Type::INT8_ARRAY, &mut data),
        };
        let unwritable = |why: &dyn std::fmt::Display| Refusal::new("XX000", why.to_string());
        match written.map_err(|e| unwritable(&e))? {
            IsNull::Yes => out.put_i32(-1),
            IsNull::No => {
                out.put_i32(i32::try_from(data.len()).map_err(|e| unwritable(&e))?);
                out.put_slice(&data);
            }
        }
        Ok(())
    }
}

/// The parameters of one execution.
#[derive(Debug)]
pub(super) struct Params<'a>(pub(super) &'a [Option<bytes::Bytes>]);

impl Params<'_> {
    fn read<'b, T: FromSql<'b>>(&'b self, n: usize, kind: &Type) -> Result<T, Refusal> {
        let raw = self.0.get(n).ok_or_else(|| Refusal::protocol("a parameter is missing"))?;
        let value = T::from_sql_nullable(kind, raw.as_deref());
        value.map_err(|e| Refusal::new("22P03", format!("parameter {}: {e}", n + 1)))
    }

    pub(super) fn text(&self, n: usize) -> Result<String, Refusal> {
        self.read(n, &Type::TEXT)
    }

    pub(super) fn text_or_null(&self, n: usize) -> Result<Option<String>, Refusal> {
        self.read(n, &Type::TEXT)
    }

    pub(super) fn int8(&self, n: usize) -> Result<i64, Refusal> {
        self.read(n, &Type::INT8)
    }

    pub(super) fn int8s(&self, n: usize) -> Result<Vec<i64>, Refusal> {
        self.read(n, &Type::INT8_ARRAY)
    }

    pub(super) fn texts(&self, n: usize) -> Result<Vec<String>, Refusal> {
        self.read(n, &Type::TEXT_ARRAY)
    }

    pub(super) fn bool(&self, n: usize) -> Result<bool, Refusal> {
        self.read(n, &Type::BOOL)
    }

    pub(super) fn uuid(&self, n: usize) -> Result<Uuid, Refusal> {
        self.read(n, &Type::UUID)
    }

    pub(super) fn at(&self, n: usize) -> Result<Timestamp, Refusal> {
        self.read(n, &Type::TIMESTAMPTZ)
    }

    /// A `$n::text::numeric` that is a number of 64 bits without a sign.
    pub(super) fn numeric(&self, n: usize) -> Result<u64, Refusal> {
        let text = self.text(n)?;
        text.parse().map_err(|_| {
            Refusal::new("22P02", format!("invalid input syntax for type numeric: {text:?}"))
        })
    }
}

/// An instant as PostgreSQL writes it into JSON.
pub(super) fn instant(at: Timestamp) -> String {
    let text = at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    let text = text.trim_start_matches('+').trim_end_matches('0').trim_end_matches('.');
    format!("{text}+00:00")
}

/// A word of an enumeration, as it is written.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Json::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_the_server_writes_them() {
        for (text, written) in [
            ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00+00:00"),
            ("2030-01-01T00:00:10.500Z", "2030-01-01T00:00:10.5+00:00"),
            ("2030-01-01T00:00:00.000001Z", "2030-01-01T00:00:00.000001+00:00"),
            ("+12030-01-01T00:00:20Z", "12030-01-01T00:00:20+00:00"),
        ] {
            assert_eq!(instant(text.parse().expect("an instant")), written);
        }
    }
}
