//! What several scenarios do.

use integration::world::{Player, World};
use serde_json::{Value, json};

/// The planets of a report that a race owns, or nobody does.
pub(crate) fn planets_of(report: &Value, owner: Option<&str>) -> Vec<u64> {
    let planets = report["planets"].as_array().expect("planets");
    let owned = planets.iter().filter(|planet| planet["owner"].as_str() == owner);
    owned.map(|planet| planet["id"].as_u64().expect("a number")).collect()
}

/// A player's report of a turn.
pub(crate) async fn report(player: &Player, game: &str, turn: u64) -> Value {
    player.report(game, turn).await.done()
}

/// A command that the owner of the first planet can give.
pub(crate) fn build(planet: u64) -> Value {
    json!([{ "type": "build", "planet": planet }])
}

/// How many players the database has for a game.
pub(crate) async fn players(world: &World, game: &str) -> i64 {
    let count = "SELECT count(*) FROM gamemaster.player_mappings WHERE game_id = $1";
    world.ledger().await.query_one(count, &[&game]).await.expect("an answer").get(0)
}

/// The operations of a game as the database has them: kind and outcome, or `open`, and the code.
pub(crate) async fn operations(world: &World, game: &str) -> Vec<(String, String, String)> {
    let question = "SELECT kind, coalesce(outcome, 'open'), coalesce(error_code, '')
                    FROM gamemaster.operation_log WHERE game_id = $1 ORDER BY seq";
    let rows = world.ledger().await.query(question, &[&game]).await.expect("an answer");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}
