//! An engine's state, read as Game Master reads it and looked at more closely.

use std::collections::BTreeMap;

use machine::{EnginePlayerId, RaceName};
use serde_json::{Map, Value};

/// Most problems told of one state.
const MAX_TOLD: usize = 4;

/// What Game Master reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) turn: u32,
    pub(super) finished: bool,
    pub(super) players: Vec<Player>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Player {
    pub(super) id: String,
    pub(super) race_name: String,
    planets: u32,
    population: u64,
    pub(super) extinct: Option<bool>,
}

/// A state and what is wrong with it, by rule.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) fields: Problems,
    pub(super) numbers: Problems,
    pub(super) finished: Problems,
    pub(super) beyond: Problems,
    /// There unless something Game Master needs is missing; without `finished` it goes on.
    pub(super) state: Option<State>,
}

/// What is wrong, the first few.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    fn note(&mut self, problem: impl Into<String>) {
        if self.0.len() < MAX_TOLD {
            self.0.push(problem.into());
        }
    }

    pub(super) fn told(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

pub(super) fn read(json: &Value) -> Reading {
    let mut reading = Reading::default();
    let Some(object) = json.as_object() else {
        reading.fields.note("the state is not an object");
        return reading;
    };
    surplus(object, &["id", "turn", "player", "finished"], "", &mut reading.beyond);
    if !object.get("id").is_some_and(is_short_text) {
        reading.beyond.note("`id` is not a text of 1 to 128 characters");
    }
    let turn = number(object, "turn", "", u64::from(u32::MAX), &mut reading);
    let finished = object.get("finished").and_then(Value::as_bool);
    if finished.is_none() {
        reading.finished.note(match object.get("finished") {
            Some(other) => format!("`finished` is {other}"),
            None => "`finished` is missing".to_owned(),
        });
    }
    let players: Option<Vec<Player>> = match object.get("player").and_then(Value::as_array) {
        // Each is looked at, also behind one that cannot be read.
        Some(list) => {
            let read: Vec<_> = list
                .iter()
                .enumerate()
                .map(|(at, player)| read_player(at, player, &mut reading))
                .collect();
            read.into_iter().collect()
        }
        None => {
            reading.fields.note("`player` is not a list");
            None
        }
    };
    if let (Some(turn), Some(players)) = (turn.and_then(|t| u32::try_from(t).ok()), players) {
        reading.state = Some(State { turn, finished: finished.unwrap_or(false), players });
    }
    reading
}

fn read_player(at: usize, player: &Value, reading: &mut Reading) -> Option<Player> {
    let place = format!("player[{at}].");
    let Some(object) = player.as_object() else {
        reading.fields.note(format!("player[{at}] is not an object"));
        return None;
    };
    let known = ["id", "race_name", "planets", "population", "extinct"];
    surplus(object, &known, &place, &mut reading.beyond);
    let extinct = object.get("extinct").and_then(Value::as_bool);
    if extinct.is_none() {
        reading.beyond.note(format!("`{place}extinct` is not true or false"));
    }
    let id = object.get("id").and_then(Value::as_str);
    let id = id.and_then(|id| id.parse::<EnginePlayerId>().ok());
    if id.is_none() {
        reading.fields.note(format!("`{place}id` is not a text of 1 to 128 visible ASCII letters"));
    }
    let race_name = object.get("race_name").and_then(Value::as_str);
    if race_name.is_none() {
        reading.fields.note(format!("`{place}race_name` is not a text"));
    }
    let planets = number(object, "planets", &place, u64::from(u32::MAX), reading);
    let population = number(object, "population", &place, u64::MAX, reading);
    Some(Player {
        id: id?.as_str().to_owned(),
        race_name: race_name?.to_owned(),
        planets: planets.and_then(|n| u32::try_from(n).ok())?,
        population: population?,
        extinct,
    })
}

fn number(
    object: &Map<String, Value>,
    name: &str,
    place: &str,
    max: u64,
    reading: &mut Reading,
) -> Option<u64> {
    match object.get(name) {
        Some(Value::Number(number)) => {
            let read = number.as_u64().filter(|n| *n <= max);
            if read.is_none() {
                let problem = format!("`{place}{name}` is {number}, not a whole number to {max}");
                reading.numbers.note(problem);
            }
            read
        }
        Some(_) => {
            reading.fields.note(format!("`{place}{name}` is not a number"));
            None
        }
        None => {
            reading.fields.note(format!("`{place}{name}` is missing"));
            None
        }
    }
}

fn surplus(object: &Map<String, Value>, known: &[&str], place: &str, problems: &mut Problems) {
    for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
        problems.note(format!("`{place}{name}` is not in the contract"));
    }
}

fn is_short_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| (1..=128).contains(&text.chars().count()))
}

impl State {
    fn of_race(&self, race: &str) -> Option<&Player> {
        self.players.iter().find(|player| player.race_name == race)
    }

    pub(super) fn says_extinct(&self, race: &RaceName) -> bool {
        self.of_race(race.as_str()).is_some_and(|player| player.extinct == Some(true))
    }

    /// Races that do not play, or are there twice.
    pub(super) fn strange(&self, races: &[RaceName]) -> Option<String> {
        let mut problems = Problems::default();
        let mut seen = BTreeMap::new();
        for player in &self.players {
            let name = player.race_name.as_str();
            if !races.iter().any(|race| race.as_str() == name) {
                problems.note(format!("race {name:?} is none of the init's"));
            }
            if seen.insert(name, ()).is_some() {
                problems.note(format!("race {name:?} is there twice"));
            }
        }
        problems.told()
    }

    /// Races that are not there.
    pub(super) fn missing(&self, races: &[RaceName]) -> Option<String> {
        let mut problems = Problems::default();
        for race in races.iter().filter(|race| self.of_race(race.as_str()).is_none()) {
            problems.note(format!("race {race:?} is missing"));
        }
        problems.told()
    }

    /// Ids that two players have.
    pub(super) fn shared_id(&self) -> Option<String> {
        let mut seen = BTreeMap::new();
        for player in &self.players {
            let before = seen.insert(player.id.as_str(), player.race_name.as_str());
            if before.is_some_and(|race| race != player.race_name) {
                return Some(format!("two players have the id {:?}", player.id));
            }
        }
        None
    }

    /// A player whose id is another than it was.
    pub(super) fn renamed_since(&self, before: &Self) -> Option<String> {
        let changed = |player: &&Player| {
            before.of_race(&player.race_name).is_some_and(|was| was.id != player.id)
        };
        let player = self.players.iter().find(changed)?;
        Some(format!("race {:?} has another id than before", player.race_name))
    }

    /// Where it tells something else than `other`, which was told before.
    pub(super) fn differs_from(&self, other: &Self) -> Option<String> {
        if self.turn != other.turn {
            return Some(format!("turn {}, before it was {}", self.turn, other.turn));
        }
        if self.finished != other.finished {
            return Some(format!("finished is {}, before {}", self.finished, other.finished));
        }
        let standing = |state: &Self| -> BTreeMap<String, (u32, u64)> {
            let player = |p: &Player| (p.race_name.clone(), (p.planets, p.population));
            state.players.iter().map(player).collect()
        };
        let (now, before) = (standing(self), standing(other));
        let changed = now.iter().find(|(race, has)| before.get(*race) != Some(has));
        match changed {
            Some((race, has)) => Some(format!(
                "race {race:?} has (planets, population) {has:?}, before {:?}",
                before.get(race)
            )),
            None => before
                .keys()
                .find(|race| !now.contains_key(*race))
                .map(|race| format!("race {race:?} has gone")),
        }
    }
}
