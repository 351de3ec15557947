//! What a contract says of each operation and each message, references followed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Contract, ContractError, Pointer};

/// An operation of an OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its `operationId`.
    pub id: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path template.
    pub path: String,
    /// Whose token may call it (`x-callers`).
    pub callers: Vec<String>,
    /// Path, query and header parameters, the path item's first.
    pub parameters: Vec<Parameter>,
    /// Where the schema of its JSON request body stands.
    pub request: Option<Pointer>,
    /// Its answers by status.
    pub responses: BTreeMap<u16, Response>,
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `path`, `query` or `header`.
    pub place: String,
    /// Whether a call must have it.
    pub required: bool,
    /// Where its schema stands.
    pub schema: Pointer,
}

/// A documented answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Where the schema of its JSON body stands; none if it has no body.
    pub schema: Option<Pointer>,
    /// The error codes it may carry; empty if it is no error envelope.
    pub codes: BTreeSet<String>,
    /// The headers it must carry.
    pub required_headers: BTreeSet<String>,
}

/// A message of an AsyncAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its `name`, such as `game_finished`.
    pub name: String,
    /// The address of its channel, such as `gm:lobby_events`.
    pub address: String,
    /// Where the schema of its payload stands.
    pub payload: Pointer,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

impl Contract {
    /// Every operation, in the order of paths and methods. Empty for an AsyncAPI document.
    pub fn operations(&self) -> Result<Vec<Operation>, ContractError> {
        let paths = Pointer::root().child("paths");
        let mut operations = Vec::new();
        for (path, item) in members(self.root(), "paths") {
            for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
                operations.push(operation_at(self, &paths.child(path), path, method)?);
            }
        }
        Ok(operations)
    }

    /// Every message of every channel. Empty for an OpenAPI document.
    pub fn messages(&self) -> Result<Vec<Message>, ContractError> {
        let channels = Pointer::root().child("channels");
        let mut messages = Vec::new();
        for (channel, item) in members(self.root(), "channels") {
            let place = channels.child(channel).child("messages");
            for (key, _) in members(item, "messages") {
                let message = self.follow(&place.child(key))?;
                messages.push(Message {
                    name: text(self.at(&message)?, "name"),
                    address: text(item, "address"),
                    payload: self.follow(&message.child("payload"))?,
                });
            }
        }
        Ok(messages)
    }
}

/// The answer that stands at a place, or that the place refers to.
pub(super) fn response_at(contract: &Contract, at: &Pointer) -> Result<Response, ContractError> {
    let place = contract.follow(at)?;
    let value = contract.at(&place)?;
    let mut required_headers = BTreeSet::new();
    for (name, _) in members(value, "headers") {
        let header = contract.at(&contract.follow(&place.child("headers").child(name))?)?;
        if header.get("required").and_then(Value::as_bool).unwrap_or(false) {
            required_headers.insert(name.to_owned());
        }
    }
    let schema = json_schema(&place, value);
    let codes = match &schema {
        Some(schema) => error_codes(contract.at(schema)?),
        None => BTreeSet::new(),
    };
    Ok(Response { schema, codes, required_headers })
}

fn operation_at(
    contract: &Contract,
    item: &Pointer,
    path: &str,
    method: &str,
) -> Result<Operation, ContractError> {
    let place = item.child(method);
    let value = contract.at(&place)?;
    let mut parameters = Vec::new();
    for list in [item.child("parameters"), place.child("parameters")] {
        let count = contract.at(&list).ok().and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count {
            parameters.push(parameter_at(contract, &list.child(index))?);
        }
    }
    let request = match value.get("requestBody") {
        None => None,
        Some(_) => {
            let body = contract.follow(&place.child("requestBody"))?;
            json_schema(&body, contract.at(&body)?)
        }
    };
    let mut responses = BTreeMap::new();
    let list = place.child("responses");
    for (status, _) in members(value, "responses") {
        let at = list.child(status);
        // Only plain statuses: a range or `default` would allow what nobody has documented.
        let number = status.parse().map_err(|_| ContractError::Missing(at.clone()))?;
        responses.insert(number, response_at(contract, &at)?);
    }
    Ok(Operation {
        id: text(value, "operationId"),
        method: method.to_uppercase(),
        path: path.into(),
        callers: strings(value.get("x-callers")),
        parameters,
        request,
        responses,
    })
}

fn parameter_at(contract: &Contract, at: &Pointer) -> Result<Parameter, ContractError> {
    let place = contract.follow(at)?;
    let value = contract.at(&place)?;
    Ok(Parameter {
        name: text(value, "name"),
        place: text(value, "in"),
        required: value.get("required").and_then(Value::as_bool).unwrap_or(false),
        schema: place.child("schema"),
    })
}

fn json_schema(place: &Pointer, value: &Value) -> Option<Pointer> {
    let media_type = value.get("content")?.get("application/json")?;
    media_type.get("schema")?;
    Some(place.child("content").child("application/json").child("schema"))
}

/// The codes of an error answer: the envelope, narrowed by an `enum` beside it.
fn error_codes(schema: &Value) -> BTreeSet<String> {
    let narrowing = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let codes = narrowing.filter_map(|s| s.pointer("/properties/error/properties/code/enum"));
    codes.flat_map(|codes| strings(Some(codes))).collect()
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let object: Option<&Map<String, Value>> = value.get(name).and_then(Value::as_object);
    object.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().into()
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(Into::into).collect()
}
