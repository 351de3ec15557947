//! The feed over PostgreSQL: LISTEN and NOTIFY, on a connection of its own.
//!
//! ```text
//!   publish ──▶ parcels ──▶ one statement for all that gathered ──▶ pg_notify ──▶ every listener
//!   next ◀───── others' news ◀── letters from the server ◀── own letters too: the proof of hearing
//! ```
//!
//! SUBTLE: nothing is notified by the commits themselves. A transaction that notifies holds, from
//! before its commit until it is flushed, a lock that there is one of in the whole cluster: commits
//! would wait for each other's fsync, which is what lanes and batches are there to avoid. Here the lock
//! is held by one short statement for many changes, which waits for no fsync; what is lost when this
//! process or the server dies is covered by the times that boards and caches believe for.
//!
//! A connection that is half open is silent, and silence is what a quiet feed sounds like. So each feed
//! writes itself a letter every second: when none comes back for a while, nothing is heard, and a new
//! connection is opened. What was told in between is a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use net::Net;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::{Client, Config, Notification};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::connect;
use super::error::told;
use super::{OpenError, PostgresSettings};
use crate::ports::{Entropy, Feed, FeedError, Heard, News};

// One channel for the database, as there is one schema.
const LISTEN: &str = "LISTEN gamemaster_news";
const NOTIFY: &str = "SELECT pg_notify('gamemaster_news', letter) FROM unnest($1::text[]) letter";
/// PostgreSQL takes less than 8,000 bytes.
const MAX_LETTER_BYTES: usize = 7_900;
/// How many calls of `publish` may wait to be sent, and how many of them are sent together.
const MAX_PARCELS: usize = 1_024;
/// How many letters of others may wait to be read.
const MAX_LETTERS: usize = 1_024;
/// How long `publish` waits for the server to take what it is given.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server may take for one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a feed writes to itself.
const PING_PERIOD: Duration = Duration::from_secs(1);
/// Where nothing comes back for so long, nothing is heard.
const SILENCE: Duration = Duration::from_secs(3);
/// The pause before a connection is tried again; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(2);

/// The feed of one process; its connection ends with it.
pub struct PostgresFeed {
    parcels: mpsc::Sender<Parcel>,
    heard: Mutex<mpsc::Receiver<Heard>>,
    _task: AbortOnDropHandle<()>,
}

/// What somebody wants told, and is waiting to hear of.
struct Parcel {
    news: Vec<News>,
    taken: oneshot::Sender<()>,
}

/// What goes over the wire.
#[derive(Deserialize)]
struct Letter {
    from: Uuid,
    news: Vec<News>,
}

/// Where the connection's task puts what comes in.
#[derive(Clone)]
pub(super) struct Letterbox {
    letters: mpsc::Sender<Notification>,
    /// Whether one did not fit.
    full: Arc<AtomicBool>,
}

impl Letterbox {
    pub(super) fn put(&self, notification: Notification) {
        if self.letters.try_send(notification).is_err() {
            self.full.store(true, Ordering::Relaxed);
        }
    }
}

impl PostgresFeed {
    /// A feed over a database. Connects by itself, within a tokio runtime.
    pub fn open(
        settings: &PostgresSettings,
        net: Arc<dyn Net>,
        entropy: &dyn Entropy,
    ) -> Result<Self, OpenError> {
        let mut config = connect::config(&settings.url, settings.connect_timeout)?;
        let session = connect::session(&config, settings);
        config.options(format!("{session} -c synchronous_commit=off"));
        let (parcels, waiting) = mpsc::channel(MAX_PARCELS);
        let (tell, heard) = mpsc::channel(MAX_LETTERS);
        let (origin, unsent, hears) = (entropy.uuid(), vec![], false);
        let post = Post { net, config, origin, waiting, unsent, tell, hears };
        let task = AbortOnDropHandle::new(tokio::spawn(post.run()));
        Ok(Self { parcels, heard: Mutex::new(heard), _task: task })
    }
}

#[async_trait]
impl Feed for PostgresFeed {
    async fn publish(&self, news: &[News]) -> Result<(), FeedError> {
        let (taken, answer) = oneshot::channel();
        let parcel = Parcel { news: news.to_vec(), taken };
        let refuse = |why: &str| FeedError(why.into());
        self.parcels.try_send(parcel).map_err(|_| refuse("too many wait"))?;
        match tokio::time::timeout(PUBLISH_TIMEOUT, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(refuse("the feed ended")),
            Err(_) => Err(refuse("the database did not take it in time")),
        }
    }

    async fn next(&self) -> Heard {
        match self.heard.lock().await.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

/// The one who carries letters.
struct Post {
    net: Arc<dyn Net>,
    config: Config,
    origin: Uuid,
    waiting: mpsc::Receiver<Parcel>,
    /// What was taken from there, and not by the server for certain: told twice it does no harm.
    unsent: Vec<Parcel>,
    tell: mpsc::Sender<Heard>,
    /// Whether own letters come back.
    hears: bool,
}

/// Why a connection is given up.
enum Over {
    Broken(String),
    /// Nobody is there any more to carry for.
    Done,
}

impl Post {
    async fn run(mut self) {
        let (mut pause, mut failures) = (PAUSE, 0_u32);
        loop {
            match self.connected().await {
                Over::Done => return,
                Over::Broken(why) => {
                    if std::mem::take(&mut self.hears) {
                        (pause, failures) = (PAUSE, 0);
                        if self.tell.send(Heard::Deaf).await.is_err() {
                            return;
                        }
                    }
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(why, "the feed of changes is interrupted");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_CAP);
        }
    }

    /// One connection, from its beginning to its end.
    async fn connected(&mut self) -> Over {
        let (letters, mut incoming) = mpsc::channel(MAX_LETTERS);
        let letterbox = Letterbox { letters, full: Arc::default() };
        let dialled = connect::dial_for(&*self.net, &self.config, Some(letterbox.clone())).await;
        let (client, task) = match dialled {
            Ok(connected) => connected,
            Err(error) => return Over::Broken(told(&error)),
        };
        let mut task = AbortOnDropHandle::new(task);
        self.attached(&client, &letterbox, &mut incoming, &mut task).await
    }

    async fn attached(
        &mut self,
        client: &Client,
        letterbox: &Letterbox,
        incoming: &mut mpsc::Receiver<Notification>,
        task: &mut AbortOnDropHandle<()>,
    ) -> Over {
        let listen = client.batch_execute(LISTEN);
        if let Err(why) = in_time(listen).await {
            return Over::Broken(why);
        }
        let mut own_at = Instant::now();
        let mut ping_at = own_at;
        loop {
            if letterbox.full.swap(false, Ordering::Relaxed) && self.hears {
                // SUBTLE: after the mark was taken back and before the letters that are there are
                // read: those that come from here on are not covered by this gap.
                if self.tell.send(Heard::Gap).await.is_err() {
                    return Over::Done;
                }
            }
            // SUBTLE: in this order, and not by lot, so that a simulated life is the same each time.
            // However many letters come, what waits to be sent is sent at each ping.
            tokio::select! {
                biased;
                () = self.tell.closed() => return Over::Done,
                _ = &mut *task => return Over::Broken("the connection ended".into()),
                () = tokio::time::sleep_until(ping_at) => {
                    ping_at = Instant::now() + PING_PERIOD;
                    if own_at.elapsed() >= SILENCE {
                        return Over::Broken("nothing comes back".into());
                    }
                    self.gather();
                    if let Err(why) = self.send(client).await {
                        return Over::Broken(why);
                    }
                }
                Some(letter) = incoming.recv() => {
                    match serde_json::from_str::<Letter>(letter.payload()) {
                        Ok(letter) if letter.from == self.origin => {
                            own_at = Instant::now();
                            if !std::mem::replace(&mut self.hears, true)
                                && self.tell.send(Heard::Gap).await.is_err()
                            {
                                return Over::Done;
                            }
                        }
                        Ok(letter) if letter.news.is_empty() => {}
                        Ok(letter) => self.pass_on(Heard::News(letter.news), letterbox),
                        // Of another version of this program: it may say anything.
                        Err(_) => self.pass_on(Heard::News(vec![News::Lost]), letterbox),
                    }
                }
                parcel = self.waiting.recv() => {
                    let Some(parcel) = parcel else { return Over::Done };
                    self.unsent.push(parcel);
                    self.gather();
                    if let Err(why) = self.send(client).await {
                        return Over::Broken(why);
                    }
                }
            }
        }
    }

    /// Takes what waits, as much as is sent together.
    fn gather(&mut self) {
        while self.unsent.len() < MAX_PARCELS
            && let Ok(parcel) = self.waiting.try_recv()
        {
            self.unsent.push(parcel);
        }
    }

    /// What whoever listens here is too slow for becomes a gap.
    fn pass_on(&self, heard: Heard, letterbox: &Letterbox) {
        if self.tell.try_send(heard).is_err() {
            letterbox.full.store(true, Ordering::Relaxed);
        }
    }

    /// Sends all that waits, and a letter to itself where nothing does.
    async fn send(&mut self, client: &Client) -> Result<(), String> {
        // Whoever gave up was told so.
        self.unsent.retain(|parcel| !parcel.taken.is_closed());
        let letters = letters(self.origin, self.unsent.iter().flat_map(|parcel| &parcel.news));
        in_time(client.execute(NOTIFY, &[&letters])).await?;
        for parcel in self.unsent.drain(..) {
            // Whoever gave up just now was told so.
            let _ = parcel.taken.send(());
        }
        Ok(())
    }
}

async fn in_time<T>(
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, statement).await {
        Ok(answer) => answer.map_err(|error| told(&error)),
        Err(_) => Err("the server does not answer".into()),
    }
}

/// At least one letter, each as long as a letter may be.
fn letters<'n>(from: Uuid, news: impl Iterator<Item = &'n News>) -> Vec<String> {
    let wrap = |news: &[String]| format!(r#"{{"from":"{from}","news":[{}]}}"#, news.join(","));
    let (mut letters, mut page, mut length) = (vec![], vec![], 0);
    let empty = wrap(&[]).len();
    for news in news {
        // Nothing in it can fail to be written.
        let Ok(text) = serde_json::to_string(news) else { continue };
        if !page.is_empty() && empty + length + text.len() + 1 > MAX_LETTER_BYTES {
            letters.push(wrap(&page));
            page.clear();
            length = 0;
        }
        length += text.len() + 1;
        page.push(text);
    }
    if !page.is_empty() || letters.is_empty() {
        letters.push(wrap(&page));
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Version;
    use machine::Incarnation;

    #[test]
    fn letters_are_as_long_as_the_server_takes_and_say_everything_in_order() {
        let from = Uuid::from_u128(7);
        let record = |n: usize| News::Record {
            game: format!("{n:064}").parse().expect("a game id"),
            now: Some(Version {
                incarnation: Incarnation(Uuid::from_u128(u128::MAX)),
                revision: u64::MAX,
                next_timer: Some(crate::conformance::START),
            }),
        };
        let mut news: Vec<News> = (0..500).map(record).collect();
        news.extend([News::Outbox, News::Lost, News::Members("g".parse().expect("a game id"))]);
        let sent = letters(from, news.iter());
        assert!(sent.len() > 5 && sent.iter().all(|letter| letter.len() < 8_000), "{}", sent.len());
        let mut read = vec![];
        for letter in &sent {
            let letter: Letter = serde_json::from_str(letter).expect("a letter");
            assert_eq!(letter.from, from);
            read.extend(letter.news);
        }
        assert_eq!(read, news);
        assert_eq!(letters(from, [].iter()).len(), 1, "to itself");
    }
}
