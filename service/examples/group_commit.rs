//! How many commits a second the embedded store makes in a file, one after the other and together:
//! `cargo run -p service --release --example group_commit -- [FILE]`.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a measurement")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use service::conformance::{Game, Rng, register_versions};
use service::embedded::Embedded;
use service::ports::{Committed, Store, SystemClock};
use tokio::sync::Semaphore;

/// Who commits at the same time.
const COMMITTERS: u64 = 64;
/// How long each way is measured; they take turns.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: u64 = 3;

#[tokio::main]
async fn main() {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.unwrap_or_else(|| std::env::temp_dir().join("group_commit.redb"));
    let store = Embedded::open(&path, Arc::new(SystemClock)).expect("a store");
    register_versions(&store).await;
    for round in 0..ROUNDS {
        // One permit: a transaction and a sync for each commit.
        let one_by_one = measure(&store, 1, 2 * round).await;
        let together = measure(&store, Semaphore::MAX_PERMITS, 2 * round + 1).await;
        let ratio = together / one_by_one;
        println!("one by one {one_by_one:8.0}/s   together {together:8.0}/s   {ratio:5.1} times");
    }
    drop(store);
    std::fs::remove_file(path).expect("removed");
}

/// Commits a second, of so many at a time.
async fn measure(store: &Embedded, at_a_time: usize, seed: u64) -> f64 {
    let turnstile = Arc::new(Semaphore::new(at_a_time));
    let begun = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for committer in 0..COMMITTERS {
        let (store, turnstile) = (store.clone(), Arc::clone(&turnstile));
        tasks.spawn(async move {
            let mut rng = Rng::new(seed * COMMITTERS + committer);
            let mut game = Game::new(&format!("g-{seed}-{committer}"));
            let mut commits: u32 = 0;
            while begun.elapsed() < ROUND {
                let event = match &game.record {
                    None => game.registration(&mut rng),
                    Some(rt) if rt.started_at.is_none() => game.init_done(),
                    Some(rt) if rt.work().is_none() => machine::Event::Force,
                    Some(_) => game.turn_done(),
                };
                let commit = game.must(&event, &mut rng);
                let permit = turnstile.acquire().await.expect("open");
                let answer = store.commit(&commit).await.expect("a commit");
                drop(permit);
                assert_eq!(answer, Committed::Applied);
                game.applied(&commit);
                commits += 1;
            }
            commits
        });
    }
    let total: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(total) / begun.elapsed().as_secs_f64()
}
