//! Who plays, and how they stand.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{EnginePlayerId, RaceName, UserId};

/// Who plays which race, and the engine's own name of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The player.
    pub user_id: UserId,
    /// The player's race in this game.
    pub race_name: RaceName,
    /// The engine's identifier of that race, once initialised.
    #[serde(default)]
    pub engine_player_id: Option<EnginePlayerId>,
}

/// The players of one game: 1 to [`Roster::MAX_MEMBERS`], each user and each race once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Member>", into = "Vec<Member>")]
pub struct Roster(Arc<[Member]>);

/// Why a list of members is no roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Nobody plays.
    #[error("members must not be empty")]
    Empty,
    /// Too many.
    #[error("members must be {} at most", Roster::MAX_MEMBERS)]
    TooMany,
    /// A user plays twice.
    #[error("members must name each user_id once, but {0} comes twice")]
    UserTwice(UserId),
    /// A race is played twice.
    #[error("members must name each race_name once, but {0:?} comes twice")]
    RaceTwice(RaceName),
}

impl Roster {
    /// The most players a game may have.
    pub const MAX_MEMBERS: usize = 256;

    /// Checks and takes a list of members; keeps its order.
    pub fn new(members: Vec<Member>) -> Result<Self, RosterError> {
        if members.is_empty() {
            return Err(RosterError::Empty);
        }
        if members.len() > Self::MAX_MEMBERS {
            return Err(RosterError::TooMany);
        }
        let mut users = std::collections::BTreeSet::new();
        let mut races = std::collections::BTreeSet::new();
        for member in &members {
            if !users.insert(&member.user_id) {
                return Err(RosterError::UserTwice(member.user_id.clone()));
            }
            if !races.insert(&member.race_name) {
                return Err(RosterError::RaceTwice(member.race_name.clone()));
            }
        }
        Ok(Self(members.into()))
    }

    /// The members, in the order given.
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// The race of a player.
    pub fn race_of(&self, user: &UserId) -> Option<&RaceName> {
        self.0.iter().find(|m| &m.user_id == user).map(|m| &m.race_name)
    }

    /// Who plays a race.
    pub fn by_race(&self, race: &str) -> Option<&Member> {
        self.0.iter().find(|m| m.race_name.as_str() == race)
    }

    /// The races, in the order given.
    pub fn races(&self) -> Vec<RaceName> {
        self.0.iter().map(|m| m.race_name.clone()).collect()
    }
}

impl TryFrom<Vec<Member>> for Roster {
    type Error = RosterError;

    fn try_from(members: Vec<Member>) -> Result<Self, RosterError> {
        Self::new(members)
    }
}

impl From<Roster> for Vec<Member> {
    fn from(roster: Roster) -> Self {
        roster.0.to_vec()
    }
}

/// A player's standing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlayerStats {
    /// The player.
    pub user_id: UserId,
    /// Planets owned.
    pub planets: u32,
    /// Population, in the engine's units.
    pub population: u64,
}
