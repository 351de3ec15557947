//! Settings that make no sense end the program at once, by name, and are not repeated.

#![expect(clippy::expect_used, reason = "helpers of tests are tests")]

use std::net::TcpListener;
use std::process::{Command, Output};

use clap::Args;
use service::config::ServeArgs;

/// No setting takes this, but for those in [`TAKES_ANYTHING`].
const CANARY: &str = "Canary 77! no such thing";
/// Any text is a path.
const TAKES_ANYTHING: &[&str] = &["GAMEMASTER_STORE_FILE"];
/// Nothing is a good value.
const MAY_BE_EMPTY: &[&str] = &["GAMEMASTER_REDIS_KEY_PREFIX"];

/// A setting, and a flag for it.
fn all() -> Vec<(String, String)> {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    let named = command.get_arguments().filter_map(|arg| {
        let env = arg.get_env()?.to_str()?.to_owned();
        Some((env, format!("--{}", arg.get_long()?)))
    });
    named.collect()
}

fn serve(changes: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gamemaster"));
    command.arg("serve").args(args).env_clear();
    // A program that takes what it must not take ends all the same: somebody else listens there.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    command.env("GAMEMASTER_LISTEN", address);
    command.env("GAMEMASTER_LOBBY_URL", "http://127.0.0.1:9");
    command.env("GAMEMASTER_RTM_URL", "http://127.0.0.1:9");
    command.env("GAMEMASTER_ENGINE_NETWORKS", "127.0.0.0/8");
    for (variable, value) in changes {
        command.env(variable, value);
    }
    command.output().expect("it runs")
}

/// Refused with 2 and one line that begins with the variable's name; without what was set.
fn refused(output: &Output, variable: &str, value: &str) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{variable}: {err}");
    assert!(err.contains(&format!("gamemaster: {variable}: ")), "{variable}: {err}");
    assert!(!err.contains(value) && !out.contains(value), "{variable}: {err}{out}");
    err
}

#[test]
fn a_bad_value_is_named_and_not_repeated_whatever_setting_and_wherever_it_comes_from() {
    let settings = all();
    assert!(settings.len() > 25, "{settings:?}");
    for (variable, flag) in settings {
        if TAKES_ANYTHING.contains(&variable.as_str()) {
            continue;
        }
        refused(&serve(&[(&variable, CANARY)], &[]), &variable, CANARY);
        refused(&serve(&[], &[&flag, CANARY]), &variable, CANARY);
        refused(&serve(&[], &[&format!("{flag}={CANARY}")]), &variable, CANARY);
        if !MAY_BE_EMPTY.contains(&variable.as_str()) {
            refused(&serve(&[(&variable, "")], &[]), &variable, CANARY);
        }
    }
}

#[test]
fn a_number_out_of_bounds_is_told_the_bounds_and_not_the_number() {
    let cases = [
        ("GAMEMASTER_ENGINE_CLIENT_TURN_TIMEOUT_SECONDS", "86420", "1..=3600"),
        ("GAMEMASTER_LISTENER_MAX_BODY_BYTES", "777", "1024..=67108864"),
        ("GAMEMASTER_LISTENER_MAX_IN_FLIGHT", "-12345", "1..=1000000"),
        ("GAMEMASTER_SCHEDULER_RESOLUTION", "fortnights", "minutes, seconds"),
        ("GAMEMASTER_SCHEDULER_MIN_INTERVAL_SECONDS", "99999999", "0..=31536000"),
    ];
    for (variable, value, bounds) in cases {
        let said = refused(&serve(&[(variable, value)], &[]), variable, value);
        assert!(said.contains(bounds), "{said}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    let cases = [
        (("GAMEMASTER_LISTEN", "0.0.0.0:7077"), vec![]),
        (
            ("GAMEMASTER_LISTENER_MAX_IN_FLIGHT_PER_GAME", "4321"),
            vec![("GAMEMASTER_LISTENER_MAX_IN_FLIGHT", "100")],
        ),
        (
            ("GAMEMASTER_ENGINE_CLIENT_CONNECT_TIMEOUT_MS", "54321"),
            vec![("GAMEMASTER_ENGINE_CLIENT_PLAYER_TIMEOUT_SECONDS", "5")],
        ),
    ];
    for ((variable, value), mut others) in cases {
        others.push((variable, value));
        refused(&serve(&others, &[]), variable, value);
    }
}

#[test]
fn what_is_missing_and_what_nobody_knows_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gamemaster"));
    let output = command.arg("serve").env_clear().output().expect("it runs");
    let said = refused(&output, "GAMEMASTER_LOBBY_URL", CANARY);
    for variable in ["GAMEMASTER_RTM_URL", "GAMEMASTER_ENGINE_NETWORKS"] {
        assert!(said.contains(&format!("gamemaster: {variable}: must be set")), "{said}");
    }
    let variable = "GAMEMASTER_SHEDULER_RESOLUTION";
    refused(&serve(&[(variable, CANARY)], &[]), variable, CANARY);
}

#[test]
fn a_flag_of_another_command_is_not_taken_for_a_setting() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gamemaster"));
    let output = command.args(["dev", "--listen", CANARY]).env_clear().output().expect("it runs");
    refused(&output, "--listen", CANARY);
}

#[test]
fn help_is_no_failure() {
    for args in [["serve", "--help"], ["help", "serve"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gamemaster"));
        let output = command.args(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for (variable, flag) in all() {
            assert!(said.contains(&variable) && said.contains(&flag), "{variable}");
        }
    }
}
