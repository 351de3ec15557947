use super::*;
use crate::lobby::view::RuntimeView;

const TRIES: u32 = 3;

fn game(phase: Phase) -> Game {
    Game {
        game_id: "g".into(),
        engine_version: "1.0.0".into(),
        turn_schedule: "0 18 * * *".into(),
        members: Vec::new(),
        phase,
        pauses: 0,
        untold_pause: None,
        view: RuntimeView::default(),
        created_at_ms: 0,
    }
}

fn job() -> StartJob {
    StartJob {
        job_id: "j".into(),
        game_id: "g".into(),
        image_ref: "engine:1.0.0".into(),
        requested_at_ms: 1,
    }
}

fn container() -> Container {
    Container {
        job_id: "j".into(),
        container_id: "c".into(),
        engine_endpoint: "http://127.0.0.1:1".into(),
    }
}

fn registering(failures: u32, key_number: u32) -> Phase {
    Phase::Registering { container: container(), failures, key_number }
}

fn result(outcome: JobOutcome) -> JobResult {
    let success = outcome == JobOutcome::Success;
    JobResult {
        job_id: "j".into(),
        game_id: "g".into(),
        outcome,
        engine_endpoint: success.then(|| "http://127.0.0.1:1".into()),
        container_id: success.then(|| "c".into()),
        error_message: (!success).then(|| "why".into()),
    }
}

fn step(game: &mut Game, outcome: Outcome) -> Settled {
    let action = next_step(game).expect("a step is due");
    settle(game, &action, outcome, TRIES, true, 5)
}

fn unreachable(may_have_happened: bool) -> Outcome {
    Outcome::Unreachable { may_have_happened, message: "refused".into() }
}

#[test]
fn the_happy_path() {
    let mut game = game(Phase::Starting { job: job() });
    assert_eq!(step(&mut game, Outcome::NotYet("streams down".into())), Settled::Again);
    assert_eq!(step(&mut game, Outcome::Done), Settled::Moved);
    assert_eq!(game.phase, Phase::AwaitingContainer { job: job() });
    assert_eq!(step(&mut game, Outcome::Done), Settled::Again, "appended once more");
    assert!(apply_result(&mut game, &result(JobOutcome::Success)));
    assert_eq!(game.phase, registering(0, 0));
    assert_eq!(step(&mut game, Outcome::Registered), Settled::Moved);
    assert_eq!(game.phase, Phase::Running { container: container() });
    assert_eq!(next_step(&game), None);
}

#[test]
fn a_result_may_overtake_the_note_that_the_job_was_appended() {
    let mut game = game(Phase::Starting { job: job() });
    let append = next_step(&game).unwrap();
    assert!(apply_result(&mut game, &result(JobOutcome::Success)));
    assert_eq!(settle(&mut game, &append, Outcome::Done, TRIES, true, 5), Settled::Late);
    assert_eq!(game.phase, registering(0, 0));
    assert!(!apply_result(&mut game, &result(JobOutcome::ImagePullFailed)), "only once");
}

#[test]
fn a_failed_job_is_no_registration() {
    for outcome in [
        JobOutcome::StartConfigInvalid,
        JobOutcome::ImagePullFailed,
        JobOutcome::ContainerStartFailed,
    ] {
        let mut game = game(Phase::AwaitingContainer { job: job() });
        assert!(apply_result(&mut game, &result(outcome)));
        let expected = Phase::StartFailed {
            code: outcome.as_str().into(),
            message: "why".into(),
            orphan: None,
        };
        assert_eq!(game.phase, expected);
        assert_eq!(next_step(&game), None);
    }
    let mut game = game(Phase::AwaitingContainer { job: job() });
    let half = JobResult { container_id: None, ..result(JobOutcome::Success) };
    assert!(apply_result(&mut game, &half));
    assert!(matches!(game.phase, Phase::StartFailed { .. }));
}

#[test]
fn results_of_other_jobs_change_nothing() {
    let mut game = game(Phase::AwaitingContainer { job: job() });
    let other = JobResult { job_id: "other".into(), ..result(JobOutcome::Success) };
    assert!(!apply_result(&mut game, &other));
    assert_eq!(game.phase, Phase::AwaitingContainer { job: job() });
}

#[test]
fn unreachable_pauses_and_back_resumes() {
    let mut game = game(registering(0, 0));
    // The same key after an unknown outcome, another one after a known failure.
    step(&mut game, unreachable(true));
    assert_eq!(game.phase, registering(1, 0));
    step(&mut game, unreachable(false));
    assert_eq!(game.phase, registering(2, 1));
    step(&mut game, unreachable(true));
    let paused = Phase::Paused { container: container(), key_number: 1, reason: "refused".into() };
    assert_eq!(game.phase, paused);

    let telling = next_telling(&game).expect("notification is to be told");
    assert_eq!(settle(&mut game, &telling, Outcome::Done, TRIES, true, 6), Settled::Moved);
    assert_eq!(next_telling(&game), None);
    assert_eq!(game.phase, paused, "telling is not resuming");

    assert_eq!(step(&mut game, unreachable(false)), Settled::Again);
    assert_eq!(step(&mut game, Outcome::Unregistered), Settled::Moved);
    assert_eq!(game.phase, registering(0, 1));

    // Every pause has its own key.
    for _ in 0..TRIES {
        step(&mut game, unreachable(true));
    }
    let again = next_telling(&game);
    assert!(again.is_some() && again != Some(telling));
    assert_eq!(step(&mut game, Outcome::Registered), Settled::Moved, "it had happened after all");
    assert_eq!(game.phase, Phase::Running { container: container() });
}

#[test]
fn a_key_that_was_used_for_what_is_gone_is_no_good_for_others() {
    // The answer was lost, the registration taken back, and a member barred since.
    let mut game = game(registering(0, 0));
    step(&mut game, unreachable(true));
    assert_eq!(step(&mut game, Outcome::KeySpent), Settled::Moved);
    assert_eq!(game.phase, registering(1, 1), "it does not count as a failure");
    assert_eq!(step(&mut game, Outcome::Registered), Settled::Moved);
}

#[test]
fn a_refusal_leaves_an_orphan_to_be_stopped() {
    let mut game = game(registering(0, 0));
    step(&mut game, Outcome::Refused { code: "conflict".into(), message: "m".into() });
    assert_eq!(next_step(&game), Some(Action::StopOrphan(container())));
    assert_eq!(step(&mut game, Outcome::NotYet("down".into())), Settled::Again);
    assert_eq!(step(&mut game, Outcome::Done), Settled::Moved);
    assert_eq!(next_step(&game), None);
}

#[test]
fn trouble_is_tried_again_but_not_for_ever() {
    let mut game = game(registering(0, 0));
    let trouble = || Outcome::Trouble { code: "engine_unreachable".into(), message: "m".into() };
    step(&mut game, trouble());
    step(&mut game, trouble());
    assert_eq!(game.phase, registering(2, 2));
    step(&mut game, trouble());
    assert!(matches!(game.phase, Phase::StartFailed { .. }));
}

#[test]
fn waits_grow_and_a_fresh_step_does_not_wait() {
    let timing = FlowTiming::default();
    let wait = |phase, failures| {
        let game = game(phase);
        let action = next_step(&game).unwrap();
        pause_before(&game, &action, failures, &timing)
    };
    assert_eq!(wait(Phase::Starting { job: job() }, 0), Duration::ZERO);
    assert_eq!(wait(Phase::Starting { job: job() }, 2), timing.backoff.delay(2));
    assert_eq!(wait(Phase::AwaitingContainer { job: job() }, 0), timing.job_result_timeout);
    assert_eq!(wait(registering(2, 0), 0), timing.backoff.delay(2));
    let paused = Phase::Paused { container: container(), key_number: 0, reason: String::new() };
    assert_eq!(wait(paused, 0), timing.resume.first);
}
