//! Tables of numbers, and their text in the exposition format of Prometheus (version 0.0.4).
//!
//! Not the `metrics` crate and its exporter: those take any label at any time, and keep every
//! sample of a histogram until somebody asks. Here the values of a label are an enum, a table has
//! its full size from the start, an update is an atomic addition or two, and nothing grows.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::labels::Label;

/// What a metric is called, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

/// The dimensions of a metric.
pub(super) trait Labels {
    const COUNT: usize;

    fn index(self) -> usize;

    fn values(index: usize) -> Vec<&'static str>;
}

impl Labels for () {
    const COUNT: usize = 1;

    fn index(self) -> usize {
        0
    }

    fn values(_: usize) -> Vec<&'static str> {
        vec![]
    }
}

impl<A: Label> Labels for (A,) {
    const COUNT: usize = A::COUNT;

    fn index(self) -> usize {
        self.0.index()
    }

    fn values(index: usize) -> Vec<&'static str> {
        vec![A::name(index)]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn values(index: usize) -> Vec<&'static str> {
        vec![A::name(index / B::COUNT), B::name(index % B::COUNT)]
    }
}

/// A number, or several that belong together.
pub(super) trait Number: Default {
    const KIND: &'static str;

    fn write(&self, out: &mut String, name: &str, labels: &str);
}

/// A metric: a number for each value of its labels.
pub(super) struct Family<L, N> {
    about: About,
    numbers: Box<[N]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels, N: Number> Family<L, N> {
    pub(super) fn new(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        let numbers = (0..L::COUNT).map(|_| N::default()).collect();
        Self { about: About { name, help, labels }, numbers, labels: PhantomData }
    }

    /// The number of some labels.
    pub(super) fn at(&self, labels: L) -> &N {
        // Labels count their values themselves, and a table has as many places.
        &self.numbers[labels.index()]
    }
}

/// A metric whose type does not matter any more.
pub(super) trait Metric {
    fn about(&self) -> (About, &'static str);

    fn write(&self, out: &mut String);
}

impl<L: Labels, N: Number> Metric for Family<L, N> {
    fn about(&self) -> (About, &'static str) {
        (self.about, N::KIND)
    }

    fn write(&self, out: &mut String) {
        head(out, self.about.name, N::KIND, self.about.help);
        for (index, number) in self.numbers.iter().enumerate() {
            let mut labels = String::new();
            for (name, value) in self.about.labels.iter().zip(L::values(index)) {
                let comma = if labels.is_empty() { "" } else { "," };
                // Writing to a string does not fail.
                let _ = write!(labels, "{comma}{name}=\"{value}\"");
            }
            number.write(out, self.about.name, &labels);
        }
    }
}

/// The lines that introduce a metric.
pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One line: a series and its value.
pub(super) fn sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// Grows.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// For what is counted elsewhere.
    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

impl Number for Counter {
    const KIND: &'static str = "counter";

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, self.0.load(Ordering::Relaxed));
    }
}

/// Goes up and down.
#[derive(Default)]
pub(super) struct Gauge(AtomicI64);

impl Gauge {
    pub(super) fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(super) fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

impl Number for Gauge {
    const KIND: &'static str = "gauge";

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, self.0.load(Ordering::Relaxed));
    }
}

/// A time that goes up and down: kept in milliseconds, shown in seconds.
#[derive(Default)]
pub(super) struct Seconds(AtomicI64);

impl Seconds {
    pub(super) fn set_millis(&self, millis: i64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

impl Number for Seconds {
    const KIND: &'static str = "gauge";

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let millis = self.0.load(Ordering::Relaxed);
        let sign = if millis < 0 { "-" } else { "" };
        let (whole, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
        sample(out, name, labels, format_args!("{sign}{whole}.{rest:03}"));
    }
}

/// The upper bounds of the buckets: microseconds, and the same in seconds as text.
const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (60_000_000, "60"),
    (300_000_000, "300"),
];

/// How long things took.
#[derive(Default)]
pub(super) struct Histogram {
    /// Each observation is in one bucket; the last one holds what is above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| micros <= *bound).unwrap_or(BOUNDS.len());
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

impl Number for Histogram {
    const KIND: &'static str = "histogram";

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let mut count = 0;
        for (bound, bucket) in bounds.zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
        }
        let sum = self.sum_micros.load(Ordering::Relaxed);
        let seconds = format!("{}.{:06}", sum / 1_000_000, sum % 1_000_000);
        sample(out, &format!("{name}_sum"), labels, seconds);
        sample(out, &format!("{name}_count"), labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::{CacheOutcome, Peer};
    use super::*;

    fn text(metric: &impl Metric) -> String {
        let mut out = String::new();
        metric.write(&mut out);
        out
    }

    #[test]
    fn each_pair_of_labels_has_a_place_of_its_own_from_the_start() {
        let family: Family<(Peer, CacheOutcome), Counter> =
            Family::new("x_total", &["peer", "outcome"], "Why.");
        family.at((Peer::Lobby, CacheOutcome::Miss)).add(3);
        assert_eq!(
            text(&family),
            "# HELP x_total Why.\n# TYPE x_total counter\n\
             x_total{peer=\"engine\",outcome=\"hit\"} 0\n\
             x_total{peer=\"engine\",outcome=\"miss\"} 0\n\
             x_total{peer=\"lobby\",outcome=\"hit\"} 0\n\
             x_total{peer=\"lobby\",outcome=\"miss\"} 3\n\
             x_total{peer=\"rtm\",outcome=\"hit\"} 0\n\
             x_total{peer=\"rtm\",outcome=\"miss\"} 0\n"
        );
    }

    #[test]
    fn buckets_add_up_and_a_bound_belongs_to_its_bucket() {
        let family: Family<(), Histogram> = Family::new("y_seconds", &[], "How long.");
        for micros in [500, 501, 1_000_000, 301_000_000] {
            family.at(()).observe(Duration::from_micros(micros));
        }
        let text = text(&family);
        for line in [
            "y_seconds_bucket{le=\"0.0005\"} 1",
            "y_seconds_bucket{le=\"0.001\"} 2",
            "y_seconds_bucket{le=\"0.5\"} 2",
            "y_seconds_bucket{le=\"1\"} 3",
            "y_seconds_bucket{le=\"300\"} 3",
            "y_seconds_bucket{le=\"+Inf\"} 4",
            "y_seconds_sum 302.001001",
            "y_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let family: Family<(), Seconds> = Family::new("z_seconds", &[], "When.");
        family.at(()).set_millis(-1_050);
        assert!(text(&family).ends_with("z_seconds -1.050\n"));
    }
}
