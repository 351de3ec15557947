//! PostgreSQL itself: crashes, and the ways in which it refuses.

use std::time::Duration;

use http::Method;
use integration::harness::until;
use integration::redis_server::Durability as Streams;
use integration::servers::Durability;
use integration::world::{Setup, World};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::support::{GAMES, Registrar, gain, go_on, playing, until_pool_is_back, until_readiness};

/// What a request may take that finds no connection, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(15);

/// F26, F28: stopped at once as by a crash, and killed; with everything synchronised, as a database
/// is by default. What was acknowledged is there afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_and_comes_back() {
    let setup = Setup::new().own_servers(Durability::Full, Streams::No);
    let (world, _proxies) = playing(setup, &GAMES).await;
    let registrar = Registrar::start(&world);
    for kill in [false, true] {
        if kill {
            world.postgres().kill();
        } else {
            world.postgres().stop();
        }
        until_readiness(&world, 503, "unavailable").await;
        world.postgres().restart().await;
        until_readiness(&world, 200, "ready").await;
        go_on(&world, &GAMES).await;
    }
    let [done, not_done, unknown] = registrar.check(&world).await;
    // How many fall into the moment of the crash is chance, and none is possible.
    assert!(done > 0, "{done} {not_done} {unknown}");
    until_pool_is_back(&world).await;
    world.end().await;
}

async fn admin(world: &World) -> Client {
    world.postgres().admin("postgres").await.expect("the server answers")
}

async fn tell(admin: &Client, what: &str) {
    admin.batch_execute(what).await.expect(what);
}

/// A mutation and a read are refused as they should be.
async fn is_refused(world: &World, also_reads: bool) {
    let begun = Instant::now();
    world.gm().add_version("8.0.0").await.refused(503, "service_unavailable");
    if also_reads {
        let path = "/api/v1/internal/runtimes";
        let read = world.gm().admin().call(Method::GET, path, None).await;
        read.refused(503, "service_unavailable");
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

/// F26, F31, F34, F36: connections terminated at random (57P01), a server that has become read-only
/// as after a failover (25006), and one with no room for another connection (53300).
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_is_believed_and_waited_for() {
    let setup = Setup::new().own_servers(Durability::None, Streams::No);
    let (world, _proxies) = playing(setup, &GAMES).await;
    let admin = admin(&world).await;
    tell(&admin, "SET default_transaction_read_only = off").await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE usename = 'gamemaster' AND application_name = 'gamemaster'";

    let registrar = Registrar::start(&world);
    let mut terminated = 0;
    while terminated < 60 {
        let one = format!("{terminate} ORDER BY random() LIMIT 1");
        terminated += admin.query(&one, &[]).await.expect("terminated").len();
        if terminated % 20 == 0 {
            gain(&world, &GAMES[..1], 1).await;
        }
    }
    registrar.check(&world).await;
    go_on(&world, &GAMES).await;

    let set = "ALTER SYSTEM SET default_transaction_read_only = on";
    tell(&admin, set).await;
    tell(&admin, "SELECT pg_reload_conf()").await;
    until_readiness(&world, 503, "unavailable").await;
    is_refused(&world, false).await;
    tell(&admin, "ALTER SYSTEM RESET default_transaction_read_only").await;
    tell(&admin, "SELECT pg_reload_conf()").await;
    until_readiness(&world, 200, "ready").await;
    go_on(&world, &GAMES).await;

    tell(&admin, "ALTER ROLE gamemaster CONNECTION LIMIT 0").await;
    tell(&admin, terminate).await;
    until_readiness(&world, 503, "unavailable").await;
    is_refused(&world, true).await;
    tell(&admin, "ALTER ROLE gamemaster CONNECTION LIMIT -1").await;
    until_readiness(&world, 200, "ready").await;
    go_on(&world, &GAMES).await;
    until_pool_is_back(&world).await;
    world.end().await;
}

/// F30: those who find no free connection are told so in time, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_waited_for_so_long_and_no_longer() {
    let setup = Setup::new()
        .gm("POSTGRES_POOL_SIZE", "3")
        .gm("POSTGRES_COMMIT_LANES", "1")
        .gm("POSTGRES_WAIT_TIMEOUT_MILLISECONDS", "300")
        .gm("POSTGRES_LOCK_TIMEOUT_MILLISECONDS", "4000");
    let (world, _proxies) = playing(setup, &GAMES).await;
    let admin = world.postgres().admin(world.database().0).await.expect("the database");
    let lock = "BEGIN; LOCK TABLE gamemaster.operation_log IN ACCESS EXCLUSIVE MODE";
    tell(&admin, lock).await;
    let mut asked = JoinSet::new();
    for _ in 0..24 {
        let gm = world.gm();
        asked.spawn(async move {
            let begun = Instant::now();
            let path = "/api/v1/internal/runtimes/aurora/operations";
            (gm.admin().call(Method::GET, path, None).await, begun.elapsed())
        });
    }
    let mut refused = 0;
    while let Some(answered) = asked.join_next().await {
        let (answer, took) = answered.expect("an answer");
        assert!(took < BOUND, "{answer:?} took {took:?}");
        refused += usize::from(answer.code() == Some("service_unavailable"));
    }
    assert!(refused >= 20, "{refused} of 24 found no connection, or one that waited");
    tell(&admin, "ROLLBACK").await;
    until("the games to be read", async || {
        let path = "/api/v1/internal/runtimes/aurora/operations";
        world.gm().admin().get(path).await.map(drop)
    })
    .await;
    go_on(&world, &GAMES).await;
    until_pool_is_back(&world).await;
    world.end().await;
}
