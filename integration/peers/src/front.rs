//! What a neighbour's HTTP does wrong on request, whatever it serves: `/_misbehave`, from this
//! machine only.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode, request::Parts};
use hyper::body::Incoming;
use net::PeerAddr;
use serde::{Deserialize, Serialize};

use crate::http::{MAX_BODY_BYTES, Problem, Reply, json, no_content, read_json, require_loopback};

/// Longest latency a plan can ask for.
const MAX_LATENCY_MS: u64 = 600_000;

/// What to do wrong from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontPlan {
    /// Every request is answered 503.
    pub is_unavailable: bool,
    /// Wait before looking at a request.
    pub latency_ms: u64,
    /// Wait between carrying a request out and answering it.
    pub latency_after_ms: u64,
}

/// The shared handle on a neighbour's [`FrontPlan`].
#[derive(Debug, Clone, Default)]
pub struct Front(Arc<Mutex<FrontPlan>>);

impl Front {
    /// Replaces the plan.
    pub fn set(&self, plan: FrontPlan) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// The plan as it stands.
    pub fn plan(&self) -> FrontPlan {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that is about the plan, or that the plan spoils; gives back the body of
    /// any other.
    pub async fn before(&self, head: &Parts, body: Incoming) -> Result<Incoming, Reply> {
        if head.uri.path() == "/_misbehave" {
            return Err(self.about_the_plan(head, body).await.unwrap_or_else(Problem::into_reply));
        }
        let plan = self.plan();
        if plan.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(plan.latency_ms)).await;
        }
        if plan.is_unavailable { Err(unavailable().into_reply()) } else { Ok(body) }
    }

    /// To be waited for once a request was carried out, before it is answered.
    pub async fn after(&self) {
        let plan = self.plan();
        if plan.latency_after_ms > 0 {
            tokio::time::sleep(Duration::from_millis(plan.latency_after_ms)).await;
        }
    }

    async fn about_the_plan(&self, head: &Parts, body: Incoming) -> Result<Reply, Problem> {
        from_this_machine(head)?;
        if head.method == Method::GET {
            return Ok(json(StatusCode::OK, &self.plan()));
        }
        if head.method != Method::POST {
            return Err(Problem::method_not_allowed());
        }
        let plan: FrontPlan = read_json(&head.headers, body, MAX_BODY_BYTES).await?;
        if plan.latency_ms.max(plan.latency_after_ms) > MAX_LATENCY_MS {
            let message = format!("a latency is at most {MAX_LATENCY_MS} ms");
            return Err(Problem::invalid_request(message));
        }
        self.set(plan);
        Ok(no_content())
    }
}

/// Refuses a request about misbehaviour that comes from elsewhere.
pub fn from_this_machine(head: &Parts) -> Result<(), Problem> {
    require_loopback(head.extensions.get::<PeerAddr>().map(|peer| peer.0))
}

/// What a neighbour that was told to be unavailable answers.
pub fn unavailable() -> Problem {
    let message = "told to be unavailable";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message)
}
