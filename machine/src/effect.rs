//! Calls to make after the commit. Each may run twice, after a crash or an expired lease; each is
//! safe to: its answer counts only while its ticket does.

use crate::ids::{EngineEndpoint, GameId, RaceName, StopReason, Ticket};
use crate::version::ImageRef;

/// A call to a neighbour, and the ticket its outcome must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The game it is about.
    pub game_id: GameId,
    /// What the outcome event must carry.
    pub ticket: Ticket,
    /// Whom to ask what.
    pub call: Call,
}

/// Take a race out of the game. An engine that has done so before answers as the first time, or
/// refuses; either way nothing happens twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanishCall {
    /// Where the engine listens.
    pub endpoint: EngineEndpoint,
    /// Whom.
    pub race: RaceName,
}

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Initialise the engine; answered by `InitDone`. A repeat is refused by the engine.
    Init {
        /// Where it listens.
        endpoint: EngineEndpoint,
        /// Who plays.
        races: Vec<RaceName>,
    },
    /// Generate a turn; answered by `TurnDone`. A repeat is refused by an engine with a guard.
    Turn {
        /// Where the engine listens.
        endpoint: EngineEndpoint,
        /// The turn the engine must be at.
        expected_turn: u32,
    },
    /// Ask the engine where it stands; answered by `ProbeDone`. Changes nothing there.
    Probe {
        /// Where the engine listens.
        endpoint: EngineEndpoint,
    },
    /// Have Runtime Manager take the container down; answered by `StopDone`. Idempotent.
    Stop {
        /// Passed on.
        reason: StopReason,
    },
    /// Have Runtime Manager replace the container; answered by `PatchDone`. Idempotent.
    Patch {
        /// The image wanted.
        image_ref: ImageRef,
    },
}
