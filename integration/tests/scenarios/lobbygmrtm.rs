//! Lobby, Game Master and Runtime Manager together: a game's whole life, and the two ways in which
//! its beginning goes wrong.

use integration::harness::until;
use integration::world::{GamePlan, Part, Setup, World};
use serde_json::json;

use super::support::operations;

#[tokio::test(flavor = "multi_thread")]
async fn games_begin_and_end() {
    let setup = Setup::new().rtm(&["--turn-limit", "3"]).rtm_without("--keep-finished-state");
    let world = World::start(setup).await;
    a_start_config_that_is_invalid_registers_nothing(&world).await;
    a_whole_life(&world).await;
    world.end().await;
}

/// From enrolment to the end, and nothing is left behind at Runtime Manager.
async fn a_whole_life(world: &World) {
    let (gm, lobby, rtm) = (world.gm(), world.lobby(), world.rtm());
    lobby.create_game(&GamePlan::new("whole").every(1).members(&[])).await;
    lobby.start("whole").await.refused(409, "conflict");
    let people = [("alice", "Andorians"), ("bob", "Betans"), ("carol", "Cetians")];
    for (user, race) in people {
        lobby.enrol("whole", user, race).await.done();
    }
    for (user, action) in [("alice", "approve"), ("bob", "redeem"), ("carol", "reject")] {
        lobby.act_on_member("whole", user, action).await.done();
    }
    let started = lobby.start("whole").await.done();
    assert_eq!(started["status"], "starting");
    lobby.until_status("whole", "running").await;
    assert!(gm.runtime("whole").await.is_some(), "it is registered");
    let job = rtm.runtime("whole").await.expect("an engine");
    assert_eq!(job["image_ref"], integration::world::image_ref("1.4.2"));
    world.player("alice").report("whole", 0).await.done();
    world.player("carol").report("whole", 0).await.refused(403, "forbidden");

    gm.until_status("whole", "finished").await;
    let seen = lobby.until_status("whole", "finished").await;
    assert_eq!(seen["runtime"]["current_turn"], 3);
    let gone = |seen: &serde_json::Value| seen["wanted"] == "removed" && seen["is_up"] == false;
    rtm.until("whole", "cleaned up", gone).await;
    until("the engine's game to be deleted", async || {
        (!world.engine_state_file("whole").exists()).then_some(())
    })
    .await;
}

/// A job that is wrong in itself: no registration is ever tried, and the game can be started again.
async fn a_start_config_that_is_invalid_registers_nothing(world: &World) {
    let (gm, lobby, rtm) = (world.gm(), world.lobby(), world.rtm());
    rtm.misbehave(json!({ "failing_starts": 1 })).await;
    lobby.create_game(&GamePlan::new("misconfigured")).await;
    lobby.start("misconfigured").await.done();
    let failed = lobby.until_status("misconfigured", "start_failed").await;
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("start_config_invalid"), "{reason}");
    assert_eq!(gm.liveness("misconfigured").await["status"], "unregistered");
    assert_eq!(operations(world, "misconfigured").await, [], "a registration was tried");
    assert_eq!(world.told("misconfigured").await, [json!(null); 0]);

    lobby.start("misconfigured").await.done();
    lobby.until_status("misconfigured", "running").await;
    gm.force("misconfigured").await.done();
}

/// Game Master goes away between the start of the engine and the registration: the game is paused,
/// administrators are told, and it goes on by itself when Game Master is back.
#[tokio::test(flavor = "multi_thread")]
async fn game_master_is_down_at_the_registration() {
    let world = World::start(Setup::new()).await;
    let (gm, lobby) = (world.gm(), world.lobby());
    lobby.create_game(&GamePlan::new("orphaned")).await;
    // So that nothing comes of the start before Game Master is gone.
    world.pause(Part::Rtm).await;
    lobby.start("orphaned").await.done();
    world.kill(Part::GameMaster(1)).await;
    world.resume(Part::Rtm).await;
    lobby.until_status("orphaned", "paused").await;
    let notification = world.notification();
    let told = notification.until_sent("orphaned", "lobby.runtime_paused_after_start").await;
    assert_eq!(
        (&told["producer"], &told["audience_kind"]),
        (&json!("lobby"), &json!("admin_email"))
    );
    lobby.resume("orphaned").await.refused(503, "service_unavailable");
    // Nor does anything else start without Game Master.
    lobby.create_game(&GamePlan::new("another")).await;
    lobby.start("another").await.refused(503, "service_unavailable");
    assert_eq!(lobby.game("another").await.expect("the game")["status"], "draft");

    world.start_part(Part::GameMaster(1)).await;
    lobby.until_status("orphaned", "running").await;
    assert_eq!(gm.until_status("orphaned", "running").await.turn(), 0);
    let registered = ("register".to_owned(), "succeeded".to_owned(), String::new());
    let mut operations = operations(&world, "orphaned").await;
    // What Runtime Manager says of the container meanwhile is another matter.
    operations.retain(|(kind, ..)| kind != "health");
    assert_eq!(operations, [registered]);
    gm.force("orphaned").await.done();
    world.end().await;
}
