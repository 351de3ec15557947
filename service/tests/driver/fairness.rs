//! Engines that hang keep nobody else waiting.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use machine::{
    BanishCall, EngineEndpoint, EngineFailure, EngineFault, EngineState, GameId, RaceName, Status,
};
use service::board::Board;
use service::conformance::START;
use service::driver::{Driver, Parts};
use service::effects::Effects;
use service::fleet::Fleet;
use service::ports::{EngineApi, EngineReply, PlayerCall, PlayerCallError, Store};
use service::timers::TimerQueue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engines;
use crate::world::{Instance, World, policy};

/// How long a call to an engine that hangs takes to be given up: less than its lease.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Engines of which some hang with every turn and every question.
struct SomeHang(Arc<Engines>);

async fn unless_it_hangs<T>(
    engine: &EngineEndpoint,
    call: impl Future<Output = Result<T, EngineFailure>>,
) -> Result<T, EngineFailure> {
    if engine.host().starts_with("hung") {
        tokio::time::sleep(TIMEOUT).await;
        let kind = EngineFault::Unreachable;
        return Err(EngineFailure { kind, message: "timed out".into() });
    }
    call.await
}

#[async_trait]
impl EngineApi for SomeHang {
    async fn init(
        &self,
        engine: &EngineEndpoint,
        races: &[RaceName],
    ) -> Result<EngineState, EngineFailure> {
        self.0.init(engine, races).await
    }

    async fn turn(
        &self,
        engine: &EngineEndpoint,
        expected_turn: u32,
    ) -> Result<EngineState, EngineFailure> {
        unless_it_hangs(engine, self.0.turn(engine, expected_turn)).await
    }

    async fn status(&self, engine: &EngineEndpoint) -> Result<EngineState, EngineFailure> {
        unless_it_hangs(engine, self.0.status(engine)).await
    }

    async fn banish(&self, call: &BanishCall) -> Result<(), EngineFailure> {
        self.0.banish(call).await
    }

    async fn player(
        &self,
        engine: &EngineEndpoint,
        call: PlayerCall,
    ) -> Result<EngineReply, PlayerCallError> {
        self.0.player(engine, call).await
    }
}

fn instance(world: &World) -> Instance {
    let board = Arc::new(Board::new(1000, Duration::from_secs(2)));
    let (timers, tasks) = (Arc::new(TimerQueue::default()), TaskTracker::new());
    let store: Arc<dyn Store> = world.store.clone();
    let driver = Driver::new(Parts {
        store: Arc::clone(&store),
        effects: Effects {
            engine: Arc::new(SomeHang(Arc::clone(&world.engines))),
            rtm: Arc::clone(&world.rtm) as _,
        },
        clock: Arc::clone(&world.clock),
        entropy: Arc::clone(&world.entropy) as _,
        policy: policy(),
        instance: "gm-1".parse().expect("an instance id"),
        board: Arc::clone(&board),
        timers: Arc::clone(&timers),
        tasks: tasks.clone(),
        operation_timeout: Duration::from_secs(120),
    });
    let (stop, clock) = (CancellationToken::new(), Arc::clone(&world.clock));
    let fleet = Fleet::alone("gm-1".parse().expect("an instance id"));
    Instance { driver, board, timers, tasks, stop, store, clock, fleet }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_engines_that_hang_keep_nobody_waiting() {
    let world = World::new(true);
    let gm = instance(&world);
    world.engines.set_takes(Duration::from_millis(100));
    // Before the others in the order of their names too, so that they come first.
    for n in 0..100 {
        world.running(&gm, &format!("hung-{n:03}"), "0 * * * * *").await;
    }
    let mut healthy: Vec<GameId> = vec![];
    for n in 0..50 {
        healthy.push(world.running(&gm, &format!("well-{n:03}"), "0 * * * * *").await);
    }
    let begun_at = world.clock.now();
    let _scheduler = gm.schedule_at_most(64);
    let minute = |n: i64| START + TimeDelta::minutes(n);
    let first = (begun_at - START).num_minutes() + 1;
    for (turn, minute) in (1..=5).zip((first..).map(minute)) {
        for game in &healthy {
            let record = world.until_turn(game, turn).await;
            let late = record.updated_at - minute;
            // The first time nobody knows yet which ones hang.
            let most = if turn == 1 { 3 } else { 1 };
            assert!(late < TimeDelta::seconds(most), "turn {turn} of {game}: {late}");
        }
    }
    let hung = "hung-000".parse().expect("a game id");
    assert_ne!(world.status(&hung).await, Some(Status::Running), "it did hang");
    for game in &healthy {
        world.each_turn_once(game).await;
    }
}
