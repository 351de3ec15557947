//! The mutants fit into the sources as they are; nothing is built here.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

/// Fewer would say little.
const AT_LEAST: usize = 24;

fn mutants(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gm-sim"));
    command.arg("mutants").args(args).output().expect("it starts")
}

/// What the command says of a folder with this one mutant in it.
fn refusal(mutant: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("of-the-test.mutant"), mutant).expect("a mutant");
    let path = folder.path().to_str().expect("a name");
    let output = mutants(&["--check", "--catalogue", path]);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).expect("text")
}

const EDIT: &str = "=== service/src/effects.rs\n";
const SWITCHED: &str = "\n===\nif crate::mutant::is(\"of-the-test\") {}\n";

#[test]
fn every_mutant_fits_into_the_sources() {
    let output = mutants(&["--check", "--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let listed = listed["mutants"].as_array().expect("a list");
    let names: BTreeSet<&str> = listed.iter().filter_map(|m| m["name"].as_str()).collect();
    let words: BTreeSet<&str> = listed.iter().filter_map(|m| m["what"].as_str()).collect();
    assert_eq!((names.len(), words.len()), (listed.len(), listed.len()), "one is there twice");
    assert!(names.len() >= AT_LEAST, "{}", names.len());
}

#[test]
fn the_document_names_every_mutant_that_there_is() {
    let text = include_str!("../../docs/mutants.md");
    let output = mutants(&["--check", "--json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let listed = listed["mutants"].as_array().expect("a list");
    let names: BTreeSet<&str> = listed.iter().filter_map(|m| m["name"].as_str()).collect();
    let row = |line: &'static str| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name);
    let told: BTreeSet<&str> = text.lines().filter_map(row).collect();
    assert_eq!(told, names, "gm-sim mutants --markdown docs/mutants.md");
}

#[test]
fn a_mutant_that_does_not_fit_is_refused() {
    for (found, why) in [
        ("nobody wrote this", "not there"),
        ("Effect", "there more than once"),
        (" ", "nothing is to be found"),
    ] {
        let said = refusal(&format!("what: A bug.\n{EDIT}{found}{SWITCHED}"));
        assert!(said.contains(why) && said.contains("of-the-test"), "{said}");
    }
}

#[test]
fn a_mutant_that_is_always_on_or_is_not_of_the_service_is_refused() {
    let unswitched = refusal(&format!("what: A bug.\n{EDIT}pub struct Effects\n===\nstruct E\n"));
    assert!(unswitched.contains("mutant::is(\"of-the-test\")"), "{unswitched}");
    let elsewhere = EDIT.replace("service/src/effects.rs", "sim/src/oracle.rs");
    let elsewhere = refusal(&format!("what: A bug.\n{elsewhere}impl Oracle{SWITCHED}"));
    assert!(elsewhere.contains("below service/ and machine/src/"), "{elsewhere}");
}

#[test]
fn a_mutant_says_what_it_is_and_how_it_is_hunted() {
    let silent = refusal(&format!("hunt: --calm\n{EDIT}pub struct Effects{SWITCHED}"));
    assert!(silent.contains("what is it?"), "{silent}");
    let hunt = format!("what: A bug.\nhunt: --gms 9\n{EDIT}pub struct Effects{SWITCHED}");
    assert!(refusal(&hunt).contains("--gms"));
    let empty = tempfile::tempdir().expect("a folder");
    let path = empty.path().to_str().expect("a name");
    assert_eq!(mutants(&["--check", "--catalogue", path]).status.code(), Some(2));
}

#[test]
fn only_those_that_there_are_can_be_hunted() {
    let output = mutants(&["--only", "no-such-mutant"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-mutant"));
}
