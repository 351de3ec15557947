//! Game Master in a simulated world.
//!
//! The production composition root runs inside turmoil, over a simulated network and simulated
//! time; only the seams that production has anyway are filled differently. One plan, one process:
//! the same life again, every time.
//!
//! ```text
//!   seed ─▶ draw ─▶ plan ─▶ run ─▶ report
//!                            │
//!            faults strike ──┼── world: hosts, engines, store (rpc or postgres), redis
//!            people act ─────┘      │ each commit, each append, each engine's file
//!                                   ▼
//!                                 oracle
//! ```
//!
//! * `world`: which hosts there are; `rpc` or `postgres`, and `redis`, keep things; `engines`.
//! * `instance`: a Game Master; `touched`: its ports as points of contact. `pace`: how long it all takes.
//! * `net`, `reach`: the network, and who can be reached. `books`: what the store holds, read past it.
//! * `plan`, `draw`: what happens in a life, as data, and how a seed makes it up.
//! * `faults`, `strays`, `workload`, `people`: carry it out. `board`: how faults reach into the hosts.
//! * `oracle`, `chronicle`: what must hold, judged from outside, and what is told of it.

pub mod board;
pub mod books;
pub mod chronicle;
pub mod draw;
pub mod engines;
pub mod faults;
mod instance;
mod net;
pub mod oracle;
pub mod pace;
mod people;
pub mod plan;
pub mod postgres;
mod reach;
pub mod record;
pub mod redis;
pub mod report;
pub mod rpc;
pub mod run;
pub mod seams;
mod strays;
mod touched;
pub mod workload;
pub mod world;

pub use net::SimNet;
pub use seams::{SimClock, SimEntropy};
