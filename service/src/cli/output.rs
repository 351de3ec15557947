//! What is printed: tables and JSON, and nothing in either that a terminal would obey.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use chrono::{Datelike, SubsecRound};
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use machine::Timestamp;
use machine::schedule::FAR_FUTURE;

use super::{EXIT_FAILURE, Failure};

/// How results are printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// How to print: `table` for people, `json` for programs.
    #[arg(long, short, value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
}

/// See [`OutputArgs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// Writes a result to standard output. A reader that has left (`| head`) has had enough: no error.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            super::fail(EXIT_FAILURE, &format_args!("cannot write to standard output: {error}"))
        }
    }
}

/// A line on standard error, where it can be written at all.
pub(crate) fn note(text: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "gamemaster: {text}");
}

/// Text from elsewhere, for a terminal: what would move its cursor, colour it or turn it around is
/// spelt out.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Formatting characters and line separators: what the contract keeps out of names and reasons.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// An instant and how far off it is: `2026-03-02 18:00:00Z (in 2h 3m)`.
pub(crate) fn when(at: Timestamp, now: Timestamp) -> String {
    // What a schedule without any occurrence left is given.
    if at.year() >= FAR_FUTURE.year() {
        return "never".into();
    }
    // Rounded to what is shown, or a turn in two minutes is always said to be in 1m 59s.
    let seconds = (at.round_subsecs(0) - now.round_subsecs(0)).num_seconds();
    let off = match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(seconds.unsigned_abs())),
        _ => format!("{} ago", span(seconds.unsigned_abs())),
    };
    format!("{} ({off})", instant(at))
}

/// An instant to the second.
pub(crate) fn instant(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The two largest units of a time.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(parts.len() - 1);
    let shown = parts.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let shown: Vec<_> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
    shown.join(" ")
}

/// Rows under headings. Cells are made [`plain`].
pub(crate) struct Grid {
    table: Table,
}

impl Grid {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(headings);
        Self { table }
    }

    /// Names on the left, values on the right.
    pub(crate) fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let mut grid = Self { table };
        for (name, value) in pairs {
            grid.row([name.to_owned(), value]);
        }
        grid
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.table.add_row(cells.map(|cell| plain(&cell)));
    }
}

impl std::fmt::Display for Grid {
    /// Without the blanks that pad a row to the width of the table.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.table.lines() {
            writeln!(f, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
        }
        Ok(())
    }
}

/// JSON as it is written, indented: order and numbers stay as they are, and what a terminal might
/// obey is written as the escape that means the same. `json` must be valid.
pub(crate) fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = json.chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).peekable();
    while let Some(c) = rest.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            push_in_string(&mut text, c);
            continue;
        }
        match c {
            ' ' => {}
            '{' | '[' => {
                while rest.next_if_eq(&' ').is_some() {}
                text.push(c);
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                in_string = c == '"';
                text.push(c);
            }
        }
    }
    text.push('\n');
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

fn push_in_string(text: &mut String, c: char) {
    if c.is_control() || is_invisible(c) {
        // All of them lie in the first plane.
        let _ = write!(text, "\\u{:04x}", u32::from(c));
    } else {
        text.push(c);
    }
}

/// Our own values as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|e| Failure::new(EXIT_FAILURE, format!("cannot be written: {e}")))?;
    Ok(pretty(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn instants_say_how_far_off_they_are() {
        let now = at("2026-03-02T15:57:00Z");
        for (instant, shown) in [
            ("2026-03-02T18:00:00Z", "2026-03-02 18:00:00Z (in 2h 3m)"),
            ("2026-03-02T15:57:00.400Z", "2026-03-02 15:57:00Z (now)"),
            ("2026-03-02T15:56:59Z", "2026-03-02 15:56:59Z (1s ago)"),
            ("2026-03-05T15:57:00Z", "2026-03-05 15:57:00Z (in 3d)"),
            ("2026-02-28T15:00:00Z", "2026-02-28 15:00:00Z (2d ago)"),
            ("2026-03-02T15:58:05Z", "2026-03-02 15:58:05Z (in 1m 5s)"),
            ("9999-12-31T00:00:00Z", "never"),
        ] {
            assert_eq!(when(at(instant), now), shown);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        assert_eq!(
            plain("a\u{1b}[2Jb\r\n\u{9b}1m\u{202e}é 銀"),
            "a\\u{1b}[2Jb\\r\\n\\u{9b}1m\\u{202e}é 銀"
        );
        let mut grid = Grid::new(["A", "LONGER"]);
        grid.row(["x\u{1b}]0;title\u{7}".into(), "two\nlines".into()]);
        assert_eq!(
            grid.to_string(),
            "A                     LONGER\nx\\u{1b}]0;title\\u{7}  two\\nlines\n"
        );
    }

    #[test]
    fn json_is_indented_and_means_what_it_meant() {
        let json = "{\"b\" : 1.50,\n \"a\":[ ], \"o\":{}, \"s\":\"{ [x]: \\\"q\\\" , \\\\\", \
                    \"l\":[1,{\"t\":\"\u{9b}\u{7f}\u{202e}é\u{a0}\"}]}";
        let shown = pretty(json);
        assert_eq!(
            shown,
            "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"o\": {},\n  \"s\": \"{ [x]: \\\"q\\\" , \\\\\",\n  \
             \"l\": [\n    1,\n    {\n      \"t\": \"\\u009b\\u007f\\u202eé\u{a0}\"\n    }\n  ]\n}\n"
        );
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
    }
}
