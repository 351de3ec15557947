//! [`Store`] over the tables.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    Channel, EngineVersion, GameId, InstanceId, OperationId, OperationKind, Runtime, Status,
};
use machine::{StreamId, Timestamp};

use super::{Embedded, Planned, outbox, plan};
use crate::ports::{
    Attendance, Backlog, ClaimKey, ClaimRow, Commit, CommitError, Committed, Due, EngineVersionRow,
    LogCommit, OperationRow, OutboxRow, Presence, Roll, Store, StoreError, Term, VersionCommit,
    VersionCommitted,
};

#[async_trait]
impl Store for Embedded {
    async fn load(&self, game: &GameId) -> Result<Option<Arc<Runtime>>, StoreError> {
        Ok(self.look(|tables| tables.records.get(game).cloned())?)
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let commit = commit.clone();
        Ok(self.change(move |tables| plan::commit(tables, &commit)).await?)
    }

    async fn log(&self, commit: &LogCommit) -> Result<Committed, CommitError> {
        let commit = commit.clone();
        Ok(self.change(move |tables| plan::log(tables, &commit)).await?)
    }

    async fn claim(&self, key: &ClaimKey) -> Result<Option<ClaimRow>, StoreError> {
        Ok(self.look(|tables| tables.claims.get(key).cloned())?)
    }

    async fn list(
        &self,
        status: Option<Status>,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Arc<Runtime>>, StoreError> {
        let found = self.look(|tables| {
            let records = tables.records.range::<GameId, _>((above(after), Bound::Unbounded));
            let wanted =
                records.filter(|(_, rt)| status.is_none_or(|wanted| rt.status() == wanted));
            wanted.take(limit).map(|(_, rt)| Arc::clone(rt)).collect()
        });
        Ok(found?)
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let found = self.look(|tables| {
            let struck = tables.timers.iter().take_while(|(at, _)| *at <= until).take(limit);
            struck.map(|(at, game)| Due { at: *at, game_id: game.clone() }).collect()
        });
        Ok(found?)
    }

    async fn leased_to(&self, owner: &InstanceId, limit: usize) -> Result<Vec<GameId>, StoreError> {
        let found = self.look(|tables| {
            // The owners before this one are passed over by the search, not one by one.
            let Some(first) = tables.records.keys().next() else { return vec![] };
            let held = tables.leases.range((owner.clone(), first.clone())..);
            let held = held.take_while(|(of, _)| of == owner).take(limit);
            held.map(|(_, game)| game.clone()).collect()
        });
        Ok(found?)
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        Ok(self.look(|tables| tables.operations.get(&id).cloned())?)
    }

    async fn operations(
        &self,
        game: &GameId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let upper = before.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.look(|tables| {
            let places = tables.operations_by_game.get(game).into_iter();
            let newest_first = places.flat_map(|p| p.range((Bound::Unbounded, upper)).rev());
            let rows = newest_first.filter_map(|(_, id)| tables.operations.get(id));
            rows.take(limit).cloned().collect()
        });
        Ok(found?)
    }

    async fn open_operations(
        &self,
        kind: OperationKind,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let found = self.look(|tables| {
            let old = tables.open_by_age.iter().take_while(|(at, ..)| *at < before);
            let rows = old.filter_map(|(_, _, id)| tables.operations.get(id));
            rows.filter(|row| row.kind == kind).take(limit).cloned().collect()
        });
        Ok(found?)
    }

    async fn attend(&self, attendance: &Attendance, ttl: Duration) -> Result<Roll, StoreError> {
        self.inner.intact()?;
        Ok(self.inner.desk().attend(attendance, ttl, self.inner.clock.now()))
    }

    async fn leave(&self, presence: &Presence) -> Result<(), StoreError> {
        self.inner.intact()?;
        self.inner.desk().leave(presence, self.inner.clock.now());
        Ok(())
    }

    async fn outbox_assign(
        &self,
        term: Term,
        channel: Channel,
        floor: StreamId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<Vec<OutboxRow>>, StoreError> {
        let plan = move |tables: &_| outbox::assign(tables, channel, floor, now, limit);
        Ok(self.change_within(term, plan).await?)
    }

    async fn outbox_unassign(
        &self,
        term: Term,
        channel: Channel,
    ) -> Result<Option<()>, StoreError> {
        let plan = move |tables: &_| Ok(outbox::unassign(tables, channel));
        Ok(self.change_within(term, plan).await?)
    }

    async fn outbox_published(&self, seqs: &[u64], at: Timestamp) -> Result<(), StoreError> {
        let seqs = seqs.to_vec();
        Ok(self.change(move |tables| Ok(outbox::published(tables, &seqs, at))).await?)
    }

    async fn outbox_published_after(
        &self,
        channel: Channel,
        after: StreamId,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        Ok(self.look(|tables| outbox::published_after(tables, channel, after, limit))?)
    }

    async fn outbox_newest(&self, channel: Channel) -> Result<StreamId, StoreError> {
        Ok(self.look(|tables| outbox::newest(tables, channel))?)
    }

    async fn outbox_replay(&self, channel: Channel, after: StreamId) -> Result<u64, StoreError> {
        let upto = self.look(|tables| outbox::newest(tables, channel))?;
        let plan = move |tables: &_, limit| outbox::replay(tables, channel, after, upto, limit);
        Ok(self.sweep(plan).await?)
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        Ok(self.look(outbox::backlog)?)
    }

    async fn outbox_prune(&self, published_before: Timestamp) -> Result<u64, StoreError> {
        let plan =
            move |tables: &_, limit| Planned::all(outbox::prune(tables, published_before, limit));
        Ok(self.sweep(plan).await?)
    }

    async fn change_version(
        &self,
        commit: &VersionCommit,
    ) -> Result<VersionCommitted, CommitError> {
        let commit = commit.clone();
        Ok(self.change(move |tables| plan::change_version(tables, &commit)).await?)
    }

    async fn version(
        &self,
        version: &EngineVersion,
    ) -> Result<Option<EngineVersionRow>, StoreError> {
        Ok(self.look(|tables| tables.versions.get(version).cloned())?)
    }

    async fn versions(
        &self,
        after: Option<&EngineVersion>,
        limit: usize,
    ) -> Result<Vec<EngineVersionRow>, StoreError> {
        let found = self.look(|tables| {
            let rows = tables.versions.range::<EngineVersion, _>((above(after), Bound::Unbounded));
            rows.take(limit).map(|(_, row)| row.clone()).collect()
        });
        Ok(found?)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(self.inner.ready()?)
    }
}

fn above<T>(after: Option<&T>) -> Bound<&T> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
