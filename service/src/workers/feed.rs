//! The feed: tells the others what changed here, and forgets here what they changed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::jitter::jittered;
use crate::board::Board;
use crate::driver::Driver;
use crate::membership::Memberships;
use crate::ports::{Feed, Heard, News};

/// News is gathered for so long, so that many changes are told in one go.
const GATHER: Duration = Duration::from_millis(5);
/// The pause after news that was not taken; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause, but for the jitter.
const PAUSE_CAP: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone)]
pub struct FeedWorker {
    /// What there is to tell, and whom to tell what is heard.
    pub driver: Arc<Driver>,
    /// The others.
    pub feed: Arc<dyn Feed>,
    /// What is forgotten.
    pub board: Arc<Board>,
    /// What is forgotten, and for how long it is believed.
    pub memberships: Arc<Memberships>,
    /// How long memberships are believed while nothing is heard: as long as the board is.
    pub deaf_ttl: Duration,
}

impl FeedWorker {
    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.hear() => {}
            () = self.tell() => {}
        }
    }

    async fn tell(&self) {
        let (newsroom, metrics) = (self.driver.news(), self.driver.telemetry().metrics());
        let mut pause = PAUSE;
        loop {
            let news = newsroom.take().await;
            match self.feed.publish(&news).await {
                Ok(()) => {
                    metrics.told(news.len());
                    pause = PAUSE;
                    tokio::time::sleep(GATHER).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the others are not told");
                    newsroom.lost();
                    tokio::time::sleep(jittered(pause, self.driver.entropy())).await;
                    pause = (pause * 2).min(PAUSE_CAP);
                }
            }
        }
    }

    async fn hear(&self) {
        // What was heard before, where this worker fell: nobody knows.
        self.deaf();
        self.forget();
        loop {
            match self.feed.next().await {
                Heard::News(news) => {
                    self.driver.telemetry().metrics().heard(news.len());
                    news.iter().for_each(|news| self.take_in(news));
                }
                Heard::Deaf => {
                    tracing::warn!("changes made by other processes are not heard of");
                    self.deaf();
                }
                Heard::Gap => {
                    tracing::info!("changes made by other processes are heard of");
                    self.driver.telemetry().metrics().feed_gap();
                    self.forget();
                    self.memberships.believe(None);
                }
            }
        }
    }

    fn take_in(&self, news: &News) {
        match news {
            News::Record { game, now } => self.driver.heard(game, *now),
            News::Members(game) => self.memberships.invalidate(game),
            News::Outbox => self.driver.outbox().notify_one(),
            News::Lost => {
                self.driver.telemetry().metrics().feed_gap();
                self.forget();
            }
        }
    }

    fn deaf(&self) {
        self.memberships.believe(Some(self.deaf_ttl));
    }

    /// Anything may have changed. What was due is left in the queue: a timer that is not due after all
    /// costs a look at the record, and one that is missing is found by the next fill.
    fn forget(&self) {
        self.board.forget_all();
        self.memberships.invalidate_all();
        self.driver.outbox().notify_one();
    }
}
