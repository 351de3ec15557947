//! What strikes when: drawn from a seed before anything starts, and so the same for the same seed.
//!
//! Strikes are in lanes. Those of one lane follow each other; those of different lanes meet as they
//! come.

use std::fmt;
use std::time::Duration;

/// What can be done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named by `label`")]
pub enum Kind {
    GameMasterKilled,
    GameMasterFrozen,
    GameMastersRestarted,
    PostgresKilled,
    RedisKilled,
    RedisTailLost,
    RedisFlushed,
    EnginesKilled,
    LobbyKilled,
    RtmKilled,
    NotificationKilled,
    GatewayKilled,
    LinksCut,
    LinksSilent,
    LinksSlow,
}

impl Kind {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 15] = [
        Self::GameMasterKilled,
        Self::GameMasterFrozen,
        Self::GameMastersRestarted,
        Self::PostgresKilled,
        Self::RedisKilled,
        Self::RedisTailLost,
        Self::RedisFlushed,
        Self::EnginesKilled,
        Self::LobbyKilled,
        Self::RtmKilled,
        Self::NotificationKilled,
        Self::GatewayKilled,
        Self::LinksCut,
        Self::LinksSilent,
        Self::LinksSlow,
    ];

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::GameMasterKilled => "Game Master: kill -9",
            Self::GameMasterFrozen => "Game Master: stopped, continued",
            Self::GameMastersRestarted => "Game Master: rolling restart",
            Self::PostgresKilled => "PostgreSQL: kill -9",
            Self::RedisKilled => "Redis: kill -9",
            Self::RedisTailLost => "Redis: kill -9, last data lost",
            Self::RedisFlushed => "Redis: everything lost",
            Self::EnginesKilled => "engines: kill -9",
            Self::LobbyKilled => "Lobby: kill -9",
            Self::RtmKilled => "Runtime Manager: kill -9",
            Self::NotificationKilled => "notification: kill -9",
            Self::GatewayKilled => "gateway: kill -9",
            Self::LinksCut => "connections cut",
            Self::LinksSilent => "connections silent",
            Self::LinksSlow => "connections slow",
        }
    }

    /// Whose process it kills, of those that are counted: the three that hold the state.
    pub fn kills(self) -> Option<Victim> {
        match self {
            Self::GameMasterKilled => Some(Victim::GameMaster),
            Self::PostgresKilled => Some(Victim::Postgres),
            Self::RedisKilled | Self::RedisTailLost => Some(Victim::Redis),
            Self::GameMasterFrozen
            | Self::GameMastersRestarted
            | Self::RedisFlushed
            | Self::EnginesKilled
            | Self::LobbyKilled
            | Self::RtmKilled
            | Self::NotificationKilled
            | Self::GatewayKilled
            | Self::LinksCut
            | Self::LinksSilent
            | Self::LinksSlow => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// A kind of process that there is a goal for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Victim {
    GameMaster,
    Postgres,
    Redis,
}

impl Victim {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GameMaster, Self::Postgres, Self::Redis];

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::GameMaster => "Game Master",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }
}

/// Strikes that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// `kill -9` of a Game Master.
    GameMaster,
    /// What takes a Game Master away for a while: frozen, or restarted in order.
    Absence,
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// Engines, Lobby, Runtime Manager, notification, gateway.
    Neighbours,
    /// The connections between Game Master and the others.
    Links,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::GameMaster,
        Self::Absence,
        Self::Postgres,
        Self::Redis,
        Self::Neighbours,
        Self::Links,
    ];

    /// How it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::GameMaster => "gamemaster",
            Self::Absence => "absence",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Neighbours => "neighbours",
            Self::Links => "links",
        }
    }

    /// How many times the pause between two kills lies between two strikes of this lane.
    fn pace(self) -> u32 {
        match self {
            Self::GameMaster | Self::Postgres | Self::Redis => 1,
            Self::Neighbours | Self::Links => 2,
            Self::Absence => 5,
        }
    }

    /// What strikes in it, each as often as its weight says.
    fn kinds(self) -> &'static [(Kind, u64)] {
        match self {
            Self::GameMaster => &[(Kind::GameMasterKilled, 1)],
            Self::Absence => &[(Kind::GameMasterFrozen, 2), (Kind::GameMastersRestarted, 1)],
            Self::Postgres => &[(Kind::PostgresKilled, 1)],
            Self::Redis => {
                &[(Kind::RedisKilled, 28), (Kind::RedisTailLost, 10), (Kind::RedisFlushed, 2)]
            }
            Self::Neighbours => &[
                (Kind::EnginesKilled, 4),
                (Kind::LobbyKilled, 2),
                (Kind::RtmKilled, 1),
                (Kind::NotificationKilled, 1),
                (Kind::GatewayKilled, 2),
            ],
            Self::Links => &[(Kind::LinksCut, 3), (Kind::LinksSilent, 2), (Kind::LinksSlow, 1)],
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// When, from the start; later where the one before in its lane still goes on.
    pub(super) at: Duration,
    /// What.
    pub(super) kind: Kind,
    /// Which of several, taken by its remainder.
    pub(super) pick: u64,
    /// How long it lasts, where it is not over at once.
    pub(super) lasts: Duration,
}

/// Random numbers from a seed: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Those of a seed, and of a purpose of its own.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95));
        // Neighbouring seeds begin alike without it.
        random.next();
        random
    }

    /// The next one.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A time between two.
    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(span))
    }
}

/// A process is stopped for longer than its terms last, and now and then for longer than its leases.
const FREEZES: [Duration; 4] = [
    Duration::from_secs(7),
    Duration::from_secs(8),
    Duration::from_secs(9),
    Duration::from_secs(24),
];

/// The strikes of a lane: one about every `every`, as far as the lane keeps the pace of the kills.
pub(super) fn plan(seed: u64, lane: Lane, every: Duration, duration: Duration) -> Vec<Strike> {
    let mut random = Random::new(seed, lane as u64 + 1);
    let pause = every * lane.pace();
    let kinds = lane.kinds();
    let weight: u64 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut at = random.between(Duration::ZERO, pause);
    let mut strikes = vec![];
    while at < duration {
        let mut place = random.below(weight);
        let drawn = kinds.iter().find(|(_, weight)| {
            let is_it = place < *weight;
            place = place.saturating_sub(*weight);
            is_it
        });
        let Some((kind, _)) = drawn else { break };
        let (pick, lasts) = (random.next(), lasts(*kind, every, &mut random));
        strikes.push(Strike { at, kind: *kind, pick, lasts });
        at += random.between(pause * 6 / 10, pause * 14 / 10);
    }
    strikes
}

fn lasts(kind: Kind, every: Duration, random: &mut Random) -> Duration {
    match kind {
        Kind::GameMasterFrozen => {
            let which = random.below(FREEZES.len() as u64);
            FREEZES.get(usize::try_from(which).unwrap_or(0)).copied().unwrap_or_default()
        }
        Kind::LinksSilent | Kind::LinksSlow => random.between(every / 10, every),
        Kind::GameMasterKilled
        | Kind::GameMastersRestarted
        | Kind::PostgresKilled
        | Kind::RedisKilled
        | Kind::RedisTailLost
        | Kind::RedisFlushed
        | Kind::EnginesKilled
        | Kind::LobbyKilled
        | Kind::RtmKilled
        | Kind::NotificationKilled
        | Kind::GatewayKilled
        | Kind::LinksCut => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EVERY: Duration = Duration::from_secs(4);
    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_is_a_plan() {
        for lane in Lane::ALL {
            let of = |seed| plan(seed, lane, EVERY, TEN_MINUTES);
            assert_eq!(of(7), of(7));
            assert_ne!(of(7), of(8), "{}", lane.name());
        }
    }

    #[test]
    fn ten_minutes_hold_a_hundred_kills_of_each_kind_of_process() {
        for seed in 0..20 {
            for victim in Victim::ALL {
                let plans = Lane::ALL.map(|lane| plan(seed, lane, EVERY, TEN_MINUTES));
                let kills =
                    plans.iter().flatten().filter(|strike| strike.kind.kills() == Some(victim));
                assert!(kills.count() >= 100, "{victim:?} with seed {seed}");
            }
        }
    }

    #[test]
    fn every_kind_strikes_and_in_one_lane_only() {
        let mut seen = BTreeSet::new();
        for lane in Lane::ALL {
            let strikes = plan(1, lane, EVERY, TEN_MINUTES * 6);
            assert!(strikes.windows(2).all(|pair| pair[0].at < pair[1].at));
            let kinds: BTreeSet<Kind> = strikes.iter().map(|strike| strike.kind).collect();
            assert!(kinds.iter().all(|kind| seen.insert(*kind)), "{kinds:?}");
        }
        assert_eq!(seen, Kind::ALL.into_iter().collect());
    }
}
