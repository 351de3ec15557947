//! What was found of each rule.

use std::collections::BTreeMap;

use serde::Serialize;

use super::probe::Evidence;
use super::rule::{Level, Rule, http};

/// Most pieces of evidence that are kept for one rule.
const MAX_EVIDENCE: usize = 3;

/// What was found of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finding {
    /// It held whenever it was looked at.
    Pass,
    /// It did not.
    Fail {
        /// What was seen, the first few times.
        evidence: Vec<Evidence>,
        /// How often it was seen beyond those.
        more: usize,
    },
    /// It was not looked at.
    Skip {
        /// Why not.
        reason: String,
    },
}

/// A rule and what was found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The rule.
    pub rule: Rule,
    /// What was found.
    pub finding: Finding,
}

/// Every rule of a neighbour, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was found.
    pub found: Vec<Found>,
    /// Why the check was cut short, where it was.
    pub ended: Option<String>,
}

impl Report {
    /// Whether the check got to its end and saw no rule broken that must hold.
    pub fn holds(&self) -> bool {
        self.ended.is_none() && !self.failed().any(|rule| rule.level == Level::Must)
    }

    /// The rules seen broken.
    pub fn failed(&self) -> impl Iterator<Item = &Rule> {
        let failed = |found: &&Found| matches!(found.finding, Finding::Fail { .. });
        self.found.iter().filter(failed).map(|found| &found.rule)
    }
}

/// Where the findings are noted while the check goes on.
///
/// A failure stays, whatever is found afterwards; a rule that was seen to hold is not skipped.
pub(super) struct Sheet {
    rules: Vec<Rule>,
    findings: BTreeMap<&'static str, Finding>,
}

impl Sheet {
    /// With a neighbour's own rules behind those of every neighbour.
    pub(super) fn new(own: &[Rule]) -> Self {
        let rules = http::ALL.iter().chain(own).copied().collect();
        Self { rules, findings: BTreeMap::new() }
    }

    pub(super) fn pass(&mut self, rule: Rule) {
        match self.findings.get(rule.id) {
            Some(Finding::Fail { .. }) => {}
            Some(Finding::Pass | Finding::Skip { .. }) | None => {
                self.findings.insert(rule.id, Finding::Pass);
            }
        }
    }

    pub(super) fn fail(&mut self, rule: Rule, seen: Evidence) {
        if let Some(Finding::Fail { evidence, more }) = self.findings.get_mut(rule.id) {
            if evidence.len() < MAX_EVIDENCE {
                evidence.push(seen);
            } else {
                *more = more.saturating_add(1);
            }
            return;
        }
        self.findings.insert(rule.id, Finding::Fail { evidence: vec![seen], more: 0 });
    }

    pub(super) fn skip(&mut self, rule: Rule, reason: impl Into<String>) {
        let reason = reason.into();
        self.findings.entry(rule.id).or_insert(Finding::Skip { reason });
    }

    pub(super) fn check(&mut self, rule: Rule, holds: bool, seen: impl FnOnce() -> Evidence) {
        if holds {
            self.pass(rule);
        } else {
            self.fail(rule, seen());
        }
    }

    pub(super) fn has_failed(&self, rule: Rule) -> bool {
        matches!(self.findings.get(rule.id), Some(Finding::Fail { .. }))
    }

    /// The report; `ended` is why the check was cut short.
    pub(super) fn into_report(mut self, ended: Option<String>) -> Report {
        let reason = ended.as_deref().unwrap_or("there was no occasion");
        let found = |rule: &Rule| {
            let skipped = || Finding::Skip { reason: reason.to_owned() };
            let finding = self.findings.remove(rule.id).unwrap_or_else(skipped);
            Found { rule: *rule, finding }
        };
        Report { found: self.rules.iter().map(found).collect(), ended }
    }
}
