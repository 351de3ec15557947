//! Writes to a file go in groups: whoever comes while one is under way joins the next.
//!
//! ```text
//!   caller ──▶ place ──▶ queue ──▶ group: plan, plan, plan ──▶ one transaction ──▶ answers
//!             (bounded)            (each sees those before it)   (one sync)
//! ```
//!
//! A member that fails by itself leaves the others alone; a transaction that fails does so for all
//! of them. SUBTLE: that holds for those too that change nothing, since what they were to be told
//! may come from the effects of a member before them, that did not happen then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::change::Change;
use super::error::WriteError;
use super::tables::Tables;
use super::{Inner, MAX_WRITES_AT_ONCE, Planned, WRITE_TIMEOUT};

/// Where writes wait for their turn.
pub(super) struct Group {
    /// How many may be queued and under way; the others wait here, without a thread.
    places: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    members: Vec<Box<dyn Member>>,
    /// Whether a [`Writer`] will look at the members.
    is_written: bool,
}

/// One write of a group.
pub(super) trait Member: Send {
    /// What it changes; asked once.
    fn plan(&mut self, tables: &Tables) -> Result<Vec<Change>, WriteError>;

    /// Tells the caller, if it is there still.
    fn answer(self: Box<Self>, written: Result<(), WriteError>);
}

struct Write<T, P> {
    plan: Option<P>,
    answer: Option<T>,
    caller: oneshot::Sender<Result<T, WriteError>>,
    place: OwnedSemaphorePermit,
}

impl<T, P> Member for Write<T, P>
where
    T: Send,
    P: FnOnce(&Tables) -> Result<Planned<T>, WriteError> + Send,
{
    fn plan(&mut self, tables: &Tables) -> Result<Vec<Change>, WriteError> {
        let plan = self.plan.take().ok_or_else(unplanned)?;
        let Planned { changes, answer } = plan(tables)?;
        self.answer = Some(answer);
        Ok(changes)
    }

    fn answer(self: Box<Self>, written: Result<(), WriteError>) {
        let Self { plan: _, answer, caller, place } = *self;
        drop(place);
        let _ = caller.send(written.and_then(|()| answer.ok_or_else(unplanned)));
    }
}

fn unplanned() -> WriteError {
    WriteError::Refused("the write was not planned once".into())
}

impl Group {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(MAX_WRITES_AT_ONCE));
        Self { places, queue: Mutex::default() }
    }

    /// How many wait for the next group.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue().members.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out a plan with the next group.
pub(super) async fn write<T, P>(inner: &Arc<Inner>, plan: P) -> Result<T, WriteError>
where
    T: Send + 'static,
    P: FnOnce(&Tables) -> Result<Planned<T>, WriteError> + Send + 'static,
{
    let place =
        tokio::time::timeout(WRITE_TIMEOUT, Arc::clone(&inner.group.places).acquire_owned())
            .await
            .map_err(|_| WriteError::Refused("the file is busy".into()))?
            .map_err(|_| WriteError::Refused("the store is closed".into()))?;
    let (caller, answered) = oneshot::channel();
    // SUBTLE: from here to the spawn nothing waits: a caller that is dropped has either queued
    // nothing or left a queue that somebody writes.
    let was_written = {
        let mut queue = inner.group.queue();
        queue.members.push(Box::new(Write { plan: Some(plan), answer: None, caller, place }));
        std::mem::replace(&mut queue.is_written, true)
    };
    if !was_written {
        let writer = Writer { inner: Arc::clone(inner), is_done: false };
        tokio::task::spawn_blocking(move || writer.run());
    }
    match tokio::time::timeout(WRITE_TIMEOUT, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(WriteError::Unknown("the write was lost".into())),
        Err(_) => Err(WriteError::Unknown("the write takes too long".into())),
    }
}

/// Writes group after group until nobody waits.
struct Writer {
    inner: Arc<Inner>,
    is_done: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            let mut members = std::mem::take(&mut self.inner.group.queue().members);
            let written = self.inner.write_group(&mut members);
            self.is_done = {
                let mut queue = self.inner.group.queue();
                queue.is_written = !queue.members.is_empty();
                !queue.is_written
            };
            if self.is_done {
                // Let go before the answers are given: whoever has the answer of the last write and
                // drops the last handle has closed the file.
                drop(self);
                return answer(members, written);
            }
            answer(members, written);
        }
    }
}

impl Drop for Writer {
    /// A runtime that ends before the writer began, or a plan that panics: the members are told that
    /// nobody knows, and the next one to come finds a writer again.
    fn drop(&mut self) {
        if !self.is_done {
            *self.inner.group.queue() = Queue::default();
        }
    }
}

fn answer(members: Vec<Box<dyn Member>>, written: Result<Vec<Result<(), WriteError>>, WriteError>) {
    match written {
        Ok(fates) => members.into_iter().zip(fates).for_each(|(member, fate)| member.answer(fate)),
        Err(error) => members.into_iter().for_each(|member| member.answer(Err(error.clone()))),
    }
}
