//! Walks through a document: all its schemas, references and examples.

use integration::contracts::Pointer;
use serde_json::Value;

/// A schema and what it is there for.
pub(crate) struct Place<'a> {
    pub(crate) at: Pointer,
    pub(crate) schema: &'a Value,
    /// It only narrows another schema that applies beside it (`allOf`, `if`, `then`, `else`), and
    /// so need not be closed itself.
    pub(crate) narrows: bool,
}

/// Every schema of the document, those within schemas included.
pub(crate) fn schemas(root: &Value) -> Vec<Place<'_>> {
    let mut found = Vec::new();
    find_schemas(&Pointer::root(), root, &mut found);
    found
}

fn find_schemas<'a>(at: &Pointer, value: &'a Value, found: &mut Vec<Place<'a>>) {
    let is_component = at.as_str() == "/components/schemas";
    for (name, child) in children(value) {
        let place = at.child(&name);
        let is_example = matches!(name.as_str(), "example" | "examples");
        if is_example && value.is_object() {
            continue;
        }
        if is_component || name == "schema" {
            within(place, child, false, found);
        } else {
            find_schemas(&place, child, found);
        }
    }
}

fn within<'a>(at: Pointer, schema: &'a Value, narrows: bool, found: &mut Vec<Place<'a>>) {
    for map in ["properties", "patternProperties", "$defs", "dependentSchemas"] {
        for (name, child) in schema.get(map).map(children).into_iter().flatten() {
            within(at.child(map).child(name), child, narrows, found);
        }
    }
    for list in ["oneOf", "anyOf", "allOf", "prefixItems"] {
        for (index, child) in schema.get(list).map(children).into_iter().flatten() {
            within(at.child(list).child(index), child, narrows || list == "allOf", found);
        }
    }
    for name in ["items", "additionalProperties", "contains", "propertyNames"] {
        if let Some(child) = schema.get(name).filter(|child| child.is_object()) {
            within(at.child(name), child, narrows, found);
        }
    }
    for name in ["if", "then", "else", "not"] {
        if let Some(child) = schema.get(name) {
            within(at.child(name), child, true, found);
        }
    }
    found.push(Place { at, schema, narrows });
}

/// Every `$ref` of the document: where it stands and what it says.
pub(crate) fn references(root: &Value) -> Vec<(Pointer, &str)> {
    let mut found = Vec::new();
    visit(&Pointer::root(), root, &mut |at, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            found.push((at.clone(), target));
        }
    });
    found
}

/// Calls `look` at every value of the document, from the outside in.
pub(crate) fn visit<'a>(
    at: &Pointer,
    value: &'a Value,
    look: &mut impl FnMut(&Pointer, &'a Value),
) {
    look(at, value);
    for (name, child) in children(value) {
        visit(&at.child(name), child, look);
    }
}

/// Members of an object or elements of a list, with their names.
pub(crate) fn children(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(members) => members.iter().map(|(name, v)| (name.clone(), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
