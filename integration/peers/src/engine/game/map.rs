//! The map: where planets are and who holds them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Both coordinates are below this.
pub(super) const MAP_SIDE: u64 = 100;
/// Home planets are alike: the start is fair whatever the seed.
const HOME_SIZE: u32 = 600;
const HOME_POPULATION: u64 = 100;
const MIN_SIZE: u64 = 200;
const MAX_SIZE: u64 = 1_000;

/// What never changes about a planet. Its place in the list is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Site {
    pub(super) x: u32,
    pub(super) y: u32,
    /// People it can feed before anything is built.
    pub(super) size: u32,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HoldingRow", into = "HoldingRow")]
pub(super) struct Holding {
    /// Index of the race.
    pub(super) owner: Option<u32>,
    pub(super) population: u64,
    /// Built-up level: more growth, more room, better defence.
    pub(super) level: u32,
}

/// A holding is by far the most frequent thing in the state file: a bare array keeps it short.
type HoldingRow = (Option<u32>, u64, u32);

impl From<HoldingRow> for Holding {
    fn from((owner, population, level): HoldingRow) -> Self {
        Self { owner, population, level }
    }
}

impl From<Holding> for HoldingRow {
    fn from(Holding { owner, population, level }: Holding) -> Self {
        (owner, population, level)
    }
}

impl Holding {
    pub(super) const FREE: Self = Self { owner: None, population: 0, level: 0 };
}

/// Planets and population of one race.
pub(super) fn totals(holdings: &[Holding], race: u32) -> (u32, u64) {
    holdings
        .iter()
        .filter(|holding| holding.owner == Some(race))
        .fold((0, 0), |(planets, population), h| (planets + 1, population + h.population))
}

/// `planets` planets at distinct places; the first `races` of them are the homes.
pub(super) fn generate(
    random: &mut SplitMix64,
    planets: u32,
    races: u32,
) -> (Vec<Site>, Vec<Holding>) {
    let mut taken = BTreeSet::new();
    let mut sites = Vec::new();
    let mut holdings = Vec::new();
    for planet in 0..planets {
        let mut place = random.below(MAP_SIDE * MAP_SIDE);
        // Ends: there are far fewer planets than places.
        while !taken.insert(place) {
            place = (place + 1) % (MAP_SIDE * MAP_SIDE);
        }
        let home = planet < races;
        let size = (MIN_SIZE + random.below(MAX_SIZE - MIN_SIZE + 1)) as u32;
        sites.push(Site {
            x: (place % MAP_SIDE) as u32,
            y: (place / MAP_SIDE) as u32,
            size: if home { HOME_SIZE } else { size },
        });
        holdings.push(if home {
            Holding { owner: Some(planet), population: HOME_POPULATION, level: 0 }
        } else {
            Holding::FREE
        });
    }
    (sites, holdings)
}

/// Steele, Lea and Flood's generator: tiny, and the same on every platform for ever.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Slightly uneven, which no rule of this game can feel.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A well-formed version 4 identifier.
    pub(super) fn next_uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
