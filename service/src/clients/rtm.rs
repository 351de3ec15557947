//! Runtime Manager over HTTP.

use async_trait::async_trait;
use http::Method;
use machine::{ContainerId, GameId, ImageRef, RtmFailure, StopReason};
use net::HttpClient;
use serde::{Deserialize, Serialize};

use super::json::{self, NoAnswer};
use crate::ports::RtmApi;
use crate::telemetry::labels::Peer;

/// See the module.
pub struct HttpRtm {
    client: HttpClient,
    base: String,
}

#[derive(Serialize)]
struct StopRequest<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
struct PatchRequest<'a> {
    image_ref: &'a str,
}

#[derive(Deserialize)]
struct PatchResponse {
    container_id: ContainerId,
}

impl HttpRtm {
    /// A client of the Runtime Manager at `base`, `http://host:port`.
    pub fn new(client: HttpClient, base: String) -> Self {
        Self { client, base }
    }

    async fn post(
        &self,
        game: &GameId,
        verb: &str,
        request: &(impl Serialize + Sync),
    ) -> Result<bytes::Bytes, NoAnswer> {
        let uri = format!("{}/api/v1/internal/runtimes/{game}/{verb}", self.base);
        let body = json::body(request)?;
        json::call((Peer::Rtm, &self.client), Method::POST, uri, Some(body), None).await
    }
}

fn failure(no_answer: NoAnswer) -> RtmFailure {
    match no_answer {
        NoAnswer::Refused { status, code, message } => RtmFailure {
            refused: true,
            message: format!("Runtime Manager: {status} {code}: {message}"),
        },
        NoAnswer::NotSent(why)
        | NoAnswer::Lost(why)
        | NoAnswer::Unwell(why)
        | NoAnswer::Unreadable(why) => {
            RtmFailure { refused: false, message: format!("Runtime Manager: {why}") }
        }
    }
}

#[async_trait]
impl RtmApi for HttpRtm {
    async fn stop(&self, game: &GameId, reason: &StopReason) -> Result<(), RtmFailure> {
        let request = StopRequest { reason: reason.as_str() };
        self.post(game, "stop", &request).await.map(drop).map_err(failure)
    }

    async fn patch(&self, game: &GameId, image: &ImageRef) -> Result<ContainerId, RtmFailure> {
        let request = PatchRequest { image_ref: image.as_str() };
        let answer = self.post(game, "patch", &request).await.map_err(failure)?;
        json::read::<PatchResponse>(&answer).map(|r| r.container_id).map_err(failure)
    }
}
