//! Column "generation_in_progress", while the engine is being asked where it stands: after a fence
//! (recovery), or because an operator forced a failed game.

use machine::EngineFault;

use crate::common::events::{no, of_another_game, over, probe_done, standing};
use crate::common::records::{But, force_probing, recovering};
use crate::common::show::{row, row_at};

#[test]
fn a_generated_turn_is_adopted() {
    row(
        recovering(),
        probe_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        recovering().unguarded(),
        probe_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        force_probing(),
        probe_done(Ok(standing(5))),
        "generation_in_progress -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row_at(
        force_probing(),
        probe_done(Ok(standing(5))),
        "13:20",
        "generation_in_progress -> running: next 14:00
         set turn=5, stats
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
    row(
        recovering().draining(),
        probe_done(Ok(standing(5))),
        "generation_in_progress -> running: next 13:00, stop(maintenance)@8#2 until 12:31:30
         set attempt=8, turn=5, stats
         call stop(maintenance)@8
         lobby running turn 5 healthy
         intent game.turn.ready 5 to alice+bob
         close #1 succeeded",
    );
}

#[test]
fn a_generated_last_turn_is_adopted() {
    row(
        recovering(),
        probe_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded",
    );
    row(
        recovering().draining(),
        probe_done(Ok(over(5))),
        "generation_in_progress -> finished: since 12:30
         set attempt=8, turn=5, stats
         lobby game_finished finished turn 5
         intent game.finished 5 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn a_game_found_to_be_over_is_finished() {
    row(
        recovering(),
        probe_done(Ok(over(4))),
        "generation_in_progress -> finished: since 12:30
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded",
    );
    row(
        force_probing().unguarded(),
        probe_done(Ok(over(4))),
        "generation_in_progress -> finished: since 12:30
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded",
    );
    row(
        recovering().draining(),
        probe_done(Ok(over(4))),
        "generation_in_progress -> finished: since 12:30
         set attempt=8
         lobby game_finished finished turn 4
         intent game.finished 4 to alice+bob
         close #1 succeeded
         close #2 failed conflict",
    );
}

#[test]
fn a_missing_turn_is_asked_for_again_where_the_guard_makes_it_safe() {
    row(
        recovering(),
        probe_done(Ok(standing(4))),
        "generation_in_progress: turn@8#1 until 12:31:30 by tick 12:00, next 12:00
         set attempt=8
         call turn(4)@8
         note #9 recovery succeeded",
    );
}

#[test]
fn a_missing_turn_is_not_asked_for_again_without_a_guard() {
    row(
        recovering().unguarded(),
        probe_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02
         set failure=generation_interrupted, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins generation_interrupted
         close #1 failed generation_interrupted",
    );
    row(
        recovering().unguarded().tries(8),
        probe_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=generation_interrupted, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins generation_interrupted
         close #1 failed generation_interrupted",
    );
}

#[test]
fn a_missing_turn_is_asked_for_where_an_operator_forced_it() {
    row(
        force_probing(),
        probe_done(Ok(standing(4))),
        "generation_in_progress: turn@8#1 until 12:31:30 by force, next 13:00 skip 13:00
         set attempt=8
         call turn(4)@8
         note #9 recovery succeeded",
    );
    row(
        force_probing().unguarded(),
        probe_done(Ok(standing(4))),
        "generation_in_progress: turn@8#1 until 12:31:30 by force, next 13:00 skip 13:00
         set attempt=8
         call turn(4)@8
         note #9 recovery succeeded",
    );
}

#[test]
fn a_missing_turn_is_not_asked_for_while_a_stop_is_pending() {
    row(
        recovering().draining(),
        probe_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8, failure=generation_interrupted, announced=5
         call stop(maintenance)@8
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins generation_interrupted
         close #1 failed generation_interrupted",
    );
    row(
        recovering().stopping(),
        probe_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02,
         stop(maintenance)@6#2 until 12:32
         set failure=generation_interrupted, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins generation_interrupted
         close #1 failed generation_interrupted",
    );
    row(
        force_probing().draining(),
        probe_done(Ok(standing(4))),
        "generation_in_progress -> generation_failed: next 13:00 skip 13:00, retry 12:30:02,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8, failure=generation_interrupted, announced=5
         call stop(maintenance)@8
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins generation_interrupted
         close #1 failed generation_interrupted",
    );
}

#[test]
fn another_turn_is_a_violation() {
    row(
        recovering(),
        probe_done(Ok(standing(3))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        recovering(),
        probe_done(Ok(standing(6))),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        force_probing(),
        probe_done(Ok(over(6))),
        "generation_in_progress -> generation_failed: next 13:00 skip 13:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        recovering().draining(),
        probe_done(Ok(standing(6))),
        "generation_in_progress -> generation_failed: next 12:00,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8, failure=engine_protocol_violation, announced=5
         call stop(maintenance)@8
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        force_probing(),
        probe_done(Ok(of_another_game(5))),
        "generation_in_progress -> generation_failed: next 13:00 skip 13:00
             set failure=engine_protocol_violation, announced=5
             lobby generation_failed turn 4 healthy
             intent game.generation_failed 5 to admins engine_protocol_violation
             close #1 failed engine_protocol_violation",
    );
    row(
        recovering(),
        probe_done(Ok(of_another_game(5))),
        "generation_in_progress -> generation_failed: next 12:00
             set failure=engine_protocol_violation, announced=5
             lobby generation_failed turn 4 healthy
             intent game.generation_failed 5 to admins engine_protocol_violation
             close #1 failed engine_protocol_violation",
    );
}

#[test]
fn no_answer_fails_the_generation() {
    row(
        recovering(),
        probe_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        force_probing(),
        probe_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 13:00 skip 13:00, retry 12:30:02
         set failure=engine_unreachable, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
    row(
        recovering(),
        probe_done(no(EngineFault::Validation)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_validation_error, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_validation_error
         close #1 failed engine_validation_error",
    );
    row(
        recovering(),
        probe_done(no(EngineFault::TurnConflict)),
        "generation_in_progress -> generation_failed: next 12:00
         set failure=engine_protocol_violation, announced=5
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_protocol_violation
         close #1 failed engine_protocol_violation",
    );
    row(
        recovering().draining(),
        probe_done(no(EngineFault::Unreachable)),
        "generation_in_progress -> generation_failed: next 12:00, retry 12:30:02,
         stop(maintenance)@8#2 until 12:31:30
         set attempt=8, failure=engine_unreachable, announced=5
         call stop(maintenance)@8
         lobby generation_failed turn 4 healthy
         intent game.generation_failed 5 to admins engine_unreachable
         close #1 failed engine_unreachable",
    );
}
