//! What a proxy does to the bytes, and how often it did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::harness::until;

/// The ways of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Way {
    ToServer,
    ToClient,
}

impl Way {
    pub(super) fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Side {
    Client,
    Server,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// With RST, as a crashed or rebooted host does.
    Reset,
    /// With FIN, as an orderly process does.
    Finish,
}

/// How bytes travel one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// By how much later everything arrives.
    pub delay: Duration,
    /// Whether nothing comes through at all.
    pub hole: bool,
    /// Bytes sent at a time.
    pub piece: usize,
    /// The pause after each piece.
    pub pause: Duration,
}

impl Default for Flow {
    fn default() -> Self {
        Self { delay: Duration::ZERO, hole: false, piece: usize::MAX, pause: Duration::ZERO }
    }
}

/// What a trap waits for.
#[derive(Clone, Debug)]
enum Trigger {
    /// So many bytes, which still pass.
    After(u64),
    /// These bytes; what came together with them is swallowed too.
    Pattern(Vec<u8>),
    /// These bytes; of what came together with them half still passes.
    Half(Vec<u8>),
}

/// What becomes of a connection whose bytes were swallowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Close(Close),
    /// It stays open, and nothing comes through any more.
    Silence,
}

/// Swallows certain bytes, and cuts the connection in their place.
#[derive(Clone, Debug)]
pub struct Trap {
    way: Way,
    on: Trigger,
    /// What must have gone the other way before.
    asked: Option<Vec<u8>>,
    times: u64,
    every: u64,
    then: Then,
}

impl Trap {
    fn new(way: Way, on: Trigger) -> Self {
        Self { way, on, asked: None, times: 1, every: 1, then: Then::Close(Close::Reset) }
    }

    /// The server has carried out a request with these bytes in it, and the client does not get the
    /// answer.
    pub fn answer_to(request: &[u8]) -> Self {
        Self { asked: Some(request.to_vec()), ..Self::new(Way::ToClient, Trigger::After(0)) }
    }

    /// The client does not get an answer with these bytes in it.
    pub fn answer_with(pattern: &[u8]) -> Self {
        Self::new(Way::ToClient, Trigger::Pattern(pattern.to_vec()))
    }

    /// The server does not get a request with these bytes in it.
    pub fn request_with(pattern: &[u8]) -> Self {
        Self::new(Way::ToServer, Trigger::Pattern(pattern.to_vec()))
    }

    /// The server gets half of what is sent together with these bytes.
    pub fn half_of(request: &[u8]) -> Self {
        Self::new(Way::ToServer, Trigger::Half(request.to_vec()))
    }

    /// So many bytes of a connection still pass one way.
    pub fn after(way: Way, bytes: u64) -> Self {
        Self::new(way, Trigger::After(bytes))
    }

    /// Strikes so many times at the most, not just once.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Strikes the first occasion of so many only, then the first of the next so many.
    #[must_use]
    pub fn every(self, every: u64) -> Self {
        Self { every: every.max(1), ..self }
    }

    /// Closes the connection in this way.
    #[must_use]
    pub fn close(self, close: Close) -> Self {
        Self { then: Then::Close(close), ..self }
    }

    /// Leaves the connection open, and lets nothing through any more.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { then: Then::Silence, ..self }
    }
}

/// A trap that is set.
#[derive(Debug)]
pub(super) struct SetTrap {
    trap: Trap,
    mark: Arc<Mark>,
    occasions: AtomicU64,
    left: Mutex<u64>,
}

impl SetTrap {
    /// Whether it strikes on this occasion.
    fn strikes(&self) -> bool {
        let occasion = self.occasions.fetch_add(1, Ordering::SeqCst);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if !occasion.is_multiple_of(self.trap.every) || *left == 0 {
            return false;
        }
        *left -= 1;
        self.mark.strike();
        true
    }
}

/// What a connection has to do with a trap.
#[derive(Default)]
pub(super) struct Scan {
    trap: Option<Arc<SetTrap>>,
    /// Whether what must go before has gone.
    asked: bool,
    passed: u64,
    /// The last bytes each way, in which a pattern may have begun.
    tails: [Vec<u8>; 2],
}

impl Scan {
    /// Looks at bytes that are about to pass: where the trap strikes, how many of them still do, and
    /// what becomes of the connection.
    pub(super) fn look(
        &mut self,
        trap: Option<&Arc<SetTrap>>,
        way: Way,
        bytes: &[u8],
    ) -> Option<(usize, Then)> {
        let set = Arc::clone(trap?);
        if !self.trap.as_ref().is_some_and(|known| Arc::ptr_eq(known, &set)) {
            *self = Self { trap: Some(Arc::clone(&set)), ..Self::default() };
        }
        let trap = &set.trap;
        if way != trap.way {
            if let Some(asked) = &trap.asked
                && self.has_passed(way, asked, bytes)
            {
                (self.asked, self.passed) = (true, 0);
            }
            return None;
        }
        if trap.asked.is_some() && !self.asked {
            return None;
        }
        let pass = match &trap.on {
            Trigger::After(count) => {
                let left = usize::try_from(count - self.passed).unwrap_or(usize::MAX);
                self.passed += (bytes.len().min(left)) as u64;
                (bytes.len() > left).then_some(left)
            }
            Trigger::Pattern(pattern) => self.has_passed(way, pattern, bytes).then_some(0),
            Trigger::Half(pattern) => {
                self.has_passed(way, pattern, bytes).then_some(bytes.len() / 2)
            }
        }?;
        self.asked = false;
        set.strikes().then_some((pass, trap.then))
    }

    fn has_passed(&mut self, way: Way, pattern: &[u8], bytes: &[u8]) -> bool {
        let Some(tail) = self.tails.get_mut(way.index()) else { return false };
        tail.extend_from_slice(bytes);
        let found = pattern.is_empty() || tail.windows(pattern.len()).any(|w| w == pattern);
        let keep = if found { 0 } else { tail.len().min(pattern.len().saturating_sub(1)) };
        tail.drain(..tail.len() - keep);
        found
    }
}

/// All faults of a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    flows: [(Flow, Option<Arc<Mark>>); 2],
    pub(super) trap: Option<Arc<SetTrap>>,
    pub(super) reset_new: Option<Arc<Mark>>,
}

impl Faults {
    pub(super) fn set_flow(&mut self, way: Way, flow: Flow, mark: Arc<Mark>) {
        if let Some(slot) = self.flows.get_mut(way.index()) {
            *slot = (flow, Some(mark));
        }
    }

    pub(super) fn set_trap(&mut self, trap: Trap, mark: Arc<Mark>) {
        let left = Mutex::new(trap.times);
        let occasions = AtomicU64::new(0);
        self.trap = Some(Arc::new(SetTrap { trap, mark, occasions, left }));
    }

    pub(super) fn flow(&self, way: Way) -> (&Flow, Option<&Arc<Mark>>) {
        let (flow, mark) = match way {
            Way::ToServer => &self.flows[0],
            Way::ToClient => &self.flows[1],
        };
        (flow, mark.as_ref())
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = &Arc<Mark>> {
        let flows = self.flows.iter().filter_map(|(_, mark)| mark.as_ref());
        flows.chain(self.trap.as_ref().map(|trap| &trap.mark)).chain(&self.reset_new)
    }
}

/// How often a fault struck.
#[derive(Debug)]
pub(super) struct Mark {
    what: String,
    struck: AtomicU64,
}

impl Mark {
    pub(super) fn new(what: &str) -> Self {
        Self { what: what.to_owned(), struck: AtomicU64::new(0) }
    }

    pub(super) fn strike(&self) {
        self.struck.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }
}

/// How often a fault struck: a connection reset, or a run of bytes delayed, held or cut up.
#[derive(Clone, Debug)]
pub struct Strikes(pub(super) Arc<Mark>);

impl Strikes {
    /// So often until now.
    pub fn count(&self) -> u64 {
        self.0.struck()
    }

    /// Waits until it has struck so often.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn reach(&self, count: u64) {
        let what = format!("{} to strike {count} times", self.0.what);
        until(&what, || std::future::ready((self.count() >= count).then_some(()))).await;
    }
}
