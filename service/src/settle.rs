//! Who waits for which operation to be closed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use machine::{OperationId, Outcome};
use tokio::sync::oneshot;

/// The operations that somebody in this process waits for.
#[derive(Default)]
pub struct Settlements {
    waiting: Mutex<BTreeMap<OperationId, oneshot::Sender<Outcome>>>,
}

/// One who waits. Dropping it ends the wait.
pub struct Waiter<'a> {
    settlements: &'a Settlements,
    operation: OperationId,
    outcome: oneshot::Receiver<Outcome>,
}

impl Settlements {
    /// Begins to wait; to be called before the operation can possibly be closed.
    pub fn wait_for(&self, operation: OperationId) -> Waiter<'_> {
        let (sender, outcome) = oneshot::channel();
        self.lock().insert(operation, sender);
        Waiter { settlements: self, operation, outcome }
    }

    /// Tells the one who waits, if anybody does.
    pub fn settle(&self, operation: OperationId, outcome: &Outcome) {
        if let Some(sender) = self.lock().remove(&operation) {
            // The one who waited may just have gone.
            let _ = sender.send(outcome.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<OperationId, oneshot::Sender<Outcome>>> {
        // No code that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// The outcome, once it is there. May be called again after it was dropped half-way.
    pub async fn outcome(&mut self) -> Outcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            // The sender lives as long as this waiter is registered.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.settlements.lock().remove(&self.operation);
    }
}
