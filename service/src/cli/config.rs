//! `gamemaster config` and `gamemaster check config`: which settings there are, and which are in
//! force. Both read the definitions of the flags themselves, so that no setting can be forgotten.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, ValueEnum};
use serde::Serialize;
use service::config::ServeArgs;

use super::output::{self, Format, Grid, OutputArgs, plain};
use super::{EXIT_USAGE, Failure};

/// See the command.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    /// How to print: `table` for people, `json` for programs, `env` for a file to fill in.
    #[arg(long, short, value_enum, default_value_t)]
    output: ConfigFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ConfigFormat {
    #[default]
    Table,
    Json,
    Env,
}

/// See the command.
#[derive(Args)]
pub(crate) struct CheckConfigArgs {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A variable that the program reads.
#[derive(Serialize)]
struct Variable {
    variable: String,
    flag: Option<String>,
    /// The commands that read it.
    commands: Vec<String>,
    meaning: String,
    default: Option<String>,
    /// What it may be, where that is a list of words.
    choices: Vec<String>,
    required: bool,
    secret: bool,
    /// Whether it is set in the present environment.
    set: bool,
}

/// A setting in force.
#[derive(Serialize)]
struct Setting {
    variable: String,
    /// As given; a secret is not shown.
    value: Option<String>,
    source: Option<&'static str>,
}

/// What stands for a secret.
const HIDDEN: &str = "(set)";
/// How long the lines of a comment are.
const WIDTH: usize = 96;

/// `gamemaster config`.
pub(crate) fn list(args: &ConfigArgs, program: &Command) -> Result<String, Failure> {
    let mut variables = vec![];
    for command in program.get_subcommands() {
        collect(command, command.get_name(), &mut variables);
    }
    match args.output {
        ConfigFormat::Json => output::json(&variables),
        ConfigFormat::Env => Ok(env_file(&variables)),
        ConfigFormat::Table => {
            let mut grid = Grid::new(["VARIABLE", "DEFAULT", "SET", "READ BY", "MEANING"]);
            for v in variables {
                let needed = if v.required { "(required)" } else { "-" };
                let default = v.default.unwrap_or_else(|| needed.into());
                let set = if v.set { "yes" } else { "no" };
                let gist = v.meaning.split_once(". ").map_or(v.meaning.as_str(), |(gist, _)| gist);
                grid.row([v.variable, default, set.into(), v.commands.join(", "), gist.into()]);
            }
            Ok(grid.to_string())
        }
    }
}

/// The variables of a command and of those below it, in the order of their definition.
fn collect(command: &Command, name: &str, variables: &mut Vec<Variable>) {
    for arg in command.get_arguments() {
        let Some(variable) = variable_of(arg) else { continue };
        match variables.iter_mut().find(|known| known.variable == variable) {
            Some(known) if known.commands.iter().any(|c| c == name) => {}
            Some(known) => known.commands.push(name.to_owned()),
            None => variables.push(described(arg, variable, name)),
        }
    }
    // The commands of a group share its settings: named once, as the group.
    let shared = command.get_arguments().any(Arg::is_global_set);
    for sub in command.get_subcommands() {
        let below = format!("{name} {}", sub.get_name());
        collect(sub, if shared { name } else { &below }, variables);
    }
}

fn variable_of(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn described(arg: &Arg, variable: String, command: &str) -> Variable {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let defaults: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let choices = arg.get_possible_values();
    Variable {
        flag: arg.get_long().map(|long| format!("--{long}")),
        commands: vec![command.to_owned()],
        meaning: help.map(ToString::to_string).unwrap_or_default(),
        default: (!defaults.is_empty()).then(|| defaults.join(",")),
        choices: choices.iter().map(|choice| choice.get_name().to_owned()).collect(),
        required: arg.is_required_set(),
        secret: arg.is_hide_env_values_set(),
        set: std::env::var_os(&variable).is_some(),
        variable,
    }
}

/// A file of variables, all of them commented out.
fn env_file(variables: &[Variable]) -> String {
    let mut file = String::new();
    for v in variables {
        for line in wrapped(&v.meaning) {
            let _ = writeln!(file, "# {line}");
        }
        if !v.choices.is_empty() {
            let _ = writeln!(file, "# One of: {}.", v.choices.join(", "));
        }
        let required = if v.required { " Required." } else { "" };
        let _ = writeln!(file, "# Read by: {}.{required}", v.commands.join(", "));
        let _ = writeln!(file, "#{}={}\n", v.variable, v.default.as_deref().unwrap_or_default());
    }
    file
}

/// Text in lines, broken between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `gamemaster check config`: `matches` are those of that command, `command` its definition.
pub(crate) fn check(
    args: &CheckConfigArgs,
    command: &Command,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    args.serve.settings().map_err(|bad| Failure::new(EXIT_USAGE, plain(&bad.to_string())))?;
    let mut settings = vec![];
    for arg in command.get_arguments() {
        let Some(variable) = variable_of(arg) else { continue };
        let id = arg.get_id().as_str();
        let source = match matches.value_source(id) {
            Some(ValueSource::DefaultValue) => Some("default"),
            Some(ValueSource::EnvVariable) => Some("variable"),
            Some(ValueSource::CommandLine) => Some("flag"),
            Some(_) | None => None,
        };
        let given = source.and_then(|_| matches.get_raw(id)).map(|values| {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            values.join(",")
        });
        let secret = arg.is_hide_env_values_set();
        let value = if secret { given.map(|_| HIDDEN.to_owned()) } else { given };
        settings.push(Setting { variable, value, source });
    }
    match args.output.output {
        Format::Json => output::json(&settings),
        Format::Table => {
            let mut grid = Grid::new(["VARIABLE", "VALUE", "FROM"]);
            for Setting { variable, value, source } in settings {
                let value = value.unwrap_or_else(|| "-".into());
                grid.row([variable, value, source.unwrap_or("-").into()]);
            }
            Ok(grid.to_string())
        }
    }
}
