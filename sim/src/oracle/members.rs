//! Who was barred by Lobby, and when every Game Master must know.

use std::collections::BTreeMap;

/// Until when an instance may take a member for one who was barred meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The time for which Lobby's answer is believed, and before that the longest that an answer
    /// given before the change can be under way.
    pub believed_ms: i64,
    /// Whether what is told to one instance reaches the others without a network in between.
    pub others_are_told: bool,
}

/// A member whom Lobby has barred.
#[derive(Clone, Copy)]
struct Bar {
    /// When Lobby's answer came: the member was barred, and the hook over, before.
    at_ms: i64,
    /// The instance that has said that it knows.
    told: Option<usize>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Barred {
    bars: BTreeMap<(String, String), Vec<Bar>>,
    /// How often Game Master was not told of a change, by game.
    untold: BTreeMap<String, u64>,
}

impl Barred {
    pub(super) fn not_told(&mut self, game: &str) {
        *self.untold.entry(game.to_owned()).or_default() += 1;
    }

    pub(super) fn untold(&self, game: &str) -> u64 {
        self.untold.get(game).copied().unwrap_or_default()
    }

    /// Lobby said that somebody is barred, perhaps again.
    pub(super) fn barred(&mut self, game: &str, user: &str, at_ms: i64, told: Option<usize>) {
        let bars = self.bars.entry((game.to_owned(), user.to_owned())).or_default();
        bars.push(Bar { at_ms, told });
    }

    /// Whether a call that was asked at an instant must be refused.
    pub(super) fn must_be_refused(
        &self,
        (game, user): (&str, &str),
        gm: usize,
        asked_ms: i64,
        bounds: Bounds,
    ) -> bool {
        let bars = self.bars.get(&(game.to_owned(), user.to_owned())).into_iter().flatten();
        bars.into_iter().any(|bar| {
            let knows = bar.told.is_some_and(|told| told == gm || bounds.others_are_told);
            let until_ms = if knows { bar.at_ms } else { bar.at_ms + bounds.believed_ms };
            asked_ms > until_ms
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_told_knows_at_once_and_the_others_in_their_time() {
        let bounds = |others_are_told| Bounds { believed_ms: 100, others_are_told };
        let mut barred = Barred::default();
        barred.barred("g", "told", 10, Some(0));
        barred.barred("g", "untold", 10, None);
        for (user, gm, others, asked_ms, expected) in [
            ("told", 0, false, 10, false),
            ("told", 0, false, 11, true),
            ("told", 1, false, 110, false),
            ("told", 1, false, 111, true),
            ("told", 1, true, 11, true),
            ("untold", 0, true, 110, false),
            ("untold", 0, true, 111, true),
            ("nobody", 0, true, 999, false),
        ] {
            let must = barred.must_be_refused(("g", user), gm, asked_ms, bounds(others));
            assert_eq!(must, expected, "{user} at gm-{gm}, asked at {asked_ms}");
        }
    }
}
