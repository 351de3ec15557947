//! Game Master in a simulated world.
//!
//! The production composition root runs inside turmoil, over a simulated network and simulated
//! time; only the seams that production has anyway are filled differently. One seed, one process:
//! the same life again, every time.
//!
//! What is here so far: the seams ([`SimNet`], [`SimClock`], [`SimEntropy`]) and, in `tests`, whole
//! lives of a service, its engines and their games over them. The store is the embedded one, in
//! memory. Faults, an oracle and a command of its own are not here yet.

mod net;
mod seams;

pub use net::SimNet;
pub use seams::{SimClock, SimEntropy};
