//! [`Feed`] within one process: for several Game Masters over one embedded store, which only tests and
//! the simulation have.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};

use crate::ports::{Feed, FeedError, Heard, News};

/// How many batches may wait for the slowest.
pub(super) const MAX_WAITING: usize = 1_024;

/// From whom, and what.
pub(super) type Letter = (u64, Arc<[News]>);

/// One end of the feed of an embedded store.
pub struct EmbeddedFeed {
    origin: u64,
    others: broadcast::Sender<Letter>,
    heard: Mutex<Ear>,
}

struct Ear {
    letters: broadcast::Receiver<Letter>,
    /// Whether anything was asked for yet.
    listens: bool,
}

impl EmbeddedFeed {
    pub(super) fn new(origin: u64, others: broadcast::Sender<Letter>) -> Self {
        let ear = Ear { letters: others.subscribe(), listens: false };
        Self { origin, others, heard: Mutex::new(ear) }
    }
}

#[async_trait]
impl Feed for EmbeddedFeed {
    async fn publish(&self, news: &[News]) -> Result<(), FeedError> {
        if self.others.receiver_count() > 1 {
            // One of the receivers is this end's own.
            let _ = self.others.send((self.origin, news.into()));
        }
        Ok(())
    }

    async fn next(&self) -> Heard {
        let mut ear = self.heard.lock().await;
        if !std::mem::replace(&mut ear.listens, true) {
            return Heard::Gap;
        }
        loop {
            match ear.letters.recv().await {
                Ok((from, _)) if from == self.origin => {}
                Ok((_, news)) => return Heard::News(news.to_vec()),
                Err(RecvError::Lagged(_)) => return Heard::Gap,
                // This end has a sender.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
