//! What operators see, looked at from outside: a whole Game Master on loopback, in this process or
//! as one of its own.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "telemetry/bounded.rs"]
mod bounded;
#[path = "telemetry/documented.rs"]
mod documented;
#[path = "telemetry/process.rs"]
mod process;
#[path = "telemetry/stub.rs"]
mod stub;
#[path = "telemetry/traces.rs"]
mod traces;
#[path = "telemetry/world.rs"]
mod world;
