//! Asking before something that cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use clap::Args;

use super::output::plain;
use super::{EXIT_FAILURE, EXIT_USAGE, Failure};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64;

/// Whether to ask.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ConfirmArgs {
    /// Do not ask for confirmation. Needed where standard input is not a terminal.
    #[arg(long, short)]
    yes: bool,
}

impl ConfirmArgs {
    /// Has the user agree to `what`, a phrase such as `stop game aurora for good`.
    pub(crate) fn ask(self, what: &str) -> Result<(), Failure> {
        let stdin = io::stdin();
        let terminal = stdin.is_terminal();
        self.ask_over(what, terminal, &mut stdin.lock(), &mut io::stderr().lock())
    }

    fn ask_over(
        self,
        what: &str,
        terminal: bool,
        input: &mut impl BufRead,
        output: &mut impl Write,
    ) -> Result<(), Failure> {
        let what = plain(what);
        if self.yes {
            return Ok(());
        }
        if !terminal {
            let why = format!("this would {what}: say --yes, since nobody can be asked here");
            return Err(Failure::new(EXIT_USAGE, why));
        }
        let failed = |e: io::Error| Failure::new(EXIT_FAILURE, format!("cannot ask: {e}"));
        write!(output, "This will {what}. Go on? [y/N] ").map_err(failed)?;
        output.flush().map_err(failed)?;
        let mut answer = String::new();
        input.take(MAX_ANSWER_BYTES).read_line(&mut answer).map_err(failed)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(EXIT_FAILURE, "nothing was done".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(yes: bool, terminal: bool, input: &str) -> (Result<(), u8>, String) {
        let mut output = vec![];
        let asked = ConfirmArgs { yes }.ask_over(
            "stop game \u{1b}x",
            terminal,
            &mut input.as_bytes(),
            &mut output,
        );
        (asked.map_err(|failure| failure.code), String::from_utf8(output).unwrap())
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        let question = "This will stop game \\u{1b}x. Go on? [y/N] ".to_owned();
        for yes in ["y\n", "YES\n", " y "] {
            assert_eq!(ask(false, true, yes), (Ok(()), question.clone()));
        }
        for no in ["", "\n", "n\n", "yess\n", &"y".repeat(1000)] {
            assert_eq!(ask(false, true, no), (Err(EXIT_FAILURE), question.clone()));
        }
    }

    #[test]
    fn nobody_is_asked_where_nobody_is_there() {
        assert_eq!(ask(false, false, "y\n"), (Err(EXIT_USAGE), String::new()));
        assert_eq!(ask(true, false, ""), (Ok(()), String::new()));
        assert_eq!(ask(true, true, "n\n"), (Ok(()), String::new()));
    }
}
