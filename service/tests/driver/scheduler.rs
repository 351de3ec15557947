//! Turns at their time.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Event, Status};
use service::conformance::START;
use service::ports::Store;
use service::unreliable::{Call, Fate, UnreliableStore};

use crate::engine::Next;
use crate::slow_store::SlowStore;
use crate::world::{EVERY_TEN, Instance, World};

#[tokio::test(start_paused = true)]
async fn a_turn_begins_when_it_is_due() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", EVERY_TEN).await;
    let _scheduler = gm.schedule();
    for turn in 1..=5 {
        let due = START + TimeDelta::seconds(10) * i32::try_from(turn).expect("small");
        let begun = world
            .until(&game, "generating", |rt| {
                rt.status() == Status::GenerationInProgress && rt.current_turn + 1 == turn
            })
            .await;
        let late = begun.updated_at - due;
        assert!(late >= TimeDelta::zero() && late < TimeDelta::milliseconds(20), "{late}");
        world.until_turn(&game, turn).await;
    }
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn after_downtime_exactly_one_turn_is_caught_up_on() {
    let world = World::new(true);
    let before = world.instance("gm-1");
    let game = world.running(&before, "game-1", EVERY_TEN).await;
    drop(before);
    // Thirteen turns were due meanwhile.
    tokio::time::sleep(Duration::from_secs(132)).await;
    let gm = world.instance("gm-1");
    let _scheduler = gm.schedule();
    let caught_up = world.until_turn(&game, 1).await;
    let next = caught_up.clock().expect("a clock").next_generation_at;
    assert_eq!(next, START + TimeDelta::seconds(140));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.record(&game).await.expect("a record").current_turn, 1);
    world.until_turn(&game, 2).await;
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_turn_replaces_exactly_one_regular_turn() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", EVERY_TEN).await;
    let _scheduler = gm.schedule();
    // In the middle of it the answer is lost: what a forced turn owes survives that.
    for (next, turn) in [(None, 1), (Some(Next::ReplyLost), 3)] {
        world.engines.script(next);
        let before = world.record(&game).await.expect("a record");
        let replaced = before.clock().expect("a clock").next_generation_at;
        let _ = gm.perform(&game, Event::Force).await;
        let forced = world.until_turn(&game, turn).await;
        let next = forced.clock().expect("a clock").next_generation_at;
        assert_eq!(next, replaced + TimeDelta::seconds(10));
        let record = world.until_turn(&game, turn + 1).await;
        let next = record.clock().expect("a clock").next_generation_at;
        assert_eq!(next, replaced + TimeDelta::seconds(20));
    }
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn as_many_turns_at_a_time_as_allowed_and_all_of_them_in_the_end() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let mut games = vec![];
    for n in 0..20 {
        games.push(world.running(&gm, &format!("game-{n}"), "0 0 * * * *").await);
    }
    world.engines.set_takes(Duration::from_secs(1));
    let _scheduler = gm.schedule_at_most(3);
    tokio::time::sleep(Duration::from_secs(3590)).await;
    let mut most = 0;
    let began = tokio::time::Instant::now();
    loop {
        let of = |status| world.store.list(Some(status), None, 100);
        most = most.max(of(Status::GenerationInProgress).await.expect("records").len());
        let running = of(Status::Running).await.expect("records");
        if running.iter().filter(|rt| rt.current_turn == 1).count() == games.len() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "only {}", running.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(most, 3);
    for game in &games {
        world.each_turn_once(game).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_minutes_costs_one_turn_each_and_no_storm_of_calls() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(1)));
    let gm = world.instance_over("gm-1", slow.clone());
    let game = world.running(&gm, "game-1", EVERY_TEN).await;
    let _scheduler = gm.schedule();
    world.until_turn(&game, 1).await;
    slow.set_down(true);
    let calls = slow.calls();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let calls = slow.calls() - calls;
    assert!(calls < 100, "{calls} calls in five minutes");
    assert_eq!(world.record(&game).await.expect("a record").current_turn, 1);
    slow.set_down(false);
    let since = world.clock.now();
    let record = world.until_turn(&game, 2).await;
    assert!(record.updated_at - since < TimeDelta::seconds(9), "{record:?}");
    world.until_turn(&game, 4).await;
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_while_a_thousand_games_are_due_is_asked_now_and_then_by_one() {
    let world = World::new(true);
    let before = world.instance("gm-1");
    world.engines.set_takes(Duration::ZERO);
    let mut games = vec![];
    for n in 0..1000 {
        // Due in the order of their names, a second apart for each minute's worth of them.
        let schedule = format!("{} {} 1 * * *", n % 60, n / 60);
        games.push(world.running(&before, &format!("game-{n:04}"), &schedule).await);
    }
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(1)));
    let gm = world.instance_over("gm-1", slow.clone());
    let _scheduler = gm.schedule_at_most(16);
    tokio::time::sleep(Duration::from_secs(60)).await;
    slow.set_down(true);
    // All of them become due while it is away.
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    let calls = slow.calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = slow.calls() - calls;
    assert!(calls <= 200, "{calls} calls in ten minutes");
    assert_eq!(gm.metric("gamemaster_store_outages_total"), 1);
    let mut changes = gm.driver.changes();
    slow.set_down(false);
    let back = world.clock.now();
    for game in &games {
        let record = world.until_turn(game, 1).await;
        assert!(record.updated_at - back < TimeDelta::seconds(30), "{record:?}");
        world.each_turn_once(game).await;
    }
    // The oldest first: begun in order, but for those of one moment.
    let mut begun = vec![];
    while let Ok(change) = changes.try_recv() {
        if change.event == "tick" {
            begun.push(change.after.expect("a record").game_id.clone());
        }
    }
    assert_eq!(begun.len(), games.len());
    for (place, game) in begun.iter().enumerate() {
        let expected = games.iter().position(|g| g == game).expect("one of ours");
        assert!(place.abs_diff(expected) <= 32, "{game} was begun as number {place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_with_games_due_lets_nobody_wait_in_the_place_of_a_turn() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(1)));
    let gm = world.instance_over("gm-1", slow.clone());
    for n in 0..200 {
        world.running(&gm, &format!("game-{n}"), "0 * * * * *").await;
    }
    let _scheduler = gm.schedule();
    let until_due = START + TimeDelta::seconds(119) - world.clock.now();
    tokio::time::sleep(until_due.to_std().expect("later")).await;
    slow.set_down(true);
    let calls = slow.calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = slow.calls() - calls;
    assert!(calls <= 200, "{calls} calls in ten minutes");
    assert_eq!(gm.tasks.len(), 0, "nobody waits");
}

#[tokio::test(start_paused = true)]
async fn a_game_that_fails_alone_is_tried_less_and_less_and_holds_nobody_up() {
    let world = World::new(true);
    let poisoned = |call: Call<'_>| match call {
        Call::Commit(commit) if commit.game_id.as_str() == "poisoned" => Fate::Refused,
        Call::Commit(_)
        | Call::Append(..)
        | Call::Write(_)
        | Call::Log(_)
        | Call::ChangeVersion(_)
        | Call::Read(_) => Fate::Pass,
    };
    let sound = world.instance("gm-0");
    let bad = world.running(&sound, "poisoned", EVERY_TEN).await;
    let game = world.running(&sound, "game-1", EVERY_TEN).await;
    let store = Arc::new(UnreliableStore::new(world.store.clone(), poisoned));
    let counted = Arc::new(SlowStore::new(store, Duration::ZERO));
    let gm = world.instance_over("gm-1", counted.clone());
    let _scheduler = gm.schedule();
    for turn in 1..=30 {
        let due = START + TimeDelta::seconds(10) * turn;
        let record = world.until_turn(&game, u32::try_from(turn).expect("small")).await;
        assert!(record.updated_at - due < TimeDelta::seconds(1), "{record:?}");
    }
    assert_eq!(world.record(&bad).await.expect("a record").current_turn, 0);
    assert_eq!(gm.metric("gamemaster_store_outages_total"), 0);
    // Thirty turns, twenty fills, and the one that fails about a dozen times.
    assert!(counted.calls() < 300, "{} calls in five minutes", counted.calls());
}

#[tokio::test(start_paused = true)]
async fn more_games_than_one_fill_reads_are_no_reason_to_read_without_a_pause() {
    // The engines hang, so that what is overdue stays overdue, and there is more of it than one
    // answer of the store may hold.
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::ZERO));
    let gm = world.instance("gm-1");
    world.engines.set_takes(Duration::ZERO);
    for n in 0..10_050 {
        world.running(&gm, &format!("game-{n}"), "0 0 * * * *").await;
    }
    tokio::time::sleep(Duration::from_secs(7200)).await;
    world.engines.set_takes(Duration::from_secs(10));
    let gm = world.instance_over("gm-2", slow.clone());
    let _scheduler = gm.schedule_at_most(2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let calls = slow.calls();
    assert!(calls < 60, "{calls} calls in ten seconds");
    gm.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_timer_set_while_the_store_is_first_asked_is_kept() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(500)));
    let gm = Instance { store: slow, ..world.instance("gm-1") };
    let _scheduler = gm.schedule();
    // The question of what is due is answered before this game is there, and arrives after.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let game = world.running(&gm, "game-1", "*/4 * * * * *").await;
    assert!(world.clock.now() < START + TimeDelta::seconds(1));
    let turn = world.until_turn(&game, 1).await;
    assert!(turn.updated_at < START + TimeDelta::seconds(6), "{turn:?}");
}

#[tokio::test(start_paused = true)]
async fn the_timer_of_an_earlier_record_does_not_take_the_place_of_the_right_one() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(1)));
    let gm = world.instance_over("gm-1", slow.clone());
    let game = world.running(&gm, "game-1", "0 18 * * *").await;
    let _scheduler = gm.schedule();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.engines.script([Next::NeverAnswers]);
    // This process hears of the commit that begins the turn only after the one that stops it.
    slow.delay_answers([Duration::from_secs(1)]);
    let began = world.clock.now();
    let stop = async {
        world.until(&game, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        gm.perform(&game, Event::Stop { reason: "the end".parse().expect("a reason") }).await
    };
    let (forced, stopped) = tokio::join!(gm.perform(&game, Event::Force), stop);
    assert!(forced.is_err(), "{forced:?}");
    let stopped = stopped.expect("stopped").expect("a record");
    // When the drain ends, and not when the lease of the turn does.
    assert!(stopped.updated_at - began < TimeDelta::seconds(12), "{stopped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_game_whose_engine_is_away_goes_on_when_it_is_back_and_ends_for_good() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", EVERY_TEN).await;
    world.engines.finish_at(&game, 3);
    let _scheduler = gm.schedule();
    world.until_turn(&game, 1).await;
    world.engines.set_down(true);
    world.until(&game, "failed", |rt| rt.status() == Status::GenerationFailed).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.engines.set_down(false);
    world.until_turn(&game, 2).await;
    let over = world.until(&game, "finished", |rt| rt.status() == Status::Finished).await;
    assert_eq!(over.current_turn, 3);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.record(&game).await, Some(over));
    world.each_turn_once(&game).await;
}
