//! Which hosts can be reached from which, for whoever opens a connection.
//!
//! turmoil refuses every connection that cannot be opened, at once, and keeps its port for ever; and
//! what is held up it keeps for ever too, if nobody waits for it any more. A host that nothing passes
//! to refuses nothing, and a life of days has more attempts than there are ports, or places in a
//! queue: so whoever connects asks here first.

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use crate::board::lock;

/// How soon a host that is there, and on which nothing runs, refuses.
const REFUSED_AFTER: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Default)]
pub struct Reach {
    inner: Mutex<Inner>,
    mended: Notify,
}

#[derive(Default)]
struct Inner {
    down: BTreeSet<String>,
    /// Ways on which nothing passes.
    cut: BTreeSet<(String, String)>,
    /// Ways on which everything waits.
    held: BTreeSet<(String, String)>,
}

impl Inner {
    /// A connection needs both ways.
    fn is_closed(&self, a: &str, b: &str) -> bool {
        if self.cut.is_empty() && self.held.is_empty() {
            return false;
        }
        let (there, back) = ((a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned()));
        [&self.cut, &self.held].iter().any(|ways| ways.contains(&there) || ways.contains(&back))
    }
}

impl Reach {
    /// Nothing runs on a host any more.
    pub fn goes_down(&self, host: &str) {
        lock(&self.inner).down.insert(host.to_owned());
    }

    /// Something runs there again.
    pub fn comes_up(&self, host: &str) {
        lock(&self.inner).down.remove(host);
    }

    /// Nothing passes one way.
    pub fn cut(&self, from: &str, to: &str) {
        lock(&self.inner).cut.insert((from.to_owned(), to.to_owned()));
    }

    /// It passes again.
    pub fn mend(&self, from: &str, to: &str) {
        lock(&self.inner).cut.remove(&(from.to_owned(), to.to_owned()));
        self.mended.notify_waiters();
    }

    /// Everything waits, both ways.
    pub fn hold(&self, a: &str, b: &str) {
        let ways = [(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())];
        lock(&self.inner).held.extend(ways);
    }

    /// It passes again, unless it is cut.
    pub fn release(&self, a: &str, b: &str) {
        lock(&self.inner)
            .held
            .retain(|(from, to)| ![(a, b), (b, a)].contains(&(from.as_str(), to.as_str())));
        self.mended.notify_waiters();
    }

    /// Whether nothing passes one way.
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        lock(&self.inner).cut.contains(&(from.to_owned(), to.to_owned()))
    }

    /// Comes back once a connection can be opened, as a request for one is sent again and again until
    /// whoever wants it gives up.
    ///
    /// # Errors
    ///
    /// Nothing runs there.
    pub async fn way(&self, from: &str, to: &str) -> io::Result<()> {
        loop {
            let mended = self.mended.notified();
            tokio::pin!(mended);
            mended.as_mut().enable();
            // Not held while waiting.
            let (is_closed, is_down) = {
                let inner = lock(&self.inner);
                (inner.is_closed(from, to), inner.down.contains(to))
            };
            if is_closed {
                mended.await;
            } else if is_down {
                tokio::time::sleep(REFUSED_AFTER).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            } else {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_refuses_what_does_not_arrive_and_what_is_mended_opens() {
        let reach = Arc::new(Reach::default());
        let long = Duration::from_secs(3_600);
        assert!(reach.way("a", "b").await.is_ok());
        for (from, to) in [("a", "b"), ("b", "a")] {
            reach.cut(from, to);
            assert!(tokio::time::timeout(long, reach.way("a", "b")).await.is_err());
            assert!(reach.way("a", "c").await.is_ok());
            let waiting = tokio::spawn({
                let reach = Arc::clone(&reach);
                async move { reach.way("a", "b").await }
            });
            tokio::task::yield_now().await;
            reach.mend(from, to);
            assert!(waiting.await.expect("no panic").is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_up_waits_too_and_opens_once_all_that_closes_the_way_is_over() {
        let reach = Reach::default();
        let long = Duration::from_secs(3_600);
        reach.hold("a", "b");
        for (from, to) in [("a", "b"), ("b", "a")] {
            assert!(tokio::time::timeout(long, reach.way(from, to)).await.is_err());
        }
        reach.cut("b", "a");
        reach.release("b", "a");
        assert!(tokio::time::timeout(long, reach.way("a", "b")).await.is_err(), "still cut");
        reach.hold("a", "b");
        reach.mend("b", "a");
        assert!(tokio::time::timeout(long, reach.way("a", "b")).await.is_err(), "still held up");
        reach.release("a", "b");
        assert!(reach.way("a", "b").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_runs_it_is_refused_unless_nothing_arrives_there() {
        let reach = Reach::default();
        reach.goes_down("b");
        let refused = reach.way("a", "b").await.expect_err("nothing runs there");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        reach.cut("a", "b");
        let long = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(long, reach.way("a", "b")).await.is_err());
        reach.mend("a", "b");
        reach.comes_up("b");
        assert!(reach.way("a", "b").await.is_ok());
    }
}
