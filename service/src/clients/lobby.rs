//! Lobby over HTTP.

use async_trait::async_trait;
use http::Method;
use machine::{GameId, UserId};
use net::HttpClient;
use serde::Deserialize;

use super::json::{self, NoAnswer};
use crate::ports::{LobbyApi, LobbyError, Membership, MembershipStatus};
use crate::telemetry::labels::Peer;

/// See the module.
pub struct HttpLobby {
    client: HttpClient,
    base: String,
}

#[derive(Deserialize)]
struct MembershipsResponse {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    user_id: UserId,
    status: MembershipStatus,
}

impl HttpLobby {
    /// A client of the Lobby at `base`, `http://host:port`.
    pub fn new(client: HttpClient, base: String) -> Self {
        Self { client, base }
    }
}

#[async_trait]
impl LobbyApi for HttpLobby {
    async fn memberships(&self, game: &GameId) -> Result<Vec<Membership>, LobbyError> {
        let uri = format!("{}/api/v1/internal/games/{game}/memberships", self.base);
        let answer = async {
            let body =
                json::call((Peer::Lobby, &self.client), Method::GET, uri, None, None).await?;
            json::read::<MembershipsResponse>(&body)
        };
        match answer.await {
            Ok(list) => {
                let membership = |m: Member| Membership { user_id: m.user_id, status: m.status };
                Ok(list.members.into_iter().map(membership).collect())
            }
            // A game Lobby does not know has no members.
            Err(NoAnswer::Refused { status: 404, .. }) => Ok(vec![]),
            Err(NoAnswer::Refused { status, .. }) => Err(LobbyError(format!("answered {status}"))),
            Err(
                NoAnswer::NotSent(why)
                | NoAnswer::Lost(why)
                | NoAnswer::Unwell(why)
                | NoAnswer::Unreadable(why),
            ) => Err(LobbyError(why)),
        }
    }
}
