//! The HTTP API of `api/internal-openapi.yaml`.
//!
//! ```text
//!   net::serve --- front ----- operation   which one? else 404, 405
//!                    |
//!                    |-- probes            answered at once, whatever the load
//!                    |-- tokens            who asks, and may they? else 401, 403
//!                    |-- places            a place in flight, for the game too? else 503
//!                    |-- headers, body     what exactly; bounded. else 400, 408, 413, 415
//!                    |
//!                    |-- player            commands, orders, reports: the hot path, no filters
//!                    '-- routes            everything else, as warp filters
//!                          |
//!                         Api              what the application does about it
//! ```
//!
//! * [`api`]: the application as this module sees it. Whatever arrives there is valid in form.
//! * `reply`: the one place where a refusal gets its status; every answer has the same envelope.
//! * `json`: bodies, read strictly: no key twice, nothing unknown, nothing echoed.
//! * `view`: records as JSON.
//!
//! The player routes come before warp because its filters cost more than all that Game Master does
//! for a command. The operation is found before warp too: warp cannot tell an unknown path from a
//! wrong method, and takes a trailing slash for nothing.
//!
//! Deliberately absent: compression, ranges, content negotiation (the
//! answer is JSON whatever `Accept` says), CORS.

pub mod api;
mod body;
mod claim;
mod contain;
mod cursor;
mod front;
mod headers;
mod json;
mod operation;
mod path;
mod places;
mod player;
mod query;
mod reply;
mod routes;
mod tokens;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use net::{Listener, ServerLimits};
use tokio_util::sync::CancellationToken;

pub use self::api::{
    Api, Asked, CommandList, Explained, PlayerRequest, Readiness, RegisterRequest, VersionUpdate,
};
use self::front::Front;
pub use self::tokens::{BadTokens, Tokens};
use crate::ports::Entropy;
use crate::telemetry::Telemetry;

/// Bounds of the API.
#[derive(Clone)]
pub struct HttpSettings {
    /// Of connections and heads.
    pub server: ServerLimits,
    /// A longer request body is refused with 413.
    pub max_body_bytes: usize,
    /// How long a request body may take to arrive; beyond it 408.
    pub body_timeout: Duration,
    /// Requests in flight; beyond it 503 at once.
    pub max_in_flight: usize,
    /// Requests in flight about one game; beyond it 503 at once.
    pub max_in_flight_per_game: usize,
    /// The callers' tokens. Without them everybody who can reach the listener is believed.
    pub tokens: Option<Tokens>,
    /// Where the identifier of a request comes from that brought no usable one. Without it such a
    /// request has none.
    pub request_ids: Option<Arc<dyn Entropy>>,
    /// Once cancelled, everything but the probes is refused with 503.
    pub draining: CancellationToken,
    /// What sees the requests. Without it the API has numbers of its own.
    pub telemetry: Option<Telemetry>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            server: ServerLimits::default(),
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            max_in_flight: 1024,
            max_in_flight_per_game: 64,
            tokens: None,
            request_ids: None,
            draining: CancellationToken::new(),
            telemetry: None,
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("server", &self.server)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("body_timeout", &self.body_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_in_flight_per_game", &self.max_in_flight_per_game)
            .field("tokens", &self.tokens)
            .field("request_ids", &self.request_ids.is_some())
            .field("draining", &self.draining.is_cancelled())
            .finish()
    }
}

/// Serves the API on `listener` until `shutdown`, then lets requests in flight finish within
/// [`ServerLimits::drain`].
pub async fn serve(
    listener: Box<dyn Listener>,
    api: Arc<dyn Api>,
    settings: HttpSettings,
    shutdown: CancellationToken,
) {
    let limits = ServerLimits { peer_address: false, ..settings.server.clone() };
    net::serve(listener, Front::new(api, settings).into_service(), limits, shutdown).await;
}
