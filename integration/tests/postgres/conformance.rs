//! The suite that every store passes, and the same story told to two stores.

use std::sync::Arc;

use service::conformance::{Pair, store};
use service::embedded::Embedded;
use service::ports::SystemClock;

use crate::support::{OnServer, open, settings, shared};

/// Says how many random sequences there are, where that is not [`SEQUENCES`].
const VARIABLE: &str = "GAMEMASTER_TEST_SEQUENCES";
/// How many random sequences, and how long each is.
const SEQUENCES: u64 = 16;
const STEPS: usize = 100;
/// How many stories are told to two stores, and how long each is.
const STORIES: u64 = 4;
const STORY_STEPS: usize = 150;

/// So many, and as many times that as the environment asks for more sequences.
fn as_asked(count: u64) -> u64 {
    let Ok(text) = std::env::var(VARIABLE) else { return count };
    let asked: u64 = text.parse().expect("GAMEMASTER_TEST_SEQUENCES is a number");
    (count * asked).div_ceil(SEQUENCES)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_every_promise() {
    store::directed(&mut OnServer::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_agrees_with_its_model() {
    let mut factory = OnServer::default();
    for seed in 0..as_asked(SEQUENCES) {
        store::sequence(&mut factory, seed, STEPS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_gives_the_same_answers() {
    let mut claimed = 0;
    for seed in 0..as_asked(STORIES) {
        let (_, database) = shared().await;
        let embedded = Arc::new(Embedded::in_memory(Arc::new(SystemClock)));
        let postgres = Arc::new(open(settings(&database.url)));
        let mut pair = Pair::new(embedded, postgres, seed).await;
        pair.steps(STORY_STEPS).await;
        claimed += pair.compare().await;
    }
    assert!(claimed > 10, "only {claimed} claims came to anything");
}
