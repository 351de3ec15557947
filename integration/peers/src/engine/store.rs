//! Where an engine keeps its state across restarts of its process.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// No state of this game comes near this size; a larger file is somebody else's.
const MAX_STATE_BYTES: u64 = 64 * 1024 * 1024;

/// A disk that lives as long as its handle: for engines that are restarted within one process.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Option<Vec<u8>>>>);

impl MemoryDisk {
    /// What an engine saved last, as it would be in a file: for whoever looks on from outside.
    pub fn contents(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file is gone. An engine that runs has its state in memory still, and saves it again.
    pub fn erase(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[derive(Debug, Clone)]
pub(super) enum Storage {
    Forget,
    File(PathBuf),
    Memory(MemoryDisk),
}

impl Storage {
    /// The state last saved, if there is one.
    pub(super) fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Forget => Ok(None),
            Self::File(path) => load_file(path),
            Self::Memory(disk) => Ok(disk.contents()),
        }
    }

    /// Whether saving does anything.
    pub(super) fn keeps(&self) -> bool {
        match self {
            Self::Forget => false,
            Self::File(_) | Self::Memory(_) => true,
        }
    }

    /// Replaces the state: afterwards a reader finds all of it, after a failure all of what was
    /// there before (or, if only the directory could not be synced, either).
    pub(super) async fn save(&self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Forget => Ok(()),
            Self::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || save_file(&path, &bytes))
                    .await
                    .map_err(io::Error::other)?
            }
            Self::Memory(disk) => {
                *disk.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
                Ok(())
            }
        }
    }
}

fn load_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_STATE_BYTES => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the state file is too large"))
        }
        Ok(_) => fs::read(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn save_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    // SUBTLE: before the rename. The other way round, a crash can leave the new name on no bytes.
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
