//! The links to Lobby and Runtime Manager.

use std::time::Duration;

use http::Method;
use integration::harness::until;
use integration::proxy::{Close, Trap, Way};
use integration::world::{Answer, GamePlan, Part, Setup, World};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{Proxies, go_on, playing};

/// Its turns are months away, so that nothing is in the way of a command.
const QUIET: &str = "quiet";
const TICKING: [&str; 1] = ["aurora"];
/// How long Lobby's answer is believed.
const TTL: Duration = Duration::from_secs(4);
/// What a command may take while Lobby is silent, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(10);

fn setup() -> Setup {
    Setup::new()
        .gm("MEMBERSHIP_CACHE_TTL_SECONDS", &TTL.as_secs().to_string())
        .gm("LOBBY_TIMEOUT_SECONDS", "1")
        .gm("RTM_TIMEOUT_SECONDS", "1")
        .gm("ENGINE_CLIENT_CONNECT_TIMEOUT_MS", "500")
}

async fn world() -> (World, Proxies) {
    let (world, proxies) = playing(setup(), &TICKING).await;
    world.play(&GamePlan::new(QUIET)).await;
    (world, proxies)
}

fn commands() -> Value {
    json!([{ "type": "build", "planet": 0 }])
}

async fn command(world: &World) -> Answer {
    let begun = Instant::now();
    let answer = world.player("alice").commands(QUIET, &commands()).await;
    assert!(begun.elapsed() < BOUND, "{answer:?} took {:?}", begun.elapsed());
    answer
}

async fn until_commands_are(world: &World, wanted: bool) {
    until("commands to change", async || {
        let answer = command(world).await;
        if answer.status.is_success() {
            return wanted.then_some(());
        }
        assert_eq!((answer.status.as_u16(), answer.code()), (503, Some("service_unavailable")));
        (!wanted).then_some(())
    })
    .await;
}

/// F68, F75: who is known to play goes on playing until that is too old to be believed; who is not
/// known is told to come again. Turns do not need Lobby at all.
#[tokio::test(flavor = "multi_thread")]
async fn without_lobby_members_that_are_known_play_on_for_a_while() {
    let (world, proxies) = world().await;
    let lobby = proxies.to(Part::Lobby);
    for fault in 0..3 {
        until_commands_are(&world, true).await;
        let asked = world.gm().as_lobby().clone();
        let forget = async || {
            let path = format!("/api/v1/internal/games/{QUIET}/memberships/invalidate");
            asked.call(Method::POST, &path, None).await.done();
        };
        // Asked no earlier than now, and no later than the next command is through.
        let known = Instant::now();
        forget().await;
        until_commands_are(&world, true).await;
        let strikes = match fault {
            0 => {
                lobby.refuse();
                None
            }
            1 => Some(lobby.reset_new()),
            _ => Some(lobby.hole_both()),
        };
        if fault < 2 {
            lobby.cut(Close::Reset).await;
        }
        let answer = command(&world).await;
        assert!(
            answer.status.is_success() || known.elapsed() >= TTL,
            "a member that is known is turned away after {:?}: {answer:?}",
            known.elapsed(),
        );
        until_commands_are(&world, false).await;
        assert!(known.elapsed() >= TTL, "not believed after {:?}", known.elapsed());
        forget().await;
        command(&world).await.refused(503, "service_unavailable");
        go_on(&world, &TICKING).await;
        if let Some(strikes) = strikes {
            strikes.reach(1).await;
        }
        lobby.heal();
        until_commands_are(&world, true).await;
    }
    // An answer that is lost on its way back.
    let strikes = lobby.trap(Trap::answer_to(b"GET ").times(2));
    until("an answer of Lobby to be lost", async || {
        let path = format!("/api/v1/internal/games/{QUIET}/memberships/invalidate");
        world.gm().as_lobby().call(Method::POST, &path, None).await.done();
        command(&world).await;
        (strikes.count() == 2).then_some(())
    })
    .await;
    lobby.heal();
    until_commands_are(&world, true).await;
    world.end().await;
}

/// F68: a stop or a patch that Runtime Manager does not hear of, or whose answer is lost, fails, is
/// told to whoever asked, and can be asked for again. The game goes on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn without_runtime_manager_stop_and_patch_fail_and_can_be_repeated() {
    let (world, proxies) = world().await;
    let (rtm, gm) = (proxies.to(Part::Rtm), world.gm());
    let game = TICKING[0];

    rtm.refuse();
    rtm.cut(Close::Reset).await;
    settled(&world, async || gm.stop(game).await).await.refused(503, "service_unavailable");
    settled(&world, async || gm.patch(game, "1.4.3").await)
        .await
        .refused(503, "service_unavailable");
    rtm.heal();
    go_on(&world, &TICKING).await;

    for way in [Way::ToServer, Way::ToClient] {
        let strikes = rtm.hole(way);
        let begun = Instant::now();
        settled(&world, async || gm.patch(game, "1.4.3").await)
            .await
            .refused(503, "service_unavailable");
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
        strikes.reach(1).await;
        rtm.heal();
        go_on(&world, &TICKING).await;
    }

    let strikes = rtm.trap(Trap::answer_to(b"POST "));
    settled(&world, async || gm.patch(game, "1.4.3").await)
        .await
        .refused(503, "service_unavailable");
    strikes.reach(1).await;
    rtm.heal();
    let patched = settled(&world, async || gm.patch(game, "1.4.3").await).await;
    assert_eq!(patched.done()["engine"]["version"], "1.4.3");
    go_on(&world, &TICKING).await;

    let strikes = rtm.trap(Trap::answer_to(b"POST "));
    settled(&world, async || gm.stop(game).await).await.refused(503, "service_unavailable");
    strikes.reach(1).await;
    rtm.heal();
    until("the game to be stopped", async || gm.stop(game).await.status.is_success().then_some(()))
        .await;
    gm.until_status(game, "stopped").await;
    world.end().await;
}

/// How often a turn may be in the way.
const MAX_BUSY: usize = 200;

/// An answer other than that a turn is just under way, or that the engine is just being replaced.
async fn settled(world: &World, mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    for _ in 0..MAX_BUSY {
        let answer = ask().await;
        if !matches!(answer.code(), Some("conflict" | "runtime_not_running")) {
            return answer;
        }
        world.gm().until_status(TICKING[0], "running").await;
    }
    panic!("a turn was always in the way");
}
