//! Directories of servers: one that is kept as a pattern, and one for each server that runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::User;

/// Where all of them are. Not in the build directory: another user must be able to get there.
fn home(user: User) -> io::Result<PathBuf> {
    let home = std::env::temp_dir().join(format!("gamemaster-tests-{}", user.uid));
    std::fs::create_dir_all(&home)?;
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755))?;
    Ok(home)
}

/// A directory of this process, removed when dropped; after a crash, by whoever comes next.
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Locked for as long as we live.
    _owner: File,
}

impl RunDirectory {
    /// An empty directory that belongs to the user.
    pub(super) fn new(user: User, kind: &str) -> io::Result<Self> {
        let home = home(user)?;
        sweep(&home)?;
        let run = tempfile::Builder::new().prefix(&format!("run-{kind}-")).tempdir_in(&home)?;
        let owner = File::create(run.path().join("owner"))?;
        owner.lock()?;
        let path = run.keep();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { path, _owner: owner })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories of processes that are gone.
fn sweep(home: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(home)?.flatten() {
        let path = entry.path();
        let is_run = entry.file_name().to_string_lossy().starts_with("run-");
        // One that has no lock yet is just being made.
        let owner = File::open(path.join("owner"));
        if is_run && owner.is_ok_and(|owner| owner.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// A copy of a directory that is made once, by whoever is first to want it.
pub(super) fn copy_of_pattern(
    user: User,
    name: &str,
    to: &Path,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let home = home(user)?;
    let pattern = home.join(name);
    let lock = File::create(home.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !pattern.is_dir() {
        let unfinished = home.join(format!("{name}.new"));
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir(&unfinished)?;
        give_to(user, &unfinished)?;
        make(&unfinished)?;
        std::fs::rename(&unfinished, &pattern)?;
    }
    drop(lock);
    let copied = Command::new("cp").arg("-a").arg(&pattern).arg(to).status()?;
    if copied.success() { Ok(()) } else { Err(io::Error::other("the pattern cannot be copied")) }
}

fn give_to(user: User, path: &Path) -> io::Result<()> {
    if user.other {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}
