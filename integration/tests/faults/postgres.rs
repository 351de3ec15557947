//! The link to PostgreSQL.

use std::time::Duration;

use http::Method;
use integration::proxy::{Close, Side, Trap, Way};
use integration::world::{Part, Setup};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::{
    GAMES, HOLES, Registrar, gain, go_on, hole, playing, readiness, until_pool_is_back,
    until_readiness,
};

/// What no request may take while the database is silent, with the waits that [`impatient`] sets: a
/// connection, a statement, its repeats, and room for a busy machine.
const BOUND: Duration = Duration::from_secs(30);

fn impatient() -> Setup {
    Setup::new()
        .gm("POSTGRES_STATEMENT_TIMEOUT_MILLISECONDS", "1000")
        .gm("POSTGRES_LOCK_TIMEOUT_MILLISECONDS", "500")
        .gm("POSTGRES_WAIT_TIMEOUT_MILLISECONDS", "500")
        .gm("POSTGRES_CONNECT_TIMEOUT_MILLISECONDS", "500")
}

/// F24: carried out, and the answer lost; every second time, so that it strikes the first try of
/// every commit and lets the repeat come through. F23, F70: the statement does not get there, or not
/// the whole of it.
#[tokio::test(flavor = "multi_thread")]
async fn commits_are_cut_before_during_and_after() {
    let (world, proxies) = playing(Setup::new(), &GAMES).await;
    let postgres = proxies.to(Part::Postgres);
    let registrar = Registrar::start(&world);
    for trap in [
        Trap::answer_with(b"applied").every(2),
        Trap::answer_with(b"applied").every(2).close(Close::Finish),
        Trap::request_with(b"\"expected\":").every(2),
        // Wherever that is.
        Trap::after(Way::ToServer, 5_000),
        Trap::after(Way::ToClient, 3_000),
    ] {
        let strikes = postgres.trap(trap.times(u64::MAX));
        gain(&world, &GAMES, 1).await;
        strikes.reach(4).await;
        postgres.heal();
        go_on(&world, &GAMES).await;
    }
    let [done, _, _] = registrar.check(&world).await;
    assert!(done > 10, "changes go on: {done}");
    until_pool_is_back(&world).await;
    world.end().await;
}

/// F29, F69: a second or so late, each way.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_far_away_is_slow_and_nothing_else() {
    let (world, proxies) = playing(Setup::new(), &GAMES).await;
    let postgres = proxies.to(Part::Postgres);
    let strikes = postgres.delay(Way::ToServer, Duration::from_millis(800));
    postgres.delay(Way::ToClient, Duration::from_millis(600));
    gain(&world, &GAMES, 1).await;
    strikes.reach(5).await;
    postgres.heal();
    go_on(&world, &GAMES).await;
    // Every answer in pieces.
    let strikes = postgres.trickle(Way::ToClient, 7, Duration::ZERO);
    gain(&world, &GAMES, 1).await;
    strikes.reach(100).await;
    postgres.heal();
    go_on(&world, &GAMES).await;
    world.end().await;
}

/// F29, F30, F68: silence, both ways and each way alone. Everybody is answered in time, and those
/// who ask do not use up the pool for those who come after.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_silent_is_missed_in_time() {
    let (world, proxies) = playing(impatient(), &GAMES).await;
    let postgres = proxies.to(Part::Postgres);
    let registrar = Registrar::start(&world);
    for way in HOLES {
        let strikes = hole(&postgres, way);
        let mut asked = JoinSet::new();
        for n in 0..32 {
            let (gm, game) = (world.gm(), GAMES[n % GAMES.len()]);
            asked.spawn(async move {
                let begun = Instant::now();
                let answer = match n % 4 {
                    0 => gm.force(game).await,
                    1 => gm.stop("nobody-knows-it").await,
                    _ => gm.admin().call(Method::GET, "/api/v1/internal/runtimes", None).await,
                };
                (n % 4 == 0, answer, begun.elapsed())
            });
        }
        while let Some(answered) = asked.join_next().await {
            let (is_force, answer, took) = answered.expect("an answer");
            assert!(took < BOUND, "{answer:?} took {took:?}");
            let code = (answer.status.as_u16(), answer.code().unwrap_or_default());
            // A turn may have been under way, or have ended in time.
            let may = is_force && matches!(answer.status.as_u16(), 200 | 409);
            let is_doubt = is_force && code == (503, "outcome_unknown");
            assert!(may || is_doubt || code == (503, "service_unavailable"), "{answer:?}");
        }
        assert_eq!(readiness(&world).await, (503, "unavailable".into()));
        strikes.reach(1).await;
        postgres.heal();
        until_readiness(&world, 200, "ready").await;
        go_on(&world, &GAMES).await;
        until_pool_is_back(&world).await;
    }
    let [done, not_done, unknown] = registrar.check(&world).await;
    assert!(done > 0 && not_done + unknown > 0, "{done} {not_done} {unknown}");
    world.end().await;
}

/// F23, F69, F71, F72: every connection gone at once, again and again; nobody there for a while; and
/// connections of which only one side knows the end.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_are_made_anew() {
    let (world, proxies) = playing(impatient(), &GAMES).await;
    let postgres = proxies.to(Part::Postgres);
    let registrar = Registrar::start(&world);
    let mut cut = 0;
    for round in 0..8 {
        let close = if round % 2 == 0 { Close::Reset } else { Close::Finish };
        cut += postgres.cut(close).await;
        gain(&world, &GAMES[..1], 1).await;
    }
    assert!(cut >= 8, "there was always one to cut: {cut}");
    for told in [Side::Client, Side::Server] {
        assert!(postgres.half_open(told).await > 0, "there was one to half open");
        go_on(&world, &GAMES).await;
    }
    let before = postgres.accepted();
    postgres.refuse();
    postgres.cut(Close::Reset).await;
    until_readiness(&world, 503, "unavailable").await;
    postgres.heal();
    let resets = postgres.reset_new();
    resets.reach(3).await;
    postgres.heal();
    until_readiness(&world, 200, "ready").await;
    go_on(&world, &GAMES).await;
    let connections = postgres.accepted() - before;
    assert!(connections < 500, "a herd of {connections} connections");
    registrar.check(&world).await;
    until_pool_is_back(&world).await;
    world.end().await;
}
