//! What Game Master lets its operators see: metrics, logs and traces.
//!
//! ```text
//!   HTTP front ─▶ Scope ─┐                        ┌─▶ Metrics ──▶ GET /metrics
//!   driver     ─▶ Scope ─┼─ (task-local, carried ─┤
//!   clients    ─▶ Call  ─┘   into spawned tasks)  └─▶ finished spans ─▶ bounded queue ─▶ OTLP
//!
//!   tracing events ─▶ one line each, escaped ─▶ bounded queue ─▶ standard error
//! ```
//!
//! * [`metrics`]: every number there is, in a table whose size is known when it is made. No label is
//!   ever taken from input.
//! * [`trace`]: W3C trace context in and out, and the spans; [`otlp`] sends them to a collector where
//!   one is configured.
//! * [`logs`]: lines for machines or for people; a sink that takes no more costs lines, not time.
//! * [`settings`]: what a deployment says of all this.
//!
//! Metrics and traces belong to one Game Master each, so that several can live in one process; logs
//! belong to the process, as its standard error does.

pub mod labels;
pub mod logs;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod registry;
mod scope;
pub mod settings;
pub mod trace;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machine::Timestamp;
use net::Net;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::labels::SpanFate;
pub use self::metrics::{Metrics, PoolStatus};
pub use self::scope::{Call, Scope, call, carried};
pub use self::settings::{LoggingArgs, TelemetryArgs, TelemetrySettings};
use self::trace::FinishedSpan;
use crate::ports::{Clock, Entropy, SystemClock, SystemEntropy};

/// How many finished spans wait for the collector at most; what comes on top is dropped and counted.
const SPAN_QUEUE: usize = 2048;
/// How long the last spans may take to reach the collector at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The telemetry of one Game Master. Clones share it.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    exporter: Option<Exporter>,
}

struct Exporter {
    queue: mpsc::Sender<FinishedSpan>,
    ratio: f64,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exports = self.inner.exporter.is_some();
        f.debug_struct("Telemetry").field("exports", &exports).finish_non_exhaustive()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }
}

impl Telemetry {
    /// Metrics and trace context, without a collector.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let metrics = Arc::new(Metrics::new(clock.now()));
        Self { inner: Arc::new(Inner { metrics, clock, entropy, exporter: None }) }
    }

    /// What the settings ask for. Must be called within a runtime, where it starts the exporter.
    pub fn start(
        settings: &TelemetrySettings,
        net: &Arc<dyn Net>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(clock.now()));
        let exporter = settings.otlp_endpoint.is_some().then(|| {
            let (queue, finished) = mpsc::channel(SPAN_QUEUE);
            let stop = CancellationToken::new();
            let task = export(settings, net, finished, &metrics, stop.clone());
            Exporter { queue, ratio: settings.sample_ratio, stop, task: Mutex::new(task) }
        });
        Self { inner: Arc::new(Inner { metrics, clock, entropy, exporter }) }
    }

    /// The numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// Gives the last spans to the collector, within a bound.
    pub async fn flush(&self) {
        let Some(exporter) = &self.inner.exporter else { return };
        exporter.stop.cancel();
        let task = exporter.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(FLUSH_TIMEOUT, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!("the last spans did not reach the collector in time");
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Takes a finished span; never waits.
    fn offer(&self, span: FinishedSpan) {
        let Some(exporter) = &self.inner.exporter else { return };
        if exporter.queue.try_send(span).is_err() {
            self.inner.metrics.spans(SpanFate::Dropped, 1);
        }
    }
}

#[cfg(feature = "otlp")]
fn export(
    settings: &TelemetrySettings,
    net: &Arc<dyn Net>,
    finished: mpsc::Receiver<FinishedSpan>,
    metrics: &Arc<Metrics>,
    stop: CancellationToken,
) -> Option<JoinHandle<()>> {
    let exporter = otlp::Exporter::new(settings, Arc::clone(net), Arc::clone(metrics))?;
    Some(tokio::spawn(exporter.run(finished, stop)))
}

/// The settings refuse a collector in a build that has no exporter.
#[cfg(not(feature = "otlp"))]
fn export(
    _: &TelemetrySettings,
    _: &Arc<dyn Net>,
    _: mpsc::Receiver<FinishedSpan>,
    _: &Arc<Metrics>,
    _: CancellationToken,
) -> Option<JoinHandle<()>> {
    None
}
