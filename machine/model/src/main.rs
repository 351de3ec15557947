//! `gm-model`: checks the lifecycle, shows what breaks it, and opens it in a browser.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use model::catalog::Invalid;
use model::check::{self, Outcome};
use model::configs::{self, Config};
use model::rule::Rule;
use model::system::System;
use model::table;
use model::variants::Variant;
use serde_json::json;
use stateright::Model as _;

/// Checks the lifecycle in every interleaving of crashes, lost and late replies, expired leases and
/// two processes.
#[derive(Parser)]
#[command(name = "gm-model", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Search worlds to their end: each property must hold in every state
    Check {
        /// `small`, `large`, or the names of worlds
        #[arg(long, value_name = "NAME", num_args = 1.., default_value = "small")]
        config: Vec<String>,
        /// Threads to search on
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
        threads: u8,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        /// Tell no progress
        #[arg(long)]
        quiet: bool,
    },
    /// Do one rule wrong at a time: the checker must find each
    Variants {
        /// These only, with their stories
        names: Vec<String>,
        /// Tell the story of each
        #[arg(long)]
        stories: bool,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Open a world in a browser
    Explore {
        /// Which world
        #[arg(long, default_value = "turns")]
        config: String,
        /// The world with this rule done wrong
        #[arg(long)]
        variant: Option<String>,
        /// The port on the loopback interface
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
    /// Write the transition table of the documentation
    Table {
        /// Change nothing; fail where it is stale
        #[arg(long)]
        check: bool,
        /// The file
        #[arg(long, default_value = table::PATH)]
        file: PathBuf,
    },
    /// List the worlds and the wrong variants
    List,
}

#[derive(Debug)]
enum Failed {
    Model(Invalid),
    Io(std::io::Error),
    NoSuch(String),
}

impl From<Invalid> for Failed {
    fn from(error: Invalid) -> Self {
        Self::Model(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::NoSuch(name) => write!(f, "there is no {name:?}; see `gm-model list`"),
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check { config, threads, json, quiet } => {
            check(&config, threads.into(), json, quiet)
        }
        Command::Variants { names, stories, json } => variants(&names, stories, json),
        Command::Explore { config, variant, port } => explore(&config, variant.as_deref(), port),
        Command::Table { check, file } => write_table(check, &file),
        Command::List => list(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has seen enough, as `head` does.
        Err(Failed::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gm-model: {error}");
            ExitCode::from(2)
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Config>, Failed> {
    let mut chosen = vec![];
    for name in names {
        match name.as_str() {
            "small" => chosen.extend(configs::small()),
            "large" => chosen.extend(configs::large()),
            name => chosen.push(world(name)?),
        }
    }
    Ok(chosen)
}

fn world(name: &str) -> Result<Config, Failed> {
    let all = configs::small().into_iter().chain(configs::large());
    let found = all.into_iter().find(|config| config.name == name);
    found.ok_or_else(|| Failed::NoSuch(name.into()))
}

fn variant(name: &str) -> Result<Variant, Failed> {
    let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
    found.ok_or_else(|| Failed::NoSuch(name.into()))
}

fn check(names: &[String], threads: usize, as_json: bool, quiet: bool) -> Result<bool, Failed> {
    let mut out = std::io::stdout();
    let mut outcomes = vec![];
    if !as_json {
        writeln!(
            out,
            "{:14}{:>12}{:>13}{:>7}{:>9}{:>12}{:>12}",
            "world", "states", "generated", "depth", "seconds", "states/s", "memory MiB"
        )?;
    }
    for config in chosen(names)? {
        let outcome = check::right(config, threads, quiet)?;
        if !as_json {
            writeln!(
                out,
                "{:14}{:>12}{:>13}{:>7}{:>9.1}{:>12.0}{:>12}",
                config.name,
                outcome.states,
                outcome.generated,
                outcome.depth,
                outcome.took.as_secs_f64(),
                outcome.states_per_second(),
                outcome.peak_memory_bytes >> 20,
            )?;
        }
        outcomes.push(outcome);
    }
    let all_seen = sightings(&outcomes).iter().all(|(_, worlds)| !worlds.is_empty());
    // One world alone need not show everything.
    let many = outcomes.len() > 1;
    let good = outcomes.iter().all(Outcome::holds) && (all_seen || !many);
    if as_json {
        writeln!(out, "{:#}", in_json(&outcomes, good))?;
        return Ok(good);
    }
    tell(&outcomes)?;
    Ok(good)
}

/// What must be seen, and the worlds in which it was.
fn sightings(outcomes: &[Outcome]) -> Vec<(&'static str, Vec<&'static str>)> {
    let names = outcomes.first().map(|outcome| &outcome.verdicts).into_iter().flatten();
    let seen = |name| {
        let shows = |outcome: &&Outcome| {
            outcome.verdicts.iter().any(|verdict| verdict.name == name && verdict.good)
        };
        outcomes.iter().filter(shows).map(|outcome| outcome.config.name).collect()
    };
    names.filter(|verdict| !verdict.always).map(|v| (v.name, seen(v.name))).collect()
}

fn tell(outcomes: &[Outcome]) -> Result<(), Failed> {
    let mut out = std::io::stdout();
    let states: usize = outcomes.iter().map(|outcome| outcome.states).sum();
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.took.as_secs_f64()).sum();
    writeln!(out, "\n{states} distinct states in {} worlds, {seconds:.1} s\n", outcomes.len())?;
    for rule in Rule::ALL {
        let broken: Vec<&Outcome> = outcomes
            .iter()
            .filter(|o| o.verdicts.iter().any(|v| v.name == rule.name() && !v.good))
            .collect();
        let verdict = if broken.is_empty() { "holds" } else { "BROKEN" };
        writeln!(out, "{verdict:8}{:32}{}", rule.name(), rule.about())?;
        for outcome in broken {
            let story = outcome.verdicts.iter().find(|v| v.name == rule.name());
            let story = story.and_then(|verdict| verdict.story.as_deref()).unwrap_or_default();
            writeln!(out, "  in {}:\n{story}", outcome.config.name)?;
        }
    }
    for (name, worlds) in sightings(outcomes) {
        let verdict = if worlds.is_empty() { "UNSEEN" } else { "seen" };
        writeln!(out, "{verdict:8}{name:48}{}", worlds.join(" "))?;
    }
    Ok(())
}

fn in_json(outcomes: &[Outcome], good: bool) -> serde_json::Value {
    let world = |outcome: &Outcome| {
        let verdicts: Vec<serde_json::Value> = outcome
            .verdicts
            .iter()
            .map(
                |v| json!({ "name": v.name, "always": v.always, "good": v.good, "story": v.story }),
            )
            .collect();
        json!({
            "name": outcome.config.name,
            "about": outcome.config.about,
            "states": outcome.states,
            "generated": outcome.generated,
            "depth": outcome.depth,
            "seconds": outcome.took.as_secs_f64(),
            "states_per_second": outcome.states_per_second(),
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "properties": verdicts,
        })
    };
    let states: usize = outcomes.iter().map(|outcome| outcome.states).sum();
    let worlds: Vec<serde_json::Value> = outcomes.iter().map(world).collect();
    json!({ "good": good, "states": states, "worlds": worlds })
}

fn variants(names: &[String], stories: bool, as_json: bool) -> Result<bool, Failed> {
    let mut out = std::io::stdout();
    let chosen: Vec<Variant> = match names {
        [] => Variant::ALL.into(),
        names => names.iter().map(|name| variant(name)).collect::<Result<_, _>>()?,
    };
    let stories = stories || !names.is_empty();
    let mut all_found = true;
    let mut rows = vec![];
    for variant in chosen {
        let found = check::wrong(variant)?;
        all_found &= found.is_some();
        let (name, rule) = (variant.name(), variant.breaks().name());
        if as_json {
            rows.push(json!({
                "name": name,
                "about": variant.about(),
                "breaks": rule,
                "found": found.is_some(),
                "steps": found.as_ref().map(|found| found.steps),
                "states": found.as_ref().map(|found| found.states),
                "story": found.as_ref().map(|found| &found.story),
            }));
            continue;
        }
        match found {
            Some(found) => {
                writeln!(out, "found   {name:30}{rule:32}{:>3} steps", found.steps)?;
                if stories {
                    writeln!(out, "  {}\n{}", variant.about(), found.story)?;
                }
            }
            None => writeln!(out, "MISSED  {name:30}{rule}")?,
        }
    }
    if as_json {
        writeln!(out, "{:#}", json!({ "good": all_found, "variants": rows }))?;
    }
    Ok(all_found)
}

fn explore(name: &str, wrong: Option<&str>, port: u16) -> Result<bool, Failed> {
    let system = match wrong {
        Some(name) => System::wrong(variant(name)?)?,
        None => System::right(world(name)?)?,
    };
    writeln!(std::io::stdout(), "{}: http://127.0.0.1:{port}", system.config.about)?;
    let _ = system.checker().serve((Ipv4Addr::LOCALHOST, port));
    Ok(true)
}

fn write_table(check: bool, file: &std::path::Path) -> Result<bool, Failed> {
    let fresh = table::document()?;
    let there = std::fs::read_to_string(file).unwrap_or_default();
    let (mut out, file_name) = (std::io::stdout(), file.display());
    if there == fresh {
        writeln!(out, "{file_name} is up to date")?;
        return Ok(true);
    }
    if check {
        writeln!(out, "{file_name} is stale: run `gm-model table`")?;
        return Ok(false);
    }
    std::fs::write(file, fresh)?;
    writeln!(out, "{file_name} is written")?;
    Ok(true)
}

fn list() -> Result<bool, Failed> {
    let mut out = std::io::stdout();
    for config in configs::small().into_iter().chain(configs::large()) {
        writeln!(out, "world    {:30}{}", config.name, config.about)?;
    }
    for variant in Variant::ALL {
        writeln!(out, "variant  {:30}{}", variant.name(), variant.about())?;
    }
    Ok(true)
}
