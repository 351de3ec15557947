//! Game Master, the service.
//!
//! Read [`driver`] first: the one loop that every operation goes through. Then [`workers`] (what
//! runs by itself), [`app`] (how the parts are put together), [`ports`] (what the service needs from
//! the world) and [`http`] (how it is asked). `docs/architecture.md` is the map.

pub mod app;
pub mod audit;
pub mod board;
pub mod clients;
pub mod config;
pub mod conformance;
pub mod dev;
pub mod driver;
pub mod effects;
pub mod embedded;
pub mod error;
pub mod fleet;
pub mod http;
pub mod kit;
pub mod membership;
pub mod news;
pub mod operations;
pub mod ports;
pub mod postgres;
pub mod redis_streams;
pub mod settle;
pub mod telemetry;
pub mod timers;
pub mod turns;
pub mod unreliable;
pub mod workers;
