//! Runtime Managers, a good one and bad ones.

use http::Method;
use serde_json::json;

use crate::rig::{
    Answer, Call, GAME, Upstream, altered, assert_broken, assert_sound, bent_rtm, proxy, replaced,
    rtm, run_rtm, skipped, twist,
};

#[tokio::test]
async fn the_reference_runtime_manager_passes() {
    let rtm = rtm().await;
    assert_sound(&run_rtm(rtm.address, true).await);
}

#[tokio::test]
async fn unless_it_is_allowed_nothing_is_asked_of_a_game_that_exists() {
    let rtm = rtm().await;
    let (proxy, seen) = proxy(&rtm, altered(|_, answer| answer)).await;
    let report = run_rtm(proxy.address, false).await;
    assert_broken(&report, &[]);
    assert!(report.holds());
    let kept = ["rtm.stop.done", "rtm.stop.idempotent", "rtm.patch.container", "rtm.patch.stopped"];
    assert!(kept.iter().all(|id| skipped(&report).contains(id)), "{:?}", skipped(&report));
    let seen = seen.lock().expect("not poisoned").clone();
    assert!(!seen.is_empty() && !seen.iter().any(|call| call.mentions(GAME)), "{seen:?}");
    let engine = Upstream::new(rtm.address).get(&format!("/api/v1/internal/runtimes/{GAME}")).await;
    assert!(engine.text().contains("\"is_up\":true"), "{}", engine.text());
}

/// Calls of a verb on the game that exists.
fn is_of_game(call: &Call, verb: &str) -> bool {
    call.method == Method::POST && call.path.ends_with(&format!("/{GAME}/{verb}"))
}

#[tokio::test]
async fn a_patch_that_does_not_name_the_container() {
    for body in [json!({}), json!({ "container_id": "" }), json!({ "id": "c1" })] {
        let how = altered(move |call, answer| {
            let is_it = is_of_game(call, "patch") && answer.status == 200;
            if is_it { Answer::json(200, &body) } else { answer }
        });
        assert_broken(&bent_rtm(how).await, &["rtm.patch.container"]);
    }
}

#[tokio::test]
async fn a_patch_that_restarts_the_engine_each_time() {
    let how = altered(|call, answer| {
        let fresh = json!(format!("c-{}", call.nth));
        let is_it = is_of_game(call, "patch");
        answer.change("container_id", |body| {
            if is_it {
                body["container_id"] = fresh;
            }
        })
    });
    assert_broken(&bent_rtm(how).await, &["rtm.patch.idempotent"]);
}

#[tokio::test]
async fn a_stop_that_works_once_only() {
    let how = altered(|call, answer| {
        let is_it = is_of_game(call, "stop") && call.nth == 2;
        if is_it { Answer::error(409, "conflict") } else { answer }
    });
    assert_broken(&bent_rtm(how).await, &["rtm.stop.idempotent"]);
}

#[tokio::test]
async fn a_stop_without_the_container_is_a_warning() {
    let how =
        altered(
            |call, answer| {
                if is_of_game(call, "stop") { Answer::json(200, &json!({})) } else { answer }
            },
        );
    let report = bent_rtm(how).await;
    assert_broken(&report, &["rtm.stop.container"]);
    assert!(report.holds());
}

#[tokio::test]
async fn a_patch_that_brings_a_stopped_engine_back() {
    let how = altered(|call, answer| {
        let is_it = is_of_game(call, "patch") && answer.status == 409;
        if is_it { Answer::json(200, &json!({ "container_id": "c9" })) } else { answer }
    });
    assert_broken(&bent_rtm(how).await, &["rtm.patch.stopped"]);
}

#[tokio::test]
async fn an_image_that_cannot_be_one() {
    let how = altered(|call, answer| {
        let is_it = call.mentions("Not An Image");
        if is_it { Answer::error(503, "service_unavailable") } else { answer }
    });
    assert_broken(&bent_rtm(how).await, &["rtm.patch.bad_image"]);
}

#[tokio::test]
async fn requests_about_nothing_are_refused() {
    for (verb, malformed, unknown) in [
        ("/stop", "rtm.stop.malformed", "rtm.stop.unknown_game"),
        ("/patch", "rtm.patch.malformed", "rtm.patch.unknown_game"),
    ] {
        let how = altered(move |call, answer| {
            let is_it = call.path.ends_with(verb) && answer.status == 400;
            if is_it { Answer::error(500, "internal_error") } else { answer }
        });
        assert_broken(&bent_rtm(how).await, &[malformed]);
        let how = replaced(move |call| {
            let is_it = call.path.ends_with(verb)
                && call.mentions("/no-such-game-")
                && (call.mentions("conformance") || call.mentions("registry.example"));
            is_it.then(|| Answer::json(200, &json!({ "container_id": "c1" })))
        });
        assert_broken(&bent_rtm(how).await, &[unknown]);
    }
}

#[tokio::test]
async fn an_engine_that_cannot_be_stopped() {
    let how = twist(|call: Call, upstream: Upstream| async move {
        if is_of_game(&call, "stop") {
            return Answer::error(503, "service_unavailable");
        }
        upstream.send(call).await
    });
    let report = bent_rtm(how).await;
    assert_broken(&report, &["rtm.stop.done"]);
    assert!(skipped(&report).contains(&"rtm.stop.idempotent"));
}

#[tokio::test]
async fn fields_of_its_own_and_odd_ids_are_warnings() {
    let how = altered(|_, answer| answer.change("container_id", |body| body["node"] = json!("n1")));
    assert_broken(&bent_rtm(how).await, &["rtm.container.contract"]);
    let how = altered(|call, answer| {
        let is_it = call.mentions("-starts-badly");
        if is_it { Answer::error(500, "internal_error") } else { answer }
    });
    assert_broken(&bent_rtm(how).await, &["rtm.game.malformed"]);
}
