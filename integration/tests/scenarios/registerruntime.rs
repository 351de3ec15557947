//! A registration: what it makes, and that one which fails leaves nothing behind.

use integration::harness::until;
use integration::world::{GamePlan, Part, Setup, World};
use serde_json::{Value, json};

use super::support::{operations, players};

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_all_of_a_game_or_nothing() {
    let world = World::start(Setup::new()).await;
    it_makes_a_record_players_and_a_snapshot(&world).await;
    one_that_fails_leaves_nothing_behind(&world).await;
    world.end().await;
}

/// A record, its players, an initialised engine, and a snapshot for Lobby.
async fn it_makes_a_record_players_and_a_snapshot(world: &World) {
    let (gm, plan) = (world.gm(), GamePlan::new("fresh"));
    let engine = world.start_engine("fresh", "1.4.2").await;
    let record = gm.register("fresh", &plan.registration(engine.endpoint())).await.done();
    assert_eq!(record["runtime_status"], "running");
    assert_eq!(
        (&record["current_turn"], &record["engine"]["version"]),
        (&json!(0), &json!("1.4.2"))
    );
    assert!(record["next_generation_at"].is_string(), "{record}");

    let state = engine.state().await.expect("it is initialised");
    let mappings = "SELECT user_id, race_name, engine_player_id FROM gamemaster.player_mappings
                    WHERE game_id = 'fresh' ORDER BY place";
    let rows = world.ledger().await.query(mappings, &[]).await.expect("an answer");
    let stored: Vec<[Option<String>; 3]> =
        rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
    let own = |text: &str| Some(text.to_owned());
    let engines_own = |race: usize| own(state["player"][race]["id"].as_str().expect("an id"));
    assert_eq!(
        stored,
        [
            [own("alice"), own("Andorians"), engines_own(0)],
            [own("bob"), own("Betans"), engines_own(1)],
        ]
    );
    let snapshot = until("a snapshot", async || world.told("fresh").await.into_iter().next()).await;
    assert_eq!(snapshot["event_type"], "runtime_snapshot_update");
    assert_eq!(
        (&snapshot["runtime_status"], &snapshot["current_turn"]),
        (&json!("running"), &json!(0))
    );
    let standing = |user: &str, race: usize| {
        let of = &state["player"][race];
        json!({ "user_id": user, "planets": of["planets"], "population": of["population"] })
    };
    assert_eq!(
        snapshot["player_turn_stats"],
        json!([standing("alice", 0), standing("bob", 1)]),
        "{snapshot}"
    );
    let again = gm.register("fresh", &plan.registration(engine.endpoint())).await;
    again.refused(409, "conflict");
    assert_eq!(operations(world, "fresh").await.len(), 1, "a conflict is no operation");
}

/// How an engine spoils a registration, and what Lobby is told.
fn spoilt() -> [(Value, u16, &'static str); 4] {
    let init = |plan: Value| {
        let mut plan = plan;
        plan["only"] = json!(["init"]);
        plan
    };
    [
        (init(json!({ "fail_next": 1, "fail_status": 422 })), 422, "engine_validation_error"),
        (init(json!({ "fail_next": 1, "fail_status": 500 })), 502, "engine_unreachable"),
        (init(json!({ "garbage_next": 1 })), 502, "engine_protocol_violation"),
        // It acts, and nobody hears of it.
        (init(json!({ "drop_next": 1 })), 502, "engine_unreachable"),
    ]
}

/// Nothing is left of a registration that fails, but its entry in the log; and it can be repeated.
async fn one_that_fails_leaves_nothing_behind(world: &World) {
    let gm = world.gm();
    let mut number = 0;
    for (plan, status, code) in spoilt() {
        let (game, engine) = (format!("spoilt-{number}"), world.other_engine(number).await);
        number += 1;
        engine.misbehave(plan).await;
        let registration = GamePlan::new(&game).registration(engine.endpoint());
        gm.register(&game, &registration).await.refused(status, code);
        assert!(gm.runtime(&game).await.is_none(), "{game} has a record");
        assert_eq!(players(world, &game).await, 0);
        assert_eq!(gm.liveness(&game).await, json!({ "ready": true, "status": "unregistered" }));
        let failed = ("register".to_owned(), "failed".to_owned(), code.to_owned());
        assert_eq!(operations(world, &game).await, [failed]);
        // Also where the engine has a game by now: it is the same one.
        gm.register(&game, &registration).await.done();
        assert_eq!(players(world, &game).await, 2);
    }

    // An engine with the game of others.
    let taken = world.other_engine(0).await;
    let others = GamePlan::new("others").members(&[("carol", "Cetians"), ("dave", "Denebians")]);
    let refused = gm.register("others", &others.registration(taken.endpoint())).await;
    refused.refused(422, "engine_validation_error");
    // Nobody there.
    let nobody = GamePlan::new("nobody").registration("http://127.0.0.1:9");
    gm.register("nobody", &nobody).await.refused(502, "engine_unreachable");
    // A version that nobody knows; an engine out of bounds.
    let mut unknown = GamePlan::new("unknown");
    unknown.version = "9.9.9".to_owned();
    let fresh = world.other_engine(number).await;
    let refused = gm.register("unknown", &unknown.registration(fresh.endpoint())).await;
    refused.refused(404, "engine_version_not_found");
    let elsewhere = GamePlan::new("elsewhere").registration("http://192.0.2.1:80");
    gm.register("elsewhere", &elsewhere).await.refused(400, "invalid_request");
    for game in ["others", "nobody", "unknown", "elsewhere"] {
        assert!(gm.runtime(game).await.is_none(), "{game} has a record");
        assert_eq!(players(world, game).await, 0);
        assert_eq!(world.told(game).await, [json!(null); 0], "Lobby is told of {game}");
    }
    assert_eq!(fresh.state().await, None, "the engine was asked");
}

/// `kill -9` in the middle, before the engine has acted and after it has: the successor clears up,
/// and Lobby registers again.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_half_way_leaves_nothing_behind() {
    let world = World::start(Setup::new()).await;
    let plans = [
        ("before", json!({ "latency_before_ms": 2_000 })),
        ("after", json!({ "latency_after_ms": 2_000 })),
    ];
    let mut asking = vec![];
    for (number, (game, plan)) in (0..).zip(plans) {
        let engine = world.other_engine(number).await;
        let mut plan = plan;
        plan["only"] = json!(["init"]);
        engine.misbehave(plan).await;
        let registration = GamePlan::new(game).registration(engine.endpoint());
        let gm = world.gm();
        let path = format!("/api/v1/internal/games/{game}/register-runtime");
        let body = registration.clone();
        asking.push(tokio::spawn(async move {
            gm.as_lobby().try_call(http::Method::POST, &path, &[], Some(&body)).await
        }));
        let acts = game == "after";
        until(&format!("{game} to be half-way"), async || {
            let record = world.gm().runtime(game).await?;
            let is_there = record.status() == "starting" && engine.state().await.is_some() == acts;
            is_there.then_some(())
        })
        .await;
    }
    world.kill(Part::GameMaster(1)).await;
    for asked in asking {
        assert!(asked.await.expect("no panic").is_err(), "nobody was there to answer");
    }
    world.start_part(Part::GameMaster(1)).await;
    for (number, game) in (0..).zip(["before", "after"]) {
        let gm = world.gm();
        until(&format!("{game} to be cleared up"), async || {
            gm.runtime(game).await.is_none().then_some(())
        })
        .await;
        assert_eq!(players(&world, game).await, 0);
        let engine = world.other_engine(number).await;
        engine.misbehave(json!({})).await;
        let registration = GamePlan::new(game).registration(engine.endpoint());
        let record = gm.register(game, &registration).await.done();
        assert_eq!(record["runtime_status"], "running");
    }
    world.end().await;
}
