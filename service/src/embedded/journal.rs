//! The file: one durable transaction for each group of writes, one table for each kind of row.

use std::io::ErrorKind;
use std::path::Path;

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, TableHandle,
};

use super::change::{Change, Kind, Row};
use super::error::{OpenError, WriteError};
use super::tables::Tables;

/// What the file says it is.
const FORMAT: &str = "gamemaster-embedded-2";
const FORMAT_KEY: &str = "format";
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// Every row is in memory besides; the file's own cache need not be large.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

type Rows = TableDefinition<'static, &'static str, &'static [u8]>;

fn rows(kind: Kind) -> Rows {
    TableDefinition::new(kind.as_str())
}

pub(super) struct Journal {
    file: Database,
}

impl Journal {
    /// Opens or begins a file, and reads what it holds.
    pub(super) fn open(path: &Path) -> Result<(Self, Tables), OpenError> {
        Self::begin(builder().create(path), path)
    }

    /// The same over any storage.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests put a failing disk under it"))]
    pub(super) fn open_on(storage: impl StorageBackend) -> Result<(Self, Tables), OpenError> {
        Self::begin(builder().create_with_backend(storage), Path::new("storage"))
    }

    fn begin(
        opened: Result<Database, DatabaseError>,
        path: &Path,
    ) -> Result<(Self, Tables), OpenError> {
        let journal = Self { file: opened.map_err(|error| cannot_open(path, error))? };
        journal.claim(path)?;
        let tables = journal.read_all(path)?;
        Ok((journal, tables))
    }

    /// The rows of the file that changes come to.
    pub(super) fn encode(changes: &[Change]) -> Result<Vec<Row>, WriteError> {
        let encoded: Result<Vec<Row>, _> = changes.iter().map(Change::encode).collect();
        encoded.map_err(|e| WriteError::Refused(format!("cannot be kept: {e}")))
    }

    /// Makes all rows durable, or none.
    pub(super) fn append(&mut self, rows_set: &[Row]) -> Result<(), WriteError> {
        let refused = |error: redb::Error| WriteError::Refused(format!("the file: {error}"));
        let transaction = self.file.begin_write().map_err(|e| refused(e.into()))?;
        for row in rows_set {
            let table = transaction.open_table(rows(row.kind));
            let mut table = table.map_err(|e| refused(e.into()))?;
            let done = match &row.value {
                Some(value) => table.insert(row.key.as_str(), value.as_slice()).map(drop),
                None => table.remove(row.key.as_str()).map(drop),
            };
            done.map_err(|e| refused(e.into()))?;
        }
        transaction.commit().map_err(|error| {
            // That one is rolled back for certain; of any other, the library says that the changes
            // may be durable all the same.
            if matches!(error, CommitError::TransactionPoisoned) {
                refused(error.into())
            } else {
                WriteError::Unknown(format!("the file, while committing: {error}"))
            }
        })
    }

    /// Makes a new file ours; refuses one that is somebody else's.
    fn claim(&self, path: &Path) -> Result<(), OpenError> {
        let io = |error: redb::Error| cannot_read(path, error);
        let transaction = self.file.begin_write().map_err(|e| io(e.into()))?;
        let foreign = transaction
            .list_tables()
            .map_err(|e| io(e.into()))?
            .find(|table| !is_ours(table.name()))
            .map(|table| table.name().to_owned());
        if let Some(name) = foreign {
            let reason = format!("it has a table {name:?}");
            return Err(OpenError::NotAStore { path: path.into(), reason });
        }
        let fresh = transaction.list_tables().map_err(|e| io(e.into()))?.next().is_none();
        let not_ours = |error: TableError| {
            if let TableError::Storage(error) = error {
                return cannot_read(path, error.into());
            }
            OpenError::NotAStore { path: path.into(), reason: error.to_string() }
        };
        if fresh {
            let mut meta = transaction.open_table(META).map_err(not_ours)?;
            meta.insert(FORMAT_KEY, FORMAT).map_err(|e| io(e.into()))?;
            drop(meta);
            for kind in Kind::ALL {
                transaction.open_table(rows(kind)).map_err(not_ours)?;
            }
            return transaction.commit().map_err(|e| io(e.into()));
        }
        let meta = transaction.open_table(META).map_err(not_ours)?;
        let found = meta.get(FORMAT_KEY).map_err(|e| io(e.into()))?;
        match found.map(|text| text.value().to_owned()) {
            Some(found) if found == FORMAT => Ok(()),
            Some(found) => {
                Err(OpenError::OtherFormat { path: path.into(), found, expected: FORMAT })
            }
            None => {
                let reason = "it does not say its format".to_owned();
                Err(OpenError::NotAStore { path: path.into(), reason })
            }
        }
    }

    fn read_all(&self, path: &Path) -> Result<Tables, OpenError> {
        let io = |error: redb::Error| cannot_read(path, error);
        let mut tables = Tables::default();
        let transaction = self.file.begin_read().map_err(|e| io(e.into()))?;
        for kind in Kind::ALL {
            let table = transaction.open_table(rows(kind)).map_err(|e| io(e.into()))?;
            for row in table.iter().map_err(|e| io(e.into()))? {
                let (key, value) = row.map_err(|e| io(e.into()))?;
                let change = Change::decode(kind, key.value(), value.value());
                let unreadable = |reason| OpenError::Unreadable {
                    path: path.into(),
                    table: kind.as_str(),
                    key: key.value().into(),
                    reason,
                };
                tables.apply(change.map_err(unreadable)?);
            }
        }
        Ok(tables)
    }
}

/// The whole file is checked on opening: one that was altered is refused, where the library would
/// otherwise trust it and might panic.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn is_ours(table: &str) -> bool {
    table == META.name() || Kind::ALL.iter().any(|kind| kind.as_str() == table)
}

fn cannot_open(path: &Path, error: DatabaseError) -> OpenError {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        return OpenError::Locked { path: path.into() };
    }
    if let DatabaseError::Storage(error) = error {
        return cannot_read(path, error.into());
    }
    OpenError::NotAStore { path: path.into(), reason: error.to_string() }
}

fn cannot_read(path: &Path, error: redb::Error) -> OpenError {
    let damaged = if let redb::Error::Io(io) = &error {
        matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
    } else {
        matches!(error, redb::Error::Corrupted(_))
    };
    let (path, reason) = (path.into(), error.to_string());
    if damaged { OpenError::NotAStore { path, reason } } else { OpenError::Io { path, reason } }
}
