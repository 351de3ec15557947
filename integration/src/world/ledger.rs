//! What the database says besides the records.

use tokio_postgres::{Client, Row};

use super::World;

/// A message of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) channel: String,
    pub(super) id: String,
    pub(super) payload: String,
}

/// Questions whose answers are complaints: what each row says is wrong.
const COMPLAINTS: [(&str, &str); 6] = [
    (
        "no_orphans: players without a record",
        "SELECT game_id || ' ' || user_id FROM gamemaster.player_mappings m
         WHERE NOT EXISTS (SELECT FROM gamemaster.runtime_records r WHERE r.game_id = m.game_id)",
    ),
    (
        "no_orphans: a record without players",
        "SELECT game_id FROM gamemaster.runtime_records r
         WHERE NOT EXISTS (SELECT FROM gamemaster.player_mappings m WHERE r.game_id = m.game_id)",
    ),
    (
        "no_orphans: a record that is starting for ever",
        "SELECT game_id FROM gamemaster.runtime_records WHERE status = 'starting'",
    ),
    (
        "every_reference_resolves: a version that is not registered",
        "SELECT game_id || ' ' || engine_version FROM gamemaster.runtime_records r
         WHERE NOT EXISTS (SELECT FROM gamemaster.engine_versions v
                            WHERE v.version = r.engine_version)
            OR pending_patch_version IS NOT NULL
           AND NOT EXISTS (SELECT FROM gamemaster.engine_versions v
                            WHERE v.version = r.pending_patch_version)",
    ),
    (
        "every_reference_resolves: a claim whose operation is not in the log",
        "SELECT caller || ' ' || key FROM gamemaster.claims c
         WHERE operation IS NOT NULL AND NOT EXISTS (
               SELECT FROM gamemaster.operation_log o WHERE o.operation = c.operation)",
    ),
    (
        "no_turn_twice: a turn that two operations claim to have generated",
        "SELECT game_id || ' ' || turn::text FROM gamemaster.operation_log
         WHERE kind IN ('tick', 'force') AND outcome = 'succeeded' AND turn IS NOT NULL
         GROUP BY game_id, turn HAVING count(*) > 1",
    ),
];

impl World {
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    /// A connection to the database, of the role that may do everything.
    pub async fn ledger(&self) -> Client {
        self.postgres().admin(&self.database.name).await.expect("the database answers")
    }
}

/// What is wrong, by the questions above.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub(super) async fn complaints(ledger: &Client) -> Vec<String> {
    let mut wrong = vec![];
    for (rule, question) in COMPLAINTS {
        let rows = ledger.query(question, &[]).await.expect("an answer");
        wrong.extend(rows.iter().map(|row| format!("{rule}: {}", text(row, 0))));
    }
    wrong
}

/// Operations that are not closed, as `game kind`.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub(super) async fn open_operations(ledger: &Client) -> Vec<String> {
    let question = "SELECT game_id || ' ' || kind FROM gamemaster.operation_log
                    WHERE outcome IS NULL ORDER BY seq";
    let rows = ledger.query(question, &[]).await.expect("an answer");
    rows.iter().map(|row| text(row, 0)).collect()
}

/// Whether the last turn that was asked for in a game was answered, as far as anybody knows: none
/// is on its way, or lost.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub(super) async fn last_turn_was_answered(ledger: &Client, game: &str) -> bool {
    let question = "SELECT outcome = 'succeeded' FROM gamemaster.operation_log
                    WHERE game_id = $1 AND kind IN ('tick', 'force') ORDER BY seq DESC LIMIT 1";
    let row = ledger.query_opt(question, &[&game]).await.expect("an answer");
    row.is_none_or(|row| row.get::<_, Option<bool>>(0) == Some(true))
}

/// How many messages wait to be published.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub(super) async fn waiting(ledger: &Client) -> i64 {
    let question = "SELECT count(*) FROM gamemaster.outbox WHERE published_at IS NULL";
    ledger.query_one(question, &[]).await.expect("an answer").get(0)
}

/// What was published, in order.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub(super) async fn published(ledger: &Client) -> Vec<Sent> {
    let question = "SELECT channel, stream_ms::text || '-' || stream_seq::text, payload
                    FROM gamemaster.outbox WHERE published_at IS NOT NULL ORDER BY place, id";
    let rows = ledger.query(question, &[]).await.expect("an answer");
    let sent = |row: &Row| Sent { channel: text(row, 0), id: text(row, 1), payload: text(row, 2) };
    rows.iter().map(sent).collect()
}

fn text(row: &Row, at: usize) -> String {
    row.get::<_, Option<String>>(at).unwrap_or_default()
}
