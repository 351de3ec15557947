//! What holds for every document: references resolve, examples fit, bodies are closed.

use std::collections::{BTreeMap, BTreeSet};

use integration::contracts::{Contract, Document, Pointer};
use serde_json::{Value, json};

use super::walk;

/// Bodies that are open, each for a reason its description gives.
const OPEN: [(Document, &str); 5] = [
    (Document::Internal, "/components/schemas/Command"),
    (Document::Internal, "/components/schemas/EngineAnswer"),
    (Document::Engine, "/components/schemas/Command"),
    (Document::Engine, "/components/schemas/EngineAnswer"),
    (Document::RuntimeHealth, "/components/schemas/HealthEventDetails"),
];

fn load(document: Document) -> Contract {
    document.load().unwrap_or_else(|error| panic!("{}: {error}", document.path()))
}

#[test]
fn every_document_is_of_the_version_it_should_be() {
    for document in Document::ALL {
        let contract = load(document);
        let (key, version) = match document {
            Document::Internal | Document::Engine | Document::Lobby | Document::Rtm => {
                ("openapi", "3.1.0")
            }
            Document::RuntimeEvents
            | Document::RuntimeHealth
            | Document::RuntimeJobs
            | Document::NotificationIntents => ("asyncapi", "3.1.0"),
        };
        assert_eq!(contract.root()[key], version, "{}", document.path());
    }
}

#[test]
fn every_reference_resolves() {
    for document in Document::ALL {
        let contract = load(document);
        for (at, _) in walk::references(contract.root()) {
            if let Err(error) = contract.follow(&at) {
                panic!("{} {at}: {error}", document.path());
            }
        }
    }
}

#[test]
fn every_component_is_used() {
    for document in Document::ALL {
        let contract = load(document);
        let used: BTreeSet<_> = walk::references(contract.root())
            .into_iter()
            .filter_map(|(_, target)| Pointer::of_reference(target))
            .collect();
        let mut idle = Vec::new();
        for (kind, items) in walk::children(&contract.root()["components"]) {
            let kind_at = Pointer::new("/components").child(&kind);
            // Security schemes are referred to by name.
            let items = if kind == "securitySchemes" { Vec::new() } else { walk::children(items) };
            idle.extend(items.iter().map(|(name, _)| kind_at.child(name)));
        }
        idle.retain(|at| !used.contains(at));
        assert!(idle.is_empty(), "{}: nothing refers to {idle:?}", document.path());
    }
}

#[test]
fn every_schema_compiles() {
    for document in Document::ALL {
        let contract = load(document);
        let named = walk::children(&contract.root()["components"]["schemas"]);
        assert!(!named.is_empty());
        for (name, _) in named {
            let at = Pointer::new("/components/schemas").child(name);
            contract.validator_at(&at).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Schemas that would let something pass that nobody has documented.
fn open_schemas(contract: &Contract) -> Vec<Pointer> {
    let mut open = Vec::new();
    for place in walk::schemas(contract.root()).iter().filter(|place| !place.narrows) {
        let has = |name: &str| place.schema.get(name).is_some();
        let is_object = match &place.schema["type"] {
            Value::String(name) => name == "object",
            Value::Array(names) => names.contains(&json!("object")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => has("properties"),
        };
        let is_closed = place.schema["additionalProperties"] == false;
        let is_array = place.schema["type"] == "array";
        let says_nothing = !["$ref", "type", "oneOf", "anyOf", "allOf", "const", "enum"]
            .iter()
            .any(|keyword| has(keyword));
        if (is_object && !is_closed) || (is_array && !has("items")) || says_nothing {
            open.push(place.at.clone());
        }
    }
    open
}

#[test]
fn every_body_is_closed_but_for_the_named_ones() {
    for document in Document::ALL {
        let named = OPEN.iter().filter(|(owner, _)| *owner == document);
        let named: BTreeSet<_> = named.map(|(_, at)| Pointer::new(at)).collect();
        let open: BTreeSet<_> = open_schemas(&load(document)).into_iter().collect();
        assert_eq!(open, named, "{}", document.path());
    }
}

#[test]
fn an_opened_body_is_noticed() {
    let mut root = load(Document::Internal).root().clone();
    root["components"]["schemas"]["Member"]["additionalProperties"] = json!(true);
    let open = open_schemas(&Contract::from_value(root));
    assert!(open.contains(&Pointer::new("/components/schemas/Member")), "{open:?}");
}

/// Every example of a document with the schema it belongs to.
fn examples(contract: &Contract) -> Vec<(Pointer, Pointer)> {
    let mut found = Vec::new();
    for place in walk::schemas(contract.root()) {
        let list = place.schema.get("examples").map(walk::children).unwrap_or_default();
        let examples_at = place.at.child("examples");
        let list = list.iter().map(|(index, _)| (examples_at.child(index), place.at.clone()));
        found.extend(list);
        found.extend(place.schema.get("default").map(|_| (place.at.child("default"), place.at)));
    }
    walk::visit(&Pointer::root(), contract.root(), &mut |at, value| {
        if value.get("schema").is_some() {
            found.extend(value.get("example").map(|_| (at.child("example"), at.child("schema"))));
            let named = value.get("examples").map(walk::children).unwrap_or_default();
            for (name, _) in named {
                let example = contract.follow(&at.child("examples").child(name)).unwrap();
                found.push((example.child("value"), at.child("schema")));
            }
        }
    });
    for message in walk::children(&contract.root()["components"]["messages"]) {
        let at = Pointer::new("/components/messages").child(message.0);
        let list = message.1.get("examples").map(walk::children).unwrap_or_default();
        for (index, _) in list {
            let example = at.child("examples").child(index).child("payload");
            found.push((example, at.child("payload")));
        }
    }
    found
}

#[test]
fn every_example_fits_its_schema() {
    for document in Document::ALL {
        let contract = load(document);
        let mut validators = BTreeMap::new();
        let examples = examples(&contract);
        assert!(examples.len() > 3, "{}", document.path());
        for (example, schema) in examples {
            let validator = validators
                .entry(schema.clone())
                .or_insert_with(|| contract.validator_at(&schema).unwrap());
            let errors: Vec<_> = validator
                .iter_errors(contract.at(&example).unwrap())
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{} {example}: {errors:?}", document.path());
        }
    }
}

#[test]
fn every_body_and_message_has_an_example() {
    for document in Document::ALL {
        let contract = load(document);
        walk::visit(&Pointer::root(), contract.root(), &mut |at, value| {
            let is_media_type = at.last() == "application~1json" && value.get("schema").is_some();
            let is_message = at.as_str().starts_with("/components/messages/")
                && value.get("payload").is_some()
                && value.get("contentType").is_some();
            if is_media_type || is_message {
                let examples = value.get("examples").map(walk::children).unwrap_or_default();
                assert!(!examples.is_empty(), "{} {at}", document.path());
            }
        });
    }
}

#[test]
fn schemas_of_the_same_name_are_the_same_in_every_document() {
    let mut seen: BTreeMap<String, (Document, Value)> = BTreeMap::new();
    for document in Document::ALL {
        let contract = load(document);
        for (name, schema) in walk::children(&contract.root()["components"]["schemas"]) {
            let (first, other) = seen.entry(name.clone()).or_insert((document, schema.clone()));
            let (path, first) = (document.path(), first.path());
            assert_eq!(schema, other, "{name} differs between {first} and {path}");
        }
    }
}

/// Plain words that YAML 1.1 readers take for booleans or numbers, and YAML 1.2 readers do not.
#[test]
fn every_yaml_reader_sees_the_same_document() {
    for document in Document::ALL {
        for (number, line) in document.text().lines().enumerate() {
            let value = line.split_once(": ").map_or(line.trim(), |(_, value)| value.trim());
            let value = value.trim_start_matches("- ");
            let ambiguous = ["yes", "no", "on", "off", "y", "n", "~", "null"];
            let is_ambiguous = ambiguous.contains(&value.to_lowercase().as_str());
            let is_null = value == "null" && line.contains(": ");
            let is_octal = value.len() > 1
                && value.starts_with('0')
                && value.bytes().all(|byte| byte.is_ascii_digit());
            let number = number + 1;
            assert!(
                (!is_ambiguous || is_null) && !is_octal && !line.contains('\t'),
                "{}:{number}: {line}",
                document.path()
            );
        }
    }
}
