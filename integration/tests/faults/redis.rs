//! Redis, and the link to it. State changes go on without; afterwards the stream is whole and in
//! order, which the audit at the end of each scenario checks entry by entry.

use integration::proxy::{Close, Side, Trap, Way};
use integration::redis_server::Durability as Streams;
use integration::servers::Durability;
use integration::world::{Part, Setup, World};
use machine::{Channel, StreamId};

use super::support::{GAMES, HOLES, gain, go_on, hole, playing, until_readiness};

/// F45, F70: XADD applied and the answer lost; the request cut; wherever else.
#[tokio::test(flavor = "multi_thread")]
async fn appends_are_cut_before_during_and_after() {
    let (world, proxies) = playing(Setup::new(), &GAMES).await;
    let redis = proxies.to(Part::Redis);
    for trap in [
        Trap::answer_to(b"XADD").every(2),
        Trap::request_with(b"XADD").every(3),
        Trap::after(Way::ToServer, 700),
        Trap::after(Way::ToClient, 100),
    ] {
        let strikes = redis.trap(trap.times(u64::MAX));
        gain(&world, &GAMES, 1).await;
        strikes.reach(2).await;
        redis.heal();
    }
    until_readiness(&world, 200, "ready").await;
    world.end().await;
}

/// F38, F68, F69: cut, refused, silent, half open. Turns are generated all the while.
#[tokio::test(flavor = "multi_thread")]
async fn turns_go_on_without_redis_and_are_told_of_afterwards() {
    let setup = Setup::new()
        .gm("REDIS_CONNECT_TIMEOUT_SECONDS", "1")
        .gm("REDIS_RESPONSE_TIMEOUT_SECONDS", "1");
    let (world, proxies) = playing(setup, &GAMES).await;
    let redis = proxies.to(Part::Redis);

    redis.refuse();
    assert!(redis.cut(Close::Reset).await > 0);
    until_readiness(&world, 200, "degraded").await;
    gain(&world, &GAMES, 2).await;
    redis.heal();
    until_readiness(&world, 200, "ready").await;

    for way in HOLES {
        let strikes = hole(&redis, way);
        until_readiness(&world, 200, "degraded").await;
        gain(&world, &GAMES, 1).await;
        strikes.reach(1).await;
        redis.heal();
        until_readiness(&world, 200, "ready").await;
    }
    for told in [Side::Client, Side::Server] {
        assert!(redis.half_open(told).await > 0);
        gain(&world, &GAMES, 1).await;
        until_readiness(&world, 200, "ready").await;
    }
    go_on(&world, &GAMES).await;
    world.end().await;
}

/// What players were told by a Redis that has lost it is told again by an operator: other producers
/// write there too, so that Game Master cannot see that something is missing.
async fn tell_players_again(world: &World) {
    let channel = Channel::NotificationIntents;
    let replayed = world.store().outbox_replay(channel, StreamId::ZERO).await;
    assert!(replayed.expect("a replay") > 0, "there was something to tell");
}

/// F38, F39, F41: killed and started again; everything flushed; started again with what it had a few
/// turns ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_flushed_and_set_back_is_told_again() {
    let setup = Setup::new().own_servers(Durability::None, Streams::Always);
    let (world, _proxies) = playing(setup, &GAMES).await;

    world.redis().await.kill();
    until_readiness(&world, 200, "degraded").await;
    gain(&world, &GAMES, 2).await;
    world.redis().await.start_again().await;
    until_readiness(&world, 200, "ready").await;

    world.redis().await.flush_all().await;
    go_on(&world, &GAMES).await;

    let copy = world.redis().await.copy_data();
    gain(&world, &GAMES, 3).await;
    world.redis().await.lose_tail(&copy).await;
    go_on(&world, &GAMES).await;
    until_readiness(&world, 200, "ready").await;
    tell_players_again(&world).await;
    world.end().await;
}
