//! One life, from the plan to the report.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machine::Timestamp;
use serde::{Deserialize, Serialize};
use service::ports::Clock as _;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::board::lock;
use crate::books::Books;
use crate::chronicle::Chronicle;
use crate::faults::Faults;
use crate::oracle::{Broken, Unrest};
use crate::pace::Pace;
use crate::plan::{Plan, Profile, StoreKind};
use crate::record::Recorder;
use crate::seams::SimClock;
use crate::world::World;

/// Ticks between two comparisons of all engines with their records.
const COMPARE_TICKS: u32 = 500;
/// The same where ticks are long: the simulated time that passes is what counts.
const COMPARE_MOST: Duration = Duration::from_secs(600);
/// What the service may log as an error without failing the run.
const EXPECTED_ERRORS: [&str; 0] = [];

/// What became of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Its profile.
    pub profile: Profile,
    /// What the records were kept in.
    pub store: StoreKind,
    /// Of all lines of the trace.
    pub hash: String,
    /// How many lines that is.
    pub lines: u64,
    /// How long it was, in simulated milliseconds.
    pub simulated_ms: u64,
    /// How long it took to come to rest after the faults.
    pub healed_in_ms: Option<u64>,
    /// The promises that were broken.
    pub broken: Vec<BrokenPromise>,
    /// The last events of the game of the first of them.
    pub story: Vec<String>,
    /// How often each fault struck, by the statuses of the games it struck.
    pub struck: BTreeMap<String, BTreeMap<String, u64>>,
    /// Where crashes struck.
    pub crashes: BTreeMap<String, u64>,
    /// How often each point of contact was come to.
    pub touched: BTreeMap<String, u64>,
    /// How often each change of status was committed.
    pub changes: BTreeMap<String, u64>,
    /// How often each deed was answered how.
    pub deeds: BTreeMap<String, u64>,
    /// How often was looked whether a promise is kept, by what was looked at.
    #[serde(default)]
    pub checked: BTreeMap<String, u64>,
    /// The life as a page, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

impl Report {
    /// Of a life that gave no report of its own, or two that differ: which promise that breaks, and
    /// how.
    pub fn of_none(plan: &Plan, promise: &str, how: String) -> Self {
        let broken = BrokenPromise { promise: promise.to_owned(), game: None, how, at_ms: 0 };
        Self {
            seed: plan.seed,
            profile: plan.profile,
            store: plan.store,
            hash: String::new(),
            lines: 0,
            simulated_ms: 0,
            healed_in_ms: None,
            broken: vec![broken],
            story: vec![],
            struck: BTreeMap::new(),
            crashes: BTreeMap::new(),
            touched: BTreeMap::new(),
            changes: BTreeMap::new(),
            deeds: BTreeMap::new(),
            checked: BTreeMap::new(),
            page: None,
        }
    }
}

/// A broken promise, as reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenPromise {
    /// Which.
    pub promise: String,
    /// In which game, where it is about one.
    pub game: Option<String>,
    /// How.
    pub how: String,
    /// When, in simulated milliseconds.
    pub at_ms: i64,
}

impl From<Broken> for BrokenPromise {
    fn from(broken: Broken) -> Self {
        let Broken { promise, game, how, at_ms } = broken;
        Self { promise, game, how, at_ms }
    }
}

/// Errors and panics that were met on the way.
#[derive(Clone, Default)]
struct Errors {
    met: Arc<Mutex<Vec<String>>>,
    /// Where all that the processes log goes to, where somebody reads the trace.
    told: Option<Arc<Chronicle>>,
}

impl<S: Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let target = event.metadata().target();
        let is_of = |crates: &[&str]| crates.contains(&target.split("::").next().unwrap_or(target));
        let is_ours = is_of(&["service", "machine", "net"]);
        if !is_ours && !is_of(&["peers"]) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = event.metadata().level();
        if let Some(chronicle) = &self.told {
            chronicle.aside(&format!("{level} {target}: {}", text.0));
        }
        let is_expected = EXPECTED_ERRORS.iter().any(|expected| text.0.contains(expected));
        if is_ours && *level == Level::ERROR && !is_expected {
            lock(&self.met).push(format!("{target}: {}", text.0));
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

/// Lives a plan. To be called once in a process: what a process counts, it counts from its start.
pub fn run(plan: &Plan, is_traced: bool, has_page: bool) -> Report {
    let chronicle = Arc::new(Chronicle::new(is_traced, Arc::new(Recorder::new(has_page))));
    let told = is_traced.then(|| Arc::clone(&chronicle));
    let errors = Errors { told, ..Errors::default() };
    let level = if is_traced { LevelFilter::INFO } else { LevelFilter::ERROR };
    let _ = tracing::subscriber::set_global_default(
        // Nothing else is looked at: turmoil opens a span for each host and tick.
        tracing_subscriber::registry().with(level).with(errors.clone()),
    );
    let panics = errors.clone();
    std::panic::set_hook(Box::new(move |panic| lock(&panics.met).push(panic.to_string())));
    let mut life = Life {
        plan,
        world: World::new(plan, Arc::clone(&chronicle)),
        faults: Faults::new(plan),
        errors,
        pace: Pace::of(plan.profile),
        compared_at: Duration::ZERO,
    };
    if plan.is_undisturbed() {
        let late = Pace::of(plan.profile).call.as_millis();
        life.world.oracle.nothing_goes_wrong(i64::try_from(late).unwrap_or(i64::MAX));
    }
    let healed_in_ms = life.live_or_panic();
    let broken = life.world.oracle.broken();
    let game = broken.first().and_then(|broken| broken.game.as_deref());
    let story = if broken.is_empty() { vec![] } else { chronicle.story(game) };
    let mut report = Report {
        seed: plan.seed,
        profile: plan.profile,
        store: plan.store,
        hash: chronicle.hash(),
        lines: chronicle.lines(),
        simulated_ms: life.now_ms(),
        healed_in_ms,
        story,
        broken: broken.into_iter().map(BrokenPromise::from).collect(),
        struck: life.faults.struck().clone(),
        crashes: life.faults.points().clone(),
        touched: life.world.board.touched(),
        changes: life.world.oracle.changes(),
        deeds: life.world.deeds.counted(),
        checked: life.world.oracle.checked(),
        page: None,
    };
    if has_page {
        let story = chronicle.recorder.story(&World::hosts(plan), &report);
        report.page = story.to_html().ok();
    }
    report
}

/// The store in memory answers when it is first polled; outside of the hosts nothing else is asked.
fn at_once(look: impl Future<Output = ()>) {
    let mut look = std::pin::pin!(look);
    let _ = look.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
}

struct Life<'a> {
    plan: &'a Plan,
    world: World,
    faults: Faults,
    errors: Errors,
    pace: Pace,
    compared_at: Duration,
}

impl Life<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.world.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A panic outside of the hosts ends a life, as one within a host does, and not its report.
    fn live_or_panic(&mut self) -> Option<u64> {
        // What a panic leaves half done is read once more, for the report, and never lived on.
        let lived = catch_unwind(AssertUnwindSafe(|| self.live()));
        lived.unwrap_or_else(|_| {
            self.errors_break_a_promise();
            None
        })
    }

    /// Both phases; how long the second one took. `None` where a promise was broken.
    fn live(&mut self) -> Option<u64> {
        while self.now_ms() < self.plan.safety_ms {
            let now_ms = self.now_ms();
            self.faults.tick(&mut self.world, now_ms);
            if !self.step() {
                return None;
            }
        }
        self.faults.heal(&mut self.world);
        let healed_at = self.now_ms();
        let games: Vec<String> = self.plan.games.iter().map(|game| game.id.clone()).collect();
        let mut unrest = Unrest::new(self.pace.late_ms);
        let healed = SimClock::default().at(i64::try_from(healed_at).unwrap_or(i64::MAX));
        loop {
            // Whoever ends by itself starts again.
            let now_ms = self.now_ms();
            self.faults.tick(&mut self.world, now_ms);
            if !self.step() {
                return None;
            }
            let mut open = unrest.look(&self.world.oracle, &games, self.gm_now());
            if open.is_empty() {
                at_once(self.world.deeds.open_operations(healed, &mut open));
            }
            if self.plan.hanging_up_is_seen() {
                let waited_for = self.world.engines.still_waited_for();
                open.extend(waited_for.iter().map(|game| format!("{game} is waited for")));
            }
            let took_ms = self.now_ms() - healed_at;
            if open.is_empty() {
                at_once(self.world.deeds.check_versions());
                self.world.oracle.compare_engines();
                if let Books::Postgres(database) = &self.world.books {
                    self.world.oracle.holds(&database.records());
                }
                return self.world.oracle.broken().is_empty().then_some(took_ms);
            }
            if took_ms > self.plan.patience_ms {
                let how = open.join("; ");
                let game = games.iter().find(|game| how.starts_with(game.as_str()));
                let game = game.map(String::as_str);
                self.world.oracle.violated("everything_comes_to_rest", game, &how);
                return None;
            }
        }
    }

    /// What the instance that is furthest behind takes for the time.
    fn gm_now(&self) -> Timestamp {
        let skew = |gm| self.world.board.skew(gm);
        let clocks = (0..self.plan.gms).map(|gm| SimClock::skewed(skew(gm)));
        let elapsed = i64::try_from(self.now_ms()).unwrap_or(i64::MAX);
        clocks.map(|clock| clock.at(elapsed)).min().unwrap_or_else(|| SimClock::default().now())
    }

    /// Errors and panics that were met since the last look.
    fn errors_break_a_promise(&mut self) {
        for error in std::mem::take(&mut *lock(&self.errors.met)) {
            self.world.oracle.violated("no_error_is_logged", None, &error);
        }
    }

    /// One tick; false where a promise is broken.
    fn step(&mut self) -> bool {
        let now_ms = i64::try_from(self.now_ms()).unwrap_or(i64::MAX);
        self.world.oracle.chronicle.set_now(now_ms);
        if let Err(error) = self.world.sim.step() {
            self.world.oracle.violated("no_host_fails", None, &error.to_string());
        }
        self.errors_break_a_promise();
        let compare_after = (self.pace.tick * COMPARE_TICKS).min(COMPARE_MOST);
        if self.world.sim.elapsed() >= self.compared_at + compare_after {
            self.compared_at = self.world.sim.elapsed();
            self.world.oracle.compare_engines();
            self.world.oracle.timers_strike(self.gm_now());
            if self.plan.hanging_up_is_seen() {
                self.world.oracle.callers_hang_up(self.pace.longest_wait_ms());
            }
        }
        self.world.oracle.broken().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{self, Wishes};
    use crate::plan::{Fault, Trouble};

    #[test]
    fn a_panic_outside_of_all_hosts_is_reported_as_the_end_of_the_life() {
        let wishes = Wishes { profile: Some(Profile::Race), calm: true, ..Wishes::default() };
        let mut plan = draw::plan(3, wishes);
        let (a, b) = ("gm-0".to_owned(), "nowhere".to_owned());
        plan.faults = vec![Fault { at_ms: 10, for_ms: 10, what: Trouble::Hold { a, b } }];
        let report = run(&plan, false, false);
        // What this test has to say is not of that life.
        drop(std::panic::take_hook());
        let broken = report.broken.first().expect("it is broken");
        assert_eq!(broken.promise, "no_error_is_logged");
        assert!(broken.how.contains("unable to find link"), "{}", broken.how);
        assert!(report.lines > 0 && !report.story.is_empty());
    }
}
