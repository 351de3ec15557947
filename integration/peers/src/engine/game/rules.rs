//! The rules: what each command does, and how planets grow. Integers only, so that every machine
//! comes to the same result.

use super::{
    Game,
    command::{Command, Outcome, Refusal},
    map::{Holding, Site},
};

/// People who settle a free planet.
pub(crate) const SETTLERS: u64 = 20;
/// People a level costs.
pub(crate) const LEVEL_COST: u64 = 30;
/// Highest level.
pub(crate) const MAX_LEVEL: u32 = 5;
const BASE_GROWTH_PERCENT: u64 = 8;
const GROWTH_PERCENT_PER_LEVEL: u64 = 2;
const ROOM_PERCENT_PER_LEVEL: u64 = 10;
const DEFENCE_PERCENT_PER_LEVEL: u64 = 8;

/// Carries out one checked command of a race.
pub(super) fn apply(game: &mut Game, race: u32, command: &Command) -> Outcome {
    let done = match *command {
        Command::Colonise { planet } => colonise(game, race, planet),
        Command::Send { from, to, population } => send(game, race, from, to, population),
        Command::Build { planet } => build(game, race, planet),
    };
    done.unwrap_or_else(|reason| Outcome::Refused { reason })
}

/// One turn of growth on one planet. People for whom there is no room are lost.
pub(super) fn grow(site: &Site, holding: &mut Holding) {
    if holding.owner.is_none() {
        return;
    }
    let level = u64::from(holding.level);
    let percent = BASE_GROWTH_PERCENT + GROWTH_PERCENT_PER_LEVEL * level;
    let born = (holding.population * percent / 100).max(1);
    holding.population = (holding.population + born).min(room(site.size, holding.level));
}

/// How many people a planet can feed.
pub(crate) fn room(size: u32, level: u32) -> u64 {
    u64::from(size) * (100 + ROOM_PERCENT_PER_LEVEL * u64::from(level)) / 100
}

/// How many attackers a planet holds off: more than this take it.
pub(crate) fn strength(population: u64, level: u32) -> u64 {
    population * (100 + DEFENCE_PERCENT_PER_LEVEL * u64::from(level)) / 100
}

fn colonise(game: &mut Game, race: u32, planet: u32) -> Result<Outcome, Refusal> {
    let target = *site(game, planet)?;
    if holding(game, planet)?.owner.is_some() {
        return Err(Refusal::PlanetTaken);
    }
    let from = (0u32..)
        .zip(game.sites.iter().zip(&game.holdings))
        .filter(|(number, (_, holding))| {
            holding.owner == Some(race)
                && holding.population > SETTLERS
                && !game.dispatched.contains(number)
        })
        .min_by_key(|(number, (site, _))| {
            (distance_squared((site.x, site.y), (target.x, target.y)), *number)
        })
        .map(|(number, _)| number)
        .ok_or(Refusal::NotEnoughPopulation)?;
    depart(game, race, from, SETTLERS)?;
    let settled = holding(game, planet)?;
    *settled = Holding { owner: Some(race), population: SETTLERS, level: 0 };
    Ok(Outcome::Settled { from, population: SETTLERS })
}

fn send(
    game: &mut Game,
    race: u32,
    from: u32,
    to: u32,
    population: u64,
) -> Result<Outcome, Refusal> {
    let target = *holding(game, to)?;
    let Some(owner) = target.owner else { return Err(Refusal::PlanetFree) };
    depart(game, race, from, population)?;
    let arrived = holding(game, to)?;
    if owner == race {
        arrived.population += population;
        return Ok(Outcome::Moved { population });
    }
    let defence = strength(target.population, target.level);
    if population > defence {
        // What was built suffers in the fight.
        let level = target.level / 2;
        *arrived = Holding { owner: Some(race), population: population - defence, level };
        // The new owners have travelled: they do not go on in the same turn.
        game.dispatched.insert(to);
        return Ok(Outcome::Conquered { population: population - defence });
    }
    let fallen = target.population * population / defence.max(1);
    arrived.population = (target.population - fallen.min(target.population)).max(1);
    Ok(Outcome::Repelled { population: arrived.population })
}

fn build(game: &mut Game, race: u32, planet: u32) -> Result<Outcome, Refusal> {
    let holding = holding(game, planet)?;
    if holding.owner != Some(race) {
        return Err(Refusal::NotYours);
    }
    if holding.level >= MAX_LEVEL {
        return Err(Refusal::LevelAtMaximum);
    }
    if holding.population <= LEVEL_COST {
        return Err(Refusal::NotEnoughPopulation);
    }
    holding.population -= LEVEL_COST;
    holding.level += 1;
    Ok(Outcome::Built { level: holding.level })
}

/// Takes people off a planet. INVARIANT: a planet with an owner has somebody on it.
fn depart(game: &mut Game, race: u32, from: u32, population: u64) -> Result<(), Refusal> {
    let dispatched = game.dispatched.contains(&from);
    let origin = holding(game, from)?;
    if origin.owner != Some(race) {
        return Err(Refusal::NotYours);
    }
    if dispatched {
        return Err(Refusal::AlreadyDispatched);
    }
    if origin.population <= population {
        return Err(Refusal::NotEnoughPopulation);
    }
    origin.population -= population;
    game.dispatched.insert(from);
    Ok(())
}

pub(crate) fn distance_squared(a: (u32, u32), b: (u32, u32)) -> u32 {
    a.0.abs_diff(b.0).pow(2) + a.1.abs_diff(b.1).pow(2)
}

/// `Command::check` has seen the number; off the map means that nobody owns it.
fn holding(game: &mut Game, planet: u32) -> Result<&mut Holding, Refusal> {
    game.holdings.get_mut(planet as usize).ok_or(Refusal::NotYours)
}

fn site(game: &Game, planet: u32) -> Result<&Site, Refusal> {
    game.sites.get(planet as usize).ok_or(Refusal::NotYours)
}
