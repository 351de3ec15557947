//! The simulated server beside a real one: the same statements, the same story, the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use integration::servers::PostgresServer;
use machine::{Channel, StreamId, Timestamp};
use service::conformance::{Game, Pair, Rng, START};
use service::ports::{
    Attendance, Claim, ClaimKey, Commit, Fingerprint, Presence, Role, Source, Store, Term,
};
use service::postgres::migrate;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use crate::support::{Served, open};

/// How many stories, and how long each is.
const STORIES: u64 = 4;
const STORY_STEPS: usize = 150;

async fn real() -> String {
    let (_, url) = PostgresServer::shared().await.database().await;
    migrate(&url.as_str().into()).await.expect("a migration");
    url
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_has_the_types_that_a_real_server_gives_it() {
    let served = Served::new(1).await;
    let simulated = connect(&served.url()).await;
    let real = connect(&real().await).await;
    let mut count = 0;
    for text in sim::postgres::statements() {
        let wanted = real.prepare(&text).await.expect("the real server knows it");
        let found = simulated.prepare(&text).await.expect("the simulated server knows it");
        assert_eq!(found.params(), wanted.params(), "{text}");
        let columns = |statement: &tokio_postgres::Statement| -> Vec<(String, Type)> {
            let columns = statement.columns().iter();
            columns.map(|column| (column.name().to_owned(), column.type_().clone())).collect()
        };
        assert_eq!(columns(&found), columns(&wanted), "{text}");
        count += 1;
    }
    assert!(count > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_story_leaves_the_same_rows() {
    let mut seen = BTreeMap::new();
    for seed in 0..STORIES {
        let served = Served::new(seed).await;
        let url = real().await;
        let (one, other) = (Arc::new(open(url_settings(&url))), Arc::new(served.open()));
        let (real, simulated) = (connect(&url).await, connect(&served.url()).await);
        let mut pair = Pair::new(one.clone(), other.clone(), seed).await;
        for _ in 0..3 {
            pair.steps(STORY_STEPS / 3).await;
            pair.compare().await;
            same_rows(&real, &simulated, &mut seen).await;
        }
        for day in 0..3 {
            a_day_later(&*one, &*other, seed, day).await;
            same_rows(&real, &simulated, &mut seen).await;
        }
        for (role, term) in the_relay_changes_hands(&*one, &*other).await {
            let late = Term(term.0 - 1);
            for term in [late, term] {
                assert_eq!(
                    other
                        .outbox_assign(term, Channel::LobbyEvents, StreamId::ZERO, START, 9)
                        .await
                        .ok(),
                    one.outbox_assign(term, Channel::LobbyEvents, StreamId::ZERO, START, 9)
                        .await
                        .ok(),
                    "{role:?}"
                );
                assert_eq!(
                    other.outbox_unassign(term, Channel::LobbyEvents).await.ok(),
                    one.outbox_unassign(term, Channel::LobbyEvents).await.ok(),
                );
            }
        }
        same_rows(&real, &simulated, &mut seen).await;
    }
    let few: Vec<_> = seen.iter().filter(|(_, rows)| **rows < 10).collect();
    assert!(few.is_empty(), "compared too little: {few:?}");
}

fn url_settings(url: &str) -> service::postgres::PostgresSettings {
    service::postgres::PostgresSettings::new(url.into())
}

/// A game of its own each day, under names of the days before, and what is old forgotten.
async fn a_day_later(one: &dyn Store, other: &dyn Store, seed: u64, day: i64) {
    let now = START + TimeDelta::hours(13) * i32::try_from(day + 1).expect("few");
    let mut rng = Rng::new(seed + 1_000 * day.unsigned_abs());
    for n in 0..4_u8 {
        let mut game = Game::new(&format!("day-{day}-{n}"));
        game.now = now;
        let commit = game.must(&game.registration(&mut rng), &mut rng);
        let key = format!("daily-{n}").parse().expect("a key");
        let key = ClaimKey { caller: Source::Lobby, key };
        let claim = Some(Claim { key, fingerprint: Fingerprint([n; 32]) });
        let commit = Commit { claim, ..commit };
        let wanted = one.commit(&commit).await.expect("an answer");
        assert_eq!(other.commit(&commit).await.expect("an answer"), wanted);
    }
    let before = now - TimeDelta::hours(12);
    let wanted = one.outbox_prune(before).await.expect("a count");
    assert_eq!(other.outbox_prune(before).await.expect("a count"), wanted);
}

/// Who attends and leads, in both; answers the terms of whoever leads in the end.
async fn the_relay_changes_hands(one: &dyn Store, other: &dyn Store) -> BTreeMap<Role, Term> {
    let long = std::time::Duration::from_secs(3_600);
    let mut last = BTreeMap::new();
    let who = |name: &str, boot: u128, wants: &[Role], is_draining| Attendance {
        presence: Presence {
            instance: name.parse().expect("a name"),
            boot: uuid::Uuid::from_u128(boot),
        },
        is_draining,
        wants: wants.to_vec(),
    };
    let story = [
        who("b", 1, &Role::ALL, false),
        who("A", 2, &Role::ALL, false),
        who("b", 1, &[Role::HealthConsumer], true),
        who("A", 2, &Role::ALL, false),
        who("A", 3, &Role::ALL, false),
        who("A", 2, &Role::ALL, false),
        who("b", 1, &Role::ALL, false),
    ];
    for attendance in story {
        let wanted = one.attend(&attendance, long).await.expect("a roll");
        assert_eq!(other.attend(&attendance, long).await.expect("a roll"), wanted);
        if attendance.presence.boot.as_u128() == 2 {
            for store in [one, other] {
                let gone =
                    Presence { boot: uuid::Uuid::from_u128(9), ..attendance.presence.clone() };
                store.leave(&gone).await.expect("nothing to leave");
            }
        }
        if !wanted.terms.is_empty() {
            last = wanted.terms;
        }
    }
    last
}

/// Everything that the adapter can read, row by row and column by column, places and numbers
/// included.
async fn same_rows(real: &Client, simulated: &Client, seen: &mut BTreeMap<String, usize>) {
    type Params<'a> = Vec<Box<dyn ToSql + Sync + Send>>;
    let text = |text: &str| -> Box<dyn ToSql + Sync + Send> { Box::new(text.to_owned()) };
    let long_after = START + TimeDelta::days(9);
    let at = |at: Timestamp| -> Box<dyn ToSql + Sync + Send> { Box::new(at) };
    let mut asked: Vec<(&str, Params<'_>)> = vec![
        (
            "row_to_json(v)::text, v.game_id FROM gamemaster.records v WHERE v.game_id > $1 ORDER",
            vec![text("")],
        ),
        ("SELECT next_timer_at", vec![at(long_after)]),
        ("work_owner", vec![text("gm-1")]),
        ("SELECT count(*)", vec![]),
        ("WHERE v.sort_key > $1", vec![text("")]),
        ("WHERE kind = $1", vec![text("banish"), at(long_after)]),
        ("WHERE kind = $1", vec![text("tick"), at(long_after)]),
        ("pg_is_in_recovery", vec![]),
    ];
    for channel in Channel::ALL {
        let zero = || [text(channel.as_str()), text("0"), text("0")].into();
        asked.push(("AND (o.stream_ms, o.stream_seq) >", zero()));
        asked.push(("o.stream_ms IS NOT NULL", vec![text(channel.as_str())]));
    }
    for game in ["game-1", "Game-2", "g_3", "day-0-1"] {
        asked.push((
            "row_to_json(v)::text FROM gamemaster.records v WHERE v.game_id = $1",
            vec![text(game)],
        ));
        asked.push(("WHERE game_id = $1 AND seq < $2", vec![text(game), Box::new(i64::MAX)]));
    }
    for n in 0..40 {
        for (caller, key) in [("lobby", "key"), ("admin", "key"), ("lobby", "daily")] {
            let key = format!("{key}-{n}");
            asked.push(("FROM gamemaster.claims", vec![text(caller), text(&key)]));
        }
    }
    for (part, params) in asked {
        let mut found = sim::postgres::statements().filter(|text| text.contains(part));
        let sql = found.next().unwrap_or_else(|| panic!("no statement with {part}"));
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| &**p as _).collect();
        let wanted = real.query(&sql, &params).await.expect("rows");
        let given = simulated.query(&sql, &params).await.expect("rows");
        let shown = |rows: &[Row]| -> Vec<Vec<String>> { rows.iter().map(show).collect() };
        assert_eq!(shown(&given), shown(&wanted), "{sql}");
        *seen.entry(part.to_owned()).or_default() += wanted.len();
    }
}

fn show(row: &Row) -> Vec<String> {
    let show = |n: usize| match *row.columns().get(n).expect("a column").type_() {
        Type::TEXT => row.get::<_, Option<String>>(n).map_or("NULL".into(), |text| plain(&text)),
        Type::INT8 => format!("{:?}", row.get::<_, Option<i64>>(n)),
        Type::INT4 => format!("{:?}", row.get::<_, Option<i32>>(n)),
        Type::BOOL => format!("{:?}", row.get::<_, Option<bool>>(n)),
        Type::UUID => format!("{:?}", row.get::<_, Option<uuid::Uuid>>(n)),
        Type::BYTEA => format!("{:?}", row.get::<_, Option<Vec<u8>>>(n)),
        Type::TIMESTAMPTZ => format!("{:?}", row.get::<_, Option<Timestamp>>(n)),
        ref other => panic!("a column of {other}"),
    };
    (0..row.len()).map(show).collect()
}

/// A document without its blanks, its order of keys, and the digest that nobody reads.
fn plain(text: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(mut document)) => {
            document.remove("roster_digest");
            serde_json::Value::Object(document).to_string()
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}
