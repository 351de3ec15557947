//! The conformance suite against the embedded store, in memory and in a file.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use service::conformance::{StoreFactory, StreamsFactory, store, streams};
use service::embedded::Embedded;
use service::ports::{Store, Streams, SystemClock};

/// Files of this process, apart from those of any other.
static FILES: AtomicU64 = AtomicU64::new(0);

fn fresh_path() -> PathBuf {
    let n = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("conformance-{}-{n}.redb", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Stores in memory, which end with their process.
#[derive(Default)]
struct InMemory {
    last: Option<Embedded>,
}

impl InMemory {
    fn make(&mut self) -> Embedded {
        self.last.insert(Embedded::in_memory(Arc::new(SystemClock))).clone()
    }
}

#[async_trait]
impl StoreFactory for InMemory {
    async fn empty(&mut self) -> Arc<dyn Store> {
        Arc::new(self.make())
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }
}

#[async_trait]
impl StreamsFactory for InMemory {
    async fn empty(&mut self) -> Arc<dyn Streams> {
        Arc::new(self.make())
    }

    async fn reopen(&mut self, streams: Arc<dyn Streams>) -> Arc<dyn Streams> {
        streams
    }

    async fn plant_offset(&mut self, consumer: &str, text: &str) {
        let embedded = self.last.as_ref().expect("one was made");
        embedded.save_offset_text(consumer, text).await.expect("saved");
    }
}

/// Stores in files. Every other time, one is reopened as a killed process leaves it: a copy of the
/// file is taken while it is open, and opened instead.
#[derive(Default)]
struct InFile {
    last: Option<Embedded>,
    path: Option<PathBuf>,
    reopened: u64,
}

impl InFile {
    fn make(&mut self) -> Embedded {
        self.remove();
        self.open(fresh_path())
    }

    fn open(&mut self, path: PathBuf) -> Embedded {
        let embedded = Embedded::open(&path, Arc::new(SystemClock)).expect("a store");
        self.path = Some(path);
        self.last.insert(embedded).clone()
    }

    fn again<T: ?Sized>(&mut self, handle: Arc<T>) -> Embedded {
        let before = self.path.take().expect("one was made");
        self.reopened += 1;
        if self.reopened.is_multiple_of(2) {
            let copy = fresh_path();
            std::fs::copy(&before, &copy).expect("a copy");
            drop((handle, self.last.take()));
            std::fs::remove_file(&before).expect("removed");
            return self.open(copy);
        }
        drop((handle, self.last.take()));
        self.open(before)
    }

    fn remove(&mut self) {
        self.last = None;
        if let Some(path) = self.path.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for InFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[async_trait]
impl StoreFactory for InFile {
    async fn empty(&mut self) -> Arc<dyn Store> {
        Arc::new(self.make())
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(self.again(store))
    }
}

#[async_trait]
impl StreamsFactory for InFile {
    async fn empty(&mut self) -> Arc<dyn Streams> {
        Arc::new(self.make())
    }

    async fn reopen(&mut self, streams: Arc<dyn Streams>) -> Arc<dyn Streams> {
        Arc::new(self.again(streams))
    }

    async fn plant_offset(&mut self, consumer: &str, text: &str) {
        let embedded = self.last.as_ref().expect("one was made");
        embedded.save_offset_text(consumer, text).await.expect("saved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_keeps_every_promise() {
    store::directed(&mut InMemory::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_a_file_keeps_every_promise() {
    store::directed(&mut InFile::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_in_memory_keep_every_promise() {
    streams::directed(&mut InMemory::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_in_a_file_keep_every_promise() {
    streams::directed(&mut InFile::default()).await;
}

fn run(sequence: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(sequence);
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

// The seed says what happens, the number of steps how much of it: a failure shrinks to the first
// step that shows it.
proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_store_in_memory_agrees_with_its_model(
        seed in any::<u64>().no_shrink(), steps in 1..300_usize,
    ) {
        run(store::sequence(&mut InMemory::default(), seed, steps));
    }

    #[test]
    fn the_streams_in_memory_agree_with_their_model(
        seed in any::<u64>().no_shrink(), steps in 1..300_usize,
    ) {
        run(streams::sequence(&mut InMemory::default(), seed, steps));
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn the_store_in_a_file_agrees_with_its_model(
        seed in any::<u64>().no_shrink(), steps in 1..200_usize,
    ) {
        run(store::sequence(&mut InFile::default(), seed, steps));
    }

    #[test]
    fn the_streams_in_a_file_agree_with_their_model(
        seed in any::<u64>().no_shrink(), steps in 1..200_usize,
    ) {
        run(streams::sequence(&mut InFile::default(), seed, steps));
    }
}
