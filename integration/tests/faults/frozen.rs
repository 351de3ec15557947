//! A Game Master that is frozen in the middle of a turn for longer than its lease.

use integration::harness::until;
use integration::world::{Part, Setup};
use serde_json::json;

use super::support::{gain, playing};

const GAME: &str = "aurora";

/// F13: another one takes over; when the first one wakes up its late write is refused, and no turn
/// is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_game_master_frozen_beyond_its_lease_does_no_harm() {
    let setup = Setup::new()
        .game_masters(2)
        .gm("ENGINE_CLIENT_TURN_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_ADMIN_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_PLAYER_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_CONNECT_TIMEOUT_MS", "500");
    let (world, _proxies) = playing(setup, &[GAME]).await;
    // One at a time, so that the turn is that of the one who will be frozen.
    world.stop(Part::GameMaster(2)).await;
    gain(&world, &[GAME], 1).await;
    let engine = world.engine(GAME).await;
    engine.misbehave(json!({ "only": ["turn"], "latency_after_ms": 600 })).await;
    let (store, game) = (world.store(), GAME.parse().expect("an id"));
    let frozen = until("a turn to be under way", async || {
        let record = store.load(&game).await.ok()??;
        let generated = engine.turns().await?.len();
        let has_acted = generated as u64 == u64::from(record.current_turn) + 1;
        (record.work().is_some() && has_acted).then_some(record)
    })
    .await;
    world.pause(Part::GameMaster(1)).await;
    let record = store.load(&game).await.expect("the store").expect("the record");
    assert_eq!(record.revision, frozen.revision, "it was frozen in time");
    engine.misbehave(json!({})).await;

    world.start_part(Part::GameMaster(2)).await;
    let successor = world.gm_at(2);
    let turn = u64::from(frozen.current_turn);
    // Not before the lease is over; then the turn is found at the engine, and adopted.
    successor.until_turn(GAME, turn + 2).await;
    let turns = engine.turns().await.expect("the engine's log");
    assert!(turns.iter().copied().eq(1..=turns.len() as u64), "{turns:?}");

    world.resume(Part::GameMaster(1)).await;
    world.until_ready(Part::GameMaster(1)).await;
    gain(&world, &[GAME], 3).await;
    world.end().await;
}
