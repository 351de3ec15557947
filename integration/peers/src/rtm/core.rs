//! What Runtime Manager's parts share.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use net::{HttpClient, Net};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use super::{
    Event, Faults, RtmConfig,
    image_ref::is_image_ref,
    launcher::{EngineLauncher, ExitKind},
    state::{PatchRefusal, RtmState, Runtime, Wanted},
};
use crate::{
    bus::Bus,
    env::{Env, Observer},
    http::Problem,
    messages::{HealthEvent, HealthEventType},
    state_file::{StateError, StateFile},
};

pub(super) struct Core {
    pub(super) config: RtmConfig,
    pub(super) state: StateFile<RtmState>,
    pub(super) net: Arc<dyn Net>,
    pub(super) client: HttpClient,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) env: Env,
    pub(super) launcher: Arc<dyn EngineLauncher>,
    pub(super) observer: Observer<Event>,
    pub(super) faults: Mutex<Faults>,
    /// What there is, as opposed to what is wanted.
    pub(super) engines: watch::Sender<BTreeMap<String, Engine>>,
    /// Ends that were ordered: how many of a game's engine, and of what kind the last one.
    pub(super) ordered_ends: watch::Sender<BTreeMap<String, (u64, ExitKind)>>,
    pub(super) health_events: mpsc::Sender<HealthEvent>,
}

/// An engine that there is, or will be in a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// Which generation of what was wanted it is.
    pub generation: u64,
    /// Whether it listens.
    pub is_up: bool,
    /// Its process, where it has one of its own.
    pub pid: Option<u32>,
    /// Its container.
    pub container_id: String,
    /// Where it listens: `http://host:port`.
    pub endpoint: String,
}

impl Core {
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_file(&self, game_id: &str) -> Option<PathBuf> {
        let directory = self.config.engine_state_dir.as_ref()?;
        Some(directory.join(format!("{game_id}.json")))
    }

    pub(super) fn endpoint(&self, port: u16) -> String {
        format!("http://{}:{port}", self.config.engine_host)
    }

    /// Where the engine on `port` is probed: where it listens, whoever stands in the way of others.
    pub(super) fn probed_at(&self, port: u16) -> String {
        let ip = self.config.engine_bind_ip;
        if ip.is_unspecified() {
            self.endpoint(port)
        } else {
            format!("http://{}", SocketAddr::new(ip, port))
        }
    }

    /// Kills a game's engine and has its end reported as `kind`.
    pub(super) fn order_end(&self, game_id: &str, kind: ExitKind) {
        self.ordered_ends.send_modify(|ends| {
            let end = ends.entry(game_id.to_owned()).or_insert((0, kind));
            *end = (end.0.wrapping_add(1), kind);
        });
    }

    /// Puts an event on its way to the stream.
    pub(super) fn tell_health(
        &self,
        runtime: &Runtime,
        event_type: HealthEventType,
        details: Map<String, Value>,
    ) {
        if self.faults().is_mute {
            return;
        }
        let event = HealthEvent {
            game_id: runtime.game_id.clone(),
            container_id: runtime.container_id.clone(),
            event_type,
            occurred_at_ms: self.env.now_ms(),
            details,
        };
        if self.health_events.try_send(event).is_err() {
            tracing::warn!(game_id = runtime.game_id, "a health event is lost: too many wait");
        }
    }

    /// Stops a game's engine, and returns its container once it is down.
    pub(super) async fn stop(&self, game_id: &str, reason: &str) -> Result<String, Problem> {
        let (was_running, container_id) = self
            .state
            .update(|state| {
                let runtime = state.runtimes.get(game_id);
                let was_running = runtime.is_some_and(|runtime| runtime.wanted == Wanted::Running);
                (was_running, state.stop(game_id))
            })
            .await
            .map_err(unwritable)?;
        let container_id = container_id.ok_or_else(runtime_not_found)?;
        self.wait_for(game_id, |engine| engine.is_none()).await?;
        if was_running {
            let (game_id, reason) = (game_id.to_owned(), reason.to_owned());
            (self.observer)(&Event::EngineStopped { game_id, reason });
        }
        Ok(container_id)
    }

    /// Gives a game's engine another image, and returns its container once it is up again.
    pub(super) async fn patch(&self, game_id: &str, image_ref: &str) -> Result<String, Problem> {
        let unprocessable =
            |code, message| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message));
        if !is_image_ref(image_ref) {
            return unprocessable("image_ref_invalid", "image_ref is malformed");
        }
        if self.faults().missing_images.contains(image_ref) {
            return unprocessable("image_not_found", "there is no such image");
        }
        let fresh_id = self.env.new_id();
        let patched = self
            .state
            .update(|state| state.patch(game_id, image_ref, fresh_id))
            .await
            .map_err(unwritable)?;
        let runtime = match patched {
            Ok(runtime) => runtime,
            Err(PatchRefusal::Unknown) => return Err(runtime_not_found()),
            Err(PatchRefusal::NotRunning) => {
                let message = "the engine is stopped";
                return Err(Problem::new(StatusCode::CONFLICT, "conflict", message));
            }
        };
        self.wait_for(game_id, |engine| {
            engine.is_some_and(|e| e.is_up && e.generation >= runtime.generation)
        })
        .await?;
        Ok(runtime.container_id)
    }

    /// Waits until the engine of a game is as wanted, as long as an operation may take.
    async fn wait_for(
        &self,
        game_id: &str,
        wanted: impl Fn(Option<&Engine>) -> bool,
    ) -> Result<(), Problem> {
        let mut engines = self.engines.subscribe();
        let waiting = engines.wait_for(|engines| wanted(engines.get(game_id)));
        match tokio::time::timeout(self.config.timing.operation_timeout, waiting).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "the engine is not there yet: ask again",
            )),
        }
    }
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct RtmTiming {
    /// From the start of an engine until it listens.
    pub start_timeout: Duration,
    /// Between the unexpected end of an engine, or a failed start, and the next start.
    pub restart_delay: Duration,
    /// Between two probes of an engine.
    pub probe_period: Duration,
    /// For one probe.
    pub probe_timeout: Duration,
    /// Between two reports that an engine is healthy while nothing changes.
    pub healthy_repeat: Duration,
    /// For a stop or a patch, before the caller is told to ask again.
    pub operation_timeout: Duration,
}

impl Default for RtmTiming {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(15),
            restart_delay: Duration::from_secs(1),
            probe_period: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(1),
            healthy_repeat: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(20),
        }
    }
}

pub(super) fn unwritable(error: StateError) -> Problem {
    tracing::error!(%error, "state cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "state cannot be written")
}

pub(super) fn runtime_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "runtime_not_found", "no engine was started for the game")
}
