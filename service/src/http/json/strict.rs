//! The check of a body as a whole.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// From how many keys on an object's keys are kept in a set: comparing each with each would let a
/// body of a megabyte keep a processor for minutes, and a set costs more than it saves before.
const KEYS_COMPARED_ONE_BY_ONE: usize = 16;

/// Checks that `document` is one JSON value, not nested deeper than the parser's limit, in which no
/// object has a key twice.
pub(super) fn check(document: &str) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(document);
    let mut keys = Vec::new();
    Any { keys: &mut keys }.deserialize(&mut reader)?;
    reader.end()
}

/// Whether an object that was checked has a key, however it is written: `"\u0061"` is `"a"`.
pub(super) fn has_key(object: &str, wanted: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(object);
    reader.deserialize_map(HasKey(wanted)).unwrap_or(false)
}

/// A value of any kind.
///
/// SUBTLE: the parser's limit of depth counts here because each level is a call. Skipping a value,
/// or keeping it raw, is a loop in the parser and knows no limit.
struct Any<'k, 'de> {
    /// The first keys of the objects that enclose this value, one object after another: one
    /// allocation for all of them.
    keys: &'k mut Vec<Cow<'de, str>>,
}

impl<'de> DeserializeSeed<'de> for Any<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(()) = seq.next_element_seed(Any { keys: &mut *self.keys })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let first = self.keys.len();
        let mut further = BTreeSet::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if self.keys.iter().skip(first).any(|known| *known == key) || further.contains(&key) {
                return Err(A::Error::custom("a key comes twice in one object"));
            }
            if self.keys.len() - first < KEYS_COMPARED_ONE_BY_ONE {
                self.keys.push(key);
            } else {
                further.insert(key);
            }
            map.next_value_seed(Any { keys: &mut *self.keys })?;
        }
        self.keys.truncate(first);
        Ok(())
    }
}

/// A key, borrowed from the document unless it is written with escapes.
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A text, borrowed from the document unless it is written with escapes.
pub(super) struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.into()))
    }
}

struct HasKey<'w>(&'w str);

impl<'de> Visitor<'de> for HasKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key_seed(Key)? {
            found |= key == self.0;
            map.next_value::<IgnoredAny>()?;
        }
        Ok(found)
    }
}
