//! Games that come and go: Lobby makes them, Runtime Manager starts an engine for each, Game Master
//! takes over and plays them to their end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stage::{EACH_SECOND, PLAYERS, VERSION};
use crate::harness::Client;

/// Between two looks at one.
const LOOK: Duration = Duration::from_millis(300);
/// Before a start that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct Guests {
    /// Those that were begun.
    pub begun: BTreeSet<String>,
    /// Those that were played to their end, as Lobby knows it.
    pub finished: BTreeSet<String>,
    /// Starts that failed, and were asked for again.
    pub failed_starts: u64,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Visits(Arc<Mutex<Guests>>);

impl Visits {
    pub(super) fn guests(&self) -> Guests {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One after the other, until `stop`; the last one is still waited for, until `end`.
    pub(super) async fn come(
        self,
        seat: usize,
        lobby: SocketAddr,
        (stop, end): (CancellationToken, CancellationToken),
    ) {
        let lobby = Client::new(lobby);
        let mut number = 0;
        while !stop.is_cancelled() {
            let game = format!("guest-{seat}-{number}");
            number += 1;
            self.lock().begun.insert(game.clone());
            let played = end.run_until_cancelled(self.play(&lobby, &game)).await;
            if played.is_none() {
                return;
            }
            self.lock().finished.insert(game);
        }
    }

    async fn play(&self, lobby: &Client, game: &str) {
        let path = format!("/api/v1/games/{game}");
        let members: Vec<Value> = PLAYERS
            .iter()
            .map(|(user, race, _)| json!({ "user_id": user, "race_name": race }))
            .collect();
        let draft = json!({
            "game_id": game,
            "engine_version": VERSION,
            "turn_schedule": EACH_SECOND,
            "members": members,
        });
        let mut asked_again = Instant::now();
        loop {
            // Lobby is killed as everybody is: what it says is asked again, and again.
            let known = lobby.get(&path).await;
            let status = known.as_ref().and_then(|game| game["status"].as_str());
            match status {
                None => drop(lobby.call(Method::POST, "/api/v1/games", &[], Some(&draft)).await),
                Some("draft") => self.start(lobby, &path).await,
                Some("start_failed") if asked_again.elapsed() > AGAIN => {
                    asked_again = Instant::now();
                    self.lock().failed_starts += 1;
                    self.start(lobby, &path).await;
                }
                Some("finished") => return,
                Some(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn start(&self, lobby: &Client, path: &str) {
        // Whether it was heard, the next look shows.
        drop(lobby.call(Method::POST, &format!("{path}/start"), &[], None).await);
    }
}
