//! The scenarios, by name: everything on real PostgreSQL, Redis and processes. Each ends with the
//! audit that holds for every one of them (`integration::world`).
#![expect(clippy::expect_used, reason = "failed expectations of tests")]

mod adminops;
mod audit;
mod healthevents;
mod hotpath;
mod lobbygm;
mod lobbygmrtm;
mod notification;
mod parts;
mod registerruntime;
mod scheduler;
mod support;
