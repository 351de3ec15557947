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
        let trigger = match &before.life {
            Life::Generating { trigger, .. } => Some(*trigger),
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => None,
        };
        let seen = match trigger {
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
