//! Does an answer keep to the contract?

use jsonschema::Validator;
use serde_json::Value;

use super::{Contract, ContractError, Response};

/// What an answer must look like. Made by [`super::validator_for`].
pub struct ResponseCheck {
    response: Response,
    body: Option<Validator>,
}

/// Where an answer breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A header is missing.
    #[error("header {0} is missing")]
    MissingHeader(String),
    /// The body is not declared as JSON.
    #[error("content type is {0:?}")]
    ContentType(Option<String>),
    /// There is a body where none is due.
    #[error("a body of {0} bytes where none is due")]
    UnexpectedBody(usize),
    /// The body is no JSON.
    #[error("body is no JSON: {0}")]
    NoJson(String),
    /// The body does not fit its schema.
    #[error("{0}")]
    Schema(String),
}

impl ResponseCheck {
    pub(super) fn new(contract: &Contract, response: Response) -> Result<Self, ContractError> {
        let body = match &response.schema {
            Some(schema) => Some(contract.validator_at(schema)?),
            None => None,
        };
        Ok(Self { response, body })
    }

    /// The answer as documented.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Everything that is wrong with an answer; empty if nothing is. `header` gives a header's
    /// value by its name, whatever the case.
    pub fn violations(
        &self,
        header: impl Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Vec<Violation> {
        let missing = self.response.required_headers.iter().filter(|name| header(name).is_none());
        let mut found: Vec<_> = missing.cloned().map(Violation::MissingHeader).collect();
        match &self.body {
            None if body.is_empty() => {}
            None => found.push(Violation::UnexpectedBody(body.len())),
            Some(validator) => {
                let content_type = header("content-type");
                if !content_type.as_deref().is_some_and(is_json) {
                    found.push(Violation::ContentType(content_type));
                }
                found.extend(body_violations(validator, body));
            }
        }
        found
    }
}

fn is_json(content_type: &str) -> bool {
    content_type == "application/json" || content_type == "application/json; charset=utf-8"
}

fn body_violations(validator: &Validator, body: &[u8]) -> Vec<Violation> {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return vec![Violation::NoJson(error.to_string())],
    };
    let errors = validator.iter_errors(&value);
    errors.map(|e| Violation::Schema(format!("{}: {e}", e.instance_path()))).collect()
}
