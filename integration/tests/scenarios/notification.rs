//! What players and administrators are told: once each, whatever is restarted.

use integration::harness::until;
use integration::world::{GamePlan, Part, Setup, World};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn turns_ends_and_failures_are_told_once() {
    let world = World::start(Setup::new().rtm(&["--turn-limit", "3"])).await;
    let (gm, notification) = (world.gm(), world.notification());
    world.play(&GamePlan::new("short").every(1)).await;
    world.play(&GamePlan::new("failing")).await;

    let ready = notification.until_sent("short", "game.turn.ready").await;
    assert_eq!(ready["audience_kind"], "user");
    assert_eq!(ready["recipient_user_ids"], json!(["alice", "bob"]));
    assert_eq!(ready["producer"], "game_master");
    let finished = notification.until_sent("short", "game.finished").await;
    assert_eq!(finished["recipient_user_ids"], json!(["alice", "bob"]));
    assert_eq!(finished["payload"]["turn"], 3);

    // Administrators are told of a turn number that fails, not of each try.
    let engine = world.engine("failing").await;
    for _ in 0..2 {
        let fails = json!({ "only": ["turn"], "fail_next": 1, "fail_status": 422 });
        engine.misbehave(fails).await;
        gm.force("failing").await.refused(422, "engine_validation_error");
        assert_eq!(gm.runtime("failing").await.expect("a record").status(), "generation_failed");
    }
    let failed = notification.until_sent("failing", "game.generation_failed").await;
    assert_eq!(
        (&failed["audience_kind"], &failed["recipient_user_ids"]),
        (&json!("admin_email"), &json!([]))
    );
    assert_eq!(
        (&failed["payload"]["turn"], &failed["payload"]["error_code"]),
        (&json!(1), &json!("engine_validation_error"))
    );

    // The service is killed, and reads on where it was.
    world.restart(Part::Notification).await;
    engine.misbehave(json!({})).await;
    gm.force("failing").await.done();
    notification.until_sent("failing", "game.turn.ready").await;
    let sent = notification.sent().await.expect("an answer");
    let mut told: Vec<(&str, &str, u64)> = sent
        .iter()
        .map(|intent| {
            let text = |value: &'_ Value| value.as_u64().expect("a turn");
            let game = intent["payload"]["game_id"].as_str().expect("a game");
            let kind = intent["notification_type"].as_str().expect("a type");
            (game, kind, text(&intent["payload"]["turn"]))
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("failing", "game.generation_failed", 1),
            ("failing", "game.turn.ready", 1),
            ("short", "game.finished", 3),
            ("short", "game.turn.ready", 1),
            ("short", "game.turn.ready", 2),
        ]
    );

    // The same intents once more, as after a stream that lost its tail: the keys say so.
    let streams = world.streams();
    let all = integration::harness::everything(&*streams, "notification:intents").await;
    for entry in all.expect("Redis answers") {
        use service::ports::{AppendAt, Streams as _};
        let again = streams.append("notification:intents", AppendAt::Next, &entry.payload).await;
        again.expect("Redis takes it");
    }
    until("the repetitions to be recognised", async || {
        let counters = notification.ask().get("/_counters").await?;
        (counters["repeated"] == 5 && counters["sent"] == 5).then_some(())
    })
    .await;
    world.end().await;
}
