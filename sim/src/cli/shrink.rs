//! Takes away of a plan that fails what it does not need to fail.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use sim::plan::Plan;
use sim::run::Report;

use super::child::Lives;
use super::kept::{self, Kept};
use super::{shown, tell};

/// How much longer than to the failure a plan goes on, where that suffices.
const MARGIN_MS: u64 = 100;

struct Shrinking<'a> {
    lives: &'a Lives,
    promise: String,
    plan: Plan,
    report: Report,
    left: u32,
}

pub(super) fn shrink(lives: &Lives, plan: Plan, out: &Path, most: u32) -> io::Result<ExitCode> {
    let report = lives.live(&plan, false)?;
    let Some(first) = report.broken.first() else {
        println!("nothing fails: there is nothing to shrink");
        return Ok(ExitCode::SUCCESS);
    };
    let promise = first.promise.clone();
    let mut shrinking = Shrinking { lives, promise, plan, report, left: most };
    shrinking.shorten()?;
    // What was needed before may not be any more: again until nothing goes.
    loop {
        let before = shrinking.plan.clone();
        shrinking.thin(|plan| &mut plan.faults)?;
        shrinking.thin(|plan| &mut plan.actions)?;
        shrinking.fewer_games()?;
        shrinking.fewer_players()?;
        if shrinking.plan == before || shrinking.left == 0 {
            break;
        }
    }
    let Shrinking { promise, plan, report, .. } = shrinking;
    let (faults, actions, games) = (plan.faults.len(), plan.actions.len(), plan.games.len());
    let kept = Kept { breaks: Some(promise), ..Kept::of(plan, lives)? };
    kept::write(out, &kept)?;
    print!("{}", tell::report(&report, &format!("gm-sim replay {}", shown(out))));
    println!("left: {faults} faults, {actions} actions, {games} games");
    Ok(ExitCode::from(1))
}

impl Shrinking<'_> {
    /// Keeps a smaller plan that breaks the same promise.
    fn keeps(&mut self, plan: Plan) -> io::Result<bool> {
        if plan == self.plan || self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let report = self.lives.live(&plan, false)?;
        let fails = report.broken.iter().any(|broken| broken.promise == self.promise);
        if fails {
            (self.plan, self.report) = (plan, report);
        }
        Ok(fails)
    }

    /// Ends the plan soon after the failure.
    fn shorten(&mut self) -> io::Result<()> {
        let at_ms = self.report.broken.first().map_or(0, |broken| broken.at_ms);
        let end_ms = u64::try_from(at_ms).unwrap_or(0).saturating_add(MARGIN_MS);
        if end_ms < self.plan.safety_ms {
            let mut plan = self.plan.clone();
            plan.faults.retain(|fault| fault.at_ms <= end_ms);
            plan.actions.retain(|action| action.at_ms <= end_ms);
            self.keeps(plan)?;
        }
        Ok(())
    }

    /// Leaves out ever smaller runs of a list.
    fn thin<T: Clone>(&mut self, list: fn(&mut Plan) -> &mut Vec<T>) -> io::Result<()> {
        let mut run = list(&mut self.plan).len();
        while run > 0 {
            let mut at = 0;
            while at < list(&mut self.plan).len() {
                let mut plan = self.plan.clone();
                let items = list(&mut plan);
                items.drain(at..items.len().min(at + run));
                if !self.keeps(plan)? {
                    at += run;
                }
            }
            run /= 2;
        }
        Ok(())
    }

    /// Leaves out games, the last ones first: what is about a game is about its number.
    fn fewer_games(&mut self) -> io::Result<()> {
        while self.plan.games.len() > 1 {
            let mut plan = self.plan.clone();
            plan.games.pop();
            plan.prune();
            if !self.keeps(plan)? {
                break;
            }
        }
        Ok(())
    }

    fn fewer_players(&mut self) -> io::Result<()> {
        for number in 0..self.plan.games.len() {
            let mut plan = self.plan.clone();
            if let Some(game) = plan.games.get_mut(number) {
                game.players = 1;
            }
            self.keeps(plan)?;
        }
        Ok(())
    }
}
