//! What `gm-sim` does. Every life is lived by `gm-sim-life`, in a process of its own.
//!
//! Exit codes: 0 everything held, 1 a promise was broken, 2 the command could not be carried out.

mod child;
mod coverage;
mod fuzz;
mod kept;
mod mutants;
mod shrink;
mod tell;
mod total;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use sim::draw::{self, Wishes};
use sim::plan::{Plan, Profile, StoreKind};
use sim::run::Report;

use self::child::Lives;
use self::kept::Kept;

/// The command could not be carried out.
const EXIT_FAILED: u8 = 2;

/// Whole clusters of Game Master and its neighbours in simulated time, on a simulated network, with
/// everything going wrong that can.
#[derive(Parser)]
#[command(name = "gm-sim", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Live one seed.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        how: How,
        /// Every line of the trace, on standard error.
        #[arg(long)]
        trace: bool,
        /// Write the life down as a page for a browser.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Live it twice, and compare the traces.
        #[arg(long)]
        twice: bool,
        /// Write the plan down instead of living it.
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        /// Refuse where this is another build, in which the seed may be another life.
        #[arg(long)]
        build: Option<String>,
    },
    /// Live many seeds, until one fails.
    Fuzz(fuzz::FuzzArgs),
    /// Live a plan that was written down.
    Replay {
        /// The file.
        file: PathBuf,
        /// Even if another build wrote it down.
        #[arg(long)]
        any_build: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Every line of the trace, on standard error.
        #[arg(long)]
        trace: bool,
        /// Write the life down as a page for a browser.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Take away of a plan that fails what it does not need to fail.
    Shrink {
        /// A seed that fails.
        #[arg(long, required_unless_present = "file")]
        seed: Option<u64>,
        /// Or a plan that does.
        #[arg(long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        how: How,
        /// Where the smaller plan goes.
        #[arg(long, default_value = "shrunk.json")]
        out: PathBuf,
        /// So many lives at most.
        #[arg(long, default_value_t = 300)]
        lives: u32,
    },
    /// What struck where, over many seeds; fails where a fault never struck.
    Coverage {
        /// From one seed to below another.
        #[arg(long, value_parser = seeds, default_value = "0..50")]
        seeds: std::ops::Range<u64>,
        #[command(flatten)]
        how: How,
        /// Write the tables down as a page of the documentation.
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
        /// So many at a time.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
        jobs: u8,
    },
    /// Plant bugs in a copy of the service, and hunt each; fails where one is not found.
    Mutants(mutants::MutantsArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct How {
    /// How time passes; without it the seed draws one.
    #[arg(long, value_enum)]
    profile: Option<Pace>,
    /// Instances of Game Master; without it the seed draws how many.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    gms: Option<u8>,
    /// What the records are kept in; without it the seed draws one.
    #[arg(long, value_enum)]
    store: Option<Kind>,
    /// Without faults.
    #[arg(long)]
    calm: bool,
    /// Of the faults only those whose names begin so.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", conflicts_with = "calm")]
    faults: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// Fine ticks, seconds between turns.
    Race,
    /// Coarse ticks, days of schedules.
    Calendar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The embedded store, on a host of its own.
    Embedded,
    /// The production adapter, over a simulated PostgreSQL.
    Postgres,
}

impl From<Kind> for StoreKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => Self::Embedded,
            Kind::Postgres => Self::Postgres,
        }
    }
}

impl From<Pace> for Profile {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Race => Self::Race,
            Pace::Calendar => Self::Calendar,
        }
    }
}

impl How {
    fn plan(&self, seed: u64) -> Plan {
        let wishes = Wishes {
            profile: self.profile.map(Profile::from),
            gms: self.gms.map(usize::from),
            store: self.store.map(StoreKind::from),
            calm: self.calm,
        };
        let mut plan = draw::plan(seed, wishes);
        if !self.faults.is_empty() {
            let is_wanted = |name: &str| self.faults.iter().any(|begin| name.starts_with(begin));
            plan.faults.retain(|fault| is_wanted(fault.what.name()));
        }
        plan
    }

    /// From what could be written on the command line.
    fn of(options: &str) -> Result<Self, String> {
        #[derive(Parser)]
        struct Options {
            #[command(flatten)]
            how: How,
        }
        let words = std::iter::once("gm-sim").chain(options.split_whitespace());
        Options::try_parse_from(words).map(|options| options.how).map_err(|e| e.to_string())
    }

    /// The command that lives a seed again.
    fn again(&self, seed: u64, lives: &Lives) -> io::Result<String> {
        let (options, build) = (self.options(), lives.build()?);
        Ok(format!("gm-sim run --seed {seed}{options} --build {build}"))
    }

    /// The options that a replay must repeat.
    fn options(&self) -> String {
        let mut options = String::new();
        if let Some(profile) = self.profile {
            options.push_str(&format!(" --profile {}", Profile::from(profile).as_str()));
        }
        if let Some(gms) = self.gms {
            options.push_str(&format!(" --gms {gms}"));
        }
        if let Some(store) = self.store {
            options.push_str(&format!(" --store {}", StoreKind::from(store).as_str()));
        }
        if self.calm {
            options.push_str(" --calm");
        }
        if !self.faults.is_empty() {
            options.push_str(&format!(" --faults {}", self.faults.join(",")));
        }
        options
    }
}

/// `A..B`.
fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let bad = || "must be A..B with A below B".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    let range = from.parse().map_err(|_| bad())?..to.parse().map_err(|_| bad())?;
    if range.is_empty() { Err(bad()) } else { Ok(range) }
}

/// `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "must be a number with s, m or h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

pub(crate) fn main() -> ExitCode {
    let done = Lives::new().and_then(|lives| match Args::parse().command {
        Command::Run { seed, how, trace, html, twice, plan, build } => {
            let lived = how.plan(seed);
            if let Some(build) = build {
                lives.is_of_build(&build)?;
            }
            if let Some(path) = plan {
                kept::write(&path, &Kept::of(lived, &lives)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            let command = how.again(seed, &lives)?;
            if twice {
                return run_twice(&lives, &lived);
            }
            one(&lives, &lived, &command, (how.json, trace), html.as_deref())
        }
        Command::Fuzz(args) => fuzz::fuzz(&lives, &args),
        Command::Replay { file, any_build, json, trace, html } => {
            let kept = kept::read(&file)?;
            if let Some(build) = kept.build.as_deref().filter(|_| !any_build) {
                lives.is_of_build(build)?;
            }
            let command = format!("gm-sim replay {}", shown(&file));
            one(&lives, &kept.plan, &command, (json, trace), html.as_deref())
        }
        Command::Shrink { seed, file, how, out, lives: most } => {
            let plan = match (file, seed) {
                (Some(file), _) => kept::read(&file)?.plan,
                (None, seed) => how.plan(seed.unwrap_or_default()),
            };
            shrink::shrink(&lives, plan, &out, most)
        }
        Command::Coverage { seeds, how, markdown, jobs } => {
            coverage::coverage(&lives, seeds, &how, jobs, markdown.as_deref())
        }
        Command::Mutants(args) => mutants::mutants(&lives, &args),
    });
    done.unwrap_or_else(|error| {
        eprintln!("gm-sim: {error}");
        ExitCode::from(EXIT_FAILED)
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn one(
    lives: &Lives,
    plan: &Plan,
    command: &str,
    (json, trace): (bool, bool),
    html: Option<&Path>,
) -> io::Result<ExitCode> {
    let report = match html {
        Some(page) => lives.live_to_page(plan, trace, page)?,
        None => lives.live(plan, trace)?,
    };
    if html.is_none() {
        page_of_failure(lives, plan, &report)?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", tell::report(&report, command));
    }
    Ok(tell::exit_code(&report))
}

/// A life that broke a promise is lived once more, to be looked at.
fn page_of_failure(lives: &Lives, plan: &Plan, report: &Report) -> io::Result<()> {
    if report.broken.is_empty() {
        return Ok(());
    }
    let folder = std::env::temp_dir().join("gm-sim");
    std::fs::create_dir_all(&folder)?;
    let page = folder.join(format!("{}-{}.html", plan.profile.as_str(), plan.seed));
    lives.live_to_page(plan, false, &page)?;
    Ok(())
}

fn run_twice(lives: &Lives, plan: &Plan) -> io::Result<ExitCode> {
    let (first, second) = (lives.live(plan, false)?, lives.live(plan, false)?);
    let is_lived = first.lines > 0;
    let same = is_lived && first.hash == second.hash && first.lines == second.lines;
    let verdict = if same { "the same" } else { "DIFFERENT" };
    println!(
        "{} ({} lines) and {} ({} lines): {verdict}",
        first.hash, first.lines, second.hash, second.lines
    );
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
