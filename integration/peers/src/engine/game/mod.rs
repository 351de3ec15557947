//! The game itself: planets on a small map, populations that grow, races that settle, build and
//! fight until one is left or the turn limit is reached.
//!
//! Pure and deterministic: the same seed and the same calls in the same order give the same game,
//! byte for byte. A refused call changes nothing.

mod command;
mod map;
mod report;
pub(crate) mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use command::{Command, Outcome, Refusal};
pub use report::{PlanetView, Report, Standing};

use map::{Holding, Site, SplitMix64};
use report::Page;

/// Most races a game can have.
pub const MAX_RACES: usize = 256;
/// Most planets a map can have.
pub const MAX_PLANETS: u32 = 1_024;
/// Most commands in one request, and most orders a race can have stored.
pub const MAX_COMMANDS: usize = 256;
/// No game is longer than this many turns.
pub const MAX_TURN_LIMIT: u32 = 10_000;
/// Turns whose reports are kept where nothing else is said.
pub const DEFAULT_KEPT_TURNS: u32 = 64;
/// Planets per race that a map has at least.
const MIN_PLANETS_PER_RACE: u32 = 3;

/// What a game is made from. Values out of bounds are brought into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameOptions {
    /// Everything random about the game comes from here.
    pub seed: u64,
    /// Planets on the map, at least three for each race.
    pub planets: u32,
    /// The game is finished at this turn at the latest.
    pub turn_limit: u32,
    /// How many of the last turns can be reported on.
    pub kept_turns: u32,
}

impl Default for GameOptions {
    fn default() -> Self {
        Self { seed: 1, planets: 12, turn_limit: 200, kept_turns: DEFAULT_KEPT_TURNS }
    }
}

/// Why a call was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GameError {
    /// Too few, too many, misnamed or repeated races.
    #[error("{0}")]
    InvalidRaces(String),
    /// No race of that name plays here.
    #[error("no race `{0}` in this game")]
    UnknownRace(String),
    /// The race has no planet left.
    #[error("race `{0}` is extinct")]
    ExtinctRace(String),
    /// The turn lies in the future, or too far back.
    #[error("no report for turn {turn}; kept are {first} to {last}")]
    UnknownTurn {
        /// The turn asked for.
        turn: u32,
        /// Oldest turn kept.
        first: u32,
        /// The current turn.
        last: u32,
    },
    /// One command of a list cannot be understood; none of the list was carried out.
    #[error("cmd[{index}]: {reason}")]
    InvalidCommand {
        /// Its place in the list.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A list of no commands, or of more than [`MAX_COMMANDS`].
    #[error("`cmd` has 1 to {MAX_COMMANDS} elements")]
    CommandCount,
    /// The game is over.
    #[error("the game is finished")]
    Finished,
}

/// The state every administrative call answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateResponse {
    /// Identifier of the game, made from its seed.
    pub id: Uuid,
    /// Turns generated so far.
    pub turn: u32,
    /// Every race that ever played, in the order of initialisation.
    pub player: Vec<PlayerState>,
    /// Whether the game is over.
    pub finished: bool,
}

/// One race in [`StateResponse`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerState {
    /// Identifier of the race, made from the game's seed.
    pub id: Uuid,
    /// Its name.
    pub race_name: String,
    /// Planets it owns.
    pub planets: u32,
    /// Population on them.
    pub population: u64,
    /// Whether it has lost its last planet or was banished.
    pub extinct: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Race {
    id: Uuid,
    name: String,
}

/// A game in progress. Serialises completely: what is read back plays on identically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Game {
    options: GameOptions,
    id: Uuid,
    turn: u32,
    finished: bool,
    races: Vec<Race>,
    sites: Vec<Site>,
    /// One for each site.
    holdings: Vec<Holding>,
    /// Planets that have sent somebody off this turn; each can do so once.
    dispatched: BTreeSet<u32>,
    /// Stored orders by race.
    orders: BTreeMap<u32, Vec<Command>>,
    /// What became of the orders that were carried out when the current turn was generated.
    outcomes: BTreeMap<u32, Vec<Outcome>>,
    /// Closed turns, oldest first.
    pages: VecDeque<Page>,
}

impl Game {
    /// A new game at turn 0, with one home planet for each race.
    pub fn new(options: GameOptions, race_names: &[String]) -> Result<Self, GameError> {
        check_race_names(race_names)?;
        let race_count = race_names.len() as u32;
        let options = GameOptions {
            planets: options.planets.clamp(race_count * MIN_PLANETS_PER_RACE, MAX_PLANETS),
            turn_limit: options.turn_limit.clamp(1, MAX_TURN_LIMIT),
            kept_turns: options.kept_turns.clamp(1, MAX_TURN_LIMIT),
            ..options
        };
        let mut random = SplitMix64::new(options.seed);
        let id = random.next_uuid();
        let races = race_names
            .iter()
            .map(|name| Race { id: random.next_uuid(), name: name.clone() })
            .collect();
        let (sites, holdings) = map::generate(&mut random, options.planets, race_count);
        Ok(Self {
            options,
            id,
            turn: 0,
            finished: false,
            races,
            sites,
            holdings,
            dispatched: BTreeSet::new(),
            orders: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            pages: VecDeque::new(),
        })
    }

    /// Turns generated so far.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// Whether the game is over.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Where the game stands.
    pub fn state(&self) -> StateResponse {
        let player = (0u32..)
            .zip(&self.races)
            .map(|(race, Race { id, name })| {
                let (planets, population) = map::totals(&self.holdings, race);
                PlayerState {
                    id: *id,
                    race_name: name.clone(),
                    planets,
                    population,
                    extinct: planets == 0,
                }
            })
            .collect();
        StateResponse { id: self.id, turn: self.turn, player, finished: self.finished }
    }

    /// Carries `commands` out at once, in order. A command that the situation does not allow is
    /// answered with a refusal in its place and the rest goes on.
    pub fn execute(
        &mut self,
        race_name: &str,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, GameError> {
        let race = self.acting_race(race_name, commands)?;
        Ok(commands.iter().map(|command| rules::apply(self, race, command)).collect())
    }

    /// Stores `commands` for the next turn, in place of what the race had stored.
    pub fn put_orders(&mut self, race_name: &str, commands: Vec<Command>) -> Result<(), GameError> {
        let race = self.acting_race(race_name, &commands)?;
        self.orders.insert(race, commands);
        Ok(())
    }

    /// Closes the current turn and makes the next one: orders, growth, and whether it is over.
    pub fn generate_turn(&mut self) -> Result<(), GameError> {
        if self.finished {
            return Err(GameError::Finished);
        }
        self.close_page();
        self.turn += 1;
        self.carry_out_orders();
        self.dispatched.clear();
        for (site, holding) in self.sites.iter().zip(&mut self.holdings) {
            rules::grow(site, holding);
        }
        // INVARIANT: only a generated turn finishes the game, never a command or a banishment:
        // who drives the turns learns of the end from the answer to a turn.
        self.finished = self.decided() || self.turn >= self.options.turn_limit;
        Ok(())
    }

    /// Takes a race out of the game; its planets become free. Doing so again changes nothing.
    pub fn banish(&mut self, race_name: &str) -> Result<(), GameError> {
        let race = self.race_index(race_name)?;
        if self.finished {
            return Err(GameError::Finished);
        }
        for holding in self.holdings.iter_mut().filter(|holding| holding.owner == Some(race)) {
            *holding = Holding::FREE;
        }
        self.orders.remove(&race);
        Ok(())
    }

    /// What `race_name` may know about `turn`: the current turn as it stands, an earlier one as it
    /// stood when it was closed.
    pub fn report(&self, race_name: &str, turn: u32) -> Result<Report, GameError> {
        let race = self.race_index(race_name)?;
        if turn == self.turn {
            return Ok(report::compose(self, race, &self.open_page(), true));
        }
        match self.pages.iter().find(|page| page.turn == turn) {
            Some(page) => Ok(report::compose(self, race, page, false)),
            None => Err(GameError::UnknownTurn {
                turn,
                first: self.pages.front().map_or(self.turn, |page| page.turn),
                last: self.turn,
            }),
        }
    }

    fn acting_race(&self, race_name: &str, commands: &[Command]) -> Result<u32, GameError> {
        let race = self.race_index(race_name)?;
        if self.finished {
            return Err(GameError::Finished);
        }
        if map::totals(&self.holdings, race).0 == 0 {
            return Err(GameError::ExtinctRace(race_name.to_owned()));
        }
        if !(1..=MAX_COMMANDS).contains(&commands.len()) {
            return Err(GameError::CommandCount);
        }
        for (index, command) in commands.iter().enumerate() {
            command
                .check(self.options.planets)
                .map_err(|reason| GameError::InvalidCommand { index, reason })?;
        }
        Ok(race)
    }

    fn race_index(&self, race_name: &str) -> Result<u32, GameError> {
        (0u32..)
            .zip(&self.races)
            .find(|(_, race)| race.name == race_name)
            .map(|(index, _)| index)
            .ok_or_else(|| GameError::UnknownRace(race_name.to_owned()))
    }

    /// Each turn another race goes first, so that no name is a lasting advantage.
    fn carry_out_orders(&mut self) {
        self.outcomes.clear();
        let mut orders = std::mem::take(&mut self.orders);
        let race_count = self.races.len() as u32;
        for offset in 0..race_count {
            let race = (self.turn + offset) % race_count;
            let Some(commands) = orders.remove(&race) else { continue };
            let outcomes =
                commands.iter().map(|command| rules::apply(self, race, command)).collect();
            self.outcomes.insert(race, outcomes);
        }
    }

    /// A game that began with one race is played to its turn limit.
    fn decided(&self) -> bool {
        let owners: BTreeSet<u32> = self.holdings.iter().filter_map(|h| h.owner).collect();
        owners.is_empty() || (owners.len() == 1 && self.races.len() > 1)
    }

    fn open_page(&self) -> Page {
        Page { turn: self.turn, holdings: self.holdings.clone(), outcomes: self.outcomes.clone() }
    }

    fn close_page(&mut self) {
        // The current turn counts as one of those kept.
        while self.pages.len() + 1 >= self.options.kept_turns as usize {
            if self.pages.pop_front().is_none() {
                break;
            }
        }
        if self.options.kept_turns > 1 {
            self.pages.push_back(self.open_page());
        }
    }
}

fn check_race_names(names: &[String]) -> Result<(), GameError> {
    let refuse = |message: String| Err(GameError::InvalidRaces(message));
    if names.is_empty() || names.len() > MAX_RACES {
        return refuse(format!("a game has 1 to {MAX_RACES} races"));
    }
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        if let Err(error) = name.parse::<machine::RaceName>() {
            return refuse(format!("races[{index}]: {error}"));
        }
        if !seen.insert(name) {
            return refuse(format!("races[{index}]: `{name}` occurs twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
