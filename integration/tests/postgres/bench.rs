//! How many commits a second a durable server takes: `cargo nextest run -p integration --test
//! postgres --run-ignored only`. The figures are printed; what is checked is that all were made.

use std::time::Duration;

use integration::servers::{Durability, PostgresServer};
use machine::Event;
use service::conformance::Rng;
use service::ports::{Committed, Store};

use crate::support::{know_versions, migrated, open, running, settings};

const COMMITTERS: usize = 64;
const SECONDS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commits_per_second_alone_and_in_groups() {
    let server = PostgresServer::start(Durability::Full).await;
    for (what, lanes, batch) in
        [("alone", 15, 1), ("in groups", 1, 128), ("in groups", 2, 128), ("in groups", 4, 128)]
    {
        let database = migrated(&server).await;
        let mut settings = settings(&database.url);
        settings.commit_lanes = lanes;
        settings.commit_batch = batch;
        let store = open(settings);
        let mut rng = Rng::new(1);
        know_versions(&store, &mut rng).await;
        let mut tasks = tokio::task::JoinSet::new();
        let mut games = vec![];
        for n in 0..COMMITTERS {
            games.push(running(&store, &format!("game-{n:02}"), &mut rng).await);
        }
        let begun = tokio::time::Instant::now();
        let end = begun + Duration::from_secs(SECONDS);
        for (n, mut game) in (0..).zip(games) {
            let (store, mut rng) = (store.clone(), Rng::new(1_000 + n));
            tasks.spawn(async move {
                let mut made: u32 = 0;
                while tokio::time::Instant::now() < end {
                    let turning = game.record.as_ref().is_some_and(|rt| rt.work().is_some());
                    let event = if turning { game.turn_done() } else { Event::Force };
                    let commit = game.must(&event, &mut rng);
                    let answer = store.commit(&commit).await.expect("a commit");
                    assert_eq!(answer, Committed::Applied);
                    game.applied(&commit);
                    made += 1;
                }
                let found = store.load(&game.id).await.expect("a load");
                assert_eq!(found, game.record);
                made
            });
        }
        let mut made = 0;
        while let Some(count) = tasks.join_next().await {
            made += count.expect("a committer");
        }
        let rate = f64::from(made) / begun.elapsed().as_secs_f64();
        println!("{what}, {lanes} lanes of up to {batch}: {rate:.0} commits/s");
    }
}
