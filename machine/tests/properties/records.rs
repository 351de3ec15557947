//! `Runtime::check`, `check_commit` and the columns refuse what no machine makes.

use machine::flat::FlatRuntime;
use machine::record::{PendingState, TurnStage};
use machine::schedule::FAR_FUTURE;
use machine::{Life, PlayerStats, Runtime, Status, Timestamp, check_commit};

use crate::common::at;
use crate::common::parse;
use crate::common::records::{
    But, failed, failed_for_good, failed_probing, finished, force_probing, forced, recovering,
    running, starting, stopped, turn, unreachable, unreachable_probing, verifying,
};

fn every_record() -> Vec<Runtime> {
    vec![
        starting(),
        starting().stopping(),
        verifying(),
        running(),
        running().owing("13:00").patching(),
        turn(),
        turn().draining(),
        turn().stopping(),
        recovering(),
        force_probing(),
        failed(),
        failed_probing().stopping(),
        failed_for_good(),
        unreachable(),
        unreachable_probing().patching(),
        stopped(),
        finished(),
    ]
}

#[test]
fn columns_and_back() {
    for rt in every_record() {
        rt.check().expect("a record that can be");
        assert_eq!(Runtime::try_from(FlatRuntime::from(&rt)).as_ref(), Ok(&rt));
        let text = serde_json::to_string(&rt).expect("written");
        assert_eq!(serde_json::from_str::<Runtime>(&text).expect("read"), rt);
    }
}

/// A column that the status has no use for is a contradiction, not something to drop.
#[test]
fn contradicting_columns_are_refused() {
    type Spoil = (&'static str, fn(&mut FlatRuntime));
    let spoils: [Spoil; 12] = [
        ("work", |f| f.work = if f.work.is_some() { None } else { full().work }),
        ("next", |f| {
            f.next_generation_at =
                if f.next_generation_at.is_some() { None } else { full().next_generation_at };
        }),
        ("stopped", |f| {
            f.stopped_at = if f.stopped_at.is_some() { None } else { Some(at("12:00")) };
        }),
        ("finished", |f| {
            f.finished_at = if f.finished_at.is_some() { None } else { Some(at("12:00")) };
        }),
        ("revision", |f| f.revision = 0),
        ("attempt", |f| f.attempt = 1),
        ("trigger", |f| {
            if let Some(work) = &mut f.work {
                work.trigger = if work.trigger.is_some() { None } else { trigger() };
            }
        }),
        ("drain", |f| {
            if let Some(pending) = &mut f.pending {
                pending.drain_until =
                    if pending.drain_until.is_some() { None } else { Some(at("12:00")) };
            }
        }),
        ("reason", |f| {
            if let Some(pending) = &mut f.pending {
                pending.stop_reason =
                    if pending.stop_reason.is_some() { None } else { Some(parse("why")) };
            }
        }),
        ("started", |f| {
            f.started_at = if f.started_at.is_some() { None } else { Some(at("12:00")) };
        }),
        ("owner", |f| {
            if let Some(pending) = &mut f.pending {
                pending.owner = if pending.owner.is_some() { None } else { Some(parse("gm")) };
            }
        }),
        ("stats", |f| {
            let user_id = parse("stranger");
            f.player_turn_stats = vec![PlayerStats { user_id, planets: 1, population: 1 }];
        }),
    ];
    for rt in every_record() {
        for (name, spoil) in spoils {
            let good = FlatRuntime::from(&rt);
            let mut bad = good.clone();
            spoil(&mut bad);
            let harmless = bad == good
                || (name == "attempt" && rt.work().is_none() && rt.pending().is_none())
                || (name == "work" && may_probe_or_not(&rt))
                || (name == "started" && rt.status() == Status::Stopped);
            let read = Runtime::try_from(bad);
            assert_eq!(read.is_ok(), harmless, "{name} of {}: {read:?}", rt.status());
        }
    }
}

/// Both with and without a probe under way is a valid record.
fn may_probe_or_not(rt: &Runtime) -> bool {
    rt.work().is_some()
        && match &rt.life {
            Life::Failed { .. } => true,
            // Something must wake an unreachable one.
            Life::Unreachable { pending, .. } => pending.is_some(),
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Generating { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => false,
        }
}

fn full() -> FlatRuntime {
    FlatRuntime::from(&turn())
}

fn trigger() -> Option<machine::record::Trigger> {
    full().work.and_then(|work| work.trigger)
}

/// A stop that drains with no turn to wait for would drain for ever.
#[test]
fn a_drain_outside_a_turn_is_refused() {
    for rt in [starting(), running(), failed(), unreachable()] {
        let before = rt.clone().draining();
        assert!(before.pending().is_some_and(|p| matches!(p.state, PendingState::Draining { .. })));
        assert_eq!(before.check().expect_err("no drain here").rule, "never_stuck");
    }
}

/// `only_listed_transitions`, pair by pair.
#[test]
fn only_listed_transitions() {
    let rows = [
        // from            absent start  run    gen    failed stopped unreach finished
        (None, "-X------"),
        (Some(Status::Starting), "XXX--X--"),
        (Some(Status::Running), "--XX-XX-"),
        (Some(Status::GenerationInProgress), "--XXXXXX"),
        (Some(Status::GenerationFailed), "--XXXXXX"),
        (Some(Status::Stopped), "-----X--"),
        (Some(Status::EngineUnreachable), "--X-XXXX"),
        (Some(Status::Finished), "-------X"),
    ];
    let to: Vec<Option<Status>> =
        std::iter::once(None).chain(Status::ALL.into_iter().map(Some)).collect();
    for (from, marks) in rows {
        for (to, mark) in to.iter().zip(marks.chars()) {
            let listed = machine::invariants::is_listed(from, *to);
            assert_eq!(listed, mark == 'X', "{from:?} -> {to:?}");
        }
    }
}

fn broken(before: &Runtime, spoil: fn(&mut Runtime)) -> Option<&'static str> {
    let mut after = before.clone();
    after.revision += 1;
    spoil(&mut after);
    check_commit(Some(before), Some(&after)).err().map(|violation| violation.rule)
}

#[test]
fn commits_that_break_a_rule_are_refused() {
    let rt = running();
    assert_eq!(broken(&rt, |_| {}), None);
    assert_eq!(broken(&rt, |rt| rt.revision += 1), Some("revision_grows_by_one"));
    assert_eq!(broken(&rt, |rt| rt.revision -= 1), Some("revision_grows_by_one"));
    assert_eq!(broken(&rt, |rt| rt.game_id = parse("other")), Some("revision_grows_by_one"));
    assert_eq!(broken(&rt, |rt| rt.created_at = at("09:00")), Some("revision_grows_by_one"));
    assert_eq!(broken(&rt, |rt| rt.current_turn += 2), Some("no_turn_twice"));
    assert_eq!(broken(&rt, |rt| rt.current_turn -= 1), Some("no_turn_twice"));
    assert_eq!(broken(&rt, |rt| rt.attempt -= 1), Some("fenced_reply_changes_nothing"));
    assert_eq!(broken(&rt, |rt| rt.health.cursor = None), Some("health_events_once_in_order"));
    assert_eq!(broken(&rt, |rt| rt.life = finished().life), Some("only_listed_transitions"));
    assert_eq!(broken(&finished(), |_| {}), Some("finished_is_final"));
    let generates = |rt: &mut Runtime| {
        (rt.life, rt.attempt) = (turn().life, rt.attempt + 1);
        if let Life::Generating { work, .. } = &mut rt.life {
            work.attempt = rt.attempt;
        }
    };
    assert_eq!(broken(&rt, generates), None);
    assert_eq!(broken(&running().stopping(), generates), Some("no_tick_while_pending"));
    let grown_out_of = |before: Runtime, next: fn(&Runtime) -> Timestamp| {
        let mut after = running();
        (after.revision, after.attempt) = (before.revision + 1, before.attempt);
        after.current_turn = before.current_turn + 1;
        if let Life::Running { clock, .. } = &mut after.life {
            clock.next_generation_at = next(&before);
        }
        check_commit(Some(&before), Some(&after)).err().map(|violation| violation.rule)
    };
    let grown = |next| grown_out_of(turn(), next);
    let due = |rt: &Runtime| rt.clock().expect("a clock").next_generation_at;
    assert_eq!(grown(|_| at("23:00")), None);
    assert_eq!(grown(|_| FAR_FUTURE), None);
    assert_eq!(due(&turn()), at("12:00"));
    assert_eq!(grown(|_| at("12:00")), Some("no_instant_twice"));
    assert_eq!(grown(|before| before.updated_at), Some("no_instant_twice"));
    let owed = |replaced| {
        let mut forced = forced(TurnStage::Turn);
        if let Life::Generating { clock, .. } = &mut forced.life {
            clock.skip = Some(replaced);
        }
        forced
    };
    assert_eq!(grown_out_of(owed(at("22:00")), |_| at("23:00")), None);
    assert_eq!(grown_out_of(owed(at("23:00")), |_| at("23:00")), Some("no_instant_twice"));
    // Behind the last occurrence turns are forced, and replace none.
    assert_eq!(grown_out_of(owed(FAR_FUTURE), |_| FAR_FUTURE), None);
    assert!(check_commit(None, Some(&running())).is_err());
    assert!(check_commit(Some(&running()), None).is_err());
    assert!(check_commit(Some(&starting()), None).is_ok());
}
