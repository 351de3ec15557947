//! The audit finds what is wrong: each of its rules is broken from outside, and mended again.

use integration::world::{GamePlan, Part, Setup, World};
use serde_json::{Value, json};

/// Expects a complaint that begins with `rule`, or has it after the name of the game.
async fn expect(world: &World, rule: &str) {
    let wrong = world.complaints().await;
    assert!(wrong.iter().any(|complaint| complaint.contains(rule)), "{rule}: {wrong:?}");
}

async fn sql(world: &World, statement: &str) {
    world.ledger().await.batch_execute(statement).await.expect(statement);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_what_is_wrong() {
    let setup = Setup::new().own_servers(
        integration::servers::Durability::None,
        integration::redis_server::Durability::No,
    );
    let world = World::start(setup).await;
    world.play(&GamePlan::new("looked-at")).await;
    for _ in 0..2 {
        world.gm().force("looked-at").await.done();
    }
    world.audit().await;
    // It would follow what is told here.
    world.stop(Part::Lobby).await;

    let file = world.engine_state_file("looked-at");
    let saved = std::fs::read(&file).expect("the engine's game");
    for (turns, rule) in [
        (json!([1, 2, 2]), "no_turn_generated_twice"),
        (json!([2]), "no_turn_generated_twice"),
        (json!([1, 2, 3]), "no_turn_twice: recorded 2, the engine is at 3"),
        (json!([1]), "no_turn_twice: recorded 2, the engine is at 1"),
    ] {
        let mut state: Value = serde_json::from_slice(&saved).expect("JSON");
        let turns = turns.as_array().expect("turns").iter();
        state["log"] = turns.map(|turn| json!({ "turn": turn, "request_number": 1 })).collect();
        std::fs::write(&file, state.to_string()).expect("a file");
        expect(&world, rule).await;
    }
    std::fs::write(&file, &saved).expect("a file");

    let twice = "INSERT INTO gamemaster.operation_log
        (operation, game_id, kind, turn, status, source, outcome, started_at, finished_at)
        SELECT gen_random_uuid(), game_id, kind, turn, status, source, outcome, started_at,
               finished_at
        FROM gamemaster.operation_log WHERE turn = 2";
    sql(&world, twice).await;
    expect(&world, "no_turn_twice: a turn that two operations claim").await;
    sql(&world, "DELETE FROM gamemaster.operation_log WHERE turn = 2").await;

    let claim = "INSERT INTO gamemaster.claims (caller, key, fingerprint, operation, at)
        VALUES ('lobby', 'k', decode(repeat('00', 32), 'hex'), gen_random_uuid(), now())";
    sql(&world, claim).await;
    expect(&world, "every_reference_resolves: a claim").await;
    sql(&world, "DELETE FROM gamemaster.claims WHERE key = 'k'").await;

    let of_turn_2 = "channel = 'notification:intents' AND payload::jsonb->'payload'->>'turn' = '2'";
    sql(
        &world,
        &format!("UPDATE gamemaster.outbox SET payload = payload || ' ' WHERE {of_turn_2}"),
    )
    .await;
    expect(&world, "messages_follow_commits: lost").await;
    sql(
        &world,
        &format!("UPDATE gamemaster.outbox SET payload = rtrim(payload) WHERE {of_turn_2}"),
    )
    .await;

    let mappings =
        "ALTER TABLE gamemaster.player_mappings DROP CONSTRAINT player_mappings_game_id_fkey;
        INSERT INTO gamemaster.player_mappings VALUES ('gone', 'alice', 0, 'Andorians')";
    sql(&world, mappings).await;
    expect(&world, "no_orphans: players without a record").await;
    sql(&world, "DELETE FROM gamemaster.player_mappings WHERE game_id = 'gone'").await;

    // What was told is told once more, or is not there at all.
    let told = world.told("looked-at").await;
    let key = format!("{}gm:lobby_events", world.redis_prefix());
    let last = told.last().expect("an event").to_string();
    let id = world.redis().await.command(&["XADD", &key, "*", "payload", &last]).await;
    let id = id.expect("an answer");
    let counts = format!("{} committed, {} published", told.len(), told.len() + 1);
    expect(&world, &counts).await;
    world.redis().await.command(&["XDEL", &key, &id]).await.expect("an answer");
    world.audit().await;
    let mut ahead = told.last().expect("an event").clone();
    ahead["current_turn"] = json!(9);
    let ahead = ahead.to_string();
    let id = world.redis().await.command(&["XADD", &key, "*", "payload", &ahead]).await;
    expect(&world, "turn 9 comes after").await;
    world.redis().await.command(&["XDEL", &key, &id.expect("an answer")]).await.expect("an answer");
    world.end().await;
}
