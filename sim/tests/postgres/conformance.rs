//! The suite that every store passes, with the production adapter over the simulated server.

use service::conformance::store;
use sim::postgres::{Conduct, Span};

use crate::support::OnHost;

/// How many random sequences, and how long each is.
const SEQUENCES: u64 = 12;
const STEPS: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_every_promise() {
    store::directed(&mut OnHost::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_every_promise_when_statements_take_their_time() {
    let conduct = Conduct {
        work_ms: Span { least: 0, most: 3 },
        answer_ms: Span { least: 0, most: 1 },
        ..Conduct::default()
    };
    store::directed(&mut OnHost::that(conduct)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_agrees_with_its_model() {
    let mut factory = OnHost::default();
    for seed in 0..SEQUENCES {
        store::sequence(&mut factory, seed, STEPS).await;
    }
}
