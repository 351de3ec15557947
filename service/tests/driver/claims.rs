//! Requests that their caller named: carried out once, however often they come.

use std::sync::Arc;
use std::time::Duration;

use machine::{EngineFault, Event, OperationKind, Status};
use service::error::ServiceError;
use service::http::Asked;
use service::ports::{Claim, ClaimKey, Fingerprint, Origin, Source, Store};
use service::unreliable::{Call, Fate, UnreliableStore};

use crate::engine::Next;
use crate::slow_store::SlowStore;
use crate::world::{DAILY, World, game};

/// A request of this content under this name.
fn named(caller: Source, key: &str, content: u8) -> Asked {
    let key = ClaimKey { caller, key: key.parse().expect("a key") };
    Asked {
        origin: Origin { source: caller, request_id: None },
        claim: Some(Claim { key, fingerprint: Fingerprint([content; 32]) }),
    }
}

fn admin(key: &str) -> Asked {
    named(Source::Admin, key, 1)
}

async fn how_many(world: &World, of: &machine::GameId, kind: OperationKind) -> usize {
    let rows = world.store.operations(of, None, 1_000).await.expect("operations");
    rows.iter().filter(|row| row.kind == kind).count()
}

#[tokio::test(start_paused = true)]
async fn a_repeat_has_the_first_answer_whatever_happened_since() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let first = gm.ask(&of, Event::Force, admin("a")).await.expect("a turn");
    gm.perform(&of, Event::Force).await.expect("another turn");
    let again = gm.ask(&of, Event::Force, admin("a")).await.expect("the first turn");
    assert_eq!(again, first);
    assert_eq!(world.record(&of).await.expect("a record").current_turn, 2);
    // Another process, too.
    let other = world.instance("gm-2");
    assert_eq!(other.ask(&of, Event::Force, admin("a")).await.expect("the first"), first);
    assert_eq!(how_many(&world, &of, OperationKind::Force).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_good_for_one_request_of_one_caller() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    gm.ask(&of, Event::Force, admin("a")).await.expect("a turn");
    let other = gm.ask(&of, Event::Force, named(Source::Admin, "a", 2)).await;
    assert!(matches!(other, Err(ServiceError::Conflict(_))), "{other:?}");
    let lobby = gm.ask(&of, Event::Force, named(Source::Lobby, "a", 2)).await;
    assert_eq!(lobby.expect("a turn").expect("a record").current_turn, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_answer_too() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = game("game-1");
    let lobby = || named(Source::Lobby, "start-1", 1);
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let first = gm.ask(&of, world.registration(&of, DAILY), lobby()).await;
    assert!(matches!(first, Err(ServiceError::EngineValidationError(_))), "{first:?}");
    let again = gm.ask(&of, world.registration(&of, DAILY), lobby()).await;
    assert_eq!(again, first);
    assert_eq!(how_many(&world, &of, OperationKind::Register).await, 1);
    let anew = gm.ask(&of, world.registration(&of, DAILY), named(Source::Lobby, "start-2", 1));
    assert!(anew.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_made_no_change_and_keeps_no_name() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = game("game-1");
    let refused = gm.ask(&of, Event::Force, admin("a")).await;
    assert_eq!(refused, Err(ServiceError::RuntimeNotFound));
    world.running(&gm, "game-1", DAILY).await;
    let forced = gm.ask(&of, Event::Force, admin("a")).await.expect("a turn");
    assert_eq!(forced.expect("a record").current_turn, 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_that_is_under_way() {
    let world = World::new(true);
    let (gm, other) = (world.instance("gm-1"), world.instance("gm-2"));
    let of = world.running(&gm, "game-1", DAILY).await;
    world.engines.set_takes(Duration::from_secs(9));
    let repeats = async {
        world.until(&of, "generating", |rt| rt.status() == Status::GenerationInProgress).await;
        tokio::join!(
            gm.ask(&of, Event::Force, admin("a")),
            other.ask(&of, Event::Force, admin("a")),
        )
    };
    let (first, (here, there)) = tokio::join!(gm.ask(&of, Event::Force, admin("a")), repeats);
    let first = first.expect("a turn");
    assert_eq!(first.as_ref().map(|rt| rt.current_turn), Some(1));
    assert_eq!((here.expect("the turn"), there.expect("the turn")), (first.clone(), first));
    world.each_turn_once(&of).await;
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_one_is_carried_out() {
    let world = World::new(true);
    let slow = Arc::new(SlowStore::new(world.store.clone(), Duration::from_millis(10)));
    let gm = Arc::new(world.instance_over("gm-1", slow));
    let of = world.running(&gm, "game-1", DAILY).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (gm, of) = (Arc::clone(&gm), of.clone());
        tasks.spawn(async move { gm.ask(&of, Event::Force, admin("a")).await });
    }
    while let Some(answer) = tasks.join_next().await {
        let record = answer.expect("no panic").expect("the turn").expect("a record");
        assert_eq!(record.current_turn, 1);
    }
    world.each_turn_once(&of).await;
    assert_eq!(how_many(&world, &of, OperationKind::Force).await, 1);
}

/// The answer to the commit that carried the claim is lost for so long that the caller is told that
/// nobody knows: asking again with the name gives the true answer.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_name_tells_the_truth() {
    for fate in [Fate::ReplyLost, Fate::RequestLost, Fate::Late { after_calls: 9 }] {
        let world = World::new(true);
        let gm = world.instance("gm-1");
        let of = world.running(&gm, "game-1", DAILY).await;
        let _scheduler = gm.schedule();
        let lost = move |call: Call<'_>| match call {
            Call::Commit(_) | Call::Log(_) | Call::ChangeVersion(_) => fate,
            Call::Write(_) | Call::Append(..) | Call::Read(_) => Fate::Pass,
        };
        let unreliable = Arc::new(UnreliableStore::new(world.store.clone(), lost));
        let unlucky = world.instance_over("gm-2", unreliable.clone());
        let unknown = unlucky.ask(&of, Event::Force, admin("a")).await;
        assert!(matches!(unknown, Err(ServiceError::OutcomeUnknown(_))), "{fate:?}: {unknown:?}");
        unreliable.deliver_late().await;
        let truth = gm.ask(&of, Event::Force, admin("a")).await.expect("a turn");
        assert_eq!(truth.expect("a record").current_turn, 1, "{fate:?}");
        world.each_turn_once(&of).await;
        assert_eq!(how_many(&world, &of, OperationKind::Force).await, 1, "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_banish_has_its_name_too() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let of = world.running(&gm, "game-1", DAILY).await;
    let banish = |asked| gm.driver.banish(of.clone(), "Race 1".parse().expect("a race"), asked);
    world.engines.script([Next::Fails(EngineFault::Validation)]);
    let first = banish(admin("a")).await;
    assert!(matches!(first, Err(ServiceError::EngineValidationError(_))), "{first:?}");
    assert_eq!(banish(admin("a")).await, first);
    assert_eq!(banish(admin("b")).await, Ok(()));
    assert_eq!(banish(admin("b")).await, Ok(()));
    let calls = world.engines.see(&of, |engine| engine.calls.clone());
    assert_eq!(calls.iter().filter(|call| **call == "banish").count(), 1);
    let other = banish(named(Source::Admin, "b", 2)).await;
    assert!(matches!(other, Err(ServiceError::Conflict(_))), "{other:?}");
    assert_eq!(how_many(&world, &of, OperationKind::Banish).await, 2);
}
