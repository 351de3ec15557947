//! The start flow, without I/O: what a game needs next, and what follows from how that went.
//!
//! ```text
//!  draft ──start──▶ starting ──job appended──▶ awaiting_container ──success──▶ registering
//!    ▲                                               │ failure                 │  │  ▲
//!    │ (start again)                                 ▼                         │  │  │ Game Master
//!    └─────────────────────────────────────── start_failed ◀────refused────────┘  │  │ is back
//!                                                                     unreachable │  │
//!                        finished ◀── last event ── running ◀─registered─┘        ▼  │
//!                                                                                paused
//! ```
//!
//! A step may be carried out twice (a crash between doing it and noting it): the job by its id, the
//! registration by its idempotency key and Game Master's record, the intent by its key, all survive
//! that.

use std::time::Duration;

use super::game::{Container, Game, Phase, UntoldPause};
use crate::{
    backoff::Backoff,
    messages::{JobOutcome, JobResult, StartJob},
};

/// What is to be done for a game, by somebody who can do I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append the job to `runtime:start_jobs`.
    AppendJob(StartJob),
    /// Ask Game Master to take over.
    Register {
        /// The engine.
        container: Container,
        /// Tries that failed so far.
        failures: u32,
        /// Part of the idempotency key.
        key_number: u32,
    },
    /// Ask Game Master whether it is back.
    CheckBack(Container),
    /// Ask Runtime Manager to stop an engine that is up for nothing.
    StopOrphan(Container),
    /// Append the intent about a pause to `notification:intents`.
    TellPause(UntoldPause),
}

/// How an action went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Appended, stopped, told.
    Done,
    /// Game Master runs the game.
    Registered,
    /// Game Master is up and does not know the game.
    Unregistered,
    /// Game Master refuses a registration as in conflict with one of which nothing is left.
    KeySpent,
    /// Not yet: try again later.
    NotYet(String),
    /// Game Master says no, and will say so again.
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// Game Master could not do it, and says that nothing happened.
    Trouble {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// No answer from Game Master, or one that says as much.
    Unreachable {
        /// Whether the request may have had its effect.
        may_have_happened: bool,
        /// For people.
        message: String,
    },
}

/// What an outcome led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The game moved on.
    Moved,
    /// The same again, later.
    Again,
    /// The game had moved on before.
    Late,
}

/// Waits and bounds of the flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowTiming {
    /// Between tries of a step.
    pub backoff: Backoff,
    /// Between looks whether Game Master is back.
    pub resume: Backoff,
    /// How long to wait for a job's result before the same job is appended again.
    pub job_result_timeout: Duration,
    /// Registrations that may fail in a row before the game is paused.
    pub register_tries: u32,
}

impl Default for FlowTiming {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            resume: Backoff { first: Duration::from_secs(2), cap: Duration::from_secs(30) },
            job_result_timeout: Duration::from_secs(60),
            register_tries: 3,
        }
    }
}

/// The next step of a game's start, if it needs one.
pub fn next_step(game: &Game) -> Option<Action> {
    match &game.phase {
        Phase::Starting { job } | Phase::AwaitingContainer { job } => {
            Some(Action::AppendJob(job.clone()))
        }
        Phase::Registering { container, failures, key_number } => Some(Action::Register {
            container: container.clone(),
            failures: *failures,
            key_number: *key_number,
        }),
        Phase::Paused { container, .. } => Some(Action::CheckBack(container.clone())),
        Phase::StartFailed { orphan, .. } => orphan.clone().map(Action::StopOrphan),
        Phase::Draft | Phase::Running { .. } | Phase::Finished => None,
    }
}

/// What somebody has yet to be told about a game. It waits for nothing else.
pub fn next_telling(game: &Game) -> Option<Action> {
    game.untold_pause.clone().map(Action::TellPause)
}

/// How long to wait before `action`, which was tried `failures` times without moving the game.
pub fn pause_before(game: &Game, action: &Action, failures: u32, timing: &FlowTiming) -> Duration {
    let backoff = |failures| match failures {
        0 => Duration::ZERO,
        some => timing.backoff.delay(some),
    };
    match action {
        Action::AppendJob(_) if matches!(game.phase, Phase::AwaitingContainer { .. }) => {
            timing.job_result_timeout.max(backoff(failures))
        }
        Action::Register { failures: counted, .. } => backoff(failures.max(*counted)),
        Action::CheckBack(_) => timing.resume.delay(failures.saturating_add(1)),
        Action::AppendJob(_) | Action::StopOrphan(_) | Action::TellPause(_) => backoff(failures),
    }
}

/// Writes down how `action` went. `stops_orphans` says whether somebody can be asked to.
pub fn settle(
    game: &mut Game,
    action: &Action,
    outcome: Outcome,
    register_tries: u32,
    stops_orphans: bool,
    now_ms: u64,
) -> Settled {
    let is_current = [next_step(game), next_telling(game)].iter().flatten().any(|a| a == action);
    if !is_current {
        return Settled::Late;
    }
    match (action, outcome) {
        (Action::AppendJob(job), Outcome::Done) => {
            if matches!(game.phase, Phase::AwaitingContainer { .. }) {
                return Settled::Again;
            }
            game.phase = Phase::AwaitingContainer { job: job.clone() };
            Settled::Moved
        }
        (Action::TellPause(_), Outcome::Done) => {
            game.untold_pause = None;
            Settled::Moved
        }
        (Action::StopOrphan(_), Outcome::Done) => {
            if let Phase::StartFailed { orphan, .. } = &mut game.phase {
                *orphan = None;
            }
            Settled::Moved
        }
        (Action::Register { container, .. } | Action::CheckBack(container), outcome) => {
            let container = container.clone();
            settle_registration(game, container, outcome, register_tries, stops_orphans, now_ms)
        }
        (Action::AppendJob(_) | Action::TellPause(_) | Action::StopOrphan(_), _) => Settled::Again,
    }
}

fn settle_registration(
    game: &mut Game,
    container: Container,
    outcome: Outcome,
    register_tries: u32,
    stops_orphans: bool,
    now_ms: u64,
) -> Settled {
    let (is_paused, failures, key_number) = match &game.phase {
        Phase::Registering { failures, key_number, .. } => (false, *failures, *key_number),
        Phase::Paused { key_number, .. } => (true, 0, *key_number),
        Phase::Draft
        | Phase::Starting { .. }
        | Phase::AwaitingContainer { .. }
        | Phase::Running { .. }
        | Phase::StartFailed { .. }
        | Phase::Finished => return Settled::Late,
    };
    let failures = failures.saturating_add(1);
    let next_key = key_number.saturating_add(1);
    match outcome {
        Outcome::Registered => {
            game.phase = Phase::Running { container };
            Settled::Moved
        }
        Outcome::Unregistered => {
            if !is_paused {
                return Settled::Again;
            }
            game.phase = Phase::Registering { container, failures: 0, key_number };
            Settled::Moved
        }
        // The key may have been used with other members than there are now. That is no failure, and
        // costs a wait all the same.
        Outcome::KeySpent => {
            let failures = failures.saturating_sub(1).max(1);
            game.phase = Phase::Registering { container, failures, key_number: next_key };
            Settled::Moved
        }
        Outcome::Refused { code, message } => {
            fail(game, container, code, message, stops_orphans);
            Settled::Moved
        }
        // While paused, this is what the question "are you back?" met: ask again.
        Outcome::Trouble { .. } | Outcome::Unreachable { .. } if is_paused => Settled::Again,
        Outcome::Trouble { code, message } => {
            if failures >= register_tries {
                fail(game, container, code, message, stops_orphans);
            } else {
                game.phase = Phase::Registering { container, failures, key_number: next_key };
            }
            Settled::Moved
        }
        Outcome::Unreachable { may_have_happened, message } => {
            let key_number = if may_have_happened { key_number } else { next_key };
            if failures >= register_tries {
                game.pause(container, key_number, message, now_ms);
            } else {
                game.phase = Phase::Registering { container, failures, key_number };
            }
            Settled::Moved
        }
        Outcome::NotYet(_) | Outcome::Done => Settled::Again,
    }
}

/// Applies a job's result: `false` where the game does not wait for it.
pub fn apply_result(game: &mut Game, result: &JobResult) -> bool {
    let waits = match &game.phase {
        // The result can overtake our own note that the job is on the stream.
        Phase::Starting { job } | Phase::AwaitingContainer { job } => job.job_id == result.job_id,
        Phase::Draft
        | Phase::Registering { .. }
        | Phase::Running { .. }
        | Phase::Paused { .. }
        | Phase::StartFailed { .. }
        | Phase::Finished => false,
    };
    if !waits {
        return false;
    }
    let said = || result.error_message.clone().unwrap_or_default();
    let failed =
        |code: &str, message| Phase::StartFailed { code: code.to_owned(), message, orphan: None };
    game.phase = match (result.outcome, &result.engine_endpoint, &result.container_id) {
        (JobOutcome::Success, Some(endpoint), Some(container_id)) => Phase::Registering {
            container: Container {
                job_id: result.job_id.clone(),
                container_id: container_id.clone(),
                engine_endpoint: endpoint.clone(),
            },
            failures: 0,
            key_number: 0,
        },
        (JobOutcome::Success, _, _) => {
            failed("runtime_protocol_violation", "success without an endpoint".to_owned())
        }
        (failure, _, _) => failed(failure.as_str(), said()),
    };
    true
}

fn fail(game: &mut Game, container: Container, code: String, message: String, stops: bool) {
    let orphan = stops.then_some(container);
    game.phase = Phase::StartFailed { code, message, orphan };
}

#[cfg(test)]
mod tests;
