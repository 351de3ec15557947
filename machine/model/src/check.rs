//! Searching a world to its end, and what came of it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::action::Action;
use crate::catalog::Invalid;
use crate::configs::Config;
use crate::report;
use crate::state::State;
use crate::system::System;
use crate::variants::Variant;

/// How often the progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);
/// How often the checker is asked whether it is done.
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// What came of searching a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The world.
    pub config: Config,
    /// How many different states there are.
    pub states: usize,
    /// How often a state was reached.
    pub generated: usize,
    /// The longest way searched.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The most memory that the process has held so far, in bytes; 0 where it cannot be told.
    pub peak_memory_bytes: u64,
    /// Each property, and whether it is as it should be.
    pub verdicts: Vec<Verdict>,
}

/// How a property fares in a world.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// Whether it is one that must hold always, or one that must be seen somewhere.
    pub always: bool,
    /// Whether it holds, or was seen.
    pub good: bool,
    /// Where it must hold and does not: the shortest story of how it comes to that.
    pub story: Option<String>,
}

impl Outcome {
    /// Whether all that must hold does.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.good || !verdict.always)
    }

    /// Different states for each second.
    pub fn states_per_second(&self) -> f64 {
        // Far below 2^52: exact.
        #[expect(clippy::cast_precision_loss, reason = "a count of states, for people")]
        let states = self.states as f64;
        states / self.took.as_secs_f64().max(0.001)
    }
}

/// Searches a world to its end on this many threads, telling of it on standard error.
pub fn right(config: Config, threads: usize, quiet: bool) -> Result<Outcome, Invalid> {
    let system = System::right(config)?;
    let checker =
        system.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_dfs();
    let mut progress = Progress { name: config.name, quiet, told: Duration::ZERO, last: None };
    let checker = checker.report(&mut progress);
    let took = progress.last.unwrap_or_default();
    let found = checker.discoveries();
    let mut verdicts = vec![];
    for property in checker.model().properties() {
        let always = property.expectation.discovery_is_failure();
        let good = found.contains_key(property.name) != always;
        let story = if good || !always { None } else { shortest(config, property.name)? };
        verdicts.push(Verdict { name: property.name, always, good, story });
    }
    Ok(Outcome {
        config,
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took,
        peak_memory_bytes: peak_memory_bytes(),
        verdicts,
    })
}

/// The depth-first search finds a way, one after the other in breadth finds the shortest.
fn shortest(config: Config, name: &'static str) -> Result<Option<String>, Invalid> {
    let wanted = HasDiscoveries::AnyOf([name].into());
    // Whoever waits is to know that there is something to wait for.
    let _ = writeln!(std::io::stderr(), "  {}: {name} is BROKEN; how?", config.name);
    let checker = System::right(config)?.checker().finish_when(wanted).spawn_bfs().join();
    Ok(checker.discoveries().get(name).map(tell))
}

/// The shortest way to see what is wrong with a variant; nothing where the checker is blind to it.
pub fn wrong(variant: Variant) -> Result<Option<Counterexample>, Invalid> {
    // One thread: breadth first is shortest first only then.
    let checker = System::wrong(variant)?.checker().spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().remove(variant.breaks().name());
    Ok(found.map(|path| Counterexample {
        steps: path.clone().into_actions().len(),
        states,
        story: tell(&path),
    }))
}

/// How a wrong variant is found out.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// How many steps it takes.
    pub steps: usize,
    /// How many states were looked at before it was found.
    pub states: usize,
    /// The steps.
    pub story: String,
}

fn tell(path: &Path<State, Action>) -> String {
    let mut told = report::story(path);
    told.push_str("     and now\n");
    for line in format!("{:?}", path.last_state()).lines() {
        told.push_str("       ");
        told.push_str(line);
        told.push('\n');
    }
    told
}

/// The most memory this process has held, from where Linux tells it.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

struct Progress {
    name: &'static str,
    quiet: bool,
    told: Duration,
    last: Option<Duration>,
}

impl Reporter<System> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        self.last = Some(data.duration);
        if self.quiet || data.done || data.duration < self.told + PROGRESS_PERIOD {
            return;
        }
        self.told = data.duration;
        // Progress that nobody reads is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "  {}: {} states of {} reached, depth {}, {} s, {} MiB",
            self.name,
            data.unique_states,
            data.total_states,
            data.max_depth,
            data.duration.as_secs(),
            peak_memory_bytes() >> 20,
        );
    }

    fn report_discoveries(
        &mut self,
        _: &System,
        _: BTreeMap<&'static str, ReportDiscovery<System>>,
    ) {
    }

    fn delay(&self) -> Duration {
        POLL_PERIOD
    }
}
