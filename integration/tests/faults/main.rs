//! The scenario `faults`: games of one-second turns on real PostgreSQL, Redis and processes, with a
//! proxy on every way that Game Master goes, and every one of them troubled, cut and healed. Each
//! ends with the audit that holds for every scenario (`integration::world`): nothing lost, doubled,
//! reordered or stuck. docs/testing.md has the table of what is covered here and where else.
#![expect(clippy::expect_used, clippy::panic, reason = "failed expectations of tests")]

mod clients;
mod database;
mod engine;
mod frozen;
mod neighbours;
mod postgres;
mod redis;
mod support;
