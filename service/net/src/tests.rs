//! Tests over real loopback sockets; a few over in-memory streams where time is paused.

mod client;
mod server;
mod support;
