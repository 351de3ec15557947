//! Operations that touch no record, and those that are left open.

use chrono::TimeDelta;
use machine::{AuditEntry, AuditMark, Event, OperationId, OperationKind, Outcome, Timestamp};

use super::claims::{found, opened};
use super::records::{apply, registered, running};
use super::sample::{Game, START, claim, fresh, origin};
use super::{Rng, StoreFactory};
use crate::ports::{
    Claim, ClaimAnswer, ClaimRow, Commit, CommitError, CommitId, Committed, LogCommit,
    OperationRow, OperationState, Source, Store,
};

/// How many race to close one operation.
const RACERS: usize = 8;

/// Opens an operation about somebody.
pub(super) fn open(game: &Game, claim: Option<&Claim>, rng: &mut Rng) -> LogCommit {
    let mark = AuditMark::Opened { kind: OperationKind::Banish, turn: None, tick: None };
    LogCommit {
        id: CommitId(rng.uuid()),
        game_id: game.id.clone(),
        audit: AuditEntry { operation: OperationId(rng.uuid()), mark },
        race: Some("Terrans".parse().expect("a race name")),
        origin: origin(rng),
        claim: claim.cloned(),
        at: game.now,
    }
}

/// Closes the operation that another opened.
pub(super) fn close(game: &Game, operation: OperationId, rng: &mut Rng) -> LogCommit {
    let mark = AuditMark::Closed(Outcome::Succeeded);
    let audit = AuditEntry { operation, mark };
    LogCommit { audit, race: None, ..open(game, None, rng) }
}

async fn logged(store: &dyn Store, commit: &LogCommit) -> Committed {
    store.log(commit).await.expect("an answer")
}

async fn row(store: &dyn Store, id: OperationId) -> Option<OperationRow> {
    store.operation(id).await.expect("an operation")
}

/// An operation is opened and closed without a change of the record, and found in the log.
pub(super) async fn an_operation_needs_no_record(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(50);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let backlog = store.outbox_backlog().await.expect("a backlog");
    let due = store.due(START + TimeDelta::days(9), 10).await.expect("due");
    game.now = START + TimeDelta::minutes(1);
    let begun = open(&game, None, &mut rng);
    assert_eq!(logged(&*store, &begun).await, Committed::Applied);
    let id = begun.audit.operation;
    let wanted = OperationRow {
        operation: id,
        game_id: game.id.clone(),
        seq: 0,
        kind: OperationKind::Banish,
        turn: None,
        tick: None,
        status: game.record.as_ref().map(|rt| rt.status()),
        race: begun.race.clone(),
        origin: begun.origin.clone(),
        state: OperationState::Open,
        started_at: game.now,
        finished_at: None,
    };
    let there = row(&*store, id).await.expect("it was opened");
    assert_eq!(OperationRow { seq: 0, ..there.clone() }, wanted);
    let newest = store.operations(&game.id, None, 1).await.expect("operations");
    assert_eq!(newest, vec![there.clone()], "its place is above those before");

    // The game goes on meanwhile; the status is that of the game at the end.
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    game.now = START + TimeDelta::minutes(2);
    let done = close(&game, id, &mut rng);
    assert_eq!(logged(&*store, &done).await, Committed::Applied);
    let wanted = OperationRow {
        state: OperationState::Closed(Outcome::Succeeded),
        status: game.record.as_ref().map(|rt| rt.status()),
        finished_at: Some(game.now),
        ..there
    };
    assert_eq!(row(&*store, id).await.as_ref(), Some(&wanted));
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record, "untouched");
    let now = store.outbox_backlog().await.expect("a backlog").waiting;
    let sent = u64::try_from(force.messages.len()).expect("few");
    assert_eq!(now, backlog.waiting + sent, "nothing but the turn was told");
    assert_ne!(store.due(START + TimeDelta::days(9), 10).await.expect("due"), due);

    // Repeats of both are found by their names, in any order, also after a crash.
    let store = factory.reopen(store).await;
    for repeat in [&begun, &done, &begun] {
        assert_eq!(logged(&*store, repeat).await, Committed::Applied);
        assert_eq!(row(&*store, id).await.as_ref(), Some(&wanted));
    }
    // A game that nobody knows has a log as well.
    let nobody = Game::new("nobody");
    let begun = open(&nobody, None, &mut rng);
    assert_eq!(logged(&*store, &begun).await, Committed::Applied);
    assert_eq!(row(&*store, begun.audit.operation).await.expect("there").status, None);
}

/// What is not open in this game is not closed: a conflict, that changes nothing.
pub(super) async fn an_operation_is_closed_once(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(51);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let other = running(&*store, "game-2", &mut rng).await;
    let begun = open(&game, None, &mut rng);
    let id = begun.audit.operation;
    let early = close(&game, id, &mut rng);
    assert_eq!(logged(&*store, &early).await, Committed::Conflict, "never opened");
    assert_eq!(row(&*store, id).await, None);
    assert_eq!(logged(&*store, &begun).await, Committed::Applied);
    let elsewhere = close(&other, id, &mut rng);
    assert_eq!(logged(&*store, &elsewhere).await, Committed::Conflict, "of another game");
    let still = row(&*store, id).await.expect("there");
    assert_eq!(still.state, OperationState::Open);
    // Opened again under another name: nobody does that who is sane.
    let twice = LogCommit { id: CommitId(rng.uuid()), ..begun.clone() };
    let answer = store.log(&twice).await;
    assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    // A conflict is not remembered: the same close goes through now.
    assert_eq!(logged(&*store, &early).await, Committed::Applied);
    let closed = row(&*store, id).await.expect("there");
    game.now = START + TimeDelta::minutes(5);
    let late = close(&game, id, &mut rng);
    assert_eq!(logged(&*store, &late).await, Committed::Conflict, "closed before");
    assert_eq!(row(&*store, id).await, Some(closed));
    // What a commit opened and closed is closed for the log too.
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
    let late = close(&game, opened(&force), &mut rng);
    assert_eq!(logged(&*store, &late).await, Committed::Conflict);
}

/// Of all who race to close it, exactly one does.
pub(super) async fn one_of_many_closes_it(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(52);
    let game = running(&*store, "game-1", &mut rng).await;
    for _ in 0..6 {
        let begun = open(&game, None, &mut rng);
        assert_eq!(logged(&*store, &begun).await, Committed::Applied);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..RACERS {
            let (store, done) = (store.clone(), close(&game, begun.audit.operation, &mut rng));
            tasks.spawn(async move { store.log(&done).await.expect("an answer") });
        }
        let mut applied = 0;
        while let Some(answer) = tasks.join_next().await {
            applied += usize::from(answer.expect("a racer") == Committed::Applied);
        }
        assert_eq!(applied, 1);
    }
}

/// A name is claimed for what the log opens as for what a commit opens: they are the same names.
pub(super) async fn the_log_claims_names(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(53);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let name = claim(Source::Admin, "key", &mut rng);
    let begun = open(&game, Some(&name), &mut rng);
    assert_eq!(logged(&*store, &begun).await, Committed::Applied);
    let id = begun.audit.operation;
    let answer = ClaimAnswer::Operation { operation: id, record: None };
    let wanted = ClaimRow { claim: name.clone(), answer, at: game.now };
    assert_eq!(found(&*store, &name.key).await.as_ref(), Some(&wanted));
    let twin = open(&game, Some(&name), &mut rng);
    assert_eq!(logged(&*store, &twin).await, Committed::Conflict);
    assert_eq!(row(&*store, twin.audit.operation).await, None, "a mark is left");
    let force = game.must(&Event::Force, &mut rng);
    let late = Commit { claim: Some(name.clone()), ..force.clone() };
    assert_eq!(store.commit(&late).await.expect("an answer"), Committed::Conflict);
    apply(&*store, &mut game, &force).await;
    // It leaves no record: it touched none.
    assert_eq!(logged(&*store, &close(&game, id, &mut rng)).await, Committed::Applied);
    assert_eq!(found(&*store, &name.key).await.as_ref(), Some(&wanted));
    // What opens nothing claims nothing.
    let begun = open(&game, None, &mut rng);
    assert_eq!(logged(&*store, &begun).await, Committed::Applied);
    let mine = claim(Source::Admin, "mine", &mut rng);
    let bad = close(&game, begun.audit.operation, &mut rng);
    let bad = LogCommit { claim: Some(mine.clone()), ..bad };
    let answer = store.log(&bad).await;
    assert!(matches!(answer, Err(CommitError::Determinate(_))), "{answer:?}");
    assert_eq!(found(&*store, &mine.key).await, None);
    let there = row(&*store, begun.audit.operation).await.expect("there");
    assert_eq!(there.state, OperationState::Open);
    let store = factory.reopen(store).await;
    assert_eq!(found(&*store, &name.key).await.as_ref(), Some(&wanted));
}

/// What is left open is found by its kind and its age, the oldest first.
pub(super) async fn open_operations_are_found(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(54);
    let mut begun = vec![];
    // Opened in another order than that of their instants.
    for (n, second) in [(0, 30), (1, 10), (2, 40), (3, 20)] {
        let mut game = registered(&*store, &format!("game-{n}"), &mut rng).await;
        game.now = START + TimeDelta::seconds(second);
        let commit = open(&game, None, &mut rng);
        assert_eq!(logged(&*store, &commit).await, Committed::Applied);
        begun.push((commit.at, commit.audit.operation, game));
    }
    begun.sort_by_key(|(at, ..)| *at);
    let banish = OperationKind::Banish;
    let far = START + TimeDelta::days(1);
    for limit in 0..=5 {
        let wanted: Vec<OperationId> = begun.iter().take(limit).map(|(_, id, _)| *id).collect();
        assert_eq!(open_ones(&*store, banish, far, limit).await, wanted);
    }
    for (n, (at, ..)) in begun.iter().enumerate() {
        let wanted: Vec<OperationId> = begun.iter().take(n).map(|(_, id, _)| *id).collect();
        assert_eq!(open_ones(&*store, banish, *at, 10).await, wanted, "strictly before");
    }
    assert_eq!(open_ones(&*store, OperationKind::Register, far, 10).await.len(), 4);
    assert_eq!(open_ones(&*store, OperationKind::Force, far, 10).await, vec![]);
    let (_, id, game) = begun.remove(1);
    assert_eq!(logged(&*store, &close(&game, id, &mut rng)).await, Committed::Applied);
    let store = factory.reopen(store).await;
    let left: Vec<OperationId> = begun.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(open_ones(&*store, banish, far, 10).await, left);
    let rows = store.open_operations(banish, far, 1).await.expect("operations");
    let one = store.operation(rows.first().expect("one").operation).await.expect("an operation");
    assert_eq!(rows.first(), one.as_ref());
}

async fn open_ones(
    store: &dyn Store,
    kind: OperationKind,
    before: Timestamp,
    limit: usize,
) -> Vec<OperationId> {
    let rows = store.open_operations(kind, before, limit).await.expect("operations");
    rows.iter().map(|row| row.operation).collect()
}

/// The row of a turn says which occurrence of the schedule it answers to, and how the game stood.
pub(super) async fn an_operation_says_its_tick_and_status(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(55);
    let mut game = running(&*store, "game-1", &mut rng).await;
    game.now = game.record.as_ref().and_then(|rt| rt.next_timer()).expect("a tick to come").0;
    let tick = game.must(&Event::Tick, &mut rng);
    apply(&*store, &mut game, &tick).await;
    let marked = tick.audit.iter().find_map(|entry| match &entry.mark {
        AuditMark::Opened { kind: _, turn, tick } => Some((*turn, *tick)),
        AuditMark::Closed(_) | AuditMark::Instant { .. } => None,
    });
    let (turn, occurrence) = marked.expect("a turn is opened");
    assert!(turn.is_some() && occurrence.is_some(), "{tick:?}");
    let open = row(&*store, opened(&tick)).await.expect("there");
    assert_eq!((open.kind, open.turn, open.tick), (OperationKind::Tick, turn, occurrence));
    assert_eq!(open.status, Some(machine::Status::GenerationInProgress));
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
    let store = factory.reopen(store).await;
    let closed = row(&*store, opened(&tick)).await.expect("there");
    assert_eq!((closed.turn, closed.tick), (turn, occurrence));
    assert_eq!(closed.status, Some(machine::Status::Running));
}
