//! The check of a Lobby: the members of one game it knows. Reads only.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use machine::{RaceName, UserId};
use net::Net;
use serde_json::Value;

use super::args::CheckLobby;
use super::probe::{Ask, Probe};
use super::rule::Rule;
use super::sheet::Report;
use super::walk::{Answer, Stopped, Walk};

mod rules {
    crate::kit::rule::rules! {
        KNOWN: Must "lobby.members.known",
            "The members of a game are a list, `members`, of objects.",
            "Without it no player may act.";
        USERS: Must "lobby.members.user_id",
            "Every member has a `user_id` of 1 to 64 of A-Z a-z 0-9 _ -.",
            "One that cannot be read makes the whole list unreadable.";
        STATUS: Must "lobby.members.status",
            "Every member's `status` is active, removed or blocked.",
            "One that cannot be read makes the whole list unreadable; only active ones may act.";
        ONCE: Must "lobby.members.users_once",
            "Every user is there at most once.",
            "Of two standings of one user either may be believed.";
        RACES: Should "lobby.members.race_name",
            "Every member has a `race_name` that Game Master would accept.",
            "The same name is registered with Game Master.";
        RACES_ONCE: Should "lobby.members.races_once",
            "Every race is there at most once.",
            "Game Master takes no registration in which two members play one race.";
        BEYOND: Should "lobby.members.contract",
            "The answer has exactly the fields of the contract.",
            "Game Master passes over the rest; the contract may come to use the name.";
        AGAIN: Should "lobby.members.repeatable",
            "The same question gets the same answer.",
            "Game Master asks again whenever its copy is old. (A membership that changed between \
             the two questions fails this too.)";
        UNKNOWN: Must "lobby.game.unknown",
            "A game that Lobby does not know is answered with 404.",
            "Game Master takes 404 as a game without members, and any other refusal as a Lobby \
             that is unwell; success hides that an address is wrong.";
        MALFORMED: Should "lobby.game.malformed",
            "An id that no game can have is refused with 4xx.",
            "5xx would read as a Lobby that is unwell.";
    }
}

pub(super) use rules::ALL;

/// An id that a game could have, and none has.
pub(super) const NO_GAME: &str = "no-such-game-0b9c41d7a6e24f53";
/// Ids that no game can have, encoded.
pub(super) const NO_IDS: [&str; 3] = ["-starts-badly", "has%20blanks", "%D0%B8%D0%B3%D1%80%D0%B0"];

/// Checks the Lobby at `args.url` over `net`.
pub async fn check_lobby(args: &CheckLobby, net: Arc<dyn Net>) -> Result<Report, Stopped> {
    let mut walk = Walk::new(Probe::new(net, args.url.clone()), rules::ALL);
    let limit = args.timing.timeout();
    let of = |game: &str| {
        let path = format!("/api/v1/internal/games/{game}/memberships");
        Ask::new(Method::GET, path, limit)
    };

    let first = match walk.knock(of(args.game.as_str())).await? {
        Ok(answer) => {
            let seen = || answer.instead_of("success (2xx)");
            walk.sheet.check(rules::KNOWN, answer.is_success(), seen);
            members(&mut walk, &answer)
        }
        Err(unusable) => {
            walk.sheet.skip(rules::KNOWN, unusable.reason());
            None
        }
    };
    if let Some(first) = first {
        match walk.ask(of(args.game.as_str())).await {
            Ok(again) => {
                let same = again.json.as_ref().and_then(sorted) == Some(first);
                let seen = || again.instead_of("the members told just before");
                walk.sheet.check(rules::AGAIN, same, seen);
            }
            Err(unusable) => walk.sheet.skip(rules::AGAIN, unusable.reason()),
        }
    }
    match walk.ask(of(NO_GAME)).await {
        Ok(answer) => {
            let seen = || answer.instead_of("404");
            walk.sheet.check(rules::UNKNOWN, answer.status == 404, seen);
        }
        Err(unusable) => walk.sheet.skip(rules::UNKNOWN, unusable.reason()),
    }
    for id in NO_IDS {
        walk.refused(rules::MALFORMED, of(id)).await;
    }
    let nowhere = Ask::new(Method::GET, "/api/v1/internal/no-such-path-of-any-lobby", limit);
    walk.manners(of(NO_GAME), nowhere).await;
    Ok(walk.sheet.into_report(None))
}

/// Holds the list against its rules; its content where there is one.
fn members(walk: &mut Walk, answer: &Answer) -> Option<Vec<String>> {
    if !answer.is_success() {
        return None;
    }
    let list = answer.json.as_ref().and_then(|json| json.get("members")).and_then(Value::as_array);
    let objects = list.filter(|list| list.iter().all(Value::is_object));
    let Some(objects) = objects else {
        walk.sheet.fail(rules::KNOWN, answer.instead_of("{\"members\":[{…}, …]}"));
        return None;
    };
    let own =
        [rules::USERS, rules::STATUS, rules::ONCE, rules::RACES, rules::RACES_ONCE, rules::BEYOND];
    if objects.is_empty() {
        for rule in own {
            walk.sheet.skip(rule, "the game has no members: name one that has (--game)");
        }
        return sorted(answer.json.as_ref()?);
    }
    for rule in own {
        walk.sheet.pass(rule);
    }
    let (mut users, mut races) = (BTreeSet::new(), BTreeSet::new());
    let mut fail = |rule: Rule, problem: String| {
        walk.sheet.fail(rule, answer.evidence(problem));
    };
    for (at, member) in objects.iter().enumerate() {
        let text = |name: &str| member.get(name).and_then(Value::as_str);
        match text("user_id").and_then(|id| id.parse::<UserId>().ok()) {
            Some(user) if !users.insert(user.clone()) => {
                fail(rules::ONCE, format!("members[{at}]: user {user} is there before"));
            }
            Some(_) => {}
            None => fail(rules::USERS, format!("members[{at}]: {member}")),
        }
        if !matches!(text("status"), Some("active" | "removed" | "blocked")) {
            fail(rules::STATUS, format!("members[{at}]: {member}"));
        }
        match text("race_name").and_then(|name| name.parse::<RaceName>().ok()) {
            Some(race) if !races.insert(race.clone()) => {
                fail(rules::RACES_ONCE, format!("members[{at}]: race {race} is there before"));
            }
            Some(_) => {}
            None => fail(rules::RACES, format!("members[{at}]: {member}")),
        }
        let keys = member.as_object().into_iter().flat_map(|object| object.keys());
        for key in keys.filter(|k| !matches!(k.as_str(), "user_id" | "race_name" | "status")) {
            fail(rules::BEYOND, format!("members[{at}]: {key:?} is not in the contract"));
        }
    }
    let whole = answer.json.as_ref().and_then(Value::as_object);
    if whole.is_some_and(|object| object.len() > 1) {
        fail(rules::BEYOND, "there is more than `members`".into());
    }
    sorted(answer.json.as_ref()?)
}

/// The members in an order of their own: Lobby promises none.
fn sorted(json: &Value) -> Option<Vec<String>> {
    let list = json.get("members")?.as_array()?;
    let mut members: Vec<String> = list.iter().map(Value::to_string).collect();
    members.sort();
    Some(members)
}
