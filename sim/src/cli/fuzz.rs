//! Many seeds.

use std::io;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sim::run::Report;

use super::child::Lives;
use super::{How, duration, page_of_failure, seeds, tell};

/// How often there is a line where nobody could see a bar.
const LIVES_A_LINE: u64 = 10;

/// Of `gm-sim fuzz`.
#[derive(clap::Args)]
pub(super) struct FuzzArgs {
    /// From one seed to below another.
    #[arg(long, value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// For so long, from the first seed on (90s, 10m, 2h).
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    for_: Option<Duration>,
    /// So many at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    how: How,
}

/// A number of lives, one after the other in each of some threads; what each report says is seen in
/// the order in which they end. Answers how many there were.
pub(super) fn all(
    lives: &Lives,
    seeds: Range<u64>,
    how: &How,
    jobs: u8,
    goes_on: &(dyn Fn() -> bool + Sync),
    seen: &mut (dyn FnMut(u64, io::Result<Report>) + Send),
) -> u64 {
    let (next, count) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let seen = Mutex::new(seen);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while goes_on() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let report = lives.live(&how.plan(seed), false);
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    (**seen)(seed, report);
                }
            });
        }
    });
    count.into_inner()
}

pub(super) fn fuzz(lives: &Lives, args: &FuzzArgs) -> io::Result<ExitCode> {
    let FuzzArgs { seeds, for_, jobs, keep_going, how } = args;
    let first = seeds.as_ref().map_or(0, |seeds| seeds.start);
    let end = seeds.as_ref().map_or(if for_.is_some() { u64::MAX } else { 100 }, |s| s.end);
    #[expect(clippy::disallowed_methods, reason = "how long people want to wait")]
    let now = Instant::now;
    let deadline = for_.map(|for_| now() + for_);
    let bar =
        if end == u64::MAX { ProgressBar::new_spinner() } else { ProgressBar::new(end - first) };
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos} lives, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let stop = AtomicBool::new(false);
    let goes_on =
        || !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| now() < deadline);
    let (mut failed, mut simulated_ms, mut events) = (Vec::new(), 0_u64, 0_u64);
    let mut trouble = None;
    let count = all(lives, first..end, how, *jobs, &goes_on, &mut |seed, report| {
        bar.inc(1);
        if bar.is_hidden() && bar.position().is_multiple_of(LIVES_A_LINE) {
            eprintln!("{} lives, up to seed {seed}", bar.position());
        }
        match report {
            Ok(report) => {
                simulated_ms += report.simulated_ms;
                events += report.lines;
                if !report.broken.is_empty() {
                    let command = format!("gm-sim run --seed {seed}{}", how.options());
                    if !how.json {
                        bar.suspend(|| println!("{}", tell::report(&report, &command)));
                    }
                    failed.push((seed, report));
                }
            }
            Err(error) => {
                trouble = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
        }
        let hours = simulated_ms / 3_600_000;
        bar.set_message(format!("{hours} h simulated, {} failed", failed.len()));
        if !failed.is_empty() && !keep_going {
            stop.store(true, Ordering::Relaxed);
        }
    });
    bar.finish_and_clear();
    if let Some(error) = trouble {
        return Err(error);
    }
    failed.sort_by_key(|(seed, _)| *seed);
    // One is enough to begin with.
    if let Some((seed, report)) = failed.first() {
        page_of_failure(lives, &how.plan(*seed), report)?;
    }
    if how.json {
        let broken: Vec<&Report> = failed.iter().map(|(_, report)| report).collect();
        let summary = serde_json::json!({
            "lives": count,
            "simulated_ms": simulated_ms,
            "events": events,
            "failed": broken,
        });
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        let seconds = simulated_ms / 1000;
        let failures = failed.len();
        println!("{count} lives, {seconds} s simulated, {events} events, {failures} failed");
        for (seed, report) in &failed {
            let promise = report.broken.first().map_or("?", |broken| broken.promise.as_str());
            println!("  seed {seed}: {promise}");
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
