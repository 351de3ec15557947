//! The check of a Runtime Manager. What changes nothing is always tried; a container is patched and
//! stopped only where that was allowed.

use std::sync::Arc;

use http::Method;
use machine::{ContainerId, GameId, ImageRef};
use net::Net;
use serde_json::{Value, json};

use super::args::CheckRtm;
use super::lobby::{NO_GAME, NO_IDS};
use super::probe::{Ask, Probe};
use super::rule::Rule;
use super::sheet::Report;
use super::walk::{Answer, Stopped, Walk};

mod rules {
    crate::kit::rule::rules! {
        STOP_UNKNOWN: Must "rtm.stop.unknown_game",
            "Stopping the engine of a game that was never run is refused with 4xx (404).",
            "5xx would read as a Runtime Manager that is unwell; success would be recorded as a stop.";
        PATCH_UNKNOWN: Must "rtm.patch.unknown_game",
            "Patching the engine of a game that was never run is refused with 4xx (404).",
            "5xx would read as a Runtime Manager that is unwell; success would be recorded as a patch.";
        STOP_MALFORMED: Must "rtm.stop.malformed",
            "A stop that is broken JSON or has no reason is refused with 4xx.",
            "5xx would read as a Runtime Manager that is unwell.";
        PATCH_MALFORMED: Must "rtm.patch.malformed",
            "A patch that is broken JSON or has no image is refused with 4xx.",
            "5xx would read as a Runtime Manager that is unwell.";
        BAD_IDS: Should "rtm.game.malformed",
            "An id that no game can have is refused with 4xx.",
            "5xx would read as a Runtime Manager that is unwell.";
        BAD_IMAGE: Must "rtm.patch.bad_image",
            "A patch to an image reference that cannot be one is refused with 4xx (422).",
            "5xx would read as an outage that passes, and no image can ever come of it.";
        PATCH: Must "rtm.patch.container",
            "A patch answers with the container that runs now: {\"container_id\"}.",
            "Health events are believed of the recorded container alone.";
        PATCH_AGAIN: Must "rtm.patch.idempotent",
            "A patch to the image that runs already succeeds and keeps the container.",
            "A patch whose answer was lost is asked for again; it must not restart the engine.";
        STOP: Must "rtm.stop.done",
            "Stopping a running engine succeeds.",
            "Until it does the game cannot be stopped.";
        STOP_BODY: Should "rtm.stop.container",
            "A stop answers with the container that does not run any more: {\"container_id\"}.",
            "The contract says so; Game Master does not read it.";
        STOP_AGAIN: Must "rtm.stop.idempotent",
            "Stopping a stopped engine succeeds.",
            "A stop whose answer was lost is asked for again.";
        PATCH_STOPPED: Must "rtm.patch.stopped",
            "Patching a stopped engine is refused with 4xx (409).",
            "A stop is for good: a late patch must not bring the engine back.";
        BEYOND: Should "rtm.container.contract",
            "The answer to a stop or a patch has exactly the fields of the contract.",
            "Game Master passes over the rest; the contract may come to use the name.";
    }
}

pub(super) use rules::ALL;

/// What a stop gives as its reason.
const REASON: &str = "conformance check";
/// What no registry can hold.
const NO_IMAGE: &str = "Not An Image::";

struct Check<'a> {
    walk: Walk,
    args: &'a CheckRtm,
}

/// Checks the Runtime Manager at `args.url` over `net`.
pub async fn check_rtm(args: &CheckRtm, net: Arc<dyn Net>) -> Result<Report, Stopped> {
    let walk = Walk::new(Probe::new(net, args.url.clone()), rules::ALL);
    let mut check = Check { walk, args };
    check.harmless().await?;
    if args.allow_destructive {
        check.destructive().await;
    } else {
        check.skip("changes the container: allow it (--allow-destructive)");
    }
    Ok(check.walk.sheet.into_report(None))
}

impl Check<'_> {
    fn ask(&self, game: &str, verb: &str, body: String) -> Ask {
        let path = format!("/api/v1/internal/runtimes/{game}/{verb}");
        Ask::new(Method::POST, path, self.args.timing.timeout()).with(body)
    }

    fn stop(&self, game: &str) -> Ask {
        self.ask(game, "stop", json!({ "reason": REASON }).to_string())
    }

    fn patch(&self, game: &str, image: &str) -> Ask {
        self.ask(game, "patch", json!({ "image_ref": image }).to_string())
    }

    async fn harmless(&mut self) -> Result<(), Stopped> {
        let rule = rules::STOP_UNKNOWN;
        match self.walk.knock(self.stop(NO_GAME)).await? {
            Ok(answer) => {
                let seen = || answer.instead_of("a refusal (404)");
                self.walk.sheet.check(rule, answer.is_refusal(), seen);
            }
            Err(unusable) => self.walk.sheet.skip(rule, unusable.reason()),
        }
        let patch = self.patch(NO_GAME, "registry.example/no/image:1.0.0");
        self.walk.refused(rules::PATCH_UNKNOWN, patch).await;
        // Of a game that does not exist: whoever takes these for requests does no harm.
        for (verb, rule, field) in [
            ("stop", rules::STOP_MALFORMED, "reason"),
            ("patch", rules::PATCH_MALFORMED, "image_ref"),
        ] {
            for body in ["{".to_owned(), "{}".to_owned(), json!({ field: 7 }).to_string()] {
                self.walk.refused(rule, self.ask(NO_GAME, verb, body)).await;
            }
        }
        for id in NO_IDS {
            self.walk.refused(rules::BAD_IDS, self.stop(id)).await;
        }
        let nowhere = "/api/v1/internal/no-such-path-of-any-runtime-manager";
        let nowhere = Ask::new(Method::GET, nowhere, self.args.timing.timeout());
        self.walk.manners(self.stop(NO_GAME), nowhere).await;
        Ok(())
    }

    async fn destructive(&mut self) {
        let game: &GameId = &self.args.game;
        let game = game.as_str();
        match &self.args.image_ref {
            Some(image) => self.patches(game, image).await,
            None => {
                let reason = "give an image to patch to (--image-ref)";
                for rule in [rules::PATCH, rules::PATCH_AGAIN, rules::PATCH_STOPPED] {
                    self.walk.sheet.skip(rule, reason);
                }
            }
        }
        self.walk.refused(rules::BAD_IMAGE, self.patch(game, NO_IMAGE)).await;

        let Some(first) = self.walk.granted(rules::STOP, self.stop(game)).await else {
            return self.skip(&format!("nothing was stopped: see {}", rules::STOP.id));
        };
        let container = container_of(&first);
        let seen = || first.instead_of("{\"container_id\":\"…\"}");
        self.walk.sheet.check(rules::STOP_BODY, container.is_some(), seen);
        if container.is_some() {
            self.has_nothing_else(&first);
        }
        self.walk.granted(rules::STOP_AGAIN, self.stop(game)).await;
        if let Some(image) = &self.args.image_ref {
            self.walk.refused(rules::PATCH_STOPPED, self.patch(game, image.as_str())).await;
        }
    }

    async fn patches(&mut self, game: &str, image: &ImageRef) {
        let patch = self.patch(game, image.as_str());
        let Some(first) = self.walk.granted(rules::PATCH, patch.clone()).await else {
            let reason = format!("nothing was patched: see {}", rules::PATCH.id);
            return self.walk.sheet.skip(rules::PATCH_AGAIN, reason);
        };
        let container = self.container(rules::PATCH, &first);
        let Some(again) = self.walk.granted(rules::PATCH_AGAIN, patch).await else { return };
        let (Some(container), Some(now)) = (container, container_of(&again)) else { return };
        let seen = || again.evidence(format!("container {now}, before {container}"));
        self.walk.sheet.check(rules::PATCH_AGAIN, now == container, seen);
    }

    fn container(&mut self, rule: Rule, answer: &Answer) -> Option<ContainerId> {
        let container = container_of(answer);
        let seen = || answer.instead_of("{\"container_id\":\"…\"}");
        self.walk.sheet.check(rule, container.is_some(), seen);
        if container.is_some() {
            self.has_nothing_else(answer);
        }
        container
    }

    fn has_nothing_else(&mut self, answer: &Answer) {
        let fields = answer.json.as_ref().and_then(Value::as_object).map(|object| object.len());
        let seen = || answer.instead_of("`container_id` alone");
        self.walk.sheet.check(rules::BEYOND, fields == Some(1), seen);
    }

    /// Says why what changes something was not tried.
    fn skip(&mut self, reason: &str) {
        for rule in [
            rules::BAD_IMAGE,
            rules::PATCH,
            rules::PATCH_AGAIN,
            rules::STOP,
            rules::STOP_BODY,
            rules::STOP_AGAIN,
            rules::PATCH_STOPPED,
            rules::BEYOND,
        ] {
            self.walk.sheet.skip(rule, reason);
        }
    }
}

fn container_of(answer: &Answer) -> Option<ContainerId> {
    answer.json.as_ref()?.get("container_id")?.as_str()?.parse().ok()
}
