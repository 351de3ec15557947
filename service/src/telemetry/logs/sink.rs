//! A queue in front of a writer that may block.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many lines wait at most,
const MAX_LINES: usize = 8192;
/// and how many bytes they hold together at most.
const MAX_BYTES: usize = 4 << 20;
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Of all sinks: a process has one standard error, and several Game Masters may show this number.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the process began.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Item {
    Line(String),
    /// Everything before it is written when the sender is dropped.
    Flush(SyncSender<()>),
}

/// Takes lines, never waits.
#[derive(Clone)]
pub struct Sink {
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    /// Lines dropped that nobody was told of yet.
    untold: AtomicU64,
}

/// Gives the last lines a moment to be written, when dropped.
pub struct Flush(SyncSender<Item>);

impl Sink {
    /// A sink before `writer`, which a thread of its own waits for.
    pub fn new(writer: impl Write + Send + 'static) -> (Self, Flush) {
        let (queue, items) = sync_channel(MAX_LINES);
        let shared = Arc::new(Shared::default());
        let sink = Self { queue, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("logs".into());
        // Without the thread the queue has no receiver, and every line counts as dropped.
        let _ = thread.spawn(move || write_all(&items, writer, &shared));
        let flush = Flush(sink.queue.clone());
        (sink, flush)
    }

    /// Takes a line, which ends with a line feed, or drops it. Where lines were dropped before,
    /// `notice` is written first: the line that says how many.
    pub fn write(&self, line: String, notice: impl FnOnce(u64) -> String) {
        let untold = self.shared.untold.swap(0, Ordering::Relaxed);
        let is_told = untold == 0 || self.try_write(notice(untold));
        // Whoever was not told now is told later.
        let untold = if is_told { 0 } else { untold };
        let dropped = u64::from(!self.try_write(line));
        self.shared.untold.fetch_add(untold + dropped, Ordering::Relaxed);
        DROPPED.fetch_add(dropped, Ordering::Relaxed);
    }

    fn try_write(&self, line: String) -> bool {
        let length = line.len();
        let queued = self.shared.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let fits = queued.saturating_add(length) <= MAX_BYTES;
        let is_taken = fits && self.queue.try_send(Item::Line(line)).is_ok();
        if !is_taken {
            self.shared.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        }
        is_taken
    }
}

fn write_all(items: &Receiver<Item>, mut writer: impl Write, shared: &Shared) {
    for item in items {
        match item {
            Item::Line(line) => {
                // A reader that is gone for good takes nothing any more; the service goes on.
                let _ = writer.write_all(line.as_bytes());
                shared.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Item::Flush(done) => {
                let _ = writer.flush();
                drop(done);
            }
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(0);
        if self.0.try_send(Item::Flush(done)).is_ok() {
            // An error either way: the sender is dropped, or the time is up.
            let _ = flushed.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}
