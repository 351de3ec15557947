//! Workers that panic: started again, and the end of the process where that does not help.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use machine::Event;
use net::{BoxedStream, Listener, Net};
use service::app::{self, Seams};
use service::http::Api;
use service::ports::{Store, Streams};
use service::telemetry::Telemetry;
use service::telemetry::labels::Place;
use service::unreliable::{Call, Fate, UnreliableStore, UnreliableStreams};
use service::workers::Supervisor;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::recovery::{Desert, seams, settings};
use crate::world::{DAILY, EVERY_TEN, World, metric};

/// How often a worker panicked, and was started again.
fn falls(telemetry: &Telemetry, worker: &str) -> (u64, u64) {
    let panics = format!("gamemaster_panics_contained_total{{place=\"{worker}\"}}");
    let restarts = format!("gamemaster_worker_restarts_total{{worker=\"{worker}\"}}");
    (metric(telemetry, &panics), metric(telemetry, &restarts))
}

/// Panics so many times, and passes everything from then on.
fn panics(times: u32, at: &'static str) -> impl Fn(Call<'_>) -> Fate + Send + Sync + 'static {
    let left = AtomicU32::new(times);
    move |call| {
        if let Call::Read(name) | Call::Write(name) = call
            && name == at
        {
            let left =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            assert!(left.is_err(), "a bug");
        }
        Fate::Pass
    }
}

#[tokio::test(start_paused = true)]
async fn each_worker_that_panics_is_started_again_and_does_its_work() {
    let workers = [
        ("scheduler", "due"),
        ("health_consumer", "offset"),
        ("outbox_relay", "outbox_newest"),
        ("sweep", "open_operations"),
    ];
    for (worker, at) in workers {
        let world = World::new(true);
        let game = world.running(&world.instance("gm-0"), "game-1", EVERY_TEN).await;
        let sound = seams(&world);
        let store: Arc<dyn Store> = world.store.clone();
        let streams = Arc::clone(&sound.streams);
        let seams = Seams {
            store: Arc::new(UnreliableStore::new(store, panics(2, at))),
            streams: Arc::new(UnreliableStreams::new(streams, panics(2, at))),
            ..sound
        };
        let heard = Arc::clone(&seams.streams);
        let stopping = CancellationToken::new();
        let bound = app::bind(settings("gm-1"), seams, stopping.clone()).await.expect("it starts");
        let app = bound.app();
        let running = tokio::spawn(bound.run());
        tokio::time::sleep(Duration::from_secs(5)).await;
        for (other, ..) in workers {
            let twice = if other == worker { (2, 2) } else { (0, 0) };
            assert_eq!(falls(app.telemetry(), other), twice, "{other} {at}");
        }
        assert!(!app.readiness().await.draining);
        // The clock ticks, the outbox is published, health events are heard.
        world.until(&game, "struck", |rt| rt.revision > 2).await;
        world.until_published().await;
        let event = br#"{"game_id":"game-1","container_id":"c","event_type":"inspect_unhealthy"}"#;
        let next = service::ports::AppendAt::Next;
        heard.append("runtime:health_events", next, event).await.expect("appended");
        world
            .until(&game, "unhealthy", |rt| rt.health.summary == machine::Summary::InspectUnhealthy)
            .await;
        stopping.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), running).await;
        assert_eq!(ended.expect("it ends").expect("no panic"), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn panics_that_do_not_stop_are_the_end_of_the_service_and_not_of_half_of_it() {
    let world = World::new(true);
    let sound = seams(&world);
    let streams = Arc::clone(&sound.streams);
    let streams = Arc::new(UnreliableStreams::new(streams, panics(u32::MAX, "offset")));
    let stopping = CancellationToken::new();
    let seams = Seams { streams, ..sound };
    let bound = app::bind(settings("gm-1"), seams, stopping.clone()).await.expect("it starts");
    let (app, began) = (bound.app(), Instant::now());
    let ended = tokio::time::timeout(Duration::from_secs(120), bound.run()).await;
    let error = ended.expect("it ends by itself").expect_err("it says so");
    assert!(error.to_string().starts_with("the health consumer panicked"), "{error}");
    assert!(stopping.is_cancelled());
    // The last one is the end.
    assert_eq!(falls(app.telemetry(), "health_consumer"), (6, 5));
    // 1 + 2 + 4 + 8 + 16 seconds of pauses.
    assert_eq!(began.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn rare_panics_are_borne_for_ever_and_each_is_followed_by_a_short_pause() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let (stop, giving_up) = (CancellationToken::new(), CancellationToken::new());
    let supervisor = Supervisor::new(Arc::clone(&gm.driver), giving_up.clone());
    let worker = supervisor.spawn(Place::Other, stop.clone(), || async {
        tokio::time::sleep(Duration::from_secs(99)).await;
        panic!("a rare bug");
    });
    tokio::time::sleep(Duration::from_secs(100 * 100 + 50)).await;
    assert_eq!(falls(gm.driver.telemetry(), "other"), (100, 100));
    assert!(!giving_up.is_cancelled() && !worker.is_finished());
    stop.cancel();
    // A panic of one that is told to stop is its end, and not the process's.
    assert_eq!(worker.await.expect("no panic"), Ok(()));
    assert!(!giving_up.is_cancelled());
}

/// A network whose first listeners fall as soon as somebody waits at them, and whose address cannot
/// be had again at once.
struct Falls {
    binds: AtomicU32,
}

struct Fallen;

#[async_trait]
impl Listener for Fallen {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        panic!("a bug");
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 4711)))
    }
}

#[async_trait]
impl Net for Falls {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        match self.binds.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Box::new(Fallen)),
            // The port that was given, and not any other.
            _ if addr.port() != 4711 => Err(io::ErrorKind::InvalidInput.into()),
            1 | 2 => Err(io::ErrorKind::AddrInUse.into()),
            3 => Ok(Box::new(Fallen)),
            _ => Desert.bind(addr).await,
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Desert.resolve(host, port).await
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream> {
        Desert.connect(addr).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_falls_listens_again_at_its_address() {
    let world = World::new(true);
    let net = Arc::new(Falls { binds: AtomicU32::new(0) });
    let seams = Seams { net: net.clone(), ..seams(&world) };
    let stopping = CancellationToken::new();
    let bound = app::bind(settings("gm-1"), seams, stopping.clone()).await.expect("it starts");
    let app = bound.app();
    let running = tokio::spawn(bound.run());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(falls(app.telemetry(), "listener"), (2, 2));
    assert_eq!(net.binds.load(Ordering::Relaxed), 5);
    assert!(!running.is_finished());
    stopping.cancel();
    assert_eq!(running.await.expect("no panic"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_turn_under_way_is_finished_and_published_before_the_end() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let seams = seams(&world);
    let streams: Arc<dyn Streams> = Arc::clone(&seams.streams);
    let stopping = CancellationToken::new();
    let bound = app::bind(settings("gm-1"), seams, stopping.clone()).await.expect("it starts");
    let app = bound.app();
    let running = tokio::spawn(bound.run());
    // What the process does is under its tracker, as the work of its driver is.
    let (driver, of) = (Arc::clone(&gm.driver), game.clone());
    world.engines.set_takes(Duration::from_secs(3));
    app.tasks.spawn(async move {
        let asked = service::ports::Origin::SELF.into();
        driver.perform(of, Event::Force, asked).await.expect("a turn");
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stopping.cancel();
    tokio::task::yield_now().await;
    assert!(app.readiness().await.draining, "told at once");
    assert!(!running.is_finished());
    assert_eq!(running.await.expect("no panic"), Ok(()));
    assert_eq!(world.record(&game).await.expect("a record").current_turn, 1);
    world.told_in_order(&*streams, &game).await;
}
