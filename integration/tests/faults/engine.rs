//! The links to engines. Each troubled game has a fault of its own, all at the same time; the other
//! games must not notice.

use std::sync::Arc;
use std::time::Duration;

use integration::proxy::{Close, FaultProxy, Side, Trap, Way};
use integration::world::{Setup, World};
use tokio::task::JoinSet;

use super::support::{gain, go_on, playing};

const TROUBLED: [&str; 6] = ["aurora", "borealis", "corona", "draco", "eridanus", "fornax"];
const BYSTANDERS: [&str; 2] = ["gemini", "hydra"];
/// The request of a turn.
const TURN: &[u8] = b"PUT /api/v1/admin/turn";

/// Deadlines of a second: a turn whose answer does not come is over soon.
fn impatient() -> Setup {
    Setup::new()
        .gm("ENGINE_CLIENT_TURN_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_ADMIN_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_PLAYER_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_CONNECT_TIMEOUT_MS", "500")
}

/// A world in which every engine is troubled; and the proxy before each of those that are.
async fn troubled(setup: Setup) -> (Arc<World>, Vec<(&'static str, Arc<FaultProxy>)>) {
    let games = [&TROUBLED[..], &BYSTANDERS].concat();
    let (world, proxies) = playing(setup, &games).await;
    let mut engines = vec![];
    for game in TROUBLED {
        engines.push((game, proxies.to_engine(&world, game).await));
    }
    (Arc::new(world), engines)
}

/// Waits for all, while the others go on as if nothing were wrong.
async fn all_end(mut troubles: JoinSet<()>, world: Arc<World>) {
    gain(&world, &BYSTANDERS, 3).await;
    while let Some(ended) = troubles.join_next().await {
        ended.expect("a game that was troubled goes on");
    }
    Arc::into_inner(world).expect("nobody else has it").end().await;
}

/// F54, F61, F70: the engine generated the turn and the answer is lost; the request is lost; a
/// connection that was kept is closed just as it is used.
#[tokio::test(flavor = "multi_thread")]
async fn turns_are_cut_before_during_and_after() {
    let (world, engines) = troubled(Setup::new()).await;
    let mut troubles = JoinSet::new();
    let traps = [
        Some(Trap::answer_to(TURN).times(3)),
        Some(Trap::answer_to(TURN).close(Close::Finish)),
        Some(Trap::request_with(TURN)),
        // In the middle of the answer's head.
        Some(Trap::after(Way::ToClient, 20)),
        Some(Trap::after(Way::ToServer, 10)),
        None,
    ];
    for ((game, engine), trap) in engines.into_iter().zip(traps) {
        let world = Arc::clone(&world);
        troubles.spawn(async move {
            if let Some(trap) = trap {
                engine.trap(trap).reach(1).await;
                go_on(&world, &[game]).await;
                engine.heal();
                return;
            }
            for close in [Close::Finish, Close::Reset, Close::Finish] {
                engine.cut(close).await;
                go_on(&world, &[game]).await;
            }
        });
    }
    all_end(troubles, world).await;
}

/// F51, F52, F53, F68, F69: slower than the deadline, dripping, silent each way, refusing, half open.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_be_reached_is_missed_in_time_and_found_again() {
    let (world, engines) = troubled(impatient()).await;
    let mut troubles = JoinSet::new();
    for (fault, (game, engine)) in engines.into_iter().enumerate() {
        let world = Arc::clone(&world);
        troubles.spawn(async move {
            let strikes = match fault {
                0 => Some(engine.delay(Way::ToClient, Duration::from_millis(1_500))),
                1 => Some(engine.trickle(Way::ToClient, 1, Duration::from_millis(100))),
                2 => Some(engine.hole(Way::ToServer)),
                3 => Some(engine.hole(Way::ToClient)),
                4 => Some(engine.reset_new()),
                _ => {
                    engine.refuse();
                    None
                }
            };
            if fault >= 4 {
                engine.cut(Close::Reset).await;
            }
            let suffers =
                |status: &str| matches!(status, "generation_failed" | "engine_unreachable");
            world.gm().until(game, "to be without engine", |seen| suffers(seen.status())).await;
            if let Some(strikes) = strikes {
                strikes.reach(1).await;
            }
            engine.heal();
            go_on(&world, &[game]).await;
            let told = if fault % 2 == 0 { Side::Client } else { Side::Server };
            engine.half_open(told).await;
            go_on(&world, &[game]).await;
        });
    }
    all_end(troubles, world).await;
}
