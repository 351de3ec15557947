//! Engines as tasks of this process: for simulations and fast tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use net::Net;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::launcher::{EngineLauncher, EngineSpec, Exit, ExitKind, LaunchError, RunningEngine};
use crate::engine::{EngineOptions, EngineServer, store::MemoryDisk};

/// How long an engine may take to end after it was asked to.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Starts each engine as a task. Without a state file its state lives as long as the launcher.
pub struct TaskLauncher {
    net: Arc<dyn Net>,
    base: EngineOptions,
    disks: Mutex<BTreeMap<String, MemoryDisk>>,
}

impl TaskLauncher {
    /// Starts engines on `net`. `base` says what the start does not: misbehaviour above all.
    pub fn new(net: Arc<dyn Net>, base: EngineOptions) -> Self {
        Self { net, base, disks: Mutex::default() }
    }

    fn options(&self, spec: &EngineSpec) -> EngineOptions {
        let mut options = self.base.clone();
        if let Some(seed) = spec.options.seed {
            options.game.seed = seed;
        }
        if let Some(planets) = spec.options.planets {
            options.game.planets = planets;
        }
        if let Some(limit) = spec.options.turn_limit {
            options.game.turn_limit = limit;
        }
        if !spec.options.turn_latency.is_zero() {
            options.turn_latency = spec.options.turn_latency;
        }
        options.honours_expected_turn = spec.options.turn_guard;
        options.state_file.clone_from(&spec.state_file);
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if spec.is_fresh {
            disks.remove(&spec.game_id);
        }
        options.memory_disk = Some(disks.entry(spec.game_id.clone()).or_default().clone());
        options
    }
}

#[async_trait]
impl EngineLauncher for TaskLauncher {
    async fn start(&self, spec: EngineSpec) -> Result<Box<dyn RunningEngine>, LaunchError> {
        let options = self.options(&spec);
        let server = EngineServer::bind(&*self.net, spec.listen, options).await;
        let server = server.map_err(|error| LaunchError::Start(error.to_string()))?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(stop.clone()));
        Ok(Box::new(EngineTask { task, stop, has_ended: false }))
    }

    fn forget(&self, game_id: &str) {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner).remove(game_id);
    }
}

struct EngineTask {
    task: JoinHandle<()>,
    stop: CancellationToken,
    has_ended: bool,
}

impl EngineTask {
    async fn wait(&mut self) {
        // A task that is waited for again after its end would panic.
        if !self.has_ended {
            let _ = (&mut self.task).await;
            self.has_ended = true;
        }
    }
}

#[async_trait]
impl RunningEngine for EngineTask {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn exited(&mut self) -> Exit {
        self.wait().await;
        Exit { kind: ExitKind::Exited, code: None, signal: None }
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_GRACE, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    async fn kill(&mut self) {
        self.task.abort();
        self.wait().await;
    }
}

impl Drop for EngineTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}
