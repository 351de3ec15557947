//! Who waits for which operation to be closed: the one who asked for it, and whoever repeats the
//! request meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use std::sync::Arc;

use machine::{OperationId, Outcome, Runtime};
use tokio::sync::oneshot;

/// How an operation ended.
#[derive(Clone, Debug)]
pub struct Settled {
    /// How.
    pub outcome: Outcome,
    /// The record from then on, where the commit that closed it was made here and left one.
    pub record: Option<Arc<Runtime>>,
}

/// The operations that somebody in this process waits for.
#[derive(Default)]
pub struct Settlements {
    waiting: Mutex<BTreeMap<OperationId, Vec<oneshot::Sender<Settled>>>>,
}

/// One who waits. Dropping it ends the wait.
pub struct Waiter<'a> {
    settlements: &'a Settlements,
    operation: OperationId,
    settled: oneshot::Receiver<Settled>,
}

impl Settlements {
    /// Begins to wait; to be called before the operation can possibly be closed.
    pub fn wait_for(&self, operation: OperationId) -> Waiter<'_> {
        let (sender, settled) = oneshot::channel();
        self.lock().entry(operation).or_default().push(sender);
        Waiter { settlements: self, operation, settled }
    }

    /// Tells those who wait, if anybody does.
    pub fn settle(&self, operation: OperationId, settled: &Settled) {
        for sender in self.lock().remove(&operation).into_iter().flatten() {
            // The one who waited may just have gone.
            let _ = sender.send(settled.clone());
        }
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<OperationId, Vec<oneshot::Sender<Settled>>>> {
        // No code that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// How it ended, once it has. May be called again after it was dropped half-way.
    pub async fn settled(&mut self) -> Settled {
        match (&mut self.settled).await {
            Ok(settled) => settled,
            // The sender lives as long as this waiter is registered.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.settled.close();
        let mut waiting = self.settlements.lock();
        if let Some(senders) = waiting.get_mut(&self.operation) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.operation);
            }
        }
    }
}
