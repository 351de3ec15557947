//! The turn, and the guard that keeps it from being generated twice.

use http::Method;
use tokio::task::JoinSet;

use super::{End, Game, TURN, rules};
use crate::kit::probe::Ask;
use crate::kit::rule::Rule;

/// Turn requests made at once.
const AT_ONCE: u32 = 8;
/// How far ahead a turn is that no engine is at.
const FAR: u32 = 1_000;

const GUARDS: [Rule; 5] =
    [rules::TURN_GUARD, rules::TURN_FAR, rules::TURN_RACE, rules::TURN_CODE, rules::TURN_MALFORMED];

impl Game<'_> {
    /// Turn 1, and everything that must not generate another.
    pub(super) async fn turns(&mut self) -> Result<(), End> {
        let before = self.turn();
        if !self.next_turn(rules::TURN_NEXT).await {
            return Err(End(format!("no turn was generated: see {}", rules::TURN_NEXT.id)));
        }
        self.compare_status().await;
        if !self.has_guard {
            for rule in GUARDS {
                self.walk.sheet.skip(rule, "declared: the engine has no turn guard");
            }
            return Ok(());
        }
        self.is_guarded(rules::TURN_GUARD, before).await;
        if self.walk.sheet.has_failed(rules::TURN_GUARD) {
            let reason = format!("the engine has no turn guard: see {}", rules::TURN_GUARD.id);
            for rule in GUARDS {
                self.walk.sheet.skip(rule, reason.clone());
            }
            return Ok(());
        }
        self.is_guarded(rules::TURN_FAR, self.turn().saturating_add(FAR)).await;
        for path in [TURN.to_owned(), format!("{TURN}?expected_turn=soon")] {
            let ask = Ask::new(Method::PUT, path, self.turn_limit);
            let answer = self.walk.refused(rules::TURN_MALFORMED, ask).await;
            match answer {
                Some(answer) if answer.is_success() => self.believe_status().await,
                Some(answer) => self.is_unchanged(rules::TURN_MALFORMED, &answer).await,
                None => {}
            }
        }
        Ok(())
    }

    /// Generates a turn from where the engine is. Whether there is one.
    pub(super) async fn next_turn(&mut self, rule: Rule) -> bool {
        let expected = self.turn();
        let Some(answer) = self.walk.granted(rule, self.turn_ask(expected)).await else {
            return false;
        };
        let Some(state) = self.state_of(&answer) else { return false };
        let is_next = Some(state.turn) == expected.checked_add(1);
        let seen = || answer.evidence(format!("turn {} follows {expected}", state.turn));
        self.walk.sheet.check(rules::TURN_NEXT, is_next, seen);
        self.told = Some(state);
        true
    }

    /// Asks for a turn the engine is not at.
    async fn is_guarded(&mut self, rule: Rule, expected: u32) {
        let answer = match self.walk.ask(self.turn_ask(expected)).await {
            Ok(answer) => answer,
            Err(unusable) => return self.walk.sheet.skip(rule, unusable.reason()),
        };
        self.walk.sheet.check(rule, answer.status == 409, || answer.instead_of("409"));
        if answer.is_success() {
            return self.believe_status().await;
        }
        if answer.status == 409 {
            let is_named = answer.code() == Some("turn_conflict");
            let seen = || answer.instead_of("the code turn_conflict");
            self.walk.sheet.check(rules::TURN_CODE, is_named, seen);
        }
        self.is_unchanged(rule, &answer).await;
    }

    /// Something happened that should not have: from here on the engine's word counts.
    async fn believe_status(&mut self) {
        if let Some(state) = self.ask_status().await {
            self.trust(state);
        }
    }

    /// Many turn requests for the same turn at once.
    pub(super) async fn concurrent_turns(&mut self) {
        let rule = rules::TURN_RACE;
        if !self.has_guard || self.walk.sheet.has_failed(rules::TURN_GUARD) {
            return;
        }
        if self.is_finished() {
            return self.walk.sheet.skip(rule, "the game was over before");
        }
        let expected = self.turn();
        let mut calls = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (probe, ask) = (self.walk.probe.clone(), self.turn_ask(expected));
            calls.spawn(async move { probe.exchange(ask).await });
        }
        let (mut generated, mut winner, mut lost) = (0_u32, None, None);
        while let Some(done) = calls.join_next().await {
            let Ok(exchange) = done else { continue };
            match self.walk.judge(exchange) {
                Ok(answer) if answer.is_success() => {
                    generated += 1;
                    let state = self.state_of(&answer);
                    let turn = state.as_ref().map(|state| state.turn);
                    if generated > 1 {
                        let found = format!("answer {generated} of success, turn {turn:?}");
                        self.walk.sheet.fail(rule, answer.evidence(found));
                    } else if turn.is_some() && turn != expected.checked_add(1) {
                        let found = format!("turn {turn:?} follows {expected}");
                        self.walk.sheet.fail(rules::TURN_NEXT, answer.evidence(found));
                    }
                    winner = winner.or(state);
                }
                Ok(answer) if answer.status == 409 => {}
                Ok(answer) => self.walk.sheet.fail(rule, answer.instead_of("409")),
                Err(unusable) => lost = Some(unusable.reason()),
            }
        }
        let Some(answer) = self.walk.granted(rules::STATUS, self.get(super::STATUS)).await else {
            return self.walk.sheet.skip(rule, "the status afterwards is not known");
        };
        let Some(state) = self.state_of(&answer) else { return };
        let base = self.status.as_ref().map_or(expected, |status| status.turn);
        if let Some(reason) = lost {
            self.walk.sheet.skip(rule, reason);
        } else {
            // By how much one turn moves an engine, and whether its status is true, are other
            // rules' matters.
            let has_failed = |rule| self.walk.sheet.has_failed(rule);
            let tells = !has_failed(rules::TURN_NEXT) && !has_failed(rules::STATUS);
            let is_one = generated == 1 && (state.turn.checked_sub(base) == Some(1) || !tells);
            let seen = || {
                let found = "of 8 requests at once that expected turn";
                answer.evidence(format!(
                    "{found} {expected}, {generated} succeeded; the status went from turn {base} \
                     to {}",
                    state.turn
                ))
            };
            self.walk.sheet.check(rule, is_one, seen);
        }
        self.told = winner.or(self.told.take());
        self.trust(state);
    }
}
