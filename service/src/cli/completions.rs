//! `gamemaster completions`: what makes a shell complete the commands and flags.

use clap::{Args, Command};
use clap_complete::Shell;

/// See the command.
#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// `gamemaster completions`.
pub(crate) fn run(args: &CompletionsArgs, mut program: Command) -> String {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut program, "gamemaster", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
