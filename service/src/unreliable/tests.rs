//! Each fate, and that a late request may come before or after its repeat.

use std::sync::{Arc, Mutex};

use machine::{AuditEntry, AuditMark, Event, OperationId, OperationKind, StreamId};

use super::{Call, Fate, UnreliableStore, UnreliableStreams, seeded};
use crate::conformance::{Game, Rng, START, register_versions};
use crate::embedded::Embedded;
use crate::ports::{
    AppendAt, Appended, CommitError, CommitId, Committed, LogCommit, NewVersion, Origin, Store,
    StoreError, Streams, SystemClock, VersionChange, VersionCommit, VersionCommitted,
    VersionOptions,
};

type Fates = Arc<Mutex<Vec<Fate>>>;

/// The fates of the writes to come, the last one first; then all pass.
fn scripted(fates: &Fates) -> impl Fn(Call<'_>) -> Fate + Send + Sync + 'static {
    let fates = Arc::clone(fates);
    move |call| match call {
        Call::Commit(_)
        | Call::Log(_)
        | Call::ChangeVersion(_)
        | Call::Append(..)
        | Call::Write(_) => fates.lock().unwrap().pop().unwrap_or(Fate::Pass),
        Call::Read(_) => Fate::Pass,
    }
}

fn bare() -> Arc<Embedded> {
    Arc::new(Embedded::in_memory(Arc::new(SystemClock)))
}

/// One that knows the versions of the games here.
async fn embedded() -> Arc<Embedded> {
    let store = bare();
    register_versions(&*store).await;
    store
}

/// Each way to fail, whether it is told for certain, whether the change is there then, and how many
/// are on their way still.
const FATES: [(Fate, bool, bool, usize); 5] = [
    (Fate::Refused, true, false, 0),
    (Fate::RequestLost, false, false, 0),
    (Fate::ReplyLost, false, true, 0),
    (Fate::Late { after_calls: 0 }, false, true, 0),
    (Fate::Late { after_calls: 3 }, false, false, 1),
];

fn tells(error: &CommitError, determinate: bool, fate: Fate) {
    match error {
        CommitError::Determinate(StoreError(_)) => assert!(determinate, "{fate:?}"),
        CommitError::Indeterminate(StoreError(_)) => assert!(!determinate, "{fate:?}"),
    }
}

fn version() -> VersionCommit {
    let new = NewVersion {
        version: "1.4.2".parse().unwrap(),
        image_ref: "galaxy/engine:1.4.2".parse().unwrap(),
        options: VersionOptions::default(),
    };
    let id = CommitId(Rng::new(9).uuid());
    VersionCommit { id, change: VersionChange::Create(new), claim: None, at: START }
}

#[tokio::test]
async fn each_fate_does_what_it_says_to_a_commit() {
    for (fate, determinate, applied, late) in FATES {
        let fates = Fates::default();
        let store = UnreliableStore::new(embedded().await, scripted(&fates));
        let mut rng = Rng::new(1);
        let game = Game::new("game-1");
        let commit = game.must(&game.registration(&mut rng), &mut rng);
        fates.lock().unwrap().push(fate);
        tells(&store.commit(&commit).await.unwrap_err(), determinate, fate);
        let there = store.load(&game.id).await.unwrap().is_some();
        assert_eq!(there, applied, "{fate:?}");
        assert_eq!(store.deliver_late().await, late, "{fate:?}");
        // Whatever happened, the repeat settles it.
        assert_eq!(store.commit(&commit).await.unwrap(), Committed::Applied);
        assert_eq!(store.load(&game.id).await.unwrap(), commit.next);
    }
}

#[tokio::test]
async fn each_fate_does_what_it_says_to_the_log() {
    for (fate, determinate, applied, late) in FATES {
        let fates = Fates::default();
        let store = UnreliableStore::new(embedded().await, scripted(&fates));
        let mut rng = Rng::new(2);
        let operation = OperationId(rng.uuid());
        let mark = AuditMark::Opened { kind: OperationKind::Banish, turn: None, tick: None };
        let commit = LogCommit {
            id: CommitId(rng.uuid()),
            game_id: Game::new("game-1").id,
            audit: AuditEntry { operation, mark },
            race: None,
            origin: Origin::SELF,
            claim: None,
            at: START,
        };
        fates.lock().unwrap().push(fate);
        tells(&store.log(&commit).await.unwrap_err(), determinate, fate);
        let there = store.operation(operation).await.unwrap().is_some();
        assert_eq!(there, applied, "{fate:?}");
        assert_eq!(store.deliver_late().await, late, "{fate:?}");
        assert_eq!(store.log(&commit).await.unwrap(), Committed::Applied);
        assert_eq!(store.operations(&commit.game_id, None, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn each_fate_does_what_it_says_to_a_version() {
    for (fate, determinate, applied, late) in FATES {
        let fates = Fates::default();
        let store = UnreliableStore::new(bare(), scripted(&fates));
        let commit = version();
        fates.lock().unwrap().push(fate);
        tells(&store.change_version(&commit).await.unwrap_err(), determinate, fate);
        let there = store.version(commit.change.version()).await.unwrap();
        assert_eq!(there.is_some(), applied, "{fate:?}");
        assert_eq!(store.deliver_late().await, late, "{fate:?}");
        let row = store.change_version(&commit).await.unwrap();
        assert!(matches!(row, VersionCommitted::Applied(Some(_))), "{fate:?}: {row:?}");
    }
}

#[tokio::test]
async fn a_late_commit_that_was_overtaken_comes_to_nothing() {
    let fates = Fates::default();
    let store = UnreliableStore::new(embedded().await, scripted(&fates));
    let mut rng = Rng::new(2);
    let mut game = Game::new("game-1");
    let commit = game.must(&game.registration(&mut rng), &mut rng);
    fates.lock().unwrap().push(Fate::Late { after_calls: 9 });
    store.commit(&commit).await.unwrap_err();
    assert_eq!(store.commit(&commit).await.unwrap(), Committed::Applied);
    game.applied(&commit);
    let next = game.must(&game.init_done(), &mut rng);
    assert_eq!(store.commit(&next).await.unwrap(), Committed::Applied);
    assert_eq!(store.deliver_late().await, 1);
    assert_eq!(store.load(&game.id).await.unwrap(), next.next);
    assert_eq!(game.decide(&Event::Tick, &mut rng).map(|commit| commit.id), None);
}

#[tokio::test]
async fn an_append_is_lost_or_late_as_well() {
    let fates = Fates::default();
    let streams = UnreliableStreams::new(bare(), scripted(&fates));
    let at = |ms| AppendAt::Exactly(StreamId { ms, seq: 0 });
    fates.lock().unwrap().extend([Fate::Late { after_calls: 9 }, Fate::ReplyLost, Fate::Refused]);
    for ms in [1, 2, 3] {
        streams.append("a", at(ms), b"x").await.unwrap_err();
    }
    assert_eq!(streams.newest("a").await.unwrap(), StreamId { ms: 2, seq: 0 });
    assert_eq!(
        streams.append("a", at(4), b"x").await.unwrap(),
        Appended::Added(StreamId { ms: 4, seq: 0 })
    );
    assert_eq!(streams.deliver_late().await, 1, "too late: 3 is no longer above");
    assert_eq!(streams.entry("a", StreamId { ms: 3, seq: 0 }).await.unwrap(), None);
}

#[test]
fn the_same_seed_brings_the_same_fates() {
    let draw = |seed| {
        let decide = seeded(seed, 50);
        (0..200).map(|_| decide(Call::Read("load"))).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert!(draw(7).contains(&Fate::Pass) && draw(7).contains(&Fate::ReplyLost));
    assert!((0..99).all(|_| seeded(1, 0)(Call::Write("x")) == Fate::Pass));
}
