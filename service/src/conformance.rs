//! What every implementation of [`Store`] and [`Streams`] must do, as tests that each one runs: the
//! embedded one always, PostgreSQL and Redis in the integration tests.
//!
//! [`store::directed`] and [`streams::directed`] go through the promises of the traits one by one;
//! [`store::sequence`] and [`streams::sequence`] make random operations and compare every answer
//! with a plain model, written without a look at any implementation. A sequence is drawn from a
//! seed by a small generator of its own, so that it is the same everywhere and this suite needs no
//! test library; whoever runs it draws the seeds and the lengths (the shorter one that fails is the
//! better story).
//!
//! A failure panics, with the step and the seed in the message. The model asks for no more than the
//! traits promise: places may have gaps, ties any order, trimmed entries may stay.
#![expect(clippy::expect_used, clippy::panic, reason = "these are tests, by another name")]

mod alike;
mod attendance;
mod claims;
mod log;
mod outbox;
mod records;
mod rng;
mod sample;
mod store_model;
mod streams_model;
mod versions;

pub mod store;
pub mod streams;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::alike::Pair;
pub use self::rng::Rng;
pub use self::sample::{Game, START, commit, likely_event, register_versions};
use crate::ports::{Store, Streams};

/// Makes stores of the implementation under test.
#[async_trait]
pub trait StoreFactory: Send {
    /// A store with nothing in it, apart from every other one.
    async fn empty(&mut self) -> Arc<dyn Store>;

    /// The last one made, as it is after a crash: everything that was confirmed is there. The suite
    /// holds no other handle to it than the one given here. An implementation that does not outlive
    /// its process gives it back as it is.
    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Makes streams of the implementation under test.
#[async_trait]
pub trait StreamsFactory: Send {
    /// Streams with nothing in them, apart from all others.
    async fn empty(&mut self) -> Arc<dyn Streams>;

    /// See [`StoreFactory::reopen`].
    async fn reopen(&mut self, streams: Arc<dyn Streams>) -> Arc<dyn Streams>;

    /// Saves any text as the offset of a consumer, behind the trait's back.
    async fn plant_offset(&mut self, consumer: &str, text: &str);
}
