//! The notification service, on streams in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;

use net::{Net as _, ServerLimits, TokioNet};
use peers::{
    bus::{MemoryBus, streams},
    env::Env,
    notification::{Notification, Sent},
};
use serde_json::{Value, json};
use support::{Client, LIMIT, Running, Scratch, Seen, any_port, append, env, follow_fast};

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

/// Whoever asks goes through all of it page by page, and comes back for what is new.
#[tokio::test]
async fn what_would_have_been_sent_is_told_over_http() {
    let scratch = Scratch::new("notification-http");
    let env = env();
    let bus = MemoryBus::new(env.clone());
    let (service, _, running) = start(&scratch, &bus, &env).await;
    let listener = TokioNet.bind(any_port()).await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let asked = service.clone();
    let serving = Running::spawn(|stop| async move {
        asked.serve(listener, ServerLimits::default(), stop).await;
    });
    for key in ["a", "b", "c"] {
        append(&bus, streams::NOTIFICATION_INTENTS, &intent(key)).await;
    }
    service.wait_for_counters(LIMIT, |c| c.sent == 3).await.unwrap();
    let mut keys = vec![];
    let mut after = json!(0);
    for wanted in [2, 1, 0] {
        let (status, page) = client.get(&format!("/api/v1/sent?after={after}&limit=2")).await;
        let sent = page["sent"].as_array().unwrap();
        assert_eq!((status.as_u16(), sent.len()), (200, wanted));
        keys.extend(sent.iter().map(|sent| sent["intent"]["idempotency_key"].clone()));
        after = page["next"].clone();
    }
    assert_eq!((keys, after), (vec![json!("a"), json!("b"), json!("c")], json!(3)));
    let (_, counters) = client.get("/_counters").await;
    assert_eq!(counters, json!({ "sent": 3, "repeated": 0, "undecodable": 0 }));
    for wrong in ["after=x", "limit=-1", "offset=3", "after=1&after=2"] {
        assert_eq!(client.get(&format!("/api/v1/sent?{wrong}")).await.0, 400, "{wrong}");
    }
    assert_eq!(client.post("/api/v1/sent", json!({})).await.0, 405);
    serving.stop().await;
    running.stop().await;
}
