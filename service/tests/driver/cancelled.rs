//! A caller that goes away in the middle: at every point where it can.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use machine::{Event, Status};
use service::http::Asked;
use service::ports::{Claim, ClaimKey, Fingerprint, OperationState, Origin, Source, Store};

use crate::admin::all_closed;
use crate::slow_store::SlowStore;
use crate::world::{DAILY, Instance, World, game};

/// Polls a future so many times, then lets go of it.
struct PollAtMost<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for PollAtMost<F> {
    /// The output, where the future came to its end.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.left -= 1;
        let future = self.future.as_mut().expect("not polled after its end");
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => {
                self.future = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn poll_at_most<F: Future>(future: F, left: usize) -> PollAtMost<F> {
    PollAtMost { future: Some(Box::pin(future)), left }
}

/// A world of its own for each point; answers at how many the caller went away.
fn at_every_point<W, T>(of: W) -> usize
where
    W: Fn(usize) -> T,
    T: Future<Output = bool>,
{
    for point in 0..10_000 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        if runtime.block_on(of(point)) {
            return point;
        }
    }
    panic!("it never came to its end");
}

/// One whose loads and commits are points too, at which the caller can go away.
fn over_a_slow_store(world: &World) -> Instance {
    let store = SlowStore::new(world.store.clone(), Duration::from_millis(10));
    world.instance_over("gm-1", Arc::new(store))
}

#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_turn_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = world.running(&gm, "game-1", DAILY).await;
        // Long enough for the one who waits to look around several times.
        world.engines.set_takes(Duration::from_millis(7_500));
        let ended = poll_at_most(gm.perform(&game, Event::Force), point).await;
        gm.idle().await;
        let record = world.record(&game).await.expect("a record");
        let expected = u32::from(point > 0);
        assert_eq!((record.current_turn, record.status()), (expected, Status::Running));
        world.each_turn_once(&game).await;
        let operations = world.store.operations(&game, None, 10).await.expect("operations");
        assert_eq!(operations.len(), 1 + usize::from(point > 0));
        assert!(operations.iter().all(|row| row.state != OperationState::Open));
        ended.is_some()
    });
    println!("a forced turn: abandoned at {points} points");
    assert!(points > 5, "{points}");
}

#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_registration_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = game("game-1");
        world.engines.set_takes(Duration::from_millis(3_500));
        let register = gm.perform(&game, world.registration(&game, DAILY));
        let ended = poll_at_most(register, point).await;
        gm.idle().await;
        let status = world.status(&game).await;
        assert_eq!(status, (point > 0).then_some(Status::Running));
        ended.is_some()
    });
    println!("a registration: abandoned at {points} points");
    assert!(points > 3, "{points}");
}

#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_stop_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = world.running(&gm, "game-1", DAILY).await;
        let reason = "the players left".parse().expect("a reason");
        let stop = gm.perform(&game, Event::Stop { reason });
        let ended = poll_at_most(stop, point).await;
        gm.idle().await;
        let expected = if point > 0 { Status::Stopped } else { Status::Running };
        assert_eq!(world.status(&game).await, Some(expected));
        ended.is_some()
    });
    println!("a stop: abandoned at {points} points");
    assert!(points > 0);
}

#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_patch_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = world.running(&gm, "game-1", DAILY).await;
        let patch = Event::Patch {
            version: "1.4.3".parse().expect("a version"),
            image_ref: "galaxy/engine:1.4.3".parse().expect("an image"),
            turn_guard: true,
        };
        let ended = poll_at_most(gm.perform(&game, patch), point).await;
        gm.idle().await;
        let record = world.record(&game).await.expect("a record");
        let expected = if point > 0 { "1.4.3" } else { "1.4.2" };
        assert_eq!(record.engine.version.to_string(), expected);
        all_closed(&world, &game).await;
        ended.is_some()
    });
    println!("a patch: abandoned at {points} points");
    assert!(points > 0);
}

#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_banish_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = world.running(&gm, "game-1", DAILY).await;
        let race = "Race 1".parse().expect("a race");
        let banish = gm.driver.banish(game.clone(), race, Origin::SELF.into());
        let ended = poll_at_most(banish, point).await;
        gm.idle().await;
        let banished = world.engines.see(&game, |engine| engine.banished.len());
        assert_eq!(banished, usize::from(point > 0));
        all_closed(&world, &game).await;
        ended.is_some()
    });
    println!("a banish: abandoned at {points} points");
    assert!(points > 0);
}

/// The repeat of a named request waits for the first one; going away from either ends nothing.
#[test]
fn a_caller_that_goes_away_in_the_middle_of_a_repeat_leaves_nothing_half_done() {
    let points = at_every_point(async |point| {
        let world = World::new(true);
        let gm = over_a_slow_store(&world);
        let game = world.running(&gm, "game-1", DAILY).await;
        world.engines.set_takes(Duration::from_millis(7_500));
        let key = ClaimKey { caller: Source::Admin, key: "a".parse().expect("a key") };
        let asked = Asked {
            origin: Origin { source: Source::Admin, request_id: None },
            claim: Some(Claim { key, fingerprint: Fingerprint([7; 32]) }),
        };
        let first = poll_at_most(gm.ask(&game, Event::Force, asked.clone()), 3).await;
        assert!(first.is_none());
        let ended = poll_at_most(gm.ask(&game, Event::Force, asked), point).await;
        gm.idle().await;
        assert_eq!(world.record(&game).await.expect("a record").current_turn, 1);
        world.each_turn_once(&game).await;
        all_closed(&world, &game).await;
        ended.is_some()
    });
    println!("a repeat: abandoned at {points} points");
    assert!(points > 5, "{points}");
}
