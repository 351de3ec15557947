//! Taking a race out of a game: asked of the engine, recorded in the operation log alone.

use crate::effect::BanishCall;
use crate::ids::RaceName;
use crate::record::{Life, Runtime};
use crate::rejection::Rejection;

/// Whether a race may be banished now, and what to ask of the engine then.
///
/// The record does not change, so that this is no event of [`crate::step()`]: the operation is
/// opened in the log, the engine is asked, and the operation is closed. An engine banishes a race
/// once however often it is asked.
pub fn banish(current: Option<&Runtime>, race: &RaceName) -> Result<BanishCall, Rejection> {
    let rt = current.ok_or(Rejection::NotFound)?;
    match &rt.life {
        Life::Running { .. } | Life::Generating { .. } | Life::Failed { .. } => {}
        Life::Starting { .. }
        | Life::Unreachable { .. }
        | Life::Stopped { .. }
        | Life::Finished { .. } => return Err(Rejection::NotRunning(rt.status())),
    }
    let member = rt.roster.by_race(race.as_str()).ok_or(Rejection::RaceNotFound)?;
    Ok(BanishCall { endpoint: rt.engine.endpoint.clone(), race: member.race_name.clone() })
}
