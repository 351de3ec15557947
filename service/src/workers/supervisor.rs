//! Starts workers, and starts them again where they panic: a worker keeps nothing that it cannot
//! read again. Where panics do not stop, the process ends: what starts it may help, and half a Game
//! Master, one whose clock stands still, must not look like a whole one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::telemetry::labels::{Label as _, Place};

/// How many panics within [`WINDOW`] are borne, of all workers together.
const MAX_PANICS: usize = 5;
/// See [`MAX_PANICS`].
const WINDOW: Duration = Duration::from_secs(60);
/// The pause before a worker is started again; doubled each time, up to the cap.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const PAUSE_CAP: Duration = Duration::from_secs(30);
/// A worker that ran for so long is as good as new.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// A bug ended the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {} panicked, the last of more than {MAX_PANICS} panics within a minute",
    .0.text().replace('_', " ")
)]
pub struct WorkerPanicked(Place);

/// See the module.
pub struct Supervisor {
    driver: Arc<Driver>,
    /// Cancelled where panics do not stop.
    giving_up: CancellationToken,
    panics: Mutex<VecDeque<Instant>>,
}

impl Supervisor {
    /// One that ends the process by `giving_up`; the driver counts.
    pub fn new(driver: Arc<Driver>, giving_up: CancellationToken) -> Arc<Self> {
        Arc::new(Self { driver, giving_up, panics: Mutex::default() })
    }

    /// Runs what `start` makes until it ends by itself. After a panic it is made again, unless
    /// `stop` was cancelled and it panics even so.
    pub fn spawn<Work>(
        self: &Arc<Self>,
        worker: Place,
        stop: CancellationToken,
        mut start: impl FnMut() -> Work + Send + 'static,
    ) -> JoinHandle<Result<(), WorkerPanicked>>
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        let supervisor = Arc::clone(self);
        tokio::spawn(async move {
            let (mut pause, name) = (PAUSE, worker.text());
            loop {
                let (began, last) = (Instant::now(), stop.is_cancelled());
                // A task of its own contains the panic; this one sees how it ended. Ended with the
                // runtime, there is nobody left to start it for.
                match tokio::spawn(start()).await {
                    Err(error) if error.is_panic() => {}
                    Ok(()) | Err(_) => return Ok(()),
                }
                let metrics = supervisor.driver.telemetry().metrics();
                metrics.panicked(worker);
                if began.elapsed() >= GOOD_RUN {
                    pause = PAUSE;
                }
                if supervisor.one_too_many() {
                    tracing::error!(worker = name, "panicked too often; Game Master ends");
                    supervisor.giving_up.cancel();
                    return Err(WorkerPanicked(worker));
                }
                if last {
                    tracing::error!(worker = name, "panicked at its end");
                    return Ok(());
                }
                tracing::error!(worker = name, ?pause, "panicked; it is started again");
                tokio::select! {
                    biased;
                    // It may have something to do at its end.
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                metrics.restarted(worker);
                pause = (pause * 2).min(PAUSE_CAP);
            }
        })
    }

    fn one_too_many(&self) -> bool {
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        panics.retain(|at| at.elapsed() < WINDOW);
        panics.push_back(Instant::now());
        panics.len() > MAX_PANICS
    }
}
