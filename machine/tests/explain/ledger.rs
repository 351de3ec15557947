//! What became of the occurrences of the schedule.

use machine::explain::explain;
use machine::{Event, Summary};

use crate::common::at;
use crate::common::events::over;
use crate::story::{Story, refuses, show, silent};

const HOURLY: &str = "0 * * * *";
const FROM_13: &str = "0 13-23 * * *";

#[test]
fn fired() {
    let mut story = Story::begun(HOURLY);
    story.explains(
        "12:00:02",
        "The game has been running since 11:59:59Z; turn 1 is due and about to begin.
         (12:00:00Z) begins turn 1
         (-) an operator may force turn 1 at any time",
    );
    story.give("12:00", &Event::Tick);
    story.explains(
        "12:00:01",
        "Turn 1, due at 12:00:00Z, is being generated, begun at 12:00:00Z.
         [12:00:00Z fired 1] being generated, begun at 12:00:00Z
         (12:01:30Z) gives the request for turn 1 up and asks the engine whether it has the \
         turn, unless the engine answers before",
    );
    story.answer("12:00:00.950", Ok(1));
    story.explains(
        "12:30",
        "The game has been running since 11:59:59Z; turn 2 is due at 13:00:00Z.
         [12:00:00Z fired 1] generated in 0.9 s
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
    story.tick("13:00:00.004", "13:00:00.044");
    story.explains(
        "13:30",
        "The game has been running since 11:59:59Z; turn 3 is due at 14:00:00Z.
         [13:00:00Z fired 2] generated in 40 ms
         [12:00:00Z fired 1] generated in 0.9 s
         (14:00:00Z) begins turn 3
         (-) an operator may force turn 3 at any time",
    );
}

#[test]
fn forced() {
    let mut story = Story::begun(FROM_13);
    story.give("12:30", &Event::Force);
    story.explains(
        "13:00:00.500",
        "Turn 1, forced by an operator, is being generated, begun at 12:30:00Z; it takes the \
         place of the one due at 13:00:00Z.
         [13:00:00Z forced 1] the turn forced at 12:30:00Z took its place: being generated, \
         begun at 12:30:00Z
         (12:31:30Z) gives the request for turn 1 up and asks the engine whether it has the \
         turn, unless the engine answers before",
    );
    story.answer("13:00:01", Ok(1));
    story.explains(
        "13:00:02",
        "The game has been running since 11:59:59Z; turn 2 is due at 14:00:00Z.
         [13:00:00Z forced 1] the turn forced at 12:30:00Z took its place: generated in 30 \
         min 1 s
         (14:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn forced_ahead() {
    let mut story = Story::begun(FROM_13);
    story.give("12:30", &Event::Force);
    story.answer("12:30:01", Ok(1));
    story.explains(
        "12:45",
        "The game has been running since 11:59:59Z; turn 2 is due at 14:00:00Z. The turn \
         forced at 12:30:00Z took the place of the one due at 13:00:00Z.
         (14:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
    story.tick("14:00", "14:00:01");
    story.explains(
        "14:01",
        "The game has been running since 11:59:59Z; turn 3 is due at 15:00:00Z.
         [14:00:00Z fired 2] generated in 1.0 s
         [13:00:00Z forced 1] the turn forced at 12:30:00Z took its place: generated in 1.0 s
         (15:00:00Z) begins turn 3
         (-) an operator may force turn 3 at any time",
    );
}

#[test]
fn a_forced_turn_that_failed_is_stood_in_for() {
    let mut story = Story::begun(FROM_13);
    story.give("12:30", &Event::Force);
    story.answer("12:30:30", Err(silent()));
    story.explains(
        "12:30:31",
        "Turn 1 failed at 12:30:30Z with engine_unreachable: no answer within 30 s. Game \
         Master asks the engine where it stands at 12:30:32Z (try 1 of 8).
         (12:30:32Z) asks the engine where it stands (try 1 of 8)
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.give("12:30:32", &Event::RetryDue);
    story.answer("12:30:33", Ok(0));
    story.explains(
        "12:31",
        "The game has been running since 12:30:33Z; turn 1 is due at 13:00:00Z. A forced \
         turn failed: the regular turn that stands in for it is followed by one that is left \
         out.
         (13:00:00Z) begins turn 1
         (-) an operator may force turn 1 at any time",
    );
    story.tick("13:00", "13:00:01");
    story.explains(
        "14:01",
        "The game has been running since 12:30:33Z; turn 2 is due at 15:00:00Z.
         [14:00:00Z forced 1] the turn forced at 12:30:00Z failed and the one due at \
         13:00:00Z stood in for it, so that this one was left out
         [13:00:00Z fired 1] generated in 1.0 s
         (15:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn missed_in_downtime_and_caught_up_once() {
    let mut story = Story::begun(HOURLY);
    story.tick("12:00", "12:00:01");
    story.explains(
        "13:00:05",
        "The game has been running since 11:59:59Z; turn 2 is due and about to begin.
         [12:00:00Z fired 1] generated in 1.0 s
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
    story.explains(
        "15:30",
        "The game has been running since 11:59:59Z; turn 2 was due at 13:00:00Z, 2 h 30 min \
         ago, and begins as soon as Game Master gets to it.
         [15:00:00Z missed -] the turn due at 13:00:00Z is not begun yet, and one will do
         [14:00:00Z missed -] the turn due at 13:00:00Z is not begun yet, and one will do
         [13:00:00Z missed -] due, and not begun yet
         [12:00:00Z fired 1] generated in 1.0 s
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
    story.tick("15:40:02", "15:40:04");
    story.explains(
        "15:50",
        "The game has been running since 11:59:59Z; turn 3 is due at 16:00:00Z.
         [15:00:00Z missed -] Game Master was not there; one turn was caught up: turn 2, due \
         at 13:00:00Z, at 15:40:02Z
         [14:00:00Z missed -] Game Master was not there; one turn was caught up: turn 2, due \
         at 13:00:00Z, at 15:40:02Z
         [13:00:00Z fired 2] generated 2 h 40 min late, in 2.0 s: Game Master was not there \
         when it was due
         [12:00:00Z fired 1] generated in 1.0 s
         (16:00:00Z) begins turn 3
         (-) an operator may force turn 3 at any time",
    );
}

#[test]
fn missed_in_downtime_and_forced_after_it() {
    let mut story = Story::begun(FROM_13);
    story.give("14:30", &Event::Force);
    story.answer("14:30:01", Ok(1));
    story.explains(
        "14:40",
        "The game has been running since 11:59:59Z; turn 2 is due at 15:00:00Z.
         [14:00:00Z missed -] Game Master was not there; turn 1, forced at 14:30:00Z, took \
         the place of the one due at 13:00:00Z
         [13:00:00Z forced 1] the turn forced at 14:30:00Z took its place: generated in 1.0 s
         (15:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn failed_and_found_generated_by_a_retry() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.answer("12:00:30", Err(silent()));
    story.explains(
        "12:00:31",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. Game \
         Master asks the engine where it stands at 12:00:32Z (try 1 of 8).
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:00:32Z) asks the engine where it stands (try 1 of 8)
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.give("12:00:32", &Event::RetryDue);
    story.explains(
        "12:00:33",
        "Turn 1 failed at 12:00:30Z with engine_unreachable: no answer within 30 s. The \
         engine was asked where it stands at 12:00:32Z and has not answered yet.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:00:47Z) asks the engine again where it stands (try 2 of 8), unless the engine \
         answers before
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.answer("12:00:34", Ok(1));
    story.explains(
        "12:01",
        "The game has been running since 12:00:34Z; turn 2 is due at 13:00:00Z.
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s; turn 1 was found at \
         12:00:34Z to have been generated all the same
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn failed_and_generated_at_the_second_attempt() {
    let mut story = Story::begun("0,1 12 * * *");
    story.give("12:00", &Event::Tick);
    story.answer("12:00:30", Err(silent()));
    story.give("12:00:32", &Event::RetryDue);
    story.answer("12:01:34", Ok(0));
    story.explains(
        "12:01:34",
        "The game has been running since 12:01:34Z; turn 1 was due at 12:00:00Z, 1 min 34 s \
         ago, and begins as soon as Game Master gets to it.
         [12:01:00Z held -] the game had been waiting since 12:00:30Z after a generation \
         that failed
         [12:00:00Z failed 1] engine_unreachable: no answer within 30 s
         (12:00:00Z) begins turn 1
         (-) an operator may force turn 1 at any time",
    );
    story.tick("12:01:35", "12:01:36");
    story.explains(
        "12:02",
        "The game has been running since 12:01:34Z; turn 2 is due at 2026-03-02T12:00:00Z.
         [12:01:00Z held -] the game had been waiting since 12:00:30Z after a generation \
         that failed
         [12:00:00Z fired 1] generated 1 min 35 s late, in 1.0 s: it had failed at 12:00:30Z \
         with engine_unreachable: no answer within 30 s
         (2026-03-02T12:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn a_failure_is_told_however_soon_it_was_made_up_for() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.answer("12:00:01", Err(silent()));
    story.give("12:00:03", &Event::RetryDue);
    story.answer("12:00:03", Ok(0));
    story.tick("12:00:03", "12:00:04");
    story.explains(
        "12:30",
        "The game has been running since 12:00:03Z; turn 2 is due at 13:00:00Z.
         [12:00:00Z fired 1] generated 3.0 s late, in 1.0 s: it had failed at 12:00:01Z with \
         engine_unreachable: no answer within 30 s
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn failed_and_forced() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.answer("12:00:01", Err(refuses()));
    story.explains(
        "13:10",
        "Turn 1 failed at 12:00:01Z with engine_validation_error: no such order. The game \
         waits for an operator: engine_validation_error does not pass by itself.
         [13:00:00Z held -] the game had been waiting since 12:00:01Z after a generation \
         that failed
         [12:00:00Z failed 1] engine_validation_error: no such order
         (-) an operator may force turn 1 or reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.give("13:20", &Event::Force);
    story.explains(
        "13:20",
        "Turn 1, forced by an operator, is being generated, begun at 13:20:00Z; it takes the \
         place of the one due at 14:00:00Z. The engine is first asked where it stands, \
         because this turn failed before.
         [13:00:00Z held -] the game had been waiting since 12:00:01Z after a generation \
         that failed
         [12:00:00Z failed 1] engine_validation_error: no such order; turn 1 is asked for \
         again by the turn forced at 13:20:00Z
         (13:20:15Z) asks the engine again whether it has turn 1, unless the engine answers \
         before",
    );
    story.answer("13:20:01", Ok(0));
    story.answer("13:20:02", Ok(1));
    story.explains(
        "14:10",
        "The game has been running since 13:20:00Z; turn 2 is due at 15:00:00Z.
         [14:00:00Z forced 1] the turn forced at 13:20:00Z took its place: generated in 2.0 s
         [13:00:00Z held -] the game had been waiting since 12:00:01Z after a generation \
         that failed
         [12:00:00Z failed 1] engine_validation_error: no such order; turn 1 was generated \
         by the turn forced at 13:20:00Z
         (15:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn held_by_a_patch() {
    let mut story = Story::begun(HOURLY);
    story.patch("11:59:59");
    story.explains(
        "11:59:59",
        "A patch to 1.4.3 has been under way at Runtime Manager since 11:59:59Z. No turn \
         begins meanwhile; turn 1 is due at 12:00:00Z.
         (12:01:29Z) asks Runtime Manager again for a patch to 1.4.3, unless it answers \
         before
         (-) begins turn 1 once the patch is done; it is due at 12:00:00Z",
    );
    story.explains(
        "12:02",
        "A patch to 1.4.3 has been under way at Runtime Manager since 11:59:59Z. Turn 1, due \
         at 12:00:00Z, waits for its end.
         [12:00:00Z held -] a patch has been under way since 11:59:59Z
         (12:01:29Z) asks Runtime Manager again for a patch to 1.4.3, unless it answers \
         before
         (-) begins turn 1 once the patch is done; it was due at 12:00:00Z",
    );
    story.rtm("13:03:02", true);
    story.tick("13:03:03", "13:03:04");
    story.explains(
        "13:10",
        "The game has been running since 11:59:59Z; turn 2 is due at 14:00:00Z.
         [13:00:00Z held -] a patch was under way from 11:59:59Z to 13:03:02Z
         [12:00:00Z fired 1] generated 1 h 3 min late, in 1.0 s: a patch was under way from \
         11:59:59Z to 13:03:02Z
         (14:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn held_by_a_stop() {
    let mut story = Story::begun(HOURLY);
    story.stop("11:59:59");
    story.explains(
        "12:01",
        "A stop (maintenance) has been under way at Runtime Manager since 11:59:59Z. No turn \
         begins meanwhile.
         [12:00:00Z held -] a stop has been under way since 11:59:59Z
         (12:01:29Z) asks Runtime Manager again for a stop (maintenance), unless it answers \
         before
         (-) the game ends once Runtime Manager has stopped the engine",
    );
    story.rtm("12:01:30", true);
    story.explains(
        "18:00",
        "The game was stopped at 12:01:30Z after turn 0, as was asked for at 11:59:59Z.
         [12:00:00Z held -] a stop was under way from 11:59:59Z to 12:01:30Z",
    );
}

#[test]
fn held_by_a_stop_that_was_refused() {
    let mut story = Story::begun(HOURLY);
    story.stop("11:59:59");
    story.rtm("12:01:30", false);
    story.tick("12:01:31", "12:01:32");
    story.explains(
        "12:02",
        "The game has been running since 11:59:59Z; turn 2 is due at 13:00:00Z.
         [12:00:00Z fired 1] generated 1 min 31 s late, in 1.0 s: a stop was under way from \
         11:59:59Z to 12:01:30Z
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn unreachable_and_then_healthy() {
    let mut story = Story::begun(FROM_13);
    story.health("12:30", Summary::Oom);
    story.explains(
        "13:30",
        "The engine's container was killed for want of memory at 12:30:00Z. Game Master asks \
         it where it stands at 12:30:02Z (try 1), and again until it answers.
         [13:00:00Z held -] the engine had been unreachable since 12:30:00Z
         (12:30:02Z) asks the engine where it stands (try 1, without end)
         (-) an operator may reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.health("13:40", Summary::Healthy);
    story.explains(
        "13:40:01",
        "The engine has been unreachable since 12:30:00Z; its container is now reported as \
         healthy. The engine was asked where it stands at 13:40:00Z and has not answered yet.
         [13:00:00Z held -] the engine had been unreachable since 12:30:00Z
         (13:40:15Z) asks the engine again where it stands (try 1), unless the engine \
         answers before
         (-) an operator may reconcile at any time
         (-) an operator may patch the engine, which replaces its container",
    );
    story.answer("13:40:02", Ok(0));
    story.tick("13:40:03", "13:40:04");
    story.explains(
        "13:50",
        "The game has been running since 13:40:02Z; turn 2 is due at 14:00:00Z.
         [13:00:00Z fired 1] generated 40 min 3 s late, in 1.0 s: the engine had been \
         unreachable since 12:30:00Z
         (14:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn interrupted_and_asked_again() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.give("12:01:30", &Event::WorkLeaseExpired);
    story.explains(
        "12:01:31",
        "Turn 1, due at 12:00:00Z, is being generated, begun at 12:00:00Z. The request for \
         it was interrupted, and the engine is being asked whether it has the turn.
         [12:00:00Z fired 1] being generated, begun at 12:00:00Z
         (12:01:45Z) asks the engine again whether it has turn 1, unless the engine answers \
         before",
    );
    story.answer("12:01:32", Ok(1));
    story.explains(
        "12:02",
        "The game has been running since 11:59:59Z; turn 2 is due at 13:00:00Z.
         [12:00:00Z fired 1] generated in 1 min 32 s, the engine having been asked again
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn more_often_than_turns_take() {
    let mut story = Story::begun("*/2 * * * * *");
    story.tick("12:00:00.001", "12:00:05.500");
    story.give("12:00:06.001", &Event::Tick);
    story.explains(
        "12:00:08.100",
        "Turn 2, due at 12:00:06Z, is being generated, begun at 12:00:06Z.
         [12:00:08Z held -] turn 2, begun at 12:00:06Z, was being generated
         [12:00:06Z fired 2] being generated, begun at 12:00:06Z
         [12:00:04Z held -] turn 1, begun at 12:00:00Z, was being generated
         [12:00:02Z held -] turn 1, begun at 12:00:00Z, was being generated
         [12:00:00Z fired 1] generated in 5.4 s
         (12:01:36Z) gives the request for turn 2 up and asks the engine whether it has the \
         turn, unless the engine answers before",
    );
}

#[test]
fn the_turn_that_ends_the_game() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.answer_with("12:00:01", Ok(over(1)));
    story.explains(
        "18:00",
        "The game was over with turn 1 at 12:00:01Z.
         [12:00:00Z fired 1] generated in 1.0 s",
    );
}

#[test]
fn a_game_found_to_be_over() {
    let mut story = Story::begun(HOURLY);
    story.give("12:00", &Event::Tick);
    story.give("12:01:30", &Event::WorkLeaseExpired);
    story.answer_with("12:01:31", Ok(over(0)));
    story.explains(
        "18:00",
        "The game was over with turn 0 at 12:01:31Z.
         [12:00:00Z fired 1] the game was found to be over",
    );
}

#[test]
fn an_empty_log_tells_of_no_tick() {
    let mut story = Story::begun(HOURLY);
    story.tick("12:00", "12:00:01");
    story.explains_from(
        0,
        "12:30",
        "The game is running; turn 2 is due at 13:00:00Z.
         (13:00:00Z) begins turn 2
         (-) an operator may force turn 2 at any time",
    );
}

#[test]
fn what_is_older_than_the_log_is_left_out() {
    let mut story = Story::begun(HOURLY);
    story.tick("12:00", "12:00:01");
    story.give("12:30", &Event::Force);
    story.answer("12:30:01", Ok(2));
    story.health("12:50", Summary::ProbeFailed);
    story.tick("14:00", "14:00:01");
    story.explains_from(
        1,
        "15:00:01",
        "The game is running; turn 4 is due and about to begin.
         [14:00:00Z fired 3] generated in 1.0 s
         (15:00:00Z) begins turn 4
         (-) an operator may force turn 4 at any time",
    );
    story.explains_from(
        2,
        "15:00:01",
        "The game is running; turn 4 is due and about to begin.
         [14:00:00Z fired 3] generated in 1.0 s
         (15:00:00Z) begins turn 4
         (-) an operator may force turn 4 at any time",
    );
    story.explains_from(
        3,
        "15:00:01",
        "The game is running; turn 4 is due and about to begin.
         [14:00:00Z fired 3] generated in 1.0 s
         [13:00:00Z forced 2] the turn forced at 12:30:00Z took its place: generated in 1.0 s
         (15:00:00Z) begins turn 4
         (-) an operator may force turn 4 at any time",
    );
}

/// A log read a moment before the record must not accuse anybody.
#[test]
fn a_log_that_is_older_than_the_record() {
    let mut story = Story::begun(HOURLY);
    let log = story.journal.newest(9);
    story.give("12:00", &Event::Tick);
    let told = |story: &Story, log: &[_]| {
        let all = explain(story.rt(), log, at("12:00:10"), &story.policy);
        show(&machine::explain::Explanation { why: String::new(), next: vec![], ..all })
    };
    assert_eq!(told(&story, &log), "\n[12:00:00Z fired 1] being generated");
    let log = story.journal.newest(9);
    story.answer("12:00:08", Ok(1));
    assert_eq!(told(&story, &log), "\n[12:00:00Z fired 1] begun at 12:00:00Z");
    assert_eq!(told(&story, &story.journal.newest(9)[1..]), "");
}
