//! The small worlds, searched to their ends: every rule holds in each, the interesting places are
//! reached, and the worlds are as large as they were. A model that shrinks unnoticed proves less
//! every day; a count that changes for a good reason is to be written down here anew.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use model::check::{self, Outcome};
use model::configs;

/// How many different states each world has.
const STATES: [(&str, usize); 11] = [
    ("turns", 161_714),
    ("unguarded", 217_438),
    ("lies", 215_706),
    ("admin", 819_609),
    ("rebirth", 282_518),
    ("health", 810_539),
    ("relay", 880_232),
    ("race", 783_872),
    ("race_admin", 370_956),
    ("race_rebirth", 269_196),
    ("race_relay", 70_163),
];
/// What continuous integration is to search in all, at the least.
const STATES_IN_ALL: usize = 4_000_000;

#[test]
fn every_rule_holds_in_every_state_of_worlds_as_large_as_they_were() {
    let outcomes: Vec<Outcome> = configs::small()
        .into_iter()
        .map(|config| check::right(config, 2, true).expect("the constants are valid"))
        .collect();
    let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
    for outcome in &outcomes {
        for verdict in &outcome.verdicts {
            let story = verdict.story.as_deref().unwrap_or_default();
            let name = verdict.name;
            assert!(verdict.good || !verdict.always, "{name} in {}\n{story}", outcome.config.name);
            *seen.entry(name).or_default() |= verdict.good;
        }
    }
    let unseen: Vec<&&str> =
        seen.iter().filter(|(_, seen)| !**seen).map(|(name, _)| name).collect();
    assert!(unseen.is_empty(), "never reached: {unseen:?}");
    let counted: Vec<(&str, usize)> = outcomes.iter().map(|o| (o.config.name, o.states)).collect();
    assert_eq!(counted, STATES);
    assert!(STATES.iter().map(|(_, states)| states).sum::<usize>() >= STATES_IN_ALL);
}
