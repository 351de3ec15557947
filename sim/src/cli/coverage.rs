//! What struck where.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use sim::draw::POINTS;
use sim::plan::Trouble;

use super::How;
use super::child::Lives;
use super::fuzz::Lived;
use super::tell;
use super::total::{Counts, TIMES, Total};

const STATUSES: [&str; 9] = [
    TIMES,
    "absent",
    "starting",
    "running",
    "generation_in_progress",
    "generation_failed",
    "engine_unreachable",
    "stopped",
    "finished",
];

/// A table: its title, its head and its rows, each beginning with a name.
struct Table {
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<(String, Vec<u64>)>,
}

impl Table {
    fn pairs(title: &'static str, head: [&'static str; 2], counts: &Counts) -> Self {
        let rows = counts.iter().map(|(name, count)| (name.clone(), vec![*count])).collect();
        Self { title, head: head.to_vec(), rows }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}\n{:<44}", self.title, "");
        for head in self.head.iter().skip(1) {
            let _ = write!(text, " {head:>10.10}");
        }
        for (name, cells) in &self.rows {
            let _ = write!(text, "\n{name:<44}");
            for cell in cells {
                let _ = write!(text, " {cell:>10}");
            }
        }
        text.push_str("\n\n");
        text
    }

    fn to_markdown(&self) -> String {
        let mut text = format!("## {}\n\n| {} |\n|", self.title, self.head.join(" | "));
        for (n, _) in self.head.iter().enumerate() {
            text.push_str(if n == 0 { " --- |" } else { " ---: |" });
        }
        for (name, cells) in &self.rows {
            let _ = write!(text, "\n| `{name}` |");
            for cell in cells {
                let _ = write!(text, " {cell} |");
            }
        }
        text.push_str("\n\n");
        text
    }
}

fn tables(total: &Total) -> [Table; 5] {
    let of = |fault: &str, status: &str| {
        total.struck.get(fault).and_then(|counts| counts.get(status)).copied().unwrap_or_default()
    };
    let faults = Trouble::NAMES
        .iter()
        .map(|name| ((*name).to_owned(), STATUSES.map(|status| of(name, status)).to_vec()));
    let mut head = vec!["fault"];
    head.extend(STATUSES);
    // Points that nothing came to are the ones to know of.
    let known = POINTS.iter().flat_map(|point| ["before", "after"].map(|m| format!("{point} {m}")));
    let points: BTreeSet<String> = known.chain(total.touched.keys().cloned()).collect();
    let count = |counts: &Counts, point: &str| counts.get(point).copied().unwrap_or_default();
    let points = points.into_iter().map(|point| {
        let cells = vec![count(&total.touched, &point), count(&total.crashes, &point)];
        (point, cells)
    });
    [
        Table {
            title: "Faults, and the statuses of the games when they struck",
            head,
            rows: faults.collect(),
        },
        Table {
            title: "Points of contact",
            head: vec!["point", "come to", "crashed at"],
            rows: points.collect(),
        },
        Table::pairs("Changes of status", ["change", "committed"], &total.changes),
        Table::pairs(
            "What people did, and how they were answered",
            ["deed", "times"],
            &total.deeds,
        ),
        Table::pairs("What was checked", ["what", "times"], &total.checked),
    ]
}

fn markdown(total: &Total, command: &str) -> String {
    let mut text = format!(
        "# What the simulation reaches\n\n\
         Written by `{command}`; the page [simulation.md](simulation.md) says what is what.\n\n\
         ```text\n{}```\n\n",
        tell::total(total)
    );
    text.extend(tables(total).iter().map(Table::to_markdown));
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

pub(super) fn coverage(
    lives: &Lives,
    seeds: Range<u64>,
    how: &How,
    jobs: u8,
    page: Option<&Path>,
) -> io::Result<ExitCode> {
    let command = format!(
        "gm-sim coverage --seeds {}..{}{} --markdown FILE",
        seeds.start,
        seeds.end,
        how.options()
    );
    let (mut total, mut trouble) = (Total::default(), None);
    let lived = Lived { lives, seeds, how, jobs, twice_every: None };
    lived.all(&|| true, &mut |_, report, took| match report {
        Ok(report) => total.add(&report, took),
        Err(error) => trouble = Some(error),
    });
    if let Some(error) = trouble {
        return Err(error);
    }
    let missing = total.rarer_than(1);
    if let Some(page) = page {
        std::fs::write(page, markdown(&total, &command))?;
    }
    if how.json {
        let mut summary = total.to_json();
        summary["never_struck"] = serde_json::to_value(&missing)?;
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        tables(&total).iter().for_each(|table| print!("{}", table.to_text()));
        print!("{}", tell::total(&total));
        println!("failed seeds: {:?}\nnever struck: {missing:?}", total.broken);
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
