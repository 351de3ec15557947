//! What the house rules say and no compiler checks.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

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
