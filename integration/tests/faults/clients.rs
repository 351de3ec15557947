//! Callers that hang up.

use std::time::Duration;

use integration::harness::until;
use integration::proxy::Close;
use integration::world::{GamePlan, Part, Setup};
use serde_json::json;
use tokio::task::JoinSet;

use super::support::{go_on, playing, until_pool_is_back};

const TICKING: [&str; 1] = ["aurora"];
const QUIET: &str = "quiet";
/// Callers at a time, and how many hang up in all.
const CROWD: usize = 40;
const HANG_UPS: usize = 1_000;

/// F17: players hang up in the middle of a command, administrators in the middle of a change; a
/// thousand of them. Nothing is left open, and the pool is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_hang_up_and_nothing_is_left_open() {
    let (world, proxies) = playing(Setup::new(), &TICKING).await;
    world.play(&GamePlan::new(QUIET)).await;
    let engine = world.engine(QUIET).await;
    engine.misbehave(json!({ "only": ["command"], "latency_before_ms": 100 })).await;
    let gateway = proxies.between(Part::Gateway, Part::GameMaster(1));
    let mut hung_up = 0;
    while hung_up < HANG_UPS / 2 {
        let mut players = JoinSet::new();
        for _ in 0..CROWD {
            let player = world.player("alice");
            players.spawn(async move {
                player.commands(QUIET, &json!([{ "type": "build", "planet": 0 }])).await
            });
        }
        until("commands to be under way", async || (gateway.open() >= CROWD / 2).then_some(()))
            .await;
        hung_up += gateway.cut(Close::Reset).await;
        while let Some(answered) = players.join_next().await {
            answered.expect("the gateway answers");
        }
    }
    // Commits of all kinds, hung up on at any moment of theirs.
    let mut abandoned = 0;
    let mut changes = JoinSet::new();
    for n in 0.. {
        if abandoned >= HANG_UPS / 2 {
            break;
        }
        if changes.len() >= CROWD
            && let Some(ended) = changes.join_next().await
        {
            abandoned += usize::from(ended.expect("a caller"));
        }
        let gm = world.gm();
        changes.spawn(async move {
            let patience = Duration::from_micros(500 * (n % 60));
            let change = async {
                match n % 3 {
                    0 => gm.force(TICKING[0]).await,
                    1 => gm.add_version(&format!("9.{}.{}", n / 1_000, n % 1_000)).await,
                    _ => gm.reconcile(QUIET).await,
                }
            };
            tokio::time::timeout(patience, change).await.is_err()
        });
    }
    changes.shutdown().await;
    engine.misbehave(json!({})).await;
    until_pool_is_back(&world).await;
    go_on(&world, &TICKING).await;
    world.end().await;
}
