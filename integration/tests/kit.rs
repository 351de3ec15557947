//! The conformance kit: the reference neighbours pass it, and whoever breaks a rule fails on that
//! rule and no other.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

#[path = "kit/docs.rs"]
mod docs;
#[path = "kit/engine.rs"]
mod engine;
#[path = "kit/lobby.rs"]
mod lobby;
#[path = "kit/program.rs"]
mod program;
#[path = "kit/rig.rs"]
mod rig;
#[path = "kit/rtm.rs"]
mod rtm;
