//! What the benches share: Game Master on threads of its own, neighbours on others, a client that
//! costs next to nothing, and figures. Each bench uses its own part of it.
#![allow(dead_code, reason = "each bench uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a bench that cannot be set up ends")]

pub(crate) mod args;
pub(crate) mod cpu;
pub(crate) mod echo;
pub(crate) mod figures;
pub(crate) mod ground;
pub(crate) mod stage;
pub(crate) mod wire;

/// Says how far it is, on standard error.
pub(crate) fn progress(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
