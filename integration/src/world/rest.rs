//! Bringing a world to rest, so that what must hold in the end can be looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use machine::{Runtime, Status};
use net::TokioNet;
use serde_json::Value;
use service::ports::{Store, SystemEntropy};
use service::postgres::{Postgres, PostgresSettings};
use service::redis_streams::{RedisSettings, RedisStreams};
use tokio::task::JoinSet;

use super::{Part, World, nothing};
use crate::harness::{everything, until};

/// Records read at a time.
const PAGE: usize = 500;
/// Games stopped at a time.
const STOPPED_AT_ONCE: usize = 16;

impl World {
    /// The store of this world's Game Masters, over a connection of its own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn store(&self) -> Arc<dyn Store> {
        let settings = PostgresSettings::new(self.database.url.as_str().into());
        let store = Postgres::open(settings, Arc::new(TokioNet), Arc::new(SystemEntropy));
        Arc::new(store.expect("a store"))
    }

    /// The streams of this world, over a connection of its own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn streams(&self) -> Arc<RedisStreams> {
        let settings = RedisSettings {
            url: self.redis_url.parse().expect("a URL"),
            limits: net::RedisLimits::default(),
            key_prefix: self.redis_prefix.clone(),
        };
        Arc::new(RedisStreams::new(Arc::new(TokioNet), settings))
    }

    /// Every record there is.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn records(&self, store: &dyn Store) -> Vec<Arc<Runtime>> {
        let mut records: Vec<Arc<Runtime>> = vec![];
        loop {
            let after = records.last().map(|record| record.game_id.clone());
            let page = store.list(None, after.as_ref(), PAGE).await.expect("the store answers");
            if page.is_empty() {
                return records;
            }
            records.extend(page);
        }
    }

    /// What Game Master has told Lobby of a game, in order.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn told(&self, game: &str) -> Vec<Value> {
        let entries = everything(&*self.streams(), "gm:lobby_events").await.expect("Redis answers");
        let events = entries.iter().filter_map(|entry| serde_json::from_slice(&entry.payload).ok());
        events.filter(|event: &Value| event["game_id"] == game).collect()
    }

    /// Whether a process of the world is there.
    pub(super) async fn runs(&self, part: Part) -> bool {
        self.processes.lock().await.contains_key(&part)
    }

    /// Has every part behave from now on.
    pub async fn behave(&self) {
        for part in [Part::Lobby, Part::Rtm, Part::Gateway, Part::Notification] {
            if self.runs(part).await {
                self.ask(part).misbehave(nothing()).await;
            }
        }
        for engine in self.engines().await {
            // One that is just being started again behaves anyway.
            let path = "/_misbehave";
            let plan = nothing();
            let _ = engine.try_call(http::Method::POST, path, &[], Some(&plan)).await;
        }
    }

    /// Every engine that is up.
    async fn engines(&self) -> Vec<super::Ask> {
        let all = self.rtm().ask().get("/api/v1/internal/runtimes").await.unwrap_or_default();
        let all = all["runtimes"].as_array().cloned().unwrap_or_default();
        let ports = all.iter().filter(|seen| seen["is_up"] == true);
        let ports = ports.filter_map(|seen| u16::try_from(seen["port"].as_u64()?).ok());
        let mut places: Vec<std::net::SocketAddr> =
            ports.map(|port| (self.ports.first().ip(), port).into()).collect();
        if self.runs(Part::Engines).await {
            places.extend(super::parts::OTHER_ENGINES.map(|place| self.port(place)));
        }
        places.into_iter().map(|at| super::Ask::new("engine", at, None)).collect()
    }

    /// Waits until no game is asked anything any more, then stops those that go on. Answers which
    /// ones ran until they were stopped.
    pub(super) async fn come_to_rest(&self, store: &dyn Store) -> BTreeMap<String, bool> {
        let mut ran = BTreeMap::new();
        let mut stopping = JoinSet::new();
        for record in self.records(store).await {
            let game = record.game_id.to_string();
            let at_rest = until(&format!("{game} to come to rest"), async || {
                let record = store.load(&record.game_id).await.ok()?;
                let Some(record) = record else { return Some(None) };
                is_calm(&record).then_some(Some(record.status()))
            })
            .await;
            let is_known = self.rtm().runtime(&game).await.is_some();
            let Some(status) = at_rest else { continue };
            // One that was stopped before may not have run until then.
            ran.insert(game.clone(), matches!(status, Status::Running | Status::Finished));
            if status.is_final() || !is_known {
                continue;
            }
            if stopping.len() >= STOPPED_AT_ONCE {
                stopping.join_next().await;
            }
            let gm = self.gm();
            stopping.spawn(async move {
                until(&format!("{game} to be stopped"), async || {
                    let answer = gm.stop(&game).await;
                    // Finished meanwhile, or on its way there.
                    let is_over = answer.status == StatusCode::CONFLICT
                        && gm.runtime(&game).await.is_some_and(|seen| seen.status() == "finished");
                    (answer.status.is_success() || is_over).then_some(())
                })
                .await;
            });
        }
        while let Some(stopped) = stopping.join_next().await {
            assert!(stopped.is_ok(), "a game cannot be stopped");
        }
        ran
    }
}

/// Whether nothing will come of a record by itself, but turns.
fn is_calm(record: &Runtime) -> bool {
    if record.pending().is_some() {
        return false;
    }
    match record.status() {
        Status::Running | Status::Stopped | Status::Finished => true,
        // It waits for an operator: an engine that answers and refuses is not asked again.
        Status::GenerationFailed => record.work().is_none() && record.retry_at().is_none(),
        Status::Starting | Status::GenerationInProgress | Status::EngineUnreachable => false,
    }
}
