//! The systems around Game Master: honest small programs with their own state, over real HTTP and
//! real streams. Each of them can be told to misbehave. Tests, simulation and demo use the same.

pub mod backoff;
pub mod bus;
pub mod call;
pub mod engine;
pub mod env;
pub mod front;
pub mod gateway;
pub mod http;
pub mod lobby;
pub mod messages;
pub mod notification;
pub mod redis_bus;
pub mod rtm;
pub mod state_file;
