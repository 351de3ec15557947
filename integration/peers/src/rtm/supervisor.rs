//! One supervisor per engine makes true what the state says is wanted: it starts the engine,
//! watches it, starts it again when it ends, and ends it when it is no longer wanted.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use serde_json::Map;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Event,
    core::{Core, Engine},
    health::{Prober, exit_details},
    launcher::{EngineSpec, Exit, ExitKind, LaunchError, RunningEngine},
    state::{Runtime, Wanted},
};
use crate::{
    call::Caller,
    lobby::view::fingerprint,
    messages::{HealthEventType, JobOutcome, JobResult},
    state_file::StateError,
};

/// Ports tried before a first start fails. Later ones must have the port that is known outside.
const PORT_TRIES: u32 = 5;

/// Keeps a supervisor for every engine that is wanted, until `stop`; ends them all then.
pub(super) async fn supervise_all(core: Arc<Core>, stop: CancellationToken) {
    let mut changes = core.state.changes();
    let mut supervised = BTreeSet::new();
    let mut tasks = JoinSet::new();
    loop {
        changes.borrow_and_update();
        let wanted: Vec<String> = core
            .state
            .read(|state| {
                let wanted = state.runtimes.values().filter(|r| r.wanted == Wanted::Running);
                wanted.map(|runtime| runtime.game_id.clone()).collect()
            })
            .await;
        for game_id in wanted {
            if supervised.insert(game_id.clone()) {
                let (core, stop) = (Arc::clone(&core), stop.clone());
                tasks.spawn(async move {
                    supervise(&core, &game_id, &stop).await;
                    game_id
                });
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            Some(ended) = tasks.join_next() => {
                if let Ok(game_id) = ended {
                    supervised.remove(&game_id);
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// What ended a spell of watching or waiting.
enum Turn {
    /// This process shall end.
    Stop,
    /// Something else is wanted.
    Changed,
    /// The engine ended.
    Ended(Exit),
    /// It is time to try again.
    Again,
}

async fn supervise(core: &Core, game_id: &str, stop: &CancellationToken) {
    let mut ends = core.ordered_ends.subscribe();
    loop {
        // SUBTLE: announced before it is known to be wanted. Whoever stops the engine first
        // commits that, then waits until it is no longer announced, and so cannot overlook one
        // that is just being started.
        note(core, game_id, |engine| *engine = Engine::default());
        let runtime = core.state.read(|state| state.runtimes.get(game_id).cloned()).await;
        let runtime = match runtime {
            Some(runtime) if runtime.wanted == Wanted::Running => runtime,
            Some(runtime) => {
                if runtime.wanted == Wanted::Removed {
                    clean_up(core, game_id).await;
                }
                break;
            }
            None => break,
        };
        let turn = match start(core, &runtime, stop).await {
            None => Turn::Stop,
            Some(Err(error)) => match give_up(core, &runtime, &error).await {
                Ok(true) => Turn::Changed,
                Ok(false) | Err(_) => wait(core, &runtime, stop).await,
            },
            Some(Ok((runtime, mut engine))) => {
                ends.borrow_and_update();
                let turn = watch_over(core, &runtime, &mut *engine, &mut ends, stop).await;
                match turn {
                    Turn::Ended(exit) => {
                        note(core, game_id, |engine| *engine = Engine::default());
                        tell_end(core, &runtime, exit);
                        wait(core, &runtime, stop).await
                    }
                    Turn::Stop | Turn::Changed | Turn::Again => {
                        engine.stop().await;
                        turn
                    }
                }
            }
        };
        match turn {
            Turn::Stop => break,
            Turn::Changed | Turn::Again | Turn::Ended(_) => {}
        }
    }
    core.engines.send_modify(|engines| {
        engines.remove(game_id);
    });
}

/// Starts the engine: `None` when this process shall end instead.
async fn start(
    core: &Core,
    runtime: &Runtime,
    stop: &CancellationToken,
) -> Option<Result<(Runtime, Box<dyn RunningEngine>), LaunchError>> {
    let mut runtime = runtime.clone();
    let is_port_known_outside = runtime.port.is_some();
    let mut tries = 1;
    loop {
        let started = stop.run_until_cancelled(start_once(core, &mut runtime)).await?;
        match started {
            Ok(engine) => return Some(Ok((runtime, engine))),
            Err(LaunchError::Start(message)) if !is_port_known_outside && tries < PORT_TRIES => {
                // Somebody may have taken the port in the moment between choosing and listening.
                tracing::debug!(game_id = runtime.game_id, message, "another port");
                runtime.port = None;
                tries += 1;
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

async fn start_once(
    core: &Core,
    runtime: &mut Runtime,
) -> Result<Box<dyn RunningEngine>, LaunchError> {
    {
        let mut faults = core.faults();
        if faults.missing_images.contains(&runtime.image_ref) {
            return Err(LaunchError::Image(format!("there is no image {}", runtime.image_ref)));
        }
        if faults.failing_starts > 0 {
            faults.failing_starts -= 1;
            return Err(LaunchError::Config("told to fail".to_owned()));
        }
    }
    let port = match runtime.port {
        Some(port) => port,
        None => choose_port(core, &runtime.game_id).await?,
    };
    runtime.port = Some(port);
    let mut options = core.config.engine.clone();
    // Every game is another one, and the same one whenever it is started.
    options.seed.get_or_insert_with(|| fingerprint(runtime.game_id.as_bytes()));
    if runtime.starts_afresh {
        remove_state(core, &runtime.game_id)
            .await
            .map_err(|error| LaunchError::Start(format!("what an earlier one kept: {error}")))?;
    }
    let spec = EngineSpec {
        game_id: runtime.game_id.clone(),
        is_fresh: runtime.starts_afresh,
        listen: SocketAddr::new(core.config.engine_bind_ip, port),
        state_file: core.state_file(&runtime.game_id),
        image_ref: runtime.image_ref.clone(),
        options,
    };
    let limit = core.config.timing.start_timeout;
    let engine = match tokio::time::timeout(limit, core.launcher.start(spec)).await {
        Ok(started) => started?,
        Err(_) => return Err(LaunchError::Start(format!("not up within {limit:?}"))),
    };
    let endpoint = core.endpoint(port);
    (core.observer)(&Event::EngineStarted {
        game_id: runtime.game_id.clone(),
        container_id: runtime.container_id.clone(),
        pid: engine.pid(),
        endpoint: endpoint.clone(),
    });
    let up = Engine {
        generation: runtime.generation,
        is_up: true,
        pid: engine.pid(),
        container_id: runtime.container_id.clone(),
        endpoint,
    };
    note(core, &runtime.game_id, |engine| *engine = up);
    Ok(engine)
}

/// A free port, written down before it is used.
async fn choose_port(core: &Core, game_id: &str) -> Result<u16, LaunchError> {
    let candidates = core.config.engine_ports.clone().unwrap_or(0..=0);
    let mut last_error = "every port is taken".to_owned();
    for candidate in candidates {
        if candidate != 0 && core.state.read(|state| state.is_taken(candidate, game_id)).await {
            continue;
        }
        let addr = SocketAddr::new(core.config.engine_bind_ip, candidate);
        // Listened on for a moment only, to see that it can be.
        let bound = core.net.bind(addr).await.and_then(|listener| listener.local_addr());
        let port = match bound {
            Ok(addr) => addr.port(),
            Err(error) => {
                last_error = error.to_string();
                continue;
            }
        };
        let claim = core.state.update(|state| {
            let is_free = !state.is_taken(port, game_id);
            if let Some(runtime) = state.runtimes.get_mut(game_id).filter(|_| is_free) {
                runtime.port = Some(port);
            }
            is_free
        });
        match claim.await {
            Ok(true) => return Ok(port),
            Ok(false) => {}
            Err(error) => last_error = error.to_string(),
        }
    }
    Err(LaunchError::Start(format!("no port: {last_error}")))
}

/// A start failed. One that somebody waits for has failed for good (`true`).
async fn give_up(core: &Core, runtime: &Runtime, error: &LaunchError) -> Result<bool, StateError> {
    let outcome = match error {
        LaunchError::Config(_) => JobOutcome::StartConfigInvalid,
        LaunchError::Image(_) => JobOutcome::ImagePullFailed,
        LaunchError::Start(_) => JobOutcome::ContainerStartFailed,
    };
    let message = error.to_string();
    tracing::warn!(game_id = runtime.game_id, message, "engine not started");
    let has_failed = core
        .state
        .update(|state| {
            let was_awaited = state.settle_job(&runtime.game_id, |runtime| JobResult {
                job_id: runtime.job_id.clone(),
                game_id: runtime.game_id.clone(),
                outcome,
                engine_endpoint: None,
                container_id: None,
                error_message: Some(message.clone()),
            });
            was_awaited && state.remove(&runtime.game_id)
        })
        .await?;
    let game_id = runtime.game_id.clone();
    (core.observer)(&Event::StartFailed { game_id, outcome, message });
    Ok(has_failed)
}

/// Watches a running engine, and answers the jobs that ask for it.
async fn watch_over(
    core: &Core,
    runtime: &Runtime,
    engine: &mut dyn RunningEngine,
    ends: &mut watch::Receiver<std::collections::BTreeMap<String, (u64, ExitKind)>>,
    stop: &CancellationToken,
) -> Turn {
    let ordered = ends.borrow().get(&runtime.game_id).map_or(0, |(count, _)| *count);
    let end_ordered =
        ends.wait_for(|ends| ends.get(&runtime.game_id).is_some_and(|(count, _)| *count > ordered));
    let kind = tokio::select! {
        () = stop.cancelled() => return Turn::Stop,
        () = until_changed(core, runtime) => return Turn::Changed,
        exit = engine.exited() => return Turn::Ended(exit),
        ordered = end_ordered => {
            let Ok(ends) = ordered else { return Turn::Stop };
            ends.get(&runtime.game_id).map_or(ExitKind::Exited, |(_, kind)| *kind)
        }
        never = probe(core, runtime) => match never {},
    };
    engine.kill().await;
    Turn::Ended(Exit { kind, ..engine.exited().await })
}

/// Returns when something else is wanted. A job that finds the engine up is answered here.
async fn until_changed(core: &Core, runtime: &Runtime) {
    let mut changes = core.state.changes();
    loop {
        changes.borrow_and_update();
        let (is_changed, is_awaited) = core
            .state
            .read(|state| match state.runtimes.get(&runtime.game_id) {
                Some(now) => (now.generation != runtime.generation, state.awaits_result(now)),
                None => (true, false),
            })
            .await;
        if is_changed {
            return;
        }
        if is_awaited {
            match succeed(core, runtime).await {
                // Our own change wakes us at once, and finds nothing more to do.
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(game_id = runtime.game_id, %error, "a start is not noted yet");
                    tokio::time::sleep(core.config.timing.restart_delay).await;
                    continue;
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn succeed(core: &Core, running: &Runtime) -> Result<(), StateError> {
    let endpoint = core.endpoint(running.port.unwrap_or_default());
    let settle = |state: &mut super::state::RtmState| {
        let now = state.runtimes.get_mut(&running.game_id);
        // Between looking and writing something else may have come to be wanted.
        if let Some(now) = now.filter(|now| now.generation == running.generation) {
            // From now on somebody may know where it is, and what it holds is the game's.
            now.starts_afresh = false;
            state.settle_job(&running.game_id, |runtime| JobResult {
                job_id: runtime.job_id.clone(),
                game_id: runtime.game_id.clone(),
                outcome: JobOutcome::Success,
                engine_endpoint: Some(endpoint),
                container_id: Some(runtime.container_id.clone()),
                error_message: None,
            });
        }
    };
    core.state.update(settle).await
}

async fn probe(core: &Core, runtime: &Runtime) -> std::convert::Infallible {
    let timing = &core.config.timing;
    let endpoint = core.probed_at(runtime.port.unwrap_or_default());
    let caller = Caller::new(core.client.clone(), &endpoint, timing.probe_timeout);
    let mut prober = Prober::default();
    let mut is_unhealthy = false;
    let mut ticks = interval(timing.probe_period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if core.faults().unhealthy_games.contains(&runtime.game_id) {
            if !is_unhealthy {
                core.tell_health(runtime, HealthEventType::InspectUnhealthy, Map::new());
            }
            is_unhealthy = true;
            continue;
        }
        if std::mem::take(&mut is_unhealthy) {
            // So that the next probe is told, whatever was told before.
            prober = Prober::default();
        }
        let probed = match caller.get("/healthz").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("the engine answers {}", answer.status)),
            Err(error) => Err(error.message),
        };
        let told = prober.judge(probed, Instant::now(), timing.healthy_repeat);
        if let Some((event_type, details)) = told {
            core.tell_health(runtime, event_type, details);
        }
    }
}

fn tell_end(core: &Core, runtime: &Runtime, exit: Exit) {
    core.tell_health(runtime, exit.kind.event_type(), exit_details(&exit));
    let (game_id, container_id) = (runtime.game_id.clone(), runtime.container_id.clone());
    (core.observer)(&Event::EngineExited { game_id, container_id, exit });
}

/// The pause before the next start.
async fn wait(core: &Core, runtime: &Runtime, stop: &CancellationToken) -> Turn {
    tokio::select! {
        () = stop.cancelled() => Turn::Stop,
        () = tokio::time::sleep(core.config.timing.restart_delay) => Turn::Again,
        () = until_unwanted(core, runtime) => Turn::Changed,
    }
}

async fn until_unwanted(core: &Core, runtime: &Runtime) {
    let mut changes = core.state.changes();
    loop {
        changes.borrow_and_update();
        let generation = |state: &super::state::RtmState| {
            state.runtimes.get(&runtime.game_id).map(|now| now.generation)
        };
        let is_same = core.state.read(generation).await == Some(runtime.generation);
        if !is_same || changes.changed().await.is_err() {
            return;
        }
    }
}

async fn clean_up(core: &Core, game_id: &str) {
    if core.config.keeps_finished_state {
        return;
    }
    core.launcher.forget(game_id);
    match remove_state(core, game_id).await {
        Ok(true) => (core.observer)(&Event::CleanedUp { game_id: game_id.to_owned() }),
        Ok(false) => {}
        Err(error) => tracing::warn!(game_id, %error, "state of a finished game stays"),
    }
}

/// Removes an engine's file; whether there was one.
async fn remove_state(core: &Core, game_id: &str) -> std::io::Result<bool> {
    let Some(path) = core.state_file(game_id) else { return Ok(false) };
    match tokio::fs::remove_file(&path).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn note(core: &Core, game_id: &str, change: impl FnOnce(&mut Engine)) {
    core.engines.send_modify(|engines| change(engines.entry(game_id.to_owned()).or_default()));
}
