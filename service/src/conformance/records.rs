//! Records and the operation log: the compare-and-set, and what a commit takes with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use machine::{AuditMark, Event, Incarnation, Status};

use super::sample::{Game, START, fresh};
use super::{Rng, StoreFactory};
use crate::ports::{
    Commit, CommitError, CommitId, Committed, Expected, OperationState, Store, StoreError,
};

/// How many race for the same revision.
const RACERS: usize = 8;
/// How many revisions each tries to make.
const ROUNDS: usize = 12;

pub(super) async fn apply(store: &dyn Store, game: &mut Game, commit: &Commit) {
    let answer = store.commit(commit).await.expect("a commit");
    assert_eq!(answer, Committed::Applied, "nothing stands against {commit:?}");
    game.applied(commit);
}

pub(super) async fn registered(store: &dyn Store, id: &str, rng: &mut Rng) -> Game {
    let mut game = Game::new(id);
    let commit = game.must(&game.registration(rng), rng);
    apply(store, &mut game, &commit).await;
    game
}

pub(super) async fn running(store: &dyn Store, id: &str, rng: &mut Rng) -> Game {
    let mut game = registered(store, id, rng).await;
    let commit = game.must(&game.init_done(), rng);
    apply(store, &mut game, &commit).await;
    game
}

/// What is loaded is what was committed, to the last field.
pub(super) async fn a_record_comes_back_as_it_went(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(1);
    let mut game = running(&*store, "game-1", &mut rng).await;
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.load(&Game::new("other").id).await.expect("a load"), None);
    for event in [Event::Force, Event::Stop { reason: "done".parse().expect("a reason") }] {
        let commit = game.must(&event, &mut rng);
        apply(&*store, &mut game, &commit).await;
        assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    }
}

/// Of all who decide on one revision, exactly one wins.
pub(super) async fn exactly_one_wins(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(2);
    let game = running(&*store, "game-1", &mut rng).await;
    let first = game.record.as_ref().expect("a record").revision;
    let mut tasks = tokio::task::JoinSet::new();
    for racer in 0..RACERS {
        let (store, game) = (Arc::clone(&store), game.clone());
        let rng = Rng::new(100 + u64::try_from(racer).unwrap_or(0));
        tasks.spawn(race(store, game, rng));
    }
    let mut wins: BTreeMap<u64, usize> = BTreeMap::new();
    while let Some(won) = tasks.join_next().await {
        for revision in won.expect("a racer") {
            *wins.entry(revision).or_default() += 1;
        }
    }
    assert!(wins.values().all(|count| *count == 1), "two won the same revision: {wins:?}");
    let last = store.load(&game.id).await.expect("a load").expect("a record").revision;
    let made: Vec<u64> = wins.into_keys().collect();
    assert_eq!(made, (first + 1..=last).collect::<Vec<_>>(), "every revision has its winner");
}

/// Turns are forced and completed, by whoever comes first.
async fn race(store: Arc<dyn Store>, mut game: Game, mut rng: Rng) -> Vec<u64> {
    let mut won = vec![];
    for _ in 0..ROUNDS {
        game.record = store.load(&game.id).await.expect("a load");
        let generating = game.record.as_ref().is_some_and(|rt| rt.work().is_some());
        let event = if generating { game.turn_done() } else { Event::Force };
        let commit = game.must(&event, &mut rng);
        // Everybody has loaded before anybody commits, as often as the scheduler allows.
        tokio::task::yield_now().await;
        match store.commit(&commit).await.expect("a commit") {
            Committed::Applied => won.extend(commit.next.as_ref().map(|next| next.revision)),
            Committed::Conflict | Committed::UnknownVersion => {}
        }
    }
    won
}

/// A repeat under the same name finds what the first did, whatever happened since.
pub(super) async fn a_repeat_is_found(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(3);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    assert_eq!(store.commit(&force).await.expect("a repeat"), Committed::Applied);
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    let operations = store.operations(&game.id, None, 100).await.expect("operations");
    for repeat in [&force, &done, &force] {
        assert_eq!(store.commit(repeat).await.expect("a repeat"), Committed::Applied);
    }
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog);
    assert_eq!(store.operations(&game.id, None, 100).await.expect("operations"), operations);
    let store = factory.reopen(store).await;
    assert_eq!(store.commit(&done).await.expect("a repeat"), Committed::Applied);
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
}

/// Repeats that race with the first: all are answered `Applied`, and it happens once.
pub(super) async fn racing_repeats_apply_once(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(4);
    let game = running(&*store, "game-1", &mut rng).await;
    let force = game.must(&Event::Force, &mut rng);
    let before = store.operations(&game.id, None, 100).await.expect("operations").len();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..RACERS {
        let (store, force) = (Arc::clone(&store), force.clone());
        tasks.spawn(async move { store.commit(&force).await.expect("a commit") });
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.expect("a racer"), Committed::Applied);
    }
    let after = store.operations(&game.id, None, 100).await.expect("operations").len();
    assert_eq!(after, before + 1, "one operation was opened");
}

/// Whatever is there instead of what was expected is a conflict, and changes nothing.
pub(super) async fn a_conflict_is_a_value(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(5);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let stale = game.must(&Event::Force, &mut rng);
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    let again = Game { record: None, ..game.clone() };
    let register = again.must(&again.registration(&mut rng), &mut rng);
    let there = game.record.as_deref().map(Expected::from).expect("a record");
    let but = |expected| Commit { expected: Some(expected), ..stale.clone() };
    let other_status = but(Expected { status: Status::Running, ..there });
    let other_life = but(Expected { incarnation: Incarnation(rng.uuid()), ..there });
    let missing = Commit { game_id: Game::new("missing").id, ..stale.clone() };
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    for late in [&stale, &register, &other_status, &other_life, &missing] {
        assert_eq!(store.commit(late).await.expect("a commit"), Committed::Conflict);
        for audit in &late.audit {
            let row = store.operation(audit.operation).await.expect("an operation");
            assert_eq!(row, None, "a lost commit left a mark");
        }
    }
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog);
}

/// What breaks a rule is refused for good, and leaves nothing behind.
pub(super) async fn what_breaks_a_rule_is_refused(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(6);
    let game = running(&*store, "game-1", &mut rng).await;
    let rt = game.record.clone().expect("a record");
    let good = game.must(&Event::Force, &mut rng);
    let opened = good.audit.first().expect("a mark").clone();
    let with = |change: &dyn Fn(&mut machine::Runtime)| {
        let mut next = (**good.next.as_ref().expect("a record")).clone();
        change(&mut next);
        Commit { next: Some(Arc::new(next)), ..good.clone() }
    };
    let closed = |operation| machine::AuditEntry {
        operation,
        mark: AuditMark::Closed(machine::Outcome::Succeeded),
    };
    let unknown = closed(machine::OperationId(rng.uuid()));
    // The registration's operation: it was closed when the engine was initialised.
    let register = store.operations(&game.id, None, 100).await.expect("operations");
    let register = closed(register.last().expect("a registration").operation);
    let marks = |audit| Commit { audit, ..good.clone() };
    let broken = [
        ("the revision jumps", with(&|rt| rt.revision += 1)),
        ("the turn jumps", with(&|rt| rt.current_turn += 2)),
        ("another life", with(&|rt| rt.incarnation.0 = uuid::Uuid::nil())),
        ("another game", with(&|rt| rt.game_id = Game::new("other").id)),
        ("the record goes while running", Commit { next: None, ..good.clone() }),
        ("no mark", marks(vec![])),
        ("closed but never opened", marks(vec![opened.clone(), unknown])),
        ("closed twice", marks(vec![opened.clone(), register.clone()])),
        ("opened twice", marks(vec![opened.clone(), opened.clone()])),
        (
            "opened again",
            marks(vec![machine::AuditEntry {
                operation: register.operation,
                mark: opened.mark.clone(),
            }]),
        ),
    ];
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    for (why, commit) in broken {
        // Each under a name of its own: a refused commit is not found as an applied one.
        let commit = Commit { id: CommitId(rng.uuid()), ..commit };
        let answer = store.commit(&commit).await;
        assert!(
            matches!(answer, Err(CommitError::Determinate(StoreError(_)))),
            "{why}: {answer:?}"
        );
        assert_eq!(store.load(&game.id).await.expect("a load").as_ref(), Some(&rt), "{why}");
        let row = store.operation(opened.operation).await.expect("an operation");
        assert_eq!(row, None, "{why}: a mark is left");
    }
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog);
    assert_eq!(store.commit(&good).await.expect("a commit"), Committed::Applied);
}

/// A registration that is rolled back leaves its operations, and room for the next one.
pub(super) async fn a_rolled_back_game_can_come_again(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(7);
    let mut game = registered(&*store, "game-1", &mut rng).await;
    game.now = START + TimeDelta::days(1);
    let gone = game.must(&Event::WorkLeaseExpired, &mut rng);
    apply(&*store, &mut game, &gone).await;
    assert_eq!(store.load(&game.id).await.expect("a load"), None);
    assert_eq!(store.list(None, None, 10).await.expect("a list"), vec![]);
    assert_eq!(store.due(START + TimeDelta::days(9), 10).await.expect("due"), vec![]);
    assert_eq!(store.leased_to(&game.instance, 10).await.expect("leases"), vec![]);
    let rows = store.operations(&game.id, None, 10).await.expect("operations");
    assert_eq!(rows.len(), 1);
    let row = rows.first().expect("the registration");
    assert!(matches!(row.state, OperationState::Closed(_)));
    assert_eq!((row.started_at, row.finished_at), (START, Some(game.now)));
    // The same users and races again, which collide with any mapping that was left.
    let again = game.must(&game.registration(&mut rng), &mut rng);
    apply(&*store, &mut game, &again).await;
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.commit(&gone).await.expect("a repeat"), Committed::Applied);
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
}

/// Operations come newest first, page by page, each as it was opened and closed.
pub(super) async fn operations_page_newest_first(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(8);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let mut other = running(&*store, "game-2", &mut rng).await;
    let mut opened = vec![];
    for round in 1..=5 {
        for game in [&mut game, &mut other] {
            game.now = START + TimeDelta::seconds(round);
            let force = game.must(&Event::Force, &mut rng);
            apply(&*store, game, &force).await;
            let done = game.must(&game.turn_done(), &mut rng);
            if game.id.as_str() == "game-1" {
                opened.push((force.clone(), done.at));
            }
            apply(&*store, game, &done).await;
        }
    }
    let all = store.operations(&game.id, None, 100).await.expect("operations");
    assert_eq!(all.len(), 6);
    assert!(all.windows(2).all(|pair| match pair {
        [newer, older] => newer.seq > older.seq,
        _ => false,
    }));
    for (row, (force, closed_at)) in all.iter().zip(opened.iter().rev()) {
        assert_eq!(row.operation, force.audit.first().expect("a mark").operation);
        assert_eq!(row.origin, force.origin);
        assert_eq!(row.state, OperationState::Closed(machine::Outcome::Succeeded));
        assert_eq!((row.started_at, row.finished_at), (force.at, Some(*closed_at)));
        let turn = force.next.as_ref().map(|rt| rt.current_turn + 1);
        assert_eq!((row.kind, row.turn), (machine::OperationKind::Force, turn));
        assert_eq!(store.operation(row.operation).await.expect("one").as_ref(), Some(row));
    }
    let mut paged = vec![];
    let mut before = None;
    loop {
        let page = store.operations(&game.id, before, 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        before = Some(last.seq);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(store.operations(&game.id, None, 0).await.expect("nothing"), vec![]);
}

/// Records are listed in the order of their keys' bytes, of one status or of all.
pub(super) async fn records_list_in_key_order(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(9);
    // No locale sorts these as their bytes do.
    let ids = ["B", "a", "A-1", "A_1", "A1", "b-2", "0", "a-", "Z9"];
    for (n, id) in ids.iter().enumerate() {
        if n % 3 == 0 {
            registered(&*store, id, &mut rng).await;
        } else {
            running(&*store, id, &mut rng).await;
        }
    }
    let mut sorted = ids;
    sorted.sort_unstable();
    let all = store.list(None, None, 100).await.expect("a list");
    let listed: Vec<&str> = all.iter().map(|rt| rt.game_id.as_str()).collect();
    assert_eq!(listed, sorted);
    for status in [Status::Starting, Status::Running, Status::Finished] {
        let wanted: Vec<_> = all.iter().filter(|rt| rt.status() == status).cloned().collect();
        let mut paged = vec![];
        loop {
            let after = paged.last().map(|rt: &Arc<machine::Runtime>| rt.game_id.clone());
            let page = store.list(Some(status), after.as_ref(), 2).await.expect("a page");
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, wanted);
    }
    assert_eq!(store.list(None, None, 0).await.expect("nothing"), vec![]);
}

/// What is due comes earliest first, at its very instant, and no more of it than asked for.
pub(super) async fn due_comes_earliest_first(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(10);
    let mut timers = vec![];
    for (n, id) in ["c", "a", "b", "d"].iter().enumerate() {
        let mut game = Game::new(id);
        game.now = START + TimeDelta::seconds(i64::try_from(n * 7 % 4).unwrap_or(0));
        let register = game.must(&game.registration(&mut rng), &mut rng);
        apply(&*store, &mut game, &register).await;
        let (at, _) = game.record.as_ref().and_then(|rt| rt.next_timer()).expect("a lease");
        timers.push((at, game.id.clone()));
    }
    timers.sort();
    let (first, last) = (timers[0].0, timers[3].0);
    let just_before = first - TimeDelta::milliseconds(1);
    assert_eq!(store.due(just_before, 10).await.expect("due"), vec![]);
    for limit in 0..=5 {
        let due = store.due(last, limit).await.expect("due");
        let found: Vec<_> = due.into_iter().map(|due| (due.at, due.game_id)).collect();
        assert_eq!(found, timers.iter().take(limit).cloned().collect::<Vec<_>>());
    }
    let due = store.due(timers[1].0, 10).await.expect("due");
    assert_eq!(due.len(), 2, "the instant itself counts");
}

/// Leases are found by their holder, of the work and of what is pending, until they are given up.
pub(super) async fn leases_are_found_by_owner(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(11);
    let first = registered(&*store, "a", &mut rng).await;
    let mut game = running(&*store, "b", &mut rng).await;
    let other: machine::InstanceId = "gm-2".parse().expect("an instance id");
    game.instance = other.clone();
    assert_eq!(store.leased_to(&other, 10).await.expect("leases"), vec![]);
    let stop = Event::Stop { reason: "done".parse().expect("a reason") };
    let commit = game.must(&stop, &mut rng);
    apply(&*store, &mut game, &commit).await;
    assert_eq!(store.leased_to(&other, 10).await.expect("leases"), vec![game.id.clone()]);
    assert_eq!(store.leased_to(&other, 0).await.expect("leases"), vec![]);
    let held = store.leased_to(&first.instance, 10).await.expect("leases");
    assert_eq!(held, vec![first.id.clone()]);
    let rt = game.record.as_ref().expect("a record");
    let ticket = machine::Ticket { incarnation: rt.incarnation, attempt: rt.attempt };
    let stopped = game.must(&Event::StopDone(ticket, Ok(())), &mut rng);
    apply(&*store, &mut game, &stopped).await;
    assert_eq!(store.leased_to(&other, 10).await.expect("leases"), vec![]);
}

/// Everything that was confirmed is there after a crash.
pub(super) async fn a_crash_takes_nothing_back(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(12);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    let operations = store.operations(&game.id, None, 10).await.expect("operations");
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    let due = store.due(START + TimeDelta::days(9), 10).await.expect("due");
    let store = factory.reopen(store).await;
    store.ready().await.expect("a store that is ready");
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.operations(&game.id, None, 10).await.expect("operations"), operations);
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog);
    assert_eq!(store.due(START + TimeDelta::days(9), 10).await.expect("due"), due);
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;
}
