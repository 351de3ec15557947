//! What a race is told about a turn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Game,
    command::{Command, Outcome},
    map::{self, Holding},
};

/// A turn as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) turn: u32,
    pub(super) holdings: Vec<Holding>,
    pub(super) outcomes: BTreeMap<u32, Vec<Outcome>>,
}

/// A race's report. There is no fog on this map; orders and their outcomes are the race's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whose report it is.
    pub race_name: String,
    /// The turn reported on.
    pub turn: u32,
    /// The turn the game is at now.
    pub current_turn: u32,
    /// The turn at which the game is over at the latest.
    pub turn_limit: u32,
    /// Whether the game is over now.
    pub finished: bool,
    /// Whether the race had lost everything in the turn reported on.
    pub extinct: bool,
    /// Every planet.
    pub planets: Vec<PlanetView>,
    /// Every race.
    pub races: Vec<Standing>,
    /// Orders stored for the next turn (current turn only).
    pub orders: Vec<Command>,
    /// What became of the orders carried out when the turn was generated.
    pub outcomes: Vec<Outcome>,
}

/// A planet in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanetView {
    /// Its number.
    pub id: u32,
    /// Where it is.
    pub x: u32,
    /// Where it is.
    pub y: u32,
    /// People it can feed before anything is built.
    pub size: u32,
    /// The race that owns it.
    pub owner: Option<String>,
    /// People on it.
    pub population: u64,
    /// Its level.
    pub level: u32,
    /// Whether it has sent somebody off (current turn only).
    pub dispatched: bool,
}

/// A race in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name.
    pub race_name: String,
    /// Planets it owned.
    pub planets: u32,
    /// Population on them.
    pub population: u64,
    /// Whether it had lost everything.
    pub extinct: bool,
}

/// `page` as `race` sees it; `open` where it is the current turn.
pub(super) fn compose(game: &Game, race: u32, page: &Page, open: bool) -> Report {
    let name_of = |index: u32| game.races.get(index as usize).map(|race| race.name.clone());
    let planets = (0u32..)
        .zip(game.sites.iter().zip(&page.holdings))
        .map(|(id, (site, holding))| PlanetView {
            id,
            x: site.x,
            y: site.y,
            size: site.size,
            owner: holding.owner.and_then(name_of),
            population: holding.population,
            level: holding.level,
            dispatched: open && game.dispatched.contains(&id),
        })
        .collect();
    let races = (0u32..)
        .zip(&game.races)
        .map(|(index, entry)| {
            let (planets, population) = map::totals(&page.holdings, index);
            Standing { race_name: entry.name.clone(), planets, population, extinct: planets == 0 }
        })
        .collect();
    let orders = game.orders.get(&race).filter(|_| open).cloned().unwrap_or_default();
    Report {
        race_name: name_of(race).unwrap_or_default(),
        turn: page.turn,
        current_turn: game.turn,
        turn_limit: game.options.turn_limit,
        finished: game.finished,
        extinct: map::totals(&page.holdings, race).0 == 0,
        planets,
        races,
        orders,
        outcomes: page.outcomes.get(&race).cloned().unwrap_or_default(),
    }
}
