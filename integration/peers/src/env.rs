//! What a neighbour may not take from thin air: the time of day and fresh identifiers.

use std::{fmt, sync::Arc};

/// A callback that a demo or a test hangs in to see what happens, as it happens.
///
/// It is called between two steps of the neighbour's work: it must be quick and must not block.
pub type Observer<E> = Arc<dyn Fn(&E) + Send + Sync>;

/// An observer that looks the other way.
pub fn unobserved<E>() -> Observer<E> {
    Arc::new(|_| {})
}

/// The sources of time and identifiers, handed in by whoever composes the process.
#[derive(Clone)]
pub struct Env {
    /// Unix time in milliseconds.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// An identifier that was never handed out before, by any process: `[A-Za-z0-9_-]{1,64}`.
    pub new_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Env {
    /// An environment from its two sources.
    pub fn new(
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
        new_id: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { now_ms: Arc::new(now_ms), new_id: Arc::new(new_id) }
    }

    /// Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// A fresh identifier.
    pub fn new_id(&self) -> String {
        (self.new_id)()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}
