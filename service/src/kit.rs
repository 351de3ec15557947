//! The conformance kit: whether somebody's own engine, Lobby or Runtime Manager, in whatever
//! language, keeps to what Game Master relies on.
//!
//! ```text
//!   args     the commands, their output and exit codes
//!     |
//!   engine, lobby, rtm      what is asked, in which order, and the rules it is asked for
//!     |
//!   walk     every answer against the rules of HTTP first -> sheet   what was found of each rule
//!     |                                                        |
//!   probe    one request, one answer, evidence               show    table, JSON, documentation
//! ```
//!
//! One fault shall break one rule: an answer that breaks a rule of HTTP is not held against the
//! rule it was asked for (which is then skipped), and a rule is judged by what the neighbour itself
//! said last. So a report names causes and not consequences.

mod args;
mod engine;
mod lobby;
mod probe;
mod rtm;
mod rule;
mod sheet;
mod show;
mod walk;

pub use args::{CheckEngine, CheckLobby, CheckRtm, Output, Timing};
pub use engine::check_engine;
pub use lobby::check_lobby;
pub use probe::Evidence;
pub use rtm::check_rtm;
pub use rule::{Level, Rule};
pub use sheet::{Finding, Found, Report};
pub use show::{Marks, json, markdown, table};
pub use walk::Stopped;

/// The rules by whom they are for, with a heading: first those of everybody.
pub fn rules() -> [(&'static str, &'static [Rule]); 4] {
    [
        ("Every neighbour", rule::http::ALL),
        ("Engine", engine::ALL),
        ("Lobby", lobby::ALL),
        ("Runtime Manager", rtm::ALL),
    ]
}
