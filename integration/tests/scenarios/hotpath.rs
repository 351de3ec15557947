//! The players' calls: commands, orders, reports; and who may make them.

use http::Method;
use integration::world::{GamePlan, Setup, World};
use serde_json::json;

use super::support::{build, planets_of, report};

#[tokio::test(flavor = "multi_thread")]
async fn players_play_while_they_are_members() {
    let world = World::start(Setup::new().gm("MEMBERSHIP_CACHE_TTL_SECONDS", "3600")).await;
    players_play_and_only_players_do(&world).await;
    who_is_removed_is_refused_at_once(&world).await;
    world.end().await;
}

/// Commands act at once, orders with the next turn, reports tell; Game Master says who somebody is.
async fn players_play_and_only_players_do(world: &World) {
    world.play(&GamePlan::new("played")).await;
    let (alice, bob, carol) = (world.player("alice"), world.player("bob"), world.player("carol"));

    let first = report(&alice, "played", 0).await;
    assert_eq!(first["race_name"], "Andorians");
    let home = planets_of(&first, Some("Andorians"))[0];
    let answer = alice.commands("played", &build(home)).await.done();
    assert_eq!((&answer["turn"], &answer["outcomes"][0]["outcome"]), (&json!(0), &json!("built")));
    let level = |report: &serde_json::Value| {
        let planets = report["planets"].as_array().expect("planets");
        planets.iter().find(|planet| planet["id"] == home).expect("home")["level"].clone()
    };
    assert_eq!(level(&report(&alice, "played", 0).await), 1, "a command acts at once");

    let free = planets_of(&first, None)[0];
    let settle = json!([{ "type": "colonise", "planet": free }]);
    let answer = alice.orders("played", &settle).await.done();
    assert_eq!((&answer["turn"], &answer["stored"]), (&json!(0), &json!(1)));
    let waiting = report(&alice, "played", 0).await;
    assert_eq!(waiting["orders"], settle);
    assert_eq!(report(&bob, "played", 0).await["orders"], json!([]), "orders are their race's own");
    assert!(planets_of(&waiting, None).contains(&free), "an order waits");
    world.gm().force("played").await.done();
    let next = report(&alice, "played", 1).await;
    assert!(planets_of(&next, Some("Andorians")).contains(&free), "it is carried out: {next}");

    // The engine's words come back where it refuses, and who is no player never gets there.
    alice
        .commands("played", &json!([{ "type": "dance" }]))
        .await
        .refused(422, "engine_validation_error");
    alice.report("played", 7).await.refused(422, "engine_validation_error");
    carol.commands("played", &build(home)).await.refused(403, "forbidden");
    carol.report("played", 0).await.refused(403, "forbidden");
    world.player("mallory").report("played", 0).await.refused(401, "unauthenticated");
    let claims = json!([{ "type": "build", "planet": home, "actor": "Betans" }]);
    alice.commands("played", &claims).await.refused(400, "invalid_request");
    alice.report("nowhere", 0).await.refused(404, "runtime_not_found");
}

/// A change of members counts from the next call on, since Lobby says that there is one: far sooner
/// than what is known of members is forgotten.
async fn who_is_removed_is_refused_at_once(world: &World) {
    let (lobby, gm) = (world.lobby(), world.gm());
    for game in ["one", "two"] {
        world.play(&GamePlan::new(game)).await;
    }
    let bob = world.player("bob");
    let steps = [("remove", false), ("redeem", true), ("block", false), ("approve", true)];
    for (action, may_play) in steps {
        report(&world.player("alice"), "one", 0).await;
        lobby.act_on_member("one", "bob", action).await.done();
        let answer = bob.orders("one", &build(0)).await;
        match may_play {
            true => assert!(answer.status.is_success(), "{action}: {answer:?}"),
            false => answer.refused(403, "forbidden"),
        }
        report(&bob, "two", 0).await;
    }
    // Once deleted he is nobody in any game.
    lobby.delete_user("bob").await.done();
    for game in ["one", "two"] {
        bob.report(game, 0).await.refused(403, "forbidden");
    }

    // What is known is used while Lobby is away, until somebody says that it changed.
    let alice = world.player("alice");
    report(&alice, "one", 0).await;
    lobby.ask().misbehave(json!({ "is_unavailable": true })).await;
    report(&alice, "one", 0).await;
    let flush = "/api/v1/internal/games/one/memberships/invalidate";
    gm.as_lobby().call(Method::POST, flush, Some(&json!({}))).await.done();
    alice.report("one", 0).await.refused(503, "service_unavailable");
    lobby.ask().misbehave(json!({})).await;
    report(&alice, "one", 0).await;
}
