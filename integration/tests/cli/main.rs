//! The command line: against a stand-in that says everything the contract allows and much that it
//! does not, and against the demo.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation of a test")]

mod calls;
mod demo;
mod fake;
mod local;
mod trouble;

use std::process::Stdio;

use integration::harness::{PATIENCE, program};
use tokio::process::Command;

/// What a command came to.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The program with no variables of its own set, and nobody at its standard input.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GAMEMASTER_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn finish(command: &mut Command) -> Run {
    let output = tokio::time::timeout(PATIENCE, command.output());
    let output = output.await.expect("it ends").expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a command.
async fn gamemaster(args: &[&str]) -> Run {
    finish(&mut command(args)).await
}
