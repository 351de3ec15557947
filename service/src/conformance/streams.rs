//! The suite for [`Streams`].

use std::sync::Arc;
use std::time::Duration;

use machine::StreamId;

use super::streams_model::Model;
use super::{Rng, StreamsFactory};
use crate::ports::{AppendAt, Appended, AppendedAll, NewEntry, Stopped, Streams};

/// Longer than any machine takes; a failure, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);
const NO_WAIT: Duration = Duration::ZERO;
/// The largest payload that every implementation takes.
const LARGEST_PAYLOAD_BYTES: usize = 1024 * 1024;

/// Every promise of the trait, one by one, each on streams of its own.
pub async fn directed(factory: &mut dyn StreamsFactory) {
    entries_come_back_in_order(factory).await;
    only_ids_above_the_newest_are_taken(factory).await;
    the_next_id_is_above_whatever_came_before(factory).await;
    several_are_appended_in_order_or_not_at_all(factory).await;
    several_end_before_the_first_that_is_refused(factory).await;
    several_go_onto_a_stream_that_is_whole(factory).await;
    racing_batches_stay_whole(factory).await;
    a_wait_ends_with_the_first_entry(factory).await;
    a_wait_for_nothing_ends(factory).await;
    racing_appends_all_get_a_place(factory).await;
    trimming_spares_what_is_not_below(factory).await;
    offsets_come_back_as_saved(factory).await;
    a_crash_takes_nothing_back(factory).await;
}

/// So many random operations on streams of their own, every answer compared with a plain model.
pub async fn sequence(factory: &mut dyn StreamsFactory, seed: u64, steps: usize) {
    let mut streams = factory.empty().await;
    let mut model = Model::default();
    let mut rng = Rng::new(seed);
    for step in 0..steps {
        let place = format!("seed {seed}, step {step}");
        if rng.percent(3) {
            streams = factory.reopen(streams).await;
        }
        model.step(&*streams, &mut rng, &place).await;
    }
    model.compare_all(&*streams, &format!("seed {seed}, at the end")).await;
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

async fn add(streams: &dyn Streams, stream: &str, at: AppendAt, payload: &[u8]) -> StreamId {
    match streams.append(stream, at, payload).await.expect("an append") {
        Appended::Added(id) => id,
        Appended::NotAbove => panic!("{at:?} is not above the newest of {stream}"),
    }
}

async fn ids(streams: &dyn Streams, stream: &str, after: StreamId, max: usize) -> Vec<StreamId> {
    let entries = streams.read(stream, after, max, NO_WAIT).await.expect("a read");
    entries.iter().map(|entry| entry.id).collect()
}

async fn entries_come_back_in_order(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    let all = [id(5, 0), id(5, 1), id(5, 10), id(9, 0), id(10, 0), id(10, u64::MAX)];
    let payloads: [&[u8]; 6] = [b"{}", b"", b"\0\xff\r\n", b"5", b"6", "ü".as_bytes()];
    for (at, payload) in all.into_iter().zip(payloads) {
        assert_eq!(add(&*streams, "a", AppendAt::Exactly(at), payload).await, at);
    }
    add(&*streams, "b", AppendAt::Exactly(id(7, 0)), b"other").await;
    let entries = streams.read("a", StreamId::ZERO, 100, PATIENCE).await.expect("a read");
    let found: Vec<_> = entries.iter().map(|e| (e.id, e.payload.as_slice())).collect();
    assert_eq!(found, all.into_iter().zip(payloads).collect::<Vec<_>>());
    assert_eq!(ids(&*streams, "a", id(5, 1), 2).await, [id(5, 10), id(9, 0)]);
    assert_eq!(ids(&*streams, "a", id(5, 2), 1).await, [id(5, 10)]);
    assert_eq!(ids(&*streams, "a", id(10, u64::MAX), 9).await, []);
    assert_eq!(ids(&*streams, "none", StreamId::ZERO, 9).await, []);
    for entry in entries {
        assert_eq!(streams.entry("a", entry.id).await.expect("an entry"), Some(entry));
    }
    assert_eq!(streams.entry("a", id(5, 2)).await.expect("an entry"), None);
    assert_eq!(streams.entry("none", id(5, 1)).await.expect("an entry"), None);
    let large = vec![b'x'; LARGEST_PAYLOAD_BYTES];
    let at = add(&*streams, "large", AppendAt::Next, &large).await;
    let entry = streams.entry("large", at).await.expect("an entry").expect("there");
    assert!(entry.payload == large, "the largest payload comes back whole");
}

async fn only_ids_above_the_newest_are_taken(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    assert_eq!(streams.newest("a").await.expect("newest"), StreamId::ZERO);
    add(&*streams, "a", AppendAt::Exactly(id(5, 5)), b"first").await;
    for at in [id(5, 5), id(5, 4), id(4, 9), StreamId::ZERO] {
        let answer = streams.append("a", AppendAt::Exactly(at), b"late").await.expect("an append");
        assert_eq!(answer, Appended::NotAbove, "{at}");
    }
    let entry = streams.entry("a", id(5, 5)).await.expect("an entry").expect("there");
    assert_eq!(entry.payload, b"first");
    add(&*streams, "a", AppendAt::Exactly(id(5, 6)), b"second").await;
    assert_eq!(ids(&*streams, "a", StreamId::ZERO, 9).await, [id(5, 5), id(5, 6)]);
    assert_eq!(streams.newest("a").await.expect("newest"), id(5, 6));
}

async fn the_next_id_is_above_whatever_came_before(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    let first = add(&*streams, "a", AppendAt::Next, b"1").await;
    assert!(first > StreamId::ZERO);
    assert!(add(&*streams, "a", AppendAt::Next, b"2").await > first);
    // From a clock that is far ahead, and at the end of its millisecond.
    let ahead = id(9_000_000_000_000, u64::MAX);
    add(&*streams, "a", AppendAt::Exactly(ahead), b"3").await;
    assert_eq!(add(&*streams, "a", AppendAt::Next, b"4").await, id(9_000_000_000_001, 0));
    assert_eq!(add(&*streams, "a", AppendAt::Next, b"5").await, id(9_000_000_000_001, 1));
    let last = id(u64::MAX, u64::MAX);
    add(&*streams, "a", AppendAt::Exactly(last), b"6").await;
    let beyond = streams.append("a", AppendAt::Next, b"7").await;
    assert!(beyond.is_err(), "there is no id above the last one: {beyond:?}");
    assert_eq!(streams.newest("a").await.expect("newest"), last);
}

/// How several appends ended, in short.
#[derive(Debug, PartialEq, Eq)]
enum End {
    All,
    NotAbove,
    Short(StreamId),
    Failed,
}

async fn add_all(
    streams: &dyn Streams,
    onto: StreamId,
    entries: &[(AppendAt, &[u8])],
) -> (Vec<StreamId>, End) {
    let entries: Vec<_> =
        entries.iter().map(|(at, payload)| NewEntry { at: *at, payload }).collect();
    let AppendedAll { added, stopped } = streams.append_all("a", onto, &entries).await;
    let end = match stopped {
        None => End::All,
        Some(Stopped::NotAbove) => End::NotAbove,
        Some(Stopped::Short(newest)) => End::Short(newest),
        Some(Stopped::Failed(_)) => End::Failed,
    };
    (added, end)
}

/// Entries at ids of one millisecond each.
fn at(all: &[u64]) -> Vec<(AppendAt, &'static [u8])> {
    all.iter().map(|ms| (AppendAt::Exactly(id(*ms, 0)), b"x".as_slice())).collect()
}

async fn several_are_appended_in_order_or_not_at_all(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    assert_eq!(add_all(&*streams, StreamId::ZERO, &[]).await, (vec![], End::All));
    assert_eq!(streams.newest("a").await.expect("newest"), StreamId::ZERO);
    let payloads: [&[u8]; 4] = [b"{}", b"", b"\0\xff\r\n", "ü".as_bytes()];
    let ids = [id(5, 0), id(5, u64::MAX), id(6, 0), id(u64::MAX, 1)];
    let entries: Vec<_> = ids.iter().map(|id| AppendAt::Exactly(*id)).zip(payloads).collect();
    assert_eq!(add_all(&*streams, StreamId::ZERO, &entries).await, (ids.to_vec(), End::All));
    let found = streams.read("a", StreamId::ZERO, 9, NO_WAIT).await.expect("a read");
    let found: Vec<_> = found.iter().map(|e| (e.id, e.payload.as_slice())).collect();
    assert_eq!(found, ids.into_iter().zip(payloads).collect::<Vec<_>>());
    // Ids that the stream draws lie above whatever is there, each above the one before.
    let streams = factory.empty().await;
    let far = id(9_000_000_000_000, u64::MAX - 1);
    let next = AppendAt::Next;
    let mixed: [(AppendAt, &[u8]); 4] =
        [(next, b"1"), (AppendAt::Exactly(far), b"2"), (next, b"3"), (next, b"4")];
    let (added, end) = add_all(&*streams, StreamId::ZERO, &mixed).await;
    assert_eq!(end, End::All);
    assert_eq!(added.get(1..), Some(&[far, far.successor(), id(9_000_000_000_001, 0)][..]));
    assert_eq!(self::ids(&*streams, "a", StreamId::ZERO, 9).await, added);
}

async fn several_end_before_the_first_that_is_refused(factory: &mut dyn StreamsFactory) {
    let zero = StreamId::ZERO;
    let streams = factory.empty().await;
    add_all(&*streams, zero, &at(&[1, 5])).await;
    // SUBTLE: 6 and 7 could be added, behind which 3 could never follow.
    assert_eq!(add_all(&*streams, zero, &at(&[3, 6, 7])).await, (vec![], End::NotAbove));
    assert_eq!(add_all(&*streams, zero, &at(&[5, 6, 7])).await, (vec![], End::NotAbove));
    assert_eq!(ids(&*streams, "a", zero, 9).await, [id(1, 0), id(5, 0)]);
    let ended = add_all(&*streams, zero, &at(&[6, 7, 7, 8])).await;
    assert_eq!(ended, (vec![id(6, 0), id(7, 0)], End::NotAbove));
    // At the end of the ids there are.
    let last = AppendAt::Exactly(id(u64::MAX, u64::MAX));
    let ended = add_all(&*streams, zero, &[(last, b"x"), (AppendAt::Next, b"y")]).await;
    assert_eq!(ended, (vec![id(u64::MAX, u64::MAX)], End::Failed));
    assert_eq!(ids(&*streams, "a", id(5, 0), 9).await.len(), 3);
}

async fn several_go_onto_a_stream_that_is_whole(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    let short = add_all(&*streams, id(4, 0), &at(&[5])).await;
    assert_eq!(short, (vec![], End::Short(StreamId::ZERO)), "it is not there at all");
    add_all(&*streams, StreamId::ZERO, &at(&[9, 10])).await;
    // As numbers, not as texts, and to the last of 64 bits.
    for (onto, whole) in [
        (id(9, 5), true),
        (id(10, 0), true),
        (id(10, 1), false),
        (id(11, 0), false),
        (id(100, 0), false),
    ] {
        let ended = add_all(&*streams, onto, &[]).await;
        let wanted = if whole { End::All } else { End::Short(id(10, 0)) };
        assert_eq!(ended, (vec![], wanted), "{onto}");
    }
    add(&*streams, "a", AppendAt::Exactly(id(u64::MAX - 1, u64::MAX - 1)), b"x").await;
    let newest = id(u64::MAX - 1, u64::MAX - 1);
    let above = [(AppendAt::Next, b"x".as_slice())];
    let short = add_all(&*streams, newest.successor(), &above).await;
    assert_eq!(short, (vec![], End::Short(newest)));
    // What was trimmed is not lost.
    streams.trim("a", newest.successor()).await.expect("a trim");
    let ended = add_all(&*streams, newest, &above).await;
    assert_eq!(ended, (vec![newest.successor()], End::All));
}

/// What one appends at once stays together, whoever else does.
async fn racing_batches_stay_whole(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    let mut tasks = tokio::task::JoinSet::new();
    for racer in 0..8_u8 {
        let streams = Arc::clone(&streams);
        tasks.spawn(async move {
            for _ in 0..5 {
                let payload = [racer];
                let entries = [(AppendAt::Next, payload.as_slice()); 10];
                let (added, end) = add_all(&*streams, StreamId::ZERO, &entries).await;
                assert_eq!((added.len(), end), (10, End::All));
            }
        });
    }
    while let Some(racer) = tasks.join_next().await {
        racer.expect("a racer");
    }
    let entries = streams.read("a", StreamId::ZERO, 999, NO_WAIT).await.expect("a read");
    assert_eq!(entries.len(), 400);
    for batch in entries.chunks(10) {
        let first = batch.first().map(|entry| &entry.payload);
        assert!(batch.iter().all(|entry| Some(&entry.payload) == first), "{batch:?}");
    }
}

async fn a_wait_ends_with_the_first_entry(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    // Now and then the entry comes before the reader, now and then after it: both must find it.
    for round in 1..=20 {
        let reader = Arc::clone(&streams);
        let wait = tokio::spawn(async move {
            reader.read("a", id(round, 0), 9, PATIENCE).await.expect("a read")
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        // Neither another stream's entry nor one at the id itself ends the wait.
        add(&*streams, "b", AppendAt::Exactly(id(round, 0)), b"other").await;
        if round == 1 {
            add(&*streams, "a", AppendAt::Exactly(id(round, 0)), b"not above").await;
        }
        add(&*streams, "a", AppendAt::Exactly(id(round + 1, 0)), b"found").await;
        let found = tokio::time::timeout(PATIENCE, wait).await.expect("in time").expect("a reader");
        let found: Vec<StreamId> = found.iter().map(|entry| entry.id).collect();
        assert_eq!(found, [id(round + 1, 0)]);
    }
}

async fn a_wait_for_nothing_ends(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    add(&*streams, "a", AppendAt::Exactly(id(1, 0)), b"1").await;
    for wait in [NO_WAIT, Duration::from_millis(1), Duration::from_millis(20)] {
        let read = streams.read("a", id(1, 0), 9, wait);
        let found = tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("a read");
        assert_eq!(found, vec![]);
    }
}

async fn racing_appends_all_get_a_place(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    let mut tasks = tokio::task::JoinSet::new();
    for racer in 0..8_u8 {
        let streams = Arc::clone(&streams);
        tasks.spawn(async move {
            let mut exact = vec![];
            for round in 1..=10 {
                add(&*streams, "next", AppendAt::Next, &[racer]).await;
                let at = AppendAt::Exactly(id(round, 0));
                exact.push(streams.append("exact", at, &[racer]).await.expect("an append"));
            }
            exact
        });
    }
    let mut added = vec![];
    while let Some(exact) = tasks.join_next().await {
        for answer in exact.expect("a racer") {
            match answer {
                Appended::Added(id) => added.push(id),
                Appended::NotAbove => {}
            }
        }
    }
    added.sort_unstable();
    assert_eq!(added, ids(&*streams, "exact", StreamId::ZERO, 99).await, "each was added once");
    assert_eq!(ids(&*streams, "next", StreamId::ZERO, 999).await.len(), 80);
}

async fn trimming_spares_what_is_not_below(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    for n in 1..=20 {
        add(&*streams, "a", AppendAt::Exactly(id(n, 0)), b"x").await;
    }
    streams.trim("a", id(15, 0)).await.expect("a trim");
    streams.trim("none", id(15, 0)).await.expect("a trim of nothing");
    let left = ids(&*streams, "a", id(14, u64::MAX), 99).await;
    assert_eq!(left, (15..=20).map(|n| id(n, 0)).collect::<Vec<_>>());
    streams.trim("a", id(99, 0)).await.expect("a trim");
    // However little is left, the newest id stays known.
    assert_eq!(streams.newest("a").await.expect("newest"), id(20, 0));
    let answer = streams.append("a", AppendAt::Exactly(id(20, 0)), b"x").await;
    assert_eq!(answer.expect("an append"), Appended::NotAbove);
    add(&*streams, "a", AppendAt::Exactly(id(20, 1)), b"x").await;
}

async fn offsets_come_back_as_saved(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    assert_eq!(streams.offset("health").await.expect("an offset"), None);
    for offset in [id(5, 1), StreamId::ZERO, id(u64::MAX, u64::MAX)] {
        streams.save_offset("health", offset).await.expect("saved");
        let found = streams.offset("health").await.expect("an offset");
        assert_eq!(found, Some(offset.to_string()));
    }
    assert_eq!(streams.offset("other").await.expect("an offset"), None);
    for malformed in ["", "yesterday", "5", "5-", "ü"] {
        factory.plant_offset("health", malformed).await;
        let found = streams.offset("health").await.expect("an offset");
        assert_eq!(found.as_deref(), Some(malformed), "as saved, not as it should be");
    }
    streams.save_offset("health", id(7, 0)).await.expect("saved");
    let found = streams.offset("health").await.expect("an offset");
    assert_eq!(found.as_deref(), Some("7-0"));
}

async fn a_crash_takes_nothing_back(factory: &mut dyn StreamsFactory) {
    let streams = factory.empty().await;
    for n in 1..=10 {
        add(&*streams, "a", AppendAt::Exactly(id(n, n)), b"\0\xff").await;
    }
    streams.trim("a", id(8, 0)).await.expect("a trim");
    streams.save_offset("health", id(3, 3)).await.expect("saved");
    let before = streams.read("a", id(7, 7), 99, NO_WAIT).await.expect("a read");
    let streams = factory.reopen(streams).await;
    assert_eq!(streams.read("a", id(7, 7), 99, NO_WAIT).await.expect("a read"), before);
    assert_eq!(streams.newest("a").await.expect("newest"), id(10, 10));
    let offset = streams.offset("health").await.expect("an offset");
    assert_eq!(offset.as_deref(), Some("3-3"));
    let answer = streams.append("a", AppendAt::Exactly(id(10, 10)), b"x").await;
    assert_eq!(answer.expect("an append"), Appended::NotAbove);
}
