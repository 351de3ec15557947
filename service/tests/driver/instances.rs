//! Two instances over one store.

use std::sync::Arc;
use std::time::Duration;

use machine::Event;
use service::embedded::Embedded;
use service::ports::Streams;

use crate::slow_store::SlowStore;
use crate::world::{EVERY_TEN, World};

/// INVARIANT `no_turn_generated_twice`, with both striking every timer at the same moment.
#[tokio::test(start_paused = true)]
async fn two_instances_strike_the_same_timers_and_each_turn_is_generated_once() {
    for guard in [true, false] {
        let world = World::new(guard);
        // Slow, so that both have loaded before either commits.
        let over =
            |takes| Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(takes)));
        let one = world.instance_over("gm-1", over(5));
        let two = world.instance_over("gm-2", over(6));
        let mut games = vec![];
        for n in 0..10 {
            games.push(world.running(&one, &format!("game-{n}"), EVERY_TEN).await);
        }
        let streams: Arc<dyn Streams> = Arc::new(Embedded::in_memory(Arc::clone(&world.clock)));
        let workers = [one.schedule(), two.schedule(), one.relay(Arc::clone(&streams))];
        for game in games.iter().take(5) {
            tokio::time::sleep(Duration::from_secs(13)).await;
            // Administrators at both doors, at the same time as the clock.
            let (a, b) =
                tokio::join!(one.perform(game, Event::Force), two.perform(game, Event::Force));
            assert!(a.is_ok() != b.is_ok(), "exactly one turn: {a:?} {b:?}");
        }
        // In the middle between two regular turns.
        while world.clock.now().timestamp() % 10 != 5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.until_published().await;
        for instance in [&one, &two] {
            instance.stop.cancel();
            instance.idle().await;
        }
        for worker in workers {
            worker.await.expect("no panic");
        }
        for game in &games {
            assert!(world.record(game).await.expect("a record").current_turn >= 5);
            world.each_turn_once(game).await;
            world.told_in_order(&*streams, game).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_of_an_end_that_another_instance_brought_about() {
    let world = World::new(true);
    let one = world.instance("gm-1");
    let two = world.instance("gm-2");
    let game = world.running(&one, "game-1", EVERY_TEN).await;
    let _scheduler = two.schedule();
    // The asker's own call never ends; the other one takes the turn over.
    world.engines.script([crate::engine::Next::NeverAnswers]);
    let forced = one.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!(forced.current_turn, 1);
    world.each_turn_once(&game).await;
}
