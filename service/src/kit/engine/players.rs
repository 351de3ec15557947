//! What players do, and taking one out of the game.

use machine::RaceName;
use peers::http::percent_encode;
use serde_json::json;

use super::{BANISH, COMMAND, Game, NOBODY, ORDER, REPORT, rules};
use crate::kit::probe::Ask;

/// How far ahead a report is asked for that no engine has.
const FAR: u32 = 1_000;

impl Game<'_> {
    pub(super) fn report_ask(&self, race: &str, turn: u32) -> Ask {
        self.get(format!("{REPORT}?player={}&turn={turn}", percent_encode(race)))
    }

    pub(super) async fn players(&mut self) {
        let races = self.races;
        for (path, accepted, unknown, malformed) in [
            (COMMAND, rules::COMMAND, rules::COMMAND_RACE, rules::COMMAND_MALFORMED),
            (ORDER, rules::ORDER, rules::ORDER_RACE, rules::ORDER_MALFORMED),
        ] {
            if self.command.is_none() {
                self.walk.sheet.skip(accepted, "give a command the engine understands (--command)");
            } else if self.is_finished() {
                self.walk.sheet.skip(accepted, "the game was over before");
            } else {
                for race in races {
                    let body = self.commands_body(race.as_str());
                    self.walk.granted(accepted, self.put(path, body)).await;
                }
            }
            self.walk.refused(unknown, self.put(path, self.commands_body(NOBODY))).await;
            let race = races.first().map_or(NOBODY, RaceName::as_str);
            for body in [
                r#"{"actor":"#.to_owned(),
                json!({ "actor": race }).to_string(),
                json!({ "actor": race, "cmd": "all" }).to_string(),
            ] {
                self.walk.refused(malformed, self.put(path, body)).await;
            }
        }
        self.reports().await;
        self.keeps_turn().await;
    }

    async fn reports(&mut self) {
        let (races, turn) = (self.races, self.turn());
        for race in races {
            let ask = self.report_ask(race.as_str(), turn);
            let Some(first) = self.walk.granted(rules::REPORT, ask.clone()).await else { continue };
            match self.walk.ask(ask).await {
                Ok(second) => {
                    let is_same = second.status == first.status && second.body == first.body;
                    let seen = || second.instead_of("the answer given just before");
                    self.walk.sheet.check(rules::REPORT_AGAIN, is_same, seen);
                }
                Err(unusable) => self.walk.sheet.skip(rules::REPORT_AGAIN, unusable.reason()),
            }
        }
        let Some(race) = races.first().map(RaceName::as_str) else { return };
        match self.walk.ask(self.report_ask(race, 0)).await {
            Ok(answer) => {
                let is_fine = answer.is_success() || answer.is_refusal();
                let seen = || answer.instead_of("the report, or a refusal (4xx)");
                self.walk.sheet.check(rules::REPORT_EARLIER, is_fine, seen);
            }
            Err(unusable) => self.walk.sheet.skip(rules::REPORT_EARLIER, unusable.reason()),
        }
        let future = self.report_ask(race, turn.saturating_add(FAR));
        self.walk.refused(rules::REPORT_FUTURE, future).await;
        self.walk.refused(rules::REPORT_RACE, self.report_ask(NOBODY, turn)).await;
    }

    /// What players did may have changed everything but the turn.
    async fn keeps_turn(&mut self) {
        let Some(answer) = self.walk.granted(rules::STATUS, self.get(super::STATUS)).await else {
            return;
        };
        let Some(state) = self.state_of(&answer) else { return };
        let before = self.status.as_ref().map(|status| status.turn);
        let is_kept = before.is_none_or(|turn| turn == state.turn);
        let seen = || answer.evidence(format!("turn {}, before {before:?}", state.turn));
        self.walk.sheet.check(rules::KEEPS_TURN, is_kept, seen);
        self.trust(state);
    }

    pub(super) async fn banish(&mut self) {
        let unknown = self.post(BANISH, json!({ "race_name": NOBODY }).to_string());
        self.walk.refused(rules::BANISH_RACE, unknown).await;
        let out = match self.races {
            [_, .., last] => last.clone(),
            [] | [_] => return self.skip_banish("needs two races at least"),
        };
        if self.is_finished() {
            return self.skip_banish("the game was over before");
        }
        let ask = self.post(BANISH, json!({ "race_name": out.as_str() }).to_string());
        let Some(answer) = self.walk.granted(rules::BANISH, ask.clone()).await else {
            return self.skip_banish(&format!("nobody was banished: see {}", rules::BANISH.id));
        };
        let is_bare = answer.status == 204 && answer.body.is_empty();
        let seen = || answer.instead_of("204 without a body");
        self.walk.sheet.check(rules::BANISH_STATUS, is_bare, seen);
        self.walk.granted(rules::BANISH_TWICE, ask).await;

        let before = self.status.take();
        let Some(answer) = self.walk.granted(rules::STATUS, self.get(super::STATUS)).await else {
            return;
        };
        let Some(state) = self.state_of(&answer) else { return };
        if let Some(before) = before {
            let seen = || answer.evidence(format!("turn {}, before {}", state.turn, before.turn));
            self.walk.sheet.check(rules::BANISH, state.turn == before.turn, seen);
        }
        if state.missing(std::slice::from_ref(&out)).is_none() {
            let seen = || answer.instead_of("extinct: true of the banished race");
            self.walk.sheet.check(rules::BANISH_EXTINCT, state.says_extinct(&out), seen);
        }
        let over = state.finished;
        self.trust(state);
        if over {
            return self.walk.sheet.skip(rules::BANISH_PLAYS_ON, "the game ended with it");
        }
        if self.next_turn(rules::BANISH_PLAYS_ON).await {
            self.compare_status().await;
        }
    }

    fn skip_banish(&mut self, reason: &str) {
        for rule in [
            rules::BANISH,
            rules::BANISH_STATUS,
            rules::BANISH_TWICE,
            rules::BANISH_EXTINCT,
            rules::BANISH_PLAYS_ON,
        ] {
            self.walk.sheet.skip(rule, reason);
        }
    }
}
