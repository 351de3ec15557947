//! `gamemaster schedule`: when a schedule would have turns, without asking anybody.

use clap::Args;
use machine::{Resolution, Schedule, ScheduleError, Timestamp};
use serde_json::json;
use service::ports::{Clock, SystemClock};

use super::output::{self, Format, Grid, OutputArgs, instant, plain, when};
use super::{EXIT_USAGE, Failure};

/// See the command.
#[derive(Args)]
pub(crate) struct ScheduleArgs {
    /// The schedule, in quotes: minute, hour, day of month, month, day of week.
    #[arg(value_name = "EXPR")]
    expression: String,
    /// How many turns.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Take six fields too, the first of them the second.
    #[arg(long)]
    seconds: bool,
    /// The instant after which the turns come, in RFC 3339; now where not set.
    #[arg(long, value_name = "INSTANT", value_parser = timestamp)]
    from: Option<Timestamp>,
    #[command(flatten)]
    output: OutputArgs,
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text);
    parsed.map(|at| at.to_utc()).map_err(|e| format!("{e}; expected 2026-03-02T18:00:00Z"))
}

/// `gamemaster schedule`.
pub(crate) fn run(args: &ScheduleArgs) -> Result<String, Failure> {
    let now = SystemClock.now();
    let resolution = if args.seconds { Resolution::Seconds } else { Resolution::Minutes };
    let schedule = Schedule::parse(&args.expression, resolution)
        .map_err(|error| Failure::new(EXIT_USAGE, refusal(&args.expression, &error)))?;
    let turns = schedule.occurrences(args.from.unwrap_or(now)).take(usize::from(args.count));
    let turns: Vec<Timestamp> = turns.collect();
    match args.output.output {
        Format::Json => {
            output::json(&json!({ "expression": schedule.expression(), "occurrences": turns }))
        }
        Format::Table => {
            let mut grid = Grid::new(["TURNS", ""]);
            for turn in &turns {
                // Where the turns are reckoned from another day, how far off they are says nothing.
                let shown = if args.from.is_some() { instant(*turn) } else { when(*turn, now) };
                grid.row([shown, turn.format("%A").to_string()]);
            }
            let mut page = grid.to_string();
            if turns.len() < usize::from(args.count) {
                page.push_str("none after these: the calendar ends with the year 2100\n");
            }
            Ok(page)
        }
    }
}

/// What is wrong, and where.
fn refusal(expression: &str, error: &ScheduleError) -> String {
    let why = plain(&error.to_string());
    let Some((before, after)) = error.offset().and_then(|at| expression.split_at_checked(at))
    else {
        return why;
    };
    // One column for each character before the fault: these are ASCII, and not all printable.
    let column = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let before: String = before.chars().map(column).collect();
    format!("{why}\n  {before}{}\n  {}^", plain(after), " ".repeat(before.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &str) -> String {
        refusal(expression, &Schedule::parse(expression, Resolution::Minutes).unwrap_err())
    }

    #[test]
    fn a_caret_stands_under_the_fault() {
        for (expression, lines) in [
            ("0 25 * * *", "\n  0 25 * * *\n    ^"),
            ("0\t\t5 * * \u{1b}", "\n  0  5 * * \\u{1b}\n           ^"),
            ("0 0 * JAN-FOO *", "\n  0 0 * JAN-FOO *\n            ^"),
            ("0 0 * * –", "\n  0 0 * * –\n          ^"),
            ("@daily", "\n  @daily\n  ^"),
        ] {
            let shown = shown(expression);
            assert!(shown.ends_with(lines), "{shown}");
        }
        for whole in ["0 0 30 2 *", "* * *", ""] {
            assert!(!shown(whole).contains('^'), "{whole}");
        }
    }
}
