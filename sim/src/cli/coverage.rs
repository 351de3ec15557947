//! What struck where.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::process::ExitCode;

use sim::plan::Trouble;
use sim::run::Report;

use super::How;
use super::child::Lives;
use super::fuzz;

const STATUSES: [&str; 9] = [
    "times",
    "absent",
    "starting",
    "running",
    "generation_in_progress",
    "generation_failed",
    "engine_unreachable",
    "stopped",
    "finished",
];

type Counts = BTreeMap<String, u64>;

#[derive(Default)]
struct Total {
    struck: BTreeMap<String, Counts>,
    crashes: Counts,
    touched: Counts,
    changes: Counts,
    deeds: Counts,
    broken: Vec<u64>,
}

fn add(to: &mut Counts, from: Counts) {
    for (name, count) in from {
        *to.entry(name).or_default() += count;
    }
}

impl Total {
    fn add(&mut self, report: Report) {
        for (name, counts) in report.struck {
            add(self.struck.entry(name).or_default(), counts);
        }
        add(&mut self.crashes, report.crashes);
        add(&mut self.touched, report.touched);
        add(&mut self.changes, report.changes);
        add(&mut self.deeds, report.deeds);
        if !report.broken.is_empty() {
            self.broken.push(report.seed);
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        Trouble::NAMES.into_iter().filter(|name| !self.struck.contains_key(*name)).collect()
    }

    fn print(&self) {
        println!("faults, and the statuses of the games when they struck");
        let heads = STATUSES.map(|status| format!("{status:>10.10}")).join(" ");
        println!("{:<22} {heads}", "");
        for name in Trouble::NAMES {
            let counts = self.struck.get(name);
            let of = |status: &str| counts.and_then(|counts| counts.get(status)).copied();
            let cells = STATUSES.map(|s| format!("{:>10}", of(s).unwrap_or_default())).join(" ");
            println!("{name:<22} {cells}");
        }
        println!("\npoints of contact: how often come to, how often crashed at");
        for (point, count) in &self.touched {
            let crashes = self.crashes.get(point).copied().unwrap_or_default();
            println!("{point:<36} {count:>10} {crashes:>6}");
        }
        print("changes of status", &self.changes);
        print("deeds, and how they were answered", &self.deeds);
    }
}

fn print(title: &str, counts: &Counts) {
    println!("\n{title}");
    for (name, count) in counts {
        println!("{name:<48} {count:>10}");
    }
}

pub(super) fn coverage(
    lives: &Lives,
    seeds: Range<u64>,
    how: &How,
    jobs: u8,
) -> io::Result<ExitCode> {
    let (mut total, mut trouble) = (Total::default(), None);
    let count = fuzz::all(lives, seeds, how, jobs, &|| true, &mut |_, report| match report {
        Ok(report) => total.add(report),
        Err(error) => trouble = Some(error),
    });
    if let Some(error) = trouble {
        return Err(error);
    }
    let missing = total.missing();
    if how.json {
        let summary = serde_json::json!({
            "lives": count,
            "faults": total.struck,
            "crashes": total.crashes,
            "points": total.touched,
            "changes": total.changes,
            "deeds": total.deeds,
            "never_struck": missing,
            "failed_seeds": total.broken,
        });
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        total.print();
        println!("\n{count} lives; failed seeds: {:?}", total.broken);
        println!("never struck: {missing:?}");
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
