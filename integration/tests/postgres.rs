//! The store in PostgreSQL, against a real server, and the program on it.
//!
//! `GAMEMASTER_TEST_SEQUENCES=500 cargo nextest run -p integration --test postgres` tells more random
//! stories than the few of a common run; `GAMEMASTER_TEST_POSTGRES_URL` names a server to be used in
//! place of one that the tests start.
#![expect(clippy::expect_used, clippy::panic, reason = "these are tests and their helpers")]

#[path = "postgres/support.rs"]
mod support;

#[path = "postgres/bench.rs"]
mod bench;
#[path = "postgres/conformance.rs"]
mod conformance;
#[path = "postgres/doubt.rs"]
mod doubt;
#[path = "postgres/feed.rs"]
mod feed;
#[path = "postgres/migrations.rs"]
mod migrations;
#[path = "postgres/names.rs"]
mod names;
#[path = "postgres/outbox.rs"]
mod outbox;
#[path = "postgres/schema.rs"]
mod schema;
#[path = "postgres/serve.rs"]
mod serve;
#[path = "postgres/trouble.rs"]
mod trouble;
