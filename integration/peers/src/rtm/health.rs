//! What is told about the engines' health, and when.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::launcher::Exit;
use crate::{
    backoff::Backoff,
    bus::{Bus, append_json, streams},
    messages::{HealthEvent, HealthEventType},
};

/// Events that wait for a stream that is out of reach. Beyond it new ones are lost: the periodic
/// repetition tells the truth of the moment once the stream is back.
pub(super) const MAX_WAITING_EVENTS: usize = 1_024;

/// Decides what a sequence of probes is worth telling.
#[derive(Debug, Default)]
pub(super) struct Prober {
    failures: u32,
    told_healthy_at: Option<Instant>,
}

impl Prober {
    /// What to tell after a probe, if anything: each failure with its count, the first success,
    /// the first one after a failure, and a repetition every `repeat`.
    pub(super) fn judge(
        &mut self,
        probed: Result<(), String>,
        now: Instant,
        repeat: Duration,
    ) -> Option<(HealthEventType, Map<String, Value>)> {
        match probed {
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let details =
                    details(json!({ "consecutive_failures": self.failures, "error": error }));
                Some((HealthEventType::ProbeFailed, details))
            }
            Ok(()) => {
                let has_recovered = std::mem::take(&mut self.failures) > 0;
                let is_fresh = self
                    .told_healthy_at
                    .is_some_and(|told_at| now.saturating_duration_since(told_at) < repeat);
                if is_fresh && !has_recovered {
                    return None;
                }
                self.told_healthy_at = Some(now);
                Some((HealthEventType::Healthy, Map::new()))
            }
        }
    }
}

/// What is told of an end.
pub(super) fn exit_details(exit: &Exit) -> Map<String, Value> {
    details(json!({ "exit_code": exit.code, "signal": exit.signal }))
}

fn details(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// Puts the events on the stream, in the order they came.
pub(super) async fn publish(
    bus: Arc<dyn Bus>,
    mut events: mpsc::Receiver<HealthEvent>,
    backoff: Backoff,
    stop: CancellationToken,
) {
    while let Some(Some(event)) = stop.run_until_cancelled(events.recv()).await {
        let mut failures = 0_u32;
        while let Err(error) = append_json(&*bus, streams::HEALTH_EVENTS, &event).await {
            failures = failures.saturating_add(1);
            if failures == 1 {
                tracing::warn!(%error, "health events wait");
            }
            let pause = tokio::time::sleep(backoff.delay(failures));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_each_failure_and_repeats_health_slowly() {
        let mut prober = Prober::default();
        let start = Instant::now();
        let repeat = Duration::from_secs(30);
        let mut judge = |ok: bool, second: u64| {
            let probed = if ok { Ok(()) } else { Err("refused".to_owned()) };
            let told = prober.judge(probed, start + Duration::from_secs(second), repeat);
            told.map(|(kind, details)| (kind, details.get("consecutive_failures").cloned()))
        };
        let healthy = Some((HealthEventType::Healthy, None));
        let failed = |count: u32| Some((HealthEventType::ProbeFailed, Some(json!(count))));
        assert_eq!(judge(true, 0), healthy);
        assert_eq!(judge(true, 2), None);
        assert_eq!(judge(false, 4), failed(1));
        assert_eq!(judge(false, 6), failed(2));
        assert_eq!(judge(true, 8), healthy);
        assert_eq!(judge(true, 37), None);
        assert_eq!(judge(true, 38), healthy);
        assert_eq!(judge(false, 40), failed(1));
    }
}
