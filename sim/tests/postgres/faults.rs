//! Every fault strikes, and the production adapter makes of it what it must. In simulated time: what
//! takes seconds here takes none.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use machine::{Event, Timestamp};
use service::conformance::{Game, Rng, register_versions};
use service::ports::{
    Claim, ClaimKey, Commit, CommitError, CommitId, Committed, Feed, Fingerprint, Heard, News,
    Source, Store,
};
use service::postgres::{Postgres, PostgresFeed, PostgresSettings};
use sim::postgres::{Conduct, Database, Held, Refuses, Span, Strike};
use sim::{SimClock, SimEntropy, SimNet};
use tokio::time::Instant;

/// How long anything that must come is waited for, in simulated time.
const PATIENCE: Duration = Duration::from_secs(120);

fn settings() -> PostgresSettings {
    PostgresSettings::new("postgresql://gm:hush@db/gm".into())
}

fn open(settings: PostgresSettings) -> Postgres {
    let entropy = Arc::new(SimEntropy::new(5));
    Postgres::open(settings, SimNet::unreached(), entropy).expect("a store")
}

/// Runs a client against a server of a new database.
fn with_server<F>(seed: u64, client: impl FnOnce(Database) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        .build();
    let database = Database::new(seed, Arc::new(SimClock::default()));
    let served = database.clone();
    sim.host("db", move || {
        let database = served.clone();
        async move {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5432);
            Ok(database.bind(&*SimNet::unreached(), any).await?.run().await?)
        }
    });
    sim.client("gm", async move {
        client(database).await;
        Ok(())
    });
    sim.run().expect("the client ends well");
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A game that runs.
async fn running(store: &dyn Store, rng: &mut Rng) -> Game {
    register_versions(store).await;
    let mut game = Game::new("game-1");
    let register = game.must(&game.registration(rng), rng);
    assert_eq!(store.commit(&register).await.expect("an answer"), Committed::Applied);
    game.applied(&register);
    let started = game.must(&game.init_done(), rng);
    assert_eq!(store.commit(&started).await.expect("an answer"), Committed::Applied);
    game.applied(&started);
    game
}

/// What comes next for a game that runs: a turn is forced, or done.
fn next(game: &Game, rng: &mut Rng) -> Commit {
    let works = game.record.as_ref().is_some_and(|rt| rt.work().is_some());
    game.must(&if works { game.turn_done() } else { Event::Force }, rng)
}

/// A repeat under its name tells what became of a commit, once the server answers.
async fn settle(store: &Postgres, game: &mut Game, commit: &Commit) {
    let repeat = until("an answer", || async { store.commit(commit).await.ok() }).await;
    assert_eq!(repeat, Committed::Applied, "it stands in its own way");
    assert_eq!(store.load(&game.id).await.expect("a load"), commit.next);
    game.applied(commit);
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn assert_told(answer: &Result<Committed, CommitError>, code: &str) {
    let Err(CommitError::Determinate(why)) = answer else {
        panic!("{code} leaves no doubt: {answer:?}");
    };
    assert!(why.0.contains(code), "{code}: {why}");
}

#[test]
fn an_answer_lost_after_its_commit_leaves_a_doubt_and_the_commit() {
    with_server(1, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(1));
        let mut game = running(&store, &mut rng).await;
        let commit = next(&game, &mut rng);
        database.strike(Strike::LoseAnswers { count: 1 });
        let answer = store.commit(&commit).await;
        assert!(matches!(answer, Err(CommitError::Indeterminate(_))), "{answer:?}");
        let found = store.load(&game.id).await.expect("reads go on");
        assert_eq!(found, commit.next, "it had committed");
        settle(&store, &mut game, &commit).await;
        assert_eq!(database.struck().get("lost_answer"), Some(&1), "that one and no other");
    });
}

#[test]
fn a_crash_in_the_work_commits_or_does_not_and_never_half() {
    with_server(2, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(2));
        let mut game = running(&store, &mut rng).await;
        database.conduct(Conduct { work_ms: Span::exactly(200), ..Conduct::default() });
        let mut kept = [0, 0];
        for _ in 0..16 {
            let commit = next(&game, &mut rng);
            let strike = async {
                tokio::time::sleep(ms(100)).await;
                database.strike(Strike::Crash { down_ms: 300 });
            };
            let (answer, ()) = tokio::join!(store.commit(&commit), strike);
            assert!(matches!(answer, Err(CommitError::Indeterminate(_))), "{answer:?}");
            let found = database.records().into_iter().next();
            let committed = found == commit.next;
            assert!(committed || found == game.record, "half of a commit");
            let marks = |rows: &[service::ports::OperationRow]| {
                let named = |row: &&service::ports::OperationRow| {
                    commit.audit.iter().any(|entry| entry.operation == row.operation)
                        && row.finished_at.is_none()
                };
                rows.iter().filter(named).count()
            };
            let opened = commit
                .audit
                .iter()
                .any(|entry| matches!(entry.mark, machine::AuditMark::Opened { .. }));
            assert_eq!(marks(&database.operations()) == 1, committed == opened);
            *kept.get_mut(usize::from(committed)).expect("two") += 1;
            settle(&store, &mut game, &commit).await;
        }
        assert!(kept.iter().all(|count| *count > 2), "the lot is one-sided: {kept:?}");
        assert!(database.struck().contains_key("57P03"), "nobody came while it recovered");
    });
}

#[test]
fn an_administrator_ends_connections_idle_and_busy() {
    with_server(3, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(3));
        let mut game = running(&store, &mut rng).await;
        database.strike(Strike::Terminate);
        until("idle connections are gone", || async {
            (database.connections() == 0).then_some(())
        })
        .await;
        assert_eq!(store.load(&game.id).await.expect("over a new connection"), game.record);
        database.conduct(Conduct { terminated: 400, ..Conduct::default() });
        let mut doubts = 0;
        for _ in 0..60 {
            let commit = next(&game, &mut rng);
            match store.commit(&commit).await {
                Ok(committed) => assert_eq!(committed, Committed::Applied),
                Err(CommitError::Indeterminate(_)) => doubts += 1,
                Err(CommitError::Determinate(why)) => panic!("the doubt was missed: {why}"),
            }
            settle_through(&store, &mut game, &commit).await;
        }
        let struck = database.struck();
        assert!(doubts > 5, "{doubts}");
        assert!(struck.contains_key("terminated_before_commit"), "{struck:?}");
        assert!(struck.contains_key("terminated_after_commit"), "{struck:?}");
    });
}

/// The same as [`settle`] where reads fail as well.
async fn settle_through(store: &Postgres, game: &mut Game, commit: &Commit) {
    let repeat = until("an answer", || async { store.commit(commit).await.ok() }).await;
    assert_eq!(repeat, Committed::Applied);
    let found = until("a load", || async { store.load(&game.id).await.ok() }).await;
    assert_eq!(found, commit.next);
    game.applied(commit);
}

#[test]
fn a_server_that_lets_nobody_in_says_why() {
    with_server(4, |database| async move {
        for (refuses, code) in
            [(Refuses::StartingUp, "57P03"), (Refuses::TooManyConnections, "53300")]
        {
            database.conduct(Conduct { refuses: Some(refuses), ..Conduct::default() });
            let why = open(settings()).ready().await.expect_err("nobody is let in");
            assert!(why.0.contains(code), "{why}");
        }
        let slow = Span::exactly(500);
        let narrow = Conduct { max_connections: 2, work_ms: slow, ..Conduct::default() };
        database.conduct(narrow);
        let store = open(settings());
        let (a, b, c) = tokio::join!(store.ready(), store.ready(), store.ready());
        let refused: Vec<String> =
            [a, b, c].into_iter().filter_map(Result::err).map(|e| e.0).collect();
        assert!(matches!(refused.as_slice(), [why] if why.contains("53300")), "{refused:?}");
    });
}

#[test]
fn a_replica_answers_and_writes_nothing() {
    with_server(5, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(5));
        let mut game = running(&store, &mut rng).await;
        database.conduct(Conduct { read_only: true, ..Conduct::default() });
        assert_eq!(store.load(&game.id).await.expect("it reads"), game.record);
        let why = store.ready().await.expect_err("a replica");
        assert!(why.0.contains("replica"), "{why}");
        let commit = next(&game, &mut rng);
        assert_told(&store.commit(&commit).await, "25006");
        assert_eq!(store.load(&game.id).await.expect("it reads"), game.record);
        database.conduct(Conduct::default());
        settle(&store, &mut game, &commit).await;
    });
}

#[test]
fn a_row_that_is_held_is_waited_for_so_long_and_no_longer() {
    with_server(6, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(6));
        let mut game = running(&store, &mut rng).await;
        let what = Held::Record(game.id.clone());
        for (for_ms, waits) in [(1_000, true), (60_000, false)] {
            let held = database.struck().get("held").copied().unwrap_or(0);
            database.strike(Strike::Hold { what: what.clone(), for_ms });
            until("it is held", || async {
                (database.struck().get("held").copied().unwrap_or(0) > held).then_some(())
            })
            .await;
            let (commit, began) = (next(&game, &mut rng), Instant::now());
            assert_eq!(store.load(&game.id).await.expect("readers do not wait"), game.record);
            assert!(began.elapsed() < ms(500));
            let answer = store.commit(&commit).await;
            let took = began.elapsed();
            if waits {
                assert_eq!(answer.expect("an answer"), Committed::Applied);
                assert!(took >= ms(800) && took < ms(1_900), "{took:?}");
                game.applied(&commit);
            } else {
                assert_told(&answer, "55P03");
                assert!(took >= settings().lock_timeout && took < ms(2_500), "{took:?}");
                assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
            }
        }
    });
}

#[test]
fn a_table_that_is_held_is_not_even_read() {
    with_server(7, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(7));
        let game = running(&store, &mut rng).await;
        database.strike(Strike::Hold { what: Held::Tables, for_ms: 60_000 });
        until("it is held", || async { database.struck().contains_key("held").then_some(()) })
            .await;
        let why = store.load(&game.id).await.expect_err("nobody reads");
        assert!(why.0.contains("55P03"), "{why}");
    });
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled_and_did_nothing() {
    with_server(8, |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(8));
        let mut game = running(&store, &mut rng).await;
        database.conduct(Conduct { work_ms: Span::exactly(20_000), ..Conduct::default() });
        let (commit, began) = (next(&game, &mut rng), Instant::now());
        assert_told(&store.commit(&commit).await, "57014");
        let took = began.elapsed();
        assert!(took >= settings().statement_timeout && took < ms(5_900), "{took:?}");
        database.conduct(Conduct::default());
        assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
        // An answer that takes longer than the adapter's patience is no refusal: it committed.
        database.conduct(Conduct { answer_ms: Span::exactly(20_000), ..Conduct::default() });
        let answer = store.commit(&commit).await;
        assert!(matches!(answer, Err(CommitError::Indeterminate(_))), "{answer:?}");
        database.conduct(Conduct::default());
        assert_eq!(store.load(&game.id).await.expect("a load"), commit.next);
        settle(&store, &mut game, &commit).await;
    });
}

#[test]
fn two_on_one_row_come_one_after_the_other() {
    with_server(9, |database| async move {
        let (one, other, mut rng) = (open(settings()), open(settings()), Rng::new(9));
        let game = running(&one, &mut rng).await;
        // So that neither must look first what the record was.
        assert_eq!(other.load(&game.id).await.expect("a load"), game.record);
        database.conduct(Conduct { work_ms: Span::exactly(400), ..Conduct::default() });
        let rivals = [next(&game, &mut rng), next(&game, &mut rng)];
        let began = Instant::now();
        let [first, second] = &rivals;
        let (a, b) = tokio::join!(one.commit(first), other.commit(second));
        let mut answers = [a.expect("an answer"), b.expect("an answer")];
        answers.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(answers, [Committed::Applied, Committed::Conflict]);
        assert!(began.elapsed() >= ms(800), "nobody waited");
    });
}

/// Two batches that take two names in opposite orders wait for each other in a circle. One of them
/// is told after a second, and tries again.
#[test]
fn a_circle_of_waits_is_found_and_ended() {
    with_server(10, |database| async move {
        let own = || PostgresSettings { commit_lanes: 1, ..settings() };
        let (one, other, mut rng) = (open(own()), open(own()), Rng::new(10));
        register_versions(&one).await;
        let mut commit = |id: &str, key: Option<&str>| {
            let game = Game::new(id);
            let commit = game.must(&game.registration(&mut rng), &mut rng);
            let claim = key.map(|key| {
                let key = ClaimKey { caller: Source::Lobby, key: key.parse().expect("a key") };
                Claim { key, fingerprint: Fingerprint([1; 32]) }
            });
            Commit { claim, ..commit }
        };
        // The lane of each is busy with the first, so that the two others become a batch.
        let ours = [commit("a", None), commit("b", Some("x")), commit("c", Some("y"))];
        let theirs = [commit("d", None), commit("e", Some("y")), commit("f", Some("x"))];
        database.conduct(Conduct { work_ms: Span::exactly(300), ..Conduct::default() });
        // Between the first name and the second the one batch is held up, so that they cross.
        let what = Held::Record("c".parse().expect("a game"));
        database.strike(Strike::Hold { what, for_ms: 600 });
        let [a, b, c] = &ours;
        let [d, e, f] = &theirs;
        let (a, b, c, d, e, f) = tokio::join!(
            one.commit(a),
            one.commit(b),
            one.commit(c),
            other.commit(d),
            other.commit(e),
            other.commit(f),
        );
        for free in [a, d] {
            assert_eq!(free.expect("an answer"), Committed::Applied);
        }
        for pair in [[b, f], [c, e]] {
            let mut pair = pair.map(|answer| answer.expect("an answer"));
            pair.sort_by_key(|answer| format!("{answer:?}"));
            assert_eq!(pair, [Committed::Applied, Committed::Conflict]);
        }
        let struck = database.struck();
        assert!(struck.contains_key("40P01"), "they never crossed: {struck:?}");
    });
}

#[test]
fn who_loses_to_others_tries_again_and_then_says_so() {
    for (conduct, code) in [
        (Conduct { deadlocks: 1_000, ..Conduct::default() }, "40P01"),
        (Conduct { serialization_failures: 1_000, ..Conduct::default() }, "40001"),
    ] {
        with_server(11, move |database| async move {
            let (store, mut rng) = (open(settings()), Rng::new(11));
            let mut game = running(&store, &mut rng).await;
            database.conduct(conduct.clone());
            let commit = next(&game, &mut rng);
            assert_told(&store.commit(&commit).await, code);
            let tries = database.struck().get(code).copied();
            assert!(tries > Some(1), "it gave up at once");
            assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
            database.conduct(Conduct { deadlocks: 150, ..Conduct::default() });
            for _ in 0..30 {
                let commit = next(&game, &mut rng);
                assert_eq!(store.commit(&commit).await.expect("in the end"), Committed::Applied);
                game.applied(&commit);
            }
            assert!(database.struck().get("40P01") > tries.as_ref(), "it never struck");
        });
    }
}

/// A name that is looked at, found free and waited for is taken by the time it is there.
#[test]
fn a_name_taken_while_it_was_waited_for_is_a_conflict_in_the_end() {
    with_server(12, |database| async move {
        let (one, other, mut rng) = (open(settings()), open(settings()), Rng::new(12));
        register_versions(&one).await;
        let mut commit = |id: &str| {
            let game = Game::new(id);
            let commit = game.must(&game.registration(&mut rng), &mut rng);
            let key = ClaimKey { caller: Source::Lobby, key: "same".parse().expect("a key") };
            Commit { claim: Some(Claim { key, fingerprint: Fingerprint([1; 32]) }), ..commit }
        };
        let [first, second] = [commit("a"), commit("b")];
        database.conduct(Conduct { work_ms: Span::exactly(300), ..Conduct::default() });
        let (a, b) = tokio::join!(one.commit(&first), other.commit(&second));
        let mut answers = [a.expect("an answer"), b.expect("an answer")];
        answers.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(answers, [Committed::Applied, Committed::Conflict]);
        assert_eq!(database.records().len(), 1);
    });
}

#[test]
fn news_reach_whoever_listens_and_a_crash_is_a_gap() {
    with_server(13, |database| async move {
        let feed = |seed| {
            let entropy = SimEntropy::new(seed);
            PostgresFeed::open(&settings(), SimNet::unreached(), &entropy).expect("a feed")
        };
        let (one, other) = (feed(1), feed(2));
        assert_eq!(one.next().await, Heard::Gap);
        assert_eq!(other.next().await, Heard::Gap);
        one.publish(&[News::Outbox]).await.expect("it is taken");
        assert_eq!(other.next().await, Heard::News(vec![News::Outbox]));
        database.strike(Strike::Crash { down_ms: 500 });
        assert_eq!(other.next().await, Heard::Deaf);
        assert_eq!(other.next().await, Heard::Gap);
        one.publish(&[News::Lost]).await.expect("it is taken");
        assert_eq!(other.next().await, Heard::News(vec![News::Lost]));
    });
}

#[tokio::test]
async fn a_statement_it_does_not_know_is_refused_with_its_text() {
    let served = crate::support::Served::new(1).await;
    let connected = tokio_postgres::connect(&served.url(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("a connection");
    tokio::spawn(connection);
    let drifted = "SELECT gamemaster.commit_all($1::jsonb)";
    let prepared = client.prepare(drifted).await.expect_err("not a statement of the adapter");
    let said = client.simple_query("COMMIT").await.expect_err("not one either");
    for (error, sql) in [(prepared, drifted), (said, "COMMIT")] {
        let refusal = error.as_db_error().expect("the server's word");
        assert_eq!(refusal.code().code(), "42601");
        assert!(refusal.message().contains(sql), "{refusal}");
    }
    client.simple_query("BEGIN; ROLLBACK").await.expect("the connection goes on");
}

#[test]
fn faults_are_data() {
    let conduct = Conduct {
        work_ms: Span { least: 1, most: 9 },
        refuses: Some(Refuses::StartingUp),
        deadlocks: 3,
        ..Conduct::default()
    };
    let text = serde_json::to_string(&conduct).expect("JSON");
    assert_eq!(serde_json::from_str::<Conduct>(&text).expect("a conduct"), conduct);
    assert_eq!(serde_json::from_str::<Conduct>("{}").expect("a conduct"), Conduct::default());
    serde_json::from_str::<Conduct>(r#"{"lost_answer": 1}"#).expect_err("no such fault");
    let game = "game-1".parse().expect("a game");
    for strike in [
        Strike::Crash { down_ms: 1 },
        Strike::Terminate,
        Strike::LoseAnswers { count: 2 },
        Strike::Hold { what: Held::Record(game), for_ms: 3 },
    ] {
        let text = serde_json::to_string(&strike).expect("JSON");
        assert_eq!(serde_json::from_str::<Strike>(&text).expect("a strike"), strike);
    }
}

/// What a life with faults of every kind leaves behind, with its instants.
fn life(seed: u64) -> Vec<String> {
    let trace = Arc::new(std::sync::Mutex::new(vec![]));
    let told = Arc::clone(&trace);
    with_server(seed, move |database| async move {
        let (store, mut rng) = (open(settings()), Rng::new(seed));
        let mut game = running(&store, &mut rng).await;
        database.conduct(Conduct {
            work_ms: Span { least: 0, most: 40 },
            answer_ms: Span { least: 0, most: 40 },
            lost_answers: 100,
            terminated: 100,
            deadlocks: 100,
            ..Conduct::default()
        });
        for n in 0..40 {
            if n % 10 == 9 {
                database.strike(Strike::Crash { down_ms: 100 });
            }
            let commit = Commit { id: CommitId(rng.uuid()), ..next(&game, &mut rng) };
            let answer = store.commit(&commit).await;
            let at: Timestamp = service::ports::Clock::now(&SimClock::default());
            told.lock().expect("not poisoned").push(format!("{at} {answer:?}"));
            settle_through(&store, &mut game, &commit).await;
        }
        told.lock().expect("not poisoned").push(format!("{:?}", database.struck()));
    });
    std::mem::take(&mut *trace.lock().expect("not poisoned"))
}

#[test]
fn the_same_seed_strikes_the_same_and_another_otherwise() {
    let first = life(21);
    assert_eq!(life(21), first);
    assert_ne!(life(22), first);
}
