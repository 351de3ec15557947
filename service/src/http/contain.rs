//! Panics end a request, not more.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// A future panicked. What it said is the panic hook's to print: it may hold anything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs `future`; a panic of it is an outcome.
///
/// What it leaves half-done is what dropping it at that point would leave, which it must bear in
/// any case: a client that hangs up does the same.
pub(super) async fn contain<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(payload) => {
                forget_safely(payload);
                Poll::Ready(Err(Panicked))
            }
        }
    })
    .await
}

/// A payload may panic again when it is dropped.
fn forget_safely(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        assert_eq!(contain(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("as expected");
        };
        assert_eq!(contain::<()>(late).await, Err(Panicked));
    }
}
