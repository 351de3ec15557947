//! What many lives came to, together.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::plan::Trouble;
use sim::run::Report;

pub(super) type Counts = BTreeMap<String, u64>;

/// How often a fault struck at all, among the statuses of the games that it struck.
pub(super) const TIMES: &str = "times";

/// Sums over lives.
#[derive(Default)]
pub(super) struct Total {
    /// By profile: how many there were, and how long.
    pub(super) spans: BTreeMap<&'static str, Span>,
    /// Lines of all traces.
    pub(super) events: u64,
    pub(super) struck: BTreeMap<String, Counts>,
    pub(super) crashes: Counts,
    pub(super) touched: Counts,
    pub(super) changes: Counts,
    pub(super) deeds: Counts,
    pub(super) checked: Counts,
    pub(super) broken: Vec<u64>,
}

/// How long lives took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lives: u64,
    pub(super) simulated_ms: u64,
    /// Each by the clock on the wall, one after the other.
    pub(super) took: Duration,
}

impl Span {
    /// Simulated time for each second that passed.
    pub(super) fn ratio(&self) -> f64 {
        let took_ms = self.took.as_secs_f64() * 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
        let simulated_ms = self.simulated_ms as f64;
        if took_ms > 0.0 { simulated_ms / took_ms } else { 0.0 }
    }
}

fn add(to: &mut Counts, from: &Counts) {
    for (name, count) in from {
        *to.entry(name.clone()).or_default() += count;
    }
}

impl Total {
    /// One more life, which took so long.
    pub(super) fn add(&mut self, report: &Report, took: Duration) {
        let span = self.spans.entry(report.profile.as_str()).or_default();
        span.lives += 1;
        span.simulated_ms += report.simulated_ms;
        span.took += took;
        self.events += report.lines;
        for (name, counts) in &report.struck {
            add(self.struck.entry(name.clone()).or_default(), counts);
        }
        add(&mut self.crashes, &report.crashes);
        add(&mut self.touched, &report.touched);
        add(&mut self.changes, &report.changes);
        add(&mut self.deeds, &report.deeds);
        add(&mut self.checked, &report.checked);
        if !report.broken.is_empty() {
            self.broken.push(report.seed);
        }
    }

    /// How many there were.
    pub(super) fn lives(&self) -> u64 {
        self.spans.values().map(|span| span.lives).sum()
    }

    /// How much time passed in all of them.
    pub(super) fn simulated_ms(&self) -> u64 {
        self.spans.values().map(|span| span.simulated_ms).sum()
    }

    /// How often a fault struck.
    pub(super) fn times(&self, fault: &str) -> u64 {
        self.struck.get(fault).and_then(|counts| counts.get(TIMES)).copied().unwrap_or_default()
    }

    /// All strikes of all faults.
    pub(super) fn strikes(&self) -> u64 {
        Trouble::NAMES.iter().map(|name| self.times(name)).sum()
    }

    /// The faults that struck fewer times than they should.
    pub(super) fn rarer_than(&self, least: u64) -> Vec<&'static str> {
        Trouble::NAMES.into_iter().filter(|name| self.times(name) < least).collect()
    }

    /// Everything, for a program.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let spans: BTreeMap<_, _> = self
            .spans
            .iter()
            .map(|(profile, span)| {
                let span = serde_json::json!({
                    "lives": span.lives,
                    "simulated_ms": span.simulated_ms,
                    "took_ms": u64::try_from(span.took.as_millis()).unwrap_or(u64::MAX),
                    "simulated_to_real": span.ratio(),
                });
                (*profile, span)
            })
            .collect();
        serde_json::json!({
            "lives": self.lives(),
            "simulated_ms": self.simulated_ms(),
            "events": self.events,
            "profiles": spans,
            "faults": self.struck,
            "crashes": self.crashes,
            "points": self.touched,
            "changes": self.changes,
            "deeds": self.deeds,
            "checked": self.checked,
            "failed_seeds": self.broken,
        })
    }
}
