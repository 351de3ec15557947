//! The notification service, on streams in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;

use peers::{
    bus::{MemoryBus, streams},
    env::Env,
    notification::{Notification, Sent},
};
use serde_json::{Value, json};
use support::{LIMIT, Running, Scratch, Seen, append, env, follow_fast};

fn intent(key: &str) -> Value {
    json!({
        "notification_type": "game.turn.ready",
        "producer": "game_master",
        "audience_kind": "user",
        "recipient_user_ids": ["u1", "u2"],
        "idempotency_key": key,
        "occurred_at_ms": 7,
        "payload": { "game_id": "g", "turn_number": 1 },
    })
}

async fn start(
    scratch: &Scratch,
    bus: &Arc<MemoryBus>,
    env: &Env,
) -> (Notification, Seen<Sent>, Running) {
    let (seen, observer) = Seen::new();
    let file = scratch.path().join("notification.json");
    let service = Notification::open(Some(file), env.clone(), observer).await.unwrap();
    let (worker, bus) = (service.clone(), Arc::clone(bus));
    let running = Running::spawn(|stop| async move { worker.run(bus, follow_fast(), stop).await });
    (service, seen, running)
}

#[tokio::test]
async fn each_intent_is_sent_once_across_repetitions_and_restarts() {
    let scratch = Scratch::new("notification");
    let env = env();
    let bus = MemoryBus::new(env.clone());
    let (service, seen, running) = start(&scratch, &bus, &env).await;
    for key in ["a", "b", "a", ""] {
        append(&bus, streams::NOTIFICATION_INTENTS, &intent(key)).await;
    }
    append(&bus, streams::NOTIFICATION_INTENTS, &json!({ "idempotency_key": "half" })).await;
    append(&bus, streams::NOTIFICATION_INTENTS, &intent(&"k".repeat(257))).await;
    let counters = service.wait_for_counters(LIMIT, |c| c.undecodable == 3).await.unwrap();
    assert_eq!((counters.sent, counters.repeated), (2, 1));
    assert_eq!(seen.all(), service.sent().await);
    let first = &service.sent().await[0].intent;
    assert_eq!(first.recipient_user_ids, ["u1", "u2"]);
    assert_eq!(first.payload["turn_number"], 1);

    running.crash().await;
    append(&bus, streams::NOTIFICATION_INTENTS, &intent("b")).await;
    append(&bus, streams::NOTIFICATION_INTENTS, &intent("c")).await;
    let (service, seen, running) = start(&scratch, &bus, &env).await;
    assert!(service.wait_for(LIMIT, |intent| intent.idempotency_key == "c").await.is_some());
    let counters = service.counters().await;
    assert_eq!((counters.sent, counters.repeated, counters.undecodable), (3, 2, 3));
    assert_eq!(seen.all().len(), 1, "only what is new");
    running.stop().await;
}

#[tokio::test]
async fn streams_that_are_away_are_waited_for() {
    let scratch = Scratch::new("notification-away");
    let env = env();
    let bus = MemoryBus::new(env.clone());
    bus.set_unavailable(true);
    let (service, _seen, running) = start(&scratch, &bus, &env).await;
    bus.set_unavailable(false);
    append(&bus, streams::NOTIFICATION_INTENTS, &intent("a")).await;
    assert!(service.wait_for(LIMIT, |intent| intent.idempotency_key == "a").await.is_some());
    running.stop().await;
}
