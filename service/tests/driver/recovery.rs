//! What a process leaves behind when it dies, and who takes it up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use machine::{Event, GameId, OperationKind, Status};
use net::{BoxedStream, Listener, Net};
use service::app::{self, Seams, StartError};
use service::config::Settings;
use service::embedded::Embedded;
use service::ports::{Origin, Store};
use service::unreliable::{Call, Fate, UnreliableStore};
use tokio_util::sync::CancellationToken;

use crate::engine::Next;
use crate::world::{DAILY, Instance, World};

/// A process that dies while a turn is under way: the call it made never comes back to it.
async fn dies_in_the_middle_of_a_turn(world: &World, how: Next) -> (Instance, GameId) {
    let dead = world.instance("gm-1");
    let game = world.running(&dead, "game-1", DAILY).await;
    world.engines.script([how]);
    let driver = Arc::clone(&dead.driver);
    let of = game.clone();
    tokio::spawn(async move { driver.perform(of, Event::Force, Origin::SELF.into()).await });
    world.until(&game, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (dead, game)
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_generated_is_adopted() {
    for guard in [true, false] {
        let world = World::new(guard);
        let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverAnswers).await;
        let other = world.instance("gm-2");
        let _scheduler = other.schedule();
        let record = world.until_turn(&game, 1).await;
        assert_eq!(record.tries, 0);
        world.each_turn_once(&game).await;
        assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init", "turn", "status"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_not_generated_is_asked_for_again_where_a_guard_makes_that_safe() {
    let world = World::new(true);
    let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverArrives).await;
    let other = world.instance("gm-2");
    let _scheduler = other.schedule();
    world.until_turn(&game, 1).await;
    world.each_turn_once(&game).await;
    assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init", "status", "turn"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_not_generated_is_interrupted_where_no_guard_is() {
    let world = World::new(false);
    let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverArrives).await;
    let other = world.instance("gm-2");
    let _scheduler = other.schedule();
    let failed = world.until(&game, "failed", |rt| rt.status() == Status::GenerationFailed).await;
    let failure = failed.last_failure.clone().expect("a failure");
    assert_eq!(failure.code.as_str(), "generation_interrupted");
    assert_eq!(world.engines.see(&game, |e| e.turn), 0);
    // It passes by itself: the engine says that it is where the record says.
    world.until(&game, "running", |rt| rt.status() == Status::Running).await;
    world.each_turn_once(&game).await;
}

/// A network with nobody in it.
pub(crate) struct Desert;

struct Silence(SocketAddr);

#[async_trait]
impl Listener for Silence {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

#[async_trait]
impl Net for Desert {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Silence(addr)))
    }

    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))])
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<BoxedStream> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

pub(crate) fn settings(instance: &str) -> Settings {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let url = "http://10.0.0.2:80";
    let instance = instance.parse().expect("an instance id");
    Settings {
        instance,
        policy: crate::world::policy(),
        ..Settings::development(listen, url.into(), url.into(), networks)
    }
}

pub(crate) fn seams(world: &World) -> Seams {
    Seams {
        net: Arc::new(Desert),
        store: world.store.clone(),
        feed: Arc::new(world.store.feed()),
        streams: Arc::new(Embedded::in_memory(Arc::clone(&world.clock))),
        clock: Arc::clone(&world.clock),
        entropy: world.entropy.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_of_the_same_name_takes_up_at_once_what_was_left() {
    let world = World::new(true);
    let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverArrives).await;
    let left = world.record(&game).await.expect("a record");
    let work = left.work().expect("work").clone();
    let began = world.clock.now();
    let stopping = CancellationToken::new();
    let bound = app::bind(settings("gm-1"), seams(&world), stopping.clone()).await;
    let bound = bound.expect("it starts");
    // Fenced off and asked about before it even listens, long before the lease ends.
    let fenced = world.record(&game).await.expect("a record");
    assert!(fenced.attempt > left.attempt, "{fenced:?}");
    assert_eq!(world.clock.now(), began);
    let operations = world.store.operations(&game, None, 10).await.expect("operations");
    let kinds: Vec<_> = operations.iter().map(|row| row.kind).collect();
    assert!(kinds.contains(&OperationKind::Recovery), "{kinds:?}");
    // Nobody answers in this network: the question ends, still before the lease would have.
    let running = tokio::spawn(bound.run());
    let failed = world.until(&game, "failed", |rt| rt.status() == Status::GenerationFailed).await;
    assert!(failed.updated_at < work.lease.expires_at, "{failed:?}");
    stopping.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    assert_eq!(ended.expect("it ends").expect("no panic"), Ok(()));
}

/// The store refuses so many calls of what a start asks of it, at whatever point of the start.
fn away_for(world: &World, calls: u32) -> Seams {
    let left = AtomicU32::new(calls);
    let decide = move |_: Call<'_>| {
        let one_less = |left: u32| left.checked_sub(1);
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Fate::Refused,
            Err(_) => Fate::Pass,
        }
    };
    let store = Arc::new(UnreliableStore::new(world.store.clone(), decide));
    Seams { store, ..seams(world) }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let world = World::new(true);
    let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverArrives).await;
    let left = world.record(&game).await.expect("a record");
    let stopping = CancellationToken::new();
    let bound = app::bind(settings("gm-1"), away_for(&world, 7), stopping).await;
    assert!(bound.is_ok(), "{:?}", bound.err());
    let fenced = world.record(&game).await.expect("a record");
    assert!(fenced.attempt > left.attempt, "{fenced:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_not_waited_for_without_end_nor_when_told_to_stop() {
    let world = World::new(true);
    let stopping = CancellationToken::new();
    let start = |stopping| app::bind(settings("gm-1"), away_for(&world, u32::MAX), stopping);
    let began = tokio::time::Instant::now();
    let bound = start(stopping.clone()).await;
    assert!(matches!(bound, Err(StartError::Store(_))));
    let waited = began.elapsed();
    assert!((Duration::from_secs(55)..Duration::from_secs(70)).contains(&waited), "{waited:?}");
    let began = tokio::time::Instant::now();
    let starting = start(stopping.clone());
    let told = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stopping.cancel();
    };
    let (bound, ()) = tokio::join!(starting, told);
    assert!(matches!(bound, Err(StartError::Store(_))));
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_successor_of_another_name_waits_for_the_lease() {
    let world = World::new(true);
    let (_dead, game) = dies_in_the_middle_of_a_turn(&world, Next::NeverArrives).await;
    let left = world.record(&game).await.expect("a record");
    let bound = app::bind(settings("gm-2"), seams(&world), CancellationToken::new()).await;
    assert!(bound.is_ok());
    assert_eq!(world.record(&game).await, Some(left.clone()));
    let other = world.instance("gm-3");
    let _scheduler = other.schedule();
    let taken = world.until(&game, "taken over", |rt| rt.attempt > left.attempt).await;
    let expired = left.work().expect("work").lease.expires_at;
    assert!(taken.updated_at >= expired, "{taken:?}");
    assert!(taken.updated_at < expired + TimeDelta::seconds(2), "{taken:?}");
}

/// A bug in a task that nobody waits for: counted, and the lease of its question runs out.
#[tokio::test(start_paused = true)]
async fn a_panic_between_a_commit_and_its_outcome_is_counted_and_the_turn_is_made_up_for() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let _scheduler = gm.schedule();
    world.engines.script([Next::Panics]);
    let forced = gm.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!((forced.current_turn, forced.status()), (1, Status::Running));
    assert_eq!(gm.metric(r#"gamemaster_panics_contained_total{place="operation"}"#), 1);
    world.each_turn_once(&game).await;
}
