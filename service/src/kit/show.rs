//! A report for people, for programs, and the rules for the documentation.

use std::fmt::Write as _;

use serde::Serialize;

use super::probe::Evidence;
use super::rule::{Level, Rule};
use super::sheet::{Finding, Found, Report};

/// What stands for a finding.
pub struct Marks {
    pass: &'static str,
    fail: &'static str,
    warn: &'static str,
    skip: &'static str,
}

impl Marks {
    /// For a terminal that shows them.
    pub const SIGNS: Self = Self { pass: "✓", fail: "✗", warn: "!", skip: "–" };
    /// For everything else.
    pub const WORDS: Self = Self { pass: "ok", fail: "FAIL", warn: "WARN", skip: "skip" };

    fn of(&self, found: &Found) -> &'static str {
        match (&found.finding, found.rule.level) {
            (Finding::Pass, Level::Must | Level::Should) => self.pass,
            (Finding::Fail { .. }, Level::Must) => self.fail,
            (Finding::Fail { .. }, Level::Should) => self.warn,
            (Finding::Skip { .. }, Level::Must | Level::Should) => self.skip,
        }
    }

    fn width(&self) -> usize {
        let all = [self.pass, self.fail, self.warn, self.skip];
        all.iter().map(|mark| mark.chars().count()).max().unwrap_or(0)
    }
}

/// A line for each rule, what was seen under those that do not hold, and the sum of it.
pub fn table(report: &Report, marks: &Marks) -> String {
    let (mark_width, id_width) = (marks.width(), id_width(report));
    let indent = " ".repeat(mark_width + 2);
    let mut out = String::new();
    // Writing to a string does not fail, here and below.
    for found in &report.found {
        let (mark, id) = (marks.of(found), found.rule.id);
        let _ = writeln!(out, "{mark:mark_width$}  {id:id_width$}  {}", found.rule.holds);
        match &found.finding {
            Finding::Pass => {}
            Finding::Skip { reason } => {
                let _ = writeln!(out, "{indent}  not looked at: {reason}");
            }
            Finding::Fail { evidence, more } => {
                for Evidence { request, found, .. } in evidence {
                    let _ = writeln!(out, "{indent}  {request}\n{indent}    {found}");
                }
                if *more > 0 {
                    let _ = writeln!(out, "{indent}  and {more} more like these");
                }
                let _ = writeln!(out, "{indent}  why: {}", found.rule.why);
            }
        }
    }
    let _ = writeln!(out, "\n{}", summary(report));
    out
}

fn id_width(report: &Report) -> usize {
    report.found.iter().map(|found| found.rule.id.len()).max().unwrap_or(0)
}

fn summary(report: &Report) -> String {
    let count = |wanted: fn(&Found) -> bool| report.found.iter().filter(|f| wanted(f)).count();
    let passed = count(|f| matches!(f.finding, Finding::Pass));
    let skipped = count(|f| matches!(f.finding, Finding::Skip { .. }));
    let broken = report.failed().filter(|rule| rule.level == Level::Must).count();
    let warned = report.failed().filter(|rule| rule.level == Level::Should).count();
    let verdict = match (&report.ended, broken) {
        (Some(reason), _) => format!("Cut short: {reason}."),
        (None, 0) => "Game Master can work with it.".to_owned(),
        (None, _) => "Game Master cannot work with it.".to_owned(),
    };
    format!("{passed} hold, {broken} broken, {warned} warnings, {skipped} not looked at. {verdict}")
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    level: Level,
    holds: &'a str,
    why: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// A JSON array with an element for each rule.
pub fn json(report: &Report) -> String {
    let line = |found: &'_ Found| {
        let Rule { id, level, holds, why } = found.rule;
        serde_json::to_value(Line { id, level, holds, why, finding: &found.finding })
    };
    let lines: Result<Vec<_>, _> = report.found.iter().map(line).collect();
    let text = lines.and_then(|lines| serde_json::to_string_pretty(&lines));
    // Texts and numbers always serialise; were it otherwise, an empty array would say that no rule
    // was looked at, which is then so.
    format!("{}\n", text.unwrap_or_else(|_| "[]".into()))
}

/// The rules as a table for the documentation.
pub fn markdown(rules: &[Rule]) -> String {
    let mut out = "| rule | level | what holds | why |\n| --- | --- | --- | --- |\n".to_owned();
    for Rule { id, level, holds, why } in rules {
        let _ = writeln!(out, "| `{id}` | {} | {holds} | {why} |", level.name());
    }
    out
}
