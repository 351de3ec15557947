//! What processes tell each other through the database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use integration::harness::PATIENCE;
use machine::GameId;
use net::TokioNet;
use service::ports::{Feed, Heard, News, SystemEntropy};
use service::postgres::PostgresFeed;

use crate::support::{settings, shared};

fn open(url: &str) -> PostgresFeed {
    PostgresFeed::open(&settings(url), Arc::new(TokioNet), &SystemEntropy).expect("a feed")
}

async fn next(feed: &PostgresFeed) -> Heard {
    tokio::time::timeout(PATIENCE, feed.next()).await.expect("something is heard")
}

fn members(n: usize) -> News {
    News::Members(format!("game-{n}").parse().expect("a game id"))
}

/// Reads until so many games were told of; which.
async fn games(feed: &PostgresFeed, count: usize) -> BTreeSet<GameId> {
    let mut games = BTreeSet::new();
    while games.len() < count {
        match next(feed).await {
            Heard::News(news) => games.extend(news.into_iter().map(|news| match news {
                News::Members(game) => game,
                News::Record { .. } | News::Outbox | News::Lost => panic!("{news:?}"),
            })),
            other @ (Heard::Deaf | Heard::Gap) => panic!("{other:?}"),
        }
    }
    games
}

#[tokio::test]
async fn what_one_tells_all_others_hear_and_it_does_not_itself() {
    let (_, database) = shared().await;
    let feeds = [open(&database.url), open(&database.url), open(&database.url)];
    for feed in &feeds {
        assert_eq!(next(feed).await, Heard::Gap, "what was told before may be lost");
    }
    let [teller, first, second] = &feeds;
    // More than one letter holds, and from two at a time.
    let news: Vec<News> = (0..1_000).map(members).collect();
    let (told, also_told) =
        tokio::join!(teller.publish(&news), first.publish(std::slice::from_ref(&news[0])));
    assert_eq!((told, also_told), (Ok(()), Ok(())));
    assert_eq!(games(first, 1_000).await.len(), 1_000);
    assert_eq!(games(second, 1_000).await.len(), 1_000);
    assert_eq!(games(teller, 1).await.len(), 1);
    first.publish(&[News::Outbox]).await.expect("told");
    assert_eq!(next(teller).await, Heard::News(vec![News::Outbox]), "its own are not among them");
}

#[tokio::test]
async fn a_connection_that_ends_is_a_silence_and_then_a_gap() {
    let (server, database) = shared().await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let (one, two) = (open(&database.url), open(&database.url));
    for feed in [&one, &two] {
        assert_eq!(next(feed).await, Heard::Gap);
    }
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: i64 = admin.query_one(end, &[]).await.expect("ended").get(0);
    assert_eq!(ended, 2, "each has one connection");
    for feed in [&one, &two] {
        assert_eq!(next(feed).await, Heard::Deaf);
        assert_eq!(next(feed).await, Heard::Gap);
    }
    one.publish(&[members(1)]).await.expect("told");
    assert_eq!(games(&two, 1).await.len(), 1);
}

#[tokio::test]
async fn what_the_database_does_not_take_is_not_said_to_be_told() {
    // Nobody listens at that port.
    let feed = open("postgresql://gamemaster@127.0.0.1:9/gamemaster");
    let began = tokio::time::Instant::now();
    feed.publish(&[News::Outbox]).await.expect_err("nobody took it");
    assert!(began.elapsed() >= Duration::from_secs(2), "it was not even tried for a while");
}

/// A letter that cannot be read may say anything.
#[tokio::test]
async fn a_letter_of_another_version_counts_as_lost_news() {
    let (server, database) = shared().await;
    let admin = server.admin(&database.name).await.expect("a connection");
    let feed = open(&database.url);
    assert_eq!(next(&feed).await, Heard::Gap);
    admin.batch_execute("NOTIFY gamemaster_news, 'tomorrow'").await.expect("told");
    assert_eq!(next(&feed).await, Heard::News(vec![News::Lost]));
}
