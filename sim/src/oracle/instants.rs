//! Which instants of its schedule a game has had turns for.
//!
//! The clocks of the instances differ, and jump: what is compared are the instants that the records
//! name, and the time by which each commit was decided, which is what the next instant was reckoned from.

use machine::record::Trigger;
use machine::{Life, Runtime, Timestamp};

/// Of one game.
#[derive(Debug, Default)]
pub(super) struct Instants {
    incarnation: Option<machine::Incarnation>,
    /// The last one that had a regular turn.
    had: Option<Timestamp>,
    /// When the last turn was recorded, whatever began it.
    grown_at: Option<Timestamp>,
    /// The one that the forced turn under way replaces, and the last one that was replaced.
    forced: Option<Timestamp>,
    replaced: Option<Timestamp>,
}

impl Instants {
    /// A change was committed, decided at that time; where a regular turn is complete with it, whether
    /// it may be.
    pub(super) fn committed(
        &mut self,
        at: Timestamp,
        before: &Runtime,
        after: &Runtime,
    ) -> Option<Result<(), &'static str>> {
        if self.incarnation != Some(after.incarnation) {
            *self = Self { incarnation: Some(after.incarnation), ..Self::default() };
        }
        if let (Life::Running { clock, .. }, Life::Generating { trigger, .. }) =
            (&before.life, &after.life)
        {
            self.forced = (*trigger == Trigger::Force).then_some(clock.next_generation_at);
        }
        if after.current_turn <= before.current_turn {
            return None;
        }
        let seen = match before.trigger() {
            Some(Trigger::Tick { due_at }) => Some(self.regular(due_at, after)),
            Some(Trigger::Force) => {
                self.replaced = self.forced.take().or(self.replaced);
                None
            }
            // One that was found at an engine that had been given up.
            None => None,
        };
        self.grown_at = Some(at);
        seen
    }

    fn regular(&mut self, due_at: Timestamp, record: &Runtime) -> Result<(), &'static str> {
        let is_over = |other: Option<Timestamp>| other.is_some_and(|other| other >= due_at);
        let just_before = due_at - chrono::TimeDelta::milliseconds(1);
        let judged = if record.schedule.next(just_before) != due_at {
            Err("a regular turn is of no instant of the schedule")
        } else if is_over(self.had) {
            Err("an instant has a second regular turn")
        } else if is_over(self.replaced) {
            Err("an instant has a turn that a forced one replaced")
        } else if is_over(self.grown_at) {
            Err("an instant that was over has a turn besides the one that made up for it")
        } else {
            Ok(())
        };
        self.had = Some(due_at);
        judged
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use machine::Event;
    use service::conformance::{Game, Rng, START};

    use super::*;

    /// Turns are at six in the evening: that of so many days after the first.
    fn evening(day: i64) -> Timestamp {
        START + TimeDelta::hours(18) + TimeDelta::days(day)
    }

    /// A game that runs, and what its commits so far came to.
    struct Played {
        game: Game,
        rng: Rng,
        instants: Instants,
    }

    impl Played {
        fn new() -> Self {
            let (game, rng) = (Game::new("game-1"), Rng::new(1));
            let mut played = Self { game, rng, instants: Instants::default() };
            let register = played.game.registration(&mut played.rng);
            played.apply(&register);
            played.apply(&played.game.init_done());
            played
        }

        /// A record as it is and as it is next.
        fn apply(&mut self, event: &Event) -> Option<(Runtime, Runtime)> {
            let commit = self.game.must(event, &mut self.rng);
            let before = self.game.record.as_deref().cloned();
            self.game.applied(&commit);
            before.zip(self.game.record.as_deref().cloned())
        }

        fn seen(&mut self, event: &Event) -> Option<Result<(), &'static str>> {
            let at = self.game.now;
            let (before, after) = self.apply(event).expect("it is registered");
            self.instants.committed(at, &before, &after)
        }

        /// The turn of an evening, recorded at an instant, whatever the record says.
        fn regular(&mut self, due_at: Timestamp, at: Timestamp) -> Result<(), &'static str> {
            let mut other = Self { game: self.game.clone(), rng: Rng::new(2), ..Self::new() };
            other.game.now = other.game.now.max(evening(300));
            other.apply(&Event::Tick);
            let (mut before, after) = other.apply(&other.game.turn_done()).expect("a turn");
            if let Life::Generating { trigger, .. } = &mut before.life {
                *trigger = Trigger::Tick { due_at };
            }
            self.instants.committed(at, &before, &after).expect("a regular turn")
        }
    }

    #[test]
    fn turns_in_their_order_are_as_they_should_be() {
        let mut played = Played::new();
        for day in [0, 1, 5, 6] {
            played.game.now = evening(day) + TimeDelta::seconds(1);
            assert_eq!(played.seen(&Event::Tick), None, "it has only begun");
            assert_eq!(played.seen(&played.game.turn_done()), Some(Ok(())), "day {day}");
        }
    }

    #[test]
    fn what_is_repeated_made_up_for_replaced_or_of_no_instant_is_seen() {
        let minute = TimeDelta::minutes(1);
        let mut played = Played::new();
        assert_eq!(played.regular(evening(1), evening(1) + minute), Ok(()));
        let no_instant = played.regular(evening(2) + minute, evening(2) + minute);
        assert!(no_instant.is_err_and(|how| how.contains("no instant")));

        let mut played = Played::new();
        // By a clock that is behind.
        assert_eq!(played.regular(evening(1), evening(1) - minute), Ok(()));
        let again = played.regular(evening(1), evening(1) + minute);
        assert!(again.is_err_and(|how| how.contains("second")));

        let mut played = Played::new();
        assert_eq!(played.regular(evening(1), evening(3) + minute), Ok(()));
        let made_up_for = played.regular(evening(2), evening(3) + minute);
        assert!(made_up_for.is_err_and(|how| how.contains("was over")));

        let mut played = Played::new();
        played.game.now = evening(0) - minute;
        assert_eq!(played.seen(&Event::Force), None);
        assert_eq!(played.seen(&played.game.turn_done()), None, "no regular one");
        let replaced = played.regular(evening(0), evening(0) + minute);
        assert!(replaced.is_err_and(|how| how.contains("replaced")));
        assert_eq!(played.regular(evening(1), evening(1) + minute), Ok(()));
    }
}
