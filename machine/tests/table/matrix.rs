//! No cell is left out: each status meets each event, outcomes and timers at their best, and the
//! kind of each answer is what the table says.

use machine::record::TurnStage;
use machine::{EngineState, Event, Policy, Rejection, Runtime, Verdict};

use crate::common::events::{number, one_of_each, standing};
use crate::common::records::{
    But, failed, failed_probing, finished, forced, recovering, running, starting, stopped, turn,
    unreachable, unreachable_probing, verifying,
};
use crate::common::{at, op, with_context};

/// One letter for each kind of answer.
fn letter(reply: &Result<Verdict, Rejection>) -> char {
    match reply {
        Ok(Verdict::Commit(step)) if step.next.is_none() => 'D',
        Ok(Verdict::Commit(_)) => 'C',
        Ok(Verdict::Unchanged) => 'U',
        Err(Rejection::NotFound) => '0',
        Err(Rejection::NotRunning(_)) => 'N',
        Err(Rejection::Conflict(_)) => 'X',
        Err(Rejection::SemverPatchOnly { .. }) => 'V',
        Err(Rejection::RaceNotFound) => 'R',
        Err(Rejection::Stale) => '-',
        Err(Rejection::Ignored(_)) => '.',
    }
}

fn line(before: Option<&Runtime>, events: &[Event]) -> String {
    let policy = Policy::default();
    let one = |event| {
        // Late enough for every timer that is set.
        let now = at("13:00");
        letter(&with_context(now, op(9), &policy, |cx| machine::step(before, event, cx)))
    };
    events.iter().map(one).collect()
}

/// The probe of an engine that is being verified finds a game that has just begun.
fn as_asked(events: &[Event], before: Option<&Runtime>) -> Vec<Event> {
    let turn = |state: &EngineState| before.map_or(state.turn, |rt| rt.current_turn);
    let meet = |event: &Event| {
        if let Event::ProbeDone(ticket, Ok(state)) = event {
            Event::ProbeDone(*ticket, Ok(standing(turn(state))))
        } else {
            event.clone()
        }
    };
    events.iter().map(meet).collect()
}

#[test]
fn every_cell_is_decided() {
    let events = one_of_each();
    let mut table = String::new();
    let rows: Vec<(&str, Option<Runtime>)> = vec![
        ("absent", None),
        ("starting", Some(starting())),
        ("starting, verifying", Some(verifying())),
        ("starting, stopping", Some(starting().stopping())),
        ("running", Some(running())),
        ("running, stopping", Some(running().stopping())),
        ("running, patching", Some(running().patching())),
        ("generating", Some(turn())),
        ("generating, draining", Some(turn().draining())),
        ("generating, stopping", Some(turn().stopping())),
        ("generating, recovering", Some(recovering())),
        ("generating, forced", Some(forced(TurnStage::ProbeThenTurn))),
        ("failed", Some(failed())),
        ("failed, probing", Some(failed_probing())),
        ("failed, stopping", Some(failed().stopping())),
        ("failed, patching", Some(failed_probing().patching())),
        ("unreachable", Some(unreachable())),
        ("unreachable, probing", Some(unreachable_probing())),
        ("unreachable, stopping", Some(unreachable().stopping())),
        ("unreachable, patching", Some(unreachable_probing().patching())),
        ("stopped", Some(stopped())),
        ("finished", Some(finished())),
    ];
    for (name, before) in &rows {
        let events = as_asked(&events, before.as_ref());
        assert!(events.iter().map(number).eq(0..17), "each event once, in the table's order");
        table += &format!("{name:24}{}\n", line(before.as_ref(), &events));
    }
    // D deleted, C committed, U unchanged, X conflict, N not running, 0 not found, - stale,
    // . ignored. The events: Register Tick Force Stop Patch Reconcile Health(exited)
    // WorkLeaseExpired PendingLeaseExpired RetryDue SummaryDue InitDone TurnDone ProbeDone StopDone
    // PatchDone Abandoned(the question to the engine).
    let expected = [
        "absent                  C.0000.....------",
        "starting                X.NCNXCD...C----D",
        "starting, verifying     X.NCNXCD...--C--D",
        "starting, stopping      X.NXNXCDC..C--C-D",
        "running                 XCCCCUC....------",
        "running, stopping       X.XXXXC.C..---C--",
        "running, patching       X.XCXXC.C..----C-",
        "generating              X.XCXXCC...-C---C",
        "generating, draining    X.XXXXCCC..-C---C",
        "generating, stopping    X.XXXXCCC..-C-C-C",
        "generating, recovering  X.XCXXCC...--C--C",
        "generating, forced      X.XCXXCC...--C--C",
        "failed                  X.CCCCC..C.------",
        "failed, probing         X.CCCCCC...--C--C",
        "failed, stopping        X.XXXXC.C..---C--",
        "failed, patching        X.XCXXCCC..--C-CC",
        "unreachable             X.NCCCC..C.------",
        "unreachable, probing    X.NCCCCC...--C--C",
        "unreachable, stopping   X.XXXXC.C..---C--",
        "unreachable, patching   X.XCXXCCC..--C-CC",
        "stopped                 X.NUNNC....------",
        "finished                X.NXNN.....------",
        "",
    ];
    assert_eq!(table, expected.join("\n"), "\n{table}");
}
