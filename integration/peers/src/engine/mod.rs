//! The reference engine: the engine contract with a small deterministic game behind it.
//!
//! [`game`] is pure (no I/O, no clock, randomness from a seed). [`server`] puts it behind HTTP and
//! keeps its [`store`]; [`misbehaviour`] makes it a bad neighbour on request; [`bot`] plays it.

pub mod bot;
mod core;
mod drip;
mod entry;
pub mod game;
mod many;
pub mod misbehaviour;
mod routes;
mod server;
pub mod store;

pub use core::generated_turns;
pub use entry::{EngineArgs, main, ports, run_until};
pub use many::{ManyArgs, run_many};
pub use misbehaviour::{Misbehaviour, Operation, Plan};
pub use server::{EngineError, EngineOptions, EngineServer, GeneratedTurn, Seen, Watcher};
