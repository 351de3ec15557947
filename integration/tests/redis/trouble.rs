//! Redis unwell, and others in it: every call ends in time and says the truth.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use integration::proxy::{FaultProxy, Trap};
use integration::redis_server::{Durability, RedisServer};
use machine::StreamId;
use net::{RedisLimits, TokioNet};
use service::ports::{AppendAt, Appended, NewEntry, Stopped, Streams};
use service::redis_streams::{RedisSettings, RedisStreams};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bus::blocked;
use super::{
    BOUND, LIMITS, PATIENCE, add, all, bounded, eventually, id, settings, streams, texts, url,
};

/// BUG 7 of the list in `catalogues.md`: an append on a connection where a reader waits.
#[tokio::test]
async fn a_read_that_waits_delays_no_append() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut readers = JoinSet::new();
    for stream in ["quiet", "busy"] {
        let streams = Arc::clone(&streams);
        let after = id(1000, 0);
        readers.spawn(async move { streams.read(stream, after, 9, Duration::from_secs(60)).await });
    }
    blocked(&server, 2).await;
    let began = Instant::now();
    for n in 1..=100 {
        add(&*streams, "busy", id(n, 0), "x").await;
        streams.save_offset("me", id(n, 0)).await.expect("saved");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(readers.try_join_next().is_none(), "both still wait");
    add(&*streams, "busy", id(1000, 1), "news").await;
    let found = bounded("the reader", readers.join_next()).await.expect("one");
    assert_eq!(found.expect("no panic").expect("a read").len(), 1);
}

async fn all_of(streams: &dyn Streams, stream: &str) -> Result<(), String> {
    let entries = [NewEntry { at: AppendAt::Next, payload: b"x" }; 3];
    let ended = streams.append_all(stream, StreamId::ZERO, &entries).await;
    match ended.stopped {
        None => Ok(()),
        Some(Stopped::Failed(error)) if ended.added.is_empty() => Err(error.to_string()),
        Some(stopped) => panic!("{stopped:?} after {:?}", ended.added),
    }
}

/// Every method of the port, each once. What they answer, where they do.
async fn calls(streams: &dyn Streams, at: StreamId) -> Vec<Result<(), String>> {
    let waiting = streams.read("s", id(u64::MAX, 0), 9, Duration::from_millis(50));
    let text = |error: service::ports::StreamError| error.to_string();
    vec![
        bounded("append", streams.append("s", AppendAt::Exactly(at), b"x"))
            .await
            .map(drop)
            .map_err(text),
        bounded("next", streams.append("n", AppendAt::Next, b"x")).await.map(drop).map_err(text),
        bounded("all", all_of(streams, "m")).await,
        bounded("read", waiting).await.map(drop).map_err(text),
        bounded("entry", streams.entry("s", at)).await.map(drop).map_err(text),
        bounded("newest", streams.newest("s")).await.map(drop).map_err(text),
        bounded("trim", streams.trim("s", id(1, 0))).await.map_err(text),
        bounded("offset", streams.offset("me")).await.map(drop).map_err(text),
        bounded("save", streams.save_offset("me", at)).await.map_err(text),
    ]
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back() {
    let mut server = RedisServer::start(Durability::Always).await;
    let streams = streams(&server.url());
    assert!(calls(&*streams, id(1, 0)).await.iter().all(Result::is_ok));
    for round in 2..=4 {
        server.kill();
        let answers = calls(&*streams, id(round, 0)).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        server.start_again().await;
        let at = id(round, 0);
        eventually(|| streams.append("s", AppendAt::Exactly(at), b"x")).await;
        let answers = calls(&*streams, id(round, 1)).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let ids: Vec<_> = all(&*streams, "s").await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [id(1, 0), id(2, 0), id(2, 1), id(3, 0), id(3, 1), id(4, 0), id(4, 1)]);
}

#[tokio::test]
async fn a_server_that_hangs() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    assert!(calls(&*streams, id(1, 0)).await.iter().all(Result::is_ok));
    let reader = Arc::clone(&streams);
    let waiting =
        tokio::spawn(async move { reader.read("s", id(9, 0), 9, Duration::from_secs(1)).await });
    blocked(&server, 1).await;
    server.pause();
    let answers = calls(&*streams, id(2, 0)).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    let waited = bounded("the reader", waiting).await.expect("no panic");
    assert!(waited.is_err(), "{waited:?}");
    server.resume();
    // Whether the first one got there while nobody listened or not: it is there once.
    eventually(|| streams.append("s", AppendAt::Exactly(id(2, 0)), b"x")).await;
    eventually(|| streams.append("s", AppendAt::Exactly(id(3, 0)), b"x")).await;
    let ids: Vec<_> = all(&*streams, "s").await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [id(1, 0), id(2, 0), id(3, 0)]);
}

#[tokio::test]
async fn a_server_that_is_away_is_not_hammered() {
    let mut server = RedisServer::start(Durability::No).await;
    let proxy = FaultProxy::start(server.address());
    let streams = streams(&url(&proxy));
    let mut first = JoinSet::new();
    for _ in 0..50 {
        let streams = Arc::clone(&streams);
        first.spawn(async move { streams.newest("s").await });
    }
    assert!(first.join_all().await.iter().all(Result::is_ok));
    assert_eq!(proxy.accepted(), 1, "all share one connection");
    server.kill();
    let began = Instant::now();
    for _ in 0..1_000 {
        assert!(streams.newest("s").await.is_err());
    }
    // The pauses double: 50 ms, 100 ms, … up to a second.
    let seconds = began.elapsed().as_secs();
    assert!(proxy.accepted() < 8 + seconds, "{} in {seconds} s", proxy.accepted());
    server.start_again().await;
    eventually(|| streams.newest("s")).await;
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_there_once() {
    let server = RedisServer::start(Durability::No).await;
    let proxy = FaultProxy::start(server.address());
    let streams = streams(&url(&proxy));
    add(&*streams, "s", id(1, 0), "1").await;
    let lost_answers = proxy.trap(Trap::answer_to(b"XADD"));
    let lost = bounded("append", streams.append("s", AppendAt::Exactly(id(2, 0)), b"2")).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(lost_answers.count(), 1);
    let again = streams.append("s", AppendAt::Exactly(id(2, 0)), b"2").await;
    assert_eq!(again.expect("an append"), Appended::NotAbove);
    let entry = streams.entry("s", id(2, 0)).await.expect("a read").expect("there");
    assert_eq!(entry.payload, b"2");
    add(&*streams, "s", id(3, 0), "3").await;
    assert_eq!(texts(&*streams, "s").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn refusals_are_told_as_such_and_end() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let command = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let answer = server.command(&words).await.expect("an answer");
        assert!(answer.starts_with('+') || answer.starts_with(':'), "{words:?}: {answer}");
    };
    let append = async || {
        let answer = streams.append("s", AppendAt::Next, b"x").await;
        answer.map_err(|error| error.to_string())
    };
    let port = server.address().port();
    for (begin, code, end) in [
        ("SET s text", "WRONGTYPE", "DEL s"),
        ("CONFIG SET maxmemory 1", "OOM", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS", "CONFIG SET min-replicas-to-write 0"),
        (&format!("REPLICAOF 127.0.0.1 {}", port + 1), "READONLY", "REPLICAOF NO ONE"),
        ("ACL SETUSER default -xadd", "NOPERM", "ACL SETUSER default +xadd"),
    ] {
        append().await.expect("an append");
        if code == "WRONGTYPE" {
            command("DEL s").await;
        }
        command(begin).await;
        let refused = append().await.expect_err(code);
        assert!(refused.contains("Redis refuses it") && refused.contains(code), "{refused}");
        // Through a script too, without which all else works.
        let refused = all_of(&*streams, "s").await.expect_err(code);
        // Of the rights of a script's commands Redis 7.0 says it in words.
        let code = if code == "NOPERM" { " run th" } else { code };
        assert!(refused.contains("Redis refuses it: ") && refused.contains(code), "{refused}");
        command(end).await;
        eventually(append).await;
        eventually(|| all_of(&*streams, "s")).await;
    }
}

#[tokio::test]
async fn a_password_is_asked_for_and_never_told() {
    let server = RedisServer::start_with_password().await;
    assert!(streams(&server.url()).newest("s").await.is_ok());
    let address = server.address();
    let none = streams(&format!("redis://{address}")).newest("s").await.expect_err("no password");
    assert!(none.to_string().contains("NOAUTH"), "{none}");
    for credentials in [":geheim", "geheim:geheim"] {
        let streams = streams(&format!("redis://{credentials}@{address}"));
        for error in [streams.newest("s").await, streams.newest("s").await] {
            let error = error.expect_err("a wrong password");
            assert!(!format!("{error} {error:?} {streams:?}").contains("geheim"), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }
    let wrong_db = streams(&format!("{}/99", server.url())).newest("s").await;
    let error = wrong_db.expect_err("a database that is not there").to_string();
    assert!(!error.contains("open"), "{error}");
}

/// One that still reads its data, says so to all who come.
#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = RedisServer::start(Durability::No).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let target = server.address();
    let loading = tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = [0; 1024];
            while stream.read(&mut asked).await.is_ok_and(|n| n > 0) {
                let answer = b"-LOADING Redis is loading the dataset in memory\r\n";
                if stream.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut server = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let streams = streams(&url);
    let error = bounded("append", all_of(&*streams, "s")).await.expect_err("it loads");
    assert!(error.contains("LOADING"), "{error}");
    eventually(|| all_of(&*streams, "s")).await;
    assert_eq!(all(&*streams, "s").await.len(), 3);
    loading.abort();
}

/// A server that does not know AUTH repeats what it was given.
#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_repeated() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.expect("a client");
        let asked = stream.read(&mut [0; 1024]).await.expect("a request");
        let answer = b"-ERR unknown command 'AUTH', with args beginning with: 'geheim'\r\n";
        stream.write_all(answer).await.expect("an answer");
        asked
    });
    let streams = streams(&format!("redis://:geheim@{address}"));
    let error = bounded("newest", streams.newest("s")).await.expect_err("no Redis");
    assert!(server.await.expect("no panic") > 0, "it was asked");
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
}

#[tokio::test]
async fn what_others_write_is_read_as_far_as_it_can_be() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    for words in [
        ["XADD", "s", "1-0", "other", "field"].as_slice(),
        &["XADD", "s", "2-0", "a", "payload", "payload", "first", "payload", "second"],
        &["XADD", "s", "3-0", "PAYLOAD", "x", "payload", ""],
        &["XADD", "s", "4-0", "payload", "\r\n*1\r\n$4\r\nPING\r\n"],
    ] {
        server.command(words).await.expect("an entry");
    }
    let found = texts(&*streams, "s").await;
    assert_eq!(found, ["", "first", "", "\r\n*1\r\n$4\r\nPING\r\n"]);
    let entry = streams.entry("s", id(1, 0)).await.expect("a read").expect("there");
    assert_eq!(entry.payload, b"");
}

#[tokio::test]
async fn what_is_gone_is_not_forgotten() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    for n in 1..=5 {
        add(&*streams, "s", id(n, 0), "x").await;
    }
    let command = async |words: &[&str]| server.command(words).await.expect("an answer");
    assert_eq!(command(&["XDEL", "s", "5-0", "2-0"]).await, ":2");
    assert_eq!(streams.newest("s").await.expect("newest"), id(5, 0));
    assert_eq!(streams.entry("s", id(5, 0)).await.expect("an entry"), None);
    assert_eq!(command(&["XTRIM", "s", "MAXLEN", "1"]).await, ":2");
    let found = streams.read("s", id(1, 0), 9, PATIENCE).await.expect("a read");
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(4, 0)]);
    assert_eq!(command(&["XTRIM", "s", "MAXLEN", "0"]).await, ":1");
    assert_eq!(streams.newest("s").await.expect("newest"), id(5, 0));
    let late = streams.append("s", AppendAt::Exactly(id(5, 0)), b"x").await.expect("an append");
    assert_eq!(late, Appended::NotAbove);
    server.flush_all().await;
    assert_eq!(streams.newest("s").await.expect("newest"), StreamId::ZERO);
    add(&*streams, "s", id(1, 0), "x").await;
}

#[tokio::test]
async fn a_trim_goes_on_until_nothing_goes() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    // More than Redis drops at once.
    let fill = "for i = 1, 30000 do redis.call('XADD', KEYS[1], i .. '-0', 'payload', '') end";
    server.command(&["EVAL", fill, "1", "s"]).await.expect("filled");
    streams.trim("s", id(25_001, 0)).await.expect("a trim");
    let left = all(&*streams, "s").await;
    assert!((5_000..5_200).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().map(|entry| entry.id), Some(id(30_000, 0)));
}

#[tokio::test]
async fn so_many_readers_may_wait_and_no_more() {
    let server = RedisServer::start(Durability::No).await;
    let streams = streams(&server.url());
    let mut readers = JoinSet::new();
    for _ in 0..32 {
        let streams = Arc::clone(&streams);
        readers.spawn(async move { streams.read("s", StreamId::ZERO, 9, PATIENCE).await });
    }
    blocked(&server, 32).await;
    let refused = bounded("a read", streams.read("s", StreamId::ZERO, 9, PATIENCE)).await;
    assert!(refused.is_err(), "{refused:?}");
    add(&*streams, "s", id(1, 0), "x").await;
    let found = bounded("the readers", readers.join_all()).await;
    assert!(found.iter().all(|read| read.as_ref().is_ok_and(|entries| entries.len() == 1)));
    // Of their connections a few are kept, beside the one for appends and the stranger's.
    integration::harness::until("the others to be closed", || async {
        let clients = server.command(&["INFO", "clients"]).await.ok()?;
        clients.contains("connected_clients:6\r").then_some(())
    })
    .await;
}

/// Who writes to a stream decides how long its entries are.
#[tokio::test]
async fn entries_that_are_too_long_together_come_alone_and_one_too_long_not_at_all() {
    let server = RedisServer::start(Durability::No).await;
    let limits = RedisLimits { max_answer_bytes: 1 << 20, ..LIMITS };
    let settings = RedisSettings { limits, ..settings(&server.url(), "") };
    let streams = RedisStreams::new(Arc::new(TokioNet), settings);
    for (n, length) in [(1, 600_000), (2, 600_000), (3, 2_000_000)] {
        add(&streams, "s", id(n, 0), &"x".repeat(length)).await;
    }
    for after in [StreamId::ZERO, id(1, 0)] {
        let read = streams.read("s", after, 100, PATIENCE).await.expect("a read");
        assert_eq!(read.iter().map(|entry| entry.payload.len()).collect::<Vec<_>>(), [600_000]);
    }
    let alone = bounded("a read", streams.read("s", id(2, 0), 100, PATIENCE)).await;
    assert!(alone.expect_err("too long").to_string().contains("too long"));
    assert_eq!(streams.newest("n").await.expect("newest"), StreamId::ZERO);
}

/// Polls a call so many times and drops it; `None` where that was before its end.
async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_point_confuses_nobody() {
    let server = RedisServer::start(Durability::No).await;
    let kept = streams(&server.url());
    add(&*kept, "one", id(1, 0), "one").await;
    kept.save_offset("two", id(2, 2)).await.expect("saved");
    // Over connections that are there, and over ones that the dropped call begins to make.
    for fresh in [false, true] {
        let mut ended = 0;
        for polls in 0..200 {
            let streams = if fresh { self::streams(&server.url()) } else { Arc::clone(&kept) };
            let next = dropped_after(polls, streams.append("n", AppendAt::Next, b"next")).await;
            let offset = dropped_after(polls, streams.offset("nobody")).await;
            let read = streams.read("one", StreamId::ZERO, 9, Duration::ZERO);
            let read = dropped_after(polls, read).await;
            let wait = streams.read("quiet", StreamId::ZERO, 9, PATIENCE);
            // Once it waits inside Redis nobody polls it any more.
            let wait = dropped_after(polls, wait);
            let waited = tokio::time::timeout(Duration::from_millis(20), wait).await;
            assert!(waited.ok().flatten().is_none(), "there is nothing to find");

            assert_eq!(streams.offset("two").await.expect("an offset").as_deref(), Some("2-2"));
            assert_eq!(texts(&*streams, "one").await, ["one"], "after {polls} polls");
            assert_eq!(streams.newest("one").await.expect("newest"), id(1, 0));
            if next.is_some() && offset.is_some() && read.is_some() {
                ended += 1;
                if ended == 3 {
                    break;
                }
            }
        }
        assert_eq!(ended, 3, "calls that are polled often enough end");
    }
    assert!(texts(&*kept, "n").await.iter().all(|text| text == "next"));
    // Whoever waited in vain is gone.
    blocked(&server, 0).await;
}
