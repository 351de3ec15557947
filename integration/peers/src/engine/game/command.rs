//! What a race can tell the game to do, and what becomes of it.

use serde::{Deserialize, Serialize};

/// Most people one `send` may name; more than any planet can hold.
pub(super) const MAX_SENT: u64 = 1_000_000;

/// One command or order, `{"type": "...", ...}` on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Settle a free planet from the race's nearest planet that can spare the settlers.
    Colonise {
        /// The free planet.
        planet: u32,
    },
    /// Move people to a planet of the race's own, or attack somebody else's.
    Send {
        /// Where they leave.
        from: u32,
        /// Where they arrive.
        to: u32,
        /// How many; at least one stays behind.
        population: u64,
    },
    /// Raise a planet's level, paid for with people.
    Build {
        /// The planet.
        planet: u32,
    },
}

impl Command {
    /// Decodes the `index`th element of a list. Unknown types, fields and duplicates are refused.
    pub fn decode(index: usize, json: &str) -> Result<Self, super::GameError> {
        serde_json::from_str(json)
            .map_err(|error| super::GameError::InvalidCommand { index, reason: error.to_string() })
    }

    /// Whether the command makes sense on a map of `planets` planets at all. Whether the situation
    /// allows it is another question, answered when it is carried out.
    pub(super) fn check(&self, planets: u32) -> Result<(), String> {
        let on_map = |planet: u32| {
            if planet < planets { Ok(()) } else { Err(format!("no planet {planet}")) }
        };
        match *self {
            Self::Colonise { planet } | Self::Build { planet } => on_map(planet),
            Self::Send { from, to, population } => {
                on_map(from)?;
                on_map(to)?;
                if from == to {
                    return Err("`from` and `to` are the same planet".to_owned());
                }
                if !(1..=MAX_SENT).contains(&population) {
                    return Err(format!("`population` is 1 to {MAX_SENT}"));
                }
                Ok(())
            }
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The free planet is the race's now.
    Settled {
        /// The planet the settlers left.
        from: u32,
        /// How many they are.
        population: u64,
    },
    /// People moved between two planets of the race.
    Moved {
        /// How many.
        population: u64,
    },
    /// The attack took the planet.
    Conquered {
        /// Attackers left, who hold it now.
        population: u64,
    },
    /// The attack failed; all attackers are lost.
    Repelled {
        /// Defenders left.
        population: u64,
    },
    /// The level is reached.
    Built {
        /// The new level.
        level: u32,
    },
    /// The situation does not allow it; nothing changed.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why the situation does not allow a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The planet to act from does not belong to the race.
    NotYours,
    /// The planet to settle belongs to somebody.
    PlanetTaken,
    /// Nobody lives on the planet to send people to: colonise it.
    PlanetFree,
    /// The planet has sent somebody off this turn.
    AlreadyDispatched,
    /// Too few people.
    NotEnoughPopulation,
    /// The planet cannot be built up further.
    LevelAtMaximum,
}
