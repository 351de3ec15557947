//! The sweep: finds what no timer finds. Operations that a process that died left open and that no
//! record tells of, records that break a rule, leases that nobody looks after.
//!
//! It repairs nothing: a record that breaks a rule is a bug, and evidence of it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::record::PendingState;
use machine::{GameId, OperationKind, Runtime, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::jitter::jittered;
use crate::driver::Driver;
use crate::ports::{Clock, OperationRow, Store, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::labels::Recovery;

/// Between two sweeps, and up to half as long again.
const PERIOD: Duration = Duration::from_secs(60);
/// How many open operations are taken up in one sweep.
const MAX_OPERATIONS: usize = 100;
/// How many of them at a time: their engines may hang.
const AT_A_TIME: usize = 8;
/// How many records are looked at in one sweep.
const PAGE: usize = 200;
/// A lease that ran out so long ago is one that nobody looks after.
const OVERDUE: TimeDelta = TimeDelta::seconds(60);

/// See the module.
#[derive(Clone)]
pub struct Sweep {
    /// Takes up what is open; counts.
    pub driver: Arc<Driver>,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How long an operation on no record is open that somebody is still at.
    pub patience: TimeDelta,
}

/// A pass over all records, a page at a time.
#[derive(Default)]
struct Pass {
    after: Option<GameId>,
    overdue: usize,
}

impl Sweep {
    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut pass = Pass::default();
        loop {
            let sweep = async {
                if let Err(error) = self.take_up().await {
                    tracing::warn!(%error, "open operations are not looked at");
                }
                if let Err(error) = self.look(&mut pass).await {
                    tracing::warn!(%error, "records are not looked at");
                }
                tokio::time::sleep(jittered(PERIOD, self.driver.entropy())).await;
            };
            tokio::select! {
                biased;
                // What is under way stays open, and is found by the next one.
                () = stop.cancelled() => return,
                () = sweep => {}
            }
        }
    }

    async fn take_up(&self) -> Result<(), StoreError> {
        let before = self.clock.now() - self.patience;
        let kind = OperationKind::Banish;
        let open = self.store.open_operations(kind, before, MAX_OPERATIONS).await?;
        let mut under_way = JoinSet::new();
        for row in open {
            if under_way.len() >= AT_A_TIME {
                under_way.join_next().await;
            }
            let driver = Arc::clone(&self.driver);
            under_way.spawn(async move { settle(&driver, row).await });
        }
        while under_way.join_next().await.is_some() {}
        Ok(())
    }

    async fn look(&self, pass: &mut Pass) -> Result<(), StoreError> {
        let page = self.store.list(None, pass.after.as_ref(), PAGE).await?;
        let (now, metrics) = (self.clock.now(), self.driver.telemetry().metrics());
        for record in &page {
            pass.look_at(record, now, metrics);
        }
        if page.len() < PAGE {
            metrics.overdue_leases(pass.overdue);
            *pass = Pass::default();
        } else {
            pass.after = page.last().map(|record| record.game_id.clone());
        }
        Ok(())
    }
}

impl Pass {
    fn look_at(&mut self, record: &Runtime, now: Timestamp, metrics: &Metrics) {
        if let Err(violation) = record.check() {
            metrics.violated();
            let (game, revision) = (&record.game_id, record.revision);
            tracing::error!(%game, revision, %violation, "a record breaks a rule");
        }
        if overdue(record, now) {
            self.overdue += 1;
            tracing::warn!(game = %record.game_id, "a lease is long over");
        }
    }
}

async fn settle(driver: &Arc<Driver>, row: OperationRow) {
    let (game, operation) = (row.game_id.clone(), row.operation);
    tracing::info!(%game, %operation, "taking up a banish that was left open");
    driver.telemetry().metrics().took_up(Recovery::Banish);
    if let Err(error) = driver.settle_banish(row).await {
        tracing::warn!(%game, %operation, %error, "not taken up");
    }
}

fn overdue(record: &Runtime, now: Timestamp) -> bool {
    let over = |expires_at: Timestamp| expires_at + OVERDUE < now;
    let asked = record.pending().is_some_and(|pending| match &pending.state {
        PendingState::Asked { lease, .. } => over(lease.expires_at),
        PendingState::Draining { .. } => false,
    });
    asked || record.work().is_some_and(|work| over(work.lease.expires_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Game, Rng, START};

    #[test]
    fn a_record_that_breaks_a_rule_is_counted_each_time() {
        let (mut game, mut rng) = (Game::new("game-1"), Rng::new(1));
        let registration = game.registration(&mut rng);
        let commit = game.must(&registration, &mut rng);
        game.applied(&commit);
        let mut record = Runtime::clone(game.record.as_deref().expect("a record"));
        let (mut pass, metrics) = (Pass::default(), Metrics::new(START));
        let violations = |n: u64| format!("\ngamemaster_invariant_violations_total {n}\n");
        pass.look_at(&record, START, &metrics);
        assert!(metrics.render().contains(&violations(0)));
        record.revision = 0;
        pass.look_at(&record, START, &metrics);
        pass.look_at(&record, START, &metrics);
        assert!(metrics.render().contains(&violations(2)));
    }
}
