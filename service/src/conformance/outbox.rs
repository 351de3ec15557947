//! The outbox.

use chrono::TimeDelta;
use machine::{Channel, Event, StreamId, Timestamp};

use super::records::{apply, running};
use super::sample::{Game, START, fresh};
use super::{Rng, StoreFactory};
use crate::ports::{Backlog, OutboxRow, Store, Term};

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
    let store = fresh(factory).await;
    let mut rng = Rng::new(20);
    let mut games = [running(&*store, "a", &mut rng).await, running(&*store, "b", &mut rng).await];
    let begun = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    let seqs: Vec<u64> = begun.iter().map(|row| row.seq).collect();
    store.outbox_published(&seqs, START).await.expect("a mark");
    let mut wanted = vec![];
    for _ in 0..4 {
        for game in &mut games {
            wanted.extend(play_turn(&*store, game, &mut rng).await);
        }
    }
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    let first = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 3)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(first.len(), 3);
    let later = START + TimeDelta::seconds(5);
    let all = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, later, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(all.iter().map(|row| row.payload.clone()).collect::<Vec<_>>(), wanted);
    assert_eq!(all.get(..3), Some(first.as_slice()), "what has an id keeps it");
    assert!(all.iter().zip(all.iter().skip(1)).all(|(a, b)| a.seq < b.seq));
    assert!(all.iter().all(|row| row.channel == EVENTS && row.published_at.is_none()));
    let given = ids(&all);
    assert!(grows(&given) && given.first() > ids(&begun).last());
    assert_eq!(given.get(3), Some(&StreamId { ms: ms(later), seq: 0 }), "the present is carried");
    // A clock that goes back takes no id back.
    let again = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(again, all);
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog);
    assert_eq!(
        store
            .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 0)
            .await
            .expect("none")
            .expect("its term"),
        vec![]
    );
    // The other channel's messages are its own.
    let intents = store
        .outbox_assign(Term::default(), INTENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert!(intents.iter().all(|row| row.channel == INTENTS));
    assert_eq!(u64::try_from(all.len() + intents.len()).expect("few"), backlog);
}

/// Ids lie above a floor from the far future too, and above all given before.
pub(super) async fn ids_lie_above_the_floor(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(21);
    let mut game = running(&*store, "a", &mut rng).await;
    play_turn(&*store, &mut game, &mut rng).await;
    let first = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    let floor = StreamId { ms: ms(START) + 10_000_000, seq: 7 };
    let kept = store
        .outbox_assign(Term::default(), EVENTS, floor, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(kept, first, "a floor takes no id back by itself");
    store.outbox_unassign(Term::default(), EVENTS).await.expect("taken back").expect("its term");
    let raised = store
        .outbox_assign(Term::default(), EVENTS, floor, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(raised.len(), first.len());
    assert!(ids(&raised).iter().all(|id| *id > floor) && grows(&ids(&raised)));
    // The floor is forgotten, the ids are not: they may be in the stream already.
    store.outbox_unassign(Term::default(), EVENTS).await.expect("taken back").expect("its term");
    let again = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert!(ids(&again).first() > ids(&raised).last() && grows(&ids(&again)));
    let full = StreamId { ms: ms(START) + 20_000_000, seq: u64::MAX };
    store.outbox_unassign(Term::default(), EVENTS).await.expect("taken back").expect("its term");
    let carried = store
        .outbox_assign(Term::default(), EVENTS, full, START, 1)
        .await
        .expect("rows")
        .expect("its term");
    assert!(ids(&carried).first() > Some(&full), "the sequence is carried into the milliseconds");
}

/// What was published stays known until it is pruned, and is found again by its id.
pub(super) async fn published_messages_are_found_again(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(22);
    let mut game = running(&*store, "a", &mut rng).await;
    assert_eq!(store.outbox_newest(EVENTS).await.expect("newest"), StreamId::ZERO);
    for _ in 0..5 {
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let rows = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert_eq!(store.outbox_newest(EVENTS).await.expect("newest"), StreamId::ZERO);
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
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
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog - count);
    store
        .outbox_unassign(Term::default(), EVENTS)
        .await
        .expect("nothing to take back")
        .expect("its term");
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
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, backlog - count);
    // What was pruned leaves its ids used.
    play_turn(&*store, &mut game, &mut rng).await;
    let next = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert!(ids(&next).first() > ids(&rows).last());
    assert!(next.first().map(|row| row.seq) > rows.last().map(|row| row.seq));
}

/// More messages than any step of a prune takes at once.
pub(super) async fn a_long_outbox_is_pruned_whole(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(23);
    let mut game = running(&*store, "a", &mut rng).await;
    for _ in 0..60 {
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let mut seqs = vec![];
    for channel in Channel::ALL {
        let rows = store
            .outbox_assign(Term::default(), channel, StreamId::ZERO, START, 1_000)
            .await
            .expect("rows")
            .expect("its term");
        seqs.extend(rows.iter().map(|row| row.seq));
    }
    store.outbox_published(&seqs, START).await.expect("marks");
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, 0);
    let pruned = store.outbox_prune(START + TimeDelta::milliseconds(1)).await.expect("a count");
    assert_eq!(pruned, u64::try_from(seqs.len()).expect("few"));
    assert_eq!(store.outbox_prune(START + TimeDelta::days(1)).await.expect("a count"), 0);
}

/// What was published above an id is taken back and goes out once more, in its old place, under ids
/// that were never given before.
pub(super) async fn published_messages_are_replayed(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(24);
    let mut game = running(&*store, "a", &mut rng).await;
    for _ in 0..4 {
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let rows = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    assert!(rows.len() > 3, "{rows:?}");
    let (out, waiting) = rows.split_at(rows.len() - 1);
    let seqs: Vec<u64> = out.iter().map(|row| row.seq).collect();
    store.outbox_published(&seqs, START).await.expect("marks");
    let other = store
        .outbox_assign(Term::default(), INTENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    let others: Vec<u64> = other.iter().map(|row| row.seq).collect();
    store.outbox_published(&others, START).await.expect("marks");

    let newest = *ids(out).last().expect("an id");
    assert_eq!(store.outbox_replay(EVENTS, newest).await.expect("a count"), 0, "strictly above");
    let first = *ids(out).first().expect("an id");
    let back = store.outbox_replay(EVENTS, first).await.expect("a count");
    assert_eq!(back, u64::try_from(out.len() - 1).expect("few"));
    assert_eq!(store.outbox_newest(EVENTS).await.expect("newest"), first);
    // The mark of a relay that had them on their way comes late.
    store.outbox_published(&seqs, START).await.expect("no mark");
    let backlog = store.outbox_backlog().await.expect("a backlog").waiting;
    assert_eq!(backlog, back + 1, "those and the one that waited");
    let left = store.outbox_published_after(INTENTS, StreamId::ZERO, 100).await.expect("rows");
    assert_eq!(left.len(), other.len(), "the other channel is left alone");

    let store = factory.reopen(store).await;
    let again = store
        .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 100)
        .await
        .expect("rows")
        .expect("its term");
    let bare = |row: &OutboxRow| OutboxRow { stream_id: None, published_at: None, ..row.clone() };
    let wanted: Vec<OutboxRow> = rows.iter().skip(1).map(bare).collect();
    assert_eq!(again.iter().map(bare).collect::<Vec<_>>(), wanted, "in their old places");
    assert!(again.iter().all(|row| row.published_at.is_none()));
    assert!(grows(&ids(&again)), "ids grow with the places, past those that waited");
    assert!(ids(&again).first() > ids(waiting).last(), "an id is not given twice");
    assert_eq!(store.outbox_replay(EVENTS, StreamId::ZERO).await.expect("a count"), 1);
}

/// A replay is not ended by any step that it takes.
pub(super) async fn a_long_outbox_is_replayed_whole(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(25);
    let mut seqs = vec![];
    let mut game = running(&*store, "a", &mut rng).await;
    for _ in 0..2 {
        let force = game.must(&Event::Force, &mut rng);
        apply(&*store, &mut game, &force).await;
        // No step of a game tells so much; the store does not know.
        let mut done = game.must(&game.turn_done(), &mut rng);
        let told = done.messages.iter().filter(|message| message.channel() == EVENTS);
        done.messages = told.cycle().take(600).cloned().collect();
        apply(&*store, &mut game, &done).await;
    }
    loop {
        let rows = store
            .outbox_assign(Term::default(), EVENTS, StreamId::ZERO, START, 300)
            .await
            .expect("rows")
            .expect("its term");
        if rows.is_empty() {
            break;
        }
        let these: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        store.outbox_published(&these, START).await.expect("marks");
        seqs.extend(these);
    }
    let count = u64::try_from(seqs.len()).expect("few");
    assert!(count > 1_000, "{count}");
    let before = store.outbox_backlog().await.expect("a backlog").waiting;
    assert_eq!(store.outbox_replay(EVENTS, StreamId::ZERO).await.expect("a count"), count);
    let after = store.outbox_backlog().await.expect("a backlog").waiting;
    assert_eq!(after, before + count);
}

/// The backlog says how many wait on both channels, and since when.
pub(super) async fn the_backlog_tells_its_age(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(26);
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), Backlog::default());
    let mut game = running(&*store, "a", &mut rng).await;
    let at = |n| START + TimeDelta::seconds(n);
    for n in [10, 20, 30] {
        game.now = at(n);
        play_turn(&*store, &mut game, &mut rng).await;
    }
    let mut rows = vec![];
    for channel in Channel::ALL {
        rows.extend(
            store
                .outbox_assign(Term::default(), channel, StreamId::ZERO, at(40), 100)
                .await
                .expect("rows")
                .expect("its term"),
        );
    }
    rows.sort_by_key(|row| row.seq);
    let ats: Vec<Timestamp> = rows.iter().map(|row| row.at).collect();
    assert!(ats.is_sorted() && ats.contains(&at(10)) && ats.last() == Some(&at(30)), "{ats:?}");
    for (n, row) in rows.iter().enumerate() {
        let backlog = store.outbox_backlog().await.expect("a backlog");
        let waiting = u64::try_from(rows.len() - n).expect("few");
        assert_eq!(backlog, Backlog { waiting, oldest: Some(row.at) });
        store.outbox_published(&[row.seq], at(50)).await.expect("a mark");
    }
    assert_eq!(store.outbox_backlog().await.expect("a backlog"), Backlog::default());
    store.outbox_replay(EVENTS, StreamId::ZERO).await.expect("a count");
    let oldest = rows.iter().filter(|row| row.channel == EVENTS).map(|row| row.at).min();
    assert_eq!(store.outbox_backlog().await.expect("a backlog").oldest, oldest);
}
