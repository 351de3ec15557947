//! What came of the troubles, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::trouble::Kind;
use super::verdict::Verdict;
use crate::dev::tally::Counts;

/// What came of one trouble.
pub(super) struct Came {
    /// What happened meanwhile to its game, or to all where it was about none.
    pub(super) counts: Counts,
    /// The requests or answers that it cost.
    pub(super) lost: u64,
    /// Its game's turn before and after it.
    pub(super) turns: Option<(u32, u32)>,
    /// What was made up for at its end.
    pub(super) made_up: Option<String>,
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, lost, turns, made_up } = self;
        let mut parts: Vec<String> = made_up.iter().cloned().collect();
        let mut tell = |count: u64, one: &str, many: &str| {
            if count > 0 {
                parts.push(format!("{count} {}", if count == 1 { one } else { many }));
            }
        };
        tell(*lost, "request or answer lost", "requests or answers lost");
        // Of all games together these would tell of other troubles as well.
        if turns.is_some() {
            tell(counts.failed, "turn failed", "turns failed");
            tell(counts.unreachable, "outage", "outages");
            tell(counts.restarts, "restart", "restarts");
            tell(counts.operator, "reconcile by an operator", "reconciles by an operator");
        }
        tell(counts.adopted, "turn adopted", "turns adopted");
        tell(counts.calls, "player call refused or lost", "player calls refused or lost");
        match turns {
            Some((from, to)) if from == to => parts.push(format!("still turn {to}")),
            Some((from, to)) => parts.push(format!("turn {from} to {to}")),
            None => {
                let turns = counts.generated + counts.adopted;
                parts.push(format!("{turns} {} all the same", plural(turns, "turn")));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// Everything there was.
pub(super) struct Summary<'a> {
    pub(super) seed: u64,
    pub(super) kinds: &'a BTreeMap<Kind, u64>,
    pub(super) counts: Counts,
    /// Of the store, and of the streams.
    pub(super) lost: (u64, u64),
    /// The longest that anything took to be well again.
    pub(super) slowest: Duration,
    pub(super) verdict: &'a Verdict,
}

/// Writes it to standard output.
pub(super) fn print(summary: &Summary<'_>) {
    let Summary { seed, kinds, counts, lost: (store, streams), slowest, verdict } = summary;
    let line = |count: u64, what: &str| println!("  {count:>5}  {what}");
    println!(
        "\nTroubles: {} of {} kinds, from seed {seed}",
        kinds.values().sum::<u64>(),
        kinds.len()
    );
    for (kind, count) in *kinds {
        line(*count, kind.name());
    }
    println!("What they did");
    line(*store, "requests to the store, or their answers, lost");
    line(*streams, "requests to the streams, or their answers, lost");
    line(counts.failed, "turns failed");
    line(counts.unreachable, "engines out of reach");
    line(counts.restarts, "engines ended");
    line(counts.calls, "calls of players refused or lost, and the players told so");
    println!("What was recovered");
    line(counts.generated, "turns generated and answered");
    line(counts.adopted, "turns adopted: the engine had generated them, the answer was lost");
    line(counts.recovered, "times a game came back from a failed turn or a lost engine,");
    line(counts.operator, "of them after an operator's reconcile");
    println!("  longest wait after a trouble until all was well: {}", seconds(*slowest));
    if verdict.waiting > 0 {
        println!("  {} messages are left to be published at the next start", verdict.waiting);
    }
    println!();
    if verdict.wrong.is_empty() {
        let Verdict { games, turns, .. } = verdict;
        println!(
            "Nothing lost, nothing doubled: {turns} turns of {games} games, each generated once"
        );
        println!("by its engine, and told once to Lobby and to the players, in order.");
    }
    for wrong in &verdict.wrong {
        println!("WRONG  {wrong}");
    }
}

/// `2.4 s`.
pub(super) fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn plural(count: u64, one: &str) -> String {
    if count == 1 { one.into() } else { format!("{one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_told_of_its_own_game_alone() {
        let counts = Counts { generated: 1, failed: 2, calls: 1, ..Counts::default() };
        let came = |turns, lost| Came { counts, lost, turns, made_up: None }.to_string();
        assert_eq!(
            came(Some((3, 4)), 0),
            "2 turns failed, 1 player call refused or lost, turn 3 to 4"
        );
        assert_eq!(
            came(None, 7),
            "7 requests or answers lost, 1 player call refused or lost, 1 turn all the same"
        );
        let quiet = Came { counts: Counts::default(), lost: 0, turns: Some((3, 3)), made_up: None };
        assert_eq!(quiet.to_string(), "still turn 3");
    }
}
