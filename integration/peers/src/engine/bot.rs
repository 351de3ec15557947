//! A player who knows the rules and plays by his report alone: settle, then strike where it pays,
//! then build, then gather. No memory and no randomness: the same report, the same commands.

use super::game::{Command, PlanetView, Report, rules};

/// Most commands of one [`plan`].
pub const MAX_PLANNED: usize = 16;
/// What an own planet keeps at home when it sends people off.
const GARRISON: u64 = 5;
/// A planet that can spare settlers without becoming an easy prey.
const SETTLING_POPULATION: u64 = 3 * rules::SETTLERS;
/// A planet that can afford to build.
const BUILDING_POPULATION: u64 = 3 * rules::LEVEL_COST;
/// The bot stops building here: the rest is better spent on settlers and fleets.
const BUILDING_LEVEL: u32 = 2;

/// The next commands for the race whose `report` of the current turn this is, most urgent first.
/// Empty when there is nothing sensible to do, or nothing more to do in this game.
pub fn plan(report: &Report) -> Vec<Command> {
    if report.finished || report.extinct || report.turn != report.current_turn {
        return Vec::new();
    }
    let mut board = Board::new(report);
    let mut commands = Vec::new();
    board.settle(&mut commands);
    board.strike(&mut commands);
    board.build(&mut commands);
    board.gather(&mut commands);
    commands.truncate(MAX_PLANNED);
    commands
}

/// The report with what is already planned taken off it.
struct Board<'a> {
    report: &'a Report,
    mine: Vec<Mine>,
}

struct Mine {
    id: u32,
    place: (u32, u32),
    population: u64,
    room: u64,
    level: u32,
    free_to_send: bool,
}

impl<'a> Board<'a> {
    fn new(report: &'a Report) -> Self {
        let mine = report
            .planets
            .iter()
            .filter(|planet| planet.owner.as_deref() == Some(report.race_name.as_str()))
            .map(|planet| Mine {
                id: planet.id,
                place: (planet.x, planet.y),
                population: planet.population,
                room: rules::room(planet.size, planet.level),
                level: planet.level,
                free_to_send: !planet.dispatched,
            })
            .collect();
        Self { report, mine }
    }

    fn foreign(&self) -> impl Iterator<Item = &'a PlanetView> + use<'a> {
        let name = self.report.race_name.as_str();
        self.report
            .planets
            .iter()
            .filter(move |planet| planet.owner.as_deref().is_some_and(|owner| owner != name))
    }

    /// Each planet with people to spare settles the free planet next to it.
    ///
    /// The game lets the nearest planet that can spare settlers send them, which need not be the
    /// one that is meant here: the difference costs a refusal at most.
    fn settle(&mut self, commands: &mut Vec<Command>) {
        let mut free: Vec<&PlanetView> =
            self.report.planets.iter().filter(|planet| planet.owner.is_none()).collect();
        for mine in &mut self.mine {
            if !mine.free_to_send || mine.population < SETTLING_POPULATION {
                continue;
            }
            let nearest = free
                .iter()
                .enumerate()
                .min_by_key(|(_, p)| (rules::distance_squared(mine.place, (p.x, p.y)), p.id))
                .map(|(index, _)| index);
            let Some(nearest) = nearest else { return };
            commands.push(Command::Colonise { planet: free.swap_remove(nearest).id });
            mine.population -= rules::SETTLERS;
            mine.free_to_send = false;
        }
    }

    /// A planet of the weakest rival, if everything that can be sent together is enough for it.
    ///
    /// Everybody against the weakest is what ends games: striking just the weakest planet of all
    /// lets equal rivals take the same planets from each other for ever.
    fn strike(&mut self, commands: &mut Vec<Command>) {
        let total = |planet: &PlanetView| {
            let standing =
                self.report.races.iter().find(|s| Some(&s.race_name) == planet.owner.as_ref());
            standing.map(|standing| (standing.population, &standing.race_name))
        };
        let Some(target) =
            self.foreign().min_by_key(|p| (total(p), rules::strength(p.population, p.level), p.id))
        else {
            return;
        };
        let needed = rules::strength(target.population, target.level);
        let mut fleets: Vec<&mut Mine> = self
            .mine
            .iter_mut()
            .filter(|mine| mine.free_to_send && mine.population > 2 * GARRISON)
            .collect();
        fleets.sort_by_key(|mine| (std::cmp::Reverse(mine.population), mine.id));
        let available: u64 = fleets.iter().map(|mine| mine.population - GARRISON).sum();
        // Each repelled wave rounds in the defenders' favour: a tenth more is on the safe side.
        if available <= needed + needed / 10 {
            return;
        }
        let mut sent = 0;
        for mine in fleets {
            let population = mine.population - GARRISON;
            commands.push(Command::Send { from: mine.id, to: target.id, population });
            mine.population = GARRISON;
            mine.free_to_send = false;
            sent += population;
            if sent > needed + needed / 10 {
                return;
            }
        }
    }

    fn build(&mut self, commands: &mut Vec<Command>) {
        for mine in &mut self.mine {
            if mine.population >= BUILDING_POPULATION && mine.level < BUILDING_LEVEL {
                commands.push(Command::Build { planet: mine.id });
                mine.population -= rules::LEVEL_COST;
            }
        }
    }

    /// Full planets, whose children would be lost, send half their people to the emptiest one.
    fn gather(&mut self, commands: &mut Vec<Command>) {
        let Some(emptiest) =
            self.mine.iter().min_by_key(|m| (m.population * 100 / m.room.max(1), m.id))
        else {
            return;
        };
        let to = emptiest.id;
        let mut space = emptiest.room.saturating_sub(emptiest.population);
        for mine in &mut self.mine {
            let population = mine.population / 2;
            let full = mine.population * 100 >= mine.room * 95;
            if mine.id != to && mine.free_to_send && full && population > 0 && population <= space {
                commands.push(Command::Send { from: mine.id, to, population });
                mine.population -= population;
                mine.free_to_send = false;
                space -= population;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::game::{Game, GameOptions, Outcome};

    /// Turns until bots among themselves have ended the game.
    fn play(seed: u64, races: usize) -> (u32, usize, usize) {
        let names: Vec<String> = (0..races).map(|index| format!("race {index}")).collect();
        let options = GameOptions { seed, ..GameOptions::default() };
        let mut game = Game::new(options, &names).unwrap();
        let (mut done, mut refused) = (0, 0);
        while !game.finished() {
            for name in &names {
                let commands = plan(&game.report(name, game.turn()).unwrap());
                if commands.is_empty() {
                    continue;
                }
                for outcome in game.execute(name, &commands).unwrap() {
                    if matches!(outcome, Outcome::Refused { .. }) {
                        refused += 1;
                    } else {
                        done += 1;
                    }
                }
            }
            game.generate_turn().unwrap();
        }
        (game.turn(), done, refused)
    }

    #[test]
    fn bots_influence_the_game_and_end_it_before_its_limit() {
        let (mut all_done, mut all_refused) = (0, 0);
        for races in 2..=6 {
            for seed in 0..20 {
                let (turns, done, refused) = play(seed, races);
                assert!(turns < 200, "seed {seed}, {races} races: still undecided");
                all_done += done;
                all_refused += refused;
            }
        }
        assert!(all_done > 20 * all_refused, "{all_done} done, {all_refused} refused");
    }

    #[test]
    fn nothing_is_planned_on_an_old_report() {
        let mut game = Game::new(GameOptions::default(), &["A".into(), "B".into()]).unwrap();
        assert!(!plan(&game.report("A", 0).unwrap()).is_empty());
        game.generate_turn().unwrap();
        assert!(plan(&game.report("A", 0).unwrap()).is_empty());
    }
}
