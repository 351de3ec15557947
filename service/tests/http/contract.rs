//! What the contract says of an answer.

use std::sync::OnceLock;

use jsonschema::Draft;
use serde_json::{Value, json};

use crate::client::Answer;

/// Checks that the contract has this status for the operation, and that the body is as it says.
#[track_caller]
pub(crate) fn conforms(operation: &str, answer: &Answer) {
    let document = document();
    let status = answer.status.to_string();
    let response = operations(document)
        .find(|described| described["operationId"] == operation)
        .and_then(|described| described["responses"].get(&status))
        .unwrap_or_else(|| panic!("{operation} never answers {status}: {answer:?}"));
    let response = match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("a response"),
        None => response,
    };
    let Some(schema) = response.pointer("/content/application~1json/schema") else {
        assert_eq!((answer.header("content-type"), answer.body.as_str()), (None, ""));
        return;
    };
    let resource = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": {"schemas": document["components"]["schemas"]},
        "allOf": [schema],
    });
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&resource)
        .expect("a schema");
    let body = answer.json();
    let faults: Vec<String> = validator
        .iter_errors(&body)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert_eq!(faults, Vec::<String>::new(), "{operation} {status}: {body}");
}

/// The contract.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = include_str!("../../../api/internal-openapi.yaml");
        serde_norway::from_str(text).expect("YAML")
    })
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().expect("paths").values();
    paths.flat_map(|item| item.as_object().expect("an object").values())
}
