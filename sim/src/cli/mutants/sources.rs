//! A copy of the workspace's sources, to be built beside them in the same target folder.
//!
//! SUBTLE: cargo tells packages of the same name apart by their folder, seen from the workspace's. So
//! the copy's packages lie one folder deeper than the originals: otherwise each would take the
//! other's place among what is built.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the copy below its workspace's.
const FOLDER: &str = "source";
/// The workspace's own files, which stay beside that folder.
const OF_WORKSPACE: [&str; 2] = ["Cargo.toml", "Cargo.lock"];
/// What is built, where it is in the workspace.
const BUILT: &str = "target";

/// What the files hold, by their paths below the workspace's folder, with `/`.
pub(super) struct Sources(BTreeMap<String, Vec<u8>>);

impl Sources {
    /// Reads all but what is built and what is hidden.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                if name == BUILT || name.starts_with('.') {
                    continue;
                }
                let path = format!("{folder}{name}");
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(format!("{path}/"));
                } else if kind.is_file() {
                    files.insert(path, fs::read(entry.path())?);
                }
            }
        }
        Ok(Self(files))
    }

    /// What a file says.
    pub(super) fn text(&self, file: &str) -> Option<&str> {
        self.0.get(file).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Has a file say something else.
    pub(super) fn put(&mut self, file: &str, text: String) {
        self.0.insert(file.to_owned(), text.into_bytes());
    }

    /// Replaces what a file says once.
    pub(super) fn replace(&mut self, file: &str, from: &str, to: &str) -> io::Result<()> {
        match self.text(file) {
            Some(text) if text.matches(from).count() == 1 => {
                let changed = text.replace(from, to);
                self.put(file, changed);
                Ok(())
            }
            Some(_) | None => Err(io::Error::other(format!("{file}: {from:?} is not there once"))),
        }
    }

    /// Writes the copy: only what differs, so that cargo builds only that anew.
    pub(super) fn write(mut self, to: &Path) -> io::Result<()> {
        let workspace = self.text("Cargo.toml").map(deeper).unwrap_or_default();
        self.put("Cargo.toml", workspace);
        let wanted: BTreeMap<PathBuf, Vec<u8>> = self
            .0
            .into_iter()
            .map(|(file, bytes)| {
                let folder = if OF_WORKSPACE.contains(&file.as_str()) { "" } else { FOLDER };
                (to.join(folder).join(file), bytes)
            })
            .collect();
        for (path, bytes) in &wanted {
            if fs::read(path).ok().as_ref() != Some(bytes) {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(path, bytes)?;
            }
        }
        remove_others(&to.join(FOLDER), &wanted)
    }
}

/// The workspace's manifest, with its packages one folder deeper.
fn deeper(manifest: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("members = [") || line.starts_with("default-members = [") {
            line.replace("[\"", &format!("[\"{FOLDER}/")).replace(", \"", &format!(", \"{FOLDER}/"))
        } else {
            line.replace("{ path = \"", &format!("{{ path = \"{FOLDER}/"))
        }
    };
    manifest.lines().map(|text| line(text) + "\n").collect()
}

fn remove_others(folder: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains_key(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
