//! Who attends, who leads, and what a leader of another term may not do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use machine::{Channel, Event, InstanceId, StreamId};
use uuid::Uuid;

use super::records::{apply, running};
use super::sample::{START, fresh};
use super::{Rng, StoreFactory};
use crate::ports::{Attendance, OutboxRow, Presence, Role, Roll, Store, Term};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);
/// Over as soon as anybody looks again.
const SHORT: Duration = Duration::from_millis(50);
/// How often something is looked for that must come.
const MAX_LOOKS: usize = 6_000;
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How many want the same.
const RACERS: usize = 8;

fn name(text: &str) -> InstanceId {
    text.parse().expect("a name")
}

/// One life of a process that wants everything.
fn life(instance: &str, boot: u128) -> Attendance {
    let presence = Presence { instance: name(instance), boot: Uuid::from_u128(boot) };
    Attendance { presence, is_draining: false, wants: Role::ALL.to_vec() }
}

async fn attend(store: &dyn Store, who: &Attendance, ttl: Duration) -> Roll {
    store.attend(who, ttl).await.expect("a roll")
}

fn roll(alive: &[&str], terms: &[(Role, u64)]) -> Roll {
    let alive = alive.iter().map(|text| name(text)).collect();
    let terms = terms.iter().map(|(role, term)| (*role, Term(*term))).collect();
    Roll { alive, terms, displaced: false }
}

const RELAY: Role = Role::OutboxRelay;
const CONSUMER: Role = Role::HealthConsumer;

/// Who comes first leads, until it gives up what it leads, and goes.
pub(super) async fn the_first_to_come_leads(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let (mut a, b) = (life("a", 1), life("B", 2));
    let both = [(RELAY, 1), (CONSUMER, 1)];
    assert_eq!(attend(&*store, &a, LONG).await, roll(&["a"], &both));
    assert_eq!(attend(&*store, &b, LONG).await, roll(&["B", "a"], &[]));
    assert_eq!(attend(&*store, &a, LONG).await, roll(&["B", "a"], &both), "it stays so");
    // On its way out it is not counted on, and keeps only what it must bring to its end.
    a.is_draining = true;
    a.wants = vec![RELAY];
    assert_eq!(attend(&*store, &a, LONG).await, roll(&["B"], &[(RELAY, 1)]));
    assert_eq!(attend(&*store, &b, LONG).await, roll(&["B"], &[(CONSUMER, 2)]));
    store.leave(&a.presence).await.expect("gone");
    assert_eq!(attend(&*store, &b, LONG).await, roll(&["B"], &[(RELAY, 2), (CONSUMER, 2)]));
    // What it sent before and comes late takes nothing back.
    let late = Roll { displaced: true, ..roll(&["B"], &[]) };
    assert_eq!(attend(&*store, &life("a", 1), LONG).await, late);
    assert_eq!(attend(&*store, &b, LONG).await, roll(&["B"], &[(RELAY, 2), (CONSUMER, 2)]));
    // The name is free for another life.
    assert_eq!(attend(&*store, &life("a", 3), LONG).await, roll(&["B", "a"], &[]));
}

/// Whoever is not heard of within the time it gave is replaced, and not before.
pub(super) async fn a_silent_leader_is_replaced(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let (a, b) = (life("a", 1), life("b", 2));
    let watcher = Attendance { wants: vec![], is_draining: true, ..life("w", 3) };
    attend(&*store, &a, SHORT).await;
    until(&*store, &watcher, |roll| roll.alive.is_empty()).await;
    let kept = attend(&*store, &a, SHORT).await.terms;
    let first = BTreeMap::from([(RELAY, Term(1)), (CONSUMER, Term(1))]);
    assert_eq!(kept, first, "nobody led meanwhile");
    let found = until(&*store, &b, |roll| roll.terms.len() == Role::ALL.len()).await;
    assert_eq!(found, roll(&["b"], &[(RELAY, 2), (CONSUMER, 2)]), "both ran out together");
    assert_eq!(attend(&*store, &a, LONG).await, roll(&["a", "b"], &[]));
}

async fn until(store: &dyn Store, who: &Attendance, wanted: impl Fn(&Roll) -> bool) -> Roll {
    for _ in 0..MAX_LOOKS {
        let roll = attend(store, who, LONG).await;
        if wanted(&roll) {
            return roll;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    panic!("it never came to that");
}

/// The process that starts again under a name need not wait for the one before, which is told.
pub(super) async fn a_later_life_displaces_the_earlier_one(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let (first, second) = (life("a", 1), life("a", 2));
    attend(&*store, &first, LONG).await;
    let both = [(RELAY, 2), (CONSUMER, 2)];
    assert_eq!(attend(&*store, &second, LONG).await, roll(&["a"], &both));
    let displaced = Roll { displaced: true, ..roll(&["a"], &[]) };
    assert_eq!(attend(&*store, &first, LONG).await, displaced);
    store.leave(&first.presence).await.expect("nothing");
    assert_eq!(attend(&*store, &second, LONG).await, roll(&["a"], &both), "it stays");
    assert_eq!(attend(&*store, &first, LONG).await, displaced, "for good");
    // Nobody gets back by way of a third.
    attend(&*store, &life("a", 3), LONG).await;
    for earlier in [&first, &second] {
        assert_eq!(attend(&*store, earlier, LONG).await, displaced);
    }
}

/// Of all who come at once, each role has exactly one.
pub(super) async fn each_role_has_one_leader(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..RACERS {
        let store = Arc::clone(&store);
        let boot = u128::try_from(n).expect("few") + 1;
        tasks.spawn(async move { attend(&*store, &life(&format!("i-{n}"), boot), LONG).await });
    }
    let mut led = vec![];
    while let Some(roll) = tasks.join_next().await {
        led.extend(roll.expect("a racer").terms);
    }
    led.sort();
    assert_eq!(led, Role::ALL.map(|role| (role, Term(1))));
    let watcher = Attendance { wants: vec![], is_draining: true, ..life("w", 99) };
    assert_eq!(attend(&*store, &watcher, LONG).await.alive.len(), RACERS);
}

/// Nothing is assigned, and nothing taken back, by whoever does not lead any more, or not yet.
pub(super) async fn a_relay_of_another_term_changes_nothing(factory: &mut dyn StoreFactory) {
    const EVENTS: Channel = Channel::LobbyEvents;
    let store = fresh(factory).await;
    let assign = |term| store.outbox_assign(term, EVENTS, StreamId::ZERO, START, 100);
    let mut rng = Rng::new(50);
    let mut game = running(&*store, "game-1", &mut rng).await;
    let a = life("a", 1);
    let Some(old) = attend(&*store, &a, LONG).await.terms.remove(&RELAY) else {
        panic!("nobody leads");
    };
    assert_eq!(assign(Term::default()).await.expect("an answer"), None, "the term before any");
    let rows = assign(old).await.expect("an answer").expect("its term");
    assert!(!rows.is_empty());
    let force = game.must(&Event::Force, &mut rng);
    apply(&*store, &mut game, &force).await;
    let done = game.must(&game.turn_done(), &mut rng);
    apply(&*store, &mut game, &done).await;

    // The relay alone changes hands: the terms of the roles are not each other's.
    store.attend(&Attendance { wants: vec![CONSUMER], ..a.clone() }, LONG).await.expect("a roll");
    let mut b = attend(&*store, &life("b", 2), LONG).await.terms;
    let new = b.remove(&RELAY).expect("it leads");
    assert!(new > old && b.is_empty(), "{new:?}");
    for stale in [old, Term(new.0 + 1)] {
        assert_eq!(assign(stale).await.expect("an answer"), None, "{stale:?}");
        assert_eq!(store.outbox_unassign(stale, EVENTS).await.expect("an answer"), None);
    }
    let after = assign(new).await.expect("an answer").expect("its term");
    let known = after.get(..rows.len()).expect("those before");
    assert_eq!(known, rows, "they keep the ids they have");
    assert!(after.len() > rows.len());
    // Whoever leads may, and so may its successor go on from there.
    assert_eq!(store.outbox_unassign(new, EVENTS).await.expect("an answer"), Some(()));
    let again = assign(new).await.expect("an answer").expect("its term");
    let given = |rows: &[OutboxRow]| rows.iter().filter_map(|row| row.stream_id).max();
    assert!(again.iter().all(|row| row.stream_id > given(&after)), "{again:?}");
}
