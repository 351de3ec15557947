//! Request bodies, read strictly.
//!
//! A body is first checked as a whole: valid JSON, no deeper than the parser's limit of 128, no key
//! twice in any object. After that it is taken apart by field. Refusals name the field and the
//! position, never what stands there: it may be a secret, or made to look like something else in
//! somebody's log. That is why nothing is derived: a derived reader quotes what it refuses.

mod strict;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use machine::InvalidValue;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::ServiceError;

/// Takes the array out of `{"commands": [...]}`: 1 to `max` objects, none with a key `actor`.
pub(super) fn commands(body: &[u8], max: usize) -> Result<&str, ServiceError> {
    let [commands] = Json::parse(body)?.fields(["commands"])?;
    let commands = commands?;
    commands.each_element(max, |index, element| {
        // The element's name costs an allocation, so it is given only where it is needed.
        let named = || element.clone().named(format!("commands[{index}]"));
        if element.kind() != Kind::Object {
            return Err(named().refuse("must be an object"));
        }
        if strict::has_key(element.text, "actor") {
            return Err(named().refuse("must not name an actor: Game Master does"));
        }
        Ok(())
    })?;
    Ok(commands.text)
}

/// A value in a body that was checked as a whole.
#[derive(Clone, Debug)]
pub(super) struct Json<'d> {
    /// The whole body, for positions.
    document: &'d str,
    /// This value.
    text: &'d str,
    /// Its place in the body, such as `members[3].race_name`; empty for the body itself.
    name: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Other,
}

impl<'d> Json<'d> {
    /// Checks a body as a whole.
    pub(super) fn parse(body: &'d [u8]) -> Result<Self, ServiceError> {
        let Ok(document) = std::str::from_utf8(body) else {
            return Err(ServiceError::InvalidRequest("the body must be UTF-8".into()));
        };
        if let Err(error) = strict::check(document) {
            // SUBTLE: safe to pass on. The parser's own errors are fixed texts, and the check adds
            // only fixed ones; neither quotes the body.
            return Err(ServiceError::InvalidRequest(format!("the body is refused: {error}")));
        }
        Ok(Self { document, text: document.trim_ascii(), name: Cow::Borrowed("") })
    }

    /// The fields of an object, each of them required where it is asked for with `?`. A field that
    /// is not among `names` is refused.
    pub(super) fn fields<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Field<'d>; N], ServiceError> {
        if self.kind() != Kind::Object {
            return Err(self.refuse("must be an object"));
        }
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let values = reader.deserialize_map(FieldsVisitor { names }).map_err(|error| {
            let known = names.join(", ");
            let known = if known.is_empty() { "none".into() } else { known };
            let message = format!("must not have unknown fields (known: {known})");
            self.refuse_at(self.position_of(&error), &message)
        })?;
        let mut index = 0;
        Ok(values.map(|value| {
            let name = self.child_name(names.get(index).copied().unwrap_or_default());
            index += 1;
            match value {
                Some(raw) => Ok(Json { document: self.document, text: raw.get(), name }),
                None => {
                    let missing = Json { name, ..self.clone() };
                    Err(missing.refuse("is missing"))
                }
            }
        }))
    }

    /// The elements of an array, `max` at most.
    pub(super) fn elements(&self, max: usize) -> Result<Vec<Json<'d>>, ServiceError> {
        let mut elements = Vec::new();
        self.each_element(max, |index, element| {
            elements.push(element.clone().named(format!("{}[{index}]", self.name)));
            Ok(())
        })?;
        Ok(elements)
    }

    /// A text that is a value of `T`.
    pub(super) fn parse_as<T: FromStr<Err = InvalidValue>>(&self) -> Result<T, ServiceError> {
        self.string()?.parse().map_err(|invalid: InvalidValue| self.refuse(invalid.problem))
    }

    /// A text.
    pub(super) fn string(&self) -> Result<Cow<'d, str>, ServiceError> {
        if self.kind() != Kind::String {
            return Err(self.refuse("must be a string"));
        }
        let mut reader = serde_json::Deserializer::from_str(self.text);
        reader.deserialize_str(strict::TextVisitor).map_err(|_| self.refuse("must be a string"))
    }

    /// A truth value.
    pub(super) fn boolean(&self) -> Result<bool, ServiceError> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refuse("must be true or false")),
        }
    }

    /// Refuses this value. `problem` follows its name.
    pub(super) fn refuse(&self, problem: &str) -> ServiceError {
        self.refuse_at(Position::of(self.document, self.text), problem)
    }

    fn each_element(
        &self,
        max: usize,
        visit: impl FnMut(usize, &Json<'d>) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        if self.kind() != Kind::Array {
            return Err(self.refuse("must be an array"));
        }
        let mut refusal = None;
        let visitor = ElementsVisitor { array: self, max, visit, refusal: &mut refusal };
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let read = reader.deserialize_seq(visitor);
        match (refusal, read) {
            (Some(refusal), _) => Err(refusal),
            (None, Ok(())) => Ok(()),
            (None, Err(_)) => Err(self.refuse("must be an array")),
        }
    }

    fn refuse_at(&self, position: Position, problem: &str) -> ServiceError {
        let name = if self.name.is_empty() { "the body" } else { &*self.name };
        ServiceError::InvalidRequest(format!("{name} {problem} ({position})"))
    }

    /// Where in the body an error in this value is.
    fn position_of(&self, error: &serde_json::Error) -> Position {
        Position::of(self.document, self.text).plus(error.line(), error.column())
    }

    fn child_name(&self, field: &'static str) -> Cow<'static, str> {
        match &*self.name {
            "" => Cow::Borrowed(field),
            parent => Cow::Owned(format!("{parent}.{field}")),
        }
    }

    fn named(self, name: String) -> Self {
        Self { name: Cow::Owned(name), ..self }
    }

    /// What it is. The value is valid JSON, so the first byte says it.
    fn kind(&self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(_) | None => Kind::Other,
        }
    }
}

/// A field that was asked for; an error that says so where it is missing.
pub(super) type Field<'d> = Result<Json<'d>, ServiceError>;

/// A place in a body, both numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    /// Of the first byte of `part`, which is a slice of `document`.
    fn of(document: &str, part: &str) -> Self {
        let offset = (part.as_ptr() as usize).saturating_sub(document.as_ptr() as usize);
        let before = document.as_bytes().get(..offset).unwrap_or_default();
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Self { line, column: offset - line_start + 1 }
    }

    /// Of `line` and `column` of a part that begins here.
    fn plus(self, line: usize, column: usize) -> Self {
        match line {
            0 | 1 => Self { line: self.line, column: self.column + column.saturating_sub(1) },
            more => Self { line: self.line + more - 1, column },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Collects the known fields. That none comes twice was checked before.
struct FieldsVisitor<const N: usize> {
    names: [&'static str; N],
}

impl<'de, const N: usize> Visitor<'de> for FieldsVisitor<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(key) = map.next_key_seed(strict::Key)? {
            let place = self.names.iter().position(|name| *name == key);
            match place.and_then(|place| values.get_mut(place)) {
                Some(value) => *value = Some(map.next_value()?),
                None => return Err(A::Error::custom("unknown field")),
            }
        }
        Ok(values)
    }
}

/// Shows each element to `visit`.
struct ElementsVisitor<'a, 'd, F> {
    array: &'a Json<'d>,
    max: usize,
    visit: F,
    refusal: &'a mut Option<ServiceError>,
}

impl<'d, F> Visitor<'d> for ElementsVisitor<'_, 'd, F>
where
    F: FnMut(usize, &Json<'d>) -> Result<(), ServiceError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'d>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0;
        let mut read = || -> Result<Option<Result<(), ServiceError>>, A::Error> {
            let Some(raw) = seq.next_element::<&RawValue>()? else { return Ok(None) };
            count += 1;
            if count > self.max {
                let message = format!("must have {} elements at most", self.max);
                return Ok(Some(Err(self.array.refuse(&message))));
            }
            let element =
                Json { document: self.array.document, text: raw.get(), name: Cow::Borrowed("") };
            Ok(Some((self.visit)(count - 1, &element)))
        };
        loop {
            match read()? {
                Some(Ok(())) => {}
                Some(Err(refusal)) => {
                    *self.refusal = Some(refusal);
                    return Err(A::Error::custom("refused"));
                }
                None => break,
            }
        }
        if count == 0 {
            *self.refusal = Some(self.array.refuse("must not be empty"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
