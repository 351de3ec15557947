//! Which troubles there will be, when, and for how long: all of it follows from the seed.

use std::time::Duration;

use peers::rtm::launcher::ExitKind;

use super::trouble::{Kind, Place, Scope, Spoiled, Trouble};
use crate::conformance::Rng;

/// The most troubles at a time.
pub(super) const AT_ONCE: usize = 3;
/// The longest a trouble lasts, beside the time from one turn to the next: then it ends by itself.
const LONGEST: u64 = 8_000;
/// The shortest.
const SHORTEST: u64 = 2_500;
/// The longest that everything is away: shorter than what Game Master takes to give up.
const LONGEST_AWAY: u64 = 4_000;
/// What a place is spared after a trouble, at least.
const REST: Duration = Duration::from_secs(2);
/// A trouble that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Counted from 1.
    pub(super) number: u32,
    /// From the beginning of all troubles.
    pub(super) at: Duration,
    /// After which it ends by itself.
    pub(super) lasts: Duration,
    /// What goes wrong.
    pub(super) trouble: Trouble,
}

/// A trouble of a kind.
fn draw(kind: Kind, game: usize, rng: &mut Rng) -> Trouble {
    let engine = |of, how| Trouble::Engine { game, of, how };
    let times = 2 + u32::try_from(rng.below(2)).unwrap_or(0);
    let acts = rng.percent(50);
    let of = *rng.pick(&[Scope::Turns, Scope::Players, Scope::Everything]).unwrap_or(&Scope::Turns);
    match kind {
        Kind::Slow => {
            engine(Scope::Everything, Spoiled::Slow { millis: 500 + 100 * rng.below(36) })
        }
        Kind::Refused => {
            let status = *rng.pick(&[400, 404, 409, 422, 429]).unwrap_or(&400);
            engine(of, Spoiled::Refused { status })
        }
        Kind::Failed => {
            let status = *rng.pick(&[500, 502, 503]).unwrap_or(&500);
            engine(of, Spoiled::Failed { status, acts })
        }
        Kind::Hanging => engine(of, Spoiled::Hanging { acts }),
        Kind::Deaf => engine(Scope::Everything, Spoiled::Deaf),
        Kind::Dropped => engine(of, Spoiled::Dropped),
        Kind::Garbage => engine(of, Spoiled::Garbage),
        Kind::Lies => engine(Scope::Turns, Spoiled::Lies),
        Kind::Exited => Trouble::Ends { game, how: ExitKind::Exited },
        Kind::OutOfMemory => Trouble::Ends { game, how: ExitKind::OutOfMemory },
        Kind::Disappeared => Trouble::Ends { game, how: ExitKind::Disappeared },
        Kind::Restarts => Trouble::Restarts { game, times },
        Kind::StartsFail => Trouble::StartsFail { game },
        Kind::EndsUnseen => Trouble::EndsUnseen { game },
        Kind::LobbyAway => Trouble::LobbyAway,
        Kind::LobbySlow => Trouble::LobbySlow { millis: 500 + 100 * rng.below(16) },
        Kind::RtmAway => Trouble::RtmAway { game },
        Kind::NoImage => Trouble::NoImage { game },
        Kind::StreamsLose => Trouble::Streams { percent: 20 + rng.below(41) },
        Kind::StreamsAway => Trouble::Streams { percent: 100 },
        Kind::StoreLoses => Trouble::Store { percent: 5 + rng.below(26) },
        Kind::StoreAway => Trouble::Store { percent: 100 },
    }
}

/// How long it lasts, where a turn comes every `period`: long enough to strike one.
fn lasting(trouble: Trouble, period: Duration, rng: &mut Rng) -> Duration {
    let drawn = SHORTEST + rng.below(LONGEST - SHORTEST);
    match trouble {
        Trouble::Engine { .. } | Trouble::EndsUnseen { .. } | Trouble::StartsFail { .. } => {
            Duration::from_millis(drawn) + period
        }
        // Over once the engine is up again.
        Trouble::Ends { .. } | Trouble::Restarts { .. } => Duration::ZERO,
        Trouble::LobbyAway
        | Trouble::LobbySlow { .. }
        | Trouble::RtmAway { .. }
        | Trouble::NoImage { .. } => Duration::from_millis(drawn),
        Trouble::Streams { percent } | Trouble::Store { percent } => {
            let most = if percent == 100 { LONGEST_AWAY } else { LONGEST };
            Duration::from_millis(drawn.min(most))
        }
    }
}

/// Draws one trouble after the other, without end.
pub(super) struct Plan {
    rng: Rng,
    /// From one turn to the next, for each game.
    periods: Vec<Duration>,
    every: Duration,
    at: Duration,
    number: u32,
    /// What has not come up since all had.
    deck: Vec<Kind>,
    /// The places in use, and until when.
    busy: Vec<(Vec<Place>, Duration)>,
}

impl Plan {
    /// A plan for games whose turns come so often, with a trouble every so often.
    pub(super) fn new(seed: u64, periods: Vec<Duration>, every: Duration) -> Self {
        let (at, number) = (Duration::ZERO, 0);
        Self { rng: Rng::new(seed), periods, every, at, number, deck: vec![], busy: vec![] }
    }

    /// The next trouble that is about nothing that is in use, if there is one.
    fn deal(&mut self) -> Option<Trouble> {
        if self.deck.is_empty() {
            let any_game = !self.periods.is_empty();
            let mut left: Vec<Kind> =
                Kind::ALL.into_iter().filter(|kind| any_game || !kind.needs_game()).collect();
            while !left.is_empty() {
                self.deck.push(left.swap_remove(self.rng.below_usize(left.len())));
            }
        }
        for index in (0..self.deck.len()).rev() {
            let game = self.rng.below_usize(self.periods.len());
            let trouble = draw(*self.deck.get(index)?, game, &mut self.rng);
            let places = trouble.places();
            if !self.busy.iter().any(|(taken, _)| taken.iter().any(|place| places.contains(place)))
            {
                self.deck.remove(index);
                return Some(trouble);
            }
        }
        None
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        // Half as long to half as long again.
        let percent = 50 + u32::try_from(self.rng.below(101)).unwrap_or(50);
        self.at += self.every * percent / 100;
        loop {
            self.busy.retain(|(_, until)| *until > self.at);
            if self.busy.len() < AT_ONCE
                && let Some(trouble) = self.deal()
            {
                let period = trouble.game().and_then(|game| self.periods.get(game).copied());
                let lasts = lasting(trouble, period.unwrap_or_default(), &mut self.rng);
                self.number += 1;
                self.busy.push((trouble.places(), self.at + lasts + REST));
                return Some(Planned { number: self.number, at: self.at, lasts, trouble });
            }
            // With nothing in use every trouble can be dealt, so that this ends.
            self.at = self.busy.iter().map(|(_, until)| *until).min()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use peers::engine::Plan as EnginePlan;

    use super::super::trouble::engine_plan;
    use super::*;

    const EVERY: Duration = Duration::from_secs(3);
    const PERIODS: [Duration; 3] =
        [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

    fn plan(seed: u64, games: usize) -> Vec<Planned> {
        Plan::new(seed, PERIODS[..games].to_vec(), EVERY).take(300).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_another() {
        for seed in 0..20 {
            assert_eq!(plan(seed, 3), plan(seed, 3));
            assert_ne!(plan(seed, 3), plan(seed + 1, 3));
        }
    }

    #[test]
    fn a_bounded_number_at_a_time_and_one_in_each_place() {
        for (seed, games) in (0..40).flat_map(|seed| (0..=3).map(move |games| (seed, games))) {
            let all = plan(seed, games);
            for (index, planned) in all.iter().enumerate() {
                let others = all[..index].iter().filter(|p| p.at + p.lasts > planned.at);
                let mut running = 1;
                for other in others {
                    running += 1;
                    let taken = other.trouble.places();
                    let shared = planned.trouble.places().into_iter().find(|p| taken.contains(p));
                    assert_eq!(shared, None, "{planned:?} while {other:?}");
                }
                assert!(running <= AT_ONCE, "{running} at once, seed {seed}: {planned:?}");
            }
        }
    }

    #[test]
    fn each_ends_by_itself_and_they_come_about_as_often_as_wanted() {
        for seed in 0..40 {
            let all = plan(seed, 3);
            for pair in all.windows(2) {
                assert!(pair[1].at >= pair[0].at + EVERY / 2, "{pair:?}");
            }
            for planned in &all {
                let period = planned.trouble.game().map_or(Duration::ZERO, |game| PERIODS[game]);
                let most = Duration::from_millis(LONGEST) + period;
                assert!(planned.lasts <= most, "{planned:?}");
            }
        }
    }

    #[test]
    fn every_kind_comes_up_soon() {
        let kinds = |games: usize, count: usize| -> BTreeSet<Kind> {
            plan(7, games).iter().take(count).map(|p| p.trouble.kind()).collect()
        };
        assert_eq!(kinds(3, 2 * Kind::ALL.len()).len(), Kind::ALL.len());
        // Without games there is nothing an engine could do wrong.
        assert!(kinds(0, 300).into_iter().all(|kind| !kind.needs_game()));
        assert!(!kinds(0, 300).is_empty());
    }

    #[test]
    fn what_an_engine_is_told_it_takes_and_it_strikes() {
        for planned in (0..40).flat_map(|seed| plan(seed, 3)) {
            if let Trouble::Engine { of, how, .. } = planned.trouble {
                let told = engine_plan(of, how);
                assert_eq!(told.check(), Ok(()), "{planned:?}");
                assert_ne!(told, EnginePlan { only: told.only.clone(), ..EnginePlan::default() });
            }
        }
    }
}
