//! What happens in one life, as data: the same plan gives the same life again.

use serde::{Deserialize, Serialize};

use crate::world::ENGINES;

mod check;
mod deed;
mod trouble;

pub use check::Mistake;
pub use deed::{Action, Deed};
pub use trouble::{End, EngineTrouble, Fault, Loss, Moment, Refusal, Stray, Trouble};

/// Everything that one run is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where it came from, and what the network draws its delays from.
    pub seed: u64,
    /// How time passes.
    pub profile: Profile,
    /// Instances of Game Master.
    pub gms: usize,
    /// What they keep their records in.
    #[serde(default)]
    pub store: StoreKind,
    /// How long things go wrong, in simulated milliseconds.
    pub safety_ms: u64,
    /// How long everything may take to come to rest after that.
    pub patience_ms: u64,
    /// Every game that there will be.
    pub games: Vec<GamePlan>,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Fault>,
    /// What people do, in the order of time.
    pub actions: Vec<Action>,
    /// A part that does not what it says, to see that somebody notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sabotage: Option<Sabotage>,
}

impl Plan {
    /// Whether engines carry out what they are asked at once or never, so that whoever asks where
    /// they stand is told the truth: nothing holds a request up or comes between.
    pub fn engines_act_at_once(&self) -> bool {
        const HOLD_NOTHING_UP: [&str; 6] =
            ["store_", "postgres_", "engine_drops", "engine_garbage", "engine_4xx", "engine_5xx"];
        let is_one = |name: &str| HOLD_NOTHING_UP.iter().any(|begin| name.starts_with(begin));
        self.sabotage.is_none() && self.faults.iter().all(|fault| is_one(fault.what.name()))
    }

    /// Whether engines learn at once that a caller has hung up: nothing is lost or held on the way.
    pub fn hanging_up_is_seen(&self) -> bool {
        let is_held = |what: &Trouble| {
            matches!(what, Trouble::GmFrozen { .. })
                || matches!(
                    what,
                    Trouble::Partition { a, b }
                    | Trouble::OneWay { from: a, to: b }
                    | Trouble::Hold { a, b }
                    | Trouble::Delay { a, b, .. }
                    | Trouble::Lossy { a, b, .. } if a == ENGINES || b == ENGINES
                )
        };
        !self.faults.iter().any(|fault| is_held(&fault.what))
    }

    /// Whether clocks jump so far that the name of a request is forgotten while it is still asked
    /// under it: the keys of requests are kept for a day, by the clocks of those who commit.
    pub fn clocks_outlive_keys(&self) -> bool {
        const HALF_A_DAY_MS: u64 = 12 * 3_600_000;
        let jump_ms = |fault: &Fault| {
            if let Trouble::ClockJump { ms, .. } = fault.what { ms.unsigned_abs() } else { 0 }
        };
        // Together: two clocks may jump apart, and one of them more than once.
        let jumped_ms = self.faults.iter().map(jump_ms).fold(0, u64::saturating_add);
        jumped_ms > HALF_A_DAY_MS
    }

    /// Whether nothing goes wrong: processes are told to end, at the most.
    pub fn is_undisturbed(&self) -> bool {
        let is_order = |fault: &Fault| matches!(fault.what, Trouble::GmStops { .. });
        self.sabotage.is_none() && self.faults.iter().all(is_order)
    }
}

/// A part that does not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// Appends of intents that are said to be done and are not.
    SwallowAppends,
    /// Appends that are done twice, once under an id of their own.
    RepeatAppends,
    /// Commits that are said to be done and are not.
    SwallowCommits,
    /// Commits that leave out the key of their request.
    ForgetKeys,
    /// Engines that say they look at the turn that is expected of them, and do not.
    Unguarded,
    /// Game Masters that believe what Lobby said of members for ever, as long as nobody objects.
    BelieveForEver,
    /// Looks at a record that show what it was before.
    ShowThePast,
}

/// What the records are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// The embedded store, asked over the network.
    #[default]
    Embedded,
    /// The production adapter, over a simulated PostgreSQL.
    Postgres,
}

impl StoreKind {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Postgres => "postgres",
        }
    }
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Fine ticks, seconds between turns: races between the parts.
    Race,
    /// Coarse ticks, days of schedules: the calendar, outages, clocks that jump.
    Calendar,
}

impl Profile {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::Calendar => "calendar",
        }
    }
}

/// One game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GamePlan {
    /// Its id.
    pub id: String,
    /// When Lobby is asked to start it.
    pub start_ms: u64,
    /// Its turn clock.
    pub schedule: String,
    /// The version of its engine.
    pub version: String,
    /// Who plays.
    pub players: usize,
    /// The last turn of the game.
    pub turn_limit: u32,
    /// How long the engine takes for a turn.
    pub turn_ms: u64,
    /// How often each player has a look.
    pub player_period_ms: u64,
    /// How long a player waits for an answer before hanging up.
    pub player_patience_ms: u64,
}
