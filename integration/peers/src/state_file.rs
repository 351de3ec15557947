//! The state of one neighbour: in memory, or in one JSON file that is replaced atomically.
//!
//! These are small reference programs: a whole-file rewrite per change is honest and easy to
//! inspect. What matters is that a change which was answered survives a crash, and that a crash in
//! the middle of a write leaves the previous state.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, watch};

/// Why the state could not be read or kept. After any of these the state is what it was before.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file, or its directory, could not be read or written.
    #[error("state file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file holds something else. It is left untouched: to start anew over it would destroy it.
    #[error("state file {path} does not hold this program's state: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where the reading stopped.
        source: serde_json::Error,
    },
    /// The state could not be written as JSON.
    #[error("state cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The process is shutting down.
    #[error("the writer was stopped")]
    Stopped,
}

/// A value with one writer at a time, kept in a file where a path is given. Cloning shares it.
#[derive(Debug)]
pub struct StateFile<T> {
    cell: Arc<Mutex<T>>,
    path: Option<Arc<Path>>,
    revision: Arc<watch::Sender<u64>>,
}

impl<T> Clone for StateFile<T> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
            path: self.path.clone(),
            revision: Arc::clone(&self.revision),
        }
    }
}

impl<T> StateFile<T>
where
    T: Clone + Default + Serialize + DeserializeOwned + Send + 'static,
{
    /// The state in the file, or the default where there is no file yet (or no path at all).
    pub async fn open(path: Option<PathBuf>) -> Result<Self, StateError> {
        let (value, path) = match path {
            None => (T::default(), None),
            Some(path) => {
                let from = path.clone();
                let value = tokio::task::spawn_blocking(move || load(&from))
                    .await
                    .map_err(|_| StateError::Stopped)??;
                (value.unwrap_or_default(), Some(path.into()))
            }
        };
        Ok(Self { path, ..Self::holding(value) })
    }

    /// The default, in memory. Whoever keeps a clone keeps the state beyond the end of a neighbour.
    pub fn in_memory() -> Self {
        Self::holding(T::default())
    }

    fn holding(value: T) -> Self {
        let (cell, revision) = (Arc::new(Mutex::new(value)), watch::Sender::new(0).into());
        Self { cell, path: None, revision }
    }

    /// Looks at the state.
    pub async fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&*self.cell.lock().await)
    }

    /// Changes the state, and returns once the change is durable.
    ///
    /// `change` must refuse before it changes anything: in memory there is no copy to fall back on.
    pub async fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, StateError> {
        let mut cell = Arc::clone(&self.cell).lock_owned().await;
        let answer = match &self.path {
            None => change(&mut cell),
            Some(path) => {
                let mut next = cell.clone();
                let answer = change(&mut next);
                let bytes = serde_json::to_vec_pretty(&next)?;
                let path = Arc::clone(path);
                // SUBTLE: the lock travels with the write. Were it kept here, a caller who is
                // dropped half-way would release it while the file is still being written.
                let write = move || {
                    replace(&path, &bytes)?;
                    *cell = next;
                    Ok::<(), StateError>(())
                };
                tokio::task::spawn_blocking(write).await.map_err(|_| StateError::Stopped)??;
                answer
            }
        };
        self.revision.send_modify(|revision| *revision = revision.wrapping_add(1));
        Ok(answer)
    }

    /// Wakes after every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until `look` finds what it looks for: `None` when it did not within `limit`.
    pub async fn wait_for<R>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let mut changes = self.changes();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.read(&mut look).await {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
    };
    let value = serde_json::from_slice(&bytes)
        .map_err(|source| StateError::Unreadable { path: path.to_owned(), source })?;
    Ok(Some(value))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    write_and_rename(path, bytes).map_err(|source| StateError::Io { path: path.to_owned(), source })
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    // The rename itself is durable only once the directory is.
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("peers-state-{}-{name}", std::process::id()))
    }

    #[tokio::test]
    async fn a_change_survives_and_a_foreign_file_is_left_alone() {
        let directory = scratch("survives");
        let path = directory.join("deep/state.json");
        let state = StateFile::<Vec<u32>>::open(Some(path.clone())).await.unwrap();
        state.update(|list| list.push(7)).await.unwrap();
        assert!(!path.with_extension("json.tmp").exists());
        let again = StateFile::<Vec<u32>>::open(Some(path.clone())).await.unwrap();
        assert_eq!(again.read(Clone::clone).await, [7]);

        fs::write(&path, "not ours").unwrap();
        let refused = StateFile::<Vec<u32>>::open(Some(path.clone())).await.unwrap_err();
        assert!(matches!(refused, StateError::Unreadable { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "not ours");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_failed_write_changes_nothing() {
        let directory = scratch("failed");
        fs::create_dir_all(&directory).unwrap();
        let blocker = directory.join("a-file");
        fs::write(&blocker, "").unwrap();
        // No path yet is fine; a path below a plain file cannot be created.
        let state = StateFile::<u32> {
            cell: Arc::new(Mutex::new(1)),
            path: Some(blocker.join("state.json").into()),
            revision: watch::Sender::new(0).into(),
        };
        let failed = state.update(|value| *value = 2).await.unwrap_err();
        assert!(matches!(failed, StateError::Io { .. }), "{failed}");
        assert_eq!(state.read(|value| *value).await, 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn waiting_sees_a_later_change_and_gives_up_in_time() {
        let state = StateFile::<u32>::open(None).await.unwrap();
        let waiter = state.clone();
        let limit = Duration::from_secs(5);
        let seen = tokio::spawn(async move {
            waiter.wait_for(limit, |value| (*value == 2).then_some(*value)).await
        });
        state.update(|value| *value = 1).await.unwrap();
        state.update(|value| *value = 2).await.unwrap();
        assert_eq!(seen.await.unwrap(), Some(2));
        let missed = state.wait_for(Duration::from_millis(1), |value| (*value == 9).then_some(()));
        assert_eq!(missed.await, None);
    }
}
