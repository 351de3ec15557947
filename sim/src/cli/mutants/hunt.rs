//! Seed after seed with a mutant on, until a promise breaks.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sim::plan::StoreKind;
use sim::run::{BrokenPromise, Report};

use super::Mutant;
use crate::cli::child::Lives;
use crate::cli::fuzz::{Lived, now};

/// What became of a hunt.
pub(super) struct Hunted {
    /// Of whom.
    pub(super) mutant: Mutant,
    /// What gave it away; nothing: it was not found.
    pub(super) found: Option<Found>,
    /// How many lives that took.
    pub(super) lives: u64,
    /// And how long.
    pub(super) took: Duration,
}

/// What gave a mutant away.
pub(super) struct Found {
    /// In which life.
    pub(super) seed: u64,
    /// What the records were kept in.
    pub(super) store: StoreKind,
    /// What broke.
    pub(super) broken: BrokenPromise,
}

/// Hunts one after the other. How each hunt ended is seen at once: all of them take long.
pub(super) fn all(
    lives: &Lives,
    mutants: &[Mutant],
    (budget, jobs): (u64, u8),
    seen: &dyn Fn(&[Hunted]) -> io::Result<()>,
) -> io::Result<Vec<Hunted>> {
    let bar = ProgressBar::new(budget);
    let style = ProgressStyle::with_template("{elapsed_precise} {prefix} {wide_bar} {pos} lives");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut hunted = vec![];
    for (number, mutant) in (1..).zip(mutants) {
        bar.reset();
        bar.set_prefix(format!("{number} of {}: {}", mutants.len(), mutant.name));
        let one = one(lives, mutant, (budget, jobs), &bar)?;
        let outcome = match &one.found {
            Some(found) => format!("seed {}: {}", found.seed, found.broken.promise),
            None => format!("NOT FOUND in {} lives", one.lives),
        };
        bar.suspend(|| eprintln!("{number} of {}: {}: {outcome}", mutants.len(), mutant.name));
        hunted.push(one);
        seen(&hunted)?;
    }
    bar.finish_and_clear();
    Ok(hunted)
}

fn one(
    lives: &Lives,
    mutant: &Mutant,
    (budget, jobs): (u64, u8),
    bar: &ProgressBar,
) -> io::Result<Hunted> {
    let (began, stop) = (now(), AtomicBool::new(false));
    let mut first: Option<Report> = None;
    let mut trouble = None;
    let switched = lives.with(&mutant.name);
    let goes_on = || !stop.load(Ordering::Relaxed);
    let mut count = 0;
    let mut seen = |seed, report: io::Result<Report>, _| {
        count += 1;
        bar.inc(1);
        match report {
            Ok(report) if report.broken.is_empty() => return,
            Ok(report) if first.as_ref().is_none_or(|first| seed < first.seed) => {
                first = Some(report);
            }
            Ok(_) => {}
            Err(error) => trouble = Some(error),
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (lives_of_it, seeds, how) = (&switched, 0..budget, &mutant.how);
    Lived { lives: lives_of_it, seeds, how, jobs, twice_every: None }.all(&goes_on, &mut seen);
    let found = match (first, trouble) {
        (Some(report), _) => Some(found(lives, mutant, report)?),
        (None, Some(error)) => return Err(error),
        (None, None) => None,
    };
    Ok(Hunted { mutant: mutant.clone(), found, lives: count, took: began.elapsed() })
}

/// A life that breaks its promises without the mutant too says nothing of it.
fn found(lives: &Lives, mutant: &Mutant, report: Report) -> io::Result<Found> {
    let Report { seed, store, broken, .. } = report;
    let without = lives.live(&mutant.how.plan(seed), false)?;
    if let Some(broken) = without.broken.first() {
        let options = mutant.how.options();
        let why = format!("seed {seed}{options} breaks {} with no mutant on", broken.promise);
        return Err(io::Error::other(why));
    }
    let broken = broken.into_iter().next().ok_or_else(|| io::Error::other("nothing broke"))?;
    Ok(Found { seed, store, broken })
}
