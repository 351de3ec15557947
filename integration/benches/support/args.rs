//! The command line that every bench understands, and the bounds of the machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

/// Flags of every bench.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Fewer and shorter rounds: to see that it works, not to measure.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How the figures are printed, on standard output; progress is on standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// See [`Common::output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// What a bench found.
pub(crate) struct Found {
    /// For people, a line each.
    pub(crate) lines: Vec<String>,
    /// For machines.
    pub(crate) json: Value,
    /// The promises that were not kept.
    pub(crate) broken: Vec<String>,
}

impl Common {
    /// Prints what was found; fails where a promise was not kept.
    pub(crate) fn print(&self, mut found: Found) -> ExitCode {
        match self.output {
            Output::Text => found.lines.iter().for_each(|line| println!("{line}")),
            Output::Json => {
                found.json["broken"] = found.broken.clone().into();
                println!("{}", found.json);
            }
        }
        for promise in &found.broken {
            eprintln!("not kept: {promise}");
        }
        if found.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// How many descriptors this process may open.
pub(crate) fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    soft.unwrap_or(1024)
}

/// A file in a folder of its own that goes with the value.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new(within: Option<&PathBuf>) -> Self {
        let folder = match within {
            Some(path) => tempfile::tempdir_in(path),
            None => tempfile::tempdir(),
        };
        Self(folder.expect("a temporary folder"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
