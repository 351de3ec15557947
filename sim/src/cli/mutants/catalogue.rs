//! The mutants: one text file each, and what becomes of the sources with all of them in.
//!
//! ```text
//!   what: One sentence.
//!   hunt: --gms 2 --store postgres
//!   === service/src/driver/decide.rs
//!   the text as it stands there, once
//!   ===
//!   if crate::mutant::is("name") { the bug } else { the text as it stood there }
//! ```
//!
//! The name is that of the file. Several edits follow each other.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::sources::Sources;
use crate::cli::{How, Pace};

/// What the files end with.
const EXTENSION: &str = "mutant";
/// What the parts of a file begin with.
const MARK: &str = "\n===";
/// Where mutants may be: the service, the network below it, and the rules.
const PLACES: [&str; 2] = ["service/", "machine/src/"];

/// A bug, and how it is hunted.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    /// What it is called.
    pub(super) name: String,
    /// What it is, in a sentence.
    pub(super) what: String,
    /// With which lives it is hunted.
    pub(super) how: How,
    edits: Vec<Edit>,
}

/// A place of the sources that reads otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    file: String,
    find: String,
    replace: String,
}

/// Every mutant of a folder, by name.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Mutant>> {
    let told = |path: &Path, error: &dyn std::fmt::Display| {
        io::Error::other(format!("{}: {error}", path.display()))
    };
    let mut mutants = vec![];
    let entries = std::fs::read_dir(folder).map_err(|error| told(folder, &error))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let text = std::fs::read_to_string(&path).map_err(|error| told(&path, &error))?;
        mutants.push(parse(name, &text).map_err(|error| told(&path, &error))?);
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    if mutants.is_empty() {
        return Err(told(folder, &"no mutants"));
    }
    Ok(mutants)
}

fn parse(name: &str, text: &str) -> Result<Mutant, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err("a name has small letters, digits and hyphens".into());
    }
    let mut parts = text.split(MARK);
    let (mut what, mut hunt) = (None, None);
    for line in parts.next().unwrap_or_default().lines() {
        match line.split_once(':') {
            Some(("what", text)) => what = Some(text.trim().to_owned()),
            Some(("hunt", text)) => hunt = Some(text.trim()),
            _ => return Err(format!("{line:?} is neither what nor hunt")),
        }
    }
    let parts: Vec<&str> = parts.collect();
    let (pairs, rest) = parts.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err("each edit has two parts".into());
    }
    let edits =
        pairs.iter().map(|[find, replace]| edit(find, replace)).collect::<Result<_, _>>()?;
    let mut how = How::of(hunt.unwrap_or_default())?;
    // Where nothing else is said lives are short.
    how.profile.get_or_insert(Pace::Race);
    let what = what.filter(|text| !text.is_empty()).ok_or("what is it?")?;
    Ok(Mutant { name: name.to_owned(), what, how, edits })
}

fn edit(find: &str, replace: &str) -> Result<Edit, String> {
    let (file, find) = find.split_once('\n').ok_or("nothing is to be found")?;
    let (mark, replace) = replace.split_once('\n').unwrap_or((replace, ""));
    let file = file.trim();
    let is_there = PLACES.iter().any(|place| file.starts_with(place));
    if !is_there || !mark.trim().is_empty() {
        return Err(format!("{file:?}: mutants are of files below {}", PLACES.join(" and ")));
    }
    let text = |text: &str| text.trim_end_matches('\n').to_owned();
    let edit = Edit { file: file.to_owned(), find: text(find), replace: text(replace) };
    if edit.find.trim().is_empty() { Err("nothing is to be found".into()) } else { Ok(edit) }
}

/// An edit, and where in its file it is made.
struct Placed<'a> {
    at: Range<usize>,
    replace: &'a str,
    mutant: &'a str,
}

/// Makes every edit. Each is found in the sources as they were, so that the order does not matter.
pub(super) fn apply(mutants: &[Mutant], sources: &mut Sources) -> io::Result<()> {
    let mut files: BTreeMap<&str, Vec<Placed<'_>>> = BTreeMap::new();
    for Mutant { name, edits, .. } in mutants {
        let switch = format!("mutant::is(\"{name}\")");
        if !edits.iter().any(|edit| edit.replace.contains(&switch)) {
            return Err(refused(name, &format!("no edit asks for {switch}")));
        }
        for edit in edits {
            let at = place(edit, sources).map_err(|why| refused(name, &why))?;
            let placed = Placed { at, replace: &edit.replace, mutant: name };
            files.entry(&edit.file).or_default().push(placed);
        }
    }
    for (file, mut edits) in files {
        edits.sort_by_key(|placed| placed.at.start);
        let text = sources.text(file).unwrap_or_default();
        let changed = edited(text, &edits).map_err(|why| refused(file, &why))?;
        sources.put(file, changed);
    }
    Ok(())
}

/// A text with edits made, which are in their order.
fn edited(text: &str, edits: &[Placed<'_>]) -> Result<String, String> {
    let (mut changed, mut done) = (String::with_capacity(text.len()), 0);
    for Placed { at, replace, mutant } in edits {
        if at.start < done {
            return Err(format!("the edit of {mutant} meets the one before it"));
        }
        changed.push_str(text.get(done..at.start).unwrap_or_default());
        changed.push_str(replace);
        done = at.end;
    }
    changed.push_str(text.get(done..).unwrap_or_default());
    Ok(changed)
}

/// Where the one place is.
fn place(edit: &Edit, sources: &Sources) -> Result<Range<usize>, String> {
    let Edit { file, find, .. } = edit;
    let text = sources.text(file).ok_or_else(|| format!("{file}: no such file"))?;
    let mut found = text.match_indices(find.as_str());
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at..at + find.len()),
        (first, _) => {
            let times = if first.is_none() { "not there" } else { "there more than once" };
            Err(format!("{file}: what is to be replaced is {times}:\n{find}"))
        }
    }
}

fn refused(name: &str, why: &str) -> io::Error {
    io::Error::other(format!("{name}: {why}"))
}
