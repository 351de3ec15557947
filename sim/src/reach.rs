//! Which hosts can be reached from which, for whoever opens a connection.
//!
//! turmoil refuses every connection that cannot be opened, at once, and keeps its port for ever. A
//! host that nothing passes to refuses nothing, and a life of days has more attempts than ports: so
//! whoever connects asks here first.

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
}

impl Inner {
    /// A connection needs both ways.
    fn is_cut(&self, a: &str, b: &str) -> bool {
        let is_cut = |from: &str, to: &str| self.cut.contains(&(from.to_owned(), to.to_owned()));
        !self.cut.is_empty() && (is_cut(a, b) || is_cut(b, a))
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
            let (is_cut, is_down) = {
                let inner = lock(&self.inner);
                (inner.is_cut(from, to), inner.down.contains(to))
            };
            if is_cut {
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
