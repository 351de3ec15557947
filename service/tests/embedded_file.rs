//! What the embedded store says to files that it cannot open.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, TableDefinition};
use service::embedded::{Embedded, OpenError};
use service::ports::{AppendAt, Streams, SystemClock};

/// A path of this test's own, removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("embedded-{}-{name}.redb", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A claim of an administrator.
const CLAIM: &str = r#"{"claim":{"key":{"caller":"admin","key":"k"},"fingerprint":[0,0,0,0,0,0,0,0,
    0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},"answer":{"version":null},
    "at":"2030-01-01T00:00:00Z"}"#;

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(path, Arc::new(SystemClock))
}

fn refusal(path: &Path) -> OpenError {
    match open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn put(path: &Path, table: &'static str, key: &str, value: &[u8]) {
    let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(table);
    let file = Database::create(path).expect("a file");
    let transaction = file.begin_write().expect("a transaction");
    transaction.open_table(table).expect("a table").insert(key, value).expect("a row");
    transaction.commit().expect("committed");
}

#[test]
fn a_file_is_open_once() {
    let file = File::new("locked");
    let store = open(&file.0).expect("a store");
    let error = refusal(&file.0);
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("locked") && text.contains("open already"), "{text}");
    drop(store);
    drop(open(&file.0).expect("free again"));
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let file = File::new("foreign");
    for content in ["something else entirely\n".repeat(1_000), "redb".into(), "\0".repeat(4_096)] {
        std::fs::write(&file.0, &content).expect("written");
        let error = refusal(&file.0);
        assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
        assert_eq!(std::fs::read(&file.0).expect("read"), content.as_bytes());
    }
    std::fs::remove_file(&file.0).expect("removed");
    put(&file.0, "recipes", "cake", b"flour");
    let error = refusal(&file.0);
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert!(error.to_string().contains("recipes"), "{error}");
}

#[test]
fn another_format_is_named() {
    let file = File::new("format");
    drop(open(&file.0).expect("a store"));
    let meta: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
    let database = Database::create(&file.0).expect("a file");
    let transaction = database.begin_write().expect("a transaction");
    transaction.open_table(meta).expect("meta").insert("format", "tomorrow-9").expect("a row");
    transaction.commit().expect("committed");
    drop(database);
    let error = refusal(&file.0);
    assert!(matches!(&error, OpenError::OtherFormat { found, .. } if found == "tomorrow-9"));
    assert!(error.to_string().contains("gamemaster-embedded-2"), "{error}");
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    for (table, key, value) in [
        ("runtime_records", "game-1", "{}"),
        ("runtime_records", "game-1", "not JSON"),
        ("commit_ids", "no-uuid", "\"2030-01-01T00:00:00Z\""),
        ("outbox", "1", "{}"),
        ("operation_log", "no-uuid", "{}"),
        ("engine_versions", "1.0.0", "{}"),
        ("claims", "admin k", "{}"),
        ("claims", "lobby k", CLAIM),
        ("outbox_assigned", "elsewhere", "\"1-1\""),
        ("counters", "sheep", "7"),
        ("stream_entries", "1-1", "x"),
        ("stream_newest", "a", "\"yesterday\""),
    ] {
        let file = File::new("row");
        drop(open(&file.0).expect("a store"));
        put(&file.0, table, key, value.as_bytes());
        let error = refusal(&file.0);
        match &error {
            OpenError::Unreadable { table: found, key: row, .. } => {
                assert_eq!((*found, row.as_str()), (table, key));
            }
            OpenError::Locked { .. }
            | OpenError::NotAStore { .. }
            | OpenError::OtherFormat { .. }
            | OpenError::Io { .. } => panic!("{table} {key}: {error}"),
        }
    }
}

#[test]
fn a_place_without_a_directory_is_an_io_error() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nowhere").join("store.redb");
    for path in [nowhere.as_path(), Path::new(env!("CARGO_TARGET_TMPDIR"))] {
        let error = refusal(path);
        assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_was_altered_is_refused() {
    let file = File::new("altered");
    let store = open(&file.0).expect("a store");
    for _ in 0..20 {
        store.append("a", AppendAt::Next, &[0x5A; 2_000]).await.expect("an append");
    }
    drop(store);
    let mut bytes = std::fs::read(&file.0).expect("read");
    let altered = bytes.iter_mut().filter(|byte| **byte == 0x5A);
    altered.for_each(|byte| *byte = 0xA5);
    std::fs::write(&file.0, bytes).expect("written");
    let error = refusal(&file.0);
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
}
