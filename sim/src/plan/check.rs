//! Whether a plan can be lived: what it names is there, and it comes to an end.

use std::collections::BTreeSet;
use std::fmt;

use machine::{EngineVersion, GameId, Resolution, Schedule};

use super::{Action, Deed, Fault, GamePlan, Plan, Trouble};
use crate::board::WIRE_POINTS;
use crate::draw::{MAX_GMS, POINTS};
use crate::world::World;

/// The longest either phase of a life is, in simulated milliseconds: a month.
const MAX_PHASE_MS: u64 = 31 * 86_400_000;
/// The most games of a plan, and players of a game: several times what is ever drawn.
const MAX_GAMES: usize = 256;
const MAX_PLAYERS: usize = 64;
/// The furthest that a clock jumps at once: ten years.
const MAX_JUMP_MS: i64 = 10 * 366 * 86_400_000;
/// The most faults, and actions.
const MAX_EVENTS: usize = 10_000;

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    at: String,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, what } = self;
        write!(f, "{at}: {what}")
    }
}

impl std::error::Error for Mistake {}

/// What is wrong, where nobody knows yet where that is.
type Checked = Result<(), String>;

fn placed(at: impl FnOnce() -> String) -> impl FnOnce(String) -> Mistake {
    |what| Mistake { at: at(), what }
}

/// A number, at least and at most so much.
fn within<T: PartialOrd + fmt::Display>(name: &str, number: T, least: T, most: T) -> Checked {
    if number < least || number > most {
        return Err(format!("{name} is {number}, and not {least} to {most}"));
    }
    Ok(())
}

impl Plan {
    /// Whether it can be lived.
    ///
    /// # Errors
    ///
    /// It names what is not there, or has no end; the first such mistake.
    pub fn check(&self) -> Result<(), Mistake> {
        let whole = |checked: Checked| checked.map_err(placed(|| "plan".to_owned()));
        whole(within("gms", self.gms, 1, MAX_GMS))?;
        whole(within("safety_ms", self.safety_ms, 1, MAX_PHASE_MS))?;
        whole(within("patience_ms", self.patience_ms, 1, MAX_PHASE_MS))?;
        whole(within("the number of games", self.games.len(), 0, MAX_GAMES))?;
        whole(within("the number of faults", self.faults.len(), 0, MAX_EVENTS))?;
        whole(within("the number of actions", self.actions.len(), 0, MAX_EVENTS))?;
        let mut ids = BTreeSet::new();
        for (number, game) in self.games.iter().enumerate() {
            let checked = game.check(&mut ids);
            checked.map_err(placed(|| format!("games[{number}]")))?;
        }
        let hosts = World::hosts(self);
        for (number, fault) in self.faults.iter().enumerate() {
            let checked = self.check_fault(&hosts, fault);
            checked.map_err(placed(|| format!("faults[{number}]")))?;
        }
        for (number, action) in self.actions.iter().enumerate() {
            let checked = self.check_action(action);
            checked.map_err(placed(|| format!("actions[{number}]")))?;
        }
        Ok(())
    }

    /// Leaves out what is about games that are not there any more.
    pub fn prune(&mut self) {
        let hosts = World::hosts(self);
        let (faults, actions) =
            (std::mem::take(&mut self.faults), std::mem::take(&mut self.actions));
        let is_sound = |fault: &Fault| self.check_fault(&hosts, fault).is_ok();
        let faults = faults.into_iter().filter(is_sound).collect();
        let is_sound = |action: &Action| self.check_action(action).is_ok();
        let actions = actions.into_iter().filter(is_sound).collect();
        (self.faults, self.actions) = (faults, actions);
    }

    fn check_fault(&self, hosts: &[String], fault: &Fault) -> Checked {
        within("at_ms", fault.at_ms, 0, MAX_PHASE_MS)?;
        within("for_ms", fault.for_ms, 0, MAX_PHASE_MS)?;
        match &fault.what {
            Trouble::GmCrashAt { gm, point, .. } => {
                let is_known = POINTS.iter().chain(&WIRE_POINTS).any(|known| known == point);
                if !is_known {
                    return Err(format!("there is no point of contact {point:?}"));
                }
                self.has_gm(*gm)
            }
            Trouble::ClockJump { gm, ms } => {
                within("ms", *ms, -MAX_JUMP_MS, MAX_JUMP_MS)?;
                self.has_gm(*gm)
            }
            Trouble::GmCrash { gm } | Trouble::GmStops { gm } | Trouble::GmFrozen { gm } => {
                self.has_gm(*gm)
            }
            Trouble::Partition { a, b }
            | Trouble::OneWay { from: a, to: b }
            | Trouble::Hold { a, b }
            | Trouble::Delay { a, b, .. }
            | Trouble::Lossy { a, b, .. }
            | Trouble::Reset { a, b } => {
                if let Trouble::Lossy { per_mille, .. } = fault.what {
                    within("per_mille", per_mille, 0, 1_000)?;
                }
                if a == b {
                    return Err(format!("there is no way from {a:?} to itself"));
                }
                match [a, b].into_iter().find(|host| !hosts.contains(host)) {
                    Some(host) => {
                        Err(format!("there is no host {host:?} among {}", hosts.join(", ")))
                    }
                    None => Ok(()),
                }
            }
            Trouble::Engine { game, .. }
            | Trouble::EngineEnds { game, .. }
            | Trouble::EngineForgets { game } => self.has_game(*game),
            Trouble::StoreCrash
            | Trouble::StoreRequestsLost { .. }
            | Trouble::StoreAnswersLost { .. }
            | Trouble::StoreSlow { .. }
            | Trouble::PostgresConduct { .. }
            | Trouble::PostgresStruck { .. }
            | Trouble::RedisCrash { .. }
            | Trouble::RedisAnswersLost { .. }
            | Trouble::RedisSlow { .. }
            | Trouble::RedisRefuses { .. }
            | Trouble::Astray { .. }
            | Trouble::EnginesCrash
            | Trouble::RtmCrash
            | Trouble::RtmDown
            | Trouble::RtmMute
            | Trouble::LobbyCrash
            | Trouble::LobbyDown
            | Trouble::LobbySlow { .. }
            | Trouble::NotificationCrash => Ok(()),
        }
    }

    fn check_action(&self, action: &Action) -> Checked {
        within("at_ms", action.at_ms, 0, MAX_PHASE_MS)?;
        self.has_gm(action.gm)?;
        if let Deed::Banish { player, .. } | Deed::Block { player, .. } = action.what {
            // Who does not play in this game may be meant: it is to be refused.
            within("player", player, 0, MAX_PLAYERS - 1)?;
        }
        action.what.game().map_or(Ok(()), |game| self.has_game(game))
    }

    fn has_gm(&self, gm: usize) -> Checked {
        if gm < self.gms { Ok(()) } else { Err(format!("there is no instance {gm}")) }
    }

    fn has_game(&self, game: usize) -> Checked {
        let is_there = game < self.games.len();
        if is_there { Ok(()) } else { Err(format!("there is no game {game}")) }
    }
}

impl GamePlan {
    fn check<'a>(&'a self, ids: &mut BTreeSet<&'a str>) -> Checked {
        self.id.parse::<GameId>().map_err(|error| format!("id {:?}: {error}", self.id))?;
        if !ids.insert(&self.id) {
            return Err(format!("id {:?} is there twice", self.id));
        }
        let version = self.version.parse::<EngineVersion>();
        version.map_err(|error| format!("version {:?}: {error}", self.version))?;
        let schedule = Schedule::parse(&self.schedule, Resolution::Seconds);
        schedule.map_err(|error| format!("schedule {:?}: {error}", self.schedule))?;
        within("start_ms", self.start_ms, 0, MAX_PHASE_MS)?;
        within("players", self.players, 1, MAX_PLAYERS)?;
        within("player_period_ms", self.player_period_ms, 1, MAX_PHASE_MS)?;
        within("player_patience_ms", self.player_patience_ms, 1, MAX_PHASE_MS)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::draw::{self, Wishes};

    /// Something with games, faults and several instances.
    fn drawn() -> Plan {
        let plans =
            (0..).map(|seed| draw::plan(seed, Wishes { gms: Some(2), ..Wishes::default() }));
        let is_full =
            |plan: &Plan| plan.games.len() > 2 && plan.games.iter().any(|g| g.players > 1);
        plans.into_iter().find(is_full).expect("there is one")
    }

    #[test]
    fn everything_that_is_drawn_can_be_lived() {
        for seed in 0..5_000 {
            assert_eq!(draw::plan(seed, Wishes::default()).check(), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn what_is_not_there_or_has_no_end_is_named_with_its_place() {
        let fault = |what: serde_json::Value| json!([{ "at_ms": 1, "for_ms": 1, "what": what }]);
        let action = |gm: u8, what: serde_json::Value| json!([{ "at_ms": 1, "gm": gm, "patience_ms": 1, "repeats": 0, "what": what }]);
        let game = serde_json::to_value(&drawn().games[0]).expect("JSON");
        let games = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut game = game.clone();
            change(&mut game);
            json!([game])
        };
        let to = |a: &str, b: &str| json!({ "kind": "hold", "a": a, "b": b });
        let crash_at = |point: &str| json!({ "kind": "gm_crash_at", "gm": 0, "point": point, "moment": "before", "nth": 1 });
        for (part, value, mistake) in [
            ("gms", json!(0), "plan: gms is 0, and not 1 to 3"),
            ("gms", json!(4), "plan: gms is 4, and not 1 to 3"),
            ("safety_ms", json!(u64::MAX), "plan: safety_ms is"),
            ("patience_ms", json!(0), "plan: patience_ms is 0"),
            ("games", games(&|game| game["id"] = json!("a b")), "games[0]: id \"a b\": "),
            (
                "games",
                json!([game.clone(), game.clone()]),
                "games[1]: id \"game-0\" is there twice",
            ),
            ("games", games(&|game| game["version"] = json!("2")), "games[0]: version \"2\": "),
            (
                "games",
                games(&|game| game["schedule"] = json!("now")),
                "games[0]: schedule \"now\": ",
            ),
            ("games", games(&|game| game["players"] = json!(0)), "games[0]: players is 0"),
            (
                "games",
                games(&|game| game["player_period_ms"] = json!(0)),
                "games[0]: player_period_ms is 0",
            ),
            (
                "faults",
                fault(to("gm-0", "nowhere")),
                "faults[0]: there is no host \"nowhere\" among gm-0, gm-1, store, redis, engines, ",
            ),
            ("faults", fault(to("gm-2", "store")), "faults[0]: there is no host \"gm-2\""),
            ("faults", fault(to("store", "store")), "faults[0]: there is no way from \"store\" to"),
            (
                "faults",
                fault(json!({ "kind": "lossy", "a": "gm-0", "b": "store", "per_mille": 1_001 })),
                "faults[0]: per_mille is 1001, and not 0 to 1000",
            ),
            (
                "faults",
                fault(json!({ "kind": "clock_jump", "gm": 0, "ms": i64::MAX })),
                "faults[0]: ms is 9223372036854775807, and not -",
            ),
            (
                "faults",
                fault(json!({ "kind": "gm_crash", "gm": 2 })),
                "faults[0]: there is no instance 2",
            ),
            (
                "faults",
                fault(crash_at("store.forget")),
                "faults[0]: there is no point of contact \"store.forget\"",
            ),
            (
                "faults",
                fault(json!({ "kind": "engine_forgets", "game": 99 })),
                "faults[0]: there is no game 99",
            ),
            ("actions", action(2, json!({ "kind": "list" })), "actions[0]: there is no instance 2"),
            (
                "actions",
                action(0, json!({ "kind": "force", "game": 99 })),
                "actions[0]: there is no game 99",
            ),
            (
                "actions",
                action(0, json!({ "kind": "block", "game": 0, "player": 64 })),
                "actions[0]: player is 64, and not 0 to 63",
            ),
        ] {
            let mut plan = serde_json::to_value(drawn()).expect("JSON");
            plan[part] = value;
            let plan: Plan = serde_json::from_value(plan).expect("a plan");
            let found = plan.check().expect_err(mistake).to_string();
            assert!(found.starts_with(mistake), "{found}\n{mistake}");
        }
    }

    #[test]
    fn what_is_about_a_game_goes_with_it() {
        let mut plan = drawn();
        let last = plan.games.len() - 1;
        plan.faults.push(Fault {
            at_ms: 1,
            for_ms: 1,
            what: Trouble::EngineForgets { game: last },
        });
        plan.faults.push(Fault { at_ms: 1, for_ms: 1, what: Trouble::EngineForgets { game: 0 } });
        let before = plan.faults.len();
        plan.prune();
        assert_eq!(plan.faults.len(), before, "everything is there");
        plan.games.pop();
        assert!(plan.check().is_err());
        plan.prune();
        assert_eq!(plan.check(), Ok(()));
        assert!(plan.faults.iter().any(|f| f.what == Trouble::EngineForgets { game: 0 }));
    }
}
