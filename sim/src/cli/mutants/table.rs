//! What is told of the mutants.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::catalogue::Mutant;
use super::hunt::{Found, Hunted};
use super::shown;

/// Between these two lines of a document stands the table.
const BEGIN: &str = "<!-- the table: gm-sim mutants --markdown -->";
const END: &str = "<!-- the end of the table -->";

/// Every mutant fits.
pub(super) fn checked(mutants: &[Mutant], as_json: bool) -> io::Result<()> {
    if as_json {
        let listed = |mutant: &Mutant| {
            let Mutant { name, what, .. } = mutant;
            json!({ "name": name, "what": what, "options": options(mutant) })
        };
        let list: Vec<Value> = mutants.iter().map(listed).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "mutants": list }))?);
        return Ok(());
    }
    for mutant in mutants {
        println!("{:<28} {}", mutant.name, mutant.what);
    }
    println!("{} mutants, and all fit into the sources", mutants.len());
    Ok(())
}

/// How each hunt ended.
pub(super) fn print(hunted: &[Hunted], as_json: bool) -> io::Result<()> {
    if as_json {
        let list: Vec<Value> = hunted.iter().map(as_value).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "mutants": list }))?);
        return Ok(());
    }
    let head =
        ["mutant", "seed", "options", "promise that broke", "lives", "seconds", "what it is"];
    line(&head.map(str::to_owned));
    for hunted in hunted {
        line(&cells(hunted));
    }
    let found = hunted.iter().filter(|hunted| hunted.found.is_some()).count();
    println!("{found} of {} mutants found", hunted.len());
    Ok(())
}

/// Puts the table into a document. Of those who were not hunted it keeps what it had, if they are
/// there yet.
pub(super) fn write(file: &Path, mutants: &[Mutant], hunted: &[Hunted]) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| no(file, BEGIN))?;
    let (former, after) = rest.split_once(END).ok_or_else(|| no(file, END))?;
    let mut table = String::from(
        "| mutant | what it is | seed | options | promise that broke | lives | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for Mutant { name, .. } in mutants {
        let begin = format!("| `{name}` |");
        let row = match hunted.iter().find(|hunted| hunted.mutant.name == *name) {
            Some(hunted) => Some(row(hunted)),
            None => former.lines().find(|line| line.starts_with(&begin)).map(str::to_owned),
        };
        let _ = row.map(|row| writeln!(table, "{row}"));
    }
    std::fs::write(file, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

fn row(hunted: &Hunted) -> String {
    let [name, seed, options, promise, lives, seconds, what] = cells(hunted);
    format!("| `{name}` | {what} | {seed} | {options} | {promise} | {lives} | {seconds} |")
}

fn no(file: &Path, mark: &str) -> io::Error {
    io::Error::other(format!("{}: there is no line {mark}", shown(file)))
}

fn options(mutant: &Mutant) -> String {
    mutant.how.options().trim().to_owned()
}

fn cells(hunted: &Hunted) -> [String; 7] {
    let Hunted { mutant, found, lives, took } = hunted;
    let (seed, promise) = match found {
        Some(Found { seed, broken, .. }) => (seed.to_string(), broken.promise.clone()),
        None => ("-".to_owned(), "NOT FOUND".to_owned()),
    };
    let (name, what) = (mutant.name.clone(), mutant.what.clone());
    [name, seed, options(mutant), promise, lives.to_string(), took.as_secs().to_string(), what]
}

fn line(cells: &[String; 7]) {
    let [name, seed, options, promise, lives, seconds, what] = cells;
    println!("{name:<28} {seed:>4} {options:<28} {promise:<38} {lives:>5} {seconds:>7} {what}");
}

fn as_value(hunted: &Hunted) -> Value {
    let Hunted { mutant, found, lives, took } = hunted;
    json!({
        "name": mutant.name,
        "what": mutant.what,
        "options": options(mutant),
        "found": found.as_ref().map(|found| json!({
            "seed": found.seed,
            "store": found.store.as_str(),
            "promise": found.broken.promise,
            "how": found.broken.how,
        })),
        "lives": lives,
        "wall_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}
