//! From an HTTP request to a [`Call`], strictly.

use std::net::SocketAddr;

use http::{Method, request::Parts};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::misbehaviour::{Operation, Plan};
use crate::http::{
    MAX_BODY_BYTES, Problem, only_known, query, read_json, require_loopback, segments,
};

/// A well-formed request.
#[derive(Debug)]
pub(super) enum Call {
    Contract(ContractCall),
    Log,
    GetPlan,
    SetPlan(Plan),
}

/// A well-formed request of the contract.
#[derive(Debug)]
pub(super) enum ContractCall {
    Init(InitBody),
    Status,
    Turn { expected_turn: u32 },
    Banish(BanishBody),
    Command(CommandsBody),
    Order(CommandsBody),
    Report { player: String, turn: u32 },
    Healthz,
}

impl ContractCall {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Init(_) => Operation::Init,
            Self::Status => Operation::Status,
            Self::Turn { .. } => Operation::Turn,
            Self::Banish(_) => Operation::Banish,
            Self::Command(_) => Operation::Command,
            Self::Order(_) => Operation::Order,
            Self::Report { .. } => Operation::Report,
            Self::Healthz => Operation::Healthz,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InitBody {
    pub(super) races: Vec<InitRace>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InitRace {
    pub(super) race_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BanishBody {
    pub(super) race_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandsBody {
    pub(super) actor: String,
    /// Decoded one by one, so that a refusal can name the element.
    pub(super) cmd: Vec<Box<RawValue>>,
}

/// Reads a request; `peer` is who sent it.
pub(super) async fn parse(
    parts: &Parts,
    body: Incoming,
    peer: Option<SocketAddr>,
) -> Result<Call, Problem> {
    let segments = segments(parts.uri.path())?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = query(&parts.uri)?;
    let headers = &parts.headers;
    let method = &parts.method;
    // The path decides first: a wrong method on a known path is another mistake than a wrong path.
    let (allowed, parameters): (&[Method], &[&str]) = match segments[..] {
        ["healthz"] | ["_log"] | ["api", "v1", "admin", "status"] => (&[Method::GET], &[]),
        ["_misbehave"] => (&[Method::GET, Method::POST], &[]),
        ["api", "v1", "admin", "init"] | ["api", "v1", "admin", "race", "banish"] => {
            (&[Method::POST], &[])
        }
        ["api", "v1", "admin", "turn"] => (&[Method::PUT], &["expected_turn"]),
        ["api", "v1", "command"] | ["api", "v1", "order"] => (&[Method::PUT], &[]),
        ["api", "v1", "report"] => (&[Method::GET], &["player", "turn"]),
        _ => return Err(Problem::not_found()),
    };
    if !allowed.contains(method) {
        return Err(Problem::method_not_allowed());
    }
    only_known(&query, parameters)?;
    let required = |name: &str| {
        let missing = || Problem::invalid_request(format!("query: `{name}` is missing"));
        query.get(name).map(String::as_str).ok_or_else(missing)
    };

    let contract = match segments[..] {
        ["healthz"] => ContractCall::Healthz,
        ["_log"] => return Ok(Call::Log),
        ["_misbehave"] => {
            require_loopback(peer)?;
            if method == Method::GET {
                return Ok(Call::GetPlan);
            }
            let plan: Plan = read_json(headers, body, MAX_BODY_BYTES).await?;
            plan.check().map_err(Problem::invalid_request)?;
            return Ok(Call::SetPlan(plan));
        }
        ["api", "v1", "admin", "status"] => ContractCall::Status,
        ["api", "v1", "admin", "init"] => {
            ContractCall::Init(read_json(headers, body, MAX_BODY_BYTES).await?)
        }
        ["api", "v1", "admin", "race", "banish"] => {
            ContractCall::Banish(read_json(headers, body, MAX_BODY_BYTES).await?)
        }
        ["api", "v1", "admin", "turn"] => ContractCall::Turn {
            // Asked for even by an engine that ignores it: a caller without it is not GM.
            expected_turn: turn_number(required("expected_turn")?)?,
        },
        ["api", "v1", "command"] => {
            ContractCall::Command(read_json(headers, body, MAX_BODY_BYTES).await?)
        }
        ["api", "v1", "order"] => {
            ContractCall::Order(read_json(headers, body, MAX_BODY_BYTES).await?)
        }
        ["api", "v1", "report"] => ContractCall::Report {
            player: required("player")?.to_owned(),
            turn: turn_number(required("turn")?)?,
        },
        _ => return Err(Problem::not_found()),
    };
    Ok(Call::Contract(contract))
}

/// Decimal digits only: `u32::from_str` would take `+1` as well.
fn turn_number(text: &str) -> Result<u32, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Problem::invalid_request(format!("query: `{text}` is not a turn number")))
}
