//! The turn clock, at a resolution of seconds.

use chrono::TimeDelta;
use integration::harness::until;
use integration::world::{GamePlan, Setup, World};
use machine::Timestamp;
use serde_json::Value;

fn instant(at: &Value) -> Timestamp {
    serde_json::from_value(at.clone()).expect("an instant")
}

/// The clock ticks and the engine's turn advances with it; a forced turn takes the place of the
/// next regular one, which is skipped.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_ticks_and_a_forced_turn_skips_one() {
    let world = World::start(Setup::new()).await;
    world.play(&GamePlan::new("ticking").every(1)).await;
    world.play(&GamePlan::new("forced").every(4)).await;
    let gm = world.gm();

    let (before, after) = until("a turn between two regular ones", async || {
        let before = gm.runtime("forced").await?;
        let answer = gm.force("forced").await;
        let after = integration::world::Runtime(answer.status.is_success().then_some(answer.body)?);
        // A tick in between would have it be the one after.
        (after.turn() == before.turn() + 1).then_some((before, after))
    })
    .await;
    let replaced = before.next_at().expect("a running game has a next turn");
    let next = after.next_at().expect("a running game has a next turn");
    assert_eq!(next, replaced + TimeDelta::seconds(4), "the next regular turn is skipped");
    let resumed = gm.until_turn("forced", after.turn() + 1).await;
    let operations = gm.operations("forced").await;
    let tick = operations.iter().find(|operation| operation["kind"] == "tick");
    let tick = tick.expect("the clock went on");
    assert!(instant(&tick["started_at"]) >= next, "{tick}: not before {next}");
    assert_eq!(resumed.turn(), after.turn() + 1);

    gm.until_turn("ticking", 3).await;
    let turns = world.engine("ticking").await.turns().await.expect("a log");
    assert!(turns.starts_with(&[1, 2, 3]), "{turns:?}");
    world.end().await;
}
