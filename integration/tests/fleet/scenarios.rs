//! What happens to two members.

use std::time::Duration;

use http::StatusCode;
use integration::harness::until;
use peers::engine::{Operation, Plan};
use serde_json::json;
use tokio::time::Instant;

use crate::rig::{Game, Member, Rig};

/// Turns that take so long after the engine has acted.
fn slow_turns(latency_after_ms: u64) -> Plan {
    Plan { only: vec![Operation::Turn], latency_after_ms, ..Plan::default() }
}

/// Two members, of which the first leads, and games that run.
async fn two(rig: &Rig, games: usize) -> (Member, Member, Vec<Game>) {
    let first = rig.start("gm-1", 0).await;
    rig.until_led_by("gm-1").await;
    let second = rig.start("gm-2", 1).await;
    first.know_the_version().await;
    let mut running = vec![];
    for n in 0..games {
        running.push(rig.game(&first, &format!("game-{n}")).await);
    }
    for member in [&first, &second] {
        until("both to know of each other", || async {
            let alive = member.metric("gamemaster_instances_alive").await?;
            (alive > 1.5).then_some(())
        })
        .await;
    }
    (first, second, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_removed_at_one_door_is_turned_away_at_the_other() {
    let rig = Rig::new().await;
    let (first, second, games) = two(&rig, 1).await;
    let game = games.first().expect("a game");
    for member in [&first, &second] {
        let (status, answer) = member.report(game).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    *rig.members_are.lock().expect("no panic") = "removed";
    let path = format!("/api/v1/internal/games/{}/memberships/invalidate", game.id);
    first.post(&path, &json!({})).await;
    // The answer says that all have been told: they have, but for what the news takes.
    let told = Instant::now();
    for member in [&first, &second] {
        until("the player to be turned away", || async {
            (member.report(game).await.0 == StatusCode::FORBIDDEN).then_some(())
        })
        .await;
    }
    assert!(told.elapsed() < Duration::from_secs(20), "it was forgotten by its age");
    let heard = "gamemaster_feed_news_received_total";
    assert!(second.metric(heard).await.expect("a number") > 0.5);
    rig.settle(&games, vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_publishes_within_the_term_of_the_first_that_was_killed() {
    let rig = Rig::new().await;
    let (first, second, games) = two(&rig, 3).await;
    rig.until_turn(&games, 2).await;
    assert_eq!(rig.leader("outbox_relay").await.as_deref(), Some("gm-1"));
    first.process.kill().await.expect("it can be killed");
    let killed = Instant::now();
    rig.until_led_by("gm-2").await;
    let took = killed.elapsed();
    // Its last renewal is at most two seconds old: a term of five, and the next look.
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(30), "{took:?}");
    let before = rig.published().await;
    until("the second to publish", || async { (rig.published().await > before).then_some(()) })
        .await;
    // Its games go on, those it was the first to strike too.
    rig.until_turn(&games, 2).await;
    // Started again, it follows.
    let first = rig.start("gm-1", 0).await;
    rig.until_turn(&games, 2).await;
    assert_eq!(rig.leader("outbox_relay").await.as_deref(), Some("gm-2"));
    rig.settle(&games, vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_frozen_in_mid_turn_does_no_harm_when_it_goes_on() {
    let rig = Rig::new().await;
    let (first, second, games) = two(&rig, 4).await;
    rig.until_turn(&games, 1).await;
    for game in &games {
        game.misbehaviour.set(slow_turns(1_000));
    }
    let in_mid_turn = "SELECT count(*) FROM gamemaster.runtime_records WHERE work_owner = 'gm-1'";
    until("a turn of the first to be under way", || async {
        let row = rig.sql.query_one(in_mid_turn, &[]).await.expect("the records");
        (row.get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    first.process.signal("STOP").await.expect("it can be frozen");
    for game in &games {
        game.misbehaviour.clear();
    }
    rig.until_led_by("gm-2").await;
    // The turn that it was at is found out about when its lease ends, and all games go on.
    rig.until_turn(&games, 3).await;
    first.process.signal("CONT").await.expect("it goes on");
    until("the first to know that it was replaced", || async {
        let lost = first.metric("gamemaster_terms_lost_total{role=\"outbox_relay\"}").await?;
        let leads = first.metric("gamemaster_leads{role=\"outbox_relay\"}").await?;
        (lost > 0.5 && leads < 0.5).then_some(())
    })
    .await;
    assert_eq!(rig.leader("outbox_relay").await.as_deref(), Some("gm-2"));
    rig.until_turn(&games, 2).await;
    rig.settle(&games, vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_no_turn_and_doubles_none() {
    let rig = Rig::new().await;
    let (mut first, mut second, games) = two(&rig, 4).await;
    for round in 0..2 {
        rig.until_turn(&games, 2).await;
        first.process.signal("TERM").await.expect("it is told to end");
        let began = Instant::now();
        let (code, output) = first.process.wait().await.expect("it ends");
        assert_eq!(code, Some(0), "{output:#?}");
        rig.until_led_by(second.name).await;
        assert!(began.elapsed() < Duration::from_secs(20), "nobody waits for a term to end");
        first = rig.start(first.name, if first.name == "gm-1" { 0 } else { 1 }).await;
        std::mem::swap(&mut first, &mut second);
        assert_eq!(round == 0, second.name == "gm-1");
    }
    rig.until_turn(&games, 2).await;
    rig.settle(&games, vec![first, second]).await;
}

/// Two of one name would take each other's leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_of_one_name_the_older_one_ends() {
    let rig = Rig::new().await;
    let older = rig.start("gm-1", 0).await;
    rig.until_led_by("gm-1").await;
    older.know_the_version().await;
    let games = vec![rig.game(&older, "game-0").await];
    let newer = rig.start("gm-1", 1).await;
    let (code, output) = older.process.wait().await.expect("it ends");
    assert_eq!(code, Some(1), "{output:#?}");
    let says_why = |line: &String| line.contains("GAMEMASTER_INSTANCE");
    assert!(output.iter().any(says_why), "{output:#?}");
    rig.until_led_by("gm-1").await;
    rig.until_turn(&games, 2).await;
    rig.settle(&games, vec![newer]).await;
}
