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
use super::total::Total;
use super::{How, duration, page_of_failure, seeds, tell};

/// How often there is a line where nobody could see a bar.
const LIVES_A_LINE: u64 = 25;

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
    /// Live every so-manieth seed twice, and compare the traces.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    twice_every: Option<u64>,
    /// Fail where a kind of fault struck fewer times than this.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    least: u64,
    #[command(flatten)]
    how: How,
}

/// What is lived, and how.
pub(super) struct Lived<'a> {
    pub(super) lives: &'a Lives,
    pub(super) seeds: Range<u64>,
    pub(super) how: &'a How,
    pub(super) jobs: u8,
    pub(super) twice_every: Option<u64>,
}

impl Lived<'_> {
    /// One life after the other in each of some threads, as long as it `goes_on`; what each report
    /// says is seen in the order in which they end, with how long the life took.
    pub(super) fn all(
        &self,
        goes_on: &(dyn Fn() -> bool + Sync),
        seen: &mut (dyn FnMut(u64, io::Result<Report>, Duration) + Send),
    ) {
        let next = AtomicU64::new(self.seeds.start);
        let seen = Mutex::new(seen);
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while goes_on() {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            break;
                        }
                        let began = now();
                        let report = self.live(seed);
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        (**seen)(seed, report, began.elapsed());
                    }
                });
            }
        });
    }

    fn live(&self, seed: u64) -> io::Result<Report> {
        let plan = self.how.plan(seed);
        let report = self.lives.live(&plan, false)?;
        let is_lived_twice = self.twice_every.is_some_and(|every| seed.is_multiple_of(every));
        if is_lived_twice && report.broken.is_empty() {
            let again = self.lives.live(&plan, false)?;
            if again.hash != report.hash {
                let (first, second) = (&report.hash, &again.hash);
                let how = format!("lived twice, it gave the traces {first} and {second}");
                return Ok(Report::of_none(&plan, "the_same_seed_gives_the_same_trace", how));
            }
        }
        Ok(report)
    }
}

#[expect(clippy::disallowed_methods, reason = "how long people wait")]
pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn fuzz(lives: &Lives, args: &FuzzArgs) -> io::Result<ExitCode> {
    let FuzzArgs { seeds, for_, jobs, keep_going, twice_every, least, how } = args;
    let first = seeds.as_ref().map_or(0, |seeds| seeds.start);
    let end = seeds.as_ref().map_or(if for_.is_some() { u64::MAX } else { 100 }, |s| s.end);
    let deadline = for_.map(|for_| now() + for_);
    let bar = bar(first..end);
    let stop = AtomicBool::new(false);
    let goes_on =
        || !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| now() < deadline);
    let (mut failed, mut total, mut trouble) = (Vec::new(), Total::default(), None);
    let (seeds, twice_every) = (first..end, *twice_every);
    let lived = Lived { lives, seeds, how, jobs: *jobs, twice_every };
    lived.all(&goes_on, &mut |seed, report, took| {
        match report {
            Ok(report) => {
                total.add(&report, took);
                if !report.broken.is_empty() {
                    let again = how.again(seed, lives).unwrap_or_else(|error| error.to_string());
                    if !how.json {
                        bar.suspend(|| println!("{}", tell::report(&report, &again)));
                    }
                    failed.push((seed, report));
                }
            }
            Err(error) => {
                trouble = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
        }
        tick(&bar, seed, &total);
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
    let rare = total.rarer_than(*least);
    if how.json {
        let mut summary = total.to_json();
        summary["failed"] =
            serde_json::to_value(failed.iter().map(|(_, r)| r).collect::<Vec<_>>())?;
        summary["struck_too_rarely"] = serde_json::to_value(&rare)?;
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{}", tell::total(&total));
        for (seed, report) in &failed {
            let promise = report.broken.first().map_or("?", |broken| broken.promise.as_str());
            println!("  seed {seed}: {promise}");
        }
        for name in &rare {
            println!("struck too rarely: {name}, {} times of {least}", total.times(name));
        }
    }
    let holds = failed.is_empty() && rare.is_empty();
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn bar(seeds: Range<u64>) -> ProgressBar {
    let bar = if seeds.end == u64::MAX {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::new(seeds.end - seeds.start)
    };
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos} lives, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// One life more: in the bar, or now and then in a line where nobody could see one.
fn tick(bar: &ProgressBar, seed: u64, total: &Total) {
    bar.inc(1);
    let (hours, strikes) = (total.simulated_ms() / 3_600_000, total.strikes());
    let failed = total.broken.len();
    bar.set_message(format!("{hours} h simulated, {strikes} faults, {failed} failed"));
    if bar.is_hidden() && bar.position().is_multiple_of(LIVES_A_LINE) {
        let lives = bar.position();
        eprintln!("{lives} lives, up to seed {seed}: {strikes} faults, {failed} failed");
    }
}
