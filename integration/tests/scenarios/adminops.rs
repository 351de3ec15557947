//! What administrators do: stop, patch, banish, and the registry of versions.

use http::Method;
use integration::world::{GamePlan, Setup, World, image_ref};
use serde_json::json;

use super::support::build;

#[tokio::test(flavor = "multi_thread")]
async fn games_are_stopped_patched_and_purged_and_versions_retired() {
    let world = World::start(Setup::new()).await;
    a_stop_goes_through_runtime_manager(&world).await;
    a_patch_restarts_the_container_and_keeps_the_game(&world).await;
    races_are_banished_and_versions_retired(&world).await;
    world.end().await;
}

/// A stop takes the engine down and is for good; asking again changes nothing.
async fn a_stop_goes_through_runtime_manager(world: &World) {
    let (gm, rtm) = (world.gm(), world.rtm());
    world.play(&GamePlan::new("ended").every(1)).await;
    gm.until_turn("ended", 1).await;
    let stopped = gm.stop("ended").await.done();
    assert_eq!(stopped["runtime_status"], "stopped");
    assert!(stopped["stopped_at"].is_string() && stopped["next_generation_at"].is_null());
    let seen = rtm.runtime("ended").await.expect("it is remembered");
    assert_eq!((&seen["wanted"], &seen["is_up"]), (&json!("stopped"), &json!(false)));
    let again = gm.stop("ended").await.done();
    assert_eq!(again["revision"], stopped["revision"], "asked again, nothing changes");
    gm.force("ended").await.refused(409, "runtime_not_running");
    world.player("alice").report("ended", 0).await.refused(409, "runtime_not_running");
    world
        .lobby()
        .until("ended", "stopped", |seen| seen["runtime"]["runtime_status"] == "stopped")
        .await;

    // Where Runtime Manager does not do it, nothing has happened.
    world.play(&GamePlan::new("kept")).await;
    rtm.misbehave(json!({ "is_unavailable": true })).await;
    gm.stop("kept").await.refused(503, "service_unavailable");
    let kept = gm.runtime("kept").await.expect("a record");
    assert_eq!((kept.status(), kept.failure()), ("running", Some("rtm_unavailable")));
    rtm.misbehave(json!({})).await;
    gm.force("kept").await.done();
}

/// A patch replaces the container and keeps the game; only patches of the same version are taken.
async fn a_patch_restarts_the_container_and_keeps_the_game(world: &World) {
    let (gm, rtm) = (world.gm(), world.rtm());
    world.play(&GamePlan::new("patched")).await;
    gm.force("patched").await.done();
    let before = rtm.runtime("patched").await.expect("an engine");

    let patched = gm.patch("patched", "1.4.3").await.done();
    let after = rtm.until("patched", "up", |seen| seen["is_up"] == true).await;
    assert_eq!(after["image_ref"], image_ref("1.4.3"));
    assert_ne!((&after["container_id"], &after["pid"]), (&before["container_id"], &before["pid"]));
    assert_eq!(patched["engine"]["version"], "1.4.3");
    assert_eq!(patched["engine"]["container_id"], after["container_id"]);
    assert_eq!(patched["engine"]["image_ref"], image_ref("1.4.3"));
    gm.until_status("patched", "running").await;
    gm.force("patched").await.done();
    assert_eq!(world.engine("patched").await.turns().await, Some(vec![1, 2]), "the game went on");

    // A lower patch is a way back; anything else is another game.
    gm.patch("patched", "1.4.2").await.done();
    gm.until_status("patched", "running").await;
    for other in ["1.5.0", "2.4.2"] {
        gm.add_version(other).await.done();
        gm.patch("patched", other).await.refused(409, "semver_patch_only");
    }
    gm.patch("patched", "1.4.9").await.refused(404, "engine_version_not_found");
    // An image that is not there: the game goes on with what it had.
    rtm.misbehave(json!({ "missing_images": [image_ref("1.4.3")] })).await;
    let refused = gm.patch("patched", "1.4.3").await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    let kept = gm.until_status("patched", "running").await;
    assert_eq!((kept.version(), kept.failure()), ("1.4.2", Some("rtm_refused")));
    rtm.misbehave(json!({})).await;
    gm.force("patched").await.done();
}

/// A banished race is out of the game; a version in use stays; a deprecated one starts no game.
async fn races_are_banished_and_versions_retired(world: &World) {
    let gm = world.gm();
    let three = [("alice", "Andorians"), ("bob", "Betans"), ("carol", "Cetians")];
    world.play(&GamePlan::new("purged").members(&three)).await;
    let engine = world.engine("purged").await;
    gm.banish("purged", "Betans").await.done();
    let state = engine.state().await.expect("its state");
    let extinct = |race: usize| state["player"][race]["extinct"].clone();
    assert_eq!([extinct(0), extinct(1), extinct(2)], [false, true, false].map(|is| json!(is)));
    gm.banish("purged", "Martians").await.refused(404, "race_not_found");
    world.player("bob").commands("purged", &build(0)).await.refused(422, "engine_validation_error");
    let operations = gm.operations("purged").await;
    let banished = operations.iter().find(|operation| operation["kind"] == "banish");
    assert_eq!(banished.expect("it is in the log")["outcome"], "succeeded");

    gm.version(Method::DELETE, "1.4.2", "").await.refused(409, "engine_version_in_use");
    gm.version(Method::POST, "1.4.2", "/deprecate").await.done();
    let lobby = world.lobby();
    lobby.create_game(&GamePlan::new("late")).await;
    let refused = lobby.start("late").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, Some("conflict")), "{refused:?}");
    gm.force("purged").await.done();
    gm.version(Method::DELETE, "1.4.3", "").await.done();
    gm.version(Method::GET, "1.4.3", "").await.refused(404, "engine_version_not_found");
}
