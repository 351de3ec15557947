//! When a connection has waited long enough.
//!
//! ```text
//!             first byte                head complete             response given away
//!   [Idle] ----------------> [Head] ------------------> [Busy] ------------------------+
//!     ^  idle_timeout           header_timeout            no time-out: the service's   |
//!     |                         (a new connection          own concern                 |
//!     |                          starts here)                                          |
//!     +--------------------------------------------------------------------------------+
//!
//!   any phase, after the last response: [Lingering] (linger_timeout)
//!   any phase, while a write makes no progress: write_timeout
//! ```
//!
//! The protocol layer has one timer of its own, for reading a head. It also runs between requests,
//! so it cannot tell a slow client from an idle one, and it knows nothing of writes. Hence this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ServerLimits;

/// The clock of one connection, shared by what observes it. Cloning shares.
#[derive(Clone)]
pub(super) struct Timing {
    state: Arc<Mutex<State>>,
}

struct State {
    limits: Limits,
    phase: Phase,
    /// Since when a write has made no progress.
    stalled_since: Option<Instant>,
    /// Whether the client may still lose a response if the connection just ends.
    owes_linger: bool,
    requests: u64,
}

#[derive(Clone, Copy)]
struct Limits {
    header: Duration,
    idle: Duration,
    write: Duration,
    linger: Duration,
}

enum Phase {
    Head { since: Instant },
    Busy,
    Idle { since: Instant },
    Lingering { since: Instant },
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// The head of a request.
    Head,
    /// The next request.
    Idle,
    /// The client taking a response.
    Write,
    /// The client closing after the last response.
    Linger,
}

impl Timing {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let limits = Limits {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            write: limits.write_timeout,
            linger: limits.linger_timeout,
        };
        let phase = Phase::Head { since: Instant::now() };
        let state = State { limits, phase, stalled_since: None, owes_linger: true, requests: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Since when the connection waits for its client to ask for something; `None` where a request
    /// is in flight, or its response.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        match state.phase {
            Phase::Head { since } | Phase::Idle { since } if state.stalled_since.is_none() => {
                Some(since)
            }
            Phase::Head { .. } | Phase::Idle { .. } | Phase::Busy | Phase::Lingering { .. } => None,
        }
    }

    /// Bytes arrived.
    pub(super) fn read(&self) {
        let mut state = self.lock();
        if let Phase::Idle { .. } = state.phase {
            state.phase = Phase::Head { since: Instant::now() };
        }
    }

    /// A request is complete up to its body. Says how many the connection has brought with it.
    pub(super) fn request_started(&self) -> u64 {
        let mut state = self.lock();
        state.requests += 1;
        state.owes_linger = true;
        state.phase = Phase::Busy;
        state.requests
    }

    /// The response is with the protocol layer, whole.
    pub(super) fn response_given(&self) {
        self.lock().phase = Phase::Idle { since: Instant::now() };
    }

    /// The client took some of the output.
    pub(super) fn write_progressed(&self) {
        let mut state = self.lock();
        state.stalled_since = None;
        // The rest of a long response is still on its way: not idle yet.
        if let Phase::Idle { since } = &mut state.phase {
            *since = Instant::now();
        }
    }

    /// The client takes no output.
    pub(super) fn write_stalled(&self) {
        self.lock().stalled_since.get_or_insert_with(Instant::now);
    }

    /// All output so far has left. Unlike progress it does not renew the idle time: flushing
    /// nothing succeeds as well.
    pub(super) fn flushed(&self) {
        self.lock().stalled_since = None;
    }

    /// The server shuts down. A client between two requests has no response to lose.
    pub(super) fn shutting_down(&self) {
        let mut state = self.lock();
        state.owes_linger = match state.phase {
            Phase::Head { .. } | Phase::Idle { .. } => state.stalled_since.is_some(),
            Phase::Busy | Phase::Lingering { .. } => true,
        };
    }

    /// Our side is closed. Says whether to wait for the client to close its own.
    pub(super) fn output_closed(&self) -> bool {
        let mut state = self.lock();
        state.stalled_since = None;
        state.phase = Phase::Lingering { since: Instant::now() };
        state.owes_linger
    }

    /// When the connection has waited long enough, and for what; `None` if it waits for nothing
    /// that is bounded here.
    pub(super) fn deadline(&self) -> Option<(Instant, Expiry)> {
        let state = self.lock();
        let limits = state.limits;
        let stall = state.stalled_since.map(|since| (since, limits.write, Expiry::Write));
        let phase = match state.phase {
            Phase::Head { since } => Some((since, limits.header, Expiry::Head)),
            Phase::Busy => None,
            // While the client has yet to take the response, the write's time-out is what counts.
            Phase::Idle { .. } if stall.is_some() => None,
            Phase::Idle { since } => Some((since, limits.idle, Expiry::Idle)),
            Phase::Lingering { since } => Some((since, limits.linger, Expiry::Linger)),
        };
        [stall, phase]
            .into_iter()
            .flatten()
            // A sum that overflows is a time-out that never comes.
            .filter_map(|(since, limit, expiry)| Some((since.checked_add(limit)?, expiry)))
            .min_by_key(|(at, _)| *at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state half-changed: each change is one assignment after another
        // of values computed before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn timing() -> Timing {
        Timing::new(&ServerLimits {
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            linger_timeout: Duration::from_secs(2),
            ..ServerLimits::default()
        })
    }

    fn left(timing: &Timing) -> Option<(u64, Expiry)> {
        let (at, expiry) = timing.deadline()?;
        Some((at.saturating_duration_since(Instant::now()).as_secs(), expiry))
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_deadline() {
        let timing = timing();
        assert_eq!(left(&timing), Some((1, Expiry::Head)));
        timing.request_started();
        assert_eq!(left(&timing), None);
        timing.response_given();
        assert_eq!(left(&timing), Some((10, Expiry::Idle)));
        timing.read();
        assert_eq!(left(&timing), Some((1, Expiry::Head)));
        assert!(timing.output_closed());
        assert_eq!(left(&timing), Some((2, Expiry::Linger)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_gets_no_more_time() {
        let timing = timing();
        timing.request_started();
        timing.response_given();
        timing.read();
        advance(Duration::from_secs(1)).await;
        timing.read();
        assert_eq!(left(&timing), Some((0, Expiry::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_counts_in_any_phase_until_it_progresses() {
        let timing = timing();
        timing.request_started();
        timing.write_stalled();
        advance(Duration::from_secs(2)).await;
        timing.write_stalled();
        assert_eq!(left(&timing), Some((3, Expiry::Write)));
        timing.response_given();
        assert_eq!(left(&timing), Some((3, Expiry::Write)));
        timing.write_progressed();
        assert_eq!(left(&timing), Some((10, Expiry::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn output_that_is_still_taken_is_not_idleness() {
        let timing = timing();
        timing.request_started();
        timing.response_given();
        advance(Duration::from_secs(9)).await;
        timing.write_progressed();
        assert_eq!(left(&timing), Some((10, Expiry::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_lingers_only_for_a_response() {
        let fresh = timing();
        fresh.shutting_down();
        assert!(!fresh.output_closed());

        let busy = timing();
        busy.request_started();
        busy.shutting_down();
        busy.response_given();
        assert!(busy.output_closed());

        let idle = timing();
        idle.request_started();
        idle.response_given();
        idle.shutting_down();
        assert!(!idle.output_closed());

        let late = timing();
        late.shutting_down();
        late.request_started();
        assert!(late.output_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_time_out_is_no_deadline() {
        let limits = ServerLimits { header_timeout: Duration::MAX, ..ServerLimits::default() };
        assert_eq!(Timing::new(&limits).deadline(), None);
    }
}
