//! [`Store`] over the schema.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind, Runtime, Status,
    StreamId, Timestamp, check_commit,
};
use tokio_postgres::Row;

use super::error::Fault;
use super::semver::sort_key;
use super::{MAX_ROWS, Postgres, SCHEMA_VERSION, document, rows};
use crate::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineVersionRow,
    Expected, LogCommit, OperationRow, OutboxRow, Presence, Roll, Store, StoreError, Term,
    VersionCommit, VersionCommitted,
};

/// How often a change of a version is tried that loses against another one.
const MAX_TRIES: usize = 3;
/// How many records that cannot be read one list leaves out. More are no accident of a row: this
/// program does not understand the table, and must not say that it is all but empty.
const MAX_UNREADABLE: usize = 100;

#[async_trait]
impl Store for Postgres {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        const SQL: &str =
            "SELECT row_to_json(v)::text FROM gamemaster.records v WHERE v.game_id = $1";
        let found = self.ask(SQL, &[&game.as_str()]).await?;
        let record = found.first().map(|row| rows::record(row, 0)).transpose()?;
        record.iter().for_each(|record| self.inner.seen.put(record));
        Ok(record)
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        if !self.breaks_no_rule(commit)
            && let Some(committed) = self.judge(commit).await?
        {
            return Ok(committed);
        }
        let document = document::commit(commit).map_err(refuse)?;
        let committed = self.inner.queue.commit(commit.game_id.clone(), document).await?;
        if let (Committed::Applied, Some(next)) = (committed, &commit.next) {
            self.inner.seen.put(next);
        }
        Ok(committed)
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        let document = document::log(commit).map_err(refuse)?;
        self.inner.queue.commit(commit.game_id.clone(), document).await
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        let columns = rows::CLAIM;
        let sql = format!("SELECT {columns} FROM gamemaster.claims WHERE caller = $1 AND key = $2");
        let found = self.ask(&sql, &[&key.caller.as_str(), &key.key.as_str()]).await?;
        found.first().map(|row| rows::claim(key, row)).transpose()
    }

    /// Leaves out a record that cannot be read, as long as these are few, with a word in the log and
    /// the next one in its place: a page is short only where it is the last. Whoever asks for the
    /// record itself is told.
    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        let limit = limit.min(MAX_ROWS);
        // No key is empty.
        let mut after = after.map_or("", GameId::as_str).to_owned();
        let (mut list, mut unreadable) = (vec![], 0);
        while list.len() < limit {
            let wanted = limit - list.len();
            let found = self.page(status, &after, wanted).await?;
            let is_last = found.len() < wanted;
            for row in found.iter().take(wanted) {
                after = rows::column(row, 1)?;
                match rows::record(row, 0) {
                    Ok(record) => list.push(record),
                    Err(error) => {
                        unreadable += 1;
                        if unreadable > MAX_UNREADABLE {
                            return Err(error);
                        }
                        tracing::error!(
                            game_id = %after.escape_debug(), %error, unreadable,
                            "a record is left out of a list",
                        );
                    }
                }
            }
            if is_last {
                break;
            }
        }
        Ok(list)
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let page = Page::of(limit);
        let sql = format!(
            "SELECT next_timer_at, game_id FROM gamemaster.runtime_records \
             WHERE next_timer_at <= $1 ORDER BY next_timer_at, game_id {page}"
        );
        let found = self.ask(&sql, &[&until]).await?;
        found.iter().take(limit).map(rows::due).collect()
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        let page = Page::of(limit);
        let sql = format!(
            "(SELECT game_id FROM gamemaster.runtime_records WHERE work_owner = $1 \
              ORDER BY game_id {page}) \
             UNION (SELECT game_id FROM gamemaster.runtime_records WHERE pending_owner = $1 \
              ORDER BY game_id {page}) ORDER BY game_id {page}"
        );
        let found = self.ask(&sql, &[&owner.as_str()]).await?;
        found.iter().take(limit).map(|row| rows::game_id(row, 0)).collect()
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        let columns = rows::OPERATION;
        let sql = format!("SELECT {columns} FROM gamemaster.operation_log WHERE operation = $1");
        let found = self.ask(&sql, &[&id.0]).await?;
        found.first().map(rows::operation).transpose()
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let (columns, page) = (rows::OPERATION, Page::of(limit));
        let sql = format!(
            "SELECT {columns} FROM gamemaster.operation_log WHERE game_id = $1 AND seq < $2 \
             ORDER BY seq DESC {page}"
        );
        let before = bigint(before.unwrap_or(u64::MAX));
        let found = self.ask(&sql, &[&game.as_str(), &before]).await?;
        found.iter().take(limit).map(rows::operation).collect()
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let (columns, page) = (rows::OPERATION, Page::of(limit));
        let sql = format!(
            "SELECT {columns} FROM gamemaster.operation_log \
             WHERE kind = $1 AND started_at < $2 AND outcome IS NULL \
             ORDER BY started_at, seq {page}"
        );
        let found = self.ask(&sql, &[&kind.as_str(), &before]).await?;
        found.iter().take(limit).map(rows::operation).collect()
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        const SQL: &str = "SELECT alive, held, terms, displaced \
                           FROM gamemaster.attend($1, $2, $3, $4, $5)";
        let Attendance { presence, is_draining, wants } = attendance;
        let wants: Vec<&str> = wants.iter().map(|role| role.as_str()).collect();
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let Presence { instance, boot } = presence;
        let found = self.ask(SQL, &[&instance.as_str(), boot, is_draining, &wants, &ttl]).await?;
        rows::roll(found.first().ok_or_else(|| StoreError("no answer".into()))?)
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        const SQL: &str = "SELECT gamemaster.leave($1, $2)";
        self.ask(SQL, &[&presence.instance.as_str(), &presence.boot]).await.map(drop)
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        let columns = rows::OUTBOX;
        let sql = format!(
            "SELECT {columns} FROM gamemaster.outbox_assign($1, $2, $3::text::numeric, \
             $4::text::numeric, $5::text::numeric, $6)"
        );
        let [ms, seq] = decimal(floor);
        let present = u64::try_from(now.timestamp_millis()).unwrap_or(0).to_string();
        let limit = i64::try_from(limit.min(MAX_ROWS)).unwrap_or(0);
        let (term, channel) = (bigint(term.0), channel.as_str());
        let found = self.ask(&sql, &[&term, &channel, &ms, &seq, &present, &limit]).await?;
        if let Some(first) = found.first()
            && rows::column::<Option<i64>>(first, 0)?.is_none()
        {
            return Ok(None);
        }
        found.iter().map(rows::outbox).collect::<Result<_, _>>().map(Some)
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        const SQL: &str = "SELECT gamemaster.outbox_unassign($1, $2)";
        let found = self.ask(SQL, &[&bigint(term.0), &channel.as_str()]).await?;
        let row = found.first().ok_or_else(|| StoreError("no answer".into()))?;
        Ok(rows::column::<bool>(row, 0)?.then_some(()))
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        const SQL: &str = "SELECT gamemaster.outbox_published($1, $2)";
        let places: Vec<i64> = seqs.iter().map(|seq| bigint(*seq)).collect();
        self.ask(SQL, &[&places, &at]).await.map(drop)
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let (columns, page) = (rows::OUTBOX, Page::of(limit));
        let sql = format!(
            "SELECT {columns} FROM gamemaster.outbox o \
             WHERE channel = $1 AND published_at IS NOT NULL \
               AND (o.stream_ms, o.stream_seq) > ($2::text::numeric, $3::text::numeric) \
             ORDER BY o.stream_ms, o.stream_seq {page}"
        );
        let [ms, seq] = decimal(after);
        let found = self.ask(&sql, &[&channel.as_str(), &ms, &seq]).await?;
        found.iter().take(limit).map(rows::outbox).collect()
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        const SQL: &str = "SELECT o.stream_ms::text, o.stream_seq::text FROM gamemaster.outbox o \
             WHERE channel = $1 AND published_at IS NOT NULL AND o.stream_ms IS NOT NULL \
             ORDER BY o.stream_ms DESC, o.stream_seq DESC LIMIT 1";
        let found = self.ask(SQL, &[&channel.as_str()]).await?;
        let newest = found.first().map(|row| rows::stream_id(row, 0, 1)).transpose()?;
        Ok(newest.flatten().unwrap_or_default())
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT gamemaster.outbox_replay($1, $2::text::numeric, \
             $3::text::numeric, $4::text::numeric, $5::text::numeric)";
        let [last_ms, last_seq] = decimal(self.outbox_newest(channel).await?);
        let [ms, seq] = decimal(after);
        let channel = channel.as_str();
        let mut total = 0;
        loop {
            let found = self.ask(SQL, &[&channel, &ms, &seq, &last_ms, &last_seq]).await?;
            match count(&found)? {
                0 => return Ok(total),
                n => total += n,
            }
        }
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        const SQL: &str = "SELECT count(*), (SELECT min(first.committed_at) \
               FROM gamemaster.outbox_channels c CROSS JOIN LATERAL ( \
                    SELECT o.committed_at FROM gamemaster.outbox o \
                     WHERE o.channel = c.channel AND o.published_at IS NULL \
                     ORDER BY o.place, o.id LIMIT 1) first) \
             FROM gamemaster.outbox WHERE published_at IS NULL";
        let found = self.ask(SQL, &[]).await?;
        let oldest = found.first().map(|row| rows::column(row, 1)).transpose()?;
        Ok(Backlog { waiting: count(&found)?, oldest: oldest.flatten() })
    }

    /// Forgets besides, a thousand at a time, what nobody may ask for any more: names of commits,
    /// claims, and operations closed long ago.
    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT gamemaster.outbox_prune($1)";
        let mut total = 0;
        loop {
            let found = self.ask(SQL, &[&published_before]).await?;
            match count(&found)? {
                0 => break,
                n => total += n,
            }
        }
        while count(&self.ask("SELECT gamemaster.forget()", &[]).await?)? > 0 {}
        Ok(total)
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        const SQL: &str =
            "SELECT answer, document::text FROM gamemaster.change_version($1::text::jsonb)";
        let document = document::version(commit).map_err(refuse)?;
        let mut tries = 1;
        let found = loop {
            match self.run(SQL, &[&document.get()]).await {
                Err(Fault::Again(_)) if tries < MAX_TRIES => tries += 1,
                other => break other?,
            }
        };
        // The change is made whatever comes of reading the answer.
        let unreadable = CommitError::Indeterminate;
        let row = found.first().ok_or_else(|| unreadable(StoreError("no answer".into())))?;
        match rows::column::<String>(row, 0).map_err(unreadable)?.as_str() {
            "applied" => {
                let document: Option<String> = rows::column(row, 1).map_err(unreadable)?;
                let version = document.map(|document| rows::version(&document)).transpose();
                Ok(VersionCommitted::Applied(version.map_err(unreadable)?.map(Box::new)))
            }
            "exists" => Ok(VersionCommitted::Exists),
            "not_found" => Ok(VersionCommitted::NotFound),
            "in_use" => Ok(VersionCommitted::InUse),
            "claimed" => Ok(VersionCommitted::Claimed),
            _ => Err(unreadable(StoreError("the server gave an answer that is none".into()))),
        }
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        const SQL: &str = "SELECT gamemaster.version_document(v)::text \
                           FROM gamemaster.engine_versions v WHERE v.version = $1";
        let found = self.ask(SQL, &[&version.to_string()]).await?;
        found.first().map(|row| rows::version(&rows::column::<String>(row, 0)?)).transpose()
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        let page = Page::of(limit);
        let sql = format!(
            "SELECT gamemaster.version_document(v)::text FROM gamemaster.engine_versions v \
             WHERE v.sort_key > $1 ORDER BY v.sort_key {page}"
        );
        // No key is empty.
        let after = after.map(sort_key).unwrap_or_default();
        let found = self.ask(&sql, &[&after]).await?;
        let read = |row| rows::version(&rows::column::<String>(row, 0)?);
        found.iter().take(limit).map(read).collect()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        const SQL: &str = "SELECT pg_is_in_recovery() \
                 OR current_setting('transaction_read_only')::boolean, \
               (SELECT max(version) FROM gamemaster.schema_history)";
        let found = self.ask(SQL, &[]).await.map_err(|StoreError(why)| {
            // 42P01, 3F000: no such table, no such schema.
            if why.ends_with("(42P01)") || why.ends_with("(3F000)") {
                return StoreError(
                    "the database has no schema yet: run `gamemaster migrate`".into(),
                );
            }
            StoreError(why)
        })?;
        let row = found.first().ok_or_else(|| StoreError("no answer".into()))?;
        if rows::column::<bool>(row, 0)? {
            return Err(StoreError("the database cannot be written: it is a replica".into()));
        }
        match rows::column::<Option<i32>>(row, 1)? {
            Some(SCHEMA_VERSION) => Ok(()),
            Some(other) => Err(StoreError(format!(
                "the schema is at version {other}, this program works with {SCHEMA_VERSION}"
            ))),
            None => Err(StoreError("the schema is not migrated: run `gamemaster migrate`".into())),
        }
    }
}

impl Postgres {
    /// Records above a key, as documents with their keys.
    async fn page(
        &self,
        status: Option<Status>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let page = Page::of(limit);
        let select = "SELECT row_to_json(v)::text, v.game_id FROM gamemaster.records v \
                      WHERE v.game_id > $1";
        match status {
            Some(status) => {
                let sql = format!("{select} AND v.status = $2 ORDER BY v.game_id {page}");
                self.ask(&sql, &[&after, &status.as_str()]).await
            }
            None => {
                let sql = format!("{select} ORDER BY v.game_id {page}");
                self.ask(&sql, &[&after]).await
            }
        }
    }

    /// Whether the record that a commit was decided on was seen here, and the commit follows from it.
    fn breaks_no_rule(&self, commit: &Commit) -> bool {
        let before = match commit.expected {
            None => None,
            Some(expected) => match self.inner.seen.get(&commit.game_id, expected) {
                Some(record) => Some(record),
                None => return false,
            },
        };
        follows(before.as_deref(), commit).is_ok()
    }

    /// What a commit comes to whose predecessor was not seen, or that breaks a rule: an answer, or
    /// nothing where it may be sent. SUBTLE: a rule counts only where the comparison holds. A stale
    /// commit is a conflict, and a repeat of an applied one was applied, whatever they say.
    async fn judge(&self, commit: &Commit) -> Result<Option<Committed>, CommitError> {
        const SQL: &str = "SELECT \
            EXISTS (SELECT FROM gamemaster.commit_ids WHERE id = $1), \
            $3::text IS NOT NULL AND gamemaster.is_claimed( \
                jsonb_build_object('caller', $3::text, 'key', $4::text), $5), \
            (SELECT row_to_json(v)::text FROM gamemaster.records v WHERE v.game_id = $2)";
        let key = commit.claim.as_ref().map(|claim| &claim.key);
        let (caller, name) = (key.map(|k| k.caller.as_str()), key.map(|k| k.key.as_str()));
        let game = commit.game_id.as_str();
        let found = self.ask(SQL, &[&commit.id.0, &game, &caller, &name, &commit.at]).await;
        let found = found.map_err(CommitError::Determinate)?;
        let row = found.first().ok_or_else(|| refuse("no answer".into()))?;
        if rows::column::<bool>(row, 0).map_err(CommitError::Determinate)? {
            return Ok(Some(Committed::Applied));
        }
        let document: Option<String> = rows::column(row, 2).map_err(CommitError::Determinate)?;
        let before = match document {
            Some(_) => Some(rows::record(row, 2).map_err(CommitError::Determinate)?),
            None => None,
        };
        if before.as_deref().map(Expected::from) != commit.expected
            || rows::column::<bool>(row, 1).map_err(CommitError::Determinate)?
        {
            return Ok(Some(Committed::Conflict));
        }
        before.iter().for_each(|record| self.inner.seen.put(record));
        follows(before.as_deref(), commit).map_err(refuse).map(|()| None)
    }
}

fn follows(before: Option<&Runtime>, commit: &Commit) -> Result<(), String> {
    check_commit(before, commit.next.as_deref()).map_err(|violation| violation.to_string())?;
    if commit.next.as_ref().is_some_and(|next| next.game_id != commit.game_id) {
        return Err("the record is of another game".into());
    }
    Ok(())
}

fn refuse(why: String) -> CommitError {
    CommitError::Determinate(StoreError(why))
}

fn bigint(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn decimal(id: StreamId) -> [String; 2] {
    [id.ms.to_string(), id.seq.to_string()]
}

fn count(found: &[Row]) -> Result<u64, StoreError> {
    let n: i64 = found.first().map_or(Ok(0), |row| rows::column(row, 0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}

/// A literal `LIMIT`. SUBTLE: as a parameter it would leave the planner to guess a tenth of the
/// table, and to sort that instead of walking an index. A power of two, so that each connection
/// prepares few variants; what is too much is cut off afterwards.
struct Page(usize);

impl Page {
    fn of(limit: usize) -> Self {
        Self(limit.clamp(1, MAX_ROWS).next_power_of_two())
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LIMIT {}", self.0)
    }
}
