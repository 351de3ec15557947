//! What this process has to tell the others, gathered until it can be told.
//!
//! Of several changes of one game the last one counts. What does not fit is told as "anything may have
//! changed". Whoever has news never waits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use machine::{GameId, Runtime};
use tokio::sync::Notify;

use crate::ports::{News, Version};

/// Of how many games there may be news.
pub const MAX_GAMES: usize = 10_000;

/// See the module.
#[derive(Default)]
pub struct Newsroom {
    desk: Mutex<Desk>,
    rang: Notify,
}

#[derive(Default)]
struct Desk {
    records: BTreeMap<GameId, Option<Version>>,
    outbox: bool,
    lost: bool,
}

impl Newsroom {
    /// A record changed.
    pub fn record(&self, game: &GameId, record: Option<&Runtime>) {
        let mut desk = self.lock();
        if desk.lost {
            return;
        }
        if desk.records.len() >= MAX_GAMES && !desk.records.contains_key(game) {
            desk.lose();
        } else {
            desk.records.insert(game.clone(), record.map(Version::from));
        }
        drop(desk);
        self.rang.notify_one();
    }

    /// The outbox has something.
    pub fn outbox(&self) {
        self.lock().outbox = true;
        self.rang.notify_one();
    }

    /// What was taken was not told for certain.
    pub fn lost(&self) {
        self.lock().lose();
        self.rang.notify_one();
    }

    /// Waits until there is something, and takes all of it.
    pub async fn take(&self) -> Vec<News> {
        loop {
            let news = std::mem::take(&mut *self.lock()).into_news();
            if !news.is_empty() {
                return news;
            }
            self.rang.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn lose(&mut self) {
        *self = Self { records: BTreeMap::new(), outbox: true, lost: true };
    }

    fn into_news(self) -> Vec<News> {
        let lost = self.lost.then_some(News::Lost);
        let records = self.records.into_iter().map(|(game, now)| News::Record { game, now });
        lost.into_iter().chain(records).chain(self.outbox.then_some(News::Outbox)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn game(n: usize) -> GameId {
        format!("game-{n}").parse().expect("a game id")
    }

    #[tokio::test]
    async fn of_each_game_the_last_is_told_and_what_does_not_fit_is_told_as_lost() {
        let room = Newsroom::default();
        for n in [2, 1, 2] {
            room.record(&game(n), None);
        }
        room.outbox();
        let gone = |n| News::Record { game: game(n), now: None };
        assert_eq!(room.take().await, [gone(1), gone(2), News::Outbox]);
        for n in 0..=MAX_GAMES {
            room.record(&game(n), None);
        }
        room.record(&game(0), None);
        assert_eq!(room.take().await, [News::Lost, News::Outbox]);
        room.record(&game(3), None);
        assert_eq!(room.take().await, [gone(3)]);
    }
}
