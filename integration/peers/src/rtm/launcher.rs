//! How an engine is brought up, watched and ended, whatever it runs in.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;

use crate::messages::HealthEventType;

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSpec {
    /// The game.
    pub game_id: String,
    /// Where the engine shall listen.
    pub listen: SocketAddr,
    /// Where it shall keep its state.
    pub state_file: Option<PathBuf>,
    /// Whether it begins with nothing, whatever the launcher itself keeps of the game.
    pub is_fresh: bool,
    /// The image asked for. A launcher without images runs the engine it has.
    pub image_ref: String,
    /// How the reference engine shall behave.
    pub options: EngineRunOptions,
}

/// How the reference engine shall behave; what is not said is left to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRunOptions {
    /// Source of everything random in the game.
    pub seed: Option<u64>,
    /// Planets on the map.
    pub planets: Option<u32>,
    /// The game is finished at this turn at the latest.
    pub turn_limit: Option<u32>,
    /// How long generating a turn takes.
    pub turn_latency: Duration,
    /// Whether it honours `expected_turn`.
    pub turn_guard: bool,
}

impl Default for EngineRunOptions {
    fn default() -> Self {
        Self {
            seed: None,
            planets: None,
            turn_limit: None,
            turn_latency: Duration::ZERO,
            turn_guard: true,
        }
    }
}

/// Why an engine did not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Config(String),
    /// There is no such image.
    #[error("{0}")]
    Image(String),
    /// It was tried, and failed.
    #[error("{0}")]
    Start(String),
}

/// How an engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What to call it.
    pub kind: ExitKind,
    /// Its exit code, if it had one.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// What to call an end that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitKind {
    /// It ended.
    Exited,
    /// It was killed for want of memory.
    OutOfMemory,
    /// It is not there any more, and nobody knows why.
    Disappeared,
}

impl ExitKind {
    /// The health event that reports it.
    pub fn event_type(self) -> HealthEventType {
        match self {
            Self::Exited => HealthEventType::ContainerExited,
            Self::OutOfMemory => HealthEventType::ContainerOom,
            Self::Disappeared => HealthEventType::ContainerDisappeared,
        }
    }
}

/// Something that can start engines.
#[async_trait]
pub trait EngineLauncher: Send + Sync + 'static {
    /// Starts an engine and returns once it listens. The caller bounds the wait: dropping the
    /// future ends what was started.
    async fn start(&self, spec: EngineSpec) -> Result<Box<dyn RunningEngine>, LaunchError>;

    /// A game is over: what was kept for it beside its state file can go.
    fn forget(&self, game_id: &str);
}

/// An engine that was started. Dropping it ends it.
#[async_trait]
pub trait RunningEngine: Send {
    /// Its process, where it has one of its own.
    fn pid(&self) -> Option<u32>;

    /// Waits for its end. May be dropped and called again.
    async fn exited(&mut self) -> Exit;

    /// Asks it to end, and makes it end if it does not. Returns when it has.
    async fn stop(&mut self);

    /// Ends it at once, as a crash would. Returns when it has ended.
    async fn kill(&mut self);
}
