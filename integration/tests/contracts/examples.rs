//! `docs/examples.md` fits the contracts: whoever copies from it must not be misled.

use std::collections::BTreeSet;

use integration::contracts::{Document, openapi, validator_for};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/examples.md");

/// A fenced block of the page: what follows the language, and the content.
fn blocks(language: &str) -> Vec<(&'static str, &'static str)> {
    let mut found = vec![];
    let mut rest = PAGE;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (head, body) = after.split_once('\n').expect("a block has a head");
        let (content, behind) = body.split_once("\n```").expect("a block has an end");
        let (name, about) = head.split_once(' ').unwrap_or((head, ""));
        if name == language {
            found.push((about, content));
        }
        rest = behind;
    }
    found
}

fn document(name: &str) -> Document {
    let named = Document::ALL.into_iter().find(|document| format!("{document:?}") == name);
    named.unwrap_or_else(|| panic!("no contract {name}"))
}

#[test]
fn every_message_on_the_page_of_examples_fits_its_schema() {
    let mut kinds = BTreeSet::new();
    for (about, content) in blocks("json") {
        let value: Value = serde_json::from_str(content).unwrap_or_else(|e| panic!("{about}: {e}"));
        let (kind, name) = about.split_once('=').expect("what the example is of");
        kinds.insert(kind);
        let wrong = match kind {
            "request" => {
                let contract = openapi().expect("the contract");
                let validator = contract.request_validator(name).expect("the operation");
                let validator = validator.expect("the operation takes a body");
                validator.iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>()
            }
            "message" => {
                let (contract, message) = name.split_once(':').expect("a contract and a message");
                let contract = document(contract).load().expect("the contract");
                let validator = contract.message_validator(message).expect("the message");
                validator.iter_errors(&value).map(|error| error.to_string()).collect()
            }
            "response" => {
                let (operation, status) = name.split_once(':').expect("an operation and a status");
                let status = status.parse().expect("a status");
                let check = validator_for(operation, status).expect("the response");
                let header = |_: &str| Some("application/json".to_owned());
                let wrong = check.violations(header, content.as_bytes());
                wrong.iter().map(ToString::to_string).collect()
            }
            other => panic!("an example of what? {other}"),
        };
        assert!(wrong.is_empty(), "{about}: {wrong:#?}");
    }
    assert_eq!(kinds, BTreeSet::from(["message", "request", "response"]));
}
