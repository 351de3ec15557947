//! A store and streams that fail on demand: for tests of whatever must live with failures, and for
//! `gamemaster dev --faults`.
//!
//! The wrapped implementation stays truthful; what is lost is a request or an answer, and whether
//! one is lost is decided call by call by a function that the test gives ([`seeded`] makes one).
//!
//! ```text
//!   caller ──▶ request ──▶ inner ──▶ answer ──▶ caller
//!           ✗ Refused              ✗ ReplyLost
//!           ✗ RequestLost
//!           ⧗ Late: the caller is told that nobody knows, the request arrives afterwards
//! ```

mod store;
mod streams;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

pub use self::store::UnreliableStore;
pub use self::streams::UnreliableStreams;
use crate::conformance::Rng;
use crate::ports::{AppendAt, Commit, LogCommit, VersionCommit};

/// A call that may fail.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// [`Store::commit`](crate::ports::Store::commit).
    Commit(&'a Commit),
    /// [`Store::log`](crate::ports::Store::log).
    Log(&'a LogCommit),
    /// [`Store::change_version`](crate::ports::Store::change_version).
    ChangeVersion(&'a VersionCommit),
    /// [`Streams::append`](crate::ports::Streams::append): the stream, and where.
    Append(&'a str, AppendAt),
    /// Another one that changes something, by the name of its method.
    Write(&'static str),
    /// One that changes nothing, by the name of its method.
    Read(&'static str),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Pass,
    /// It does not arrive, and the caller knows: a change fails as determinate.
    Refused,
    /// It does not arrive, and the caller does not know: a change fails as indeterminate.
    RequestLost,
    /// It arrives and is carried out; the answer does not arrive. Indeterminate as well.
    ReplyLost,
    /// Indeterminate as well; it arrives before the call that comes after so many others, or
    /// when it is delivered by hand. A read that is late is a read that is lost.
    Late {
        /// How many calls overtake it.
        after_calls: u32,
    },
}

/// Decides what becomes of each call.
pub trait Decide: Send + Sync + 'static {
    /// Asked once for each call, in their order.
    fn fate(&self, call: Call<'_>) -> Fate;
}

impl<F: Fn(Call<'_>) -> Fate + Send + Sync + 'static> Decide for F {
    fn fate(&self, call: Call<'_>) -> Fate {
        self(call)
    }
}

/// Lets so many calls of a hundred fail, in every way there is: the same ones for the same seed and
/// the same order of calls.
pub fn seeded(
    seed: u64,
    failing_percent: u64,
) -> impl Fn(Call<'_>) -> Fate + Send + Sync + 'static {
    let rng = Mutex::new(Rng::new(seed));
    move |_| {
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        if !rng.percent(failing_percent) {
            return Fate::Pass;
        }
        match rng.below(4) {
            0 => Fate::Refused,
            1 => Fate::RequestLost,
            2 => Fate::ReplyLost,
            _ => {
                let after_calls = u32::try_from(rng.below(5)).unwrap_or(0);
                Fate::Late { after_calls }
            }
        }
    }
}

type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Requests on their way.
#[derive(Default)]
struct Post {
    waiting: Mutex<VecDeque<(u32, Delivery)>>,
}

impl Post {
    fn send(&self, after_calls: u32, request: impl Future<Output = ()> + Send + 'static) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((after_calls, Box::pin(request)));
    }

    /// A call is made: whatever it does not overtake arrives now.
    async fn tick(&self) {
        let due = self.take(|after_calls| match after_calls.checked_sub(1) {
            Some(left) => {
                *after_calls = left;
                false
            }
            None => true,
        });
        for request in due {
            request.await;
        }
    }

    /// Everything arrives now; returns how much that was.
    async fn deliver(&self) -> usize {
        let due = self.take(|_| true);
        let count = due.len();
        for request in due {
            request.await;
        }
        count
    }

    fn take(&self, mut arrives: impl FnMut(&mut u32) -> bool) -> Vec<Delivery> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = vec![];
        let mut left = VecDeque::new();
        for (mut after_calls, request) in waiting.drain(..) {
            if arrives(&mut after_calls) {
                due.push(request);
            } else {
                left.push_back((after_calls, request));
            }
        }
        *waiting = left;
        due
    }
}

/// How a call that fails is told to its caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// It did not happen and will not.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Lost {
    fn message(self) -> String {
        match self {
            Self::Refused => "injected: refused".into(),
            Self::Unknown => "injected: no answer".into(),
        }
    }
}

/// Carries out one call under its fate.
///
/// `request` is made at most once, and owns whatever it needs: it may outlive the call.
async fn carry<T, F>(post: &Post, fate: Fate, request: F) -> Result<T, Lost>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    match fate {
        Fate::Pass => Ok(request.await),
        Fate::Refused => Err(Lost::Refused),
        Fate::RequestLost => Err(Lost::Unknown),
        Fate::ReplyLost => {
            request.await;
            Err(Lost::Unknown)
        }
        Fate::Late { after_calls } => {
            post.send(after_calls, async move {
                request.await;
            });
            Err(Lost::Unknown)
        }
    }
}

#[cfg(test)]
mod tests;
