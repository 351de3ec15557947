//! Lobby and Game Master: from a start to the evaluation of who played.

use integration::world::{GamePlan, Setup, World};
use serde_json::{Value, json};

use super::support::{build, planets_of, report};

fn standing(report: &Value, race: &str) -> Value {
    let races = report["races"].as_array().expect("races");
    let of = races.iter().find(|standing| standing["race_name"] == race).expect("the race");
    json!({ "planets": of["planets"], "population": of["population"] })
}

/// The view follows the snapshots, a removal counts at once, and at the finish it is decided, once,
/// who qualified.
#[tokio::test(flavor = "multi_thread")]
async fn a_game_is_followed_from_its_start_to_its_evaluation() {
    let world = World::start(Setup::new().rtm(&["--turn-limit", "3"])).await;
    let (gm, lobby, alice) = (world.gm(), world.lobby(), world.player("alice"));
    world.play(&GamePlan::new("followed")).await;
    let at_turn = async |turn: u64| {
        lobby
            .until("followed", &format!("turn {turn}"), |seen| {
                seen["runtime"]["current_turn"] == turn
            })
            .await
    };
    let seen = at_turn(0).await;
    assert_eq!(seen["runtime"]["runtime_status"], "running");
    let first = report(&alice, "followed", 0).await;
    let initial = standing(&first, "Andorians");
    assert_eq!(seen["runtime"]["players"]["alice"]["initial"], initial);
    assert_eq!(seen["runtime"]["players"]["alice"]["capable"], Value::Null);

    // Alice settles, and grows in both figures; Bob only builds, which costs him people.
    let free = planets_of(&first, None)[0];
    alice.orders("followed", &json!([{ "type": "colonise", "planet": free }])).await.done();
    gm.force("followed").await.done();
    let seen = at_turn(1).await;
    let now = standing(&report(&alice, "followed", 1).await, "Andorians");
    assert_ne!(now, initial);
    let alices = &seen["runtime"]["players"]["alice"];
    assert_eq!((&alices["current"], &alices["initial"]), (&now, &initial));
    assert_eq!(alices["maximum"]["planets"], 2);

    lobby.act_on_member("followed", "bob", "remove").await.done();
    world.player("bob").commands("followed", &build(0)).await.refused(403, "forbidden");
    for _ in 0..2 {
        gm.force("followed").await.done();
    }
    let seen = lobby.until_status("followed", "finished").await;
    let runtime = &seen["runtime"];
    assert_eq!(
        (&runtime["runtime_status"], &runtime["current_turn"]),
        (&json!("finished"), &json!(3))
    );
    assert_eq!(runtime["players"]["alice"]["capable"], true, "{runtime}");
    assert_eq!(runtime["players"]["bob"]["capable"], false, "{runtime}");
    assert!(runtime["finished_at_ms"].is_u64());
    world.end().await;
}
