//! The gateway: the way in for players. It knows who a player is (by a fixed table of tokens) and
//! passes commands, orders and report requests on to Game Master under that user's id.

mod player;
mod server;

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use net::{CallError, HttpClient};
use serde::Serialize;

use crate::http::{ErrorEnvelope, percent_encode};

pub use server::{GatewayServer, Handled};

pub use player::{Player, PlayerEnd, PlayerEvent, PlayerOutcome, PlayerRequest};

const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const CALLER: HeaderName = HeaderName::from_static("x-galaxy-caller");

/// Who may play: token to user id.
#[derive(Clone, Default)]
pub struct TokenTable(BTreeMap<String, String>);

impl TokenTable {
    /// The user a token belongs to.
    pub fn user_id(&self, token: &str) -> Option<&str> {
        self.0.get(token).map(String::as_str)
    }
}

impl<T: Into<String>, U: Into<String>> FromIterator<(T, U)> for TokenTable {
    fn from_iter<I: IntoIterator<Item = (T, U)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(token, user)| (token.into(), user.into())).collect())
    }
}

/// Tokens are secrets: only users are shown.
impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values()).finish()
    }
}

/// Where Game Master is, and who plays.
#[derive(Clone)]
pub struct GatewayOptions {
    /// `http://host:port`.
    pub base_url: String,
    /// The gateway's own token at Game Master, where it wants one.
    pub api_token: Option<String>,
    /// The players.
    pub tokens: TokenTable,
    /// Longest time for one call.
    pub call_timeout: Duration,
}

impl fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayOptions")
            .field("base_url", &self.base_url)
            .field("tokens", &self.tokens)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a player has no answer from the engine.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The token is in no table.
    #[error("unknown token")]
    Unauthenticated,
    /// Game Master refused.
    #[error("refused with {status} {code}: {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its code; `unreadable` where the answer was no error envelope.
        code: String,
        /// Its message.
        message: String,
    },
    /// No answer.
    #[error(transparent)]
    Unreachable(#[from] CallError),
    /// The request cannot be written down.
    #[error("cannot build the request: {0}")]
    Unwritable(String),
}

/// Calls Game Master for players. Never repeats a call: whether to do so is the player's choice.
#[derive(Debug, Clone)]
pub struct Gateway {
    client: HttpClient,
    options: GatewayOptions,
}

impl Gateway {
    /// A gateway that calls through `client`.
    pub fn new(client: HttpClient, mut options: GatewayOptions) -> Self {
        options.base_url.truncate(options.base_url.trim_end_matches('/').len());
        Self { client, options }
    }

    /// The user a token belongs to.
    pub fn authenticate(&self, token: &str) -> Result<&str, GatewayError> {
        self.options.tokens.user_id(token).ok_or(GatewayError::Unauthenticated)
    }

    /// `internalExecuteCommands`: acts at once; the engine's answer.
    pub async fn execute_commands<C: Serialize>(
        &self,
        token: &str,
        game_id: &str,
        commands: &[C],
    ) -> Result<Bytes, GatewayError> {
        let path = format!("games/{}/commands", percent_encode(game_id));
        self.call(token, Method::POST, &path, Some(commands_body(commands)?)).await
    }

    /// `internalPutOrders`: carried out with the next turn; the engine's answer.
    pub async fn put_orders<C: Serialize>(
        &self,
        token: &str,
        game_id: &str,
        commands: &[C],
    ) -> Result<Bytes, GatewayError> {
        let path = format!("games/{}/orders", percent_encode(game_id));
        self.call(token, Method::PUT, &path, Some(commands_body(commands)?)).await
    }

    /// `internalGetReport`: the engine's answer.
    pub async fn report(
        &self,
        token: &str,
        game_id: &str,
        turn: u32,
    ) -> Result<Bytes, GatewayError> {
        let path = format!("games/{}/reports/{turn}", percent_encode(game_id));
        self.call(token, Method::GET, &path, None).await
    }

    async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, GatewayError> {
        let user_id = self.authenticate(token)?;
        let uri = format!("{}/api/v1/internal/{path}", self.options.base_url);
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(USER_ID, user_id)
            .header(CALLER, HeaderValue::from_static("gateway"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(api_token) = &self.options.api_token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {api_token}"))
                .map_err(|error| GatewayError::Unwritable(error.to_string()))?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request
            .body(body.unwrap_or_default())
            .map_err(|error| GatewayError::Unwritable(error.to_string()))?;
        let response = self.client.send_within(request, self.options.call_timeout).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(refusal(head.status, &body))
    }
}

#[derive(Serialize)]
struct CommandsBody<'a, C> {
    commands: &'a [C],
}

fn commands_body<C: Serialize>(commands: &[C]) -> Result<Bytes, GatewayError> {
    serde_json::to_vec(&CommandsBody { commands })
        .map(Bytes::from)
        .map_err(|error| GatewayError::Unwritable(error.to_string()))
}

fn refusal(status: StatusCode, body: &[u8]) -> GatewayError {
    match serde_json::from_slice::<ErrorEnvelope>(body) {
        Ok(ErrorEnvelope { error }) => {
            GatewayError::Refused { status, code: error.code, message: error.message }
        }
        Err(error) => GatewayError::Refused {
            status,
            code: "unreadable".to_owned(),
            message: error.to_string(),
        },
    }
}
