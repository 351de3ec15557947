//! The reference notification service: it reads `notification:intents` and keeps what it would have
//! sent, once for each idempotency key.

mod routes;

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::service::service_fn;
use net::{Listener, ServerLimits};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    bus::{Bus, EntryId, FollowLimits, Follower, follow, streams},
    env::{Env, Observer},
    front::Front,
    messages::NotificationIntent,
    state_file::{StateError, StateFile},
};

/// Notifications kept, and with them the keys that a repeated intent is recognised by.
pub const MAX_KEPT: usize = 10_000;

/// Longest idempotency key taken.
pub const MAX_KEY_BYTES: usize = 256;

/// What would have been sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// What was asked for.
    pub intent: NotificationIntent,
    /// When it was taken up.
    pub sent_at_ms: u64,
}

/// What became of the intents read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Taken up.
    pub sent: u64,
    /// Taken up before, under the same key.
    pub repeated: u64,
    /// Not readable, or without a usable key.
    pub undecodable: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    sent: VecDeque<Sent>,
    keys: BTreeSet<String>,
    at: EntryId,
    counters: Counters,
}

impl Saved {
    /// Takes an intent up, unless its key was there before.
    fn take_up(&mut self, intent: NotificationIntent, now_ms: u64) -> Option<Sent> {
        if !self.keys.insert(intent.idempotency_key.clone()) {
            self.counters.repeated += 1;
            return None;
        }
        self.counters.sent += 1;
        let sent = Sent { intent, sent_at_ms: now_ms };
        self.sent.push_back(sent.clone());
        if self.sent.len() > MAX_KEPT
            && let Some(oldest) = self.sent.pop_front()
        {
            self.keys.remove(&oldest.intent.idempotency_key);
        }
        Some(sent)
    }
}

/// The service; cloning gives another window into the same one.
#[derive(Clone)]
pub struct Notification {
    state: StateFile<Saved>,
    env: Env,
    observer: Observer<Sent>,
    front: Front,
}

impl Notification {
    /// Reads the state.
    pub async fn open(
        state_file: Option<PathBuf>,
        env: Env,
        observer: Observer<Sent>,
    ) -> Result<Self, StateError> {
        let state = StateFile::open(state_file).await?;
        Ok(Self { state, env, observer, front: Front::default() })
    }

    /// With its state in memory: a clone that is kept goes on where another one ended.
    pub fn in_memory(env: Env, observer: Observer<Sent>) -> Self {
        Self { state: StateFile::in_memory(), env, observer, front: Front::default() }
    }

    /// Works until `stop`.
    pub async fn run(&self, bus: Arc<dyn Bus>, limits: FollowLimits, stop: CancellationToken) {
        follow(&*bus, streams::NOTIFICATION_INTENTS, self, limits, stop).await;
    }

    /// Tells whoever asks over HTTP what it would have sent, until `stop`.
    pub async fn serve(
        &self,
        listener: Box<dyn Listener>,
        limits: ServerLimits,
        stop: CancellationToken,
    ) {
        let asked = self.clone();
        let service = service_fn(move |request| routes::handle(asked.clone(), request));
        net::serve(listener, service, limits, stop).await;
    }

    /// Up to `limit` of what would have been sent after the first `after`, and how many to pass
    /// over for what comes next.
    pub async fn sent_after(&self, after: usize, limit: usize) -> (Vec<Sent>, usize) {
        self.state
            .read(|state| {
                let ever = usize::try_from(state.counters.sent).unwrap_or(usize::MAX);
                let forgotten = ever.saturating_sub(state.sent.len());
                let from = after.max(forgotten);
                let page: Vec<Sent> =
                    state.sent.iter().skip(from - forgotten).take(limit).cloned().collect();
                let next = from + page.len();
                (page, next)
            })
            .await
    }

    /// What would have been sent, oldest first.
    pub async fn sent(&self) -> Vec<Sent> {
        self.state.read(|state| state.sent.iter().cloned().collect()).await
    }

    /// What became of the intents read.
    pub async fn counters(&self) -> Counters {
        self.state.read(|state| state.counters).await
    }

    /// Waits for a notification as `wanted`: `None` when there was none within `limit`.
    pub async fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&NotificationIntent) -> bool,
    ) -> Option<Sent> {
        let look = |state: &Saved| state.sent.iter().find(|sent| wanted(&sent.intent)).cloned();
        self.state.wait_for(limit, look).await
    }

    /// Waits until the counters are as `wanted`: `None` when they were not within `limit`.
    pub async fn wait_for_counters(
        &self,
        limit: Duration,
        wanted: impl Fn(&Counters) -> bool,
    ) -> Option<Counters> {
        let look = |state: &Saved| Some(state.counters).filter(|counters| wanted(counters));
        self.state.wait_for(limit, look).await
    }
}

#[async_trait]
impl Follower for Notification {
    type Error = StateError;

    async fn position(&self) -> EntryId {
        self.state.read(|state| state.at).await
    }

    async fn apply(&self, entries: &[(EntryId, Bytes)]) -> Result<(), StateError> {
        let now_ms = self.env.now_ms();
        let fresh = self
            .state
            .update(|state| {
                let mut fresh = Vec::new();
                for (id, payload) in entries {
                    match serde_json::from_slice::<NotificationIntent>(payload) {
                        Ok(intent) if has_usable_key(&intent) => {
                            fresh.extend(state.take_up(intent, now_ms));
                        }
                        Ok(_) => {
                            state.counters.undecodable += 1;
                            tracing::warn!(%id, "intent without a usable key passed over");
                        }
                        Err(error) => {
                            state.counters.undecodable += 1;
                            tracing::warn!(%id, %error, "intent passed over");
                        }
                    }
                    state.at = *id;
                }
                fresh
            })
            .await?;
        for sent in &fresh {
            (self.observer)(sent);
        }
        Ok(())
    }
}

fn has_usable_key(intent: &NotificationIntent) -> bool {
    (1..=MAX_KEY_BYTES).contains(&intent.idempotency_key.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_bounded_number_and_their_keys() {
        let mut state = Saved::default();
        let intent = |key: usize| NotificationIntent {
            notification_type: "game.turn.ready".into(),
            producer: "game_master".into(),
            audience_kind: "user".into(),
            recipient_user_ids: vec![],
            idempotency_key: key.to_string(),
            occurred_at_ms: 0,
            payload: serde_json::Value::Null,
        };
        for key in 0..=MAX_KEPT {
            assert!(state.take_up(intent(key), 1).is_some());
        }
        assert_eq!((state.sent.len(), state.keys.len()), (MAX_KEPT, MAX_KEPT));
        assert!(state.take_up(intent(MAX_KEPT), 1).is_none());
        assert!(!state.keys.contains("0"), "the oldest went");
    }
}
