//! What clap has against a value, without the value: a setting may be a secret, and what was set by
//! mistake may be one too.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::BadSetting;

/// The settings that an error is about, by the names of their variables (of their flags, where they
/// have none). Empty where it is about something else than a value: clap's own words will do.
#[expect(clippy::wildcard_enum_match_arm, reason = "clap's enum, which may grow")]
pub fn refusals(error: &clap::Error, command: &Command) -> Vec<BadSetting> {
    let named = |problem: &dyn Fn(&str) -> String| {
        let settings = texts(error, ContextKind::InvalidArg).into_iter();
        settings
            .map(|arg| BadSetting { problem: problem(&arg), variable: variable(command, &arg) })
            .collect()
    };
    match error.kind() {
        ErrorKind::ValueValidation => named(&|_| problem(error)),
        ErrorKind::InvalidValue => named(&|_| match texts(error, ContextKind::ValidValue) {
            valid if valid.is_empty() => "must not be empty".to_owned(),
            valid => format!("must be one of {}", valid.join(", ")),
        }),
        ErrorKind::MissingRequiredArgument => named(&|_| "must be set".to_owned()),
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            named(&|_| "has the wrong number of values".to_owned())
        }
        // None of these carries a value of a setting.
        _ => vec![],
    }
}

/// What the parser of the value says, but for the value.
fn problem(error: &clap::Error) -> String {
    const UNSAID: &str = "is not valid; see --help";
    let Some(said) = error.source().map(ToString::to_string) else { return UNSAID.to_owned() };
    let values = texts(error, ContextKind::InvalidValue);
    // The parsers of ranges begin with the value: "7 is not in 1..=5".
    let rest = values.iter().find_map(|value| said.strip_prefix(value.as_str()));
    if let Some(rest) = rest.filter(|rest| rest.starts_with(" is not in ")) {
        return rest.trim_start().to_owned();
    }
    let quotes = values.iter().any(|value| !value.is_empty() && said.contains(value.as_str()));
    if quotes { UNSAID.to_owned() } else { said }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => vec![],
    }
}

/// `shown` is how clap writes an argument: `--listen <LISTEN>`.
fn variable(command: &Command, shown: &str) -> String {
    fn find<'c>(command: &'c Command, is_meant: &dyn Fn(&Arg) -> bool) -> Option<&'c Arg> {
        let own = command.get_arguments().find(|arg| arg.get_env().is_some() && is_meant(arg));
        own.or_else(|| command.get_subcommands().find_map(|sub| find(sub, is_meant)))
    }
    let flag = shown.split([' ', '=']).next().unwrap_or(shown);
    let is_meant =
        |arg: &Arg| flag.strip_prefix("--").is_some_and(|name| arg.get_long() == Some(name));
    let env = find(command, &is_meant).and_then(|arg| arg.get_env()?.to_str().map(str::to_owned));
    // Of a group, one of which is needed, all are shown: `<--image <IMAGE>|--turn-guard <BOOL>>`.
    let one_of = || shown.strip_prefix("<--").and_then(|rest| rest.strip_suffix('>'));
    let all = one_of().map(|rest| {
        let flags = rest.split('|').filter_map(|part| part.split(' ').next());
        let flags = flags.map(|flag| format!("--{}", flag.trim_start_matches("--")));
        flags.collect::<Vec<_>>().join(" or ")
    });
    env.or(all).unwrap_or_else(|| flag.to_owned())
}
