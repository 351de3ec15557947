//! What a step does, in a few lines of text that hold ALL of it: the reply, what changes in the
//! record, the effects, the messages and the marks. What is not named did not happen.
//!
//! ```text
//! running -> generation_in_progress: turn@8#9 until 13:01:30 by tick 13:00, next 13:00
//! set attempt=8
//! call turn(4)@8
//! open #9 tick 5 for 13:00
//! ```
//!
//! `@8` is attempt number 8, `#9` operation 9, `for 13:00` the occurrence of the schedule that a
//! turn answers to or takes the place of. In a table a line may be broken after a comma.

use std::fmt::Write as _;

use machine::record::{
    InitStage, Pending, PendingKind, PendingState, Repair, Trigger, TurnClock, TurnStage, Work,
};
use machine::{
    AuditEntry, AuditMark, Call, Effect, Event, Life, LobbyEvent, Message, Outcome, Policy,
    Rejection, Runtime, Step, Timestamp, Verdict, check_commit,
};

use super::{clock, op, with_context};

/// Asserts everything an event does at 12:30, unless it is a timer whose instant is later.
#[track_caller]
pub(crate) fn row(before: Runtime, event: Event, expected: &str) {
    row_at(before, event, "12:30", expected);
}

/// Asserts everything an event does at an instant.
#[track_caller]
pub(crate) fn row_at(before: Runtime, event: Event, now: &str, expected: &str) {
    before.check().expect("the test's record is one that can be");
    assert_step(Some(&before), &event, super::at(now), expected);
}

/// Asserts everything an event does where there is no record.
#[track_caller]
pub(crate) fn absent(event: Event, expected: &str) {
    assert_step(None, &event, super::at("12:30"), expected);
}

#[track_caller]
fn assert_step(before: Option<&Runtime>, event: &Event, now: Timestamp, expected: &str) {
    let actual = decide(before, event, now);
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    let expected = expected.join("\n").replace(",\n", ", ");
    assert!(
        actual == expected,
        "{event:?}\n--- the table says\n{expected}\n--- the step does\n{actual}\n---"
    );
}

/// Steps with operation 9 as the fresh one, checks the commit, and shows it.
pub(crate) fn decide(before: Option<&Runtime>, event: &Event, now: Timestamp) -> String {
    let policy = Policy::default();
    let reply = with_context(now, op(9), &policy, |cx| machine::step(before, event, cx));
    if let Ok(Verdict::Commit(step)) = &reply {
        check_commit(before, step.next.as_ref()).expect("a commit that keeps the invariants");
        if let Some(next) = &step.next {
            assert_eq!(next.updated_at, now, "a commit notes its instant");
        }
        assert!(!step.audit.is_empty(), "every commit leaves a mark");
    }
    show(before, &reply)
}

pub(crate) fn show(before: Option<&Runtime>, reply: &Result<Verdict, Rejection>) -> String {
    match reply {
        Err(rejection) => format!("refused {}", refusal(rejection)),
        Ok(Verdict::Unchanged) => "unchanged".into(),
        Ok(Verdict::Commit(step)) => commit(before, step),
    }
}

/// A refusal in short.
pub(crate) fn refusal(rejection: &Rejection) -> String {
    match rejection {
        Rejection::NotFound => "NotFound".into(),
        Rejection::NotRunning(status) => format!("NotRunning({status})"),
        Rejection::Conflict(conflict) => format!("Conflict({conflict:?})"),
        Rejection::SemverPatchOnly { from, to } => format!("SemverPatchOnly({from} to {to})"),
        Rejection::RaceNotFound => "RaceNotFound".into(),
        Rejection::Stale => "Stale".into(),
        Rejection::Ignored(why) => format!("Ignored({why:?})"),
    }
}

fn commit(before: Option<&Runtime>, step: &Step) -> String {
    let was = before.map_or("absent", |rt| rt.status().as_str());
    let mut lines = vec![match &step.next {
        None => format!("{was} -> deleted"),
        Some(next) if before.map(|b| &b.life) == Some(&next.life) => format!("{was} stays"),
        Some(next) if before.map(Runtime::status) == Some(next.status()) => {
            format!("{was}: {}", life(&next.life))
        }
        Some(next) => format!("{was} -> {}: {}", next.status(), life(&next.life)),
    }];
    if let (Some(before), Some(next)) = (before, &step.next) {
        let set = changes(before, next);
        if !set.is_empty() {
            lines.push(format!("set {}", set.join(", ")));
        }
    }
    lines.extend(step.effects.iter().map(|effect| call(effect, step)));
    lines.extend(step.messages.iter().map(|message| said(message, step)));
    lines.extend(step.audit.iter().map(mark));
    lines.join("\n")
}

fn life(life: &Life) -> String {
    match life {
        Life::Starting { work, stage, pending } => {
            let stage = match stage {
                InitStage::Call => "init",
                InitStage::Verify => "verify",
            };
            format!("{stage}{}{}", question(work), in_flight(pending.as_ref()))
        }
        Life::Running { clock, pending } => {
            format!("{}{}", turn_clock(*clock), in_flight(pending.as_ref()))
        }
        Life::Generating { clock, work, trigger, stage, pending } => {
            let stage = match stage {
                TurnStage::Turn => "turn",
                TurnStage::ProbeThenTurn => "probe-then-turn",
                TurnStage::ProbeAfterFence => "probe-after-fence",
            };
            let trigger = match trigger {
                Trigger::Tick { due_at } => format!("tick {}", super::clock(*due_at)),
                Trigger::Force => "force".into(),
            };
            let (asked, when) = (question(work), turn_clock(*clock));
            format!("{stage}{asked} by {trigger}, {when}{}", in_flight(pending.as_ref()))
        }
        Life::Failed { clock, repair, pending } | Life::Unreachable { clock, repair, pending } => {
            let (when, way) = (turn_clock(*clock), way_back(repair));
            format!("{when}{way}{}", in_flight(pending.as_ref()))
        }
        Life::Stopped { at } | Life::Finished { at } => format!("since {}", clock(*at)),
    }
}

fn question(work: &Work) -> String {
    let Work { attempt, operation, lease } = work;
    format!("@{attempt}#{} until {}", operation.0.as_u128(), clock(lease.expires_at))
}

fn turn_clock(turns: TurnClock) -> String {
    let TurnClock { next_generation_at, skip } = turns;
    let skip = skip.map_or(String::new(), |skip| format!(" skip {}", clock(skip)));
    format!("next {}{skip}", clock(next_generation_at))
}

fn way_back(repair: &Repair) -> String {
    let Repair { probe, retry_at } = repair;
    let mut text = String::new();
    if let Some(probe) = probe {
        let _ = write!(text, ", probe{}", question(probe));
    }
    if let Some(at) = retry_at {
        let _ = write!(text, ", retry {}", clock(*at));
    }
    text
}

fn in_flight(pending: Option<&Pending>) -> String {
    let Some(Pending { what, operation, state }) = pending else {
        return String::new();
    };
    let what = match what {
        PendingKind::Stop { reason } => format!("stop({reason})"),
        PendingKind::Patch { version, .. } => format!("patch({version})"),
    };
    let operation = operation.0.as_u128();
    match state {
        PendingState::Draining { until } => {
            format!(", {what}#{operation} drains until {}", clock(*until))
        }
        PendingState::Asked { attempt, lease } => {
            format!(", {what}@{attempt}#{operation} until {}", clock(lease.expires_at))
        }
    }
}

/// Everything that changed in the record besides its life, its revision and `updated_at`.
fn changes(before: &Runtime, next: &Runtime) -> Vec<String> {
    // Taken apart, so that a new field must be thought about.
    let Runtime {
        game_id,
        revision: _,
        incarnation,
        attempt,
        life: _,
        engine,
        roster,
        schedule,
        current_turn,
        health,
        tries,
        player_turn_stats,
        last_failure,
        failure_announced_for,
        created_at,
        started_at,
        updated_at: _,
    } = next;
    let mut set = vec![];
    let mut note = |changed: bool, text: String| {
        if changed {
            set.push(text);
        }
    };
    note(*game_id != before.game_id, "game_id".into());
    note(*incarnation != before.incarnation, "incarnation".into());
    note(*schedule != before.schedule, "schedule".into());
    note(*created_at != before.created_at, "created_at".into());
    note(*attempt != before.attempt, format!("attempt={attempt}"));
    note(*current_turn != before.current_turn, format!("turn={current_turn}"));
    note(*tries != before.tries, format!("tries={tries}"));
    note(
        engine.endpoint != before.engine.endpoint || engine.turn_guard != before.engine.turn_guard,
        "endpoint/guard".into(),
    );
    note(engine.version != before.engine.version, format!("version={}", engine.version));
    note(
        engine.image_ref != before.engine.image_ref,
        format!("image={}", engine.image_ref.as_str()),
    );
    let container = engine.container_id.as_ref().map_or("none", |id| id.as_str());
    note(engine.container_id != before.engine.container_id, format!("container={container}"));
    note(*roster != before.roster, "players-named".into());
    let summary = health.summary.as_str();
    note(health.summary != before.health.summary, format!("summary={summary}"));
    let cursor = health.cursor.map_or("none".into(), |id| id.to_string());
    note(health.cursor != before.health.cursor, format!("cursor={cursor}"));
    let told = health.published.map_or("none", |summary| summary.as_str());
    note(health.published != before.health.published, format!("told={told}"));
    let window = health.publish_at.map_or("none".into(), clock);
    note(health.publish_at != before.health.publish_at, format!("window={window}"));
    note(*player_turn_stats != before.player_turn_stats, "stats".into());
    let failure = last_failure.as_ref().map_or("none", |failure| failure.code.as_str());
    note(*last_failure != before.last_failure, format!("failure={failure}"));
    let announced = failure_announced_for.unwrap_or_default();
    note(*failure_announced_for != before.failure_announced_for, format!("announced={announced}"));
    let started = started_at.map_or("none".into(), clock);
    note(*started_at != before.started_at, format!("started={started}"));
    set
}

fn call(effect: &Effect, step: &Step) -> String {
    let Effect { game_id, ticket, call } = effect;
    let next = step.next.as_ref().expect("a call needs a record");
    assert_eq!((game_id, ticket.incarnation), (&next.game_id, next.incarnation));
    let at = ticket.attempt;
    let to = |endpoint| assert_eq!(endpoint, &next.engine.endpoint, "asks its own engine");
    match call {
        Call::Init { endpoint, races } => {
            to(endpoint);
            let races: Vec<&str> = races.iter().map(|race| race.as_str()).collect();
            format!("call init({})@{at}", races.join(", "))
        }
        Call::Turn { endpoint, expected_turn } => {
            to(endpoint);
            format!("call turn({expected_turn})@{at}")
        }
        Call::Probe { endpoint } => {
            to(endpoint);
            format!("call probe@{at}")
        }
        Call::Stop { reason } => format!("call stop({reason})@{at}"),
        Call::Patch { image_ref } => format!("call patch({})@{at}", image_ref.as_str()),
    }
}

/// A message in short; what it repeats of the record must be what the record says.
fn said(message: &Message, step: &Step) -> String {
    let next = step.next.as_ref().expect("a message needs a record");
    let now_ms = next.updated_at.timestamp_millis();
    match message {
        Message::Lobby(LobbyEvent::RuntimeSnapshotUpdate {
            game_id,
            current_turn,
            runtime_status,
            engine_health_summary,
            player_turn_stats,
            occurred_at_ms,
        }) => {
            assert_eq!((game_id, *occurred_at_ms), (&next.game_id, now_ms));
            assert_eq!(player_turn_stats, &next.player_turn_stats);
            let summary = engine_health_summary.as_str();
            format!("lobby {runtime_status} turn {current_turn} {summary}")
        }
        Message::Lobby(LobbyEvent::GameFinished {
            game_id,
            final_turn_number,
            runtime_status,
            player_turn_stats,
            finished_at_ms,
        }) => {
            assert_eq!((game_id, *finished_at_ms), (&next.game_id, now_ms));
            assert_eq!(player_turn_stats, &next.player_turn_stats);
            format!("lobby game_finished {runtime_status} turn {final_turn_number}")
        }
        Message::Intent(intent) => {
            assert_eq!((&intent.payload.game_id, intent.occurred_at_ms), (&next.game_id, now_ms));
            let kind = intent.notification_type.as_str();
            let turn = intent.payload.turn;
            let key = format!("{kind}:{}:{}:{turn}", next.game_id, next.incarnation);
            assert_eq!(intent.idempotency_key, key);
            let to: Vec<&str> = intent.recipient_user_ids.iter().map(|u| u.as_str()).collect();
            let to = if to.is_empty() { "admins".into() } else { to.join("+") };
            let code = intent.payload.error_code.as_deref();
            assert_eq!(code.is_some(), intent.payload.error_message.is_some());
            format!("intent {kind} {turn} to {to}{}", code.map_or("".into(), |c| format!(" {c}")))
        }
    }
}

fn mark(entry: &AuditEntry) -> String {
    let AuditEntry { operation, mark } = entry;
    let operation = operation.0.as_u128();
    match mark {
        AuditMark::Opened { kind, turn, tick } => {
            let turn = turn.map_or(String::new(), |turn| format!(" {turn}"));
            assert_eq!(tick.is_some(), !turn.is_empty(), "a turn stands for an occurrence");
            let tick = tick.map_or(String::new(), |tick| format!(" for {}", clock(tick)));
            format!("open #{operation} {}{turn}{tick}", kind.as_str())
        }
        AuditMark::Closed(outcome) => format!("close #{operation} {}", ended(outcome)),
        AuditMark::Instant { kind, outcome } => {
            format!("note #{operation} {} {}", kind.as_str(), ended(outcome))
        }
    }
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "succeeded".into(),
        Outcome::Failed(failure) => format!("failed {}", failure.code.as_str()),
        Outcome::Superseded => "superseded".into(),
    }
}
