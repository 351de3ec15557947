//! Each rule done wrong is found out, by as short a story as there is.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use model::check;
use model::rule::Rule;
use model::variants::Variant;

/// How many steps each counterexample takes: a longer one would be a checker that has lost its eye,
/// a shorter one a variant that no longer does what it is about.
const STEPS: [(&str, usize); 31] = [
    ("status_only_cas", 7),
    ("cas_without_incarnation", 9),
    ("status_only_cas_loses_a_turn", 8),
    ("blind_write_of_finished", 8),
    ("blind_write_of_stopped", 7),
    ("tick_out_of_unreachable", 4),
    ("guard_off", 6),
    ("no_guard", 8),
    ("adopt_unchecked", 4),
    ("no_fencing", 5),
    ("incarnation_ignored", 5),
    ("abandon_anything", 5),
    ("repeat_under_another_name", 4),
    ("publish_before_commit", 5),
    ("mark_before_append", 8),
    ("append_anywhere", 3),
    ("no_tail_check", 7),
    ("tail_loss_unnoticed", 7),
    ("skip_consumed_early", 7),
    ("skip_forgotten", 5),
    ("tick_ignores_pending", 3),
    ("stop_without_drain", 2),
    ("call_before_commit", 1),
    ("unknown_taken_for_done", 1),
    ("rollback_keeps_mappings", 2),
    ("cursor_ignored", 4),
    ("container_ignored", 4),
    ("adopted_turn_forgets_clock", 5),
    ("standing_unchecked", 3),
    ("leases_never_swept", 4),
    ("retry_forgotten", 5),
];

#[test]
fn every_wrong_variant_is_found_out() {
    let found: Vec<(&str, usize)> = Variant::ALL
        .into_iter()
        .map(|variant| {
            let found = check::wrong(variant).expect("the constants are valid");
            let found = found.unwrap_or_else(|| panic!("{} is missed", variant.name()));
            assert!(found.story.lines().count() > found.steps, "{}", found.story);
            (variant.name(), found.steps)
        })
        .collect();
    assert_eq!(found, STEPS);
}

/// A rule that nothing can break would say nothing. Three cannot be broken by a variant of their
/// own: what `never_stuck` and `one_question_counts` say is made impossible by the types of the
/// record, and the last is about the model.
#[test]
fn every_rule_can_be_broken() {
    let without: Vec<&str> = Rule::ALL
        .into_iter()
        .filter(|rule| Variant::ALL.iter().all(|variant| variant.breaks() != *rule))
        .map(Rule::name)
        .collect();
    assert_eq!(without, ["one_question_counts", "never_stuck", "model_is_large_enough"]);
}

/// The documented story: a status-only comparison lets a dead turn's record overwrite a living one.
#[test]
fn the_story_of_the_status_only_comparison_can_be_read() {
    let found = check::wrong(Variant::StatusOnlyCasTurn).expect("the constants are valid");
    let story = found.expect("found").story;
    for part in ["GM 1", "GM 2", "loads and decides", "commits", "record  ", " -> ", "turn 1"] {
        assert!(story.contains(part), "{part:?} in\n{story}");
    }
}
