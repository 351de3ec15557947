//! The statements that the adapter sends, each with its text, its parameters and its columns.
//!
//! The texts are copies, and meant to be: a statement that changes in the adapter is not found here,
//! and says so (42601). `#` stands for the number of a `LIMIT`, which the adapter writes into the
//! text. The types are held to a real server's by a test.

/// A type of a parameter or a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Bytea,
    Int4,
    Int8,
    Int8Array,
    Text,
    TextArray,
    Timestamptz,
    Uuid,
    Void,
}

impl Kind {
    /// The identifier and the width of the type in every PostgreSQL.
    pub(super) fn oid_and_size(self) -> (u32, i16) {
        match self {
            Self::Bool => (16, 1),
            Self::Bytea => (17, -1),
            Self::Int4 => (23, 4),
            Self::Int8 => (20, 8),
            Self::Int8Array => (1016, -1),
            Self::Text => (25, -1),
            Self::TextArray => (1009, -1),
            Self::Timestamptz => (1184, 8),
            Self::Uuid => (2950, 16),
            Self::Void => (2278, 4),
        }
    }
}

/// Which statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Attend,
    Backlog,
    ChangeVersion,
    Claim,
    CommitAll,
    Due,
    Forget,
    Judge,
    LeasedTo,
    Leave,
    Load,
    Newest,
    Notify,
    OpenOperations,
    Operation,
    Operations,
    OutboxAssign,
    OutboxPrune,
    OutboxReplay,
    OutboxUnassign,
    Page,
    PageOfStatus,
    Published,
    PublishedAfter,
    Ready,
    Version,
    Versions,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: Name,
    pub(super) sql: &'static str,
    pub(super) params: &'static [Kind],
    pub(super) columns: &'static [(&'static str, Kind)],
    /// The command by which it writes first, where it writes.
    pub(super) writes: Option<&'static str>,
}

use Kind::{Bool, Bytea, Int4, Int8, Int8Array, Text, TextArray, Timestamptz, Uuid, Void};

const OPERATION: &[(&str, Kind)] = &[
    ("operation", Uuid),
    ("game_id", Text),
    ("seq", Int8),
    ("kind", Text),
    ("turn", Int8),
    ("tick", Timestamptz),
    ("status", Text),
    ("race", Text),
    ("source", Text),
    ("request_id", Text),
    ("outcome", Text),
    ("error_code", Text),
    ("error_message", Text),
    ("started_at", Timestamptz),
    ("finished_at", Timestamptz),
];

const MESSAGE: &[(&str, Kind)] = &[
    ("place", Int8),
    ("channel", Text),
    ("game_id", Text),
    ("payload", Text),
    ("committed_at", Timestamptz),
    ("stream_ms", Text),
    ("stream_seq", Text),
    ("published_at", Timestamptz),
];

/// All of them.
pub(super) const STATEMENTS: &[Statement] = &[
    Statement {
        name: Name::Load,
        sql: "SELECT row_to_json(v)::text FROM gamemaster.records v WHERE v.game_id = $1",
        params: &[Text],
        columns: &[("row_to_json", Text)],
        writes: None,
    },
    Statement {
        name: Name::CommitAll,
        sql: "SELECT gamemaster.commit_all($1::text::jsonb)",
        params: &[Text],
        columns: &[("commit_all", Text)],
        writes: Some("INSERT"),
    },
    Statement {
        name: Name::Judge,
        sql: "SELECT \
            EXISTS (SELECT FROM gamemaster.commit_ids WHERE id = $1), \
            $3::text IS NOT NULL AND gamemaster.is_claimed( \
                jsonb_build_object('caller', $3::text, 'key', $4::text), $5), \
            (SELECT row_to_json(v)::text FROM gamemaster.records v WHERE v.game_id = $2)",
        params: &[Uuid, Text, Text, Text, Timestamptz],
        columns: &[("exists", Bool), ("?column?", Bool), ("row_to_json", Text)],
        writes: None,
    },
    Statement {
        name: Name::Claim,
        sql: "SELECT fingerprint, operation, record::text, version::text, at \
              FROM gamemaster.claims WHERE caller = $1 AND key = $2",
        params: &[Text, Text],
        columns: &[
            ("fingerprint", Bytea),
            ("operation", Uuid),
            ("record", Text),
            ("version", Text),
            ("at", Timestamptz),
        ],
        writes: None,
    },
    Statement {
        name: Name::Page,
        sql: "SELECT row_to_json(v)::text, v.game_id FROM gamemaster.records v \
              WHERE v.game_id > $1 ORDER BY v.game_id LIMIT #",
        params: &[Text],
        columns: &[("row_to_json", Text), ("game_id", Text)],
        writes: None,
    },
    Statement {
        name: Name::PageOfStatus,
        sql: "SELECT row_to_json(v)::text, v.game_id FROM gamemaster.records v \
              WHERE v.game_id > $1 AND v.status = $2 ORDER BY v.game_id LIMIT #",
        params: &[Text, Text],
        columns: &[("row_to_json", Text), ("game_id", Text)],
        writes: None,
    },
    Statement {
        name: Name::Due,
        sql: "SELECT next_timer_at, game_id FROM gamemaster.runtime_records \
              WHERE next_timer_at <= $1 ORDER BY next_timer_at, game_id LIMIT #",
        params: &[Timestamptz],
        columns: &[("next_timer_at", Timestamptz), ("game_id", Text)],
        writes: None,
    },
    Statement {
        name: Name::LeasedTo,
        sql: "(SELECT game_id FROM gamemaster.runtime_records WHERE work_owner = $1 \
              ORDER BY game_id LIMIT #) \
             UNION (SELECT game_id FROM gamemaster.runtime_records WHERE pending_owner = $1 \
              ORDER BY game_id LIMIT #) ORDER BY game_id LIMIT #",
        params: &[Text],
        columns: &[("game_id", Text)],
        writes: None,
    },
    Statement {
        name: Name::Operation,
        sql: "SELECT operation, game_id, seq, kind, turn, tick, status, race, \
              source, request_id, outcome, error_code, error_message, started_at, finished_at \
              FROM gamemaster.operation_log WHERE operation = $1",
        params: &[Uuid],
        columns: OPERATION,
        writes: None,
    },
    Statement {
        name: Name::Operations,
        sql: "SELECT operation, game_id, seq, kind, turn, tick, status, race, \
              source, request_id, outcome, error_code, error_message, started_at, finished_at \
              FROM gamemaster.operation_log WHERE game_id = $1 AND seq < $2 \
              ORDER BY seq DESC LIMIT #",
        params: &[Text, Int8],
        columns: OPERATION,
        writes: None,
    },
    Statement {
        name: Name::OpenOperations,
        sql: "SELECT operation, game_id, seq, kind, turn, tick, status, race, \
              source, request_id, outcome, error_code, error_message, started_at, finished_at \
              FROM gamemaster.operation_log \
              WHERE kind = $1 AND started_at < $2 AND outcome IS NULL \
              ORDER BY started_at, seq LIMIT #",
        params: &[Text, Timestamptz],
        columns: OPERATION,
        writes: None,
    },
    Statement {
        name: Name::OutboxAssign,
        sql: "SELECT place, channel, game_id, payload, committed_at, \
              stream_ms::text, stream_seq::text, published_at \
              FROM gamemaster.outbox_assign($1, $2, $3::text::numeric, \
             $4::text::numeric, $5::text::numeric, $6)",
        params: &[Int8, Text, Text, Text, Text, Int8],
        columns: MESSAGE,
        writes: Some("SELECT FOR NO KEY UPDATE"),
    },
    Statement {
        name: Name::OutboxUnassign,
        sql: "SELECT gamemaster.outbox_unassign($1, $2)",
        params: &[Int8, Text],
        columns: &[("outbox_unassign", Bool)],
        writes: Some("SELECT FOR NO KEY UPDATE"),
    },
    Statement {
        name: Name::Published,
        sql: "SELECT gamemaster.outbox_published($1, $2)",
        params: &[Int8Array, Timestamptz],
        columns: &[("outbox_published", Void)],
        writes: Some("SELECT FOR NO KEY UPDATE"),
    },
    Statement {
        name: Name::PublishedAfter,
        sql: "SELECT place, channel, game_id, payload, committed_at, \
              stream_ms::text, stream_seq::text, published_at FROM gamemaster.outbox o \
             WHERE channel = $1 AND published_at IS NOT NULL \
               AND (o.stream_ms, o.stream_seq) > ($2::text::numeric, $3::text::numeric) \
             ORDER BY o.stream_ms, o.stream_seq LIMIT #",
        params: &[Text, Text, Text],
        columns: MESSAGE,
        writes: None,
    },
    Statement {
        name: Name::Newest,
        sql: "SELECT o.stream_ms::text, o.stream_seq::text FROM gamemaster.outbox o \
             WHERE channel = $1 AND published_at IS NOT NULL AND o.stream_ms IS NOT NULL \
             ORDER BY o.stream_ms DESC, o.stream_seq DESC LIMIT 1",
        params: &[Text],
        columns: &[("stream_ms", Text), ("stream_seq", Text)],
        writes: None,
    },
    Statement {
        name: Name::OutboxReplay,
        sql: "SELECT gamemaster.outbox_replay($1, $2::text::numeric, \
             $3::text::numeric, $4::text::numeric, $5::text::numeric)",
        params: &[Text, Text, Text, Text, Text],
        columns: &[("outbox_replay", Int8)],
        writes: Some("SELECT FOR NO KEY UPDATE"),
    },
    Statement {
        name: Name::Backlog,
        sql: "SELECT count(*), (SELECT min(first.committed_at) \
               FROM gamemaster.outbox_channels c CROSS JOIN LATERAL ( \
                    SELECT o.committed_at FROM gamemaster.outbox o \
                     WHERE o.channel = c.channel AND o.published_at IS NULL \
                     ORDER BY o.place, o.id LIMIT 1) first) \
             FROM gamemaster.outbox WHERE published_at IS NULL",
        params: &[],
        columns: &[("count", Int8), ("min", Timestamptz)],
        writes: None,
    },
    Statement {
        name: Name::OutboxPrune,
        sql: "SELECT gamemaster.outbox_prune($1)",
        params: &[Timestamptz],
        columns: &[("outbox_prune", Int8)],
        writes: Some("DELETE"),
    },
    Statement {
        name: Name::Forget,
        sql: "SELECT gamemaster.forget()",
        params: &[],
        columns: &[("forget", Int8)],
        writes: Some("DELETE"),
    },
    Statement {
        name: Name::ChangeVersion,
        sql: "SELECT answer, document::text FROM gamemaster.change_version($1::text::jsonb)",
        params: &[Text],
        columns: &[("answer", Text), ("document", Text)],
        writes: Some("INSERT"),
    },
    Statement {
        name: Name::Version,
        sql: "SELECT gamemaster.version_document(v)::text \
              FROM gamemaster.engine_versions v WHERE v.version = $1",
        params: &[Text],
        columns: &[("version_document", Text)],
        writes: None,
    },
    Statement {
        name: Name::Versions,
        sql: "SELECT gamemaster.version_document(v)::text FROM gamemaster.engine_versions v \
             WHERE v.sort_key > $1 ORDER BY v.sort_key LIMIT #",
        params: &[Text],
        columns: &[("version_document", Text)],
        writes: None,
    },
    Statement {
        name: Name::Attend,
        sql: "SELECT alive, held, terms, displaced \
              FROM gamemaster.attend($1, $2, $3, $4, $5)",
        params: &[Text, Uuid, Bool, TextArray, Int8],
        columns: &[
            ("alive", TextArray),
            ("held", TextArray),
            ("terms", Int8Array),
            ("displaced", Bool),
        ],
        writes: Some("INSERT"),
    },
    Statement {
        name: Name::Leave,
        sql: "SELECT gamemaster.leave($1, $2)",
        params: &[Text, Uuid],
        columns: &[("leave", Void)],
        writes: Some("UPDATE"),
    },
    Statement {
        name: Name::Notify,
        sql: "SELECT pg_notify('gamemaster_news', letter) FROM unnest($1::text[]) letter",
        params: &[TextArray],
        columns: &[("pg_notify", Void)],
        writes: Some("NOTIFY"),
    },
    Statement {
        name: Name::Ready,
        sql: "SELECT pg_is_in_recovery() \
                 OR current_setting('transaction_read_only')::boolean, \
               (SELECT max(version) FROM gamemaster.schema_history)",
        params: &[],
        columns: &[("?column?", Bool), ("max", Int4)],
        writes: None,
    },
];

/// The texts of all of them, each with some limit: so that a real server can be asked what it makes of
/// them.
pub fn texts() -> impl Iterator<Item = String> {
    STATEMENTS.iter().map(|statement| statement.sql.replace('#', "16"))
}

/// The statement of a text, and the first of its limits.
pub(super) fn find(sql: &str) -> Option<(&'static Statement, usize)> {
    STATEMENTS.iter().find_map(|statement| Some((statement, limit(statement.sql, sql)?)))
}

/// Whether a text is that of a pattern, and the number at its first `#`; the largest where there is
/// none.
fn limit(pattern: &str, sql: &str) -> Option<usize> {
    let mut parts = pattern.split('#');
    let mut rest = sql.strip_prefix(parts.next()?)?;
    let mut first = None;
    for part in parts {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        let number: usize = digits.parse().ok()?;
        first.get_or_insert(number);
        rest = tail.strip_prefix(part)?;
    }
    rest.is_empty().then(|| first.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_by_every_letter_of_it_whatever_its_limits() {
        for statement in STATEMENTS {
            let sql = statement.sql.replace('#', "64");
            let (found, limit) = find(&sql).expect("a statement");
            assert_eq!(found.name, statement.name);
            assert_eq!(limit, if statement.sql.contains('#') { 64 } else { usize::MAX });
            assert!(find(&format!("{sql} ")).is_none());
            assert!(find(&sql.replace("gamemaster", "gm")).is_none());
            assert!(find(&statement.sql.replace('#', "n")).is_none() || limit == usize::MAX);
        }
    }
}
