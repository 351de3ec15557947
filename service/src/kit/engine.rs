//! The check of an engine: a small game from its beginning.

mod players;
mod rules;
mod state;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use machine::RaceName;
use net::Net;
use serde_json::{Value, json};

use self::state::State;
use super::args::CheckEngine;
use super::probe::{Ask, Probe};
use super::rule::Rule;
use super::sheet::Report;
use super::walk::{Answer, Stopped, Walk};

pub(super) use self::rules::ALL;

const INIT: &str = "/api/v1/admin/init";
const STATUS: &str = "/api/v1/admin/status";
const TURN: &str = "/api/v1/admin/turn";
const BANISH: &str = "/api/v1/admin/race/banish";
const COMMAND: &str = "/api/v1/command";
const ORDER: &str = "/api/v1/order";
const REPORT: &str = "/api/v1/report";
/// Plays nowhere.
const NOBODY: &str = "nobody of this name plays here";

/// Checks the engine at `args.url` over `net`.
pub async fn check_engine(args: &CheckEngine, net: Arc<dyn Net>) -> Result<Report, Stopped> {
    let walk = Walk::new(Probe::new(net, args.url.clone()), rules::ALL);
    let mut game = Game {
        walk,
        races: &args.races,
        command: args.command.as_deref(),
        has_guard: !args.no_turn_guard,
        limit: args.timing.timeout(),
        turn_limit: args.turn_timeout(),
        told: None,
        status: None,
    };
    let ended = game.play().await?.err().map(|End(reason)| reason);
    Ok(game.walk.sheet.into_report(ended))
}

/// Why the game could not be played on.
struct End(String);

struct Game<'a> {
    walk: Walk,
    races: &'a [RaceName],
    command: Option<&'a str>,
    has_guard: bool,
    limit: Duration,
    turn_limit: Duration,
    /// The state as the last answer that made one told it.
    told: Option<State>,
    /// The state as the last status told it.
    status: Option<State>,
}

impl Game<'_> {
    /// Every rule in the order of a game. An inner error ends it early, with what was found so far.
    async fn play(&mut self) -> Result<Result<(), End>, Stopped> {
        if let Err(end) = self.before_init().await? {
            return Ok(Err(end));
        }
        if let Err(end) = self.init().await {
            return Ok(Err(end));
        }
        self.manners().await;
        if let Err(end) = self.turns().await {
            return Ok(Err(end));
        }
        self.players().await;
        self.concurrent_turns().await;
        self.banish().await;
        Ok(Ok(()))
    }

    fn get(&self, path: impl Into<String>) -> Ask {
        Ask::new(Method::GET, path, self.limit)
    }

    fn post(&self, path: &str, body: impl Into<Bytes>) -> Ask {
        Ask::new(Method::POST, path, self.limit).with(body)
    }

    fn put(&self, path: &str, body: impl Into<Bytes>) -> Ask {
        Ask::new(Method::PUT, path, self.limit).with(body)
    }

    fn turn_ask(&self, expected_turn: u32) -> Ask {
        let path = format!("{TURN}?expected_turn={expected_turn}");
        Ask::new(Method::PUT, path, self.turn_limit)
    }

    fn init_body(&self) -> String {
        let races: Vec<Value> =
            self.races.iter().map(|race| json!({ "race_name": race.as_str() })).collect();
        json!({ "races": races }).to_string()
    }

    fn commands_body(&self, race: &str) -> String {
        // Byte for byte, as Game Master does it.
        format!(r#"{{"actor":{},"cmd":[{}]}}"#, json!(race), self.command.unwrap_or("{}"))
    }

    async fn before_init(&mut self) -> Result<Result<(), End>, Stopped> {
        let healthz = self.get("/healthz").for_its_status();
        match self.walk.knock(healthz).await? {
            Ok(answer) => {
                let seen = || answer.instead_of("success (2xx)");
                self.walk.sheet.check(rules::HEALTHZ, answer.is_success(), seen);
                if answer.is_success() {
                    let is_ok = answer.json == Some(json!({ "status": "ok" }));
                    let seen = || answer.instead_of(r#"{"status":"ok"}"#);
                    self.walk.sheet.check(rules::HEALTHZ_BODY, is_ok, seen);
                }
            }
            Err(unusable) => self.walk.sheet.skip(rules::HEALTHZ, unusable.reason()),
        }
        // INVARIANT: nothing is done to an engine that may have a game.
        let answer = match self.walk.ask(self.get(STATUS)).await {
            Ok(answer) => answer,
            Err(unusable) => {
                let why = "whether a game is under way cannot be told, so nothing was tried";
                return Ok(Err(End(format!("{why} ({})", unusable.reason()))));
            }
        };
        if answer.is_refusal() {
            self.walk.sheet.pass(rules::UNINITIALISED);
        } else {
            let read = answer.json.as_ref().map(state::read);
            let state = read.as_ref().and_then(|reading| reading.state.as_ref());
            match state {
                Some(state) if answer.is_success() && !state.players.is_empty() => {
                    return Err(Stopped::Unfit(format!(
                        "the engine has a game already (turn {}): the check sets up and plays one \
                         of its own and needs an engine without; nothing was changed",
                        state.turn
                    )));
                }
                Some(_) if answer.is_success() => {
                    let seen = answer.instead_of("a refusal (4xx)");
                    self.walk.sheet.fail(rules::UNINITIALISED, seen);
                }
                Some(_) | None => {
                    let seen = answer.instead_of("a refusal (4xx)");
                    self.walk.sheet.fail(rules::UNINITIALISED, seen);
                    let why = "whether a game is under way cannot be told, so nothing was tried";
                    return Ok(Err(End(why.into())));
                }
            }
        }
        let rule = rules::NOTHING_TO_PLAY;
        let race = self.races.first().map_or(NOBODY, RaceName::as_str);
        for ask in [
            self.turn_ask(0),
            self.post(BANISH, json!({ "race_name": race }).to_string()),
            self.put(COMMAND, self.commands_body(race)),
            self.put(ORDER, self.commands_body(race)),
            self.report_ask(race, 0),
        ] {
            self.walk.refused(rule, ask).await;
        }
        for body in [r#"{"races":[{"race_name":"#, r#"{"races":"all"}"#] {
            let answer = self.walk.refused(rules::INIT_MALFORMED, self.post(INIT, body)).await;
            if answer.is_some_and(|answer| answer.is_success()) {
                let why = "the engine took a malformed init for a game: see";
                return Ok(Err(End(format!("{why} {}", rules::INIT_MALFORMED.id))));
            }
        }
        Ok(Ok(()))
    }

    async fn init(&mut self) -> Result<(), End> {
        let answer = self.walk.granted(rules::INIT, self.post(INIT, self.init_body())).await;
        let Some(answer) = answer else {
            return Err(End(format!("there is no game: see {}", rules::INIT.id)));
        };
        let Some(state) = self.state_of(&answer) else {
            // It may be a game all the same; nothing that follows could be judged.
            return Err(End("the state cannot be read".into()));
        };
        let is_new = state.turn == 0 && !state.finished;
        let seen = || answer.evidence(format!("turn {}, {}", state.turn, state.finished));
        self.walk.sheet.check(rules::INIT_TURN, is_new, seen);
        if let Some(missing) = state.missing(self.races) {
            self.walk.sheet.fail(rules::RACES, answer.evidence(missing));
        }
        self.told = Some(state);
        self.compare_status().await;

        let again = self.post(INIT, self.init_body());
        match self.walk.ask(again).await {
            Ok(again) => {
                let seen = || again.instead_of("409");
                self.walk.sheet.check(rules::INIT_ONCE, again.status == 409, seen);
                if again.is_success() {
                    // What follows is judged by the game there is now.
                    let state = self.state_of(&again);
                    self.told = state.or(self.told.take());
                    self.status = self.ask_status().await;
                } else {
                    self.is_unchanged(rules::INIT_ONCE, &again).await;
                }
            }
            Err(unusable) => self.walk.sheet.skip(rules::INIT_ONCE, unusable.reason()),
        }
        Ok(())
    }

    async fn manners(&mut self) {
        let harmless = self.get(STATUS);
        let nowhere = self.get("/api/v1/admin/no-such-path-of-any-engine");
        self.walk.manners(harmless, nowhere).await;
    }

    /// The state in an answer, held against the rules of every state.
    fn state_of(&mut self, answer: &Answer) -> Option<State> {
        let Some(json) = &answer.json else {
            self.walk.sheet.fail(rules::FIELDS, answer.instead_of("a state"));
            return None;
        };
        let reading = state::read(json);
        for (rule, problems) in [
            (rules::FIELDS, &reading.fields),
            (rules::NUMBERS, &reading.numbers),
            (rules::FINISHED, &reading.finished),
            (rules::BEYOND, &reading.beyond),
        ] {
            self.note(rule, answer, problems.told());
        }
        let state = reading.state?;
        self.note(rules::RACES, answer, state.strange(self.races));
        let renamed = self.told.as_ref().and_then(|before| state.renamed_since(before));
        self.note(rules::PLAYER_IDS, answer, state.shared_id().or(renamed));
        // Races that were wrong from the beginning have not gone missing.
        if self.told.is_some() && !self.walk.sheet.has_failed(rules::RACES) {
            self.note(rules::RACES_KEPT, answer, state.missing(self.races));
        }
        Some(state)
    }

    fn note(&mut self, rule: Rule, answer: &Answer, problem: Option<String>) {
        match problem {
            Some(problem) => self.walk.sheet.fail(rule, answer.evidence(problem)),
            None => self.walk.sheet.pass(rule),
        }
    }

    /// The state as the engine tells it when asked.
    async fn ask_status(&mut self) -> Option<State> {
        let answer = self.walk.granted(rules::STATUS, self.get(STATUS)).await?;
        self.state_of(&answer)
    }

    /// Whether the status is what the answer before it said.
    async fn compare_status(&mut self) {
        let Some(answer) = self.walk.granted(rules::STATUS, self.get(STATUS)).await else { return };
        let Some(state) = self.state_of(&answer) else { return };
        if let Some(told) = &self.told {
            let difference = state.differs_from(told);
            self.note(rules::STATUS, &answer, difference);
        }
        self.status = Some(state);
    }

    /// Whether the status is what it was before something was refused.
    async fn is_unchanged(&mut self, rule: Rule, refusal: &Answer) {
        let before = self.status.take();
        let now = self.ask_status().await;
        if let (Some(before), Some(now)) = (&before, &now)
            && let Some(difference) = now.differs_from(before)
        {
            let found = format!("refused, and yet the status has changed: {difference}");
            self.walk.sheet.fail(rule, refusal.evidence(found));
            // The engine's word is what follows is judged by.
            self.told = Some(now.clone());
        }
        self.status = now.or(before);
    }

    /// Takes a status for the state there is now, unless the engine was seen to lie in it.
    fn trust(&mut self, state: State) {
        if !self.walk.sheet.has_failed(rules::STATUS) {
            self.told = Some(state.clone());
        }
        self.status = Some(state);
    }

    fn turn(&self) -> u32 {
        self.told.as_ref().map_or(0, |state| state.turn)
    }

    fn is_finished(&self) -> bool {
        self.told.as_ref().is_some_and(|state| state.finished)
    }
}
