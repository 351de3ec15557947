//! What the faults reach into the hosts with, and what the hosts report back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tokio_util::sync::CancellationToken;

use crate::plan::{Loss, Moment, Refusal};
use crate::reach::Reach;
use crate::record::Recorder;
use crate::world::{ENGINES, LOBBY, REDIS, RTM, STORE};

/// Whom an instance has connections with; the last are those it accepted.
const ENDS: [&str; 6] = [STORE, REDIS, ENGINES, RTM, LOBBY, "client"];
/// What is done with a connection of an instance, by who is at the other end, as points of contact.
pub const WIRE_POINTS: [&str; 12] = [
    "net.read.store",
    "net.write.store",
    "net.read.redis",
    "net.write.redis",
    "net.read.engines",
    "net.write.engines",
    "net.read.rtm",
    "net.write.rtm",
    "net.read.lobby",
    "net.write.lobby",
    "net.read.client",
    "net.write.client",
];

/// One of [`WIRE_POINTS`]: found once for a connection, so that touching it costs little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WirePoint(usize);

impl WirePoint {
    /// Reading from and writing to who is at the other end.
    pub(crate) fn of(end: &str) -> Option<[Self; 2]> {
        let end = ENDS.iter().position(|name| *name == end)?;
        Some([Self(2 * end), Self(2 * end + 1)])
    }

    fn name(self) -> &'static str {
        WIRE_POINTS.get(self.0).copied().unwrap_or_default()
    }
}

/// Shared by all hosts of one simulation.
#[derive(Default)]
pub struct Board {
    lines: Mutex<Vec<Weak<Line>>>,
    crash: Mutex<BTreeMap<usize, Armed>>,
    wanted: Mutex<Vec<Crash>>,
    ended: Mutex<Vec<usize>>,
    touched: Mutex<BTreeMap<(String, Moment), u64>>,
    /// The same for each of [`WIRE_POINTS`], before and after.
    wire: [[AtomicU64; 2]; WIRE_POINTS.len()],
    skews: Mutex<BTreeMap<usize, Arc<AtomicI64>>>,
    stops: Mutex<BTreeMap<usize, CancellationToken>>,
    /// How long Lobby takes to answer, in whichever process.
    pub lobby_slow_ms: AtomicU64,
    /// Who can be reached by whoever opens a connection.
    pub reach: Reach,
    /// What is seen for the page.
    pub recorder: Arc<Recorder>,
    /// Levers of the store's host.
    pub store: StoreLevers,
    /// Levers of the Redis host.
    pub redis: RedisLevers,
}

/// What the store's host is told to do wrong.
#[derive(Default)]
pub struct StoreLevers {
    /// So many of the next changes are not carried out, and their connection ends.
    pub requests_lost: AtomicU64,
    /// So many of the next changes are carried out, and their connection ends without an answer.
    pub answers_lost: AtomicU64,
    /// How long every call takes.
    pub delay_ms: AtomicU64,
}

/// What the Redis host is told to do wrong.
#[derive(Default)]
pub struct RedisLevers {
    /// So many of the next appends are carried out, and their connection ends without an answer.
    pub answers_lost: AtomicU64,
    /// How long every command takes.
    pub delay_ms: AtomicU64,
    /// What it refuses.
    pub refuses: Mutex<Option<Refusal>>,
    /// What the next start of the host finds.
    pub loss: Mutex<Option<Loss>>,
}

/// A crash that waits for its moment.
#[derive(Clone, Debug)]
struct Armed {
    fault: usize,
    point: String,
    moment: Moment,
    left: u64,
}

/// A crash whose moment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The fault of the plan.
    pub fault: usize,
    /// The instance that must end.
    pub gm: usize,
    /// Where it was.
    pub point: String,
}

/// One end of a connection, which a reset ends.
pub struct Line {
    host: Arc<str>,
    peer: IpAddr,
    broken: AtomicBool,
    wakers: Mutex<[Option<Waker>; 2]>,
}

impl Line {
    /// Whether it was reset; else whoever asks is woken when it is. Readers and writers each have
    /// a place of their own.
    pub(crate) fn is_broken(&self, place: usize, waker: &Waker) -> bool {
        if self.broken.load(Ordering::Relaxed) {
            return true;
        }
        if let Some(kept) = lock(&self.wakers).get_mut(place) {
            *kept = Some(waker.clone());
        }
        false
    }
}

/// Takes one from a counter; false where there is nothing to take.
pub(crate) fn take_one(counter: &AtomicU64) -> bool {
    let taken = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    taken.is_ok()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic fails the run anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// A board of hosts that are seen by a recorder.
    pub fn seen_by(recorder: Arc<Recorder>) -> Self {
        Self { recorder, ..Self::default() }
    }

    /// A connection of `host` to `peer`.
    pub(crate) fn line(&self, host: &Arc<str>, peer: IpAddr) -> Arc<Line> {
        let line = Arc::new(Line {
            host: Arc::clone(host),
            peer,
            broken: AtomicBool::new(false),
            wakers: Mutex::default(),
        });
        let mut lines = lock(&self.lines);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        line
    }

    /// Ends every connection between two hosts, at both ends. Answers how many ends there were.
    pub fn reset(&self, a: (&str, IpAddr), b: (&str, IpAddr)) -> usize {
        let lines: Vec<_> = lock(&self.lines).iter().filter_map(Weak::upgrade).collect();
        let between = |line: &&Arc<Line>| {
            (&*line.host == a.0 && line.peer == b.1) || (&*line.host == b.0 && line.peer == a.1)
        };
        let mut count = 0;
        for line in lines.iter().filter(between) {
            line.broken.store(true, Ordering::Relaxed);
            for waker in lock(&line.wakers).iter_mut().filter_map(Option::take) {
                waker.wake();
            }
            count += 1;
        }
        count
    }

    /// How far the clock of an instance is off, in milliseconds.
    pub fn skew(&self, gm: usize) -> Arc<AtomicI64> {
        Arc::clone(lock(&self.skews).entry(gm).or_default())
    }

    /// What tells the process of an instance that starts now to stop.
    pub fn starts(&self, gm: usize) -> CancellationToken {
        let stop = CancellationToken::new();
        lock(&self.stops).insert(gm, stop.clone());
        stop
    }

    /// Tells the process of an instance to stop.
    pub fn stop(&self, gm: usize) {
        if let Some(stop) = lock(&self.stops).get(&gm) {
            stop.cancel();
        }
    }

    /// Lets an instance crash when it comes to a point for the `nth` time from now.
    pub fn arm(&self, fault: usize, gm: usize, point: &str, moment: Moment, nth: u64) {
        let armed = Armed { fault, point: point.to_owned(), moment, left: nth.max(1) };
        lock(&self.crash).insert(gm, armed);
    }

    /// An armed crash whose moment did not come is forgotten.
    pub fn disarm_all(&self) {
        lock(&self.crash).clear();
    }

    /// An instance comes to a point of contact. Never comes back where it is to crash there.
    pub async fn touch(&self, gm: usize, point: &str, moment: Moment) {
        *lock(&self.touched).entry((point.to_owned(), moment)).or_default() += 1;
        if self.is_its_moment(gm, point, moment) {
            std::future::pending::<()>().await;
        }
    }

    /// The same where nothing can be waited for: whether the instance is to crash there.
    pub(crate) fn touch_wire(&self, gm: usize, point: WirePoint, moment: Moment) -> bool {
        if let Some(counters) = self.wire.get(point.0) {
            let [before, after] = counters;
            let counter = match moment {
                Moment::Before => before,
                Moment::After => after,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.is_its_moment(gm, point.name(), moment)
    }

    fn is_its_moment(&self, gm: usize, point: &str, moment: Moment) -> bool {
        let mut armed = lock(&self.crash);
        let Some(waiting) = armed.get_mut(&gm) else { return false };
        if waiting.point != point || waiting.moment != moment {
            return false;
        }
        waiting.left -= 1;
        if waiting.left > 0 {
            return false;
        }
        let point = format!("{point} {}", moment.as_str());
        lock(&self.wanted).push(Crash { fault: waiting.fault, gm, point });
        armed.remove(&gm);
        true
    }

    /// The crashes whose moment has come since the last call.
    pub fn wanted(&self) -> Vec<Crash> {
        std::mem::take(&mut lock(&self.wanted))
    }

    /// The process of an instance comes to its end: never comes back, since whatever the process has
    /// left running must go with it.
    pub async fn end(&self, gm: usize) {
        lock(&self.ended).push(gm);
        std::future::pending::<()>().await;
    }

    /// The instances whose processes have ended since the last call.
    pub fn ended(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.ended))
    }

    /// How often each point of contact was come to.
    pub fn touched(&self) -> BTreeMap<String, u64> {
        let named = |point: &str, moment: Moment| format!("{point} {}", moment.as_str());
        let mut touched: BTreeMap<String, u64> =
            lock(&self.touched).iter().map(|((p, m), n)| (named(p, *m), *n)).collect();
        for (point, counters) in WIRE_POINTS.iter().zip(&self.wire) {
            for (moment, counter) in [Moment::Before, Moment::After].into_iter().zip(counters) {
                touched.insert(named(point, moment), counter.load(Ordering::Relaxed));
            }
        }
        touched
    }
}
