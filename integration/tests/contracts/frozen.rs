//! Compares a document with a table, line by line.

use std::collections::{BTreeMap, BTreeSet};

use integration::contracts::{Contract, Operation};
use serde_json::Value;

use super::walk;

/// An operation as it is frozen.
pub(crate) struct Frozen {
    pub(crate) id: &'static str,
    pub(crate) call: &'static str,
    pub(crate) callers: &'static str,
    /// Groups of parameters; an exclamation mark says that it is required.
    pub(crate) parameters: &'static [&'static str],
    /// The request body's schema, or nothing.
    pub(crate) takes: &'static str,
    /// The success status and its schema, or just the status.
    pub(crate) gives: &'static str,
    /// Groups of error statuses with their codes.
    pub(crate) errors: &'static [&'static [&'static str]],
}

impl Frozen {
    fn lines(&self) -> BTreeSet<String> {
        let id = self.id;
        let mut lines = BTreeSet::from([
            format!("{id}: {}", self.call),
            format!("{id}: callers {}", self.callers),
            format!("{id}: takes {}", self.takes),
            format!("{id}: gives {}", self.gives),
        ]);
        let parameters = self.parameters.iter().flat_map(|group| group.split(", "));
        let parameters = parameters.filter(|name| !name.is_empty());
        lines.extend(parameters.map(|name| format!("{id}: parameter {name}")));
        let errors = self.errors.iter().copied().flatten();
        lines.extend(errors.map(|error| format!("{id}: answers {error}")));
        lines
    }
}

/// What differs between the document's operations and the table.
pub(crate) fn operation_differences(contract: &Contract, table: &[Frozen]) -> Vec<String> {
    let actual = contract.operations().expect("readable contract");
    let actual: BTreeSet<String> = actual.iter().flat_map(|o| lines_of(contract, o)).collect();
    let frozen: BTreeSet<String> = table.iter().flat_map(Frozen::lines).collect();
    differences(&frozen, &actual)
}

fn lines_of(contract: &Contract, operation: &Operation) -> BTreeSet<String> {
    let id = &operation.id;
    let request = operation.request.as_ref();
    let takes = request.map(|at| type_name(contract.at(at).unwrap())).unwrap_or_default();
    let mut lines = BTreeSet::from([
        format!("{id}: {} {}", operation.method, operation.path),
        format!("{id}: callers {}", operation.callers.join(" ")),
        format!("{id}: takes {takes}"),
    ]);
    for parameter in &operation.parameters {
        let mark = if parameter.required { "!" } else { "" };
        lines.insert(format!("{id}: parameter {} {}{mark}", parameter.place, parameter.name));
    }
    for (status, response) in &operation.responses {
        let body = response.schema.as_ref();
        let body = body.map(|at| type_name(contract.at(at).unwrap())).unwrap_or_default();
        let line = if response.codes.is_empty() {
            // An error may do without the envelope only where the table says so in so many words.
            let verb = if *status < 400 { "gives" } else { "answers" };
            format!("{id}: {verb} {status} {body}")
        } else {
            let codes: Vec<_> = response.codes.iter().map(String::as_str).collect();
            format!("{id}: answers {status} {}", codes.join("|"))
        };
        let headers: Vec<_> = response.required_headers.iter().map(|h| format!(" +{h}")).collect();
        lines.insert(line.trim_end().to_owned() + &headers.concat());
    }
    lines
}

/// What differs between the document's object schemas and the table of their members: `name: Type`,
/// a question mark where the member may be absent.
pub(crate) fn shape_differences(contract: &Contract, table: &[(&str, &[&str])]) -> Vec<String> {
    let mut frozen = BTreeSet::new();
    for (name, members) in table {
        frozen.insert(format!("object {name}"));
        frozen.extend(members.iter().map(|member| format!("object {name}: {member}")));
    }
    let mut actual = BTreeSet::new();
    for (name, members) in shapes(contract.root()) {
        actual.insert(format!("object {name}"));
        actual.extend(members.iter().map(|member| format!("object {name}: {member}")));
    }
    differences(&frozen, &actual)
}

fn shapes(root: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let named = root.pointer("/components/schemas").map(walk::children).unwrap_or_default();
    let objects = named.into_iter().filter(|(_, schema)| schema["type"] == "object");
    objects.map(|(name, schema)| (name, members_of(schema))).collect()
}

fn members_of(schema: &Value) -> BTreeSet<String> {
    let required: BTreeSet<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members = schema.get("properties").map(walk::children).unwrap_or_default();
    let mut lines: BTreeSet<_> = members
        .into_iter()
        .map(|(name, member)| {
            let mark = if required.contains(name.as_str()) { "" } else { "?" };
            format!("{name}{mark}: {}", type_name(member))
        })
        .collect();
    let undeclared = required.iter().filter(|name| schema["properties"].get(**name).is_none());
    lines.extend(undeclared.map(|name| format!("{name}: undeclared")));
    lines
}

/// A schema's type in short: `Turn`, `[Member]`, `null | Failure`, `string | null`, `stop`.
fn type_name(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        return target.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(type_name).collect::<Vec<_>>().join(" | ");
    }
    if let Some(only) = schema["const"].as_str() {
        return format!("{only:?}");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("[{}]", type_name(&schema["items"])),
        Value::String(name) if schema["enum"].is_array() => format!("enum {name}"),
        Value::String(name) => schema["format"]
            .as_str()
            .map_or_else(|| name.clone(), |format| format!("{name} {format}")),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "anything".to_owned(),
    }
}

/// What differs between the document's enumerations and the table. Those that only narrow another
/// schema, the error codes of each answer, are frozen with the operations.
pub(crate) fn enum_differences(contract: &Contract, table: &[(&str, &str)]) -> Vec<String> {
    let frozen: BTreeSet<_> = table.iter().map(|(at, values)| format!("{at}: {values}")).collect();
    let mut actual = BTreeSet::new();
    for place in walk::schemas(contract.root()).iter().filter(|place| !place.narrows) {
        if let Some(values) = place.schema["enum"].as_array() {
            let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            let at = place.at.as_str().trim_start_matches("/components/");
            actual.insert(format!("{at}: {}", values.join(" ")));
        }
    }
    differences(&frozen, &actual)
}

/// What is in one set and not in the other.
pub(crate) fn differences(frozen: &BTreeSet<String>, actual: &BTreeSet<String>) -> Vec<String> {
    let gone = frozen.difference(actual).map(|line| format!("gone: {line}"));
    gone.chain(actual.difference(frozen).map(|line| format!("new:  {line}"))).collect()
}

/// Fails with every difference on a line of its own.
pub(crate) fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "the contract has changed:\n{}", differences.join("\n"));
}
