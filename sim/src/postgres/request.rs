//! What a statement asks for once its parameters are read, and what it answers.

use std::str::FromStr;

use machine::{Channel, GameId, OperationId, StreamId, Timestamp};
use serde_json::{Map, Value as Json};
use service::ports::{
    Claim, ClaimKey, CommitId, Fingerprint, OperationRow, OperationState, Source, VersionCommit,
};
use service::postgres::SCHEMA_VERSION;
use uuid::Uuid;

use super::attendance::{self, Attending, Roll};
use super::commit::{Answer, Looks, commit_all, is_claimed};
use super::document::{self, Asked};
use super::outbox::{self, amount};
use super::refusal::Refusal;
use super::statement::{Name, Statement};
use super::tables::{Message, RecordRow, Tables, Transaction};
use super::value::{Params, Value, instant, word};
use super::versions;

#[derive(Debug)]
pub(super) enum Request {
    Attend(Attending),
    Backlog,
    ChangeVersion { commit: Box<VersionCommit>, sort_key: String },
    Claim { caller: String, key: String },
    CommitAll(Vec<Asked>),
    Due { until: Timestamp, limit: usize },
    Forget,
    Judge { id: CommitId, game: String, claim: Option<(String, String)>, at: Timestamp },
    LeasedTo { owner: String, limit: usize },
    Leave { instance: String, boot: Uuid },
    Load { game: String },
    Newest { channel: Channel },
    Notify { letters: Vec<String> },
    OpenOperations { kind: String, before: Timestamp, limit: usize },
    Operation(OperationId),
    Operations { game: String, before: i64, limit: usize },
    OutboxAssign { term: i64, channel: Channel, floor: StreamId, present_ms: u64, limit: usize },
    OutboxPrune { before: Timestamp },
    OutboxReplay { channel: Channel, after: StreamId, upto: StreamId },
    OutboxUnassign { term: i64, channel: Channel },
    Page { after: String, status: Option<String>, limit: usize },
    Published { places: Vec<u64>, at: Timestamp },
    PublishedAfter { channel: Channel, after: StreamId, limit: usize },
    Ready,
    Version { version: String },
    Versions { above: String, limit: usize },
}

/// What comes of a request.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) rows: Vec<Vec<Value>>,
    /// How the members of a batch ended.
    pub(super) answers: Vec<Answer>,
}

/// When a statement commits, and to what kind of server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the clock of the database.
    pub(super) now: Timestamp,
    pub(super) read_only: bool,
}

/// The longest payload of a notification, and a little more.
const MAX_LETTER_BYTES: usize = 8_000;
/// How many columns a message is read in.
const MESSAGE_COLUMNS: usize = 8;

impl Reply {
    fn rows(rows: Vec<Vec<Value>>) -> Self {
        Self { rows, ..Self::default() }
    }

    fn one(value: Value) -> Self {
        Self::rows(vec![vec![value]])
    }

    /// What the server says at the end.
    pub(super) fn tag(&self) -> String {
        format!("SELECT {}", self.rows.len())
    }
}

impl Request {
    pub(super) fn read(
        statement: &Statement,
        limit: usize,
        params: &Params<'_>,
    ) -> Result<Self, Refusal> {
        let id_of = |ms, seq| Ok(StreamId { ms: params.numeric(ms)?, seq: params.numeric(seq)? });
        Ok(match statement.name {
            Name::Attend => Self::Attend(Attending {
                instance: params.text(0)?,
                boot: params.uuid(1)?,
                is_draining: params.bool(2)?,
                wants: params.texts(3)?,
                ttl_ms: params.int8(4)?,
            }),
            Name::Backlog => Self::Backlog,
            Name::ChangeVersion => {
                let (commit, sort_key) = document::version(&params.text(0)?)?;
                Self::ChangeVersion { commit: Box::new(commit), sort_key }
            }
            Name::Claim => Self::Claim { caller: params.text(0)?, key: params.text(1)? },
            Name::CommitAll => Self::CommitAll(document::batch(&params.text(0)?)?),
            Name::Due => Self::Due { until: params.at(0)?, limit },
            Name::Forget => Self::Forget,
            Name::Judge => Self::Judge {
                id: CommitId(params.uuid(0)?),
                game: params.text(1)?,
                claim: params.text_or_null(2)?.zip(params.text_or_null(3)?),
                at: params.at(4)?,
            },
            Name::LeasedTo => Self::LeasedTo { owner: params.text(0)?, limit },
            Name::Leave => Self::Leave { instance: params.text(0)?, boot: params.uuid(1)? },
            Name::Load => Self::Load { game: params.text(0)? },
            Name::Newest => Self::Newest { channel: channel(&params.text(0)?)? },
            Name::Notify => Self::Notify { letters: letters(params.texts(0)?)? },
            Name::OpenOperations => {
                Self::OpenOperations { kind: params.text(0)?, before: params.at(1)?, limit }
            }
            Name::Operation => Self::Operation(OperationId(params.uuid(0)?)),
            Name::Operations => {
                Self::Operations { game: params.text(0)?, before: params.int8(1)?, limit }
            }
            Name::OutboxAssign => Self::OutboxAssign {
                term: params.int8(0)?,
                channel: channel(&params.text(1)?)?,
                floor: id_of(2, 3)?,
                present_ms: params.numeric(4)?,
                limit: usize::try_from(params.int8(5)?)
                    .map_err(|_| Refusal::new("2201W", "LIMIT must not be negative"))?,
            },
            Name::OutboxPrune => Self::OutboxPrune { before: params.at(0)? },
            Name::OutboxReplay => Self::OutboxReplay {
                channel: channel(&params.text(0)?)?,
                after: id_of(1, 2)?,
                upto: id_of(3, 4)?,
            },
            Name::OutboxUnassign => {
                Self::OutboxUnassign { term: params.int8(0)?, channel: channel(&params.text(1)?)? }
            }
            Name::Page => Self::Page { after: params.text(0)?, status: None, limit },
            Name::PageOfStatus => {
                Self::Page { after: params.text(0)?, status: Some(params.text(1)?), limit }
            }
            Name::Published => {
                let places = params.int8s(0)?.into_iter();
                let places = places.filter_map(|place| u64::try_from(place).ok()).collect();
                Self::Published { places, at: params.at(1)? }
            }
            Name::PublishedAfter => Self::PublishedAfter {
                channel: channel(&params.text(0)?)?,
                after: id_of(1, 2)?,
                limit,
            },
            Name::Ready => Self::Ready,
            Name::Version => Self::Version { version: params.text(0)? },
            Name::Versions => Self::Versions { above: params.text(0)?, limit },
        })
    }

    /// Does it, in a transaction that the caller keeps or takes back.
    pub(super) fn carry_out(
        &self,
        tx: &mut Transaction<'_>,
        looks: &mut Looks,
        Moment { now, read_only }: Moment,
    ) -> Result<Reply, Refusal> {
        Ok(match self {
            Self::Attend(who) => {
                let Roll { alive, held, terms, displaced } = attendance::attend(tx, who, now)?;
                let lists = [Value::Texts(alive), Value::Texts(held), Value::Int8s(terms)];
                let row = lists.into_iter().chain([Value::Bool(displaced)]);
                Reply::rows(vec![row.collect()])
            }
            Self::Backlog => backlog(tx),
            Self::ChangeVersion { commit, sort_key } => {
                let found_taken = looks.taken.contains(&commit.id);
                let (answer, document) =
                    versions::change_version(tx, commit, sort_key, found_taken)?;
                let document = Value::or_null(document.as_ref(), Value::json);
                Reply::rows(vec![vec![Value::text(answer), document]])
            }
            Self::Claim { caller, key } => claim(tx, caller, key),
            Self::CommitAll(members) => {
                let answers = commit_all(tx, members, looks)?;
                let row = |answer: &Answer| vec![Value::text(answer.as_str())];
                Reply { rows: answers.iter().map(row).collect(), answers }
            }
            Self::Due { until, limit } => due(tx, *until, *limit),
            Self::Forget => Reply::one(Value::count(outbox::forget(tx))),
            Self::Judge { id, game, claim, at } => judge(tx, *id, game, claim.as_ref(), *at),
            Self::LeasedTo { owner, limit } => {
                let holds = |row: &&RecordRow| {
                    let owner = Some(owner.as_str());
                    text(row, "work_owner") == owner || text(row, "pending_owner") == owner
                };
                let found = tx.records().values().filter(holds).take(*limit);
                Reply::rows(found.map(|row| vec![game(row)]).collect())
            }
            Self::Leave { instance, boot } => {
                attendance::leave(tx, instance, *boot, now);
                Reply::one(Value::Void)
            }
            Self::Load { game } => {
                let found = row_of(tx, game).into_iter();
                Reply::rows(found.map(|row| vec![Value::json(&record(row))]).collect())
            }
            Self::Newest { channel } => {
                let found = outbox::published_after(tx, *channel, StreamId::ZERO);
                let zero = |row: &&Message| {
                    row.channel == *channel
                        && row.published_at.is_some()
                        && row.stream_id == Some(StreamId::ZERO)
                };
                let newest = found.last().map(|(_, row)| *row);
                let newest = newest.or_else(|| tx.outbox().values().find(zero));
                let id = newest.and_then(|row| row.stream_id);
                Reply::rows(id.map(|id| decimals(Some(id)).to_vec()).into_iter().collect())
            }
            Self::Notify { letters } => {
                Reply::rows(letters.iter().map(|_| vec![Value::Void]).collect())
            }
            Self::OpenOperations { kind, before, limit } => {
                let open = |row: &&OperationRow| {
                    row.state == OperationState::Open
                        && row.kind.as_str() == kind
                        && row.started_at < *before
                };
                let mut rows: Vec<_> = tx.operations().values().filter(open).collect();
                rows.sort_by_key(|row| (row.started_at, row.seq));
                operations(rows.into_iter().take(*limit))
            }
            Self::Operation(id) => operations(tx.operations().get(id).into_iter()),
            Self::Operations { game, before, limit } => {
                let below = |row: &&OperationRow| {
                    row.game_id.as_str() == game
                        && i64::try_from(row.seq).is_ok_and(|seq| seq < *before)
                };
                let mut rows: Vec<_> = tx.operations().values().filter(below).collect();
                rows.sort_by_key(|row| std::cmp::Reverse(row.seq));
                operations(rows.into_iter().take(*limit))
            }
            Self::OutboxAssign { term, .. } if !attendance::is_term(tx, *term) => {
                Reply::rows(vec![vec![Value::Null; MESSAGE_COLUMNS]])
            }
            Self::OutboxAssign { term: _, channel, floor, present_ms, limit } => {
                let assigned = outbox::assign(tx, *channel, *floor, *present_ms, *limit)?;
                messages(assigned.iter())
            }
            Self::OutboxPrune { before } => Reply::one(Value::count(outbox::prune(tx, *before))),
            Self::OutboxReplay { channel, after, upto } => {
                Reply::one(Value::count(outbox::replay(tx, *channel, *after, *upto)))
            }
            Self::OutboxUnassign { term, channel } => {
                let is_leader = attendance::is_term(tx, *term);
                if is_leader {
                    outbox::unassign(tx, *channel);
                }
                Reply::one(Value::Bool(is_leader))
            }
            Self::Page { after, status, limit } => {
                let wanted = |row: &&RecordRow| {
                    row.runtime.game_id.as_str() > after.as_str()
                        && status.as_ref().is_none_or(|s| row.runtime.status().as_str() == s)
                };
                let found = tx.records().values().filter(wanted).take(*limit);
                Reply::rows(found.map(|row| vec![Value::json(&record(row)), game(row)]).collect())
            }
            Self::Published { places, at } => {
                outbox::published(tx, places, *at);
                Reply::one(Value::Void)
            }
            Self::PublishedAfter { channel, after, limit } => {
                let found = outbox::published_after(tx, *channel, *after);
                messages(found.into_iter().map(|(_, row)| row).take(*limit))
            }
            Self::Ready => {
                Reply::rows(vec![vec![Value::Bool(read_only), Value::Int4(SCHEMA_VERSION)]])
            }
            Self::Version { version } => {
                let document = versions::document(tx, version);
                Reply::rows(document.iter().map(|found| vec![Value::json(found)]).collect())
            }
            Self::Versions { above, limit } => {
                let later = |(_, row): &(&String, &super::tables::VersionRow)| {
                    row.sort_key.as_str() > above.as_str()
                };
                let mut found: Vec<_> = tx.versions().iter().filter(later).collect();
                found.sort_by_key(|(_, row)| row.sort_key.as_str());
                let documents = found.into_iter().take(*limit);
                let documents = documents.filter_map(|(name, _)| versions::document(tx, name));
                Reply::rows(documents.map(|found| vec![Value::json(&found)]).collect())
            }
        })
    }
}

/// What PostgreSQL takes: short letters, and of those that are the same one.
fn letters(letters: Vec<String>) -> Result<Vec<String>, Refusal> {
    if letters.iter().any(|letter| letter.len() >= MAX_LETTER_BYTES) {
        return Err(Refusal::new("22023", "payload string too long"));
    }
    Ok(letters)
}

fn channel(name: &str) -> Result<Channel, Refusal> {
    let found = Channel::ALL.into_iter().find(|channel| channel.as_str() == name);
    found.ok_or_else(|| Refusal::new("P0002", "query returned no rows"))
}

fn row_of<'a>(tables: &'a Tables, game: &str) -> Option<&'a RecordRow> {
    tables.records().get(&GameId::from_str(game).ok()?)
}

fn text<'a>(row: &'a RecordRow, column: &str) -> Option<&'a str> {
    row.columns.get(column)?.as_str()
}

fn game(row: &RecordRow) -> Value {
    Value::text(row.runtime.game_id.as_str())
}

/// A row of the view `gamemaster.records`. Left out is the digest of the roster, which nobody reads.
fn record(row: &RecordRow) -> Json {
    let Some(columns) = row.columns.as_object() else { return Json::Null };
    let written = |(name, value): (&String, &Json)| {
        let is_instant = name.ends_with("_at") || name.ends_with("_until");
        let at = value.as_str().filter(|_| is_instant).and_then(|at| document::instant(at).ok());
        (name.clone(), at.map_or_else(|| value.clone(), |at| Json::String(instant(at))))
    };
    Json::Object(columns.iter().map(written).collect::<Map<_, _>>())
}

fn due(tables: &Tables, until: Timestamp, limit: usize) -> Reply {
    let timer = |row: &RecordRow| {
        let at = document::instant(text(row, "next_timer_at")?).ok()?;
        (at <= until).then(|| (at, row.runtime.game_id.clone()))
    };
    let mut rows: Vec<_> = tables.records().values().filter_map(timer).collect();
    rows.sort();
    let rows = rows.into_iter().take(limit);
    Reply::rows(rows.map(|(at, game)| vec![Value::At(at), Value::text(game.as_str())]).collect())
}

fn backlog(tables: &Tables) -> Reply {
    let first = |channel| {
        let of_channel = tables.unpublished().filter(|(_, row)| row.channel == channel);
        let first = of_channel.min_by_key(|(id, row)| (row.place.unwrap_or(u64::MAX), *id));
        first.map(|(_, row)| row.committed_at)
    };
    let oldest = Channel::ALL.into_iter().filter_map(first).min();
    let count = Value::count(amount(tables.unpublished().count()));
    Reply::rows(vec![vec![count, Value::or_null(oldest, Value::At)]])
}

fn claim(tables: &Tables, caller: &str, key: &str) -> Reply {
    let same = |(name, _): &(&super::tables::ClaimName, &super::tables::ClaimRow)| {
        name.0 == caller && name.1 == key
    };
    let found = tables.claims().iter().find(same).map(|(_, row)| {
        vec![
            Value::Bytes(row.fingerprint.to_vec()),
            Value::or_null(row.operation, Value::Uuid),
            Value::or_null(row.record.as_ref(), Value::json),
            Value::or_null(row.version.as_ref(), Value::json),
            Value::At(row.at),
        ]
    });
    Reply::rows(found.into_iter().collect())
}

fn judge(
    tables: &Tables,
    id: CommitId,
    game: &str,
    claim: Option<&(String, String)>,
    at: Timestamp,
) -> Reply {
    let taken = claim.is_some_and(|(caller, key)| {
        let sources = [Source::Gateway, Source::Lobby, Source::Admin, Source::GameMaster];
        let caller = sources.into_iter().find(|source| source.as_str() == caller);
        let Some((caller, key)) = caller.zip(key.parse().ok()) else { return false };
        let claim = Claim { key: ClaimKey { caller, key }, fingerprint: Fingerprint([0; 32]) };
        is_claimed(tables, &claim, at)
    });
    let document = row_of(tables, game).map(record);
    Reply::rows(vec![vec![
        Value::Bool(tables.commit_ids().contains_key(&id)),
        Value::Bool(taken),
        Value::or_null(document.as_ref(), Value::json),
    ]])
}

fn operations<'a>(rows: impl Iterator<Item = &'a OperationRow>) -> Reply {
    Reply::rows(rows.map(operation).collect())
}

fn operation(row: &OperationRow) -> Vec<Value> {
    use machine::Outcome;
    let (outcome, failure) = match &row.state {
        OperationState::Open => (None, None),
        OperationState::Closed(Outcome::Succeeded) => (Some("succeeded"), None),
        OperationState::Closed(Outcome::Superseded) => (Some("superseded"), None),
        OperationState::Closed(Outcome::Failed(failure)) => (Some("failed"), Some(failure)),
    };
    let texts = |text: Option<String>| Value::or_null(text, Value::Text);
    vec![
        Value::Uuid(row.operation.0),
        Value::text(row.game_id.as_str()),
        Value::count(row.seq),
        Value::text(row.kind.as_str()),
        Value::or_null(row.turn, |turn| Value::Int8(i64::from(turn))),
        Value::or_null(row.tick, Value::At),
        texts(row.status.map(|status| status.as_str().to_owned())),
        texts(row.race.as_ref().map(word)),
        Value::text(row.origin.source.as_str()),
        texts(row.origin.request_id.clone()),
        texts(outcome.map(str::to_owned)),
        texts(failure.map(|failure| failure.code.as_str().to_owned())),
        texts(failure.map(|failure| failure.message.clone())),
        Value::At(row.started_at),
        Value::or_null(row.finished_at, Value::At),
    ]
}

fn messages<'a>(rows: impl Iterator<Item = &'a Message>) -> Reply {
    Reply::rows(rows.map(message).collect())
}

fn message(row: &Message) -> Vec<Value> {
    let [ms, seq] = decimals(row.stream_id);
    vec![
        Value::or_null(row.place, Value::count),
        Value::text(row.channel.as_str()),
        Value::text(row.game_id.as_str()),
        Value::text(row.payload.as_str()),
        Value::At(row.committed_at),
        ms,
        seq,
        Value::or_null(row.published_at, Value::At),
    ]
}

fn decimals(id: Option<StreamId>) -> [Value; 2] {
    match id {
        Some(id) => [Value::text(id.ms.to_string()), Value::text(id.seq.to_string())],
        None => [Value::Null, Value::Null],
    }
}
