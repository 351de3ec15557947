//! What happens in one life, as data: the same plan gives the same life again.

use serde::{Deserialize, Serialize};

use crate::postgres::{Conduct, Strike};
use crate::world::ENGINES;

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

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at_ms: u64,
    /// For how long, where it lasts.
    pub for_ms: u64,
    /// What.
    pub what: Trouble,
}

/// Before or after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The request was not sent.
    Before,
    /// The answer came, and nothing was made of it.
    After,
}

impl Moment {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What a crash costs the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// What was written in the last so many milliseconds.
    Tail(u64),
    /// Everything.
    Everything,
}

/// Why Redis refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is a replica: it takes no writes.
    ReadOnly,
    /// It is reading its file: it takes nothing.
    Loading,
    /// It has no memory left: it takes no more entries.
    Full,
}

/// What is astray in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stray {
    /// Among the health events is what is none, or is about no game there is.
    Poison,
    /// So many of the latest health events are told a second time.
    Repeated {
        /// How many.
        count: usize,
    },
    /// The place up to which health events were read is lost.
    OffsetLost,
    /// Among the events for Lobby is one of somebody else, under an id from the far future.
    Foreign,
}

/// What goes wrong. Hosts are named as in the world: `gm-0`, `store`, `redis`, `engines`, `rtm`,
/// `lobby`, `notification`, `gateway`, `admin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the fields are hosts, games and amounts, by their names")]
pub enum Trouble {
    /// A process ends at once, and starts again after the time given.
    GmCrash { gm: usize },
    /// A process is told to stop, takes its time, and starts again.
    GmStops { gm: usize },
    /// A process ends when it comes to a point of contact for the nth time.
    GmCrashAt { gm: usize, point: String, moment: Moment, nth: u64 },
    /// The store's host ends and starts again with what was durable.
    StoreCrash,
    /// Redis ends and starts again with what it kept.
    RedisCrash { loss: Loss },
    /// The host of the engines ends; their files stay.
    EnginesCrash,
    /// Nothing passes, either way; new connections wait for it to be over.
    Partition { a: String, b: String },
    /// Nothing passes, one way.
    OneWay { from: String, to: String },
    /// Everything between them waits, and arrives when it is over.
    Hold { a: String, b: String },
    /// Everything between them takes so long.
    Delay { a: String, b: String, ms: u64 },
    /// So many of a thousand messages between them are lost.
    Lossy { a: String, b: String, per_mille: u64 },
    /// Every connection between them is reset.
    Reset { a: String, b: String },
    /// So many changes reach the store and are lost there, with their connections.
    StoreRequestsLost { count: u64 },
    /// So many changes are made durable, and their connections end without an answer.
    StoreAnswersLost { count: u64 },
    /// The store takes so long for everything.
    StoreSlow { ms: u64 },
    /// PostgreSQL behaves so for the time given.
    PostgresConduct { conduct: Conduct },
    /// This happens once to PostgreSQL.
    PostgresStruck { by: Strike },
    /// So many appends are carried out, and their connections end without an answer.
    RedisAnswersLost { count: u64 },
    /// Redis takes so long for everything.
    RedisSlow { ms: u64 },
    /// An engine misbehaves.
    Engine { game: usize, bad: EngineTrouble },
    /// An engine's process ends; Runtime Manager starts it again.
    EngineEnds { game: usize, how: End },
    /// The same, and its file is lost.
    EngineForgets { game: usize },
    /// Runtime Manager answers 503.
    RtmDown,
    /// Runtime Manager tells nothing of the engines' health.
    RtmMute,
    /// Lobby is reachable for nobody.
    LobbyDown,
    /// Lobby takes so long to answer after it has done what it was asked.
    LobbySlow { ms: u64 },
    /// Lobby's process ends, and starts again with its state.
    LobbyCrash,
    /// Runtime Manager's process ends, and its engines with it; it starts them again.
    RtmCrash,
    /// The process that reads the intents ends, and starts again where it was.
    NotificationCrash,
    /// Everything between an instance and everybody else waits for longer than its leases last, as if
    /// it were frozen, and arrives when it is over; only that its own clock goes on.
    GmFrozen { gm: usize },
    /// Redis answers, and refuses.
    RedisRefuses { how: Refusal },
    /// Something is in Redis that nobody there has written, or is not.
    Astray { what: Stray },
    /// The clock of an instance jumps, and stays so.
    ClockJump { gm: usize, ms: i64 },
}

impl Trouble {
    /// Every name there is.
    pub const NAMES: [&'static str; 52] = [
        "gm_crash",
        "gm_stops",
        "gm_crash_at",
        "store_crash",
        "redis_crash",
        "redis_tail_lost",
        "redis_flushed",
        "engines_crash",
        "partition",
        "one_way",
        "hold",
        "delay",
        "lossy",
        "reset",
        "store_requests_lost",
        "store_answers_lost",
        "store_slow",
        "postgres_conduct",
        "postgres_crash",
        "postgres_terminates",
        "postgres_loses_answers",
        "postgres_held",
        "redis_answers_lost",
        "redis_slow",
        "engine_slow",
        "engine_hangs",
        "engine_5xx",
        "engine_4xx",
        "engine_429",
        "engine_drops",
        "engine_drops_players",
        "engine_hangs_players",
        "engine_garbage",
        "engine_lies",
        "engine_ends",
        "engine_forgets",
        "rtm_down",
        "rtm_mute",
        "lobby_down",
        "lobby_slow",
        "lobby_crash",
        "rtm_crash",
        "notification_crash",
        "gm_frozen",
        "redis_read_only",
        "redis_loading",
        "redis_full",
        "health_poisoned",
        "health_repeated",
        "health_offset_lost",
        "foreign_event",
        "clock_jump",
    ];

    /// What to count it as.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GmCrash { .. } => "gm_crash",
            Self::GmStops { .. } => "gm_stops",
            Self::GmCrashAt { .. } => "gm_crash_at",
            Self::StoreCrash => "store_crash",
            Self::RedisCrash { loss: Loss::Nothing } => "redis_crash",
            Self::RedisCrash { loss: Loss::Tail(_) } => "redis_tail_lost",
            Self::RedisCrash { loss: Loss::Everything } => "redis_flushed",
            Self::EnginesCrash => "engines_crash",
            Self::Partition { .. } => "partition",
            Self::OneWay { .. } => "one_way",
            Self::Hold { .. } => "hold",
            Self::Delay { .. } => "delay",
            Self::Lossy { .. } => "lossy",
            Self::Reset { .. } => "reset",
            Self::StoreRequestsLost { .. } => "store_requests_lost",
            Self::StoreAnswersLost { .. } => "store_answers_lost",
            Self::StoreSlow { .. } => "store_slow",
            Self::PostgresConduct { .. } => "postgres_conduct",
            Self::PostgresStruck { by: Strike::Crash { .. } } => "postgres_crash",
            Self::PostgresStruck { by: Strike::Terminate } => "postgres_terminates",
            Self::PostgresStruck { by: Strike::LoseAnswers { .. } } => "postgres_loses_answers",
            Self::PostgresStruck { by: Strike::Hold { .. } } => "postgres_held",
            Self::RedisAnswersLost { .. } => "redis_answers_lost",
            Self::RedisSlow { .. } => "redis_slow",
            Self::Engine { bad, .. } => bad.name(),
            Self::EngineEnds { .. } => "engine_ends",
            Self::EngineForgets { .. } => "engine_forgets",
            Self::RtmDown => "rtm_down",
            Self::RtmMute => "rtm_mute",
            Self::LobbyDown => "lobby_down",
            Self::LobbySlow { .. } => "lobby_slow",
            Self::LobbyCrash => "lobby_crash",
            Self::RtmCrash => "rtm_crash",
            Self::NotificationCrash => "notification_crash",
            Self::GmFrozen { .. } => "gm_frozen",
            Self::RedisRefuses { how: Refusal::ReadOnly } => "redis_read_only",
            Self::RedisRefuses { how: Refusal::Loading } => "redis_loading",
            Self::RedisRefuses { how: Refusal::Full } => "redis_full",
            Self::Astray { what: Stray::Poison } => "health_poisoned",
            Self::Astray { what: Stray::Repeated { .. } } => "health_repeated",
            Self::Astray { what: Stray::OffsetLost } => "health_offset_lost",
            Self::Astray { what: Stray::Foreign } => "foreign_event",
            Self::ClockJump { .. } => "clock_jump",
        }
    }
}

/// How an engine misbehaves, for so many requests or for the time given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
#[expect(missing_docs, reason = "the fields are amounts, by their names")]
pub enum EngineTrouble {
    /// Waits before it acts.
    SlowBefore { ms: u64 },
    /// Acts, and waits before it answers.
    SlowAfter { ms: u64 },
    /// Never answers; acts or does not.
    Hangs { count: u32, acts: bool },
    /// Answers with a status that is an error; acts or does not.
    Fails { count: u32, status: u16, acts: bool },
    /// Acts, and closes the connection.
    Drops { count: u32 },
    /// The same when players command.
    DropsPlayers { count: u32 },
    /// Never answers players.
    HangsPlayers { count: u32 },
    /// Acts, and answers with something that is no JSON.
    Garbage { count: u32 },
    /// Acts, and tells a wrong turn.
    Lies { count: u32, by: i32 },
}

impl EngineTrouble {
    fn name(&self) -> &'static str {
        match self {
            Self::SlowBefore { .. } | Self::SlowAfter { .. } => "engine_slow",
            Self::Hangs { .. } => "engine_hangs",
            Self::Fails { status: 500.., .. } => "engine_5xx",
            Self::Fails { status: 429, .. } => "engine_429",
            Self::Fails { .. } => "engine_4xx",
            Self::Drops { .. } => "engine_drops",
            Self::DropsPlayers { .. } => "engine_drops_players",
            Self::HangsPlayers { .. } => "engine_hangs_players",
            Self::Garbage { .. } => "engine_garbage",
            Self::Lies { .. } => "engine_lies",
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself.
    Exited,
    /// For want of memory.
    OutOfMemory,
    /// Nobody knows.
    Disappeared,
}

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// When.
    pub at_ms: u64,
    /// Which instance is asked.
    pub gm: usize,
    /// How long whoever asks waits before hanging up.
    pub patience_ms: u64,
    /// Asked so many times more under the same `Idempotency-Key`.
    pub repeats: u32,
    /// Then the same key comes with something else, once the first answer is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuses_key: bool,
    /// What.
    pub what: Deed,
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the fields are games, players and versions, by their names")]
pub enum Deed {
    /// The next turn at once.
    Force { game: usize },
    /// The end of a game.
    Stop { game: usize },
    /// Another patch version of the engine.
    Patch { game: usize, version: String },
    /// Ask the engine where it stands.
    Reconcile { game: usize },
    /// A race goes.
    Banish { game: usize, player: usize },
    /// A member is barred by Lobby.
    Block { game: usize, player: usize },
    /// A version is registered.
    CreateVersion { version: String },
    /// A version gets another image.
    UpdateVersion { version: String },
    /// No new games on a version.
    DeprecateVersion { version: String },
    /// The record of a game.
    Get { game: usize },
    /// The list of all games.
    List,
}

impl Deed {
    /// The game it is about.
    pub fn game(&self) -> Option<usize> {
        match self {
            Self::Force { game }
            | Self::Stop { game }
            | Self::Patch { game, .. }
            | Self::Reconcile { game }
            | Self::Banish { game, .. }
            | Self::Block { game, .. }
            | Self::Get { game } => Some(*game),
            Self::CreateVersion { .. }
            | Self::UpdateVersion { .. }
            | Self::DeprecateVersion { .. }
            | Self::List => None,
        }
    }

    /// What to call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Force { .. } => "force",
            Self::Stop { .. } => "stop",
            Self::Patch { .. } => "patch",
            Self::Reconcile { .. } => "reconcile",
            Self::Banish { .. } => "banish",
            Self::Block { .. } => "block",
            Self::CreateVersion { .. } => "create_version",
            Self::UpdateVersion { .. } => "update_version",
            Self::DeprecateVersion { .. } => "deprecate_version",
            Self::Get { .. } => "get",
            Self::List => "list",
        }
    }
}
