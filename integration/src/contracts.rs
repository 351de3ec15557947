//! The machine-readable contracts in `api/`, loaded and made usable by tests.
//!
//! [`Document`] names the files, [`Contract`] is a loaded one. A test that drives a running service
//! asks [`validator_for`] what an answer must look like, and [`Contract::operations`] which
//! operations it has yet to reach.

mod check;
mod operation;
mod pointer;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

pub use check::{ResponseCheck, Violation};
pub use operation::{Message, Operation, Parameter, Response};
pub use pointer::Pointer;

/// One file of `api/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// Game Master's own REST.
    Internal,
    /// `gm:lobby_events`.
    RuntimeEvents,
    /// The game engine's REST.
    Engine,
    /// Lobby's REST.
    Lobby,
    /// Runtime Manager's REST.
    Rtm,
    /// `runtime:health_events`.
    RuntimeHealth,
    /// `runtime:start_jobs` and `runtime:job_results`.
    RuntimeJobs,
    /// `notification:intents`.
    NotificationIntents,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Internal,
        Self::RuntimeEvents,
        Self::Engine,
        Self::Lobby,
        Self::Rtm,
        Self::RuntimeHealth,
        Self::RuntimeJobs,
        Self::NotificationIntents,
    ];

    /// Where it is, below `api/`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Internal => "internal-openapi.yaml",
            Self::RuntimeEvents => "runtime-events-asyncapi.yaml",
            Self::Engine => "peers/engine-openapi.yaml",
            Self::Lobby => "peers/lobby-openapi.yaml",
            Self::Rtm => "peers/rtm-openapi.yaml",
            Self::RuntimeHealth => "peers/runtime-health-asyncapi.yaml",
            Self::RuntimeJobs => "peers/runtime-jobs-asyncapi.yaml",
            Self::NotificationIntents => "peers/notification-intents-asyncapi.yaml",
        }
    }

    /// Its text, as of compilation.
    pub fn text(self) -> &'static str {
        match self {
            Self::Internal => include_str!("../../api/internal-openapi.yaml"),
            Self::RuntimeEvents => include_str!("../../api/runtime-events-asyncapi.yaml"),
            Self::Engine => include_str!("../../api/peers/engine-openapi.yaml"),
            Self::Lobby => include_str!("../../api/peers/lobby-openapi.yaml"),
            Self::Rtm => include_str!("../../api/peers/rtm-openapi.yaml"),
            Self::RuntimeHealth => include_str!("../../api/peers/runtime-health-asyncapi.yaml"),
            Self::RuntimeJobs => include_str!("../../api/peers/runtime-jobs-asyncapi.yaml"),
            Self::NotificationIntents => {
                include_str!("../../api/peers/notification-intents-asyncapi.yaml")
            }
        }
    }

    /// Parses it.
    pub fn load(self) -> Result<Contract, ContractError> {
        Contract::parse(self.text())
    }
}

/// Why a contract does not say what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The text is no YAML, or names a key twice.
    #[error("unreadable contract")]
    Yaml(#[from] serde_norway::Error),
    /// It is YAML that JSON has no form for.
    #[error("contract is no JSON document")]
    Json(#[from] serde_json::Error),
    /// A pointer leads nowhere.
    #[error("nothing at {0}")]
    Missing(Pointer),
    /// A reference leaves the document.
    #[error("{at} refers to {target}, outside the document")]
    Foreign {
        /// Where the reference stands.
        at: Pointer,
        /// What it says.
        target: String,
    },
    /// References go round in circles.
    #[error("endless references at {0}")]
    Endless(Pointer),
    /// There is no such operation.
    #[error("no operation {0}")]
    NoOperation(String),
    /// The operation does not document the status.
    #[error("operation {operation} does not document status {status}")]
    NoStatus {
        /// The operation id.
        operation: String,
        /// The status.
        status: u16,
    },
    /// There is no such message.
    #[error("no message {0}")]
    NoMessage(String),
    /// A schema is none.
    #[error("{at} is no valid schema: {reason}")]
    Schema {
        /// Where it stands.
        at: Pointer,
        /// What is wrong.
        reason: String,
    },
}

/// A loaded contract, OpenAPI or AsyncAPI.
#[derive(Clone, Debug)]
pub struct Contract {
    root: Value,
}

/// Longest chain of references followed.
const MAX_REFERENCES: usize = 16;

impl Contract {
    /// Parses a contract's text. A key given twice is an error.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        // SUBTLE: not straight into a JSON value, which would let the last of two equal keys win.
        let yaml: serde_norway::Value = serde_norway::from_str(text)?;
        Ok(Self { root: serde_json::to_value(yaml)? })
    }

    /// Takes a document that is parsed already.
    pub fn from_value(root: Value) -> Self {
        Self { root }
    }

    /// The whole document.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// What stands at a place, references not followed.
    pub fn at(&self, pointer: &Pointer) -> Result<&Value, ContractError> {
        self.root.pointer(pointer.as_str()).ok_or_else(|| ContractError::Missing(pointer.clone()))
    }

    /// Where a place really is, once its references are followed.
    pub fn follow(&self, pointer: &Pointer) -> Result<Pointer, ContractError> {
        let mut place = pointer.clone();
        for _ in 0..MAX_REFERENCES {
            match self.at(&place)?.get("$ref").and_then(Value::as_str) {
                None => return Ok(place),
                Some(target) => {
                    place = Pointer::of_reference(target).ok_or_else(|| {
                        ContractError::Foreign { at: place.clone(), target: target.into() }
                    })?;
                }
            }
        }
        Err(ContractError::Endless(pointer.clone()))
    }

    /// A validator of the schema at a place. Formats such as `date-time` are checked.
    pub fn validator_at(&self, schema: &Pointer) -> Result<Validator, ContractError> {
        self.at(schema)?;
        // The document itself is the schema's resource, so that its local references resolve; its
        // own members are no keywords and are passed over.
        let mut resource = self.root.clone();
        resource["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        resource["$ref"] = json!(schema.to_reference());
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&resource)
            .map_err(|error| ContractError::Schema {
                at: schema.clone(),
                reason: error.to_string(),
            })
    }

    /// The operation with this id.
    pub fn operation(&self, id: &str) -> Result<Operation, ContractError> {
        let found = self.operations()?.into_iter().find(|operation| operation.id == id);
        found.ok_or_else(|| ContractError::NoOperation(id.into()))
    }

    /// What an answer of this operation with this status must look like.
    pub fn response_check(&self, id: &str, status: u16) -> Result<ResponseCheck, ContractError> {
        let mut operation = self.operation(id)?;
        match operation.responses.remove(&status) {
            Some(response) => ResponseCheck::new(self, response),
            None => Err(ContractError::NoStatus { operation: id.into(), status }),
        }
    }

    /// A validator of this operation's request body; none if it takes no body.
    pub fn request_validator(&self, id: &str) -> Result<Option<Validator>, ContractError> {
        let schema = self.operation(id)?.request;
        schema.map(|schema| self.validator_at(&schema)).transpose()
    }

    /// A validator of the payload of the message with this name, such as `game_finished`.
    pub fn message_validator(&self, name: &str) -> Result<Validator, ContractError> {
        match self.messages()?.into_iter().find(|message| message.name == name) {
            Some(message) => self.validator_at(&message.payload),
            None => Err(ContractError::NoMessage(name.into())),
        }
    }
}

/// Game Master's own REST contract.
pub fn openapi() -> Result<Contract, ContractError> {
    Document::Internal.load()
}

/// What an answer of Game Master to this operation, with this status, must look like.
pub fn validator_for(operation_id: &str, status: u16) -> Result<ResponseCheck, ContractError> {
    openapi()?.response_check(operation_id, status)
}

/// What Game Master answers where the path is unknown: 404 `not_found`.
pub fn unknown_path() -> Result<ResponseCheck, ContractError> {
    outside("unknown_path")
}

/// What Game Master answers where the path is known and the method is not: 405 `invalid_request`.
pub fn method_not_allowed() -> Result<ResponseCheck, ContractError> {
    outside("method_not_allowed")
}

fn outside(case: &str) -> Result<ResponseCheck, ContractError> {
    let contract = openapi()?;
    let place = Pointer::root().child("x-outside-operations").child(case);
    let response = operation::response_at(&contract, &place)?;
    ResponseCheck::new(&contract, response)
}
