//! One life in a process of its own: a plan on standard input, its report on standard output.
//!
//! SUBTLE: the only place that may name `mad_turmoil`, which takes the place of the C library's clock
//! and entropy for the whole process: what is seeded from the system (the order in which tokio's
//! `select!` looks, above all) is seeded from the plan instead. So nothing in here can tell the
//! real time, and the command that people use is another binary.

use std::io::{self, Read as _};
use std::process::ExitCode;

use mad_turmoil::rand::set_rng;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sim::plan::Plan;

/// A plan is longer than this only by mistake.
const MAX_PLAN_BYTES: u64 = 16 << 20;

fn main() -> ExitCode {
    let is_asked = |option: &str| std::env::args().skip(1).any(|argument| argument == option);
    match live(is_asked("--trace"), is_asked("--page")) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gm-sim-life: {error}");
            ExitCode::from(2)
        }
    }
}

fn live(is_traced: bool, has_page: bool) -> io::Result<ExitCode> {
    let mut text = String::new();
    io::stdin().take(MAX_PLAN_BYTES).read_to_string(&mut text)?;
    let plan: Plan = serde_json::from_str(&text)?;
    set_rng(StdRng::seed_from_u64(plan.seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    let report = sim::run::run(&plan, is_traced, has_page);
    serde_json::to_writer(io::stdout().lock(), &report)?;
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
