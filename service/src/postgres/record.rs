//! A record as the columns of its row.
//!
//! One JSON object whose keys are the columns: the functions of the schema take it apart
//! (`jsonb_populate_record`), `row_to_json` puts it together. The columns are the only truth: no
//! second copy of the record is kept that could say something else.

use std::sync::Arc;

use machine::flat::{FlatPending, FlatRuntime, FlatWork, Inconsistent, WorkKind};
use machine::record::Trigger;
use machine::{
    ContainerId, EngineEndpoint, EngineVersion, Failure, GameId, ImageRef, Incarnation, InstanceId,
    OperationId, PlayerStats, Roster, Runtime, Schedule, Status, StopReason, StreamId, Summary,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// `gamemaster.runtime_records`, but for the digest of the roster; and the roster, which is kept in
/// `gamemaster.player_mappings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Columns {
    game_id: GameId,
    status: Status,
    revision: u64,
    incarnation: Incarnation,
    attempt: u64,
    work_kind: Option<WorkKind>,
    work_trigger: Option<TriggerName>,
    #[serde(with = "instant::option")]
    work_due_at: Option<Timestamp>,
    work_attempt: Option<u64>,
    work_operation: Option<OperationId>,
    work_owner: Option<InstanceId>,
    #[serde(with = "instant::option")]
    work_expires_at: Option<Timestamp>,
    pending_operation: Option<OperationId>,
    pending_stop_reason: Option<StopReason>,
    pending_patch_version: Option<EngineVersion>,
    pending_patch_image_ref: Option<ImageRef>,
    pending_patch_turn_guard: Option<bool>,
    #[serde(with = "instant::option")]
    pending_drain_until: Option<Timestamp>,
    pending_attempt: Option<u64>,
    pending_owner: Option<InstanceId>,
    #[serde(with = "instant::option")]
    pending_expires_at: Option<Timestamp>,
    engine_endpoint: EngineEndpoint,
    engine_version: EngineVersion,
    engine_image_ref: ImageRef,
    engine_container_id: Option<ContainerId>,
    engine_turn_guard: bool,
    roster: Roster,
    schedule: Schedule,
    #[serde(with = "instant::option")]
    next_generation_at: Option<Timestamp>,
    #[serde(with = "instant::option")]
    skipped_tick_at: Option<Timestamp>,
    current_turn: u32,
    health_summary: Summary,
    health_cursor: Option<StreamId>,
    health_published: Option<Summary>,
    #[serde(with = "instant::option")]
    health_publish_at: Option<Timestamp>,
    tries: u32,
    #[serde(with = "instant::option")]
    retry_at: Option<Timestamp>,
    player_turn_stats: Vec<PlayerStats>,
    last_failure: Option<Failure>,
    failure_announced_for: Option<u32>,
    #[serde(with = "instant")]
    created_at: Timestamp,
    #[serde(with = "instant::option")]
    started_at: Option<Timestamp>,
    #[serde(with = "instant")]
    updated_at: Timestamp,
    #[serde(with = "instant::option")]
    stopped_at: Option<Timestamp>,
    #[serde(with = "instant::option")]
    finished_at: Option<Timestamp>,
    /// Written for the sake of `due`. Not believed when read: another version of the rules may have
    /// written it.
    #[serde(with = "instant::option")]
    next_timer_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TriggerName {
    Tick,
    Force,
}

/// A row that is no record: somebody else, or another version of this program, wrote it.
#[derive(Debug, thiserror::Error)]
pub enum BadRow {
    /// A column holds what it cannot, such as a status of a later version.
    #[error("a record cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The columns do not go together.
    #[error("a record makes no sense: {0}")]
    Inconsistent(#[from] Inconsistent),
}

/// Reads a record from the document of its row (`row_to_json` of `gamemaster.records`).
pub fn decode(document: &str) -> Result<Arc<Runtime>, BadRow> {
    let columns: Columns = serde_json::from_str(document)?;
    Ok(Arc::new(columns.flat()?.try_into()?))
}

impl From<&Runtime> for Columns {
    fn from(rt: &Runtime) -> Self {
        let next_timer_at = rt.next_timer().map(|(at, _)| at);
        let FlatRuntime {
            game_id,
            status,
            revision,
            incarnation,
            attempt,
            work,
            pending,
            endpoint,
            version,
            image_ref,
            container_id,
            turn_guard,
            roster,
            schedule,
            next_generation_at,
            skipped_tick_at,
            current_turn,
            health_summary,
            health_cursor,
            health_published,
            health_publish_at,
            tries,
            retry_at,
            player_turn_stats,
            last_failure,
            failure_announced_for,
            created_at,
            started_at,
            updated_at,
            stopped_at,
            finished_at,
        } = rt.into();
        let work = work.as_ref();
        let (work_trigger, work_due_at) = match work.and_then(|w| w.trigger) {
            Some(Trigger::Tick { due_at }) => (Some(TriggerName::Tick), Some(due_at)),
            Some(Trigger::Force) => (Some(TriggerName::Force), None),
            None => (None, None),
        };
        let pending = pending.as_ref();
        Self {
            game_id,
            status,
            revision,
            incarnation,
            attempt,
            work_kind: work.map(|w| w.kind),
            work_trigger,
            work_due_at,
            work_attempt: work.map(|w| w.attempt),
            work_operation: work.map(|w| w.operation),
            work_owner: work.map(|w| w.owner.clone()),
            work_expires_at: work.map(|w| w.expires_at),
            pending_operation: pending.map(|p| p.operation),
            pending_stop_reason: pending.and_then(|p| p.stop_reason.clone()),
            pending_patch_version: pending.and_then(|p| p.patch_version.clone()),
            pending_patch_image_ref: pending.and_then(|p| p.patch_image_ref.clone()),
            pending_patch_turn_guard: pending.and_then(|p| p.patch_turn_guard),
            pending_drain_until: pending.and_then(|p| p.drain_until),
            pending_attempt: pending.and_then(|p| p.attempt),
            pending_owner: pending.and_then(|p| p.owner.clone()),
            pending_expires_at: pending.and_then(|p| p.expires_at),
            engine_endpoint: endpoint,
            engine_version: version,
            engine_image_ref: image_ref,
            engine_container_id: container_id,
            engine_turn_guard: turn_guard,
            roster,
            schedule,
            next_generation_at,
            skipped_tick_at,
            current_turn,
            health_summary,
            health_cursor,
            health_published,
            health_publish_at,
            tries,
            retry_at,
            player_turn_stats,
            last_failure,
            failure_announced_for,
            created_at,
            started_at,
            updated_at,
            stopped_at,
            finished_at,
            next_timer_at,
        }
    }
}

impl Columns {
    fn flat(self) -> Result<FlatRuntime, Inconsistent> {
        Ok(FlatRuntime {
            work: self.work()?,
            pending: self.pending()?,
            game_id: self.game_id,
            status: self.status,
            revision: self.revision,
            incarnation: self.incarnation,
            attempt: self.attempt,
            endpoint: self.engine_endpoint,
            version: self.engine_version,
            image_ref: self.engine_image_ref,
            container_id: self.engine_container_id,
            turn_guard: self.engine_turn_guard,
            roster: self.roster,
            schedule: self.schedule,
            next_generation_at: self.next_generation_at,
            skipped_tick_at: self.skipped_tick_at,
            current_turn: self.current_turn,
            health_summary: self.health_summary,
            health_cursor: self.health_cursor,
            health_published: self.health_published,
            health_publish_at: self.health_publish_at,
            tries: self.tries,
            retry_at: self.retry_at,
            player_turn_stats: self.player_turn_stats,
            last_failure: self.last_failure,
            failure_announced_for: self.failure_announced_for,
            created_at: self.created_at,
            started_at: self.started_at,
            updated_at: self.updated_at,
            stopped_at: self.stopped_at,
            finished_at: self.finished_at,
        })
    }

    fn work(&self) -> Result<Option<FlatWork>, Inconsistent> {
        let trigger = match (self.work_trigger, self.work_due_at) {
            (Some(TriggerName::Tick), Some(due_at)) => Some(Trigger::Tick { due_at }),
            (Some(TriggerName::Force), None) => Some(Trigger::Force),
            (None, None) => None,
            (Some(_) | None, _) => return Err(Inconsistent("a trigger without its instant")),
        };
        let parts = (
            self.work_kind,
            self.work_attempt,
            self.work_operation,
            &self.work_owner,
            self.work_expires_at,
        );
        match parts {
            (Some(kind), Some(attempt), Some(operation), Some(owner), Some(expires_at)) => {
                let owner = owner.clone();
                Ok(Some(FlatWork { kind, trigger, attempt, operation, owner, expires_at }))
            }
            (None, None, None, None, None) if trigger.is_none() => Ok(None),
            _ => Err(Inconsistent("the work is not whole")),
        }
    }

    fn pending(&self) -> Result<Option<FlatPending>, Inconsistent> {
        let Some(operation) = self.pending_operation else {
            let nothing = self.pending_stop_reason.is_none()
                && self.pending_patch_version.is_none()
                && self.pending_patch_image_ref.is_none()
                && self.pending_patch_turn_guard.is_none()
                && self.pending_drain_until.is_none()
                && self.pending_attempt.is_none()
                && self.pending_owner.is_none()
                && self.pending_expires_at.is_none();
            let wrong = Inconsistent("something is pending for no operation");
            return if nothing { Ok(None) } else { Err(wrong) };
        };
        Ok(Some(FlatPending {
            stop_reason: self.pending_stop_reason.clone(),
            patch_version: self.pending_patch_version.clone(),
            patch_image_ref: self.pending_patch_image_ref.clone(),
            patch_turn_guard: self.pending_patch_turn_guard,
            operation,
            drain_until: self.pending_drain_until,
            attempt: self.pending_attempt,
            owner: self.pending_owner.clone(),
            expires_at: self.pending_expires_at,
        }))
    }
}

/// Instants as PostgreSQL reads and writes them in JSON. INVARIANT: what is read is what was
/// written. PostgreSQL keeps whole microseconds and would round what is finer, so that such an
/// instant is refused; the clock gives whole milliseconds, and no rule makes anything finer of them.
pub(super) mod instant {
    use chrono::{DateTime, Datelike, Timelike, Utc};
    use machine::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    const NANOS_PER_MICRO: u32 = 1_000;
    const NANOS_PER_SECOND: u32 = 1_000_000_000;

    fn write(at: &Timestamp) -> Option<String> {
        let nanos = at.nanosecond();
        let exact = nanos.is_multiple_of(NANOS_PER_MICRO) && nanos < NANOS_PER_SECOND;
        // Beyond the year 9999 chrono writes, and reads, a sign that PostgreSQL does neither.
        let text = at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        (exact && at.year() > 0).then(|| text.trim_start_matches('+').to_owned())
    }

    fn read(text: &str) -> Option<Timestamp> {
        let year = text.split('-').next()?;
        let signed = if year.len() > 4 { format!("+{text}") } else { text.to_owned() };
        signed.parse::<DateTime<Utc>>().ok()
    }

    pub(in crate::postgres) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = write(at);
        let text = text.ok_or_else(|| serde::ser::Error::custom("an instant cannot be kept"))?;
        serializer.serialize_str(&text)
    }

    pub(in crate::postgres) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        read(&text).ok_or_else(|| serde::de::Error::custom("not an instant"))
    }

    pub(in crate::postgres) mod option {
        use super::{Deserialize, Deserializer, Serializer, Timestamp, read};

        pub(in crate::postgres) fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in crate::postgres) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            let wrong = || serde::de::Error::custom("not an instant");
            text.map(|text| read(&text).ok_or_else(wrong)).transpose()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn whole_microseconds_of_any_year_come_back_and_nothing_finer_goes() {
            for text in [
                "0001-01-01T00:00:00Z",
                "2030-01-01T00:00:00.000001Z",
                "9999-12-31T23:59:59.999999Z",
                "+12345-06-07T08:09:10.5Z",
            ] {
                let at: Timestamp = text.parse().expect("an instant");
                let written = write(&at).expect("it can be kept");
                assert!(!written.starts_with('+'), "{written}");
                assert_eq!(read(&written), Some(at), "{written}");
            }
            for text in
                ["2030-01-01T00:00:00.0000001Z", "-0001-01-01T00:00:00Z", "2016-12-31T23:59:60Z"]
            {
                let at: Timestamp = text.parse().expect("an instant");
                assert_eq!(write(&at), None, "{text}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::conformance::{Game, Rng, likely_event};

    #[test]
    fn every_record_comes_back_from_its_columns_as_it_went() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let mut rng = Rng::new(seed);
            let mut game = Game::new("game-1");
            for _ in 0..150 {
                game.now += TimeDelta::milliseconds(i64::try_from(rng.below(90_000)).unwrap_or(0));
                let event = likely_event(&game, &mut rng);
                let Some(commit) = game.decide(&event, &mut rng) else { continue };
                game.record.clone_from(&commit.next);
                let Some(rt) = &commit.next else { continue };
                let document = serde_json::to_string(&Columns::from(&**rt)).expect("JSON");
                assert_eq!(&decode(&document).expect("a record"), rt);
                seen.insert((rt.status(), rt.pending().is_some(), rt.work().is_some()));
            }
        }
        assert!(seen.len() >= 12, "{seen:?}");
    }

    #[test]
    fn columns_that_do_not_go_together_are_no_record() {
        let mut rng = Rng::new(1);
        let game = Game::new("game-1");
        let commit = game.must(&game.registration(&mut rng), &mut rng);
        let columns = Columns::from(&**commit.next.as_ref().expect("a record"));
        let spoilt = [
            Columns { work_owner: None, ..columns.clone() },
            Columns { work_trigger: Some(TriggerName::Tick), ..columns.clone() },
            Columns { pending_attempt: Some(1), ..columns.clone() },
            Columns { status: Status::Running, ..columns.clone() },
        ];
        for columns in spoilt {
            let document = serde_json::to_string(&columns).expect("JSON");
            assert!(matches!(decode(&document), Err(BadRow::Inconsistent(_))), "{document}");
        }
        let unknown = serde_json::to_string(&columns).expect("JSON").replace("starting", "paused");
        assert!(matches!(decode(&unknown), Err(BadRow::Unreadable(_))));
    }
}
