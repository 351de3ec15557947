//! What the house rules say and no compiler checks.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::harness::program;

/// Everything `machine` may depend on, directly or not. No runtime, no I/O: a new name here needs a
/// reason.
const MACHINE_MAY_DEPEND_ON: &[&str] = &[
    "autocfg",
    "chrono",
    "const_format",
    "const_format_proc_macros",
    "cron",
    "darling",
    "darling_core",
    "darling_macro",
    "derive_builder",
    "derive_builder_core",
    "derive_builder_macro",
    "fnv",
    "getset",
    "heck",
    "iana-time-zone",
    "ident_case",
    "itoa",
    "konst",
    "konst_macro_rules",
    "machine",
    "memchr",
    "num-traits",
    "oci-spec",
    "once_cell",
    "phf",
    "phf_generator",
    "phf_macros",
    "phf_shared",
    "proc-macro-error-attr2",
    "proc-macro-error2",
    "proc-macro2",
    "quote",
    "rand",
    "rand_core",
    "regex",
    "regex-automata",
    "regex-syntax",
    "aho-corasick",
    "semver",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "siphasher",
    "strsim",
    "strum",
    "strum_macros",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "unicode-xid",
    "uuid",
    "winnow",
    "zmij",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages that a package needs to run, itself included.
fn dependencies_of(package: &str) -> BTreeSet<String> {
    let args = ["tree", "--package", package, "--edges", "normal", "--prefix", "none"];
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--format", "{p}", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_rules_depend_on_no_runtime_and_no_io() {
    let allowed: BTreeSet<String> = MACHINE_MAY_DEPEND_ON.iter().map(|n| (*n).into()).collect();
    let there = dependencies_of("machine");
    assert!(there.contains("cron"), "the tree was read: {there:?}");
    let strangers: Vec<_> = there.difference(&allowed).collect();
    assert!(strangers.is_empty(), "machine depends on {strangers:?}");
}

#[test]
fn the_neighbours_know_nothing_of_the_service() {
    let there = dependencies_of("peers");
    assert!(there.contains("machine") && !there.contains("service"), "{there:?}");
}

#[test]
fn every_package_takes_the_workspace_lints() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() >= 6);
    for package in packages {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}");
    }
}

/// README and every page of the documentation, by name.
fn pages() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).expect("the documentation");
    paths.extend(docs.map(|entry| entry.expect("a file").path()));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a page");
        (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

/// The words of a text that begin with `prefix` and go on with letters of `more`; what ends in an
/// underscore stands for a group.
fn words<'a>(text: &'a str, prefix: &str, more: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named = text.split(ends).filter(|word| {
        word.strip_prefix(prefix).is_some_and(|rest| {
            rest.chars().all(&more) && rest.contains(|c: char| c != '_') && !rest.ends_with('_')
        })
    });
    named.collect()
}

#[test]
fn every_setting_that_the_documentation_names_is_one() {
    let mut known = String::new();
    for args in [&["config", "-o", "env"][..], &["runtimes", "--help"]] {
        let output = Command::new(program()).args(args).output().expect("the program runs");
        assert!(output.status.success(), "{args:?}");
        known += &String::from_utf8(output.stdout).expect("UTF-8");
    }
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let known = words(&known, "GAMEMASTER_", upper);
    assert!(known.len() > 40, "the settings were read: {known:?}");
    for (page, text) in pages() {
        let named = words(&text, "GAMEMASTER_", upper);
        let strangers: Vec<_> =
            named.difference(&known).filter(|name| !name.starts_with("GAMEMASTER_TEST_")).collect();
        assert!(strangers.is_empty(), "{page} names {strangers:?}");
    }
}

#[test]
fn every_metric_that_the_documentation_names_is_one() {
    let lower = |c: char| c.is_ascii_lowercase() || c == '_';
    let pages = pages();
    let of = |name: &str| pages.iter().find(|(page, _)| page == name).map(|(_, text)| text);
    // A test of the service holds this page against the metrics themselves.
    let known = words(of("telemetry.md").expect("the page"), "gamemaster_", lower);
    assert!(known.len() > 30, "the metrics were read: {known:?}");
    for (page, text) in &pages {
        let strangers: Vec<_> = words(text, "gamemaster_", lower)
            .difference(&known)
            .filter(|name| !known.iter().any(|k| name.strip_prefix(k) == Some("_bucket")))
            .copied()
            .collect();
        assert!(strangers.is_empty(), "{page} names {strangers:?}");
    }
}
