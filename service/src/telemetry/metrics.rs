//! The numbers, each with a method for the event that changes it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use machine::{EngineState, Event, StreamId, Timestamp};

use super::labels::{
    CacheOutcome, CallOutcome, CodeLabel, CommitOutcome, HealthKind, HealthOutcome, Leading,
    OperationLabel, Peer, Place, Recovery, SpanFate, Stream, TurnOutcome, TurnPool, Work,
};
use super::logs;
use super::registry::{About, Counter, Family, Gauge, Histogram, Metric, Seconds, head, sample};
use crate::ports::Role;

/// How a pool of connections stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections lent out.
    pub in_use: usize,
    /// Those who wait for one.
    pub waiting: usize,
}

type WatchPool = Box<dyn Fn() -> PoolStatus + Send + Sync>;

/// See [`Metrics::watch`].
#[must_use = "it watches while it is held"]
pub struct Watch {
    metrics: Arc<Metrics>,
    place: Place,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.panicked(self.place);
        }
    }
}

/// See [`Metrics::leads`].
#[must_use = "it leads while it is held"]
pub(crate) struct Leads<'a>(&'a Metrics, Role);

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        self.0.leads.at((self.1.into(),)).set(0);
    }
}

/// All numbers of one Game Master.
pub struct Metrics {
    start_time: Family<(), Seconds>,
    requests: Family<(OperationLabel, CodeLabel), Counter>,
    request_duration: Family<(OperationLabel,), Histogram>,
    in_flight: Family<(Work,), Gauge>,
    turns: Family<(TurnOutcome,), Counter>,
    turn_duration: Family<(TurnOutcome,), Histogram>,
    turn_places: Family<(TurnPool,), Gauge>,
    tick_lag: Family<(), Histogram>,
    due_backlog: Family<(), Gauge>,
    due_oldest_age: Family<(), Seconds>,
    store_outages: Family<(), Counter>,
    commits: Family<(CommitOutcome,), Counter>,
    commit_duration: Family<(), Histogram>,
    outbox_backlog: Family<(), Gauge>,
    outbox_oldest_age: Family<(), Seconds>,
    outbox_published: Family<(Stream,), Counter>,
    health_events: Family<(HealthKind, HealthOutcome), Counter>,
    health_gaps: Family<(), Counter>,
    stream_offset: Family<(Stream,), Seconds>,
    leads: Family<(Leading,), Gauge>,
    terms_lost: Family<(Leading,), Counter>,
    alive: Family<(), Gauge>,
    feed_gaps: Family<(), Counter>,
    news_sent: Family<(), Counter>,
    news_received: Family<(), Counter>,
    cache_lookups: Family<(CacheOutcome,), Counter>,
    cache_invalidations: Family<(), Counter>,
    calls: Family<(Peer, CallOutcome), Counter>,
    call_duration: Family<(Peer,), Histogram>,
    recoveries: Family<(Recovery,), Counter>,
    overdue_leases: Family<(), Gauge>,
    violations: Family<(), Counter>,
    panics: Family<(Place,), Counter>,
    restarts: Family<(Place,), Counter>,
    log_lines_dropped: Family<(), Counter>,
    spans: Family<(SpanFate,), Counter>,
    pool: OnceLock<WatchPool>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

const BUILD_INFO: About = About {
    name: "gamemaster_build_info",
    help: "Always 1; the label says what runs.",
    labels: &["version"],
};
const POOL_IN_USE: About = About {
    name: "gamemaster_postgres_pool_connections_in_use",
    help: "Connections of the Postgres pool that are lent out.",
    labels: &[],
};
const POOL_WAITING: About = About {
    name: "gamemaster_postgres_pool_waiting",
    help: "Those who wait for a connection of the Postgres pool.",
    labels: &[],
};

impl Metrics {
    /// All at zero, but for the time the process started.
    pub fn new(started: Timestamp) -> Self {
        let metrics = Self {
            start_time: Family::new(
                "gamemaster_process_start_time_seconds",
                &[],
                "When this Game Master started, in seconds since 1970.",
            ),
            requests: Family::new(
                "gamemaster_http_requests_total",
                &["operation", "code"],
                "Requests answered, by operation of the contract and status.",
            ),
            request_duration: Family::new(
                "gamemaster_http_request_duration_seconds",
                &["operation"],
                "Time from the head of a request to its answer.",
            ),
            in_flight: Family::new(
                "gamemaster_work_in_flight",
                &["kind"],
                "What is under way at this moment.",
            ),
            turns: Family::new(
                "gamemaster_turns_total",
                &["outcome"],
                "Turns asked for whose outcome was recorded.",
            ),
            turn_duration: Family::new(
                "gamemaster_turn_duration_seconds",
                &["outcome"],
                "Time the engine took for a turn.",
            ),
            turn_places: Family::new(
                "gamemaster_turn_places_in_use",
                &["pool"],
                "Places in use by games whose timers are being dealt with.",
            ),
            tick_lag: Family::new(
                "gamemaster_tick_lag_seconds",
                &[],
                "Time between the instant a tick was due and its start.",
            ),
            due_backlog: Family::new(
                "gamemaster_due_backlog",
                &[],
                "Games with a timer that is due and not dealt with; looked at once a second.",
            ),
            due_oldest_age: Family::new(
                "gamemaster_due_oldest_age_seconds",
                &[],
                "Time since the oldest of these timers was due.",
            ),
            store_outages: Family::new(
                "gamemaster_store_outages_total",
                &[],
                "How often the scheduler found that the store does not answer.",
            ),
            commits: Family::new(
                "gamemaster_store_commits_total",
                &["outcome"],
                "Commits of the driver; a conflict is a compare-and-set that lost.",
            ),
            commit_duration: Family::new(
                "gamemaster_store_commit_duration_seconds",
                &[],
                "Time a commit took, with its repeats where the answer was lost.",
            ),
            outbox_backlog: Family::new(
                "gamemaster_outbox_backlog",
                &[],
                "Messages that wait to be published; looked at every few seconds.",
            ),
            outbox_oldest_age: Family::new(
                "gamemaster_outbox_oldest_age_seconds",
                &[],
                "Time since the oldest of these messages was committed.",
            ),
            outbox_published: Family::new(
                "gamemaster_outbox_published_total",
                &["stream"],
                "Messages published by this process.",
            ),
            health_events: Family::new(
                "gamemaster_health_events_total",
                &["type", "outcome"],
                "Health events read from Runtime Manager.",
            ),
            health_gaps: Family::new(
                "gamemaster_health_gaps_total",
                &[],
                "How often health events may have been lost before they were read.",
            ),
            stream_offset: Family::new(
                "gamemaster_stream_offset_seconds",
                &["stream"],
                "Time part of the newest id read or written, in seconds since 1970; 0: none yet.",
            ),
            leads: Family::new(
                "gamemaster_leads",
                &["role"],
                "1 while this process does what one at a time does for all; added up, must be 1.",
            ),
            terms_lost: Family::new(
                "gamemaster_terms_lost_total",
                &["role"],
                "How often this process had to give that up without being about to end.",
            ),
            alive: Family::new(
                "gamemaster_instances_alive",
                &[],
                "Game Masters on this store that can be counted on, when this one last asked.",
            ),
            feed_gaps: Family::new(
                "gamemaster_feed_gaps_total",
                &[],
                "How often changes made by others may have been missed; the start is the first.",
            ),
            news_sent: Family::new(
                "gamemaster_feed_news_sent_total",
                &[],
                "Changes told to the other Game Masters.",
            ),
            news_received: Family::new(
                "gamemaster_feed_news_received_total",
                &[],
                "Changes that other Game Masters told.",
            ),
            cache_lookups: Family::new(
                "gamemaster_membership_cache_lookups_total",
                &["outcome"],
                "Questions to the cache of memberships.",
            ),
            cache_invalidations: Family::new(
                "gamemaster_membership_cache_invalidations_total",
                &[],
                "Invalidations of the members of a game.",
            ),
            calls: Family::new(
                "gamemaster_peer_calls_total",
                &["peer", "outcome"],
                "Calls to the neighbours.",
            ),
            call_duration: Family::new(
                "gamemaster_peer_call_duration_seconds",
                &["peer"],
                "Time a call to a neighbour took.",
            ),
            recoveries: Family::new(
                "gamemaster_lease_recoveries_total",
                &["lease"],
                "Work found abandoned and taken up.",
            ),
            overdue_leases: Family::new(
                "gamemaster_overdue_leases",
                &[],
                "Leases that ran out long ago, by the last whole pass over all records; must be 0.",
            ),
            violations: Family::new(
                "gamemaster_invariant_violations_total",
                &[],
                "Records that break a rule of the machine, each time one is looked at; must be 0.",
            ),
            panics: Family::new(
                "gamemaster_panics_contained_total",
                &["place"],
                "Panics that ended no more than what they happened in.",
            ),
            restarts: Family::new(
                "gamemaster_worker_restarts_total",
                &["worker"],
                "Workers started again.",
            ),
            log_lines_dropped: Family::new(
                "gamemaster_log_lines_dropped_total",
                &[],
                "Log lines dropped because standard error took no more; of the whole process.",
            ),
            spans: Family::new(
                "gamemaster_spans_total",
                &["outcome"],
                "Finished spans of traces, where a collector is configured.",
            ),
            pool: OnceLock::new(),
        };
        metrics.start_time.at(()).set_millis(started.timestamp_millis());
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, operation: OperationLabel, status: u16, took: Duration) {
        self.requests.at((operation, CodeLabel::of(status))).add(1);
        self.request_duration.at((operation,)).observe(took);
    }

    /// Something began; it is under way until the guard is dropped.
    pub fn begin(&self, work: Work) -> InFlight<'_> {
        self.began(work);
        InFlight(self, work)
    }

    /// Something began, and [`ended`](Self::ended) will be called for it.
    pub(super) fn began(&self, work: Work) {
        self.in_flight.at((work,)).add(1);
    }

    pub(super) fn ended(&self, work: Work) {
        self.in_flight.at((work,)).add(-1);
    }

    /// A tick that was due `late` ago starts.
    pub fn ticked(&self, late: Duration) {
        self.tick_lag.at(()).observe(late);
    }

    /// So many timers are due, the oldest of them for so long.
    pub fn due(&self, count: usize, oldest: Duration) {
        self.due_backlog.at(()).set(integer(count));
        self.due_oldest_age.at(()).set_millis(millis(oldest));
    }

    /// A place for a turn was taken; given back by [`place_freed`](Self::place_freed).
    pub fn place_taken(&self, pool: TurnPool) {
        self.turn_places.at((pool,)).add(1);
    }

    /// A place for a turn is free again.
    pub fn place_freed(&self, pool: TurnPool) {
        self.turn_places.at((pool,)).add(-1);
    }

    /// The store does not answer any more.
    pub fn store_went_away(&self) {
        self.store_outages.at(()).add(1);
    }

    /// A commit ended.
    pub fn committed(&self, outcome: CommitOutcome, took: Duration) {
        self.commits.at((outcome,)).add(1);
        self.commit_duration.at(()).observe(took);
    }

    /// A step was committed: what the event tells by itself.
    pub fn stepped(&self, event: &Event, took: Option<Duration>) {
        match event {
            Event::TurnDone(_, answer) => {
                let outcome = match answer {
                    Ok(EngineState { finished: true, .. }) => TurnOutcome::Finished,
                    Ok(EngineState { finished: false, .. }) => TurnOutcome::Generated,
                    Err(failure) => failure.kind.into(),
                };
                self.turns.at((outcome,)).add(1);
                self.turn_duration.at((outcome,)).observe(took.unwrap_or_default());
            }
            Event::WorkLeaseExpired => self.recoveries.at((Recovery::WorkLease,)).add(1),
            Event::PendingLeaseExpired => self.recoveries.at((Recovery::PendingLease,)).add(1),
            Event::Abandoned(_) => self.recoveries.at((Recovery::Predecessor,)).add(1),
            Event::Register(_)
            | Event::Tick
            | Event::Force
            | Event::Stop { .. }
            | Event::Patch { .. }
            | Event::Reconcile
            | Event::Health(_)
            | Event::RetryDue
            | Event::SummaryDue
            | Event::InitDone(..)
            | Event::ProbeDone(..)
            | Event::StopDone(..)
            | Event::PatchDone(..) => {}
        }
    }

    /// The outbox was looked at.
    pub fn outbox(&self, waiting: u64, oldest: Duration) {
        self.outbox_backlog.at(()).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.outbox_oldest_age.at(()).set_millis(millis(oldest));
    }

    /// This process leads for as long as the guard is held.
    pub(crate) fn leads(&self, role: Role) -> Leads<'_> {
        self.leads.at((role.into(),)).set(1);
        Leads(self, role)
    }

    /// It led, and does not any more.
    pub(crate) fn term_lost(&self, role: Role) {
        self.terms_lost.at((role.into(),)).add(1);
    }

    /// So many processes can be counted on.
    pub(crate) fn alive(&self, count: usize) {
        self.alive.at(()).set(integer(count));
    }

    /// Changes made by others may have been missed.
    pub(crate) fn feed_gap(&self) {
        self.feed_gaps.at(()).add(1);
    }

    /// The others were told of so many changes.
    pub(crate) fn told(&self, count: usize) {
        self.news_sent.at(()).add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The others told of so many changes.
    pub(crate) fn heard(&self, count: usize) {
        self.news_received.at(()).add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Messages were published, the last one under `newest`.
    pub fn published(&self, stream: Stream, count: usize, newest: Option<StreamId>) {
        self.outbox_published.at((stream,)).add(u64::try_from(count).unwrap_or(u64::MAX));
        if let Some(newest) = newest {
            self.offset(stream, newest);
        }
    }

    /// A stream was read or written up to here.
    pub fn offset(&self, stream: Stream, id: StreamId) {
        let millis = i64::try_from(id.ms).unwrap_or(i64::MAX);
        self.stream_offset.at((stream,)).set_millis(millis);
    }

    /// A health event was dealt with.
    pub fn health(&self, kind: HealthKind, outcome: HealthOutcome) {
        self.health_events.at((kind, outcome)).add(1);
    }

    /// Health events may have been lost before they were read.
    pub fn health_gap(&self) {
        self.health_gaps.at(()).add(1);
    }

    /// The cache of memberships was asked.
    pub fn looked_up(&self, outcome: CacheOutcome) {
        self.cache_lookups.at((outcome,)).add(1);
    }

    /// The members of a game were forgotten on demand.
    pub fn invalidated(&self) {
        self.cache_invalidations.at(()).add(1);
    }

    /// A call to a neighbour ended.
    pub fn called(&self, peer: Peer, outcome: CallOutcome, took: Duration) {
        self.calls.at((peer, outcome)).add(1);
        self.call_duration.at((peer,)).observe(took);
    }

    /// Something that no record tells of was left open, and is taken up.
    pub fn took_up(&self, what: Recovery) {
        self.recoveries.at((what,)).add(1);
    }

    /// A whole pass over all records found so many leases that nobody looks after.
    pub fn overdue_leases(&self, count: usize) {
        self.overdue_leases.at(()).set(integer(count));
    }

    /// A record was found that breaks a rule.
    pub fn violated(&self) {
        self.violations.at(()).add(1);
    }

    /// Counts the panic of whoever holds the answer, for tasks that nobody waits for.
    pub fn watch(self: &Arc<Self>, place: Place) -> Watch {
        Watch { metrics: Arc::clone(self), place }
    }

    /// A panic was contained.
    pub fn panicked(&self, place: Place) {
        self.panics.at((place,)).add(1);
    }

    /// A worker was started again.
    pub fn restarted(&self, worker: Place) {
        self.restarts.at((worker,)).add(1);
    }

    /// Finished spans met their fate.
    pub fn spans(&self, fate: SpanFate, count: usize) {
        self.spans.at((fate,)).add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// There is a pool of connections; `status` is asked whenever the numbers are. Only once.
    pub fn watch_pool(&self, status: impl Fn() -> PoolStatus + Send + Sync + 'static) {
        if self.pool.set(Box::new(status)).is_err() {
            tracing::error!("a second pool is not watched");
        }
    }

    /// The text that a Prometheus server reads.
    pub fn render(&self) -> String {
        self.log_lines_dropped.at(()).set(logs::dropped());
        let mut out = String::with_capacity(128 * 1024);
        head(&mut out, BUILD_INFO.name, "gauge", BUILD_INFO.help);
        let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        sample(&mut out, BUILD_INFO.name, version, 1);
        for metric in self.all() {
            metric.write(&mut out);
        }
        if let Some(status) = self.pool.get() {
            let PoolStatus { in_use, waiting } = status();
            for (about, value) in [(POOL_IN_USE, in_use), (POOL_WAITING, waiting)] {
                head(&mut out, about.name, "gauge", about.help);
                sample(&mut out, about.name, "", value);
            }
        }
        out
    }

    /// A table of all metrics, in the form of `docs/telemetry.md`.
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let row = |out: &mut String, about: About, kind| {
            let labels: Vec<String> = about.labels.iter().map(|l| format!("`{l}`")).collect();
            let About { name, help, labels: _ } = about;
            // Writing to a string does not fail.
            let _ = writeln!(out, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        };
        let mut out =
            String::from("| name | type | labels | meaning |\n| --- | --- | --- | --- |\n");
        row(&mut out, BUILD_INFO, "gauge");
        for metric in self.all() {
            let (about, kind) = metric.about();
            row(&mut out, about, kind);
        }
        row(&mut out, POOL_IN_USE, "gauge");
        row(&mut out, POOL_WAITING, "gauge");
        out
    }

    fn all(&self) -> [&dyn Metric; 36] {
        let Self {
            start_time,
            requests,
            request_duration,
            in_flight,
            turns,
            turn_duration,
            turn_places,
            tick_lag,
            due_backlog,
            due_oldest_age,
            store_outages,
            commits,
            commit_duration,
            outbox_backlog,
            outbox_oldest_age,
            outbox_published,
            health_events,
            health_gaps,
            stream_offset,
            leads,
            terms_lost,
            alive,
            feed_gaps,
            news_sent,
            news_received,
            cache_lookups,
            cache_invalidations,
            calls,
            call_duration,
            recoveries,
            overdue_leases,
            violations,
            panics,
            restarts,
            log_lines_dropped,
            spans,
            pool: _,
        } = self;
        [
            start_time,
            requests,
            request_duration,
            in_flight,
            turns,
            turn_duration,
            turn_places,
            tick_lag,
            due_backlog,
            due_oldest_age,
            store_outages,
            commits,
            commit_duration,
            outbox_backlog,
            outbox_oldest_age,
            outbox_published,
            health_events,
            health_gaps,
            stream_offset,
            leads,
            terms_lost,
            alive,
            feed_gaps,
            news_sent,
            news_received,
            cache_lookups,
            cache_invalidations,
            calls,
            call_duration,
            recoveries,
            overdue_leases,
            violations,
            panics,
            restarts,
            log_lines_dropped,
            spans,
        ]
    }
}

/// Something that is under way.
pub struct InFlight<'m>(&'m Metrics, Work);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.ended(self.1);
    }
}

fn integer(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
