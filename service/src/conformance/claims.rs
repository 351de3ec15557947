//! The names that callers give their requests: claimed once, with the operation, and answered for.

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{AuditEntry, AuditMark, Event, Failure, FailureCode, OperationId, Outcome};

use super::records::{apply, running};
use super::sample::{Game, START, claim, fresh};
use super::{Rng, StoreFactory};
use crate::ports::{
    CLAIMS_KEPT_HOURS, Claim, ClaimAnswer, ClaimKey, ClaimRow, Commit, CommitError, CommitId,
    Committed, Source, Store, StoreError,
};

/// How many race for one name.
const RACERS: usize = 8;

pub(super) async fn found(store: &dyn Store, key: &ClaimKey) -> Option<ClaimRow> {
    store.claim(key).await.expect("a claim")
}

/// The operation that a commit opens.
pub(super) fn opened(commit: &Commit) -> OperationId {
    let opens = |entry: &&AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
    commit.audit.iter().find(opens).expect("it opens one").operation
}

fn with(commit: Commit, claim: &Claim) -> Commit {
    Commit { claim: Some(claim.clone()), ..commit }
}

fn operation_row(
    claim: &Claim,
    commit: &Commit,
    record: Option<Arc<machine::Runtime>>,
) -> ClaimRow {
    let answer = ClaimAnswer::Operation { operation: opened(commit), record };
    ClaimRow { claim: claim.clone(), answer, at: commit.at }
}

/// A name goes to the operation that the commit opens; the record that the operation leaves when it
/// succeeds is kept with it, whatever becomes of the game.
pub(super) async fn a_claim_is_answered(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(40);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let name = claim(Source::Admin, "force-1", &mut rng);
    assert_eq!(found(&*store, &name.key).await, None);
    let force = with(game.must(&Event::Force, &mut rng), &name);
    apply(&*store, &mut game, &force).await;
    let open = operation_row(&name, &force, None);
    assert_eq!(found(&*store, &name.key).await, Some(open.clone()));
    let store = factory.reopen(store).await;
    assert_eq!(found(&*store, &name.key).await, Some(open));

    game.now = START + TimeDelta::minutes(1);
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
    let answered = operation_row(&name, &force, done.next.clone());
    assert_eq!(found(&*store, &name.key).await, Some(answered.clone()), "claimed when it was");
    // What happens later is no part of the answer.
    let again = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &again).await;
    assert_eq!(found(&*store, &name.key).await, Some(answered.clone()));
    let store = factory.reopen(store).await;
    assert_eq!(found(&*store, &name.key).await, Some(answered.clone()));
    // The repeat of the commit is found by the commit's name, and claims nothing again.
    assert_eq!(store.commit(&force).await.expect("a repeat"), Committed::Applied);
    assert_eq!(found(&*store, &name.key).await, Some(answered));
}

/// Of an operation that does not succeed, no record is kept.
pub(super) async fn what_fails_leaves_no_record(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(41);
    let outcomes =
        [Outcome::Failed(Failure::new(FailureCode::Conflict, "no")), Outcome::Superseded];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let mut game = running(&*store, &format!("game-{n}"), &mut rng).await;
        let name = claim(Source::Admin, &format!("force-{n}"), &mut rng);
        let force = with(game.must(&Event::Force, &mut rng), &name);
        apply(&*store, &mut game, &force).await;
        let mut done = game.must(&game.turn_done(), &mut rng);
        let mark = done.audit.iter_mut().find(|entry| entry.operation == opened(&force));
        mark.expect("the turn is closed").mark = AuditMark::Closed(outcome.clone());
        apply(&*store, &mut game, &done).await;
        let row = operation_row(&name, &force, None);
        assert_eq!(found(&*store, &name.key).await, Some(row), "{outcome:?}");
    }
}

/// A name is claimed once by each caller, and nothing of a commit happens that comes too late.
pub(super) async fn a_claim_is_made_once(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(42);
    let mut first = running(&*store, "game-1", &mut rng).await;
    let mut second = running(&*store, "game-2", &mut rng).await;
    let name = claim(Source::Admin, "key", &mut rng);
    let force = with(first.must(&Event::Force, &mut rng), &name);
    apply(&*store, &mut first, &force).await;
    let row = operation_row(&name, &force, None);
    let backlog = store.outbox_backlog().await.expect("a backlog");

    // The same request or another one: the name is taken.
    let other = claim(Source::Admin, "key", &mut rng);
    assert_ne!(other.fingerprint, name.fingerprint);
    let good = second.must(&Event::Force, &mut rng);
    for late in [&name, &other] {
        let late = with(good.clone(), late);
        assert_eq!(store.commit(&late).await.expect("an answer"), Committed::Conflict);
        assert_eq!(store.load(&second.id).await.expect("a load"), second.record);
        let operation = store.operation(opened(&late)).await.expect("an answer");
        assert_eq!(operation, None, "a mark is left");
        assert_eq!(store.outbox_backlog().await.expect("a backlog"), backlog);
        assert_eq!(found(&*store, &name.key).await, Some(row.clone()));
    }
    // A conflict is not remembered as the commit's answer, and another's success is not the claim's.
    apply(&*store, &mut second, &good).await;
    let done = second.must(&second.turn_done(), &mut rng);
    apply(&*store, &mut second, &done).await;
    assert_eq!(found(&*store, &name.key).await, Some(row));
    // Another caller's name, and one that differs in its case, are other names.
    for (n, mine) in [
        claim(Source::Lobby, "key", &mut rng),
        claim(Source::Gateway, "key", &mut rng),
        claim(Source::Admin, "KEY", &mut rng),
        claim(Source::Admin, "key~!\"#%'\\", &mut rng),
    ]
    .iter()
    .enumerate()
    {
        let mut game = running(&*store, &format!("other-{n}"), &mut rng).await;
        let commit = with(game.must(&Event::Force, &mut rng), mine);
        assert_eq!(found(&*store, &mine.key).await, None);
        apply(&*store, &mut game, &commit).await;
        assert_eq!(found(&*store, &mine.key).await, Some(operation_row(mine, &commit, None)));
    }
}

/// A claim is for an operation: a commit that opens none is refused for good, and leaves nothing.
pub(super) async fn a_claim_for_nothing_is_refused(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(43);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    let done = game.must(&game.turn_done(), &mut rng);
    let opens = |entry: &AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
    assert!(!done.audit.iter().any(opens), "{done:?}");
    let name = claim(Source::Admin, "key", &mut rng);
    let bad = Commit { id: CommitId(rng.uuid()), ..with(done.clone(), &name) };
    let answer = store.commit(&bad).await;
    assert!(matches!(answer, Err(CommitError::Determinate(StoreError(_)))), "{answer:?}");
    assert_eq!(found(&*store, &name.key).await, None);
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    apply(&*store, &mut game, &done).await;
}

/// A commit that comes to nothing claims nothing.
pub(super) async fn what_does_not_happen_claims_nothing(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(44);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let name = claim(Source::Admin, "key", &mut rng);
    let stale = with(game.must(&Event::Force, &mut rng), &name);
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    assert_eq!(store.commit(&stale).await.expect("an answer"), Committed::Conflict);
    assert_eq!(found(&*store, &name.key).await, None);
    let bad = Commit { audit: vec![], ..stale.clone() };
    let bad = Commit { expected: force.next.as_deref().map(Into::into), next: None, ..bad };
    store.commit(&bad).await.expect_err("it breaks a rule");
    assert_eq!(found(&*store, &name.key).await, None);
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
    game.now = START + TimeDelta::minutes(1);
    let again = with(game.must(&Event::Force, &mut rng), &name);
    apply(&*store, &mut game, &again).await;
    assert_eq!(found(&*store, &name.key).await, Some(operation_row(&name, &again, None)));
}

/// Of all who race for a name, exactly one has it, and the others come to nothing.
pub(super) async fn one_of_many_has_the_name(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(45);
    for round in 0..6 {
        let name = claim(Source::Lobby, &format!("key-{round}"), &mut rng);
        let mut tasks = tokio::task::JoinSet::new();
        for racer in 0..RACERS {
            // Half of them want the same game, half of them each one of its own.
            let id = format!("game-{round}-{}", racer.saturating_sub(RACERS / 2));
            let game = Game::new(&id);
            let commit = with(game.must(&game.registration(&mut rng), &mut rng), &name);
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let answer = store.commit(&commit).await.expect("a commit");
                (commit, answer)
            });
        }
        let mut won = vec![];
        let mut lost = vec![];
        while let Some(raced) = tasks.join_next().await {
            let (commit, answer) = raced.expect("a racer");
            match answer {
                Committed::Applied => won.push(commit),
                Committed::Conflict => lost.push(commit),
                Committed::UnknownVersion => panic!("{commit:?}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        let won = won.first().expect("one");
        assert_eq!(found(&*store, &name.key).await, Some(operation_row(&name, won, None)));
        for commit in &lost {
            let record = store.load(&commit.game_id).await.expect("a load");
            let is_winners = commit.game_id == won.game_id;
            assert_eq!(record, won.next.clone().filter(|_| is_winners));
            assert_eq!(store.operation(opened(commit)).await.expect("an answer"), None);
        }
    }
}

/// A name stays taken for as long as it is promised, whatever else is committed.
pub(super) async fn claims_are_kept(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(46);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let name = claim(Source::Admin, "key", &mut rng);
    let force = with(game.must(&Event::Force, &mut rng), &name);
    apply(&*store, &mut game, &force).await;
    let row = operation_row(&name, &force, None);
    for hours in [1, CLAIMS_KEPT_HOURS - 1, CLAIMS_KEPT_HOURS] {
        let mut other = Game::new(&format!("other-{hours}"));
        other.now = START + TimeDelta::hours(hours);
        let mine = claim(Source::Admin, &format!("key-{hours}"), &mut rng);
        let commit = with(other.must(&other.registration(&mut rng), &mut rng), &mine);
        apply(&*store, &mut other, &commit).await;
        assert_eq!(found(&*store, &name.key).await, Some(row.clone()), "{hours} hours later");
        let late = Game { id: Game::new("late").id, record: None, ..other };
        let late = with(late.must(&late.registration(&mut rng), &mut rng), &name);
        assert_eq!(store.commit(&late).await.expect("an answer"), Committed::Conflict);
    }
    let store = factory.reopen(store).await;
    assert_eq!(found(&*store, &name.key).await, Some(row));
}
