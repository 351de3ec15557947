//! What the Game Masters on one store tell each other, so that what each knows by heart is not older
//! than it must be. Nothing depends on it but speed: what is decided is compared with the store.

use async_trait::async_trait;
use machine::{GameId, Incarnation, Runtime, Timestamp};
use serde::{Deserialize, Serialize};

/// What one of them tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// A record changed.
    Record {
        /// Whose.
        game: GameId,
        /// What it is now; `None`: gone.
        now: Option<Version>,
    },
    /// Who may act in a game changed.
    Members(GameId),
    /// The outbox has something.
    Outbox,
    /// Whoever tells this had more to tell than it could: anything may have changed.
    Lost,
}

/// Which state of which life a record is in, and when it wants attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The life.
    pub incarnation: Incarnation,
    /// How many commits into it.
    pub revision: u64,
    /// Its first timer.
    pub next_timer: Option<Timestamp>,
}

impl From<&Runtime> for Version {
    fn from(rt: &Runtime) -> Self {
        let next_timer = rt.next_timer().map(|(at, _)| at);
        Self { incarnation: rt.incarnation, revision: rt.revision, next_timer }
    }
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// In the order in which each of the others told it.
    News(Vec<News>),
    /// From now on nothing is heard; so it is before anything was.
    Deaf,
    /// From now on everything is heard; what was told before may be lost.
    Gap,
}

/// The others may or may not have been told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other processes cannot be told: {0}")]
pub struct FeedError(pub String);

/// The feed of one process. Every method but [`Self::next`] is bounded in time by its adapter.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Tells all others that are there. `Ok` once it is out of this process's hands: whoever hears
    /// at all will hear it.
    async fn publish(&self, news: &[News]) -> Result<(), FeedError>;

    /// What comes next; one caller at a time. Nothing is lost by dropping the future. What this
    /// process tells itself is not among it.
    async fn next(&self) -> Heard;
}
