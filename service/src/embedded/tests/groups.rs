//! Writes that go together.

use std::sync::mpsc;

use chrono::TimeDelta;
use machine::{Event, StreamId};
use tokio::task::JoinHandle;

use super::super::error::WriteError;
use super::super::{Embedded, MAX_PAYLOAD_BYTES, MAX_WRITES_AT_ONCE, Planned};
use super::disk::Disk;
use super::{Game, Rng, on};
use crate::ports::{
    AppendAt, Commit, CommitError, CommitId, Committed, OperationRow, Store, Streams,
};

/// Keeps the file busy until told to go on.
struct Busy {
    go_on: mpsc::SyncSender<()>,
    write: JoinHandle<Result<(), WriteError>>,
}

async fn busy(store: &Embedded) -> Busy {
    let (go_on, wait) = mpsc::sync_channel(1);
    let (begun, begins) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let plan = move |_: &_| {
        let _ = begun.send(());
        let _ = wait.recv();
        Ok(Planned::nothing(()))
    };
    let write = tokio::spawn(async move { store.change(plan).await });
    begins.await.unwrap();
    Busy { go_on, write }
}

impl Busy {
    async fn end(self) {
        self.go_on.send(()).unwrap();
        self.write.await.unwrap().unwrap();
    }
}

/// Puts a commit on its way, to the end of the queue.
async fn queued(store: &Embedded, commit: &Commit) -> JoinHandle<Result<Committed, CommitError>> {
    let before = store.inner.group.waiting();
    let (handle, commit) = (store.clone(), commit.clone());
    let task = tokio::spawn(async move { handle.commit(&commit).await });
    while store.inner.group.waiting() == before {
        tokio::task::yield_now().await;
    }
    task
}

fn registrations(count: usize, rng: &mut Rng) -> Vec<Commit> {
    let game = |n| Game::new(&format!("game-{n}"));
    (0..count).map(|n| game(n).must(&game(n).registration(rng), rng)).collect()
}

#[tokio::test]
async fn what_waits_goes_together_and_ends_one_by_one() {
    let disk = Disk::default();
    let store = on(&disk).await;
    let mut rng = Rng::new(30);
    let commits = registrations(40, &mut rng);
    let first = commits.first().unwrap();
    store.commit(first).await.unwrap();

    let file = busy(&store).await;
    let mut others = vec![];
    for commit in commits.iter().skip(1) {
        others.push(queued(&store, commit).await);
    }
    // Decided on what a member before it makes, on what one before it takes away, and on nothing
    // that can be.
    let mut game = Game::new("game-1");
    game.applied(commits.get(1).unwrap());
    let second = game.must(&game.init_done(), &mut rng);
    game.now += TimeDelta::days(1);
    let late = game.must(&Event::WorkLeaseExpired, &mut rng);
    let follows = queued(&store, &second).await;
    let comes_late = queued(&store, &late).await;
    let repeats = queued(&store, first).await;
    let breaks = Commit { audit: vec![], ..commits.last().unwrap().clone() };
    let breaks = Commit { game_id: Game::new("b").id, id: CommitId(rng.uuid()), ..breaks };
    let breaks = queued(&store, &breaks).await;
    // One whose caller goes away.
    let gone = game_named("gone", &mut rng);
    queued(&store, &gone).await.abort();

    let before = disk.syncs();
    file.end().await;
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), Committed::Applied);
    }
    assert_eq!(follows.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(comes_late.await.unwrap().unwrap(), Committed::Conflict);
    assert_eq!(repeats.await.unwrap().unwrap(), Committed::Applied);
    let refused = breaks.await.unwrap();
    assert!(matches!(refused, Err(CommitError::Determinate(_))), "{refused:?}");
    // One transaction; where the file has to grow, that is synced besides.
    let syncs = disk.syncs() - before;
    assert!(syncs <= 4, "{syncs} syncs for {} writes", commits.len() + 4);
    for commit in commits.iter().chain([&gone]).filter(|c| c.game_id != second.game_id) {
        assert_eq!(store.load(&commit.game_id).await.unwrap(), commit.next);
    }
    assert_eq!(store.load(&second.game_id).await.unwrap(), second.next);
    // And it is in the file, once.
    let places = |rows: Vec<OperationRow>| rows.iter().map(|r| r.seq).max();
    let newest = places(store.operations(&gone.game_id, None, 9).await.unwrap());
    assert_eq!(newest, Some(41));
    drop(store);
    let store = on(&disk).await;
    for commit in commits.iter().chain([&gone]).filter(|c| c.game_id != second.game_id) {
        assert_eq!(store.load(&commit.game_id).await.unwrap(), commit.next);
    }
    assert_eq!(store.load(&second.game_id).await.unwrap(), second.next);
}

fn game_named(id: &str, rng: &mut Rng) -> Commit {
    let game = Game::new(id);
    game.must(&game.registration(rng), rng)
}

#[tokio::test]
async fn a_group_that_fails_fails_whole_and_leaves_nothing() {
    let disk = Disk::default();
    let store = on(&disk).await;
    let mut rng = Rng::new(32);
    let commits = registrations(3, &mut rng);
    let file = busy(&store).await;
    let big = vec![7; MAX_PAYLOAD_BYTES];
    let mut waiting = vec![];
    for commit in &commits {
        waiting.push(queued(&store, commit).await);
    }
    // Its answer would come from what does not happen.
    waiting.push(queued(&store, commits.first().unwrap()).await);
    let appends: Vec<_> = (0..8)
        .map(|_| {
            let (store, big) = (store.clone(), big.clone());
            tokio::spawn(async move { store.append("a", AppendAt::Next, &big).await })
        })
        .collect();
    while store.inner.group.waiting() < 12 {
        tokio::task::yield_now().await;
    }
    disk.fill_up();
    file.end().await;
    for task in waiting {
        let answer = task.await.unwrap();
        assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    }
    for task in appends {
        task.await.unwrap().unwrap_err();
    }
    for commit in &commits {
        assert_eq!(store.load(&commit.game_id).await.unwrap(), None);
    }
    // After such a failure the library wants the file opened again.
    drop(store);
    disk.repair();
    let store = on(&disk).await;
    for commit in &commits {
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Applied);
        assert_eq!(store.load(&commit.game_id).await.unwrap(), commit.next);
        let rows = store.operations(&commit.game_id, None, 9).await.unwrap();
        assert_eq!(rows.len(), 1);
    }
    assert_eq!(store.newest("a").await.unwrap(), StreamId::ZERO);
}

#[tokio::test]
async fn a_group_in_doubt_is_in_doubt_for_all() {
    let disk = Disk::default();
    let store = on(&disk).await;
    let commits = registrations(5, &mut Rng::new(33));
    let file = busy(&store).await;
    let mut waiting = vec![];
    for commit in &commits {
        waiting.push(queued(&store, commit).await);
    }
    disk.fail_syncs();
    file.end().await;
    for task in waiting {
        let answer = task.await.unwrap();
        assert!(matches!(answer, Err(CommitError::Indeterminate(_))), "{answer:?}");
    }
    store.ready().await.unwrap_err();
    drop(store);
    disk.repair();
    let store = on(&disk).await;
    for commit in &commits {
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Applied);
        assert_eq!(store.load(&commit.game_id).await.unwrap(), commit.next);
    }
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let store = on(&Disk::default()).await;
    let commits = registrations(MAX_WRITES_AT_ONCE + 20, &mut Rng::new(34));
    let file = busy(&store).await;
    let tasks: Vec<_> = commits
        .iter()
        .map(|commit| {
            let (store, commit) = (store.clone(), commit.clone());
            tokio::spawn(async move { store.commit(&commit).await })
        })
        .collect();
    // One place is that of the write under way. On this one thread, a yield lets every task that
    // can go on go on.
    for _ in 0..MAX_WRITES_AT_ONCE {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.inner.group.waiting(), MAX_WRITES_AT_ONCE - 1);
    file.end().await;
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), Committed::Applied);
    }
}

#[test]
fn a_runtime_that_ends_leaves_a_store_that_goes_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let disk = Disk::default();
    let store = runtime().block_on(on(&disk));
    for commit in &registrations(3, &mut Rng::new(35)) {
        let ended = runtime();
        ended.block_on(async {
            let write = store.commit(commit);
            let _ = tokio::time::timeout(std::time::Duration::ZERO, write).await;
        });
        ended.shutdown_background();
        let answer = runtime().block_on(store.commit(commit)).unwrap();
        assert_eq!(answer, Committed::Applied);
    }
}
