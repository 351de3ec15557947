//! What the traits do not promise: bounds, and how the file fails.

mod disk;
mod groups;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{AuditMark, Channel, Event, StreamId};

use self::disk::Disk;
use super::journal::Journal;
use super::{Embedded, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES};
use crate::conformance::{Game, Rng, START, register_versions};
use crate::ports::{
    AppendAt, Claim, ClaimKey, ClaimRow, Commit, CommitError, Committed, Fingerprint, Source,
    Store, Streams, SystemClock, Term,
};

async fn in_memory() -> Embedded {
    let store = Embedded::in_memory(Arc::new(SystemClock));
    register_versions(&store).await;
    store
}

/// The first to open a disk finds it empty; the others find the versions there.
async fn on(disk: &Disk) -> Embedded {
    let (journal, tables) = Journal::open_on(disk.clone()).expect("a store");
    let store = Embedded::over(tables, Some(journal), Arc::new(SystemClock));
    register_versions(&store).await;
    store
}

fn key(n: usize) -> ClaimKey {
    ClaimKey { caller: Source::Admin, key: format!("k-{n}").parse().unwrap() }
}

/// A game that was registered, initialised and then forced on and on, each time under a name of its
/// own.
fn story(length: usize, rng: &mut Rng) -> Vec<Commit> {
    let mut game = Game::new("game-1");
    let mut commits = vec![];
    for n in 0..length {
        let event = match n {
            0 => game.registration(rng),
            1 => game.init_done(),
            _ if n % 2 == 0 => Event::Force,
            _ => game.turn_done(),
        };
        let mut commit = game.must(&event, rng);
        let opens = commit.audit.iter().any(|e| matches!(e.mark, AuditMark::Opened { .. }));
        let claim = || Claim { key: key(n), fingerprint: Fingerprint([7; 32]) };
        commit.claim = opens.then(claim);
        game.applied(&commit);
        commits.push(commit);
    }
    commits
}

/// How much of a story a store knows, looked at from four sides that a torn commit would tell apart.
async fn told(store: &Embedded) -> (u64, usize, u64, Vec<ClaimRow>) {
    let game = Game::new("game-1").id;
    let record = store.load(&game).await.unwrap();
    let operations = store.operations(&game, None, 1_000).await.unwrap();
    let closed = operations.iter().filter(|row| row.finished_at.is_some()).count();
    let backlog = store.outbox_backlog().await.unwrap().waiting;
    let mut claims = vec![];
    for n in 0..9 {
        claims.extend(store.claim(&key(n)).await.unwrap());
    }
    (record.map_or(0, |rt| rt.revision), operations.len() + closed, backlog, claims)
}

#[tokio::test]
async fn in_memory_every_call_is_over_when_first_polled() {
    fn at_once<T>(call: impl Future<Output = T>) -> T {
        match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it waits"),
        }
    }
    let store = in_memory().await;
    for commit in story(6, &mut Rng::new(1)) {
        assert_eq!(at_once(store.commit(&commit)).unwrap(), Committed::Applied);
    }
    let rows = at_once(store.outbox_assign(
        Term::default(),
        Channel::LobbyEvents,
        StreamId::ZERO,
        START,
        9,
    ))
    .unwrap()
    .unwrap();
    assert!(!rows.is_empty());
    at_once(store.append("a", AppendAt::Next, b"x")).unwrap();
    assert_eq!(at_once(store.read("a", StreamId::ZERO, 9, Duration::MAX)).unwrap().len(), 1);
}

#[tokio::test]
async fn names_and_closed_operations_are_forgotten_in_time() {
    let store = in_memory().await;
    let mut rng = Rng::new(2);
    let old = story(4, &mut rng);
    for commit in &old {
        store.commit(commit).await.unwrap();
    }
    let mut other = Game::new("game-2");
    for (after, kept) in [(TimeDelta::hours(24), true), (TimeDelta::hours(25), false)] {
        other.now = START + after;
        let event = match other.record {
            None => other.registration(&mut rng),
            Some(_) => other.init_done(),
        };
        let commit = other.must(&event, &mut rng);
        other.applied(&commit);
        assert_eq!(store.commit(&commit).await.unwrap(), Committed::Applied);
        let repeat = store.commit(old.last().unwrap()).await.unwrap();
        assert_eq!(repeat == Committed::Applied, kept, "{after}");
        assert_eq!(store.claim(&key(0)).await.unwrap().is_some(), kept, "{after}");
    }
    // A name that was forgotten may be claimed again.
    let mut third = Game::new("game-3");
    third.now = START + TimeDelta::hours(25);
    let commit = third.must(&third.registration(&mut rng), &mut rng);
    let claim = Claim { key: key(0), fingerprint: Fingerprint([8; 32]) };
    let commit = Commit { claim: Some(claim), ..commit };
    assert_eq!(store.commit(&commit).await.unwrap(), Committed::Applied);
    let game = Game::new("game-1").id;
    assert_eq!(store.operations(&game, None, 9).await.unwrap().len(), 2);
    other.now = START + TimeDelta::days(91);
    let late = other.must(&Event::Force, &mut rng);
    store.commit(&late).await.unwrap();
    assert_eq!(store.operations(&game, None, 9).await.unwrap(), vec![]);
    // Of the other game, what is closed goes and what is open stays.
    let rows = store.operations(&other.id, None, 9).await.unwrap();
    assert_eq!(rows.len(), 2, "the registration was closed a day later, the turn is open");
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let store = in_memory().await;
    let payload = vec![0; MAX_PAYLOAD_BYTES + 1];
    store.append("a", AppendAt::Next, &payload).await.unwrap_err();
    let name = "n".repeat(MAX_NAME_BYTES + 1);
    store.append(&name, AppendAt::Next, b"").await.unwrap_err();
    store.save_offset(&name, StreamId::ZERO).await.unwrap_err();
    store.save_offset_text("health", &name).await.unwrap_err();
    assert_eq!(store.newest("a").await.unwrap(), StreamId::ZERO);
}

#[tokio::test]
async fn a_dropped_caller_neither_loses_nor_tears_its_write() {
    let disk = Disk::default();
    let store = on(&disk).await;
    for commit in story(10, &mut Rng::new(3)) {
        // Polled once, which puts it on its way, and dropped.
        let _ = tokio::time::timeout(Duration::ZERO, store.commit(&commit)).await;
        // Writes go one at a time: once this one is through, that one is.
        store.append("a", AppendAt::Next, b"x").await.unwrap();
        assert_eq!(store.load(&commit.game_id).await.unwrap(), commit.next);
    }
}

#[tokio::test]
async fn a_lost_power_takes_back_nothing_confirmed_and_tears_nothing() {
    let mut torn = 0;
    for seed in 0..40 {
        let disk = Disk::default();
        let store = on(&disk).await;
        let mut rng = Rng::new(seed);
        let commits = story(8, &mut rng);
        let mut states = vec![told(&store).await];
        // The power goes at some access of the disk to come, but the story is told on in another
        // world, where it did not, so as to know what would have been.
        disk.lose_power_at(1 + rng.below(60), rng.bits());
        for commit in &commits {
            assert_eq!(store.commit(commit).await.unwrap(), Committed::Applied);
            disk.confirm();
            states.push(told(&store).await);
        }
        drop(store);
        let Some((image, confirmed)) = disk.image() else { continue };
        let store = on(&image).await;
        let found = told(&store).await;
        let in_flight = states.get(confirmed + 1);
        assert!(
            states.get(confirmed) == Some(&found) || in_flight == Some(&found),
            "seed {seed}: {found:?} after {confirmed} of {states:?}"
        );
        torn += usize::from(in_flight == Some(&found));
        // And on it goes: repeats are found, the rest is new.
        for commit in &commits {
            assert_eq!(store.commit(commit).await.unwrap(), Committed::Applied, "seed {seed}");
        }
        let (.., claims) = told(&store).await;
        assert!(claims.len() > 2, "{claims:?}");
        assert_eq!(Some(&told(&store).await), states.last());
    }
    assert!(torn > 0, "the power never went late enough to keep an unconfirmed commit");
}

#[tokio::test]
async fn a_failure_while_committing_is_indeterminate_and_the_last_answer() {
    let mut in_doubt = 0;
    for failing in 1..8 {
        let disk = Disk::default();
        let store = on(&disk).await;
        let commits = story(3, &mut Rng::new(4));
        let (first, second) = (commits.first().unwrap(), commits.get(1).unwrap());
        store.commit(first).await.unwrap();
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.read("a", StreamId::ZERO, 9, Duration::from_secs(600)).await }
        });
        disk.fail_access(failing);
        match store.commit(second).await {
            Err(CommitError::Indeterminate(_)) => in_doubt += 1,
            // The access that fails comes after the commit, or before it.
            Ok(Committed::Applied) | Err(CommitError::Determinate(_)) => {
                waiting.abort();
                continue;
            }
            other => panic!("access {failing}: {other:?}"),
        }
        let reader = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        reader.expect("a reader does not wait for the dead").unwrap().unwrap_err();
        store.load(&first.game_id).await.unwrap_err();
        store.ready().await.unwrap_err();
        assert!(matches!(store.commit(second).await, Err(CommitError::Determinate(_))));
        drop(store);
        disk.repair();
        // Opened again, the repeat tells what became of it.
        let store = on(&disk).await;
        assert_eq!(store.commit(second).await.unwrap(), Committed::Applied);
        assert_eq!(store.load(&first.game_id).await.unwrap(), second.next);
    }
    assert!(in_doubt > 0, "no access failed while the commit was made durable");
}

#[tokio::test]
async fn a_full_disk_refuses_before_committing() {
    let disk = Disk::default();
    let store = on(&disk).await;
    let commits = story(2, &mut Rng::new(5));
    store.commit(commits.first().unwrap()).await.unwrap();
    disk.fill_up();
    let payload = vec![7; MAX_PAYLOAD_BYTES];
    let mut refused = None;
    for _ in 0..64 {
        refused = store.append("a", AppendAt::Next, &payload).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(refused.is_some(), "the disk never filled up");
    // Nothing that is in doubt: reads go on, writes are refused for certain.
    let first = commits.first().unwrap();
    assert_eq!(store.load(&first.game_id).await.unwrap(), first.next);
    store.ready().await.unwrap_err();
    let answer = store.commit(commits.get(1).unwrap()).await;
    assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    let count = store.read("a", StreamId::ZERO, 99, Duration::ZERO).await.unwrap().len();
    drop(store);
    disk.repair();
    let store = on(&disk).await;
    let kept = store.read("a", StreamId::ZERO, 99, Duration::ZERO).await.unwrap();
    assert_eq!(kept.len(), count);
}
