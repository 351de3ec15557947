//! What goes wrong in a life.

use serde::{Deserialize, Serialize};

use crate::postgres::{Conduct, Strike};

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
    pub const NAMES: [&'static str; 53] = [
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
        "engine_drips",
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
    /// Acts, and answers in drops, with a pause before each of them.
    Drips { count: u32, ms: u64 },
    /// Acts, and closes the connection when players command.
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
            Self::Drips { .. } => "engine_drips",
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
