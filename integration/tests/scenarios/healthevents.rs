//! What Runtime Manager says of containers, and what becomes of it.

use integration::harness::until;
use integration::world::{GamePlan, Setup, World};
use serde_json::{Value, json};
use service::ports::{AppendAt, Streams as _};

/// Status and summary of each snapshot, in order.
async fn told(world: &World, game: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = world.told(game).await;
    let pair = |e: &Value| (text(&e["runtime_status"]), text(&e["engine_health_summary"]));
    events.iter().map(pair).collect()
}

fn pair(status: &str, health: &str) -> (String, String) {
    (status.to_owned(), health.to_owned())
}

/// Every kind of event there is, as Runtime Manager comes to report it: the summary follows, Lobby
/// is told, and a game whose engine went away goes on once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_told_and_a_lost_engine_comes_back() {
    let world = World::start(Setup::new()).await;
    let (gm, rtm) = (world.gm(), world.rtm());
    world.play(&GamePlan::new("watched")).await;
    gm.until("watched", "healthy", |seen| seen.health() == "healthy").await;

    // Unwell, and nothing more.
    let engine = world.engine("watched").await;
    engine.misbehave(json!({ "only": ["healthz"], "fail_next": 1000 })).await;
    let unwell = gm.until("watched", "probe_failed", |seen| seen.health() == "probe_failed").await;
    assert_eq!(unwell.status(), "running");
    engine.misbehave(json!({})).await;
    gm.until("watched", "healthy", |seen| seen.health() == "healthy").await;
    rtm.misbehave(json!({ "unhealthy_games": ["watched"] })).await;
    let unwell = "inspect_unhealthy";
    let unwell = gm.until("watched", unwell, |seen| seen.health() == unwell).await;
    assert_eq!(unwell.status(), "running");
    rtm.misbehave(json!({})).await;
    gm.until("watched", "healthy", |seen| seen.health() == "healthy").await;
    gm.force("watched").await.done();

    // Gone, and back: a real `kill -9` of its process first.
    let before = told(&world, "watched").await.len();
    let pid = rtm.runtime("watched").await.expect("an engine")["pid"].to_string();
    let killed = tokio::process::Command::new("kill").args(["-9", &pid]).status().await;
    assert!(killed.expect("it can be killed").success());
    for summary in ["exited", "oom", "disappeared"] {
        match summary {
            "exited" => {}
            "oom" => rtm.end_engine("watched", "out_of_memory").await,
            _ => rtm.end_engine("watched", "disappeared").await,
        }
        until(&format!("{summary} to be told, and the recovery"), async || {
            let told = told(&world, "watched").await;
            let lost = told.iter().rposition(|it| *it == pair("engine_unreachable", summary))?;
            told[lost..].contains(&pair("running", "healthy")).then_some(())
        })
        .await;
    }
    let told = told(&world, "watched").await;
    // The summary may change once more before the game goes on, which is no other loss.
    let lost = told[before..].iter().filter(|(status, health)| {
        status == "engine_unreachable"
            && ["exited", "oom", "disappeared"].contains(&health.as_str())
    });
    assert_eq!(lost.count(), 3, "each loss is told once: {told:?}");
    gm.force("watched").await.done();
    assert_eq!(world.engine("watched").await.turns().await, Some(vec![1, 2]));
    world.end().await;
}

/// A summary that flaps is told of at most once in a window, and its latest value in the end; what
/// cannot be read, or is about somebody else, is passed over and stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_summary_is_debounced() {
    let window = 3_u64;
    let setup = Setup::new().gm("LIFECYCLE_HEALTH_DEBOUNCE_SECONDS", &window.to_string());
    let world = World::start(setup).await;
    let (gm, streams) = (world.gm(), world.streams());
    world.play(&GamePlan::new("flapping")).await;
    // From a patch on Game Master knows the container, and listens to no other one.
    gm.patch("flapping", "1.4.3").await.done();
    let known = gm.until("flapping", "healthy", |seen| seen.health() == "healthy").await;
    let container = known.container().expect("a container").to_owned();
    world.rtm().misbehave(json!({ "is_mute": true })).await;
    let say = async |game: &str, container: &str, kind: &str, details: Value| {
        let event = json!({
            "game_id": game, "container_id": container, "event_type": kind,
            "occurred_at_ms": 1, "details": details,
        });
        let payload = event.to_string();
        let said = streams.append("runtime:health_events", AppendAt::Next, payload.as_bytes());
        said.await.expect("Redis takes it");
    };
    let nothing = || json!({});
    // Long enough ago for a window to be open: the summary has been told by then.
    until("the summary to be told", async || {
        told(&world, "flapping").await.contains(&pair("running", "healthy")).then_some(())
    })
    .await;
    let before = told(&world, "flapping").await.len();
    for _ in 0..10 {
        say("flapping", &container, "inspect_unhealthy", nothing()).await;
        say("flapping", &container, "probe_failed", json!({ "consecutive_failures": 1 })).await;
        say("flapping", &container, "healthy", nothing()).await;
    }
    streams.append("runtime:health_events", AppendAt::Next, b"{ nonsense").await.expect("taken");
    say("nobody", &container, "container_exited", nothing()).await;
    say("flapping", "another-container", "container_exited", nothing()).await;
    say("flapping", &container, "probe_failed", json!({ "consecutive_failures": 3 })).await;
    gm.until("flapping", "probe_failed", |seen| seen.health() == "probe_failed").await;
    let told = until("the latest summary to be told", async || {
        let told = told(&world, "flapping").await;
        (told.last() == Some(&pair("running", "probe_failed"))).then_some(told)
    })
    .await;
    // Thirty changes in far less than a window: one at once at the most, and the latest.
    assert!(told.len() - before <= 2, "told too often: {told:?}");
    assert_eq!(gm.runtime("flapping").await.expect("a record").status(), "running");
    world.end().await;
}
