//! One life as a page: a single file that needs nothing else, to be looked at in any browser.
//!
//! Hosts are lanes, messages arrows, faults shaded spans; above them stands what each game's record
//! said over time. What a host is told and what a table row says is text, never markup.

use std::fmt::Write as _;

use serde::Serialize;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// Everything that the page shows. Lists are in the order of time, which is in simulated
/// microseconds from the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Story {
    /// The heading.
    pub title: String,
    /// What the run was made of and came to: names and values.
    pub facts: Vec<(String, String)>,
    /// When it ended.
    pub end_us: u64,
    /// The hosts, from top to bottom.
    pub lanes: Vec<Lane>,
    /// The records over time.
    pub games: Vec<GameLine>,
    /// What passed between hosts.
    pub arrows: Vec<Arrow>,
    /// What happened at one host at one instant.
    pub marks: Vec<Mark>,
    /// What went wrong, and for how long.
    pub bands: Vec<Band>,
    /// The promise that was broken, where one was.
    pub broken: Option<Broken>,
}

/// A host.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Shown also where it has no part in the game that was chosen.
    pub always: bool,
}

/// What the record of a game said.
#[derive(Clone, Debug, Serialize)]
pub struct GameLine {
    /// Which.
    pub game: String,
    /// Each until the next one.
    pub spans: Vec<StatusSpan>,
}

/// A status, from an instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusSpan {
    /// Since when.
    pub at_us: u64,
    /// The status.
    pub status: String,
    /// The recorded turn.
    pub turn: u32,
}

/// What travels over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrowKind {
    /// A request or an answer.
    Http,
    /// To or from the store.
    Store,
    /// To or from the streams.
    Stream,
}

/// Something that one host sends another.
#[derive(Clone, Debug, Serialize)]
pub struct Arrow {
    /// When it left.
    pub at_us: u64,
    /// When it arrived; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived_us: Option<u64>,
    /// The lane it leaves.
    pub from: usize,
    /// The lane it goes to.
    pub to: usize,
    /// What it is.
    pub kind: ArrowKind,
    /// What it says.
    pub label: String,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game: Option<String>,
    /// Whether it brings a failure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bad: bool,
}

/// Something that happens at one host.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    /// When.
    pub at_us: u64,
    /// Where.
    pub lane: usize,
    /// What.
    pub label: String,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game: Option<String>,
    /// Whether it is a failure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bad: bool,
}

/// What kind of trouble a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BandKind {
    /// A host does not run.
    Down,
    /// Two hosts cannot reach each other, or not as they should.
    Cut,
    /// A host takes its time, or answers nonsense.
    Slow,
    /// A clock is off.
    Clock,
    /// Anything else.
    Other,
}

/// A fault.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    /// Since when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
    /// At which host.
    pub lane: usize,
    /// And which other one, where it is between two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<usize>,
    /// What kind.
    pub kind: BandKind,
    /// What.
    pub label: String,
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// When it was noticed.
    pub at_us: u64,
    /// Which.
    pub promise: String,
    /// What was seen.
    pub text: String,
    /// Of which game.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game: Option<String>,
}

impl Story {
    /// The page.
    pub fn to_html(&self) -> Result<String, serde_json::Error> {
        // Nothing in the data can end the element it stands in.
        let data = serde_json::to_string(self)?.replace('<', "\\u003c");
        let parts = [
            ("{{title}}", escaped(&self.title)),
            ("{{style}}", STYLE.to_owned()),
            ("{{story}}", data),
            ("{{script}}", SCRIPT.to_owned()),
        ];
        Ok(filled(PAGE, &parts))
    }
}

/// Puts each part in its places, in one pass: what a part holds is not looked at again.
fn filled(page: &str, parts: &[(&str, String)]) -> String {
    let mut html =
        String::with_capacity(page.len() + parts.iter().map(|p| p.1.len()).sum::<usize>());
    let mut rest = page;
    let next = |rest: &str| {
        let places = parts.iter().filter_map(|(name, part)| Some((rest.find(name)?, *name, part)));
        places.min_by_key(|(at, _, _)| *at).map(|(at, name, part)| (at, name.len(), part.clone()))
    };
    while let Some((at, length, part)) = next(rest) {
        html.push_str(&rest[..at]);
        html.push_str(&part);
        rest = &rest[at + length..];
    }
    html.push_str(rest);
    html
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            _ => safe.push(c),
        }
    }
    safe
}
