//! Drives every game's start forward, however often it is interrupted: what is to be done follows
//! from the saved state alone, so a restart simply goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    core::Core,
    flow::{self, Action, Settled},
};

/// Steps under way at once, over all games.
const MAX_IN_FLIGHT: usize = 16;

/// How long to sleep when nothing is due. A change of the state wakes the driver anyway.
const IDLE: Duration = Duration::from_secs(3600);

/// A game's start and what is told about it go on independently of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Track {
    Step,
    Telling,
}

type Key = (String, Track);

struct Task {
    action: Action,
    failures: u32,
    stage: Stage,
}

enum Stage {
    Waiting(Instant),
    InFlight,
    /// It came back without having moved the game: the wait before the next try is to be set.
    Failed,
}

/// Runs until `stop`. What is in flight then is dropped: the next process repeats it.
pub(super) async fn drive(core: Arc<Core>, stop: CancellationToken) {
    let mut changes = core.state.changes();
    let mut tasks: BTreeMap<Key, Task> = BTreeMap::new();
    let mut in_flight: JoinSet<(Key, Settled)> = JoinSet::new();
    loop {
        changes.borrow_and_update();
        plan(&core, &mut tasks).await;
        let wake_at = launch_due(&core, &mut tasks, &mut in_flight);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            Some(done) = in_flight.join_next() => finish(&mut tasks, done.ok()),
            () = tokio::time::sleep_until(wake_at) => {}
        }
    }
}

/// Brings the tasks in line with what the games need now.
async fn plan(core: &Core, tasks: &mut BTreeMap<Key, Task>) {
    let now = Instant::now();
    let mut planned = BTreeMap::new();
    let mut keep = |key: Key, action: Action, pause: &dyn Fn(&Action, u32) -> Duration| {
        let task = match tasks.remove(&key) {
            // Also where the game needs something else by now: its answer comes first.
            Some(task) if matches!(task.stage, Stage::InFlight) => task,
            Some(Task { action: same, failures, stage }) if same == action => {
                let (failures, stage) = match stage {
                    Stage::Failed => {
                        let failures = failures.saturating_add(1);
                        (failures, Stage::Waiting(now + pause(&action, failures)))
                    }
                    Stage::Waiting(_) | Stage::InFlight => (failures, stage),
                };
                Task { action, failures, stage }
            }
            Some(_) | None => {
                let stage = Stage::Waiting(now + pause(&action, 0));
                Task { action, failures: 0, stage }
            }
        };
        planned.insert(key, task);
    };
    core.state
        .read(|state| {
            for game in state.games.values() {
                let pause = |action: &Action, failures| {
                    flow::pause_before(game, action, failures, &core.flow)
                };
                if let Some(action) = flow::next_step(game) {
                    keep((game.game_id.clone(), Track::Step), action, &pause);
                }
                if let Some(action) = flow::next_telling(game) {
                    keep((game.game_id.clone(), Track::Telling), action, &pause);
                }
            }
        })
        .await;
    tasks.retain(|_, task| matches!(task.stage, Stage::InFlight));
    tasks.append(&mut planned);
}

/// Starts what is due, within the bound, and says when to look again.
fn launch_due(
    core: &Arc<Core>,
    tasks: &mut BTreeMap<Key, Task>,
    in_flight: &mut JoinSet<(Key, Settled)>,
) -> Instant {
    let now = Instant::now();
    let mut wake_at = now + IDLE;
    for (key, task) in tasks {
        let Stage::Waiting(due) = task.stage else { continue };
        if due > now {
            wake_at = wake_at.min(due);
        } else if in_flight.len() < MAX_IN_FLIGHT {
            task.stage = Stage::InFlight;
            let (core, key, action) = (Arc::clone(core), key.clone(), task.action.clone());
            in_flight.spawn(async move {
                let settled = core.perform(&key.0, &action).await;
                (key, settled)
            });
        }
        // Beyond the bound it waits for a place, and one coming free wakes the driver.
    }
    wake_at
}

fn finish(tasks: &mut BTreeMap<Key, Task>, done: Option<(Key, Settled)>) {
    match done {
        Some((key, Settled::Again)) => {
            if let Some(task) = tasks.get_mut(&key) {
                task.stage = Stage::Failed;
            }
        }
        Some((key, Settled::Moved | Settled::Late)) => {
            tasks.remove(&key);
        }
        // A step died without saying which. Repeating one that is still alive does no harm.
        None => {
            for task in tasks.values_mut() {
                if matches!(task.stage, Stage::InFlight) {
                    task.stage = Stage::Failed;
                }
            }
        }
    }
}
