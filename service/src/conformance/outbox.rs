//! The outbox and the versions.

use chrono::TimeDelta;
use machine::{Channel, Event, StreamId, Timestamp};

use super::records::{apply, running};
use super::sample::{Game, START};
use super::{Rng, StoreFactory};
use crate::ports::{NewVersion, OutboxRow, Store, VersionOptions, VersionStatus};

const EVENTS: Channel = Channel::LobbyEvents;
const INTENTS: Channel = Channel::NotificationIntents;

async fn play_turn(store: &dyn Store, game: &mut Game, rng: &mut Rng) -> Vec<String> {
    let force = game.must(&Event::Force, rng);
    apply(store, game, &force).await;
    let done = game.must(&game.turn_done(), rng);
    apply(store, game, &done).await;
    let messages = force.messages.iter().chain(&done.messages);
    let of_lobby = messages.filter(|message| message.channel() == EVENTS);
    of_lobby.map(|message| serde_json::to_string(message).expect("JSON")).collect()
}

fn ms(at: Timestamp) -> u64 {
    u64::try_from(at.timestamp_millis()).expect("after 1970")
}

fn ids(rows: &[OutboxRow]) -> Vec<StreamId> {
    rows.iter().map(|row| row.stream_id.expect("an assigned id")).collect()
}

fn grows(ids: &[StreamId]) -> bool {
    ids.iter().zip(ids.iter().skip(1)).all(|(a, b)| a < b)
}

/// Messages leave in the order they were committed, under ids that grow and stay.
pub(super) async fn messages_leave_in_order(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(20);
    let mut games = [running(&*store, "a", &mut rng).await, running(&*store, "b", &mut rng).await];
    let begun = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    let seqs: Vec<u64> = begun.iter().map(|row| row.seq).collect();
    store.outbox_published(&seqs, START).await.expect("a mark");
    let mut wanted = vec![];
    for _ in 0..4 {
        for game in &mut games {
            wanted.extend(play_turn(&*store, game, &mut rng).await);
        }
    }
    let backlog = store.outbox_backlog().await.expect("a backlog");
    let first = store.outbox_assign(EVENTS, StreamId::ZERO, START, 3).await.expect("rows");
    assert_eq!(first.len(), 3);
    let later = START + TimeDelta::seconds(5);
    let all = store.outbox_assign(EVENTS, StreamId::ZERO, later, 100).await.expect("rows");
    assert_eq!(all.iter().map(|row| row.payload.clone()).collect::<Vec<_>>(), wanted);
    assert_eq!(all.get(..3), Some(first.as_slice()), "what has an id keeps it");
    assert!(all.iter().zip(all.iter().skip(1)).all(|(a, b)| a.seq < b.seq));
    assert!(all.iter().all(|row| row.channel == EVENTS && row.published_at.is_none()));
    let given = ids(&all);
    assert!(grows(&given) && given.first() > ids(&begun).last());
    assert_eq!(given.get(3), Some(&StreamId { ms: ms(later), seq: 0 }), "the present is carried");
    // A clock that goes back takes no id back.
    let again = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    assert_eq!(again, all);
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), backlog);
    assert_eq!(store.outbox_assign(EVENTS, StreamId::ZERO, START, 0).await.expect("none"), vec![]);
    // The other channel's messages are its own.
    let intents = store.outbox_assign(INTENTS, StreamId::ZERO, START, 100).await.expect("rows");
    assert!(intents.iter().all(|row| row.channel == INTENTS));
    assert_eq!(u64::try_from(all.len() + intents.len()).expect("few"), backlog);
}

/// Ids lie above a floor from the far future too, and above all given before.
pub(super) async fn ids_lie_above_the_floor(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(21);
    let mut game = running(&*store, "a", &mut rng).await;
    play_turn(&*store, &mut game, &mut rng).await;
    let first = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    let floor = StreamId { ms: ms(START) + 10_000_000, seq: 7 };
    let kept = store.outbox_assign(EVENTS, floor, START, 100).await.expect("rows");
    assert_eq!(kept, first, "a floor takes no id back by itself");
    store.outbox_unassign(EVENTS).await.expect("taken back");
    let raised = store.outbox_assign(EVENTS, floor, START, 100).await.expect("rows");
    assert_eq!(raised.len(), first.len());
    assert!(ids(&raised).iter().all(|id| *id > floor) && grows(&ids(&raised)));
    // The floor is forgotten, the ids are not: they may be in the stream already.
    store.outbox_unassign(EVENTS).await.expect("taken back");
    let again = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    assert!(ids(&again).first() > ids(&raised).last() && grows(&ids(&again)));
    let full = StreamId { ms: ms(START) + 20_000_000, seq: u64::MAX };
    store.outbox_unassign(EVENTS).await.expect("taken back");
    let carried = store.outbox_assign(EVENTS, full, START, 1).await.expect("rows");
    assert!(ids(&carried).first() > Some(&full), "the sequence is carried into the milliseconds");
}

/// What was published stays known until it is pruned, and is found again by its id.
pub(super) async fn published_messages_are_found_again(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(22);
    let mut game = running(&*store, "a", &mut rng).await;
    assert_eq!(store.outbox_newest(EVENTS).await.expect("newest"), StreamId::ZERO);
    for _ in 0..5 {
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let rows = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    assert_eq!(store.outbox_newest(EVENTS).await.expect("newest"), StreamId::ZERO);
    let backlog = store.outbox_backlog().await.expect("a backlog");
    let mut marked = vec![];
    for (n, row) in (0..).zip(&rows) {
        let at = START + TimeDelta::seconds(n);
        store.outbox_published(&[row.seq], at).await.expect("a mark");
        // A second mark, and one of a message that is not there, change nothing.
        let late = at + TimeDelta::hours(1);
        store
            .outbox_published(&[row.seq, u64::try_from(i64::MAX).expect("fits")], late)
            .await
            .expect("a mark");
        marked.push(OutboxRow { published_at: Some(at), ..row.clone() });
        assert_eq!(
            store.outbox_newest(EVENTS).await.expect("newest"),
            ids(&rows)[marked.len() - 1]
        );
    }
    let count = u64::try_from(rows.len()).expect("few");
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), backlog - count);
    store.outbox_unassign(EVENTS).await.expect("nothing to take back");
    for (n, id) in ids(&rows).into_iter().enumerate() {
        let found = store.outbox_published_after(EVENTS, id, 100).await.expect("rows");
        assert_eq!(found, marked.get(n + 1..).expect("in range"));
    }
    let found = store.outbox_published_after(EVENTS, StreamId::ZERO, 2).await.expect("rows");
    assert_eq!(Some(found.as_slice()), marked.get(..2));
    let none = store.outbox_published_after(INTENTS, StreamId::ZERO, 9).await.expect("rows");
    assert_eq!(none, vec![]);
    // Strictly before: the third stays.
    let pruned = store.outbox_prune(START + TimeDelta::seconds(2)).await.expect("a count");
    assert_eq!(pruned, 2);
    let found = store.outbox_published_after(EVENTS, StreamId::ZERO, 100).await.expect("rows");
    assert_eq!(Some(found.as_slice()), marked.get(2..));
    store.outbox_prune(START + TimeDelta::days(1)).await.expect("a count");
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), backlog - count);
    // What was pruned leaves its ids used.
    play_turn(&*store, &mut game, &mut rng).await;
    let next = store.outbox_assign(EVENTS, StreamId::ZERO, START, 100).await.expect("rows");
    assert!(ids(&next).first() > ids(&rows).last());
    assert!(next.first().map(|row| row.seq) > rows.last().map(|row| row.seq));
}

/// More messages than any step of a prune takes at once.
pub(super) async fn a_long_outbox_is_pruned_whole(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(23);
    let mut game = running(&*store, "a", &mut rng).await;
    for _ in 0..60 {
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let mut seqs = vec![];
    for channel in Channel::ALL {
        let rows = store.outbox_assign(channel, StreamId::ZERO, START, 1_000).await.expect("rows");
        seqs.extend(rows.iter().map(|row| row.seq));
    }
    store.outbox_published(&seqs, START).await.expect("marks");
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), 0);
    let pruned = store.outbox_prune(START + TimeDelta::milliseconds(1)).await.expect("a count");
    assert_eq!(pruned, u64::try_from(seqs.len()).expect("few"));
    assert_eq!(store.outbox_prune(START + TimeDelta::days(1)).await.expect("a count"), 0);
}

/// A version is registered once, and versions are listed as semver orders them.
pub(super) async fn versions_are_kept_in_semver_order(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let texts = ["1.10.0", "1.9.3", "2.0.0-rc.1", "2.0.0", "1.9.10", "2.0.0-alpha", "0.1.0"];
    for (n, text) in texts.iter().enumerate() {
        let new = NewVersion {
            version: text.parse().expect("a version"),
            image_ref: format!("galaxy/engine:{text}").parse().expect("an image"),
            options: VersionOptions { turn_guard: n % 2 == 0 },
        };
        assert_eq!(store.version(&new.version).await.expect("a version"), None);
        assert!(store.create_version(&new, START).await.expect("registered"));
        let other = NewVersion {
            image_ref: "galaxy/other:1.0.0".parse().expect("an image"),
            ..new.clone()
        };
        let late = START + TimeDelta::hours(1);
        assert!(!store.create_version(&other, late).await.expect("registered before"));
        let row = store.version(&new.version).await.expect("a version").expect("there");
        assert_eq!((row.version, row.image_ref), (new.version, new.image_ref));
        assert_eq!((row.options, row.status), (new.options, VersionStatus::Active));
        assert_eq!((row.created_at, row.updated_at), (START, START));
    }
    let mut paged = vec![];
    let mut after = None;
    loop {
        let page = store.versions(after.as_ref(), 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.version.clone());
        paged.extend(page.iter().map(|row| row.version.to_string()));
    }
    let sorted = ["0.1.0", "1.9.3", "1.9.10", "1.10.0", "2.0.0-alpha", "2.0.0-rc.1", "2.0.0"];
    assert_eq!(paged, sorted);
    assert_eq!(store.versions(None, 0).await.expect("nothing"), vec![]);
}
