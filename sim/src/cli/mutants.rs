//! Whether the simulation finds bugs: some are put into the service on purpose, and hunted.
//!
//! ```text
//!   sources ─▶ a copy below the target folder, with every mutant in, each behind a switch
//!           ─▶ built once ─▶ with no switch on: the very lives of the original
//!                         ─▶ with one on: seed after seed, until a promise breaks
//! ```
//!
//! Production code has no part in this: the switches are in the copy alone.

mod catalogue;
mod hunt;
mod sources;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use self::catalogue::Mutant;
use self::sources::Sources;
use super::child::Lives;
use super::{How, shown};

/// Where the mutants are, in the workspace.
const CATALOGUE: &str = "sim/mutants";
/// What is added to each package that has mutants.
const SWITCH: &str = "sim/mutants/mutant.rs";
/// Those packages' folders.
const PACKAGES: [&str; 3] = ["machine", "service", "service/net"];
/// What the other program is called where mutants live.
const PROGRAM: &str = "gm-sim-life-mutants";
/// The copy, in the target folder.
const COPY: &str = "mutants";
/// The lives that show that the copy is the same program: seeds and options.
const SAME: [(u64, &str); 4] =
    [(1, ""), (2, "--gms 3 --store postgres"), (3, "--gms 2 --store embedded"), (4, "--calm")];

/// Of `gm-sim mutants`.
#[derive(clap::Args)]
pub(super) struct MutantsArgs {
    /// Hunt this one alone; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// So many lives at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// So many seeds for each mutant at most, from 0 on.
    #[arg(long, default_value_t = 100, value_name = "SEEDS")]
    budget_seeds: u64,
    /// Only look whether every mutant fits into the sources.
    #[arg(long)]
    check: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Put the table into this file, in place of the one that is there; of who was not hunted it
    /// keeps the line.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    markdown: Option<PathBuf>,
    /// The folder of the mutants; without it that of the workspace.
    #[arg(long, value_name = "FOLDER")]
    catalogue: Option<PathBuf>,
}

pub(super) fn mutants(originals: &Lives, args: &MutantsArgs) -> io::Result<ExitCode> {
    let root = workspace()?;
    let folder = args.catalogue.clone().unwrap_or_else(|| root.join(CATALOGUE));
    let mutants = catalogue::read(&folder)?;
    let copy = copy(&root, &mutants)?;
    if args.check {
        table::checked(&mutants, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = wanted(&mutants, &args.only)?;
    let lives = build(copy)?;
    lives_the_same(originals, &lives)?;
    let hunted = hunt::all(&lives, &wanted, (args.budget_seeds, args.jobs), &|hunted| {
        let file = args.markdown.as_ref();
        file.map_or(Ok(()), |file| table::write(file, &mutants, hunted))
    })?;
    table::print(&hunted, args.json)?;
    let missed = hunted.iter().any(|hunted| hunted.found.is_none());
    Ok(if missed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The folder of the workspace, from where the command was given.
fn workspace() -> io::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let root = here.ancestors().find(|folder| folder.join(SWITCH).is_file());
    let why = || io::Error::other(format!("there is no {CATALOGUE} in this folder or above it"));
    root.map(Path::to_path_buf).ok_or_else(why)
}

fn wanted(mutants: &[Mutant], only: &[String]) -> io::Result<Vec<Mutant>> {
    if let Some(name) = only.iter().find(|name| mutants.iter().all(|m| m.name != **name)) {
        return Err(io::Error::other(format!("there is no mutant {name}")));
    }
    let is_wanted = |mutant: &&Mutant| only.is_empty() || only.contains(&mutant.name);
    Ok(mutants.iter().filter(is_wanted).cloned().collect())
}

/// The sources with every mutant in.
fn copy(root: &Path, mutants: &[Mutant]) -> io::Result<Sources> {
    let mut sources = Sources::read(root)?;
    catalogue::apply(mutants, &mut sources)?;
    let switch = sources.text(SWITCH).unwrap_or_default().to_owned();
    for package in PACKAGES {
        let lib = format!("{package}/src/lib.rs");
        let text = sources.text(&lib).unwrap_or_default();
        let changed = format!("{text}\npub mod mutant;\n");
        sources.put(&lib, changed);
        sources.put(&format!("{package}/src/mutant.rs"), switch.clone());
    }
    let name = |name: &str| format!("name = \"{name}\"");
    sources.replace("sim/Cargo.toml", &name("gm-sim-life"), &name(PROGRAM))?;
    Ok(sources)
}

/// Builds the copy beside what is running, and in the same way.
fn build(copy: Sources) -> io::Result<Lives> {
    let program = std::env::current_exe()?;
    let (Some(folder), Some(profile)) = (program.parent(), named(program.parent())) else {
        return Err(io::Error::other(format!("{}: in no target folder", shown(&program))));
    };
    let target = folder.parent().unwrap_or(folder);
    let place = target.join(COPY);
    copy.write(&place)?;
    eprintln!("building the mutants in {}", shown(&place));
    let profile = if profile == "debug" { "dev" } else { profile };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "sim", "--bin", PROGRAM])
        .args(["--profile", profile, "--manifest-path"])
        .arg(place.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !built.success() {
        return Err(io::Error::other("the mutants cannot be built"));
    }
    Ok(Lives::of(folder.join(PROGRAM)))
}

fn named(folder: Option<&Path>) -> Option<&str> {
    folder?.file_name()?.to_str()
}

/// With no mutant on the copy is the same program.
fn lives_the_same(originals: &Lives, copies: &Lives) -> io::Result<()> {
    for (seed, options) in SAME {
        let plan = How::of(options).map_err(io::Error::other)?.plan(seed);
        let (original, copy) = (originals.live(&plan, false)?, copies.live(&plan, false)?);
        if original.hash != copy.hash || original.lines != copy.lines {
            let why =
                format!("seed {seed} {options}: the copy lives another life; build both anew");
            return Err(io::Error::other(why));
        }
        if let Some(broken) = copy.broken.first() {
            let why = format!("seed {seed} {options} breaks {} by itself", broken.promise);
            return Err(io::Error::other(why));
        }
    }
    eprintln!("with no mutant on it is the same program: {} lives", SAME.len());
    Ok(())
}
