//! The verdict, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::audit::{Counts, Findings, Wrong};
use super::guests::Guests;
use super::plan::{Kind, Victim};
use super::players::Tally;
use super::tracker::{Memory, Struck};

/// What came of it all.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Report {
    pub seed: u64,
    pub directory: PathBuf,
    pub games: usize,
    pub instances: usize,
    pub took: Duration,
    pub struck: Vec<Struck>,
    pub counts: Counts,
    pub tally: Tally,
    pub guests: Guests,
    pub memory: BTreeMap<String, Vec<Memory>>,
    pub findings: Findings,
    /// Games, and what Game Master says of them.
    pub explained: Vec<(String, String)>,
}

/// Of the times that recoveries took.
struct Times {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Times {
    fn of<'a>(struck: impl Iterator<Item = &'a Struck>) -> Option<Self> {
        let mut times: Vec<Duration> = struck.filter_map(|struck| struck.recovery).collect();
        times.sort();
        let max = *times.last()?;
        let at = |hundredths: usize| {
            times.get((times.len() * hundredths / 100).min(times.len() - 1)).copied()
        };
        Some(Self { p50: at(50)?, p99: at(99)?, max })
    }
}

impl Report {
    /// Whether nothing was found.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    /// How often a process of this kind was killed.
    pub fn kills(&self, victim: Victim) -> usize {
        self.struck.iter().filter(|struck| struck.kind.kills() == Some(victim)).count()
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Struck> {
        self.struck.iter().filter(move |struck| struck.kind == kind)
    }

    /// The most memory that each Game Master had, in bytes.
    fn most_memory(&self) -> BTreeMap<&str, u64> {
        let most = |samples: &[Memory]| samples.iter().map(|sample| sample.resident).max();
        self.memory.iter().filter_map(|(name, all)| Some((name.as_str(), most(all)?))).collect()
    }

    /// The same as data.
    pub fn to_json(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        let strikes: serde_json::Map<String, Value> = Kind::ALL
            .into_iter()
            .map(|kind| {
                let times = Times::of(self.of_kind(kind));
                let of = |pick: fn(&Times) -> Duration| times.as_ref().map(pick).map(seconds);
                let told = json!({
                    "count": self.of_kind(kind).count(),
                    "recovery_seconds": {
                        "p50": of(|t| t.p50), "p99": of(|t| t.p99), "max": of(|t| t.max),
                    },
                });
                (kind.label().to_owned(), told)
            })
            .collect();
        let kills: serde_json::Map<String, Value> = Victim::ALL
            .into_iter()
            .map(|victim| (victim.label().to_owned(), self.kills(victim).into()))
            .collect();
        let wrong: serde_json::Map<String, Value> = Wrong::ALL
            .into_iter()
            .map(|wrong| (wrong.label().to_owned(), self.findings.count(wrong).into()))
            .collect();
        let words: Vec<Value> = self
            .findings
            .words
            .iter()
            .map(|(wrong, game, words)| {
                json!({ "wrong": wrong.label(), "game": game, "words": words })
            })
            .collect();
        let (counts, tally) = (&self.counts, &self.tally);
        json!({
            "is_well": self.is_well(),
            "seed": self.seed,
            "seconds": seconds(self.took),
            "games": self.games,
            "guests": { "begun": self.guests.begun.len(), "finished": self.guests.finished.len(),
                        "failed_starts": self.guests.failed_starts },
            "instances": self.instances,
            "turns": counts.turns,
            "events": counts.events,
            "notifications": counts.intents,
            "notifications_gone": counts.gone,
            "operations": counts.operations,
            "tick_lag_ms": { "p50": counts.lag.p50, "p99": counts.lag.p99, "max": counts.lag.max },
            "kills": kills,
            "strikes": strikes,
            "players": { "answers": tally.answers, "acknowledged": tally.acknowledged,
                         "confirmed": tally.confirmed, "unconfirmed": tally.unconfirmed,
                         "lost": tally.lost },
            "memory_bytes": self.most_memory(),
            "wrong": wrong,
            "findings": words,
            "directory": self.directory,
        })
    }

    fn strikes_table(&self) -> Table {
        let mut table = table(&["FAULT", "TIMES", "RECOVERED p50", "p99", "max"]);
        let mut row = |name: &str, struck: &[&Struck]| {
            let times = Times::of(struck.iter().copied());
            let of = |pick: fn(&Times) -> Duration| {
                times.as_ref().map_or("-".to_owned(), |t| format!("{:.1} s", pick(t).as_secs_f64()))
            };
            let count = struck.len().to_string();
            table.add_row([name, &count, &of(|t| t.p50), &of(|t| t.p99), &of(|t| t.max)]);
        };
        for kind in Kind::ALL {
            let struck: Vec<&Struck> = self.of_kind(kind).collect();
            if !struck.is_empty() {
                row(kind.label(), &struck);
            }
        }
        row("all", &self.struck.iter().collect::<Vec<_>>());
        table
    }

    fn wrong_table(&self) -> Table {
        let mut table = table(&["AUDIT", "FOUND"]);
        for wrong in Wrong::ALL {
            table.add_row([wrong.label(), &self.findings.count(wrong).to_string()]);
        }
        table
    }

    fn figures_table(&self) -> Table {
        let (counts, tally) = (&self.counts, &self.tally);
        let mut table = table(&["LOAD", ""]);
        let mut row = |name: &str, figure: String| {
            table.add_row([name, &figure]);
        };
        let guests = self.guests.begun.len();
        row("games", format!("{} all the time, {guests} that came and went", self.games));
        row("turns", counts.turns.to_string());
        row("events, notifications", format!("{}, {}", counts.events, counts.intents));
        row("notifications gone with Redis, after they had arrived", counts.gone.to_string());
        let lag = counts.lag;
        let lag = format!("p50 {} ms, p99 {} ms, max {} ms", lag.p50, lag.p99, lag.max);
        row("tick lag", lag);
        let checked = format!("{} of {}", tally.confirmed, tally.acknowledged);
        row("orders and commands confirmed", checked);
        let answers: Vec<String> =
            tally.answers.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        row("players' answers", answers.join(", "));
        let kills: Vec<String> = Victim::ALL
            .into_iter()
            .map(|victim| format!("{} {}", victim.label(), self.kills(victim)))
            .collect();
        row("processes killed", kills.join(", "));
        let memory: Vec<String> = self
            .most_memory()
            .into_iter()
            .map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20))
            .collect();
        row("most memory", memory.join(", "));
        table
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head.to_vec());
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if n > 0 {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    table
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, instances, .. } = self;
        let took = self.took.as_secs();
        writeln!(f, "{instances} Game Masters, {took} s, seed {seed}\n")?;
        for table in [self.strikes_table(), self.figures_table(), self.wrong_table()] {
            for line in table.lines() {
                writeln!(f, "{}", line.trim_end())?;
            }
            writeln!(f)?;
        }
        if self.is_well() {
            return writeln!(f, "Nothing was lost, doubled, reordered or stuck.");
        }
        let mut words = String::new();
        for (wrong, game, what) in &self.findings.words {
            let game = if game.is_empty() { String::new() } else { format!("{game}: ") };
            writeln!(words, "{}: {game}{what}", wrong.label())?;
        }
        for (game, said) in &self.explained {
            writeln!(words, "\nexplain {game}\n{said}")?;
        }
        let directory = self.directory.display();
        write!(f, "{words}\nTry again: --seed {seed}. Logs: {directory}\n")
    }
}
