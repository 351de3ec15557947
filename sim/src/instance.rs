//! A Game Master of the simulation: the production composition root, over what is simulated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use machine::{Channel, StreamId};
use net::{Net, RedisLimits};
use service::app::{self, Seams};
use service::config::Settings;
use service::ports::{
    AppendAt, Appended, AppendedAll, Entropy, Entry, Feed, NewEntry, Store, StreamError, Streams,
};
use service::postgres::{OpenError, Postgres, PostgresFeed, PostgresSettings};
use service::redis_streams::{RedisSettings, RedisStreams};

use crate::board::Board;
use crate::books::Books;
use crate::net::SimNet;
use crate::oracle::Oracle;
use crate::plan::{Moment, Sabotage};
use crate::rpc::{Desk, RemoteStore, StoreTimeouts};
use crate::seams::{SimClock, SimEntropy};
use crate::touched::{SABOTAGED, TouchedStore};
use crate::world::{REDIS, REDIS_PORT, STORE, STORE_PORT, gm_host};

type StoreAndFeed = (Arc<dyn Store>, Arc<dyn Feed>);

/// One Game Master, and what starts it again.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) gm: usize,
    pub(crate) net: Arc<SimNet>,
    pub(crate) settings: Option<Settings>,
    pub(crate) limits: RedisLimits,
    pub(crate) timeouts: StoreTimeouts,
    pub(crate) entropy: Arc<SimEntropy>,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) books: Books,
    pub(crate) desk: Arc<Desk>,
    pub(crate) board: Arc<Board>,
    pub(crate) oracle: Arc<Oracle>,
}

impl Instance {
    /// One process, from its start to its end.
    pub(crate) async fn run(self) -> turmoil::Result {
        let name = gm_host(self.gm);
        let (settings, seams) = (self.settings.clone().ok_or("no settings")?, self.seams()?);
        match app::bind(settings, seams, self.board.starts(self.gm)).await {
            Ok(bound) => {
                self.oracle.chronicle.note(None, &format!("{name} serves"));
                match bound.run().await {
                    Ok(()) => self.oracle.chronicle.note(None, &format!("{name} has ended")),
                    Err(error) => {
                        self.oracle.violated("no_panic", None, &format!("{name}: {error}"));
                    }
                }
            }
            Err(error) => {
                let why = format!("{name} cannot start: {error}");
                self.oracle.chronicle.note(None, &why);
            }
        }
        self.board.end(self.gm).await;
        Ok(())
    }

    /// The store, and what its instances tell each other.
    fn store(&self) -> Result<StoreAndFeed, OpenError> {
        let net: Arc<dyn Net> = self.net.clone();
        if let Books::Embedded(store) = &self.books {
            let (desk, timeouts) = (Arc::clone(&self.desk), self.timeouts);
            let remote = RemoteStore::new(net, desk, timeouts);
            return Ok((Arc::new(remote), Arc::new(store.feed())));
        }
        let url = format!("postgresql://gm:hush@{STORE}:{STORE_PORT}/gm");
        let StoreTimeouts { connect, answer } = self.timeouts;
        let settings = PostgresSettings {
            connect_timeout: connect,
            wait_timeout: connect,
            statement_timeout: answer,
            lock_timeout: answer / 2,
            ..PostgresSettings::new(url.as_str().into())
        };
        let entropy: Arc<dyn Entropy> = self.entropy.clone();
        let feed = PostgresFeed::open(&settings, Arc::clone(&net), &*entropy)?;
        Ok((Arc::new(Postgres::open(settings, net, entropy)?), Arc::new(feed)))
    }

    fn seams(&self) -> Result<Seams, Box<dyn std::error::Error>> {
        let url = format!("redis://{REDIS}:{REDIS_PORT}").parse()?;
        let settings = RedisSettings { url, limits: self.limits, key_prefix: String::new() };
        let streams = TouchedStreams {
            inner: RedisStreams::new(self.net.clone(), settings),
            board: Arc::clone(&self.board),
            gm: self.gm,
            sabotage: self.sabotage,
            appends: AtomicU64::new(0),
        };
        let (store, feed) = self.store()?;
        let told = (Arc::clone(&self.board), Arc::clone(&self.oracle));
        let store = TouchedStore::new(store, told, self.gm, self.sabotage);
        Ok(Seams {
            net: self.net.clone(),
            store: Arc::new(store),
            streams: Arc::new(streams),
            feed,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        })
    }
}

/// The production streams, whose calls are points of contact.
struct TouchedStreams {
    inner: RedisStreams,
    board: Arc<Board>,
    gm: usize,
    sabotage: Option<Sabotage>,
    appends: AtomicU64,
}

impl TouchedStreams {
    async fn touched<T>(&self, point: &str, call: impl Future<Output = T> + Send) -> T {
        self.board.touch(self.gm, point, Moment::Before).await;
        let answer = call.await;
        self.board.touch(self.gm, point, Moment::After).await;
        answer
    }
}

#[async_trait]
impl Streams for TouchedStreams {
    async fn append(
        &self,
        stream: &str,
        at: AppendAt,
        payload: &[u8],
    ) -> Result<Appended, StreamError> {
        self.touched("streams.append", self.inner.append(stream, at, payload)).await
    }

    async fn append_all(
        &self,
        stream: &str,
        onto: StreamId,
        entries: &[NewEntry<'_>],
    ) -> AppendedAll {
        // What is missing in the stream for Lobby the relay notices, and mends.
        let is_meant = self.sabotage != Some(Sabotage::SwallowAppends)
            || stream == Channel::NotificationIntents.as_str();
        let is_its_turn =
            is_meant && self.appends.fetch_add(1, Ordering::Relaxed) % SABOTAGED == SABOTAGED - 1;
        match self.sabotage.filter(|_| is_its_turn) {
            Some(Sabotage::SwallowAppends) => {
                let id = |entry: &NewEntry<'_>| match entry.at {
                    AppendAt::Exactly(id) => id,
                    AppendAt::Next => StreamId::ZERO,
                };
                return AppendedAll { added: entries.iter().map(id).collect(), stopped: None };
            }
            Some(Sabotage::RepeatAppends) => {
                for entry in entries.iter().take(1) {
                    let _ = self.inner.append(stream, AppendAt::Next, entry.payload).await;
                }
            }
            Some(
                Sabotage::SwallowCommits
                | Sabotage::ForgetKeys
                | Sabotage::Unguarded
                | Sabotage::BelieveForEver
                | Sabotage::ShowThePast,
            )
            | None => {}
        }
        self.touched("streams.append_all", self.inner.append_all(stream, onto, entries)).await
    }

    async fn read(
        &self,
        stream: &str,
        after: StreamId,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        self.touched("streams.read", self.inner.read(stream, after, max, wait)).await
    }

    async fn entry(&self, stream: &str, id: StreamId) -> Result<Option<Entry>, StreamError> {
        self.touched("streams.entry", self.inner.entry(stream, id)).await
    }

    async fn newest(&self, stream: &str) -> Result<StreamId, StreamError> {
        self.touched("streams.newest", self.inner.newest(stream)).await
    }

    async fn trim(&self, stream: &str, below: StreamId) -> Result<(), StreamError> {
        self.touched("streams.trim", self.inner.trim(stream, below)).await
    }

    async fn offset(&self, consumer: &str) -> Result<Option<String>, StreamError> {
        self.touched("streams.offset", self.inner.offset(consumer)).await
    }

    async fn save_offset(&self, consumer: &str, offset: StreamId) -> Result<(), StreamError> {
        self.touched("streams.save_offset", self.inner.save_offset(consumer, offset)).await
    }
}
